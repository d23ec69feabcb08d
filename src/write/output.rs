//! Writes each line with one write, and counts the lines that are lost.

use std::{cell::Cell, fmt, sync::Arc};

use tracing_subscriber::fmt::MakeWriter;

#[cfg(unix)]
use crate::write::stderr::Stderr;
use crate::{
    Format, QueueGuard,
    model::line_buffer::LineBuffer,
    write::{
        counters::Counters,
        queue::Queue,
        sink::{Direct, Outcome, Sink, begin_line, end_line},
    },
};

/// The capacity of the line buffer that a thread keeps between two lines, in bytes.
const BUFFER_KEPT: usize = 64 * 1024;

thread_local! {
    static BUFFER: Cell<LineBuffer> = const { Cell::new(LineBuffer::new()) };
}

/// The destination and the format of the lines.
#[derive(Clone)]
pub(crate) struct Output {
    sink: Arc<dyn Sink>,
    pub(crate) format: Format,
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
        counters: &Arc<Counters>,
        warnings: &[String],
        append: impl FnOnce(&mut LineBuffer, Format),
    ) {
        counters.count_warnings(warnings.len());
        if !begin_line() {
            return counters.count_line(false);
        }
        let mut buffer = BUFFER.try_with(Cell::take).unwrap_or_default();
        buffer.append(|cursor| cursor.push(b"\n"));
        append(&mut buffer, self.format);
        let outcome = self.sink.write(buffer.line(), counters);
        buffer.clear();
        buffer.shrink_to(BUFFER_KEPT);
        // During the teardown of a thread its buffer is gone, so the buffer is not kept.
        let _ = BUFFER.try_with(|kept| kept.set(buffer));
        end_line();
        match outcome {
            Outcome::Waits => {}
            known => counters.count_line(known == Outcome::Written),
        }
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").finish_non_exhaustive()
    }
}
