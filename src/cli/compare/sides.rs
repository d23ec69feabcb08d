//! The two sides of a comparison: two logs, or the two halves of one.

use std::path::PathBuf;

use super::{Args, blocks::Blocks, sample::Sample};
use crate::{
    Millis, Timestamp,
    cli::{
        attainment::Attainment,
        failure::{Failure, Result},
        files::Files,
        input::Inputs,
        log_line::LogLine,
        selection::{moment_of, timestamp},
        stage_names::StageNames,
    },
    write::columns::printable,
};

/// One side, as it was read.
pub(super) struct Side {
    /// The log, as a person names it.
    pub(super) name: String,
    blocks: Blocks,
    /// The time that rates are divided by, from its start to its end in nanoseconds.
    covered: [u64; 2],
    /// Which of this time has no selected request, if much of it has none.
    on_rates: Option<String>,
    /// Lines of an unknown schema.
    pub(super) unknown: u64,
    /// Rows of workers that are in no request, of the whole log.
    pub(super) rows_of_workers: u64,
    /// That the log needs `join`, unless the other half of the same log says so.
    pub(super) unjoined: Option<String>,
}

impl Side {
    /// Reads both sides.
    pub(super) fn both(args: &Args) -> Result<[Self; 2]> {
        if let Some(split) = &args.split {
            return halves(args, split);
        }
        let [before, after] = logs(args)?;
        Ok([Self::of_log(&before, args)?, Self::of_log(&after, args)?])
    }

    fn of_log(files: &Files, args: &Args) -> Result<Self> {
        let mut inputs = Inputs::new(files)?.of_several();
        let blocks = inputs.fold(|| new(args), Blocks::add, Blocks::merge)?;
        inputs.warn_of_doubles();
        let span = blocks.span().unwrap_or_default();
        let covered = inputs.selection.covered(span);
        let on_rates = inputs.selection.on_rates(covered);
        Ok(Self {
            name: inputs.names(),
            blocks,
            covered,
            on_rates,
            unknown: inputs.read.unknown,
            rows_of_workers: inputs.read.rows_of_workers,
            unjoined: on_join(&inputs),
        })
    }

    pub(super) fn has_requests(&self) -> bool {
        self.blocks.span().is_some()
    }

    pub(super) fn into_sample(self, seed: u64) -> Result<Sample> {
        let sample = Sample::new(self.blocks.into_settled(self.covered), seed);
        match sample.lines() {
            0 => Err(Failure::Io(format!("{} has no line of a request", self.name))),
            _ => Ok(sample),
        }
    }

    /// How the requests stand to the objectives, if there are any.
    pub(super) fn attainment(&self) -> Option<Attainment> {
        self.blocks.objectives().figures(Millis::ZERO)
    }

    /// Which of the time that rates are of has no selected request.
    pub(super) fn on_rates(&self) -> Option<String> {
        self.on_rates.clone()
    }

    pub(super) fn stage_names(&self) -> &StageNames {
        self.blocks.names()
    }

    fn missing(&self) -> Vec<String> {
        self.blocks.objectives().missing()
    }
}

/// The objectives for which the requests of a side have no value, a sentence each. What both sides lack is
/// said once.
pub(super) fn remarks([before, after]: &[Side; 2]) -> Vec<String> {
    let names = [before, after].map(|side| printable(&side.name).into_owned());
    let [one, other] = [before, after].map(Side::missing);
    let both = format!("{} and {}", names[0], names[1]);
    let of_before =
        one.iter().map(|sentence| (if other.contains(sentence) { &both } else { &names[0] }, sentence));
    let of_after =
        other.iter().filter(|sentence| !one.contains(sentence)).map(|sentence| (&names[1], sentence));
    of_before.chain(of_after).map(|(name, sentence)| format!("{name}: {sentence}")).collect()
}

/// That the log needs `join`, if it does.
fn on_join(inputs: &Inputs) -> Option<String> {
    let sentence = inputs.read.unjoined()?;
    Some(format!("{}: {sentence}", printable(&inputs.names())))
}

fn new(args: &Args) -> Blocks {
    Blocks::new(&args.objectives, args.by.as_ref())
}

/// The files of the first and of the second log.
fn logs(args: &Args) -> Result<[Files; 2]> {
    let files = |files: &[PathBuf]| Files { files: files.to_vec(), selection: args.selection.clone() };
    match (args.logs.as_slice(), args.after.as_slice()) {
        ([before, after], []) => Ok([std::slice::from_ref(before), std::slice::from_ref(after)].map(files)),
        (before, after) if !before.is_empty() && !after.is_empty() => Ok([before, after].map(files)),
        _ => Err(Failure::Io(
            "compare takes two logs, BEFORE and AFTER; if they have several files, `--` stands between them. \
             With --split TIME, it takes one"
                .to_owned(),
        )),
    }
}

/// The lines of one log, before a moment and from it on.
struct Halves {
    split: Timestamp,
    before: Blocks,
    after: Blocks,
}

impl Halves {
    fn add(&mut self, line: &LogLine) {
        let half = if timestamp(line) < self.split { &mut self.before } else { &mut self.after };
        half.add(line);
    }

    fn merge(&mut self, other: &mut Self) {
        self.before.merge(&mut other.before);
        self.after.merge(&mut other.after);
    }
}

fn halves(args: &Args, split: &str) -> Result<[Side; 2]> {
    let files = Files { files: args.logs.clone(), selection: args.selection.clone() };
    let mut inputs = Inputs::new(&files)?;
    let split = moment_of("--split", split, inputs.files())?;
    let new = || Halves { split, before: new(args), after: new(args) };
    let Halves { before, after, .. } = inputs.fold(new, Halves::add, Halves::merge)?;
    inputs.warn_of_doubles();
    let spans = [before.span(), after.span()].into_iter().flatten();
    let span = spans.reduce(|[first, last], [begin, end]| [first.min(begin), last.max(end)]);
    let [start, end] = inputs.selection.covered(span.unwrap_or_default());
    let middle = split.unix_micros().saturating_mul(1_000);
    let side = |blocks, when: &str, covered| {
        let name = format!("{} {when} {split}", inputs.names());
        let rows_of_workers = inputs.read.rows_of_workers;
        Side { name, blocks, covered, on_rates: None, unknown: 0, rows_of_workers, unjoined: None }
    };
    let before = Side {
        unknown: inputs.read.unknown,
        unjoined: on_join(&inputs),
        ..side(before, "before", [start, middle])
    };
    Ok([before, side(after, "from", [middle, end])])
}
