//! Which other requests a stage worked for while a request did nothing before it.
//!
//! Two readings of the log find them: the first chooses the requests to explain and makes a [`Waiter`] of
//! each; the second adds every line to [`InTheWay`]. Memory depends on the number of waiters, not on that of
//! lines.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BTreeMap, BinaryHeap},
    sync::Arc,
};

use serde::Serialize;

use super::{
    complete::times,
    critical_path::critical_path,
    log_line::LogLine,
    origins::{each, named},
    timeline::{Interval, Part, Timeline},
};
use crate::{
    Line, Millis, RequestLine, StageRow, Timestamp,
    fold::intervals::Intervals,
    model::id::{OrderedId, unordered},
};

/// Timestamps have microseconds, so what two lines have in common is known to one microsecond.
const RESOLUTION: u64 = 1_000;

/// A request of which others may have been in the way.
#[derive(Debug, Clone)]
pub(super) struct Waiter {
    request: Identity,
    /// The log that its line stands in.
    log_name: Arc<str>,
    stages: Vec<Before>,
}

/// What tells a request from others with the same id. The slowest request is the largest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity {
    pub(super) e2e_total: Millis,
    timestamp: Timestamp,
    pub(super) request_id: String,
}

/// The time that a request spent at a stage which others used as well.
#[derive(Debug, Clone)]
struct Before {
    stage: OrderedId,
    /// If there is one, this is the time in the batch, and only requests of the batch count. Otherwise it is
    /// the idle time right before the stage.
    batch_id: Option<u64>,
    /// The logs that the stage's row comes from, or the request, if `join` has named them.
    logs: Option<String>,
    /// By the wall clock, in nanoseconds since 1970.
    times: Vec<(u64, u64)>,
}

/// What a stage did while a request waited for it, or ran in a batch of it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Meanwhile {
    pub(super) stage_id: Option<u64>,
    /// The batch in which the request ran; absent if it is about the time before the stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) batch_id: Option<u64>,
    /// The log of the process that the request waited for or ran in, if the lines come from several logs.
    /// Only others of this process count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) log_file: Option<String>,
    /// How long the request did nothing before the stage, or ran in the batch.
    pub(super) time_ms: Millis,
    /// For how much of this time the stage worked for others, however many at once. Of more than 64 separate
    /// times, the shortest gaps count too.
    pub(super) others_time_ms: Millis,
    /// How many others there were.
    pub(super) others: u64,
    /// Those for which the stage worked longest, longest first.
    pub(super) named: Vec<Other>,
}

/// A request for which the stage worked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Other {
    /// In the time that it is about.
    pub(super) time_ms: Millis,
    pub(super) request_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) batch_id: Option<u64>,
}

impl Waiter {
    pub(super) fn of(line: &RequestLine, log_name: &Arc<str>) -> Self {
        let path = critical_path(&Timeline::of(line));
        let mut stages = Vec::new();
        for (at, segment) in path.iter().enumerate() {
            let stage = match segment.part {
                Part::Waiting(stage) => Some(stage),
                Part::Queue | Part::Unattributed => begins_at(path.get(at + 1)),
                _ => None,
            };
            let Some(stage) = stage else { continue };
            stages.push(Before::of(line, stage, None, segment));
        }
        let is_batch =
            |row: &&StageRow| row.batch_id.is_some() && row.batch_size.is_some_and(|size| size > 1);
        for row in line.stage_table.iter().filter(is_batch) {
            let on_path = path.iter().filter(|segment| segment.part == Part::Stage(row.order()));
            on_path.for_each(|segment| stages.push(Before::of(line, row.order(), row.batch_id, segment)));
        }
        stages.sort_by_key(|before| (before.batch_id, before.stage));
        stages.dedup_by(|next, kept| {
            let is_same = (next.batch_id, next.stage) == (kept.batch_id, kept.stage);
            if is_same {
                kept.times.append(&mut next.times);
            }
            is_same
        });
        Self { request: Identity::of(line), log_name: Arc::clone(log_name), stages }
    }
}

/// The stage that a segment waits for, or that it is.
fn begins_at(next: Option<&Interval>) -> Option<OrderedId> {
    match next?.part {
        Part::Waiting(stage) | Part::Stage(stage) => Some(stage),
        _ => None,
    }
}

