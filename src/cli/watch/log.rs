//! What is remembered of a log: a bucket for each of the last seconds, and one for the whole log.
//!
//! Its size does not grow with the number of lines. A second has the counts of its times in buckets of 1 %,
//! at most 256 kinds of failure, the figures of at most 256 groups, and the lines of at most 16 requests, of
//! 8 KiB each.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    bucket::Bucket,
    follow::Read,
    period::{LONGEST, Period},
    row::Row,
    slowest::Slowest,
};
use crate::{
    Line, RequestLine,
    cli::{
        groups::{By, GroupTable, Grouping, RequestGroups},
        line_counts::LineCounts,
        log_line::LogLine,
        objectives::{ObjectiveCounts, Objectives},
        parsed::Parsed,
        percentiles::PercentileArgs,
        place::Place,
        running::{Running, Signs},
        sampling::Sampling,
        selection::{LeftOut, timestamp},
        stage_names::StageNames,
    },
};

/// How many of the slowest requests are kept, of those that failed and of the others: in each second, and of
/// the whole log.
const OF_SECOND: usize = 8;
const OF_WHOLE: usize = 100;
pub(super) const MICROS: u64 = 1_000_000;

#[derive(Debug, Clone)]
pub(super) struct Log {
    pub(super) source: String,
    pub(super) read: LineCounts,
    /// The input has ended, so that the time of the view stands still.
    pub(super) has_ended: bool,
    pub(super) sampling: Sampling,
    pub(super) running: Running,
    pub(super) names: StageNames,
    /// Those that the figures have.
    pub(super) percentiles: PercentileArgs,
    signs: Signs,
    /// By the second in which the requests ended; at most [`LONGEST`], up to the last one.
    seconds: BTreeMap<u64, Stretch>,
    whole: Stretch,
    /// That of a second in which nothing ended.
    empty: Bucket,
    /// When the reading began, and from when on the log has every request that ended.
    began: u64,
    first: Option<u64>,
    /// When the first request was created, in nanoseconds.
    created: Option<u64>,
    /// When the last request ended.
    pub(super) last: Option<u64>,
}

/// The requests that ended in a stretch of time.
#[derive(Debug, Clone)]
pub(super) struct Stretch {
    pub(super) bucket: Bucket,
    pub(super) slowest: Slowest,
}

impl Stretch {
    fn new(bucket: Bucket, limit: usize) -> Self {
        Self { bucket, slowest: Slowest::new(limit) }
    }
}

impl Log {
    /// A log whose reading begins now. All times are in microseconds since the Unix epoch.
    pub(super) fn new(source: String, objectives: &Objectives, by: Option<&By>, now: u64) -> Self {
        let grouping = |by: &By| Grouping { by: Some(by.clone()), width: None };
        let groups = by.map(|by| RequestGroups::new(grouping(by), objectives));
        let counts = ObjectiveCounts::new(objectives);
        let empty = Bucket::new(counts.clone(), groups.clone());
        Self {
            source,
            read: LineCounts::default(),
            has_ended: false,
            sampling: Sampling::default(),
            running: Running::default(),
            names: StageNames::default(),
            percentiles: PercentileArgs::default(),
            signs: Signs::default(),
            seconds: BTreeMap::new(),
            whole: Stretch::new(Bucket::new(counts, groups), OF_WHOLE),
            empty,
            began: now,
            first: None,
            created: None,
            last: None,
        }
    }

    pub(super) fn with_percentiles(self, percentiles: PercentileArgs) -> Self {
        Self { percentiles, ..self }
    }

    pub(super) fn add(&mut self, read: Read, now: u64) {
        match read.parsed {
            Parsed::Line(Ok(line)) => self.add_line(&line, read.length, now),
            Parsed::Line(Err(LeftOut::ByTime)) => self.read.outside += 1,
            Parsed::Line(Err(LeftOut::ByCondition)) => self.read.unmatched += 1,
            Parsed::Foreign | Parsed::Hidden => self.read.foreign += 1,
            Parsed::Broken(_) => self.read.broken += 1,
            Parsed::Unknown(_) => self.read.unknown += 1,
        }
    }

