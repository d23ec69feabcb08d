//! Reads the lines of files, compressed or not, and counts the lines that are not of this format.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, IsTerminal, Read},
    mem,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

use flate2::bufread::MultiGzDecoder;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;

use super::{
    Failure, Result,
    amount::amount,
    complain,
    history::{History, Trace},
    verbatim,
};
use crate::{Line, SCHEMA, write::text::printable};

/// The longest line that is read, in bytes. The layer's own are far shorter.
pub(super) const LINE_LIMIT: usize = 16 << 20;
/// What is looked at of a line that is longer.
const LONG_LINE_SHOWN: usize = 64;
/// How much is read at a time, in bytes.
const CHUNK: usize = 1 << 18;
/// How many chunks of lines a parser is ahead of who takes them.
const AHEAD: usize = 4;
/// From this size in bytes on, the input gets a progress bar.
const LONG: u64 = 32 << 20;
/// How many broken lines are named; more are counted.
const NAMED: u64 = 20;

/// The inputs of a command, one after the other.
#[derive(Debug)]
pub(super) struct Inputs {
    paths: Vec<PathBuf>,
    /// What was read so far.
    pub(super) read: Counts,
    /// The first line that occurs twice, and where else.
    first_double: Option<String>,
}

/// What kinds of lines were read.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counts {
    /// The layer's.
    pub(super) lines: u64,
    /// Of other programs.
    pub(super) foreign: u64,
    /// The layer's, but cut or garbled.
    pub(super) broken: u64,
    /// The layer's, but of a schema that this reader does not know.
    pub(super) unknown: u64,
    /// Lines that occurred before.
    pub(super) doubles: u64,
    /// Detached rows that came after the line of their request, in the same file.
    pub(super) late: u64,
}

/// One of the files while it is read.
#[derive(Debug, Default)]
struct Reading {
    name: String,
    /// What had been read before it.
    before: Counts,
    /// The first line of an unknown schema, and which.
    first_unknown: Option<(u64, u32)>,
}

/// Where a line stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) file: &'a str,
    pub(super) number: u64,
    /// Which of the files it is: the same one may be given twice.
    pub(super) index: usize,
    /// Where the same line stands before.
    pub(super) twin: Option<Twin<'a>>,
}

/// Where the same line stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Twin<'a> {
    file: &'a str,
    number: u64,
}

impl std::fmt::Display for Twin<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.number)
    }
}

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.number)
    }
}

/// Whole lines on their way from the reader to a parser.
enum Chunk {
    /// Another file begins.
    File(String),
    Lines(Vec<u8>),
    /// The rest of the file can't be decompressed.
    Cut(String),
    Failed(String),
    /// All files have been read. Without it, a thread has died.
    End,
}

/// A chunk, parsed, and each of our lines mapped.
enum Batch<T> {
    File(String),
    Lines(Vec<Parsed<T>>),
    Failed(String),
    End,
}

/// What a line is.
pub(super) enum Parsed<T> {
    Line(T),
    Foreign,
    Broken(String),
    /// Of a schema that this reader does not know.
    Unknown(u32),
}

impl Inputs {
    pub(super) fn new(files: &[PathBuf]) -> Self {
        let paths = if files.is_empty() { vec![PathBuf::from("-")] } else { files.to_vec() };
        Self { paths, read: Counts::default(), first_double: None }
    }

    /// The inputs, as a person names them.
    pub(super) fn names(&self) -> String {
        let names: Vec<_> = self.paths.iter().map(|path| shown(path)).collect();
        names.iter().map(|name| called(name)).collect::<Vec<_>>().join(", ")
    }

    /// The inputs, as arguments in a shell.
    pub(super) fn arguments(&self) -> String {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "./_-+:,@%=".contains(c);
        let quoted = self.paths.iter().map(|path| match shown(path) {
            name if name.chars().all(is_plain) => name,
            name => format!("'{}'", name.replace('\'', r"'\''")),
        });
        quoted.collect::<Vec<_>>().join(" ")
    }

    /// The exit code of a command that has come to its end: lines of an unknown schema, which are left out,
    /// make it a failure.
    pub(super) fn exit_code(&self, otherwise: u8) -> ExitCode {
        ExitCode::from(if self.read.unknown > 0 { 2 } else { otherwise })
    }

    /// Says on stderr how many lines occur twice.
    pub(super) fn warn_of_doubles(&self) {
        if let Some(first) = &self.first_double {
            let twice =
                amount(self.read.doubles, "line occurs twice and counts", "lines occur twice and count");
            complain(&format!("{twice} twice: {first}"));
        }
    }

