//! A log as it grows.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read as _, Seek},
    path::Path,
    sync::{Arc, mpsc},
    thread,
};

use super::clock::TICK;
use crate::cli::{
    compressed::is_compressed,
    log_line::LogLine,
    parsed::{LINE_LIMIT, Parsed, Parser},
    selection::{LeftOut, Selection},
    wrapped::{Begun, Wrapped},
};

/// How many lines the view is behind before the reader waits.
pub(super) const AHEAD: usize = 10_000;

/// Opens a log that can be followed.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if metadata.is_file() {
        let mut begin = Vec::new();
        (&file).take(6).read_to_end(&mut begin)?;
        if is_compressed(&begin) {
            return Err(io::Error::other("it is compressed, and grows no more; there is `summary` for it"));
        }
        file.rewind()?;
    }
    Ok(file)
}

/// A line that was read.
pub(super) struct Read {
    pub(super) parsed: Parsed<Result<LogLine, LeftOut>>,
    /// In bytes.
    pub(super) length: usize,
}

/// Where the lines of a log go, or the error that ends it.
pub(super) struct Lines {
    pub(super) send: mpsc::SyncSender<io::Result<Read>>,
    pub(super) selection: Arc<Selection>,
    /// What the log is called.
    pub(super) log_name: Arc<str>,
}

impl Lines {
    /// `false` if nobody receives them any more.
    fn send(&self, line: &[u8]) -> bool {
        let mut select = |line: &mut LogLine| match self.selection.leaves_out(line) {
            None => Ok(line.take()),
            Some(reason) => Err(reason),
        };
        let mut parser = Parser::default();
        parser.reads(&self.log_name);
        let parsed = parser.parse(line, &mut select);
        self.send.send(Ok(Read { parsed, length: line.len() })).is_ok()
    }
}

/// Sends the lines of a pipe until it ends.
pub(super) fn read_all(pipe: impl io::Read, send: &Lines) -> io::Result<()> {
    let mut pending = Pending::default();
    if read(&mut BufReader::new(pipe), &mut pending, send)? && !pending.line.is_empty() {
        pending.end_line(send);
    }
    Ok(())
}

/// Sends the lines of a file as it grows, and then those of a new file of the same name.
pub(super) fn follow(path: &Path, file: File, send: &Lines) -> io::Result<()> {
    let (mut reader, mut pending) = (BufReader::new(file), Pending::default());
    loop {
        if !read(&mut reader, &mut pending, send)? {
            return Ok(());
        }
        thread::sleep(TICK);
        let position = reader.stream_position()?;
        // While a log is rotated, there may be no file of its name.
        let Ok(current) = File::open(path) else { continue };
        let is_another = !is_same(&current, reader.get_ref())?;
        if is_another || current.metadata()?.len() < position {
            read(&mut reader, &mut pending, send)?;
            (reader, pending) = (BufReader::new(current), Pending::default());
        }
    }
}

#[cfg(unix)]
fn is_same(one: &File, other: &File) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;

    let (one, other) = (one.metadata()?, other.metadata()?);
    Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
}

#[cfg(not(unix))]
fn is_same(one: &File, other: &File) -> io::Result<bool> {
    Ok(one.metadata()?.created()? == other.metadata()?.created()?)
}

/// What has not ended yet.
#[derive(Default)]
struct Pending {
    line: Vec<u8>,
    /// Lines that a container runtime writes in pieces.
    begun: Begun,
}

impl Pending {
    /// Sends the line, which has ended. `false` if nobody receives it any more.
    fn end_line(&mut self, send: &Lines) -> bool {
        let is_received = match Wrapped::of(&self.line) {
            None => send.send(&self.line),
            Some(wrapped) => self.begun.add(0, wrapped.into_piece()).all(|(_, line)| send.send(&line)),
        };
        self.line.clear();
        is_received
    }
}

/// Sends the whole lines written so far. `false` if nobody receives them any more.
fn read(reader: &mut impl BufRead, pending: &mut Pending, send: &Lines) -> io::Result<bool> {
    loop {
        let available = reader.fill_buf()?;
        if available.is_empty() {
            return Ok(true);
        }
        let end = available.iter().position(|byte| *byte == b'\n');
        let length = end.map_or(available.len(), |end| end + 1);
        if pending.line.len() <= LINE_LIMIT {
            pending.line.extend(available.iter().take(length));
        }
        reader.consume(length);
        if end.is_some() && !pending.end_line(send) {
            return Ok(false);
        }
    }
}
