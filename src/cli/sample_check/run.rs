//! One run of a sampled log, against the exact totals of its summary lines.
//!
//! The number of a request's line, and the tokens and the time of the run up to it, are exact although other
//! lines were left out. So the lines between two numbers are a sample of known size.

use std::{
    collections::{BTreeSet, VecDeque},
    fmt::Display,
    mem,
};

use super::{
    estimate::Estimate,
    identity::{Identity, State},
    in_order::InOrder,
    segment::Segment,
    witness::{Request, Totals},
};

/// How many lines wait until those with smaller numbers have come, and how many doubled numbers are
/// remembered.
const AHEAD: usize = 2_048;
const DOUBLED: usize = 8_192;
/// How many stretches between summary lines wait for late lines.
const SEGMENTS: usize = 1_024;
/// The first line of a run has a number up to this if the beginning of the run is in the file.
const FIRST: u64 = 256;

/// A line that is named in a violation.
#[derive(Debug, Clone)]
struct Named {
    place: String,
    /// How long its request took, in nanoseconds.
    e2e: u64,
}

/// What the lines of a run have shown so far. Its size does not depend on how many there are.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) identity: Identity,
    /// Which of the runs that follow each other it is.
    pub(super) in_turn: u64,
    /// The greatest number.
    last: u64,
    /// The smallest number of a line.
    first: u64,
    /// The `sample_rate` of its lines, and the first line that has it.
    rate: Option<(u32, String)>,
    ahead: InOrder<Request>,
    doubled: BTreeSet<u64>,
    estimate: Estimate,
    /// The stretch since the last summary line.
    segment: Segment,
    /// Those before it, the last one at the end.
    segments: VecDeque<Segment>,
    /// Of the last summary line, and its place.
    totals: Option<(Totals, String)>,
    /// The slowest request with a `sample_rate`: none of its time is slow enough to be kept for that.
    slowest_sampled: Option<Named>,
    /// The fastest request without one that neither failed nor has warnings, so that it was kept as slow.
    fastest_slow: Option<Named>,
    /// The fastest that failed, has no warnings and no `sample_rate`.
    fastest_failed: Option<Named>,
    /// The first that failed and has a `sample_rate`.
    failed_sampled: Option<Named>,
    violations: Vec<String>,
    /// Violations if failed requests are kept.
    shortages: Vec<String>,
}

/// Adds a line before which no other one is expected.
fn settle(line: &Request, segment: &mut Segment, estimate: &mut Estimate) {
    segment.add(line);
    estimate.add(line);
}

impl Run {
    pub(super) fn new(begin: u64) -> Self {
        Self {
            identity: Identity::new(begin),
            in_turn: 0,
            last: 0,
            rate: None,
            ahead: InOrder::default(),
            doubled: BTreeSet::new(),
            estimate: Estimate::default(),
            segment: Segment::default(),
            first: u64::MAX,
            segments: VecDeque::new(),
            totals: None,
            slowest_sampled: None,
            fastest_slow: None,
            fastest_failed: None,
            failed_sampled: None,
            violations: Vec::new(),
            shortages: Vec::new(),
        }
    }

    pub(super) fn is_without_requests(&self) -> bool {
        self.first == u64::MAX
    }

    /// How far the number of the summary line is from the last one of this run; `None` if its totals do not
    /// lie between those of the lines with smaller and with greater numbers.
    pub(super) fn distance_of(&self, totals: &Totals) -> Option<u64> {
        let run = &totals.run;
        let is_after = |before: &State| before.requests <= run.requests && before.tokens <= run.tokens;
        let (smaller, greater) = self.identity.around(run.requests.saturating_add(1));
        let is_ordered = self.totals.as_ref().is_none_or(|(last, _)| is_after(&last.run))
            && self.estimate.last().is_none_or(|last| is_after(&last))
            && smaller.is_none_or(is_after)
            && greater.is_none_or(|line| run.tokens <= line.tokens);
        is_ordered.then(|| run.requests.abs_diff(self.last))
    }

    /// Adds a line. Returns the violation that the line is.
    pub(super) fn add(&mut self, request: Request, place: &impl Display) -> Option<String> {
        let twin = self.identity.add(request.run, request.end);
        self.first = self.first.min(request.run.requests);
        self.last = self.last.max(request.run.requests);
        self.classify(&request, place);
        let violation = self.check_rate(&request, place).or_else(|| self.check_number(&request, twin));
        let number = request.run.requests;
        let settled = self.totals.as_ref().map_or(0, |(totals, _)| totals.run.requests);
        if number <= settled {
            if let Some(segment) = self.segments.iter_mut().find(|segment| segment.has(number)) {
                segment.add(&request);
            }
            self.estimate.add_late(&request);
        } else if let Some(other) = self.ahead.insert(number, request) {
            self.estimate.add_late(&other);
        }
        if self.ahead.len() > AHEAD {
            // Later lines have greater numbers than the first half.
            let Self { ahead, segment, estimate, .. } = self;
            ahead.take_first(AHEAD / 2).for_each(|line| settle(&line, segment, estimate));
        }
        violation
    }

