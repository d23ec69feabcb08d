//! Whole lines of files, compressed or not, in chunks.

use std::{
    io::{self, BufReader, IsTerminal, Read},
    mem,
    path::Path,
    sync::Arc,
};

use indicatif::{ProgressBar, ProgressStyle};

use super::{
    compressed::content,
    copies::{self, Copies},
    log_file::LogFile,
    parsed::LINE_LIMIT,
};

/// How much is read at a time, in bytes.
const CHUNK: usize = 1 << 18;
/// From this size in bytes on, the input gets a progress bar.
const LONG: u64 = 32 << 20;

/// A message of the reader to a parser.
pub(super) enum Chunk {
    /// Another file begins.
    File(LogFile),
    /// Whole lines, and the name of their log.
    Lines(Vec<u8>, Arc<str>),
    /// The rest of the file can't be decompressed.
    Cut(String),
    /// The file can't be read.
    Failed(String),
    /// All files have been read. If a channel closes before this, a thread has panicked.
    End,
}

/// Sends the lines of a file. `false` if nobody receives them any more, or the file can't be read.
pub(super) fn read(
    file: &LogFile,
    copies: &Copies,
    progress: &ProgressBar,
    send: &mut impl FnMut(Chunk) -> bool,
) -> bool {
    send(Chunk::File(file.clone()))
        && copies
            .open(&file.path)
            .and_then(|raw| decompressed(raw, progress))
            .and_then(|(reader, is_compressed)| read_lines(reader, is_compressed, &file.log_name, send))
            .unwrap_or_else(|error| {
                send(Chunk::Failed(error.to_string()));
                false
            })
}

/// Sends whole lines as soon as they are read. `false` if nobody receives them any more.
fn read_lines(
    mut reader: impl Read,
    is_compressed: bool,
    log_name: &Arc<str>,
    send: &mut impl FnMut(Chunk) -> bool,
) -> io::Result<bool> {
    let chunk = |lines| Chunk::Lines(lines, Arc::clone(log_name));
    let (mut lines, mut has_begun, mut is_too_long) = (Vec::new(), false, false);
    loop {
        let mut kept = lines.len();
        // Read into the buffer that is sent, without a copy in between.
        lines.resize(kept + CHUNK, 0);
        let length = match reader.read(lines.get_mut(kept..).unwrap_or_default()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Ok(0) => {
                lines.truncate(kept);
                return Ok(lines.is_empty() || send(chunk(lines)));
            }
            // The compressed log of a service that was killed has no end.
            Err(error) if is_compressed && has_begun => {
                lines.truncate(kept);
                return Ok((lines.is_empty() || send(chunk(lines))) && send(Chunk::Cut(error.to_string())));
            }
            length => length?,
        };
        has_begun |= length > 0;
        lines.truncate(kept + length);
        if is_too_long {
            let rest = lines.iter().position(|byte| *byte == b'\n').map_or(lines.len(), |at| at + 1);
            is_too_long = rest == lines.len() && lines.last() != Some(&b'\n');
            lines.drain(..rest);
            kept = 0;
        }
        let fresh = lines.get(kept..).unwrap_or_default();
        let end = fresh.iter().rposition(|byte| *byte == b'\n').map(|at| kept + at + 1);
        if let Some(end) = end {
            let rest = lines.split_off(end);
            if !send(chunk(mem::replace(&mut lines, rest))) {
                return Ok(false);
            }
        } else if lines.iter().all(|byte| *byte == 0) {
            // A file that was truncated while a program wrote it may begin with any number of zeros.
            lines.clear();
        } else if lines.len() > LINE_LIMIT {
            // The parser sees by the length that the line is too long.
            lines.truncate(LINE_LIMIT + 1);
            if !send(chunk(mem::take(&mut lines))) {
                return Ok(false);
            }
            is_too_long = true;
        }
    }
}

pub(super) fn open(path: &Path, progress: &ProgressBar) -> io::Result<(Box<dyn Read>, bool)> {
    decompressed(copies::open(path)?, progress)
}

fn decompressed(raw: Box<dyn Read>, progress: &ProgressBar) -> io::Result<(Box<dyn Read>, bool)> {
    // A read that is larger than its buffer bypasses the buffer.
    content(BufReader::new(progress.wrap_read(raw)))
}

/// The progress bar, which is hidden unless the input is long and stderr is a terminal.
pub(super) fn progress_bar(files: &[LogFile]) -> ProgressBar {
    let sizes = files.iter().map(|file| file.path.metadata().map_or(0, |metadata| metadata.len()));
    let total = sizes.sum();
    if total < LONG || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes}, {eta} to go");
    ProgressBar::new(total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
