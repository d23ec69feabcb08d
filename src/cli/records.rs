//! A table of comma-separated values.

use std::io::Write;

use super::{failure::Result, json::escaped};

/// Writes the records of a table. Control characters are escaped as in JSON, in texts as in fields.
pub(super) struct Records<W: Write>(csv::Writer<W>);

impl<W: Write> Records<W> {
    pub(super) fn new(out: W) -> Self {
        Self(csv::Writer::from_writer(out))
    }

    pub(super) fn write(&mut self, cells: impl IntoIterator<Item = String>) -> Result<()> {
        Ok(self.0.write_record(cells.into_iter().map(escaped))?)
    }

    pub(super) fn flush(&mut self) -> Result<()> {
        Ok(self.0.flush()?)
    }
}

/// A value, or nothing if it is absent.
pub(super) fn cell(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}
