//! Lines on their way out: one write each, and the losses counted.

use std::{
    cell::Cell,
    fmt,
    io::{self, Write},
    sync::Arc,
};

use tracing_subscriber::fmt::MakeWriter;

use crate::{Format, contain::contain, handle::Shared};

/// What a thread keeps of its line buffer between two lines, in bytes.
const BUFFER_KEPT: usize = 64 * 1024;

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static IS_WRITING: Cell<bool> = const { Cell::new(false) };
}

/// Where the lines go.
#[derive(Clone)]
pub(crate) struct Output {
    sink: Arc<dyn Sink>,
    pub(crate) format: Format,
}

trait Sink: Send + Sync {
    fn write(&self, line: &[u8]) -> io::Result<()>;
}

impl<M> Sink for M
where
    M: for<'a> MakeWriter<'a> + Send + Sync,
{
    fn write(&self, line: &[u8]) -> io::Result<()> {
        self.make_writer().write_all(line)
    }
}

impl Output {
    pub(crate) fn to<M>(make_writer: M, format: Format) -> Self
    where
        M: for<'a> MakeWriter<'a> + Send + Sync + 'static,
    {
        Self { sink: Arc::new(make_writer), format }
    }

    /// Writes the line that `append` appends to a buffer, on the caller's thread and with no lock held. A failing or panicking
    /// writer loses the line and nothing else. So does a writer that makes a request of its own,
    /// whose line would be written from within the write of this one, and so on without end.
    pub(crate) fn emit(
        &self,
        shared: &Shared,
        warnings: &[String],
        append: impl FnOnce(&mut Vec<u8>, Format),
    ) {
        let nested = IS_WRITING.try_with(|flag| flag.replace(true)).unwrap_or(false);
        let is_written = !nested && {
            let mut buffer = BUFFER.try_with(Cell::take).unwrap_or_default();
            append(&mut buffer, self.format);
            // An error of the user's making is dropped in there as well.
            let is_written = contain(|| self.sink.write(&buffer).is_ok());
            buffer.clear();
            buffer.shrink_to(BUFFER_KEPT);
            // On a thread that is being torn down there is nowhere to keep it.
            let _ = BUFFER.try_with(|kept| kept.set(buffer));
            let _ = IS_WRITING.try_with(|flag| flag.set(false));
            is_written == Some(true)
        };
        shared.count_line(is_written, warnings.len());
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").finish_non_exhaustive()
    }
}
