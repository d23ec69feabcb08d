//! The files that a command reads, and their names as the reader prints them.

use std::path::{Path, PathBuf};

use super::selection::SelectionArgs;
use crate::write::columns::printable;

/// Where to read from.
#[derive(Debug, clap::Args)]
pub(super) struct Files {
    /// Logs, in the order in which they were written; `-` is standard input
    #[arg(value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) selection: SelectionArgs,
}

/// A path as it may be printed.
pub(super) fn shown(path: &Path) -> String {
    printable(&path.display().to_string()).into_owned()
}

/// A file as a sentence names it.
pub(super) fn called(name: &str) -> &str {
    if name == "-" { "standard input" } else { name }
}
