//! The requests of the last minute, by the second in which they ended: its size does not depend on how many
//! there are.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use crate::{
    Distribution, Millis, Percentiles, RequestLine,
    cli::parts::dominating,
    fold::buckets::{least, place},
};

/// How many seconds there are, the one that has just begun among them.
pub(super) const SECONDS: u64 = 60;
/// How many of the slowest requests of each second are kept.
pub(super) const SLOWEST: usize = 10;
/// How much of a request's id is kept, in bytes.
const ID: usize = 256;
const MICROS: u64 = 1_000_000;

#[derive(Debug, Default)]
pub(super) struct Minute {
    seconds: BTreeMap<u64, Second>,
    /// When the first request of the log was created, in microseconds since the Unix epoch.
    first: Option<u64>,
}

/// The requests that ended in one second.
#[derive(Debug, Default)]
struct Second {
    requests: u64,
    tokens: u64,
    /// In the order of [`Percentiles::TIMES`].
    times: [TimeBuckets; Percentiles::TIMES.len()],
    slowest: BinaryHeap<Reverse<Slow>>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slow {
    pub(super) e2e: Millis,
    pub(super) id: String,
    pub(super) part: String,
    pub(super) part_time: Millis,
}

/// The numbers of requests and tokens in a number of seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rates {
    requests: u64,
    tokens: u64,
    pub(super) seconds: f64,
}

impl Rates {
    pub(super) fn requests(self) -> f64 {
        self.requests as f64 / self.seconds
    }

    pub(super) fn tokens(self) -> f64 {
        self.tokens as f64 / self.seconds
    }
}

impl Minute {
    /// Adds a request. If the clock of its service is ahead, it counts as ended now.
    pub(super) fn add(&mut self, line: &RequestLine, now: u64) {
        let e2e = &line.e2e_table;
        let ended = line.timestamp.unix_micros().min(now);
        let created = ended.saturating_sub(e2e.e2e_total_ms.as_nanos() / 1_000);
        self.first = Some(self.first.map_or(created, |first| first.min(created)));
        let second = ended / MICROS;
        if second < first_second(now) {
            return;
        }
        let Second { requests, tokens, times, slowest } = self.seconds.entry(second).or_default();
        let weight = line.weight();
        *requests += weight;
        *tokens = tokens.saturating_add(e2e.e2e_total_tokens.saturating_mul(weight));
        Percentiles::times(e2e, |at, time| {
            if let Some(times) = times.get_mut(at) {
                times.add(time, weight);
            }
        });
        if slowest.len() == SLOWEST
            && slowest.peek().is_some_and(|Reverse(slow)| slow.e2e >= e2e.e2e_total_ms)
        {
            return;
        }
        let (part, part_time) = dominating(line);
        let id = crate::model::value::prefix(&line.request_id, ID).to_owned();
        slowest.push(Reverse(Slow { e2e: e2e.e2e_total_ms, id, part: part.to_string(), part_time }));
        if slowest.len() > SLOWEST {
            slowest.pop();
        }
    }

    /// Drops the seconds before the last minute.
    pub(super) fn advance(&mut self, now: u64) {
        self.seconds = self.seconds.split_off(&first_second(now));
    }

    /// Over the time that has been seen: the last minute, or less if the log is younger.
    pub(super) fn rates(&self, now: u64) -> Rates {
        let begin = (first_second(now) * MICROS).max(self.first.unwrap_or(0).min(now));
        let seconds = (now.saturating_sub(begin) as f64 / MICROS as f64).max(1.0);
        let of = |number: fn(&Second) -> u64| self.seconds.values().map(number).fold(0, u64::saturating_add);
        Rates { requests: of(|second| second.requests), tokens: of(|second| second.tokens), seconds }
    }

    /// Requests by second, the latest last.
    pub(super) fn per_second(&self, now: u64) -> Vec<u64> {
        let seconds = (0..SECONDS).map(|at| first_second(now) + at);
        seconds.map(|second| self.seconds.get(&second).map_or(0, |second| second.requests)).collect()
    }

    /// The distributions of the times that any request of the last minute has.
    pub(super) fn distributions(&self) -> Vec<(&'static str, Distribution<Millis>)> {
        let mut sums = <[TimeBuckets; Percentiles::TIMES.len()]>::default();
        for second in self.seconds.values() {
            sums.iter_mut().zip(&second.times).for_each(|(sum, times)| sum.merge(times));
        }
        let named = Percentiles::TIMES.iter().zip(&sums);
        named.filter_map(|(name, times)| Some((*name, times.distribution()?))).collect()
    }

    pub(super) fn slowest(&self) -> Vec<&Slow> {
        let mut slowest: Vec<_> =
            self.seconds.values().flat_map(|second| &second.slowest).map(|Reverse(slow)| slow).collect();
        slowest.sort_by(|slow, other| other.cmp(slow));
        slowest.truncate(SLOWEST);
        slowest
    }
}

/// The first second of the last minute, since the Unix epoch.
fn first_second(now: u64) -> u64 {
    (now / MICROS + 1).saturating_sub(SECONDS)
}

