//! Where the time of requests goes.

use std::{cmp::Reverse, collections::BTreeMap, fmt};

use serde::Serialize;

use crate::{Millis, RequestLine, text::id};

/// How many parts are told apart; further stages share one.
const LIMIT: usize = 256;

/// Something that a request's time goes into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Queue,
    /// The stage without an id comes last.
    Stage(Reverse<bool>, Option<u64>),
    OtherStages,
    Transfers,
    Unattributed,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queue => f.write_str("queue"),
            Self::Stage(_, stage_id) => write!(f, "stage {}", id(*stage_id)),
            Self::OtherStages => f.write_str("other stages"),
            Self::Transfers => f.write_str("transfers"),
            Self::Unattributed => f.write_str("unattributed"),
        }
    }
}

/// Where the time of one request goes. Parts that overlap are counted in full.
fn parts(line: &RequestLine) -> impl Iterator<Item = (Part, Millis)> {
    let stages = line.stage_table.iter().map(|row| {
        let part = Part::Stage(Reverse(row.stage_id.is_some()), row.stage_id);
        (part, row.stage_gen_time_ms.unwrap_or_default())
    });
    let e2e = &line.e2e_table;
    stages.chain([
        (Part::Queue, e2e.queue_time_ms.unwrap_or_default()),
        (Part::Transfers, e2e.transfers_total_time_ms),
        (Part::Unattributed, e2e.unattributed_time_ms),
    ])
}

/// The part that most of a request's time goes into.
pub(super) fn dominating(line: &RequestLine) -> (Part, Millis) {
    parts(line).max_by_key(|(_, time)| *time).unwrap_or((Part::Queue, Millis::ZERO))
}

/// Times of many requests, by part.
#[derive(Debug, Clone, Default)]
pub(super) struct Times {
    pub(super) requests: u64,
    e2e: u128,
    parts: BTreeMap<Part, u128>,
}

/// One part of the time of many requests.
#[derive(Debug, Serialize)]
pub(super) struct Share {
    pub(super) part: String,
    pub(super) time_ms: Millis,
    /// Of the sum of `e2e_total_ms`.
    pub(super) share: f64,
}

impl Times {
    pub(super) fn add(&mut self, line: &RequestLine) {
        self.requests += 1;
        self.e2e += u128::from(line.e2e_table.e2e_total_ms.as_nanos());
        parts(line).for_each(|(part, time)| self.add_part(part, time.as_nanos().into()));
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.e2e += other.e2e;
        other.parts.iter().for_each(|(part, time)| self.add_part(*part, *time));
    }

    fn add_part(&mut self, part: Part, nanos: u128) {
        if let Some(time) = self.parts.get_mut(&part) {
            *time += nanos;
        } else if self.parts.len() < LIMIT || !matches!(part, Part::Stage(..)) {
            self.parts.insert(part, nanos);
        } else {
            *self.parts.entry(Part::OtherStages).or_default() += nanos;
        }
    }

    pub(super) fn shares(&self) -> impl Iterator<Item = Share> {
        self.parts.iter().map(|(part, time)| Share {
            part: part.to_string(),
            time_ms: Millis::from_nanos((*time).try_into().unwrap_or(u64::MAX)),
            share: if self.e2e == 0 { 0.0 } else { *time as f64 / self.e2e as f64 },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StageRow;

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
        assert_eq!((sum, times.parts.len()), (2_000, LIMIT + 1));
    }
}
