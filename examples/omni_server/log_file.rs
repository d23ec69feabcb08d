//! The file of `--log`, which may be rotated.

use std::{
    fs::{File, OpenOptions},
    io,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
};

use tracing_subscriber::fmt::MakeWriter;

/// Clones write to the same file.
#[derive(Debug, Clone)]
pub(crate) struct LogFile {
    path: PathBuf,
    file: Arc<RwLock<Arc<File>>>,
}

impl LogFile {
    pub(crate) fn open(path: PathBuf) -> io::Result<Self> {
        let file = open(&path)?;
        Ok(Self { path, file: Arc::new(RwLock::new(file)) })
    }

    /// Opens the path again: after a rotation it is another file. If that fails, the log goes on in the old
    /// one.
    pub(crate) fn reopen(&self) -> io::Result<()> {
        let file = open(&self.path)?;
        *self.file.write().unwrap_or_else(PoisonError::into_inner) = file;
        Ok(())
    }
}

/// For appending, so that a file that is truncated in place goes on at its new end.
fn open(path: &PathBuf) -> io::Result<Arc<File>> {
    OpenOptions::new().create(true).append(true).open(path).map(Arc::new)
}

impl<'a> MakeWriter<'a> for LogFile {
    type Writer = Arc<File>;

    fn make_writer(&'a self) -> Self::Writer {
        Arc::clone(&self.file.read().unwrap_or_else(PoisonError::into_inner))
    }
}