    /// Hands every line of ours to `take`, in order.
    pub(super) fn for_each(&mut self, take: impl FnMut(Place<'_>, Line) -> Result<()>) -> Result<()> {
        self.map(|| |line| line, take)
    }

    /// Parses lines on all cores, where a mapper of the core's own makes something of each, and hands that
    /// to `take`, in order. What a line is made of is best dropped where it was made.
    pub(super) fn map<T, Mapper>(
        &mut self,
        mut mapper: impl FnMut() -> Mapper,
        mut take: impl FnMut(Place<'_>, T) -> Result<()>,
    ) -> Result<()>
    where
        T: Send + 'static,
        Mapper: FnMut(Line) -> T + Send + 'static,
    {
        let progress = progress_bar(&self.paths);
        let (mut parsers, mut batches) = (Vec::new(), Vec::new());
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            let (chunk, chunks) = mpsc::sync_channel(AHEAD);
            let (batch, mapped) = mpsc::sync_channel(AHEAD);
            let mut map = mapper();
            let mut map = move |line: Line| (Trace::of(&line), map(line));
            // Not joined: whoever stops taking lines need not wait for more of them.
            thread::spawn(move || {
                chunks.into_iter().try_for_each(|chunk| batch.send(Batch::of(chunk, &mut map)))
            });
            parsers.push(chunk);
            batches.push(mapped);
        }
        let (paths, bar) = (self.paths.clone(), progress.clone());
        thread::spawn(move || {
            let mut parsers = parsers.iter().cycle();
            let mut send = |chunk| parsers.next().is_some_and(|parser| parser.send(chunk).is_ok());
            paths.iter().all(|path| read(path, &bar, &mut send)) && send(Chunk::End)
        });

        let (mut history, mut names, mut number) = (History::default(), Vec::<String>::new(), 0);
        let (mut reading, mut reasons) = (Reading::default(), Vec::new());
        // What the reader dealt out in turns comes back in turns.
        for mapped in batches.iter().cycle() {
            let file = reading.name.as_str();
            let died = |_| Failure::Io(format!("the reader broke down in {file}, after line {number}"));
            match mapped.recv().map_err(died)? {
                Batch::End => break,
                Batch::File(next) => {
                    reasons.extend(self.unusable(&reading, number));
                    names.push(next.clone());
                    (reading, number) = (Reading { name: next, before: self.read, first_unknown: None }, 0);
                }
                Batch::Failed(why) => return Err(Failure::Io(format!("cannot read {file}: {why}"))),
                Batch::Lines(lines) => {
                    let index = names.len().saturating_sub(1);
                    for parsed in lines {
                        number += 1;
                        let mut place = Place { file, number, index, twin: None };
                        match parsed {
                            Parsed::Line((trace, mapped)) => {
                                self.read.lines += 1;
                                let relation = history.add((index, number), trace);
                                self.read.late += u64::from(relation.is_late);
                                if let Some((file, number)) = relation.twin {
                                    self.read.doubles += 1;
                                    let file = names.get(file).map_or("", String::as_str);
                                    let twin = Twin { file, number };
                                    place.twin = Some(twin);
                                    let first = || format!("{place} is the same as {twin}");
                                    self.first_double.get_or_insert_with(first);
                                }
                                take(place, mapped)?;
                            }
                            Parsed::Foreign => self.read.foreign += 1,
                            Parsed::Broken(why) => self.name_broken(place, &why, &progress),
                            Parsed::Unknown(schema) => {
                                self.read.unknown += 1;
                                reading.first_unknown.get_or_insert((number, schema));
                            }
                        }
                    }
                }
            }
        }
        progress.finish_and_clear();
        reasons.extend(self.unusable(&reading, number));
        if self.read.broken > NAMED {
            let more = amount(self.read.broken - NAMED, "more broken line is", "more broken lines are");
            complain(&format!("{more} left out"));
        }
        if self.read.lines == 0 {
            return Err(Failure::Io(reasons.join("; ")));
        }
        reasons.iter().for_each(|reason| complain(reason));
        Ok(())
    }

    /// Why a file that has been read has no use, or not all of it. The first file has none before it.
    fn unusable(&self, reading: &Reading, length: u64) -> Option<String> {
        let (Reading { name, before, first_unknown }, read) = (reading, self.read);
        let name = called(name);
        if let Some((line, schema)) = first_unknown {
            let unknown = read.unknown - before.unknown;
            let unknown = amount(unknown, "line of an unknown schema", "lines of an unknown schema");
            return Some(format!(
                "{name}: cannot read {unknown} (line {line} has schema {schema}; this reader knows schema {SCHEMA})"
            ));
        }
        if name.is_empty() || read.lines > before.lines {
            return None;
        }
        let broken = read.broken - before.broken;
        Some(match (length, broken) {
            (0, _) => format!("{name} is empty"),
            (_, 0) => {
                format!(
                    "{name} has no line of omni-metrics ({})",
                    amount(length, "foreign line", "foreign lines")
                )
            }
            _ => {
                let broken = amount(broken, "broken line", "broken lines");
                format!("{name} has no whole line of omni-metrics ({broken})")
            }
        })
    }

    /// Folds all lines into one value: one for each core, since most of the time goes into reading lines,
    /// and these merged.
    pub(super) fn fold<T: Send + 'static>(
        &mut self,
        new: impl Fn() -> T,
        add: fn(&mut T, &Line),
        merge: fn(&mut T, &mut T),
    ) -> Result<T> {
        let mut parts = Vec::new();
        let mapper = || {
            let part = Arc::new(Mutex::new(new()));
            parts.push(Arc::clone(&part));
            move |line: Line| add(&mut part.lock().unwrap_or_else(PoisonError::into_inner), &line)
        };
        self.map(mapper, |_, ()| Ok(()))?;
        let mut whole = new();
        for part in &parts {
            merge(&mut whole, &mut part.lock().unwrap_or_else(PoisonError::into_inner));
        }
        Ok(whole)
    }

