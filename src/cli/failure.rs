//! Why a command ends early, and what it says on stderr.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use super::paint;
use crate::text::printable;

/// Why a command ends early.
#[derive(Debug)]
pub(super) enum Failure {
    /// Input that can't be read, or output that can't be written.
    Io(String),
    /// Nobody reads the output any more. What is known by then is the exit code.
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

pub(super) type Result<T> = std::result::Result<T, Failure>;

/// Says something on stderr. If that is gone as well, the exit code still tells.
pub(super) fn complain(message: &str) {
    let _ = writeln!(anstream::stderr(), "{}: {}", paint::bad("omni-metrics"), printable(message));
}