impl Before {
    fn of(line: &RequestLine, stage: OrderedId, batch_id: Option<u64>, segment: &Interval) -> Self {
        let (created, _) = times(line);
        let time = (created.saturating_add(segment.from), created.saturating_add(segment.to));
        let row = line.stage_table.iter().find(|row| row.order() == stage);
        let logs = row.and_then(|row| named(&row.fields)).or_else(|| named(&line.fields));
        Self { stage, batch_id, logs: logs.map(str::to_owned), times: vec![time] }
    }
}

impl Identity {
    pub(super) fn of(line: &RequestLine) -> Self {
        let RequestLine { request_id, timestamp, e2e_table, .. } = line;
        Self { e2e_total: e2e_table.e2e_total_ms, timestamp: *timestamp, request_id: request_id.clone() }
    }

    /// How slow the request of a line is in relation to this one. Of equally slow requests, time and id
    /// decide.
    pub(super) fn against(&self, line: &RequestLine) -> Ordering {
        let key = (line.e2e_table.e2e_total_ms, line.timestamp, line.request_id.as_str());
        key.cmp(&(self.e2e_total, self.timestamp, &self.request_id))
    }

    fn is(&self, line: &RequestLine) -> bool {
        self.against(line).is_eq()
    }
}

/// The others that are found so far, of each waiter.
#[derive(Debug, Clone)]
pub(super) struct InTheWay {
    index: Arc<Index>,
    /// Those of each waiter's stages, one waiter after the other.
    found: Vec<Found>,
    /// How many others are named at most.
    named: usize,
}

/// The times of all waiters.
#[derive(Debug, Default)]
struct Index {
    waiters: Vec<Waiter>,
    times: BTreeMap<OrderedId, Times>,
}

/// The times of a stage, by their beginnings.
#[derive(Debug, Default)]
struct Times {
    /// By the log whose rows count.
    by_log: BTreeMap<String, Vec<Time>>,
    /// Those for which the rows of all logs count.
    of_all: Vec<Time>,
}

#[derive(Debug, Clone)]
struct Time {
    from: u64,
    to: u64,
    /// The latest end of this time and of those before it.
    reach: u64,
    waiter: usize,
    batch_id: Option<u64>,
    /// Its place in `found`.
    at: usize,
}

#[derive(Debug, Clone, Default)]
struct Found {
    others: u64,
    time: Intervals,
    named: BinaryHeap<Reverse<Other>>,
}

impl Index {
    fn is_waiter(&self, waiter: usize, line: &RequestLine) -> bool {
        self.waiters.get(waiter).is_some_and(|waiter| waiter.request.is(line))
    }
}

impl Times {
    fn add(&mut self, logs: Option<&str>, times: impl Iterator<Item = Time> + Clone) {
        match logs {
            None => self.of_all.extend(times),
            Some(logs) => each(logs).for_each(|log| {
                self.by_log.entry(log.to_owned()).or_default().extend(times.clone());
            }),
        }
    }

    fn sort(&mut self) {
        for times in self.by_log.values_mut().chain([&mut self.of_all]) {
            times.sort_by_key(|time| time.from);
            let mut reach = 0;
            for time in times {
                reach = time.to.max(reach);
                time.reach = reach;
            }
        }
    }

    /// Those for which a row of these logs counts that began and ended at these times. A time may occur twice
    /// if there are several logs.
    fn during(&self, logs: &str, start: u64, end: u64) -> impl Iterator<Item = &Time> {
        let of_logs = each(logs).filter_map(|log| self.by_log.get(log));
        of_logs.chain([&self.of_all]).flat_map(move |times| {
            let until = times.partition_point(|time| time.from < end);
            let before = times.get(..until).unwrap_or_default().iter().rev();
            before.take_while(move |time| time.reach > start)
        })
    }
}

impl InTheWay {
    /// Nobody yet. At most `named` others are named for a stage of a waiter, and the rest counted. If several
    /// logs are read, only those of the same log count.
    pub(super) fn new(mut waiters: Vec<Waiter>, named: usize, is_of_several_logs: bool) -> Self {
        let mut times = BTreeMap::<_, Times>::new();
        let mut at = 0;
        for (waiter, Waiter { log_name, stages, .. }) in waiters.iter_mut().enumerate() {
            for Before { stage, batch_id, logs, times: of_stage } in stages {
                if is_of_several_logs {
                    logs.get_or_insert_with(|| log_name.to_string());
                }
                let time = |&(from, to): &_| Time { from, to, reach: to, waiter, batch_id: *batch_id, at };
                times.entry(*stage).or_default().add(logs.as_deref(), of_stage.iter().map(time));
                at += 1;
            }
        }
        times.values_mut().for_each(Times::sort);
        Self { index: Arc::new(Index { waiters, times }), found: vec![Found::default(); at], named }
    }

