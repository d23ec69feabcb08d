//! The time of a run, divided into stretches of equal length. Those in which a request began or ended are
//! kept, so a moment that is far from all others takes no more room than any other.

use std::collections::BTreeMap;

use super::{
    course::{Course, bulk},
    spent::Part,
    stretch::Stretch,
};
use crate::RequestLine;

/// How many stretches there are at most, in all and in a chart. With one more, two become one.
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
        let requests = i128::from(line.weight());
        for (moment, requests) in [(begin, requests), (end, -requests)] {
            let at = moment / self.length;
            let stretch = self.known.entry(at).or_default();
            stretch.flight.change(requests, self.length - moment % self.length);
            stretch.events += line.weight();
        }
        self.known.entry(begin / self.length).or_default().add(line, parts);
        self.trim();
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
            self.known.entry(*at).or_default().merge(theirs, 0);
        }
        self.trim();
    }

    fn reach(&mut self, begin: u64, end: u64) {
        let (first, last) = self.extent.unwrap_or((begin, end));
        self.extent = Some((first.min(begin), last.max(end)));
    }

    fn trim(&mut self) {
        while self.known.len() as u64 > LIMIT {
            self.double();
        }
    }

    fn double(&mut self) {
        for (at, stretch) in std::mem::take(&mut self.known) {
            let earlier = if at % 2 == 0 { self.length } else { 0 };
            self.known.entry(at / 2).or_default().merge(&stretch, earlier);
        }
        self.length *= 2;
    }

    /// The stretches that the charts show, and what was before and after them; `None` without requests.
    pub(super) fn into_course(mut self) -> Option<Course> {
        let extent = self.extent?;
        let (mut first, mut last) = bulk(&self.known)?;
        while last - first >= LIMIT {
            self.double();
            (first, last) = (first / 2, last / 2);
        }
        Some(Course::of(self.known, self.length, (first, last), extent))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{E2eTable, Millis, Timestamp, cli::report::course::Placed};

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
            prop_assert_eq!(other.length, whole.length);
            for stretches in [whole, other] {
                let course = stretches.into_course().unwrap();
                prop_assert!(course.shown.len() as u64 <= LIMIT);
                prop_assert_eq!(course.iter().map(|at| at.stretch.endings.all()).sum::<u64>(), counted);
                prop_assert_eq!(course.iter().map(|at| at.stretch.tokens).sum::<u64>(), counted * 5);
                for at in course.iter() {
                    let overlap = |(begin, micros, weight, _): &(u64, u64, u32, bool)| {
                        let (begin, end) = (BASE + begin, BASE + begin + micros);
                        at.to.min(end).saturating_sub(at.from.max(begin)) * u64::from(*weight)
                    };
                    let time: u64 = requests.iter().map(overlap).sum();
                    let expected = time as f64 / (at.to - at.from) as f64;
                    prop_assert!((at.in_flight - expected).abs() < 1e-9, "{} {expected}", at.in_flight);
                }
            }
        }
    }

    fn course(begins: impl IntoIterator<Item = u64>) -> Course {
        let mut stretches = Stretches::default();
        begins.into_iter().for_each(|begin| stretches.add(&line(begin, 1_000, 1), &[]));
        stretches.into_course().unwrap()
    }

    const DAY: u64 = 86_400_000_000;

    #[test]
    fn a_line_that_is_years_away_makes_long_stretches_and_no_more() {
        let course = course([BASE, 0, 3 * BASE, u64::MAX / 2]);
        assert!(course.shown.len() as u64 <= LIMIT);
        assert_eq!(course.iter().map(|at| at.stretch.endings.all()).sum::<u64>(), 4);
        assert!(Stretches::default().into_course().is_none());
    }

    #[test]
    fn few_requests_far_away_leave_the_charts_to_the_others() {
        // A second of requests, with one a day before them and two a week after them.
        let second = || (0..100).map(|n| BASE + n * 10_000);
        let strays = [BASE - DAY, BASE + 7 * DAY, BASE + 8 * DAY];
        let course = course(second().chain(strays));
        let requests = |at: &Option<_>| at.as_ref().map(|at: &Placed| at.stretch.endings.all());
        assert_eq!((requests(&course.before), requests(&course.after)), (Some(1), Some(2)));
        assert_eq!(course.before.as_ref().map(|at| at.from), Some(BASE - DAY));
        assert_eq!(course.extent, (BASE - DAY, BASE + 8 * DAY + 1_000));
        assert!(course.axis.1 - course.axis.0 < 1_020_000, "{:?}", course.axis);
        assert!(course.shown.len() as u64 > LIMIT / 2, "{}", course.shown.len());
        assert!(course.iter().map(|at| at.in_flight).all(|open| open < 1.0));
    }

    #[test]
    fn the_charts_show_all_requests_if_those_far_away_are_not_few_or_those_few_not_far_away() {
        let second = || (0..100).map(|n| BASE + n * 10_000);
        let in_groups = second().chain((0..10).map(|n| BASE + DAY + n * 10_000));
        let near = second().chain([BASE + 4_000_000]);
        let few = [BASE, BASE + DAY];
        for course in [course(in_groups), course(near), course(few)] {
            assert!(course.before.is_none() && course.after.is_none());
            assert_eq!(course.axis, course.extent);
        }
    }
}
