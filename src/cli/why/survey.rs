//! The first reading: the request to explain, and those that it is compared with.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    Millis, RequestLine,
    cli::{
        critical_path::critical_path,
        groups::Merge,
        in_the_way::Identity,
        latency_bins::{bin_of, fine_bin, slowest},
        missing_rows::{received_without_row, stage_without_row},
        tally::Tally,
        timeline::{Interval, Part, Timeline},
    },
    model::id::OrderedId,
};

/// Which part of the requests, by their end-to-end times, is the middle.
const MIDDLE: (f64, f64) = (0.4, 0.6);

/// The requests so far, by the fine bins of their end-to-end times. So the size does not depend on the number
/// of lines.
#[derive(Debug, Default)]
pub(super) struct Survey {
    buckets: BTreeMap<u32, Bucket>,
    /// How many lines there are of requests.
    pub(super) requests: u64,
    /// How many requests they stand for.
    pub(super) weight: u64,
}

/// The slowest request of some.
#[derive(Debug)]
pub(super) struct Slowest {
    pub(super) identity: Identity,
    pub(super) line: Option<Box<RequestLine>>,
    pub(super) stage_without_row: Option<OrderedId>,
    /// The log that the line stands in.
    pub(super) log_name: Arc<str>,
}

/// Requests whose end-to-end times are of one fine bin.
#[derive(Debug)]
pub(super) struct Bucket {
    requests: u64,
    weight: u64,
    fastest: Millis,
    slowest: Millis,
    /// These are weighted sums.
    e2e: u128,
    parts: Tally<Part>,
    /// Requests by the part that each spent the largest part of its time in.
    mostly: Tally<Part>,
    /// Of whole rows, whether they are on the path or not.
    stages: Tally<OrderedId>,
    /// Requests without a row of a stage that they were sent to, by that stage.
    without_row: Tally<OrderedId>,
    slowest_request: Option<Slowest>,
}

/// The mean of some requests.
#[derive(Debug)]
pub(super) struct Mean {
    pub(super) requests: u64,
    pub(super) fastest: Millis,
    pub(super) slowest: Millis,
    pub(super) e2e: Millis,
    parts: Tally<Part>,
    mostly: Tally<Part>,
    stages: Tally<OrderedId>,
    without_row: Tally<OrderedId>,
    weight: u64,
}

impl Slowest {
    pub(super) fn of(line: &RequestLine, log_name: &Arc<str>) -> Self {
        Self { line: Some(Box::new(line.clone())), ..Self::without_line(line, log_name) }
    }

    fn without_line(line: &RequestLine, log_name: &Arc<str>) -> Self {
        let stage_without_row = stage_without_row(line).or_else(|| received_without_row(line));
        Self { identity: Identity::of(line), line: None, stage_without_row, log_name: Arc::clone(log_name) }
    }
}

impl Survey {
    /// Adds a request. The lines of the slowest ones may be kept.
    pub(super) fn add(&mut self, line: &RequestLine, log_name: &Arc<str>, keeps_lines: bool) {
        let weight = line.weight();
        self.requests += 1;
        self.weight = self.weight.saturating_add(weight);
        let e2e = line.e2e_table.e2e_total_ms;
        let bucket = self.buckets.entry(fine_bin(e2e)).or_insert_with(|| Bucket::new(e2e));
        bucket.add(line, log_name, weight, keeps_lines);
    }

    /// Whether a request has a row of the stage.
    pub(super) fn has_stage(&self, stage: OrderedId) -> bool {
        self.buckets.values().any(|bucket| bucket.stages.iter().any(|(known, _)| *known == stage))
    }

    /// The slowest request of the bucket that a percentile falls into.
    pub(super) fn slowest_at(&mut self, percentile: f64) -> Option<Slowest> {
        let rank = (self.weight as f64 * percentile / 100.0).ceil().max(1.0);
        let mut below = 0_u64;
        let bucket = self.buckets.values_mut().find(|bucket| {
            below = below.saturating_add(bucket.weight);
            below as f64 >= rank
        });
        bucket.and_then(|bucket| bucket.slowest_request.take())
    }

    /// The mean of the middle fifth of the requests.
    pub(super) fn middle(&self) -> Option<Mean> {
        let (first, last) = (self.weight as f64 * MIDDLE.0, self.weight as f64 * MIDDLE.1);
        let mut below = 0_u64;
        Mean::of(self.buckets.values().filter(|bucket| {
            let from = below;
            below = below.saturating_add(bucket.weight);
            (from as f64) < last && below as f64 > first
        }))
    }