    /// Adds any line of the log.
    pub(super) fn add(&mut self, log_line: &LogLine) {
        let Line::Request(line) = &log_line.line else { return };
        let (created, _) = times(line);
        for row in &line.stage_table {
            let Some(times) = self.index.times.get(&row.order()) else { continue };
            let Some((start, end)) = row.extent() else { continue };
            let (start, end) = (created.saturating_add(start), created.saturating_add(end));
            let mut common: Vec<_> = times
                .during(log_line.origin(Some(row)), start, end)
                .map(|time| (time, start.max(time.from), end.min(time.to)))
                .filter(|(_, from, to)| to.saturating_sub(*from) > RESOLUTION)
                .filter(|(time, ..)| time.batch_id.is_none() || time.batch_id == row.batch_id)
                .filter(|(time, ..)| !self.index.is_waiter(time.waiter, line))
                .map(|(time, from, to)| (time.at, from, to))
                .collect();
            common.sort_unstable();
            common.dedup();
            for times in common.chunk_by(|one, next| one.0 == next.0) {
                let found = times.first().and_then(|(at, ..)| self.found.get_mut(*at));
                if let Some(found) = found {
                    found.add(line, row, times, self.named);
                }
            }
        }
    }

    /// Adds what another reader of the same log has found for the same waiters.
    pub(super) fn merge(&mut self, other: &mut Self) {
        for (found, other) in self.found.iter_mut().zip(&mut other.found) {
            found.others += other.others;
            found.time.merge(&other.time);
            found.named.append(&mut other.named);
            found.trim(self.named);
        }
    }

    /// What is found, by waiter in the order in which they were given, and of each by stage.
    pub(super) fn into_meanwhile(self) -> Vec<Vec<Meanwhile>> {
        let mut found = self.found.into_iter();
        let of_waiter = |waiter: &Waiter| {
            let stages = waiter.stages.iter().zip(found.by_ref());
            stages.map(|(before, found)| found.into_meanwhile(before)).collect()
        };
        self.index.waiters.iter().map(of_waiter).collect()
    }
}

impl Found {
    /// Adds a row, with the times at which its stage was wanted.
    fn add(&mut self, line: &RequestLine, row: &StageRow, times: &[(usize, u64, u64)], named: usize) {
        self.others += 1;
        times.iter().for_each(|(_, from, to)| self.time.add(*from, *to));
        let time_ms = Millis::from_nanos(times.iter().map(|(_, from, to)| to - from).sum());
        let is_short = self.named.peek().is_some_and(|Reverse(shortest)| time_ms < shortest.time_ms);
        if self.named.len() < named || !is_short {
            let (request_id, batch_id) = (line.request_id.clone(), row.batch_id);
            self.named.push(Reverse(Other { time_ms, request_id, batch_id }));
            self.trim(named);
        }
    }

    fn trim(&mut self, named: usize) {
        while self.named.len() > named {
            self.named.pop();
        }
    }

