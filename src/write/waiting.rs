//! A bounded queue of lines that are written later.

use std::{collections::VecDeque, sync::Arc};

use crate::{contain::contain, write::counters::Counters};

/// How many entries stay allocated while the queue is empty.
const PLACES_KEPT: usize = 64;

/// Waiting lines in the order in which their spans closed. Their text has at most `capacity` bytes.
#[derive(Debug)]
pub(crate) struct Waiting {
    lines: VecDeque<WaitingLine>,
    bytes: usize,
    capacity: usize,
}

/// A line, and the counters of its layer, which count whether it is written or lost.
#[derive(Debug)]
pub(crate) struct WaitingLine {
    /// The text of the line after a line feed, as [`Sink::write`](crate::write::sink::Sink::write) gets it.
    pub(crate) text: Box<[u8]>,
    pub(crate) counters: Arc<Counters>,
}

/// Counts a line, and drops the reference to its counters. A panic in either must not end the writing thread.
pub(crate) fn count_line(counters: Arc<Counters>, is_written: bool) {
    contain(|| {
        counters.count_line(is_written);
        drop(counters);
    });
}

impl Waiting {
    pub(crate) const fn new(capacity: usize) -> Self {
        Self { lines: VecDeque::new(), bytes: 0, capacity }
    }

    #[cfg(unix)]
    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Appends a line if there is room. Returns whether there was.
    pub(crate) fn push(&mut self, text: &[u8], counters: &Arc<Counters>) -> bool {
        let has_room = self.bytes.saturating_add(text.len()) <= self.capacity;
        if has_room {
            self.push_always(text, counters);
        }
        has_room
    }

    /// Appends a line even if there is no room, because a part of it has been written.
    pub(crate) fn push_always(&mut self, text: &[u8], counters: &Arc<Counters>) {
        self.bytes = self.bytes.saturating_add(text.len());
        self.lines.push_back(WaitingLine { text: text.into(), counters: Arc::clone(counters) });
    }

    #[cfg(unix)]
    /// Puts the line that was removed last back to the front.
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
