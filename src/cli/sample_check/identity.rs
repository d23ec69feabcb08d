//! Which of the runs of a log a line is of.
//!
//! A line does not name its run. But the totals of a run grow with its numbers, and each line says how long
//! the run has taken, which places its beginning.

use super::in_order::InOrder;
use crate::OverallSummary;

/// Timestamps have microseconds, so that the beginnings of one run differ by as much.
const ROUNDING: u64 = 2_000;
/// For how long the beginning of a run is not sure, in nanoseconds.
const UNSURE: u64 = 250_000_000;
/// Of how many lines the totals are remembered.
const NUMBERS: usize = 8_192;
/// How many runs of a log are told apart at once.
const RUNS: usize = 8;

/// The run as a line has it: with `requests` requests, and with as many tokens and nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::cli) struct State {
    pub(in crate::cli) requests: u64,
    pub(in crate::cli) tokens: u64,
    pub(in crate::cli) wall: u64,
}

/// What tells a run from others. Its size does not depend on how many lines there are.
#[derive(Debug)]
pub(in crate::cli) struct Identity {
    begin: u64,
    /// The latest end of its requests; `None` before the first line.
    last_end: Option<u64>,
    /// The run up to each of the lines with the greatest numbers.
    numbers: InOrder<State>,
}

impl State {
    pub(in crate::cli) fn of(summary: &OverallSummary) -> Self {
        Self {
            requests: summary.e2e_requests,
            tokens: summary.e2e_total_tokens,
            wall: summary.e2e_wall_time_ms.as_nanos(),
        }
    }

    /// Whether a run that is in this state may later be in another one.
    fn is_before(&self, later: &Self) -> bool {
        self.tokens <= later.tokens && self.wall <= later.wall
    }
}

impl Identity {
    /// Of a run that begins at this time, in nanoseconds since the Unix epoch.
    pub(in crate::cli) fn new(begin: u64) -> Self {
        Self { begin, last_end: None, numbers: InOrder::default() }
    }

    /// How far the beginning of the run of a line, which ends at `end`, is from that of this run; `None` if
    /// they are two runs.
    pub(in crate::cli) fn distance(&self, state: &State, end: u64) -> Option<u64> {
        (self.is_at(state, end) && self.has_place_for(state))
            .then(|| begin_of(state, end).abs_diff(self.begin))
    }

    /// Whether the line may be of this run by its time. A later run begins later, as a rule when most of this
    /// one is over. A run of which there are only summary lines may have written them before its first
    /// request.
    pub(super) fn is_at(&self, state: &State, end: u64) -> bool {
        let Some(last_end) = self.last_end else { return true };
        // The first requests of a run may be open for long. Until they have ended, its beginning is not sure.
        let room = UNSURE.max(last_end.saturating_sub(self.begin) / 2);
        let latest = last_end.min(self.begin.saturating_add(room)).saturating_add(ROUNDING);
        begin_of(state, end) <= latest
    }

    /// Whether the line may be of this run by its totals, which grow with the number.
    fn has_place_for(&self, state: &State) -> bool {
        let (before, after) = self.numbers.around(state.requests);
        before.is_none_or(|before| before.is_before(state))
            && after.is_none_or(|after| match after.requests == state.requests {
                true => after == state,
                false => state.is_before(after),
            })
    }

    /// Adds a line. Returns what the line with the same number said, if there was one.
    pub(in crate::cli) fn add(&mut self, state: State, end: u64) -> Option<State> {
        self.begin = self.begin.max(begin_of(&state, end));
        self.last_end = self.last_end.max(Some(end));
        let twin = self.numbers.insert(state.requests, state);
        if self.numbers.len() > NUMBERS {
            self.numbers.pop_first();
        }
        twin
    }

    /// The lines with smaller numbers, and from this number on, that are next to it.
    pub(super) fn around(&self, number: u64) -> (Option<&State>, Option<&State>) {
        self.numbers.around(number)
    }
}

/// When the run of a line began. Earlier than that if other requests of the run had already ended later.
pub(in crate::cli) fn begin_of(state: &State, end: u64) -> u64 {
    end.saturating_sub(state.wall)
}

/// The runs of a log that lines may still be of. The one with the latest line is the last.
#[derive(Debug)]
pub(in crate::cli) struct Runs<T>(Vec<T>);

impl<T> Default for Runs<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Runs<T> {
    /// Makes the nearest run, of those that have a distance, the one with the latest line, if there is one.
    pub(in crate::cli) fn find(&mut self, distance: impl Fn(&T) -> Option<u64>) -> bool {
        let distances = self.0.iter().enumerate().filter_map(|(at, run)| Some((distance(run)?, at)));
        let nearest = distances.min_by_key(|(distance, at)| (*distance, usize::MAX - at));
        if let Some((_, at)) = nearest {
            self.0.get_mut(at..).unwrap_or_default().rotate_left(1);
        }
        nearest.is_some()
    }

    /// Adds another run. Returns the one whose latest line is the oldest, if there are too many.
    pub(in crate::cli) fn begin(&mut self, run: T) -> Option<T> {
        let oldest = (self.0.len() >= RUNS).then(|| self.0.remove(0));
        self.0.push(run);
        oldest
    }

    pub(in crate::cli) fn last_mut(&mut self) -> Option<&mut T> {
        self.0.last_mut()
    }

    pub(super) fn into_all(self) -> Vec<T> {
        self.0
    }

    pub(super) fn last(&self) -> Option<&T> {
        self.0.last()
    }

    pub(super) fn last_and_others(&mut self) -> Option<(&mut T, &[T])> {
        let (last, others) = self.0.split_last_mut()?;
        Some((last, others))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_was_reported_before_its_first_request_has_its_lines() {
        let line = |requests, wall| State { requests, tokens: 0, wall };
        let mut run = Identity::new(1_000_000_000);
        let (first, other) = (line(1, 50), line(2, 70));
        assert_eq!(run.distance(&first, 61_000_000_050), Some(60_000_000_000));
        run.add(first, 61_000_000_050);
        assert_eq!(run.distance(&other, 61_000_000_070), Some(0));
        assert_eq!(run.distance(&other, 62_000_000_070), None, "a later run");
    }
}