    /// The mean of the slowest requests.
    pub(super) fn slowest(&self, percent: f64) -> Option<Mean> {
        Mean::of(self.slowest_buckets(percent)?)
    }

    /// The buckets of the slowest requests, slowest first. The bins are those of `report`.
    pub(super) fn slowest_buckets(&self, percent: f64) -> Option<impl Iterator<Item = &Bucket>> {
        let buckets = || self.buckets.iter().rev();
        let bins = buckets().map(|(fine, bucket)| (bin_of(*fine), bucket.weight));
        let first = slowest(percent, self.weight, bins)?;
        Some(buckets().take_while(move |(fine, _)| bin_of(**fine) >= first).map(|(_, bucket)| bucket))
    }
}

impl Merge for Survey {
    fn merge(&mut self, other: Self) {
        self.requests += other.requests;
        self.weight = self.weight.saturating_add(other.weight);
        for (place, bucket) in other.buckets {
            let kept = self.buckets.entry(place).or_insert_with(|| Bucket::new(bucket.fastest));
            kept.merge(bucket);
        }
    }
}

impl Mean {
    pub(super) fn of<'a>(buckets: impl Iterator<Item = &'a Bucket>) -> Option<Self> {
        let whole = buckets.fold(None::<Bucket>, |whole, bucket| {
            let mut whole = whole.unwrap_or_else(|| Bucket::new(bucket.fastest));
            whole.add_sums(bucket);
            Some(whole)
        });
        whole.map(|whole| {
            let Bucket {
                requests, weight, fastest, slowest, e2e, parts, mostly, stages, without_row, ..
            } = whole;
            let e2e = mean(e2e, weight);
            Self { requests, fastest, slowest, e2e, parts, mostly, stages, without_row, weight }
        })
    }

    /// The mean of each part. Parts that are not told apart are left out.
    pub(super) fn parts(&self) -> impl Iterator<Item = (Part, Millis)> {
        self.parts.iter().map(|(part, time)| (*part, mean(time, self.weight)))
    }

    /// How many requests spent the largest part of their time in each part.
    pub(super) fn mostly(&self) -> impl Iterator<Item = (Part, u64)> {
        self.mostly.iter().map(|(part, requests)| (*part, requests as u64))
    }

    /// How many requests have no row of a stage that they were sent to, though others of the survey have.
    pub(super) fn without_row(&self, survey: &Survey) -> u64 {
        let requests = self.without_row.iter().filter(|(stage, _)| survey.has_stage(**stage));
        requests.map(|(_, requests)| requests as u64).sum()
    }

    /// The mean of the whole time of a stage, whether it is on the critical path or not.
    pub(super) fn of_stage(&self, stage: OrderedId) -> Millis {
        let found = self.stages.iter().find(|(known, _)| **known == stage);
        found.map_or(Millis::ZERO, |(_, time)| mean(time, self.weight))
    }
}

fn mean(sum: u128, weight: u64) -> Millis {
    let mean = sum.saturating_add(u128::from(weight / 2)).checked_div(weight.into()).unwrap_or(0);
    Millis::from_nanos(mean.try_into().unwrap_or(u64::MAX))
}

impl Bucket {
    fn new(e2e: Millis) -> Self {
        Self {
            requests: 0,
            weight: 0,
            fastest: e2e,
            slowest: e2e,
            e2e: 0,
            parts: Tally::default(),
            mostly: Tally::default(),
            stages: Tally::default(),
            without_row: Tally::default(),
            slowest_request: None,
        }
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests
    }

    /// By how many nanoseconds all of them took longer than as many median requests.
    pub(super) fn longer_than(&self, median: Millis) -> f64 {
        let medians = u128::from(median.as_nanos()) * u128::from(self.weight);
        self.e2e.saturating_sub(medians) as f64
    }

    /// The id and the end-to-end time of the slowest one.
    pub(super) fn slowest_request(&self) -> Option<(&str, Millis)> {
        let slowest = self.slowest_request.as_ref();
        slowest.map(|slowest| (&*slowest.identity.request_id, slowest.identity.e2e_total))
    }