    fn name_broken(&mut self, place: Place<'_>, why: &str, progress: &ProgressBar) {
        self.read.broken += 1;
        if self.read.broken <= NAMED {
            progress.suspend(|| complain(&format!("{place}: a broken line is left out: {why}")));
        }
    }
}

impl<T> Batch<T> {
    fn of(chunk: Chunk, map: &mut impl FnMut(Line) -> T) -> Self {
        match chunk {
            Chunk::File(file) => Self::File(file),
            Chunk::Failed(why) => Self::Failed(why),
            Chunk::End => Self::End,
            Chunk::Cut(why) => Self::Lines(vec![Parsed::Broken(format!("the file is cut: {why}"))]),
            Chunk::Lines(bytes) => {
                let (mut lines, mut rest) = (Vec::new(), bytes.as_slice());
                while !rest.is_empty() {
                    let before = rest;
                    // On memory, it finds the line feed and can't fail.
                    let length = rest.skip_until(b'\n').unwrap_or_default();
                    lines.push(parse(before.get(..length).unwrap_or(before), map));
                }
                Self::Lines(lines)
            }
        }
    }
}

/// A path as it may be printed.
fn shown(path: &Path) -> String {
    printable(&path.display().to_string()).into_owned()
}

/// A file as a sentence names it.
fn called(name: &str) -> &str {
    if name == "-" { "standard input" } else { name }
}

/// Deals out a file. `false` if nobody takes its lines any more, or it can't be read.
fn read(path: &Path, progress: &ProgressBar, send: &mut impl FnMut(Chunk) -> bool) -> bool {
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

pub(super) fn parse<T>(bytes: &[u8], map: &mut impl FnMut(Line) -> T) -> Parsed<T> {
    const OURS: [&[u8]; 4] =
        [br#"{"type":"request""#, br#"{"type":"stage""#, br#"{"type":"transfer""#, br#"{"type":"summary""#];
    // An editor may have put a byte order mark in front.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii();
    let is_ours = OURS.iter().any(|opening| bytes.starts_with(opening));
    if !is_ours && bytes.first() != Some(&b'{') {
        return Parsed::Foreign;
    }
    // Checked as a whole, which is cheaper than for each key.
    let Ok(text) = str::from_utf8(bytes) else {
        return if is_ours { Parsed::Broken("it is not UTF-8".to_owned()) } else { Parsed::Foreign };
    };
    let line = verbatim::request(text).map(Line::Request).map_or_else(|| serde_json::from_str(text), Ok);
    match line {
        Ok(line) => match schema(&line) {
            SCHEMA => Parsed::Line(map(line)),
            schema => Parsed::Unknown(schema),
        },
        // Other programs log JSON too.
        Err(_) if !is_ours => Parsed::Foreign,
        // Another schema may have other keys.
        Err(error) => match serde_json::from_str(text) {
            Ok(Schema { schema }) if schema != SCHEMA => Parsed::Unknown(schema),
            _ => Parsed::Broken(error.to_string()),
        },
    }
}

/// Of any line of ours.
#[derive(Deserialize)]
struct Schema {
    schema: u32,
}

fn schema(line: &Line) -> u32 {
    match line {
        Line::Request(line) => line.schema,
        Line::Stage(line) => line.schema,
        Line::Transfer(line) => line.schema,
        Line::Summary(line) => line.schema,
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
fn progress_bar(paths: &[PathBuf]) -> ProgressBar {
    let sizes = paths.iter().map(|path| path.metadata().map_or(0, |metadata| metadata.len()));
    let total = sizes.sum();
    if total < LONG || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes}, {eta} to go");
    ProgressBar::new(total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
