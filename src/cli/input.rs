//! The inputs of a command, read on all cores.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
};

use indicatif::ProgressBar;

use super::{
    amount::amount,
    batch::{Batch, batches},
    chunks::progress_bar,
    copies::Copies,
    failure::{Failure, Result, complain},
    files::{Files, called, shown},
    history::Trace,
    line_counts::LineCounts,
    log_file::LogFile,
    log_line::LogLine,
    logs::in_order,
    parsed::{Parsed, Parser},
    place::{Place, Twin},
    reading::Reading,
    selection::{LeftOut, Selection},
};
use crate::write::columns::printable;

/// How many broken lines are named; more are counted.
const NAMED: u64 = 20;

/// A line that is broken.
#[derive(Debug)]
pub(super) struct BrokenLine {
    pub(super) file: String,
    pub(super) number: u64,
    pub(super) why: String,
}

/// The inputs of a command, one after the other.
#[derive(Debug)]
pub(super) struct Inputs {
    /// As they were given.
    paths: Vec<PathBuf>,
    files: Vec<LogFile>,
    copies: Arc<Copies>,
    /// Whether this is another reading, which says nothing again.
    is_silent: bool,
    /// Whether messages about these inputs name them.
    is_of_several: bool,
    pub(super) selection: Arc<Selection>,
    /// The lines read so far.
    pub(super) read: LineCounts,
    /// The first broken lines, if the command names them itself: their places, and why they are broken.
    pub(super) broken: Option<Vec<BrokenLine>>,
    /// A sentence with the two places of the first line that occurs twice.
    first_double: Option<String>,
}

impl Inputs {
    pub(super) fn new(Files { files, selection }: &Files) -> Result<Self> {
        let paths = if files.is_empty() { vec![PathBuf::from("-")] } else { files.clone() };
        let logs = in_order(&paths)?;
        let selection = Arc::new(Selection::of(selection, &logs)?);
        Ok(Self { selection, ..Self::of_everything(paths, logs) })
    }

    fn of_everything(paths: Vec<PathBuf>, files: Vec<LogFile>) -> Self {
        Self {
            paths,
            files,
            copies: Arc::default(),
            is_silent: false,
            is_of_several: false,
            selection: Arc::default(),
            read: LineCounts::default(),
            broken: None,
            first_double: None,
        }
    }

    /// One of several sets of inputs: messages about it name it.
    pub(super) fn of_several(self) -> Self {
        Self { is_of_several: true, ..self }
    }

    /// Inputs that can be read [`again`](Self::again).
    pub(super) fn copied(files: &Files) -> Result<Self> {
        let inputs = Self::new(files)?;
        Ok(Self { copies: Arc::new(Copies::of(&inputs.files)?), ..inputs })
    }

    /// The same inputs, for another reading of all their lines, also of those that are not selected. It
    /// repeats no message on stderr.
    pub(super) fn again(&self) -> Self {
        let copies = Arc::clone(&self.copies);
        let everything = Self::of_everything(self.paths.clone(), self.files.clone());
        Self { copies, is_silent: true, ..everything }
    }

    pub(super) fn files(&self) -> &[LogFile] {
        &self.files
    }

    /// The names of the logs, in their order.
    pub(super) fn log_names(&self) -> Vec<Arc<str>> {
        let parts = self.files.chunk_by(|file, next| file.log == next.log);
        parts.filter_map(|files| files.first()).map(|file| Arc::clone(&file.log_name)).collect()
    }

