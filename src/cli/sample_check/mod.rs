//! Whether a log of which the layer has left out lines by their hash is sound: a fair sample of its runs,
//! with all lines of the classes that are kept.

use std::fmt::{self, Display};

use super::{history::Recent, numbers::Findings, place::Place};
use crate::write::columns::grouped;

mod bounds;
mod counters;
mod estimate;
mod identity;
mod in_order;
mod run;
mod segment;
mod witness;

use counters::LineCounters;
pub(super) use identity::{Identity, Runs, State, begin_of};
use run::Run;
use witness::Totals;
pub(super) use witness::{Request, Witness};

/// How many ids of requests are remembered.
const IDS: usize = 1 << 16;
/// How many violations of a file are named.
const NAMED: usize = 20;

/// The lines of a file. Its size does not depend on how many there are.
#[derive(Debug)]
pub(super) struct SampleCheck {
    is_sampled: bool,
    counters: LineCounters,
    runs: Runs<Run>,
    /// How many runs began after all runs before them, by their first request.
    in_turn: u64,
    /// Whether lines are of several runs that overlap, so that a line may be of either.
    is_mixed: bool,
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
    /// Whether its size can't be verified.
    is_doubtful: bool,
}

impl Verified {
    /// The last `e2e_requests` of the last run up to which the sample was verified.
    pub(super) fn number(&self) -> Option<u64> {
        self.up_to.filter(|_| !self.is_doubtful).map(|(number, _)| number)
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
            _ if self.is_doubtful => write!(f, ", its size is not verified"),
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
            runs: Runs::default(),
            in_turn: 0,
            is_mixed: false,
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
            Witness::Row { is_sampled, .. } => {
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
        self.counters.add_request(request.run.requests, request.sample_rate);
        if request.sample_rate.is_some() {
            self.is_sampled = true;
            self.ids_repeat |= self.ids.insert(request.id, ()).is_some();
        }
        let (state, end) = (request.run, request.end);
        let is_known = self.runs.find(|run| run.identity.distance(&state, end));
        if !is_known {
            self.begin(begin_of(&state, end));
        }
        let (run, others) = self.runs.last_and_others()?;
        if run.is_without_requests() {
            let overlaps = others.iter().any(|other| other.identity.is_at(&state, end));
            // A process has one run at a time.
            self.is_mixed |= !is_known && overlaps;
            self.in_turn += u64::from(!overlaps);
            run.in_turn = self.in_turn;
        }
        run.add(request, &place).filter(|_| self.is_sampled)
    }

    /// How many runs in turn there are up to that of the request that was added last; `None` if runs overlap,
    /// as those of several processes do.
    pub(super) fn runs_in_turn(&self) -> Option<u64> {
        self.runs.last().map(|run| run.in_turn).filter(|_| !self.is_mixed)
    }

    fn add_totals(&mut self, totals: Totals, place: Place<'_>) {
        self.is_sampled |= totals.left_out > 0;
        self.counters.add_summary(&place, &totals);
        if !self.runs.find(|run| run.distance_of(&totals)) {
            self.begin(totals.at.saturating_sub(totals.run.wall));
        }
        let is_whole = self.counters.is_whole();
        if let Some(run) = self.runs.last_mut() {
            run.add_totals(totals, &place, is_whole);
        }
    }

    fn begin(&mut self, begin: u64) {
        if let Some(oldest) = self.runs.begin(Run::new(begin)) {
            self.violations.extend(oldest.finish(self.ids_repeat));
        }
    }

    /// What there is to say of a sampled log; `None` if it is not sampled.
    pub(super) fn finish(self, file: &str) -> Option<(Findings, Verified)> {
        if !self.is_sampled {
            return None;
        }
        let runs = self.runs.into_all();
        let last = runs.last();
        let verified = Verified {
            one_in: last.and_then(Run::rate),
            up_to: last.and_then(Run::verified),
            is_doubtful: self.ids_repeat || self.is_mixed,
        };
        let (mut violations, note) = self.counters.finish();
        if !self.is_mixed {
            violations.extend(self.violations);
            violations.extend(runs.into_iter().flat_map(|run| run.finish(self.ids_repeat)));
        }
        let more = violations.len().saturating_sub(NAMED) as u64;
        violations.truncate(NAMED);
        let repeat = "sample: a request_id occurs again, so that requests were not chosen one by one; their \
                      number and their tokens are not checked";
        let mixed = "sample: lines are of runs that overlap, as those of several processes do; since a line \
                     does not say which run it is of, the size of the samples is not checked";
        let sentences = [(self.ids_repeat, repeat), (self.is_mixed, mixed)];
        let of_runs =
            sentences.into_iter().filter(|(holds, _)| *holds).map(|(_, sentence)| sentence.to_owned());
        let notes = note.into_iter().chain(of_runs);
        let notes = notes.map(|note| format!("{file}: note: {note}")).collect();
        Some((Findings { violations, more, notes }, verified))
    }
}
