//! The requests of one stretch of time.

use std::collections::BTreeMap;

use super::{
    ending::Endings,
    spent::{Part, Spent},
};
use crate::{RequestLine, cli::latency_bins::bin};

/// The requests that began in one of the stretches into which the time of a run is divided.
#[derive(Debug, Clone, Default)]
pub(super) struct Stretch {
    pub(super) endings: Endings,
    pub(super) tokens: u64,
    /// By the bin of their latency.
    pub(super) latencies: BTreeMap<u32, u64>,
    pub(super) spent: Spent,
    pub(super) flight: Flight,
    /// How many times a request began or ended.
    pub(super) events: u64,
}

/// The requests that were in flight in a stretch, given how many were in flight when it began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Flight {
    /// How many more requests are in flight when it ends.
    change: i128,
    /// What these changes add to the time of all requests in the stretch, in microseconds.
    inside: i128,
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

    /// Adds another stretch, or one that ends so much earlier.
    pub(super) fn merge(&mut self, other: &Self, earlier: u64) {
        self.endings.merge(&other.endings);
        self.tokens = self.tokens.saturating_add(other.tokens);
        other.latencies.iter().for_each(|(bin, count)| *self.latencies.entry(*bin).or_default() += count);
        self.spent.merge(&other.spent);
        self.flight.merge(other.flight.until(earlier));
        self.events += other.events;
    }
}

impl Flight {
    /// Adds requests that began so long before the end of the stretch; a negative number of them ended.
    pub(super) fn change(&mut self, requests: i128, left: u64) {
        self.change += requests;
        self.inside += requests * i128::from(left);
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.change += other.change;
        self.inside += other.inside;
    }

    /// The same in a stretch that ends later. What changed here stays so for the rest of that stretch.
    pub(super) fn until(self, later: u64) -> Self {
        Self { inside: self.inside + self.change * i128::from(later), ..self }
    }

    /// The time of all requests in a stretch of a length, in microseconds, and how many are in flight when it
    /// ends, given how many were so when it began.
    pub(super) fn time(self, open: i128, length: u64) -> (i128, i128) {
        (open * i128::from(length) + self.inside, open + self.change)
    }
}