    pub(super) fn is_of_several_logs(&self) -> bool {
        self.files.iter().any(|file| file.log > 0)
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

    /// Refuses to write over a log.
    pub(super) fn refuse_output(&self, path: &Path) -> Result<()> {
        let whole = |path: &Path| path.canonicalize().ok();
        let output = whole(path).filter(|output| output.is_file());
        if output.is_some() && self.files.iter().any(|file| whole(&file.path) == output) {
            let path = path.display();
            return Err(Failure::Io(format!("{path} is one of the logs; name another file for the output")));
        }
        Ok(())
    }

    /// The exit code at the end of a command: lines of an unknown schema, which are left out, make it 2.
    pub(super) fn exit_code(&self, otherwise: u8) -> ExitCode {
        ExitCode::from(if self.read.unknown > 0 { 2 } else { otherwise })
    }

    /// Says on stderr how many lines occur twice.
    pub(super) fn warn_of_doubles(&self) {
        if let Some(first) = &self.first_double {
            let twice =
                amount(self.read.doubles, "line occurs twice and counts", "lines occur twice and count");
            complain(&format!("{}{twice} twice: {first}", self.read.at_least()));
        }
    }

    /// Hands each of the layer's lines to `take`, in order.
    pub(super) fn for_each(&mut self, take: impl FnMut(Place<'_>, LogLine) -> Result<()>) -> Result<()> {
        self.map(|| LogLine::take, take)
    }

    /// Parses lines on all cores. Each core has its own mapper, which turns every line of the layer into a
    /// `T`; `take` gets these in the order of the lines.
    pub(super) fn map<T, Mapper>(
        &mut self,
        mut mapper: impl FnMut() -> Mapper,
        mut take: impl FnMut(Place<'_>, T) -> Result<()>,
    ) -> Result<()>
    where
        T: Send + 'static,
        Mapper: FnMut(&mut LogLine) -> T + Send + 'static,
    {
        let traced = || {
            let mut map = mapper();
            move |line: &mut LogLine, _: &mut Vec<u8>| (Some(Trace::of(line)), map(line))
        };
        self.map_traced(traced, |place, mapped, _| take(place, mapped))
    }

    /// The same for a command that finds doubled lines on its own: places have no twin. The mapper may append
    /// bytes to those of the lines before, which `take` gets too.
    pub(super) fn map_bytes<T, Mapper>(
        &mut self,
        mut mapper: impl FnMut() -> Mapper,
        take: impl FnMut(Place<'_>, T, &[u8]) -> Result<()>,
    ) -> Result<()>
    where
        T: Send + 'static,
        Mapper: FnMut(&mut LogLine, &mut Vec<u8>) -> T + Send + 'static,
    {
        let untraced = || {
            let mut map = mapper();
            move |line: &mut LogLine, bytes: &mut Vec<u8>| (None, map(line, bytes))
        };
        self.map_traced(untraced, take)
    }

    fn map_traced<T, Mapper>(
        &mut self,
        mut mapper: impl FnMut() -> Mapper,
        mut take: impl FnMut(Place<'_>, T, &[u8]) -> Result<()>,
    ) -> Result<()>
    where
        T: Send + 'static,
        Mapper: FnMut(&mut LogLine, &mut Vec<u8>) -> (Option<Trace>, T) + Send + 'static,
    {
        let (files, selection) = (self.files.clone(), Arc::clone(&self.selection));
        let progress = progress_bar(&files);
        let mut selecting = || {
            let (mut map, selection) = (mapper(), Arc::clone(&selection));
            move |line: &mut LogLine, bytes: &mut Vec<u8>| match selection.leaves_out(line) {
                None => Ok(map(line, bytes)),
                Some(reason) => Err(reason),
            }
        };
        let batches = batches(files, &self.copies, &progress, &mut selecting);
        // For lines whose pieces stand in several chunks.
        let (mut parser, mut map) = (Parser::default(), selecting());
        let mut parse = |log_name: &Arc<str>, line: &[u8]| {
            let mut bytes = Vec::new();
            parser.reads(log_name);
            let map = &mut |line: &mut LogLine| map(line, &mut bytes);
            (parser.parse(line, map), bytes)
        };
        let (mut reading, mut reasons) = (Reading::default(), Vec::new());
        for batches in batches.iter().cycle() {
            let died = |_| {
                let Reading { name, length, .. } = &reading;
                Failure::Io(format!("the reader broke down in {name}, after line {length}"))
            };
            let batch = batches.recv().map_err(died)?;
            let ends_log = match &batch {
                Batch::File(next) => next.log != reading.log,
                batch => matches!(batch, Batch::End),
            };
            if ends_log {
                for (number, line) in reading.begun.finish() {
                    let (parsed, bytes) = parse(&reading.log_name, &line);
                    self.add(&mut reading, number, parsed, &bytes, &progress, &mut take)?;
                }
            }
            match batch {
                Batch::End => break,
                Batch::File(next) => {
                    reasons.extend(reading.unusable(self.read));
                    reading.begin(&next, self.read);
                }
                Batch::Failed(why) => {
                    return Err(Failure::Io(format!("cannot read {}: {why}", reading.name)));
                }
                Batch::Lines(lines, bytes) => {
                    for parsed in lines {
                        reading.length += 1;
                        let number = reading.length;
                        match parsed {
                            Ok(parsed) => {
                                self.add(&mut reading, number, parsed, &bytes, &progress, &mut take)?;
                            }
                            Err(piece) => {
                                for (number, line) in reading.begun.add(number, piece) {
                                    let (parsed, bytes) = parse(&reading.log_name, &line);
                                    self.add(&mut reading, number, parsed, &bytes, &progress, &mut take)?;
                                }
                            }
                        }
                    }
                }
            }
        }
        progress.finish_and_clear();
        reasons.extend(reading.unusable(self.read));
        if self.is_silent {
            return Ok(());
        }
        if self.broken.is_none() {
            self.more_broken().iter().for_each(|more| complain(more));
        }
        self.selection.remarks().iter().for_each(|remark| complain(remark));
        let LineCounts { outside, unmatched, .. } = self.read;
        if self.read.lines == 0 {
            reasons.extend(self.selection.nothing(outside, unmatched).map(|why| self.of_these(why)));
            if reasons.is_empty() {
                reasons.push(format!("no file in {} has a line of omni-metrics", self.names()));
            }
            reasons.extend(self.read.hidden_sentence());
            return Err(Failure::Io(reasons.join("; ")));
        }
        reasons.extend(self.selection.sentence(outside, unmatched).map(|left_out| self.of_these(left_out)));
        reasons.extend(self.read.hidden_sentence());
        reasons.iter().for_each(|reason| complain(reason));
        Ok(())
    }

    fn of_these(&self, sentence: String) -> String {
        if self.is_of_several { format!("{}: {sentence}", printable(&self.names())) } else { sentence }
    }

    /// Counts a line, and hands it to `take` if it is the layer's.
    fn add<T>(
        &mut self,
        reading: &mut Reading,
        number: u64,
        parsed: Parsed<std::result::Result<(Option<Trace>, T), LeftOut>>,
        bytes: &[u8],
        progress: &ProgressBar,
        take: &mut impl FnMut(Place<'_>, T, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let Reading { name, log, names, history, first_unknown, .. } = reading;
        let (index, log) = (names.len().saturating_sub(1), *log);
        let mut place = Place { file: name, number, index, log, twin: None };
        match parsed {
            Parsed::Line(Ok((trace, mapped))) => {
                let relation =
                    trace.map(|trace| history.add(log, (index, number), trace)).unwrap_or_default();
                self.read.has_forgotten = history.has_forgotten();
                self.read.has_joinable_rows = history.has_joinable_rows();
                self.read.add(trace, relation.is_late);
                if let Some((file, number)) = relation.twin {
                    self.read.doubles += 1;
                    let file = names.get(file).map_or("", String::as_str);
                    let twin = Twin { file, number, is_near: relation.is_near };
                    place.twin = Some(twin);
                    self.first_double.get_or_insert_with(|| format!("{place} is the same as {twin}"));
                }
                take(place, mapped, bytes)?;
            }
            Parsed::Line(Err(LeftOut::ByTime)) => self.read.outside += 1,
            Parsed::Line(Err(LeftOut::ByCondition)) => self.read.unmatched += 1,
            Parsed::Foreign => self.read.foreign += 1,
            Parsed::Hidden => {
                self.read.foreign += 1;
                self.read.hidden += 1;
            }
            Parsed::Broken(why) => self.name_broken(place, &why, progress),
            Parsed::Unknown(schema) => {
                self.read.unknown += 1;
                first_unknown.get_or_insert((number, schema));
            }
        }
        Ok(())
    }

    /// Folds all lines into one value. Each core folds the lines that it parses into a value of its own,
    /// since most of the time goes into parsing; these values are merged at the end.
    pub(super) fn fold<T: Send + 'static>(
        &mut self,
        new: impl Fn() -> T,
        add: fn(&mut T, &LogLine),
        merge: fn(&mut T, &mut T),
    ) -> Result<T> {
        self.fold_and_map(new, add, merge, |_| (), |_, ()| {})
    }

    /// The same, and hands what `map` makes of each line to `take`, in the order of the lines.
    pub(super) fn fold_and_map<T: Send + 'static, S: Send + 'static>(
        &mut self,
        new: impl Fn() -> T,
        add: fn(&mut T, &LogLine),
        merge: fn(&mut T, &mut T),
        map: impl Fn(&LogLine) -> S + Clone + Send + 'static,
        mut take: impl FnMut(Place<'_>, S),
    ) -> Result<T> {
        let mut parts = Vec::new();
        let mapper = || {
            let part = Arc::new(Mutex::new(new()));
            parts.push(Arc::clone(&part));
            let map = map.clone();
            move |line: &mut LogLine| {
                add(&mut part.lock().unwrap_or_else(PoisonError::into_inner), line);
                map(line)
            }
        };
        self.map(mapper, |place, mapped| {
            take(place, mapped);
            Ok(())
        })?;
        let mut whole = new();
        for part in &parts {
            merge(&mut whole, &mut part.lock().unwrap_or_else(PoisonError::into_inner));
        }
        Ok(whole)
    }

    /// How many broken lines are not named, if any.
    pub(super) fn more_broken(&self) -> Option<String> {
        let more = self.read.broken.checked_sub(NAMED).filter(|more| *more > 0)?;
        Some(format!("{} left out", amount(more, "more broken line is", "more broken lines are")))
    }

    fn name_broken(&mut self, place: Place<'_>, why: &str, progress: &ProgressBar) {
        self.read.broken += 1;
        let is_named = self.read.broken <= NAMED && !self.is_silent;
        if let Some(broken) = &mut self.broken {
            let line = BrokenLine { file: place.file.to_owned(), number: place.number, why: why.to_owned() };
            broken.extend(is_named.then_some(line));
        } else if is_named {
            progress.suspend(|| complain(&format!("{place}: a broken line is left out: {why}")));
        }
    }
}
