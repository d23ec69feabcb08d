//! A line, and the log that it stands in.

use std::{
    mem,
    ops::{Deref, DerefMut},
    sync::Arc,
};

use crate::{Line, RequestLine};

/// A line, and the name of the log that it stands in: see [`log_name`](super::log_file::LogFile::log_name).
#[derive(Debug, Clone)]
pub(super) struct LogLine {
    pub(super) line: Line,
    pub(super) log_name: Arc<str>,
}

impl LogLine {
    /// Takes the line away from its parser.
    pub(super) fn take(&mut self) -> Self {
        Self { line: mem::replace(&mut self.line, no_line()), log_name: Arc::clone(&self.log_name) }
    }
}

impl Default for LogLine {
    fn default() -> Self {
        Self { line: no_line(), log_name: Arc::default() }
    }
}

fn no_line() -> Line {
    Line::Request(RequestLine::default())
}

impl Deref for LogLine {
    type Target = Line;

    fn deref(&self) -> &Line {
        &self.line
    }
}

impl DerefMut for LogLine {
    fn deref_mut(&mut self) -> &mut Line {
        &mut self.line
    }
}