    fn add_line(&mut self, line: &LogLine, length: usize, now: u64) {
        self.read.lines += 1;
        self.names.add(line);
        let place = Place { file: &self.source, number: self.read.lines, index: 0, log: 0, twin: None };
        self.running.add(&self.signs, place, self.signs.of(line));
        // If the clock of the service is ahead, its lines count as of now.
        let ended = timestamp(line).unix_micros().min(now);
        match &line.line {
            Line::Request(request) => self.add_request(line, request, length, ended),
            Line::Stage(detached) => {
                self.sampling.add_row(detached.sample_rate);
                self.with(ended, |Stretch { bucket, .. }| {
                    bucket.add_row(&detached.row, detached.weight());
                    bucket.group(line);
                });
            }
            Line::Transfer(transfer) => self.sampling.add_row(transfer.sample_rate),
            Line::Summary(_) | Line::Open(_) => {}
        }
    }

    fn add_request(&mut self, line: &LogLine, request: &RequestLine, length: usize, ended: u64) {
        self.sampling.add_request(request.sample_rate);
        // Before the first request of a run no other one ended. A log that begins later is seen from its
        // first line on.
        let is_first_of_run = request.overall_summary.e2e_requests == 1;
        let time = if is_first_of_run { request.e2e_table.e2e_total_ms.as_nanos() / 1_000 } else { 0 };
        let seen = ended.saturating_sub(time);
        self.first = Some(self.first.map_or(seen, |first| first.min(seen)));
        let created = (ended * 1_000).saturating_sub(request.e2e_table.e2e_total_ms.as_nanos());
        self.created = Some(self.created.map_or(created, |first| first.min(created)));
        self.last = self.last.max(Some(ended));
        let mut row = None;
        self.with(ended, |Stretch { bucket, slowest }| {
            bucket.add(request);
            bucket.group(line);
            if slowest.takes(request) {
                let new = || Arc::new(Row::of_request(request, length, ended));
                slowest.put(Arc::clone(row.get_or_insert_with(new)));
            }
        });
    }

    /// Changes the stretches that a moment lies in: the whole log, and its second unless that is long ago.
    fn with(&mut self, moment: u64, mut change: impl FnMut(&mut Stretch)) {
        change(&mut self.whole);
        let second = moment / MICROS;
        let last = self.seconds.last_key_value().map_or(second, |(last, _)| second.max(*last));
        let first = (last + 1).saturating_sub(LONGEST);
        if second >= first {
            let new = || Stretch::new(self.empty.clone(), OF_SECOND);
            change(self.seconds.entry(second).or_insert_with(new));
        }
        while self.seconds.first_key_value().is_some_and(|(oldest, _)| *oldest < first) {
            self.seconds.pop_first();
        }
    }

    /// The moment that the view shows: now, or the end of the last request if the input has ended. A whole
    /// log in which nothing has ended since the reading began is one of the past, and ends with its last
    /// request.
    pub(super) fn moment(&self, period: Period, now: u64) -> u64 {
        let stands_still = self.has_ended || (period == Period::Whole && self.is_old());
        self.last.filter(|_| stands_still).unwrap_or(now)
    }

    /// Whether all requests ended before the reading began.
    pub(super) fn is_old(&self) -> bool {
        self.last.is_some_and(|last| last < self.began)
    }

    /// The sum of a period up to a moment, and the requests that are kept of it. Without counts, it has the
    /// objectives.
    pub(super) fn sum(&self, period: Period, moment: u64) -> (Bucket, Vec<Arc<Row>>) {
        let Period::Last(length) = period else {
            return (self.whole.bucket.clone(), self.whole.slowest.rows().cloned().collect());
        };
        let (mut sum, mut rows) = (self.empty.clone(), Vec::new());
        for (_, stretch) in self.seconds.range(first_second(moment, length)..) {
            sum.merge(&stretch.bucket);
            rows.extend(stretch.slowest.rows().cloned());
        }
        (sum, rows)
    }

    /// How much of a period has been seen, in nanoseconds: all of it, or less if the log or the reading began
    /// later. The second that has just begun counts as far as it has passed. The whole log begins with the
    /// creation of its first request, as that of `summary` does.
    pub(super) fn seen(&self, period: Period, moment: u64) -> u64 {
        let seen_from = self.first.map_or(self.began, |first| first.min(self.began)).min(moment);
        let begin = match (period, self.created) {
            (Period::Last(length), _) => seen_from.max(first_second(moment, length) * MICROS) * 1_000,
            (Period::Whole, Some(created)) => created,
            (Period::Whole, None) => seen_from * 1_000,
        };
        (moment * 1_000).saturating_sub(begin)
    }

