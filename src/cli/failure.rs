//! Why a command ends early, and what it says on stderr.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use super::paint;
use crate::write::columns::printable;

/// Why a command ends early.
#[derive(Debug)]
pub(super) enum Failure {
    /// Input that can't be read, or output that can't be written.
    Io(String),
    /// The reader of the output has closed it. The exit code is of what the command has found until then.
    Hangup(ExitCode),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Hangup(ExitCode::SUCCESS),
            _ => Self::Io(error.to_string()),
        }
    }
}

impl From<csv::Error> for Failure {
    fn from(error: csv::Error) -> Self {
        match error.into_kind() {
            csv::ErrorKind::Io(error) => Self::from(error),
            kind => Self::Io(format!("cannot write CSV: {kind:?}")),
        }
    }
}

pub(super) type Result<T, E = Failure> = std::result::Result<T, E>;

/// Writes a message to stderr. If stderr is closed, the message is lost, but the exit code is the same.
pub(super) fn complain(message: &str) {
    let _ = writeln!(anstream::stderr(), "{}: {}", paint::bad("omni-metrics"), printable(message));
}