/// Times, counted in buckets of a hundredth.
#[derive(Debug, Default)]
struct TimeBuckets {
    counts: BTreeMap<usize, u64>,
    sum: u128,
    range: Option<(Millis, Millis)>,
}

impl TimeBuckets {
    fn add(&mut self, time: Millis, weight: u64) {
        *self.counts.entry(place(time.as_nanos())).or_default() += weight;
        self.sum += u128::from(time.as_nanos()) * u128::from(weight);
        self.widen((time, time));
    }

    fn widen(&mut self, (least, most): (Millis, Millis)) {
        let (first, last) = self.range.unwrap_or((least, most));
        self.range = Some((first.min(least), last.max(most)));
    }

    fn merge(&mut self, other: &Self) {
        other.counts.iter().for_each(|(place, count)| *self.counts.entry(*place).or_default() += count);
        self.sum += other.sum;
        other.range.iter().for_each(|range| self.widen(*range));
    }

    /// Percentiles are wrong by less than 1 % of their value.
    fn distribution(&self) -> Option<Distribution<Millis>> {
        let (least_time, max) = self.range?;
        let count: u64 = self.counts.values().sum();
        let at = |permille: u64| {
            let rank = (u128::from(count) * u128::from(permille)).div_ceil(1000).max(1);
            let mut below = 0;
            let found = self.counts.iter().find(|(_, count)| {
                below += u128::from(**count);
                below >= rank
            });
            let (begin, end) = found.map_or((0, 0), |(place, _)| (least(*place), least(*place + 1)));
            Millis::from_nanos(begin + end.saturating_sub(begin) / 2).clamp(least_time, max)
        };
        Some(Distribution {
            count,
            mean: Millis::from_nanos(self.sum.checked_div(count.into())? as u64),
            p50: at(500),
            p90: at(900),
            p99: at(990),
            p999: at(999),
            max,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{E2eTable, Timestamp};

    const NOW: u64 = 1_800_000_000_000_000;

    fn request(ended: u64, millis: u64) -> RequestLine {
        let e2e_total_ms = Millis::from_nanos(millis * 1_000_000);
        let e2e_table = E2eTable { e2e_total_ms, e2e_total_tokens: 10, ..E2eTable::default() };
        let request_id = format!("took-{millis}");
        RequestLine {
            timestamp: Timestamp::from_unix_micros(ended),
            request_id,
            e2e_table,
            ..RequestLine::default()
        }
    }

    #[test]
    fn rates_are_by_the_time_that_has_been_seen() {
        let mut minute = Minute::default();
        // 30 requests over five seconds.
        (1..=30).for_each(|n| minute.add(&request(NOW - 5_000_000 + n * 5_000_000 / 30, 0), NOW));
        let rates = minute.rates(NOW - 5_000_000 + 5_000_000 / 30 + 5_000_000);
        assert_eq!((rates.requests, rates.tokens, rates.seconds), (30, 300, 5.0));
        assert_eq!((rates.requests(), rates.tokens()), (6.0, 60.0));
        // A request that took longer than a minute: all of it has been seen.
        minute.add(&request(NOW, 100_000), NOW);
        assert_eq!(minute.rates(NOW + 500_000).seconds, 59.5);
    }

    #[test]
    fn no_request_is_left_out_of_the_rates_however_many_there_are() {
        let mut minute = Minute::default();
        for second in 0..50 {
            (0..4_000).for_each(|n| {
                minute.add(&request(NOW + second * MICROS + n * 250, 1), NOW + second * MICROS + n * 250)
            });
        }
        let rates = minute.rates(NOW + 50 * MICROS - 1_000);
        assert_eq!(rates.requests, 200_000);
        assert!((rates.requests() - 4_000.0).abs() < 1.0, "{rates:?}");
        assert!(minute.per_second(NOW + 50 * MICROS - 1).iter().rev().take(50).all(|count| *count == 4_000));
        assert!(
            minute
                .seconds
                .values()
                .all(|second| second.slowest.len() <= SLOWEST && second.times[0].counts.len() == 1)
        );
        minute.advance(NOW + 200 * MICROS);
        assert_eq!((minute.seconds.len(), minute.rates(NOW + 200 * MICROS).requests()), (0, 0.0));
    }

    #[test]
    fn distributions_and_the_slowest_are_those_of_all_seconds() {
        let mut minute = Minute::default();
        (1..=1_000).for_each(|n| minute.add(&request(NOW - n * 30_000, n), NOW));
        let [(_, e2e), (_, unattributed)] = minute.distributions()[..] else { panic!() };
        assert_eq!((e2e.count, e2e.max.as_f64(), unattributed.max), (1_000, 1_000.0, Millis::ZERO));
        for (found, exact) in [(e2e.p50, 500.0), (e2e.p90, 900.0), (e2e.p99, 990.0), (e2e.mean, 500.5)] {
            assert!((found.as_f64() - exact).abs() <= exact / 100.0, "{found} {exact}");
        }
        let slowest: Vec<_> = minute.slowest().iter().map(|slow| slow.id.as_str()).collect();
        assert_eq!(slowest, (991..=1_000).rev().map(|n| format!("took-{n}")).collect::<Vec<_>>());
    }
}
