//! The lines of a run against its summary line, if all of them are there.

use std::mem;

use crate::{Millis, cli::sample_check::Witness};

/// A hundredth of a time: not every version of the layer has written the exact mean and maximum.
const TOLERANCE: u64 = 100;

/// Sums over the lines of the run that began last. They are those of all its requests if their number, their
/// tokens and the time of the run are those of the summary.
#[derive(Debug, Default)]
pub(super) struct WholeRun {
    has_first: bool,
    lines: u64,
    tokens: u64,
    /// The longest time that a line says the run has taken, in nanoseconds.
    wall: u64,
    /// Of `e2e_total_ms`, in nanoseconds.
    sum: u128,
    most: u64,
}

impl WholeRun {
    /// Adds a line. Returns what of a summary line the lines before it rule out.
    pub(super) fn add(&mut self, witness: &Witness) -> Vec<String> {
        let totals = match witness {
            Witness::Summary(totals) => totals,
            Witness::Request(request) => {
                if request.run.requests == 1 && mem::replace(&mut self.has_first, true) {
                    *self = Self { has_first: true, ..Self::default() };
                }
                self.lines += 1;
                self.tokens = self.tokens.saturating_add(request.tokens);
                self.wall = self.wall.max(request.run.wall);
                self.sum += u128::from(request.e2e);
                self.most = self.most.max(request.e2e);
                return Vec::new();
            }
            Witness::Row { .. } | Witness::Open => return Vec::new(),
        };
        let run = &totals.run;
        let is_whole = (self.lines, self.tokens, self.wall) == (run.requests, run.tokens, run.wall);
        let Some((mean, most)) = totals.e2e.filter(|_| self.has_first && is_whole) else {
            return Vec::new();
        };
        let expected = (self.sum + u128::from(self.lines / 2)) / u128::from(self.lines);
        let figures = [("mean", expected as u64, mean), ("max", self.most, most)];
        let wrong = figures
            .into_iter()
            .filter(|(_, expected, found)| expected.abs_diff(*found) > 1 + expected / TOLERANCE);
        let sentence = |(name, expected, found)| {
            let [expected, found] = [expected, found].map(Millis::from_nanos);
            format!("e2e_total_ms: {name} is not that of the lines: expected {expected}, found {found}")
        };
        wrong.map(sentence).collect()
    }
}
