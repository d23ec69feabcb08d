//! Writes each line with one write, and counts the lines that are lost.

use std::{
    cell::Cell,
    fmt,
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tracing_subscriber::fmt::MakeWriter;

#[cfg(unix)]
use crate::stderr::Stderr;
use crate::{
    Format,
    contain::contain,
    handle::Shared,
    queue::{Queue, QueueGuard},
};

/// The capacity of the line buffer that a thread keeps between two lines, in bytes.
const BUFFER_KEPT: usize = 64 * 1024;

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static IS_WRITING: Cell<bool> = const { Cell::new(false) };
}

/// The destination and the format of the lines.
#[derive(Clone)]
pub(crate) struct Output {
    sink: Arc<dyn Sink>,
    pub(crate) format: Format,
}

/// A destination of lines.
pub(crate) trait Sink: Send + Sync {
    /// Writes a line, or keeps it until it can be written.
    ///
    /// `line` begins with a line feed, which is written only if a line that was cut must be ended. The line
    /// feed and the line must be one write.
    fn write(&self, line: &[u8], shared: &Arc<Shared>) -> Outcome;
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

impl Output {
    /// Writes to stderr and, on Unix, never waits for it.
    pub(crate) fn stderr(format: Format) -> Self {
        #[cfg(unix)]
        let sink = Arc::new(Stderr);
        #[cfg(not(unix))]
        let sink = Arc::new(Direct::new(io::stderr));
        Self { sink, format }
    }

    /// Writes to a user's writer, on the threads whose spans close.
    pub(crate) fn to<M>(make_writer: M, format: Format) -> Self
    where
        M: for<'a> MakeWriter<'a> + Send + Sync + 'static,
    {
        Self { sink: Arc::new(Direct::new(make_writer)), format }
    }

    /// Writes to a user's writer, on a thread of this crate.
    pub(crate) fn queued<M>(make_writer: M, capacity: usize, format: Format) -> (Self, QueueGuard)
    where
        M: for<'a> MakeWriter<'a> + Send + Sync + 'static,
    {
        let (queue, guard) = Queue::start(Direct::new(make_writer), capacity);
        (Self { sink: queue, format }, guard)
    }

    /// Passes the line that `append` builds to the sink, on the caller's thread and with no lock held. If the
    /// writer fails or panics, only this line is lost. If the writer makes a request of its own, the line of
    /// that request is lost: it would be written inside the write of this line, and so on without end.
    pub(crate) fn emit(
        &self,
        shared: &Arc<Shared>,
        warnings: &[String],
        append: impl FnOnce(&mut Vec<u8>, Format),
    ) {
        shared.count_warnings(warnings.len());
        if IS_WRITING.try_with(|flag| flag.replace(true)).unwrap_or(false) {
            return shared.count_line(false);
        }
        let mut buffer = BUFFER.try_with(Cell::take).unwrap_or_default();
        buffer.push(b'\n');
        append(&mut buffer, self.format);
        let outcome = self.sink.write(&buffer, shared);
        buffer.clear();
        buffer.shrink_to(BUFFER_KEPT);
        // During the teardown of a thread its buffer is gone, so the buffer is not kept.
        let _ = BUFFER.try_with(|kept| kept.set(buffer));
        let _ = IS_WRITING.try_with(|flag| flag.set(false));
        match outcome {
            Outcome::Waits => {}
            known => shared.count_line(known == Outcome::Written),
        }
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").finish_non_exhaustive()
    }
}

/// Makes the lines that come from this thread count as lost. A writing thread whose writer makes a request
/// would otherwise make one for every line, without end.
pub(crate) fn lose_lines_of_this_thread() {
    let _ = IS_WRITING.try_with(|flag| flag.set(true));
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
    fn write(&self, line: &[u8], _: &Arc<Shared>) -> Outcome {
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
