//! Whether a log of which the layer has left out lines by their hash is sound: a fair sample of its runs,
//! with all lines of the classes that are kept.

use std::fmt::{self, Display};

use super::{history::Recent, numbers::Findings, place::Place};
use crate::write::text::grouped;

mod bounds;
mod counters;
mod estimate;
mod in_order;
mod run;
mod segment;
mod witness;

use counters::LineCounters;
use run::Run;
pub(super) use witness::Witness;
use witness::{Request, Totals};

/// How many runs of a file are told apart at once.
const RUNS: usize = 8;
/// How many ids of requests are remembered.
const IDS: usize = 1 << 16;
/// How many violations of a file are named.
const NAMED: usize = 20;

/// The lines of a file. Its size does not depend on how many there are.
#[derive(Debug)]
pub(super) struct SampleCheck {
    is_sampled: bool,
    counters: LineCounters,
    /// The one with the latest line is the last.
    runs: Vec<Run>,
    ids: Recent<()>,
    ids_repeat: bool,
    violations: Vec<String>,
}

/// What was verified of a sampled log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Verified {
    pub(super) one_in: Option<u32>,
    /// The last number of the last run, and whether the run has a summary line.
    up_to: Option<(u64, bool)>,
    ids_repeat: bool,
}

impl Verified {
    /// The last `e2e_requests` of the last run up to which the sample was verified.
    pub(super) fn number(&self) -> Option<u64> {
        self.up_to.filter(|_| !self.ids_repeat).map(|(number, _)| number)
    }
}

impl Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.one_in {
            Some(rate) => write!(f, "sampled 1 in {}", grouped(&rate.to_string()))?,
            None => write!(f, "sampled")?,
        }
        let number = |number: u64| grouped(&number.to_string());
        match self.up_to {
            _ if self.ids_repeat => write!(f, ", its size is not verified"),
            Some((to, true)) => write!(f, ", verified up to e2e_requests {}", number(to)),
            Some((to, false)) => {
                write!(
                    f,
                    ", verified up to e2e_requests {} by its lines alone, without a summary line",
                    number(to)
                )
            }
            None => write!(f, ", not verified: it has no summary line, and too few lines of requests"),
        }
    }
}

impl Default for SampleCheck {
    fn default() -> Self {
        Self {
            is_sampled: false,
            counters: LineCounters::default(),
            runs: Vec::new(),
            ids: Recent::new(IDS),
            ids_repeat: false,
            violations: Vec::new(),
        }
    }
}

impl SampleCheck {
    /// Adds a line, and returns the violation that it is, if it is of a sampled log.
    pub(super) fn add(&mut self, place: Place<'_>, witness: Witness) -> Option<String> {
        match witness {
            Witness::Request(request) => self.add_request(request, place),
            Witness::Summary(totals) => {
                self.add_totals(*totals, place);
                None
            }
            Witness::Row { is_sampled } => {
                self.is_sampled |= is_sampled;
                self.counters.add_row();
                None
            }
            Witness::Open => {
                self.counters.add_other();
                None
            }
        }
    }

    fn add_request(&mut self, request: Request, place: Place<'_>) -> Option<String> {
        self.counters.add_request(request.run.requests);
        if let Some(id) = request.sampled_id {
            self.is_sampled = true;
            self.ids_repeat |= self.ids.get(id).is_some();
            self.ids.insert(id, ());
        }
        let distances =
            self.runs.iter().enumerate().filter_map(|(at, run)| Some((run.distance(&request)?, at)));
        match distances.min_by_key(|(distance, at)| (*distance, usize::MAX - at)) {
            Some((_, at)) => self.make_latest(at),
            None => self.begin(Run::new(request.begin_of_run())),
        }
        self.runs.last_mut().and_then(|run| run.add(request, &place)).filter(|_| self.is_sampled)
    }

    fn add_totals(&mut self, totals: Totals, place: Place<'_>) {
        self.is_sampled |= totals.left_out > 0;
        self.counters.add_summary(&place, &totals);
        let distances =
            self.runs.iter().enumerate().filter_map(|(at, run)| Some((run.distance_of(&totals)?, at)));
        match distances.min_by_key(|(distance, at)| (*distance, usize::MAX - at)) {
            Some((_, at)) => self.make_latest(at),
            None => self.begin(Run::new(totals.at.saturating_sub(totals.run.wall))),
        }
        let is_whole = self.counters.is_whole();
        if let Some(run) = self.runs.last_mut() {
            run.add_totals(totals, &place, is_whole);
        }
    }

    /// Makes a run the one with the latest line.
    fn make_latest(&mut self, at: usize) {
        self.runs.get_mut(at..).unwrap_or_default().rotate_left(1);
    }

    /// Adds another run, in place of the one whose latest line is the oldest.
    fn begin(&mut self, run: Run) {
        if self.runs.len() >= RUNS {
            let oldest = self.runs.remove(0);
            self.violations.extend(oldest.finish(self.ids_repeat));
        }
        self.runs.push(run);
    }

    /// What there is to say of a sampled log; `None` if it is not sampled.
    pub(super) fn finish(self, file: &str) -> Option<(Findings, Verified)> {
        if !self.is_sampled {
            return None;
        }
        let last = self.runs.last();
        let verified = Verified {
            one_in: last.and_then(Run::rate),
            up_to: last.and_then(Run::verified),
            ids_repeat: self.ids_repeat,
        };
        let (mut violations, note) = self.counters.finish();
        violations.extend(self.violations);
        violations.extend(self.runs.into_iter().flat_map(|run| run.finish(self.ids_repeat)));
        let more = violations.len().saturating_sub(NAMED) as u64;
        violations.truncate(NAMED);
        let repeat = "sample: a request_id occurs again, so that requests were not chosen one by one; their \
                      number and their tokens are not checked";
        let notes = note.into_iter().chain(self.ids_repeat.then(|| repeat.to_owned()));
        let notes = notes.map(|note| format!("{file}: note: {note}")).collect();
        Some((Findings { violations, more, notes }, verified))
    }
}
