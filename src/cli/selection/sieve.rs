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

/// A writer that passes on the lines that are selected, and hands each of them to `take`. `join` writes to
/// one: the rows of workers have none of the numbers of their requests, so these are selected when they are
/// complete.
pub(in crate::cli) struct Sieve<W, F> {
    selection: Arc<Selection>,
    out: W,
    take: F,
    parser: Parser,
    /// The beginning of a line whose end has not been written yet.
    begun: Vec<u8>,
    kept: u64,
    outside: u64,
    unmatched: u64,
}

/// How many lines there were.
#[derive(Debug, Default, Clone, Copy)]
pub(in crate::cli) struct Sifted {
    pub(in crate::cli) kept: u64,
    pub(in crate::cli) left_out: u64,
}

impl<W: Write, F: FnMut(&LogLine)> Sieve<W, F> {
    /// A sieve for the lines of a log of this name.
    pub(in crate::cli) fn new(selection: Arc<Selection>, log_name: &Arc<str>, out: W, take: F) -> Self {
        let (mut parser, begun) = (Parser::default(), Vec::new());
        parser.reads(log_name);
        Self { selection, out, take, parser, begun, kept: 0, outside: 0, unmatched: 0 }
    }

    fn pass(&mut self, line: &[u8]) -> io::Result<()> {
        let (selection, take) = (&self.selection, &mut self.take);
        let mut sift = |line: &mut LogLine| {
            let left_out = selection.leaves_out(line);
            if left_out.is_none() {
                take(line);
            }
            left_out
        };
        match self.parser.parse(line, &mut sift) {
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
    pub(in crate::cli) fn finish(self) -> Result<Sifted> {
        let Self { selection, kept, outside, unmatched, .. } = self;
        selection.remarks().iter().for_each(|remark| complain(remark));
        match selection.nothing(outside, unmatched) {
            Some(nothing) if kept == 0 => return Err(Failure::Io(nothing)),
            _ => selection.sentence(outside, unmatched).iter().for_each(|sentence| complain(sentence)),
        }
        Ok(Sifted { kept, left_out: outside + unmatched })
    }
}

impl<W: Write, F: FnMut(&LogLine)> Write for Sieve<W, F> {
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