    fn into_meanwhile(mut self, before: &Before) -> Meanwhile {
        let time = before.times.iter().map(|(from, to)| to - from).sum();
        Meanwhile {
            stage_id: unordered(before.stage),
            batch_id: before.batch_id,
            log_file: before.logs.clone(),
            time_ms: Millis::from_nanos(time),
            others_time_ms: Millis::from_nanos(self.time.covered(0, u64::MAX)),
            others: self.others,
            named: self.named.into_sorted_vec().into_iter().map(|Reverse(other)| other).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{E2eTable, StageRow};

    /// When a request was created, how long it waited for stage 0, and how long the stage worked, in µs.
    type Visit = (u64, u64, u64);

    fn micros(micros: u64) -> Millis {
        Millis::from_nanos(micros * 1_000)
    }

    fn request(n: usize, (created, waited, worked): Visit) -> RequestLine {
        let e2e_total_ms = micros(waited + worked);
        let row = StageRow {
            stage_id: Some(0),
            start_ms: Some(micros(waited)),
            queue_time_ms: Some(micros(waited)),
            stage_gen_time_ms: Some(micros(worked)),
            ..StageRow::default()
        };
        RequestLine {
            request_id: format!("r{n}"),
            timestamp: Timestamp::from_unix_micros(1_000_000 + created + waited + worked),
            e2e_table: E2eTable { e2e_total_ms, queue_time_ms: Some(micros(waited)), ..E2eTable::default() },
            stage_table: vec![row],
            ..RequestLine::default()
        }
    }

    fn meanwhile(lines: &[RequestLine], named: usize) -> Vec<Vec<Meanwhile>> {
        let waiters = lines.iter().map(|line| Waiter::of(line, &Arc::default())).collect();
        let mut one = InTheWay::new(waiters, named, false);
        let mut other = one.clone();
        for (n, line) in lines.iter().enumerate() {
            let reader = if n % 2 == 0 { &mut one } else { &mut other };
            reader.add(&LogLine { line: Line::Request(line.clone()), log_name: Arc::default() });
        }
        one.merge(&mut other);
        one.into_meanwhile()
    }

    #[test]
    fn the_request_that_held_the_stage_is_named_with_its_time() {
        let lines = [(0, 0, 80), (10, 70, 20), (20, 80, 5)];
        let lines: Vec<_> = lines.into_iter().enumerate().map(|(n, visit)| request(n, visit)).collect();
        let found = meanwhile(&lines, 9);
        assert!(found[0].is_empty());
        let named = |n: usize| {
            let Meanwhile { time_ms, others_time_ms, named, .. } = &found[n][0];
            let named =
                named.iter().map(|other| (other.request_id.as_str(), other.time_ms)).collect::<Vec<_>>();
            (*time_ms, *others_time_ms, named)
        };
        assert_eq!(named(1), (micros(70), micros(70), vec![("r0", micros(70))]));
        assert_eq!(named(2), (micros(80), micros(80), vec![("r0", micros(60)), ("r1", micros(20))]));
    }

    #[test]
    fn those_in_the_same_batch_are_named_too() {
        let batch = |n, batch_id| {
            let mut line = request(n, (0, 5, 100));
            line.stage_table[0] =
                StageRow { batch_id: Some(batch_id), batch_size: Some(2), ..line.stage_table[0].clone() };
            line
        };
        let found = meanwhile(&[batch(0, 7), batch(1, 7), batch(2, 8)], 9);
        let [before, beside] = found[0].as_slice() else { panic!("{found:?}") };
        assert_eq!((before.batch_id, before.others, before.others_time_ms), (None, 0, Millis::ZERO));
        assert_eq!((beside.batch_id, beside.others, beside.others_time_ms), (Some(7), 1, micros(100)));
        assert_eq!(beside.named[0].request_id, "r1");
    }

    proptest! {
        #[test]
        fn others_are_those_whose_time_in_the_stage_overlaps_the_wait(
            visits in prop::collection::vec((0..200_u64, 0..60_u64, 0..60_u64), 1..40),
            limit in 0..6_usize,
        ) {
            let lines: Vec<_> = visits.iter().enumerate().map(|(n, visit)| request(n, *visit)).collect();
            let found = meanwhile(&lines, limit);
            for (n, &(created, waited, _)) in visits.iter().enumerate() {
                let wait = created..created + waited;
                let common = |&(created, waited, worked): &Visit| {
                    let work = created + waited..created + waited + worked;
                    wait.clone().filter(|moment| work.contains(moment)).count() as u64
                };
                let others = visits.iter().enumerate().filter(|(other, _)| *other != n);
                let others = others.map(|(_, visit)| common(visit));
                let mut others: Vec<_> = others.filter(|time| *time > 1).collect();
                others.sort_unstable_by(|one, other| other.cmp(one));
                let Some(found) = found[n].first() else {
                    prop_assert_eq!(waited, 0);
                    continue;
                };
                prop_assert_eq!(found.others, others.len() as u64);
                let named: Vec<_> = found.named.iter().map(|other| other.time_ms).collect();
                let expected: Vec<_> = others.iter().take(limit).copied().map(micros).collect();
                prop_assert_eq!(named, expected);
            }
        }
    }
}
