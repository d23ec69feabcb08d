//! The destinations of lines.

use std::{
    cell::Cell,
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tracing_subscriber::fmt::MakeWriter;

use crate::{contain::contain, write::counters::Counters};

/// A destination of lines.
pub(crate) trait Sink: Send + Sync {
    /// Writes a line, or keeps it until it can be written.
    ///
    /// `line` begins with a line feed, which is written only if a line that was cut must be ended. The line
    /// feed and the line must be one write.
    fn write(&self, line: &[u8], counters: &Arc<Counters>) -> Outcome;
}

/// The outcome of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Written,
    Lost,
    /// Not known yet: the sink will count the line.
    Waits,
}

impl From<bool> for Outcome {
    fn from(is_written: bool) -> Self {
        if is_written { Self::Written } else { Self::Lost }
    }
}

/// A user's writer, called directly.
pub(crate) struct Direct<M> {
    make_writer: M,
    /// How many lines have been cut: the writer took a part of the line and not the rest.
    cuts: AtomicU64,
    /// How many of the cuts are followed by a line feed.
    ended_cuts: AtomicU64,
}

impl<M> Direct<M>
where
    M: for<'a> MakeWriter<'a>,
{
    pub(crate) fn new(make_writer: M) -> Self {
        Self { make_writer, cuts: AtomicU64::new(0), ended_cuts: AtomicU64::new(0) }
    }

    /// Writes a line that begins with a line feed. Returns whether the writer took all of it.
    ///
    /// Several threads may write at once. Each line that begins before the last cut has been ended begins
    /// with a line feed, so a blank line is possible.
    pub(crate) fn write(&self, line: &[u8]) -> bool {
        let cuts = self.cuts.load(Ordering::Acquire);
        let follows_cut = self.ended_cuts.load(Ordering::Relaxed) < cuts;
        let bytes = if follows_cut { line } else { line.get(1..).unwrap_or_default() };
        let (mut taken, mut is_inside) = (0, false);
        // A user's error value is dropped inside as well. The count of bytes tells the outcome: the drop of
        // the writer may panic after it took the line.
        contain(|| {
            let writer = self.make_writer.make_writer();
            let _ = Counted { writer, taken: &mut taken, is_inside: &mut is_inside }.write_all(bytes);
        });
        if follows_cut && taken > 0 {
            self.ended_cuts.fetch_max(cuts, Ordering::Relaxed);
        }
        let is_written = taken == bytes.len() && !is_inside;
        let last = taken.checked_sub(1).map(|last| bytes.get(last));
        let ends_inside_line = last.is_some_and(|byte| byte != Some(&b'\n'));
        // A `write` that panicked may have taken a part of its bytes.
        if !is_written && (is_inside || ends_inside_line) {
            self.cuts.fetch_add(1, Ordering::Release);
        }
        is_written
    }

    /// Flushes the writer.
    pub(crate) fn flush(&self) {
        contain(|| drop(self.make_writer.make_writer().flush()));
    }
}

impl<M> Sink for Direct<M>
where
    M: for<'a> MakeWriter<'a> + Send + Sync,
{
    fn write(&self, line: &[u8], _: &Arc<Counters>) -> Outcome {
        Self::write(self, line).into()
    }
}

/// Counts the bytes that a writer takes. The count survives a panic of the writer.
struct Counted<'a, W> {
    writer: W,
    taken: &'a mut usize,
    /// Whether a `write` of the writer has begun and not returned.
    is_inside: &'a mut bool,
}

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        *self.is_inside = true;
        let result = self.writer.write(bytes);
        *self.is_inside = false;
        *self.taken += result.as_ref().copied().unwrap_or(0);
        result
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

thread_local! {
    static IS_WRITING: Cell<bool> = const { Cell::new(false) };
}

/// Notes that this thread writes a line. Returns `false` if it is writing one already.
pub(crate) fn begin_line() -> bool {
    !IS_WRITING.try_with(|flag| flag.replace(true)).unwrap_or(false)
}

/// Notes that this thread has written its line.
pub(crate) fn end_line() {
    let _ = IS_WRITING.try_with(|flag| flag.set(false));
}

/// Makes the lines that come from this thread count as lost. A writing thread whose writer makes a request
/// would otherwise make one for every line, without end.
pub(crate) fn lose_lines_of_this_thread() {
    let _ = IS_WRITING.try_with(|flag| flag.set(true));
}
