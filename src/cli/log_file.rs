//! A file that a command reads.

use std::{path::PathBuf, sync::Arc};

/// A file that is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct LogFile {
    pub(super) path: PathBuf,
    /// Which of the logs it is a part of. Files of one log follow each other.
    pub(super) log: usize,
    /// What that log is called among those that are read: see [`log_names`](super::log_names::log_names).
    /// If several files of it are read, it has no marks of rotation.
    pub(super) log_name: Arc<str>,
    /// It was found in a directory, where files without lines of the layer are expected.
    pub(super) is_found: bool,
}