    /// The numbers of requests by second, over `length` seconds up to a moment.
    pub(super) fn per_second(&self, length: u64, moment: u64) -> Vec<u64> {
        let first = first_second(moment, length);
        let requests = |second| self.seconds.get(&second).map_or(0, |stretch| stretch.bucket.requests);
        (first..first + length).map(requests).collect()
    }

    /// The objectives for which no request has a value, a sentence each.
    pub(super) fn missing(&self) -> Vec<String> {
        self.whole.bucket.objectives.missing()
    }

    /// What is to be said of the groups besides.
    pub(super) fn remarks(&self) -> Vec<String> {
        let table = self.whole.bucket.groups.clone().map(|groups| groups.into_table_of((0, 0), &[]));
        table.iter().flat_map(GroupTable::remarks).cloned().collect()
    }

    /// How many requests there were.
    pub(super) fn requests(&self) -> u64 {
        self.whole.bucket.requests
    }
}

/// The first of `length` seconds, the last of which contains the moment.
fn first_second(moment: u64, length: u64) -> u64 {
    (moment / MICROS + 1).saturating_sub(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DetachedStage, E2eTable, Millis, OverallSummary, StageRow, Timestamp};

    const NOW: u64 = 1_800_000_000 * MICROS;

    /// The line of a request that took so long: the n-th one of its run.
    fn request(ended: u64, millis: u64, n: u64) -> RequestLine {
        let e2e_total_ms = Millis::from_nanos(millis * 1_000_000);
        RequestLine {
            timestamp: Timestamp::from_unix_micros(ended),
            overall_summary: OverallSummary { e2e_requests: n, ..OverallSummary::default() },
            e2e_table: E2eTable { e2e_total_ms, e2e_total_tokens: 10, ..E2eTable::default() },
            ..RequestLine::default()
        }
    }

    fn add(log: &mut Log, line: RequestLine, now: u64) {
        log.add(
            Read {
                parsed: Parsed::Line(Ok(LogLine { line: Line::Request(line), ..LogLine::default() })),
                length: 1_000,
            },
            now,
        );
    }

    fn log() -> Log {
        Log::new("log".to_owned(), &Objectives::default(), None, NOW)
    }

    fn rate(log: &Log, period: Period, now: u64) -> f64 {
        log.sum(period, now).0.window(log.seen(period, now)).requests_per_s
    }

    #[test]
    fn rates_are_by_the_seconds_that_were_seen_however_few() {
        let mut log = log();
        assert_eq!(log.seen(Period::Last(60), NOW + 300_000), 300_000_000);
        // Three requests in the first 0.3 seconds that were seen of a log which goes on from before.
        (1..=3).for_each(|n| add(&mut log, request(NOW + n * 100_000, 5_000, 700 + n), NOW + n * 100_000));
        assert_eq!(rate(&log, Period::Last(60), NOW + 300_000), 10.0);
        // The whole log begins with the creation of the first one, 4.9 seconds before.
        assert_eq!(log.seen(Period::Whole, NOW + 300_000), 5_200_000_000);
        assert_eq!(rate(&log, Period::Last(60), NOW + 30 * MICROS), 0.1);
        // A minute is 59 whole seconds, and what has passed of the one that has begun.
        assert_eq!(log.seen(Period::Last(60), NOW + 70 * MICROS + 250_000), 59_250_000_000);
        assert_eq!(rate(&log, Period::Last(60), NOW + 70 * MICROS), 0.0);
    }

    #[test]
    fn a_log_is_seen_from_the_creation_of_the_first_request_of_its_run_or_else_from_its_first_line() {
        let seen = |n| {
            let mut log = log();
            add(&mut log, request(NOW - 20 * MICROS, 10_000, n), NOW);
            add(&mut log, request(NOW - 10 * MICROS, 30_000, n + 1), NOW);
            log.seen(Period::Last(60), NOW) / MICROS / 1_000
        };
        assert_eq!((seen(1), seen(2)), (30, 20));
    }

    #[test]
    fn at_the_end_of_the_input_the_time_stands_still_where_the_last_request_ended() {
        let mut log = log();
        (1..=100).for_each(|n| add(&mut log, request(NOW / 2 + n * 100_000, 50, n), NOW));
        assert_eq!((log.moment(Period::Last(60), NOW), rate(&log, Period::Last(60), NOW)), (NOW, 0.0));
        log.has_ended = true;
        let moment = log.moment(Period::Last(60), NOW);
        assert_eq!(moment, NOW / 2 + 10 * MICROS);
        assert_eq!(log.sum(Period::Last(60), moment).0.requests, 100);
        // The first request took 50 ms, and ended 9.9 s before the last one.
        assert_eq!(log.seen(Period::Last(60), moment), 9_950_000_000);
    }

    #[test]
    fn a_whole_log_of_the_past_ends_with_its_last_request_until_another_one_ends() {
        let mut log = log();
        (1..=100).for_each(|n| add(&mut log, request(NOW / 2 + n * 100_000, 100, n), NOW));
        let moment = log.moment(Period::Whole, NOW);
        assert_eq!((moment, rate(&log, Period::Whole, moment)), (NOW / 2 + 10 * MICROS, 10.0));
        assert!(log.per_second(LONGEST, moment).contains(&10));
        add(&mut log, request(NOW + MICROS, 100, 101), NOW + MICROS);
        assert_eq!(log.moment(Period::Whole, NOW + 2 * MICROS), NOW + 2 * MICROS);
    }

    #[test]
    fn a_request_whose_clock_is_ahead_counts_as_of_now_and_leaves_the_period() {
        let mut log = log();
        add(&mut log, request(NOW + 1_000 * MICROS, 10, 5), NOW);
        for (later, requests) in [(0, 1), (59, 1), (60, 0)] {
            assert_eq!(log.sum(Period::Last(60), NOW + later * MICROS).0.requests, requests, "{later}");
        }
        assert_eq!(log.sum(Period::Last(300), NOW + 60 * MICROS).0.requests, 1);
    }

    #[test]
    fn groups_of_stages_have_detached_rows_and_leave_the_period_with_their_seconds() {
        let by = By::parse("stage_id").unwrap();
        let mut log = Log::new("log".to_owned(), &Objectives::default(), Some(&by), NOW);
        let row = StageRow { stage_id: Some(1), ..StageRow::default() };
        let of_request = |n: u64| RequestLine {
            stage_table: vec![row.clone(), StageRow { stage_id: Some(2), ..StageRow::default() }],
            ..request(NOW + n * MICROS, 10, n)
        };
        (1..=20).for_each(|n| add(&mut log, of_request(n), NOW + n * MICROS));
        let timestamp = Timestamp::from_unix_micros(NOW + 20 * MICROS);
        let detached = DetachedStage { timestamp, row: row.clone(), ..DetachedStage::default() };
        let line = LogLine { line: Line::Stage(detached), ..LogLine::default() };
        log.add(Read { parsed: Parsed::Line(Ok(line)), length: 1_000 }, NOW + 20 * MICROS);
        let counts = |period| {
            let groups = log.sum(period, NOW + 20 * MICROS).0.groups.unwrap();
            let table = serde_json::to_value(groups.into_table_of((0, 0), &[])).unwrap();
            let rows = table["groups"].as_array().unwrap().iter();
            rows.map(|row| (row["group"].to_string(), row["count"].as_u64().unwrap())).collect::<Vec<_>>()
        };
        let rows = |first, second| [("\"1\"".to_owned(), first), ("\"2\"".to_owned(), second)];
        assert_eq!(counts(Period::Whole), rows(21, 20));
        assert_eq!(counts(Period::Last(60)), rows(21, 20));
        assert_eq!(counts(Period::Last(5)), rows(6, 5));
    }

    #[test]
    fn memory_is_bounded_and_no_request_is_left_out_however_many_there_are() {
        let mut log = log();
        for n in 0..40_000 {
            let ended = NOW + n * 10_000;
            add(&mut log, request(ended, n % 1_000, n + 1), ended);
        }
        let end = NOW + 400 * MICROS - 1;
        assert_eq!(log.seconds.len() as u64, LONGEST);
        assert!(log.seconds.values().all(|second| second.slowest.rows().count() == OF_SECOND));
        assert_eq!(log.whole.slowest.rows().count(), OF_WHOLE);
        let (sum, rows) = log.sum(Period::Last(LONGEST), end);
        assert_eq!((sum.requests, rows.len() as u64), (30_000, LONGEST * OF_SECOND as u64));
        assert!((rate(&log, Period::Last(LONGEST), end) - 100.0).abs() < 0.1);
        assert!(log.per_second(60, end).iter().all(|requests| *requests == 100));
        assert_eq!(log.requests(), 40_000);
    }
}
