//! When a log ends.

use std::{
    fs::File,
    io::{self, BufRead, Read, Seek, SeekFrom},
    path::Path,
};

use indicatif::ProgressBar;

use super::timestamp;
use crate::{
    Timestamp,
    cli::{
        chunks::{self, Chunk},
        copies::Copies,
        failure::{Failure, Result},
        files::shown,
        log_file::LogFile,
        log_line::LogLine,
        parsed::{Parsed, Parser},
        wrapped::{Chunked, Wrapped},
    },
};

/// How much of the end of a file is read, in bytes. Lines that are written at the same time may be out of
/// order, but not by this much.
const TAIL: u64 = 1 << 18;

/// The latest timestamp of the files; `None` if none of them has a line of the layer.
pub(super) fn log_end(files: &[LogFile]) -> Result<Option<Timestamp>> {
    let ends = files.iter().map(end_of_file).collect::<Result<Vec<_>>>()?;
    Ok(ends.into_iter().max().flatten())
}

fn end_of_file(file: &LogFile) -> Result<Option<Timestamp>> {
    let path = &file.path;
    let tail = tail(path).map_err(|error| unreadable(path, &error.to_string()))?;
    match latest(&tail) {
        Some(end) => Ok(Some(end)),
        // The file is compressed, or ends with what other programs have written.
        None => end_of_whole_file(file),
    }
}

fn tail(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail)?;
    Ok(tail)
}

fn end_of_whole_file(file: &LogFile) -> Result<Option<Timestamp>> {
    let (mut end, mut failure) = (None, None);
    chunks::read(file, &Copies::default(), &ProgressBar::hidden(), &mut |chunk| {
        match chunk {
            Chunk::Lines(lines, _) => end = end.max(latest(&lines)),
            Chunk::Failed(why) => failure = Some(unreadable(&file.path, &why)),
            _ => {}
        }
        true
    });
    failure.map_or(Ok(end), Err)
}

fn latest(lines: &[u8]) -> Option<Timestamp> {
    let (mut rest, mut streams, mut latest) = (lines, Chunked::default(), None);
    let (mut parser, mut map) = (Parser::default(), |line: &mut LogLine| timestamp(line));
    while !rest.is_empty() {
        let before = rest;
        // On memory, it finds the line feed and can't fail.
        let length = rest.skip_until(b'\n').unwrap_or_default();
        let line = before.get(..length).unwrap_or(before);
        let parsed = match Wrapped::of(line) {
            None => parser.parse(line, &mut map),
            // A line in pieces is passed over: the lines around it are of about the same time.
            Some(wrapped) => match streams.whole(wrapped) {
                Ok(line) => parser.parse(&line, &mut map),
                Err(_) => continue,
            },
        };
        if let Parsed::Line(time) = parsed {
            latest = latest.max(Some(time));
        }
    }
    latest
}

fn unreadable(path: &Path, why: &str) -> Failure {
    Failure::Io(format!("cannot read {}: {why}", shown(path)))
}
