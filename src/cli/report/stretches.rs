//! The time of a run, divided into stretches of equal length.

use std::collections::BTreeMap;

use super::{
    spent::Part,
    stretch::{Flight, Stretch},
};
use crate::RequestLine;

/// How many stretches there are at most. With one more, two become one, so there are at least half as many.
pub(super) const LIMIT: u64 = 192;

/// The stretches of a run. Their number does not depend on how many lines there are.
#[derive(Debug)]
pub(super) struct Stretches {
    /// The length of each, in microseconds.
    length: u64,
    known: BTreeMap<u64, Stretch>,
    /// When the first request was created and when the last one ended, in microseconds since the Unix epoch.
    extent: Option<(u64, u64)>,
}

/// A stretch with its place in time.
pub(super) struct Placed<'a> {
    /// In microseconds since the Unix epoch.
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) stretch: &'a Stretch,
    /// The mean number of requests that were in flight.
    pub(super) in_flight: f64,
}

impl Default for Stretches {
    fn default() -> Self {
        Self { length: 100, known: BTreeMap::new(), extent: None }
    }
}

/// When a request was created and when it ended, in microseconds since the Unix epoch.
pub(super) fn extent(line: &RequestLine) -> (u64, u64) {
    let end = line.timestamp.unix_micros();
    (end.saturating_sub(line.e2e_table.e2e_total_ms.as_nanos() / 1_000), end)
}

impl Stretches {
    pub(super) fn add(&mut self, line: &RequestLine, parts: &[(Part, u64)]) {
        let (begin, end) = extent(line);
        self.reach(begin, end);
        for (at, flight) in Flight::parts(begin, end, self.length, line.weight()) {
            self.known.entry(at).or_default().flight.add(flight);
        }
        self.known.entry(begin / self.length).or_default().add(line, parts);
    }

    pub(super) fn merge(&mut self, other: &mut Self) {
        let Some((begin, end)) = other.extent else { return };
        self.reach(begin, end);
        while other.length < self.length {
            other.double();
        }
        while self.length < other.length {
            self.double();
        }
        for (at, theirs) in &other.known {
            let ours = self.known.entry(*at).or_default();
            ours.merge(theirs);
            ours.flight.add(theirs.flight);
        }
    }

    /// Makes the stretches so long that these moments are among them.
    fn reach(&mut self, begin: u64, end: u64) {
        let (first, last) = self.extent.unwrap_or((begin, end));
        let (first, last) = (first.min(begin), last.max(end));
        self.extent = Some((first, last));
        while last / self.length - first / self.length >= LIMIT {
            self.double();
        }
    }

    fn double(&mut self) {
        for (at, stretch) in std::mem::take(&mut self.known) {
            let both = self.known.entry(at / 2).or_default();
            both.flight.add(stretch.flight.halved(at % 2 == 1, self.length));
            both.merge(&stretch);
        }
        self.length *= 2;
    }

    /// When the first request was created and when the last one ended, in microseconds since the Unix epoch.
    pub(super) fn extent(&self) -> Option<(u64, u64)> {
        self.extent
    }

    /// The length of a stretch, in microseconds.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// All of them, also those without a request.
    pub(super) fn iter(&self) -> impl Iterator<Item = Placed<'_>> {
        static NOTHING: std::sync::LazyLock<Stretch> = std::sync::LazyLock::new(Stretch::default);
        let (first, last) =
            self.extent.map_or((1, 0), |(begin, end)| (begin / self.length, end / self.length));
        let mut covering = 0;
        (first..=last).map(move |at| {
            let stretch = self.known.get(&at).unwrap_or(&NOTHING);
            let (in_flight, still) = stretch.flight.mean(covering, self.length);
            covering = still;
            Placed { from: at * self.length, to: (at + 1) * self.length, stretch, in_flight }
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{E2eTable, Millis, Timestamp};

    fn line(begin: u64, micros: u64, weight: u32) -> RequestLine {
        let e2e_table = E2eTable {
            e2e_total_ms: Millis::from_nanos(micros * 1_000),
            e2e_total_tokens: 5,
            ..E2eTable::default()
        };
        let timestamp = Timestamp::from_unix_micros(begin + micros);
        RequestLine { timestamp, e2e_table, sample_rate: Some(weight), ..RequestLine::default() }
    }

    const BASE: u64 = 1_700_000_000_000_000;

    proptest! {
        #[test]
        fn stretches_lose_nothing_however_they_are_merged(
            requests in prop::collection::vec(
                (0..2_000_000_u64, 0..3_000_000_u64, 1..4_u32, any::<bool>()),
                1..60,
            ),
        ) {
            let (mut whole, mut one, mut other) =
                (Stretches::default(), Stretches::default(), Stretches::default());
            for (begin, micros, weight, is_one) in &requests {
                let line = line(BASE + begin, *micros, *weight);
                whole.add(&line, &[]);
                if *is_one { one.add(&line, &[]) } else { other.add(&line, &[]) }
            }
            other.merge(&mut one);
            let counted: u64 = requests.iter().map(|(_, _, weight, _)| u64::from(*weight)).sum();
            for stretches in [&whole, &other] {
                prop_assert_eq!(stretches.length(), whole.length());
                prop_assert!(stretches.iter().count() as u64 <= LIMIT + 1);
                prop_assert_eq!(stretches.iter().map(|at| at.stretch.endings.all()).sum::<u64>(), counted);
                prop_assert_eq!(stretches.iter().map(|at| at.stretch.tokens).sum::<u64>(), counted * 5);
                for at in stretches.iter() {
                    let overlap = |(begin, micros, weight, _): &(u64, u64, u32, bool)| {
                        let (begin, end) = (BASE + begin, BASE + begin + micros);
                        at.to.min(end).saturating_sub(at.from.max(begin)) * u64::from(*weight)
                    };
                    let time: u64 = requests.iter().map(overlap).sum();
                    let expected = time as f64 / whole.length() as f64;
                    prop_assert!((at.in_flight - expected).abs() < 1e-9, "{} {expected}", at.in_flight);
                }
            }
        }
    }

    #[test]
    fn a_line_that_is_years_away_makes_long_stretches_and_no_more() {
        let mut stretches = Stretches::default();
        for begin in [BASE, 0, 3 * BASE] {
            stretches.add(&line(begin, 1_000, 1), &[]);
        }
        stretches.add(&line(u64::MAX / 2, u64::MAX / 2_000, 1), &[]);
        assert!(stretches.iter().count() as u64 <= LIMIT + 1);
        assert_eq!(stretches.iter().map(|at| at.stretch.endings.all()).sum::<u64>(), 4);
        assert_eq!(Stretches::default().iter().count(), 0);
    }
}
