//! The destinations of lines.

use std::{
    cell::Cell,
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
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
    /// Whether the last bytes that the writer took are a part of a line. If several threads write at once,
    /// only a line that begins after the failure sees this.
    is_cut: AtomicBool,
}

impl<M> Direct<M>
where
    M: for<'a> MakeWriter<'a>,
{
    pub(crate) fn new(make_writer: M) -> Self {
        Self { make_writer, is_cut: AtomicBool::new(false) }
    }

    /// Writes a line that begins with a line feed. Returns whether the writer took all of it.
    pub(crate) fn write(&self, line: &[u8]) -> bool {
        let follows_cut = self.is_cut.load(Ordering::Relaxed) && self.is_cut.swap(false, Ordering::Relaxed);
        let bytes = if follows_cut { line } else { line.get(1..).unwrap_or_default() };
        let (mut taken, mut is_inside) = (0, false);
        // A user's error value is dropped inside as well.
        let is_written = contain(|| {
            let writer = self.make_writer.make_writer();
            Counted { writer, taken: &mut taken, is_inside: &mut is_inside }.write_all(bytes).is_ok()
        });
        let is_written = is_written == Some(true);
        if !is_written {
            let last = taken.checked_sub(1).and_then(|last| bytes.get(last));
            // A `write` that panicked may have taken a part of its bytes.
            let is_cut = is_inside || last.map_or(follows_cut, |byte| *byte != b'\n');
            if is_cut {
                self.is_cut.store(true, Ordering::Relaxed);
            }
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
