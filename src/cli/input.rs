//! Lines out of files, compressed or not, and what is not a line of ours.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, IsTerminal, Read},
    path::{Path, PathBuf},
};

use flate2::bufread::MultiGzDecoder;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Failure, Result, complain};
use crate::{Line, text::printable};

/// The longest line that is read, in bytes. The layer's own are far shorter.
const LINE_LIMIT: u64 = 16 << 20;
/// Input of at least so many bytes gets a progress bar.
const LONG: u64 = 32 << 20;
/// How many broken lines are named; more are counted.
const NAMED: u64 = 20;

/// The inputs of a command, one after the other.
#[derive(Debug)]
pub(super) struct Inputs {
    paths: Vec<PathBuf>,
    /// What was read so far.
    pub(super) read: Counts,
}

/// What kinds of lines were read.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counts {
    /// The layer's.
    pub(super) lines: u64,
    /// Other people's.
    pub(super) foreign: u64,
    /// The layer's, but cut or garbled.
    pub(super) broken: u64,
}

/// Where a line stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) file: &'a str,
    pub(super) number: u64,
}

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.number)
    }
}

impl Inputs {
    pub(super) fn new(files: &[PathBuf]) -> Self {
        let paths = if files.is_empty() { vec![PathBuf::from("-")] } else { files.to_vec() };
        Self { paths, read: Counts::default() }
    }

    /// Hands every line of ours to `take`.
    pub(super) fn for_each(&mut self, mut take: impl FnMut(Place<'_>, Line) -> Result<()>) -> Result<()> {
        let progress = progress_bar(&self.paths);
        let mut buffer = Vec::new();
        for path in &self.paths {
            let shown = path.display().to_string();
            let file = printable(&shown);
            let failure = |error: io::Error| Failure::Io(format!("cannot read {file}: {error}"));
            let mut reader = open(path, &progress).map_err(failure)?;
            for number in 1.. {
                buffer.clear();
                let length =
                    reader.by_ref().take(LINE_LIMIT).read_until(b'\n', &mut buffer).map_err(failure)?;
                if length == 0 {
                    break;
                }
                let place = Place { file: &file, number };
                match parse(&buffer) {
                    Parsed::Line(line) => {
                        self.read.lines += 1;
                        take(place, *line)?;
                    }
                    Parsed::Foreign => self.read.foreign += 1,
                    Parsed::Broken(why) => {
                        self.read.broken += 1;
                        if self.read.broken <= NAMED {
                            progress
                                .suspend(|| complain(&format!("{place}: a broken line is left out: {why}")));
                        }
                    }
                }
            }
        }
        progress.finish_and_clear();
        if self.read.broken > NAMED {
            complain(&format!("{} more broken lines are left out", self.read.broken - NAMED));
        }
        Ok(())
    }
}

enum Parsed {
    Line(Box<Line>),
    Foreign,
    Broken(String),
}

fn parse(bytes: &[u8]) -> Parsed {
    const OURS: [&[u8]; 4] =
        [br#"{"type":"request""#, br#"{"type":"stage""#, br#"{"type":"transfer""#, br#"{"type":"summary""#];
    let bytes = bytes.trim_ascii();
    let is_ours = OURS.iter().any(|opening| bytes.starts_with(opening));
    if !is_ours && bytes.first() != Some(&b'{') {
        return Parsed::Foreign;
    }
    let line = match bytes.strip_prefix(br#"{"type":"request","#) {
        // Straight to its type, without the detour that finding a tag takes.
        Some(_) => serde_json::from_slice(bytes).map(Line::Request),
        None => serde_json::from_slice(bytes),
    };
    match line {
        Ok(line) => Parsed::Line(Box::new(line)),
        // Others log JSON too.
        Err(_) if !is_ours => Parsed::Foreign,
        Err(error) => Parsed::Broken(error.to_string()),
    }
}

fn open(path: &Path, progress: &ProgressBar) -> io::Result<Box<dyn BufRead>> {
    let raw: Box<dyn Read> =
        if path == Path::new("-") { Box::new(io::stdin().lock()) } else { Box::new(File::open(path)?) };
    let mut reader = BufReader::with_capacity(1 << 18, progress.wrap_read(raw));
    let is_gzip = reader.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    Ok(if is_gzip {
        Box::new(BufReader::with_capacity(1 << 18, MultiGzDecoder::new(reader)))
    } else {
        Box::new(reader)
    })
}

/// On a terminal, for long input.
fn progress_bar(paths: &[PathBuf]) -> ProgressBar {
    let sizes = paths.iter().map(|path| path.metadata().map_or(0, |metadata| metadata.len()));
    let total = sizes.sum();
    if total < LONG || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes}, {eta} to go");
    ProgressBar::new(total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
