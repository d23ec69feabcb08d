//! The requests of one stretch of time.

use std::collections::BTreeMap;

use super::{
    ending::Endings,
    latency::bin,
    spent::{Part, Spent},
};
use crate::RequestLine;

/// The requests that began in one of the stretches into which the time of a run is divided.
#[derive(Debug, Clone, Default)]
pub(super) struct Stretch {
    pub(super) endings: Endings,
    pub(super) tokens: u64,
    /// By the bin of their latency.
    pub(super) latencies: BTreeMap<u32, u64>,
    pub(super) spent: Spent,
    pub(super) flight: Flight,
}

/// The requests that were in flight in a stretch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Flight {
    /// The sum, in microseconds, of the times in this stretch of requests that began or ended in it.
    inside: i128,
    /// How many more requests than before were in flight in this whole stretch.
    change: i128,
}

impl Stretch {
    /// Adds a request that began in this stretch.
    pub(super) fn add(&mut self, line: &RequestLine, parts: &[(Part, u64)]) {
        let (weight, e2e) = (line.weight(), &line.e2e_table);
        self.endings.add(line);
        self.tokens = self.tokens.saturating_add(e2e.e2e_total_tokens.saturating_mul(weight));
        *self.latencies.entry(bin(e2e.e2e_total_ms)).or_default() += weight;
        self.spent.add(parts, weight);
    }

    /// Adds what is not of the flight, which depends on where the other stretch lies.
    pub(super) fn merge(&mut self, other: &Self) {
        self.endings.merge(&other.endings);
        self.tokens = self.tokens.saturating_add(other.tokens);
        other.latencies.iter().for_each(|(bin, count)| *self.latencies.entry(*bin).or_default() += count);
        self.spent.merge(&other.spent);
    }
}

impl Flight {
    /// The parts of one flight, by the stretches of a length that they belong to.
    pub(super) fn parts(begin: u64, end: u64, length: u64, weight: u64) -> [(u64, Self); 3] {
        let (first, last) = (begin / length, end / length);
        let of = |time: u64, change: i128| Self {
            inside: i128::from(time) * i128::from(weight),
            change: change * i128::from(weight),
        };
        if first == last {
            return [(first, of(end.saturating_sub(begin), 0)), (first, of(0, 0)), (first, of(0, 0))];
        }
        let in_first = (first + 1).saturating_mul(length) - begin;
        [(first, of(in_first, 0)), (first + 1, of(0, 1)), (last, of(end - last * length, -1))]
    }

    /// Adds the flights of the same stretch.
    pub(super) fn add(&mut self, other: Self) {
        self.inside += other.inside;
        self.change += other.change;
    }

    /// The flights of this stretch as those of one that is twice as long, of which it is a half.
    ///
    /// The doubled stretch counts as wholly covered by what covers its second half. So what begins to cover
    /// the second half is taken off for the first, and what ends before the second half needs no addition,
    /// since its time in the first half has been taken off here with a negative change.
    pub(super) fn halved(self, is_second: bool, length: u64) -> Self {
        let taken = if is_second { i128::from(length) * self.change } else { 0 };
        Self { inside: self.inside - taken, change: self.change }
    }

    /// The mean number of requests in flight, and how many covered the whole stretch, given those of the one
    /// before.
    pub(super) fn mean(self, before: i128, length: u64) -> (f64, i128) {
        let covering = before + self.change;
        let time = self.inside + covering * i128::from(length);
        (time.max(0) as f64 / length.max(1) as f64, covering)
    }
}