    fn classify(&mut self, request: &Request, place: &impl Display) {
        let named = || Named { place: place.to_string(), e2e: request.e2e };
        let keep_fastest = |fastest: &mut Option<Named>| {
            if fastest.as_ref().is_none_or(|fastest| request.e2e < fastest.e2e) {
                *fastest = Some(named());
            }
        };
        if request.sample_rate.is_some() {
            if self.slowest_sampled.as_ref().is_none_or(|slowest| request.e2e > slowest.e2e) {
                self.slowest_sampled = Some(named());
            }
            if request.is_failed {
                self.failed_sampled.get_or_insert_with(named);
            }
        } else if !request.has_warnings {
            keep_fastest(if request.is_failed { &mut self.fastest_failed } else { &mut self.fastest_slow });
        }
    }

    fn check_rate(&mut self, request: &Request, place: &impl Display) -> Option<String> {
        let found = request.sample_rate?;
        let (rate, first) = self.rate.get_or_insert_with(|| (found, place.to_string()));
        (*rate != found)
            .then(|| format!("sample_rate: expected {rate}, as in {first} of the same run, found {found}"))
    }

    /// Two lines have one number if they also have the tokens and the time of the run up to it in common.
    fn check_number(&mut self, request: &Request, twin: Option<State>) -> Option<String> {
        let (run, number) = (request.run, request.run.requests);
        let is_double = run.wall > 0 && twin == Some(run);
        (is_double && self.doubled.len() < DOUBLED && self.doubled.insert(number)).then(|| {
            format!("e2e_requests: expected each number of a run at most once, found {number} again")
        })
    }

    /// Adds a summary line. If `is_whole`, all lines of its process are in the file.
    pub(super) fn add_totals(&mut self, totals: Totals, place: &impl Display, is_whole: bool) {
        let Self { ahead, segment, estimate, .. } = self;
        ahead.take_up_to(totals.run.requests).for_each(|line| settle(&line, segment, estimate));
        let last = self.totals.take().map(|(last, _)| last);
        let mut segment = mem::take(&mut self.segment);
        let is_whole = last.is_some() || is_whole && self.first <= FIRST;
        segment.end(&totals, last.as_ref(), place.to_string(), is_whole);
        self.segments.push_back(segment);
        self.last = self.last.max(totals.run.requests);
        self.totals = Some((totals, place.to_string()));
        if self.segments.len() > SEGMENTS {
            self.judge_first_segment();
        }
    }

    fn judge_first_segment(&mut self) {
        let Some(segment) = self.segments.pop_front() else { return };
        let (excess, shortages) = segment.judge();
        self.violations.extend(excess);
        self.shortages.extend(shortages);
    }

    /// Up to which number the sample of the run can be judged, and whether by a summary line; `None` if it
    /// has fewer than two lines and no summary line.
    pub(super) fn verified(&self) -> Option<(u64, bool)> {
        match &self.totals {
            Some((totals, _)) => Some((self.last.max(totals.run.requests), true)),
            None => (self.first < self.last).then_some((self.last, false)),
        }
    }

    pub(super) fn rate(&self) -> Option<u32> {
        self.rate.as_ref().map(|(rate, _)| *rate)
    }

    /// What the lines violate by the exact totals of the last of them, which is not itself in the sample that
    /// is judged, since its number is no chance.
    fn judge_lines(&mut self, ids_repeat: bool) -> Vec<String> {
        let (Some(end), Some((rate, place))) = (self.ahead.pop_last(), self.rate.clone()) else {
            return Vec::new();
        };
        let run = State {
            requests: end.run.requests.saturating_sub(1),
            tokens: end.run.tokens.saturating_sub(end.tokens),
            ..end.run
        };
        let lost = self.totals.as_ref().map_or(0, |(totals, _)| totals.lost);
        let totals = Totals { run, e2e: None, at: end.end, written: None, left_out: 0, lost, window: None };
        let mut estimate = self.estimate.clone();
        self.ahead.values().for_each(|line| estimate.add(line));
        let sentences = if ids_repeat { Vec::new() } else { estimate.judge(rate, &totals) };
        sentences.into_iter().map(|sentence| format!("{place}: {sentence}")).collect()
    }

    /// What the run as a whole violates. Without a summary line, only its size is known: the log may be
    /// joined, where requests are longer.
    pub(super) fn finish(mut self, ids_repeat: bool) -> Vec<String> {
        while !self.segments.is_empty() {
            self.judge_first_segment();
        }
        let of_lines = self.judge_lines(ids_repeat);
        let Some((totals, place)) = &self.totals else { return of_lines };
        let mut violations = self.violations;
        if let (Some(sampled), Some(slow)) = (&self.slowest_sampled, &self.fastest_slow)
            && slow.e2e <= sampled.e2e
        {
            violations.push(format!(
                "{}: sample_rate: expected one, since the request did not fail, has no warnings and was not \
                 slower than that of {}, which has one",
                slow.place, sampled.place
            ));
        }
        if let (Some(sampled), Some(failed)) = (&self.slowest_sampled, &self.fastest_failed)
            && failed.e2e <= sampled.e2e
        {
            violations.extend(self.shortages);
            if let Some(sampled) = self.failed_sampled {
                violations.push(format!(
                    "{}: sample_rate: expected none, since failed requests are kept, as that of {}",
                    sampled.place, failed.place
                ));
            }
        }
        if let (Some((rate, _)), false) = (self.rate, ids_repeat) {
            let of_estimate = self.estimate.judge(rate, totals);
            match of_estimate.is_empty() {
                true => violations.extend(of_lines),
                false => {
                    violations.extend(of_estimate.into_iter().map(|sentence| format!("{place}: {sentence}")));
                }
            }
        }
        violations
    }
}
