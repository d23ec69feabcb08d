//! A bounded queue of lines that are written later.

use std::{collections::VecDeque, sync::Arc};

use crate::{contain::contain, handle::Shared};

/// How many places an empty queue keeps allocated.
const PLACES_KEPT: usize = 64;

/// Lines in the order in which their spans closed, and no more bytes of text than the capacity.
#[derive(Debug)]
pub(crate) struct Waiting {
    lines: VecDeque<WaitingLine>,
    bytes: usize,
    capacity: usize,
}

/// A line, and the layer that counts whether it is written or lost.
#[derive(Debug)]
pub(crate) struct WaitingLine {
    /// Behind its line feed, as [`Sink::write`](crate::emit::Sink::write) takes it.
    pub(crate) text: Box<[u8]>,
    pub(crate) shared: Arc<Shared>,
}

impl WaitingLine {
    /// Counts the line with its layer, which is let go of as well. Neither may end the thread that writes.
    pub(crate) fn count(self, is_written: bool) {
        contain(|| {
            self.shared.count_line(is_written);
            drop(self);
        });
    }
}

impl Waiting {
    pub(crate) const fn new(capacity: usize) -> Self {
        Self { lines: VecDeque::new(), bytes: 0, capacity }
    }

    #[cfg(unix)]
    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Appends a line, and returns whether there was room for it.
    pub(crate) fn push(&mut self, text: &[u8], shared: &Arc<Shared>) -> bool {
        let has_room = self.bytes.saturating_add(text.len()) <= self.capacity;
        if has_room {
            self.push_always(text, shared);
        }
        has_room
    }

    /// Appends a line that must not be dropped, because a part of it has been written.
    pub(crate) fn push_always(&mut self, text: &[u8], shared: &Arc<Shared>) {
        self.bytes = self.bytes.saturating_add(text.len());
        self.lines.push_back(WaitingLine { text: text.into(), shared: Arc::clone(shared) });
    }

    #[cfg(unix)]
    /// Puts back the line that was removed last.
    pub(crate) fn put_back(&mut self, line: WaitingLine) {
        self.bytes = self.bytes.saturating_add(line.text.len());
        self.lines.push_front(line);
    }

    pub(crate) fn pop(&mut self) -> Option<WaitingLine> {
        let line = self.lines.pop_front()?;
        self.bytes = self.bytes.saturating_sub(line.text.len());
        if self.lines.is_empty() {
            self.lines.shrink_to(PLACES_KEPT);
        }
        Some(line)
    }

    /// Removes all lines.
    pub(crate) fn take(&mut self) -> VecDeque<WaitingLine> {
        self.bytes = 0;
        std::mem::take(&mut self.lines)
    }
}
