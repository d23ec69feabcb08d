//! Lines selected after a command has made them.

use std::{
    io::{self, Write},
    sync::Arc,
};

use super::{LeftOut, Selection};
use crate::cli::{
    failure::{Failure, Result, complain},
    log_line::LogLine,
    parsed::{Parsed, Parser},
};

/// A writer that passes on the lines that are selected. `join` writes to one: the rows of workers have none
/// of the numbers of their requests, so these are selected when they are complete.
pub(in crate::cli) struct Sieve<W> {
    selection: Arc<Selection>,
    out: W,
    parser: Parser,
    /// The beginning of a line whose end has not been written yet.
    begun: Vec<u8>,
    kept: u64,
    outside: u64,
    unmatched: u64,
}

impl<W: Write> Sieve<W> {
    pub(in crate::cli) fn new(selection: Arc<Selection>, out: W) -> Self {
        let (parser, begun) = (Parser::default(), Vec::new());
        Self { selection, out, parser, begun, kept: 0, outside: 0, unmatched: 0 }
    }

    fn pass(&mut self, line: &[u8]) -> io::Result<()> {
        let selection = &self.selection;
        match self.parser.parse(line, &mut |line: &mut LogLine, _| selection.leaves_out(line)) {
            Parsed::Line(Some(LeftOut::ByTime)) => self.outside += 1,
            Parsed::Line(Some(LeftOut::ByCondition)) => self.unmatched += 1,
            _ => {
                self.kept += 1;
                self.out.write_all(line)?;
            }
        }
        Ok(())
    }

    /// Says how many lines were left out; a failure if no line is left.
    pub(in crate::cli) fn finish(self) -> Result<()> {
        let Self { selection, kept, outside, unmatched, .. } = self;
        selection.remarks().iter().for_each(|remark| complain(remark));
        match selection.nothing(outside, unmatched) {
            Some(nothing) if kept == 0 => return Err(Failure::Io(nothing)),
            _ => selection.sentence(outside, unmatched).iter().for_each(|sentence| complain(sentence)),
        }
        Ok(())
    }
}

impl<W: Write> Write for Sieve<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                let line = std::mem::take(&mut self.begun);
                self.pass(&line)?;
                // Its allocation serves the next line.
                self.begun = line;
                self.begun.clear();
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
