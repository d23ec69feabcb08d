//! A file that a command reads.

use std::path::PathBuf;

/// A file that is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct LogFile {
    pub(super) path: PathBuf,
    /// Which of the logs it is a part of. Files of one log follow each other.
    pub(super) log: usize,
    /// It was found in a directory, where files without lines of the layer are expected.
    pub(super) is_found: bool,
}
