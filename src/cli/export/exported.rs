//! The report of `export`, a line of JSON: the counts of its output, and of the lines that were read.

use std::io::{self, Write};

use serde::Serialize;

use super::table::Table;
use crate::cli::line_counts::LineCounts;

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "export")]
pub(super) struct Exported {
    #[serde(flatten)]
    written: Written,
    bytes: u64,
    /// Lines of the layer that were read.
    lines: u64,
    broken_lines: u64,
    foreign_lines: u64,
    unknown_schema_lines: u64,
    doubled_lines: u64,
    left_out_lines: u64,
}

/// The counts of the output.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(tag = "format", rename_all = "snake_case")]
pub(super) enum Written {
    Csv { table: Table, rows: u64 },
    Chrome { slices: u64, flows: u64 },
}

impl Exported {
    pub(super) fn new(written: Written, bytes: u64, read: LineCounts) -> Self {
        Self {
            written,
            bytes,
            lines: read.lines,
            broken_lines: read.broken,
            foreign_lines: read.foreign,
            unknown_schema_lines: read.unknown,
            doubled_lines: read.doubles,
            left_out_lines: read.outside + read.unmatched,
        }
    }
}

/// A writer that counts the bytes.
pub(super) struct Counted<W> {
    out: W,
    pub(super) bytes: u64,
}

impl<W> Counted<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, bytes: 0 }
    }
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
