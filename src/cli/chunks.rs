//! Whole lines of files, compressed or not, in chunks.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, IsTerminal, Read},
    mem,
    path::{Path, PathBuf},
};

use flate2::bufread::MultiGzDecoder;
use indicatif::{ProgressBar, ProgressStyle};

use super::{files::shown, parsed::LINE_LIMIT};

/// What is looked at of a line that is longer.
const LONG_LINE_SHOWN: usize = 64;
/// How much is read at a time, in bytes.
const CHUNK: usize = 1 << 18;
/// From this size in bytes on, the input gets a progress bar.
const LONG: u64 = 32 << 20;

/// Whole lines on their way from the reader to a parser.
pub(super) enum Chunk {
    /// Another file begins.
    File(String),
    Lines(Vec<u8>),
    /// The rest of the file can't be decompressed.
    Cut(String),
    Failed(String),
    /// All files have been read. Without it, a thread has died.
    End,
}

/// Deals out a file. `false` if nobody takes its lines any more, or it can't be read.
pub(super) fn read(path: &Path, progress: &ProgressBar, send: &mut impl FnMut(Chunk) -> bool) -> bool {
    send(Chunk::File(shown(path)))
        && open(path, progress)
            .and_then(|(reader, is_gzip)| read_lines(reader, is_gzip, send))
            .unwrap_or_else(|error| {
                send(Chunk::Failed(error.to_string()));
                false
            })
}

/// Deals out whole lines, as they come. `false` if nobody takes them any more.
fn read_lines(
    mut reader: impl Read,
    is_gzip: bool,
    send: &mut impl FnMut(Chunk) -> bool,
) -> io::Result<bool> {
    let (mut lines, mut has_begun, mut is_too_long) = (Vec::new(), false, false);
    loop {
        let mut kept = lines.len();
        // Straight to where they are parsed, without a copy in between.
        lines.resize(kept + CHUNK, 0);
        let length = match reader.read(lines.get_mut(kept..).unwrap_or_default()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Ok(0) => {
                lines.truncate(kept);
                return Ok(lines.is_empty() || send(Chunk::Lines(lines)));
            }
            // A service that was killed leaves its compressed log without an end.
            Err(error) if is_gzip && has_begun => {
                lines.truncate(kept);
                return Ok(
                    (lines.is_empty() || send(Chunk::Lines(lines))) && send(Chunk::Cut(error.to_string()))
                );
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
            if !send(Chunk::Lines(mem::replace(&mut lines, rest))) {
                return Ok(false);
            }
        } else if lines.len() > LINE_LIMIT {
            // What it begins with tells whose line it was.
            lines.truncate(LONG_LINE_SHOWN);
            if !send(Chunk::Lines(mem::take(&mut lines))) {
                return Ok(false);
            }
            is_too_long = true;
        }
    }
}

fn open(path: &Path, progress: &ProgressBar) -> io::Result<(Box<dyn Read>, bool)> {
    let raw: Box<dyn Read> =
        if path == Path::new("-") { Box::new(io::stdin().lock()) } else { Box::new(File::open(path)?) };
    // What is longer than its buffer goes past it.
    let mut reader = BufReader::new(progress.wrap_read(raw));
    let is_gzip = reader.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    let reader: Box<dyn Read> =
        if is_gzip { Box::new(MultiGzDecoder::new(reader)) } else { Box::new(reader) };
    Ok((reader, is_gzip))
}

/// On a terminal, for long input.
pub(super) fn progress_bar(paths: &[PathBuf]) -> ProgressBar {
    let sizes = paths.iter().map(|path| path.metadata().map_or(0, |metadata| metadata.len()));
    let total = sizes.sum();
    if total < LONG || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes}, {eta} to go");
    ProgressBar::new(total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