    fn add(&mut self, line: &RequestLine, log_name: &Arc<str>, weight: u64, keeps_line: bool) {
        let e2e = line.e2e_table.e2e_total_ms;
        self.requests += 1;
        self.weight = self.weight.saturating_add(weight);
        (self.fastest, self.slowest) = (self.fastest.min(e2e), self.slowest.max(e2e));
        self.e2e += u128::from(e2e.as_nanos()) * u128::from(weight);
        let timeline = Timeline::of(line);
        let mut path = critical_path(&timeline);
        path.sort_unstable_by_key(|segment| segment.part);
        let parts = path.chunk_by(|one, other| one.part == other.part).filter_map(|segments| {
            let length = segments.iter().map(Interval::length).sum::<u64>();
            segments.first().map(|segment| (length, segment.part))
        });
        let mut mostly = None;
        for (length, part) in parts {
            self.parts.add(&part, u128::from(length) * u128::from(weight));
            mostly = mostly.max(Some((length, part)));
        }
        mostly.iter().for_each(|(_, part)| self.mostly.add(part, 1));
        for row in timeline.rows {
            if let Part::Stage(stage) = row.part {
                self.stages.add(&stage, u128::from(row.length()) * u128::from(weight));
            }
        }
        stage_without_row(line).iter().for_each(|stage| self.without_row.add(stage, 1));
        let slowest = self.slowest_request.as_ref();
        if slowest.is_none_or(|slowest| slowest.identity.against(line).is_gt()) {
            let of = if keeps_line { Slowest::of } else { Slowest::without_line };
            self.slowest_request = Some(of(line, log_name));
        }
    }

    fn merge(&mut self, other: Self) {
        self.add_sums(&other);
        let identity = |slowest: &Slowest| slowest.identity.clone();
        let slowest = [self.slowest_request.take(), other.slowest_request].into_iter().flatten();
        self.slowest_request = slowest.max_by_key(identity);
    }

    fn add_sums(&mut self, other: &Self) {
        self.requests += other.requests;
        self.weight = self.weight.saturating_add(other.weight);
        self.fastest = self.fastest.min(other.fastest);
        self.slowest = self.slowest.max(other.slowest);
        self.e2e += other.e2e;
        self.parts.merge(&other.parts);
        self.mostly.merge(&other.mostly);
        self.stages.merge(&other.stages);
        self.without_row.merge(&other.without_row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{E2eTable, StageRow};

    /// A request that takes this many microseconds, of which stage 0 works for the given ones.
    fn request(id: &str, e2e: u64, worked: u64, sample_rate: Option<u32>) -> RequestLine {
        let micros = |micros: u64| Millis::from_nanos(micros * 1_000);
        let row = StageRow {
            stage_id: Some(0),
            start_ms: Some(Millis::ZERO),
            stage_gen_time_ms: Some(micros(worked)),
            ..StageRow::default()
        };
        RequestLine {
            request_id: id.to_owned(),
            sample_rate,
            e2e_table: E2eTable { e2e_total_ms: micros(e2e), ..E2eTable::default() },
            stage_table: vec![row],
            ..RequestLine::default()
        }
    }

    fn survey(lines: &[RequestLine]) -> Survey {
        let mut surveys = [Survey::default(), Survey::default()];
        for (n, line) in lines.iter().enumerate() {
            surveys[n % 2].add(line, &Arc::default(), true);
        }
        let [mut one, other] = surveys;
        one.merge(other);
        one
    }

    #[test]
    fn the_middle_is_a_weighted_mean_whose_parts_add_up() {
        let middle = survey(&[
            request("fast", 10, 10, Some(2)),
            request("a", 10_000, 9_000, Some(3)),
            request("b", 10_004, 1_004, None),
            request("slow", 90_000, 9_000, Some(2)),
        ])
        .middle()
        .unwrap();
        let parts: Vec<_> = middle.parts().map(|(part, time)| (part.to_string(), time.as_nanos())).collect();
        assert_eq!((middle.requests, middle.e2e.as_nanos()), (2, 10_001_000));
        assert_eq!(parts, [("stage 0".to_owned(), 7_001_000), ("unattributed".to_owned(), 3_000_000)]);
        assert_eq!([middle.fastest, middle.slowest].map(Millis::as_nanos), [10_000_000, 10_004_000]);
    }

    #[test]
    fn a_percentile_is_that_of_the_requests_for_which_the_lines_stand() {
        let lines: Vec<_> =
            (1..=100).map(|n| request(&n.to_string(), n * n, n, Some(1 + (n > 90) as u32))).collect();
        for (percentile, id) in [(0.0, "1"), (50.0, "55"), (90.0, "95"), (100.0, "100")] {
            let slowest = survey(&lines).slowest_at(percentile).and_then(|slowest| slowest.line);
            assert_eq!(slowest.unwrap().request_id, id, "{percentile}");
        }
    }
}
