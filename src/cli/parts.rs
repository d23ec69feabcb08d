//! Where the time of requests goes.

use std::fmt;

use serde::Serialize;

use super::tally::Tally;
use crate::{
    Millis, RequestLine,
    model::id::{OrderedId, unordered},
    write::columns::id,
};

/// What people read for `queue`, which is easily taken for a queue_time_ms.
pub(super) const BEFORE_STAGES: &str = "before any stage";
/// And for `waiting`.
const WAITING: &str = "waiting for stages";

/// A part as people read it, if that is not its name.
pub(super) fn shown(part: &str) -> &str {
    match part {
        "queue" => BEFORE_STAGES,
        "waiting" => WAITING,
        part => part,
    }
}

/// Something that a request's time goes into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Queue,
    Transfers,
    /// For a stage, while nothing of the request ran.
    Waiting,
    /// Without the waiting and the queue.
    Unattributed,
    Stage(OrderedId),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queue => f.write_str("queue"),
            Self::Stage(stage_id) => write!(f, "stage {}", id(unordered(*stage_id))),
            Self::Transfers => f.write_str("transfers"),
            Self::Waiting => f.write_str("waiting"),
            Self::Unattributed => f.write_str("unattributed"),
        }
    }
}

/// Where the time of one request goes. Parts that overlap are counted in full.
fn parts(line: &RequestLine) -> impl Iterator<Item = (Part, Millis)> {
    let stages = line
        .stage_table
        .iter()
        .map(|row| (Part::Stage(row.order()), row.stage_gen_time_ms.unwrap_or_default()));
    let e2e = &line.e2e_table;
    let (queue_time, unattributed) = (queue_time(line), e2e.unattributed_time_ms);
    let waiting = e2e.waiting_time_ms.map(|waiting| waiting.min(unattributed));
    let unattributed = unattributed.saturating_sub(waiting.unwrap_or_default()).saturating_sub(queue_time);
    let others = [(Part::Queue, queue_time), (Part::Transfers, e2e.transfers_total_time_ms)];
    let rest = (Part::Unattributed, unattributed);
    stages.chain(others).chain(waiting.map(|waiting| (Part::Waiting, waiting))).chain([rest])
}

/// The request's queue time, without the waiting for the stage that ended it.
fn queue_time(line: &RequestLine) -> Millis {
    let queue_time = line.e2e_table.queue_time_ms;
    let first = line.stage_table.iter().filter(|row| row.start_ms == queue_time);
    let waiting = first.filter_map(|row| row.waiting_time_ms).max().unwrap_or_default();
    queue_time.unwrap_or_default().saturating_sub(waiting)
}

/// The part that most of a request's time goes into.
pub(super) fn dominating(line: &RequestLine) -> (Part, Millis) {
    parts(line).max_by_key(|(_, time)| *time).unwrap_or((Part::Queue, Millis::ZERO))
}

/// The stage that a request waited for longest, if it waited.
pub(super) fn longest_wait(line: &RequestLine) -> Option<OrderedId> {
    let waits = line.stage_table.iter().filter_map(|row| Some((row.waiting_time_ms?, row.order())));
    waits.filter(|(time, _)| *time > Millis::ZERO).max_by_key(|(time, _)| *time).map(|(_, stage)| stage)
}

/// Times of many requests, by part.
#[derive(Debug, Clone, Default)]
pub(super) struct Times {
    pub(super) requests: u64,
    e2e: u128,
    /// The parts that every request has are the smallest kinds, so only stages are moved to the rest.
    parts: Tally<Part>,
}

/// One part of the time of many requests.
#[derive(Debug, Serialize)]
pub(super) struct Share {
    pub(super) part: String,
    pub(super) time_ms: Millis,
    /// The fraction of the sum of `e2e_total_ms`.
    pub(super) share: f64,
}

impl Times {
    /// Adds the requests that the line stands for.
    pub(super) fn add(&mut self, line: &RequestLine) {
        let weighted = |time: Millis| u128::from(time.as_nanos()) * u128::from(line.weight());
        self.requests += line.weight();
        self.e2e += weighted(line.e2e_table.e2e_total_ms);
        parts(line).for_each(|(part, time)| self.parts.add(&part, weighted(time)));
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.e2e += other.e2e;
        self.parts.merge(&other.parts);
    }

    pub(super) fn shares(&self) -> impl Iterator<Item = Share> {
        let rest = (self.parts.rest > 0).then(|| ("other stages".to_owned(), self.parts.rest));
        let is_last = |part: &Part| matches!(part, Part::Transfers | Part::Waiting | Part::Unattributed);
        let in_order = self.parts.iter().filter(move |(part, _)| !is_last(part));
        let last = self.parts.iter().filter(move |(part, _)| is_last(part));
        let named = |(part, time): (&Part, u128)| (part.to_string(), time);
        in_order.map(named).chain(rest).chain(last.map(named)).map(|(part, time)| Share {
            part,
            time_ms: Millis::from_nanos(time.try_into().unwrap_or(u64::MAX)),
            share: if self.e2e == 0 { 0.0 } else { time as f64 / self.e2e as f64 },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{E2eTable, StageRow};

    #[test]
    fn parts_are_bounded_and_lose_no_time() {
        let mut times = Times::default();
        for stage_id in 0..2_000 {
            let row = StageRow {
                stage_id: Some(stage_id),
                stage_gen_time_ms: Some(Millis::from_nanos(1)),
                ..StageRow::default()
            };
            times.add(&RequestLine { stage_table: vec![row], ..RequestLine::default() });
        }
        let sum: u64 = times.shares().map(|share| share.time_ms.as_nanos()).sum();
        assert_eq!(sum, 2_000);
        let names: Vec<_> = times.shares().map(|share| share.part).collect();
        assert_eq!((&*names[0], &*names[1], names.len()), ("queue", "stage 0", 257));
        assert_eq!(names[254..], ["other stages", "transfers", "unattributed"]);
    }

    #[test]
    fn what_a_request_waited_for_is_not_unattributed() {
        let e2e_table = E2eTable {
            waiting_time_ms: Some(Millis::from_nanos(7)),
            unattributed_time_ms: Millis::from_nanos(9),
            ..E2eTable::default()
        };
        let line = RequestLine { e2e_table, ..RequestLine::default() };
        assert_eq!(dominating(&line), (Part::Waiting, Millis::from_nanos(7)));
        let mut times = Times::default();
        times.add(&line);
        let shares: Vec<_> = times.shares().map(|share| (share.part, share.time_ms.as_nanos())).collect();
        let expected = [("queue", 0), ("transfers", 0), ("waiting", 7), ("unattributed", 2)];
        assert_eq!(shares, expected.map(|(part, nanos)| (part.to_owned(), nanos)));
    }
}
