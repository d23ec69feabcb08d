//! A line, and the log that it stands in.

use std::{
    mem,
    ops::{Deref, DerefMut},
    sync::Arc,
};

use super::origins::named;
use crate::{Line, RequestLine, StageRow};

/// A line, and the name of the log that it stands in: see [`log_name`](super::log_file::LogFile::log_name).
#[derive(Debug, Clone)]
pub(super) struct LogLine {
    pub(super) line: Line,
    pub(super) log_name: Arc<str>,
}

impl LogLine {
    /// The log that the line comes from, or this row of it: the one that `join` has named, or else the one
    /// that the line stands in.
    pub(super) fn origin<'a>(&'a self, row: Option<&'a StageRow>) -> &'a str {
        let of_row = row.and_then(|row| named(&row.fields));
        let of_request = || match &self.line {
            Line::Request(line) => named(&line.fields),
            _ => None,
        };
        of_row.or_else(of_request).unwrap_or(&self.log_name)
    }

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
