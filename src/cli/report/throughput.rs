//! How many requests ended, and how many tokens they had, over time.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    column::Column,
    figures::{decimal, shown},
};
use crate::{Millis, RequestLine, Timestamp};

/// How many columns there are at most.
const COLUMNS: u64 = 96;

/// Counts by stretches of time, which double in length when there are too many of them.
#[derive(Debug)]
pub(super) struct Throughput {
    /// The length of a stretch, in microseconds.
    length: u64,
    stretches: BTreeMap<u64, RequestsAndTokens>,
}

#[derive(Debug, Default, Clone, Copy)]
struct RequestsAndTokens {
    requests: u64,
    tokens: u64,
}

#[derive(Serialize)]
pub(super) struct Chart {
    requests: Vec<Column>,
    tokens: Vec<Column>,
    most_requests: String,
    most_tokens: String,
    /// How long a column is.
    length: String,
    first: String,
    last: String,
}

impl Default for Throughput {
    fn default() -> Self {
        Self { length: 1_000, stretches: BTreeMap::new() }
    }
}

impl Throughput {
    pub(super) fn add(&mut self, line: &RequestLine) {
        let requests = line.weight();
        let tokens = line.e2e_table.e2e_total_tokens.saturating_mul(requests);
        self.add_at(line.timestamp.unix_micros() / self.length, RequestsAndTokens { requests, tokens });
    }

    pub(super) fn merge(&mut self, other: &Self) {
        while self.length < other.length {
            self.double();
        }
        for (at, counted) in &other.stretches {
            // The stretches of this sum may have doubled in length meanwhile.
            self.add_at(at * other.length / self.length, *counted);
        }
    }

    fn add_at(&mut self, at: u64, counted: RequestsAndTokens) {
        let sum = self.stretches.entry(at).or_default();
        sum.requests += counted.requests;
        sum.tokens = sum.tokens.saturating_add(counted.tokens);
        while self.span().is_some_and(|(first, last)| last - first >= COLUMNS) {
            self.double();
        }
    }

    fn span(&self) -> Option<(u64, u64)> {
        Some((*self.stretches.first_key_value()?.0, *self.stretches.last_key_value()?.0))
    }

    fn double(&mut self) {
        self.length *= 2;
        for (at, counted) in std::mem::take(&mut self.stretches) {
            let sum = self.stretches.entry(at / 2).or_default();
            sum.requests += counted.requests;
            sum.tokens = sum.tokens.saturating_add(counted.tokens);
        }
    }

    fn most(&self, number: fn(RequestsAndTokens) -> u64) -> u64 {
        self.stretches.values().map(|counted| number(*counted)).max().unwrap_or(0)
    }

    /// The count of a stretch, as a rate per second.
    fn rate(&self, counted: u64) -> String {
        decimal(counted as f64 / (self.length as f64 / 1e6))
    }

    pub(super) fn chart(&self) -> Option<Chart> {
        let (first, last) = self.span()?;
        let start = |at: u64| Timestamp::from_unix_micros(at * self.length).to_string();
        let columns = |number: fn(RequestsAndTokens) -> u64, unit: &str| {
            let most = self.most(number).max(1);
            let column = |at| {
                let counted = number(self.stretches.get(&at).copied().unwrap_or_default());
                Column {
                    name: start(at),
                    value: format!("{} {unit} a second", self.rate(counted)),
                    height: counted as f64 / most as f64 * 100.0,
                    mark: String::new(),
                }
            };
            (first..=last).map(column).collect()
        };
        Some(Chart {
            requests: columns(|counted| counted.requests, "requests"),
            tokens: columns(|counted| counted.tokens, "tokens"),
            most_requests: self.rate(self.most(|counted| counted.requests)),
            most_tokens: self.rate(self.most(|counted| counted.tokens)),
            length: shown(Millis::from_nanos(self.length.saturating_mul(1_000))),
            first: start(first),
            last: start(last + 1),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_are_few_and_lose_nothing_however_they_are_merged() {
        let line =
            |micros| RequestLine { timestamp: Timestamp::from_unix_micros(micros), ..RequestLine::default() };
        let (mut whole, mut one, mut other) =
            (Throughput::default(), Throughput::default(), Throughput::default());
        for n in 0..10_000_u64 {
            let at = 1_700_000_000_000_000 + n * n * 1_000;
            whole.add(&line(at));
            if n % 3 == 0 { one.add(&line(at)) } else { other.add(&line(at)) }
        }
        one.merge(&other);
        for throughput in [&whole, &one] {
            let (first, last) = throughput.span().unwrap();
            assert!(last - first < COLUMNS);
            assert_eq!(throughput.stretches.values().map(|counted| counted.requests).sum::<u64>(), 10_000);
        }
        assert_eq!(whole.length, one.length);
    }
}
