//! A request of the log, as far as a replay needs it.

use crate::{
    RequestLine, StageRow, TransferRow,
    cli::groups::Name,
    model::id::{OrderedId, ordered},
};

/// When a request was created, how long it took, and which stages it visited.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Request {
    /// In nanoseconds since the Unix epoch.
    pub(super) created: u64,
    pub(super) e2e: u64,
    /// In the order in which they began, so that a visit depends on earlier ones only.
    pub(super) visits: Vec<Visit>,
    /// What the end of the request depends on.
    pub(super) end: Dependency,
    /// The groups of the request, if there are several.
    pub(super) names: Vec<Name>,
}

/// The time of a request in one stage, in nanoseconds since the request's creation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Visit {
    pub(super) stage: OrderedId,
    pub(super) stage_name: Option<String>,
    /// When the request came to the stage, and may have begun to wait for it.
    pub(super) arrival: u64,
    pub(super) start: u64,
    pub(super) end: u64,
    /// What the arrival depends on.
    pub(super) after: Dependency,
    /// The id of the batch; visits of one stage with the same id and time are one batch.
    pub(super) batch: Option<u64>,
    /// How many requests its batch has in the log, with this one.
    pub(super) batch_size: usize,
}

/// A moment of a request, relative to an earlier one of the same request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Dependency {
    pub(super) on: Moment,
    /// How much later it is, in nanoseconds.
    pub(super) lag: u64,
}

/// A moment that others depend on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Moment {
    #[default]
    Created,
    /// The start of a visit: the other one began while this one still ran, as with streams.
    Start(usize),
    /// The end of a visit.
    End(usize),
}

impl Request {
    pub(super) fn of(line: &RequestLine) -> Self {
        let e2e = line.e2e_table.e2e_total_ms.as_nanos();
        let created = line.timestamp.unix_micros().saturating_mul(1_000).saturating_sub(e2e);
        let mut rows: Vec<_> = line.stage_table.iter().filter_map(|row| Some((row.extent()?, row))).collect();
        rows.sort_by_key(|(extent, row)| (*extent, row.order()));
        let mut visits: Vec<Visit> = Vec::with_capacity(rows.len());
        for ((start, end), row) in rows {
            visits.push(Visit::of(row, start, end, &visits, &line.transfer_table));
        }
        let end = depend(&visits, e2e);
        Self { created, e2e, visits, end, names: Vec::new() }
    }
}

impl Visit {
    fn of(row: &StageRow, start: u64, end: u64, before: &[Self], transfers: &[TransferRow]) -> Self {
        let queue_time = row.queue_time_ms.map_or(0, |time| time.as_nanos());
        let queued = start.saturating_sub(queue_time);
        // A span that is created when the stage begins knows nothing of the queue before it. But the request
        // came to the stage when the last transfer to it was over.
        let received = transfers.iter().filter(|edge| edge.to_stage == row.stage_id);
        let received = received.filter_map(|edge| {
            let from = before.iter().position(|visit| visit.stage == ordered(edge.from_stage))?;
            let end = before.get(from)?.end.saturating_add(edge.total_time_ms.as_nanos());
            (end <= queued).then_some((end, from))
        });
        let (arrival, after) = match received.max() {
            Some((arrival, from)) => {
                let sent = before.get(from).map_or(0, |visit| visit.end);
                (arrival, Dependency { on: Moment::End(from), lag: arrival.saturating_sub(sent) })
            }
            None => (queued, depend(before, queued)),
        };
        Self {
            stage: row.order(),
            stage_name: row.stage_name.clone(),
            arrival,
            start,
            end,
            after,
            batch: row.batch_id.filter(|_| row.batch_size.is_some_and(|size| size > 1)),
            batch_size: 1,
        }
    }
}

/// What a moment depends on: the visit that ended last before it; if none did, the one that began last; if
/// none did, the creation of the request.
fn depend(visits: &[Visit], moment: u64) -> Dependency {
    let at = |of: fn(&Visit) -> u64| {
        let earlier = visits.iter().enumerate().map(move |(at, visit)| (of(visit), at));
        earlier.filter(|(time, _)| *time <= moment).max()
    };
    let (time, on) = match (at(|visit| visit.end), at(|visit| visit.start)) {
        (Some((end, at)), _) => (end, Moment::End(at)),
        (None, Some((start, at))) => (start, Moment::Start(at)),
        (None, None) => (0, Moment::Created),
    };
    Dependency { on, lag: moment.saturating_sub(time) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{E2eTable, Millis, Timestamp};

    fn nanos(nanos: u64) -> Option<Millis> {
        Some(Millis::from_nanos(nanos))
    }

    fn row(stage_id: u64, queue_time: u64, start: u64, length: u64) -> StageRow {
        StageRow {
            stage_id: Some(stage_id),
            queue_time_ms: nanos(queue_time),
            start_ms: nanos(start),
            stage_gen_time_ms: nanos(length),
            events: 1,
            ..StageRow::default()
        }
    }

    fn request(e2e: u64, stage_table: Vec<StageRow>, transfer_table: Vec<TransferRow>) -> Request {
        Request::of(&RequestLine {
            timestamp: Timestamp::from_unix_micros(1_000),
            e2e_table: E2eTable { e2e_total_ms: Millis::from_nanos(e2e), ..E2eTable::default() },
            stage_table,
            transfer_table,
            ..RequestLine::default()
        })
    }

    #[test]
    fn a_stage_depends_on_the_one_that_ended_before_it_came() {
        let request = request(100, vec![row(1, 10, 50, 40), row(0, 5, 5, 20)], Vec::new());
        let [first, second] = &request.visits[..] else { panic!("two visits") };
        assert_eq!((request.created, first.stage, first.arrival), (999_900, 0, 0));
        assert_eq!(first.after, Dependency { on: Moment::Created, lag: 0 });
        assert_eq!((second.arrival, second.start, second.end), (40, 50, 90));
        assert_eq!(second.after, Dependency { on: Moment::End(0), lag: 15 });
        assert_eq!(request.end, Dependency { on: Moment::End(1), lag: 10 });
    }

    #[test]
    fn a_request_came_to_a_stage_when_the_transfer_was_over_even_if_the_span_is_younger() {
        let edge = TransferRow {
            from_stage: Some(0),
            to_stage: Some(1),
            total_time_ms: Millis::from_nanos(4),
            ..TransferRow::default()
        };
        let request = request(100, vec![row(0, 0, 0, 20), row(1, 1, 60, 30)], vec![edge]);
        assert_eq!(request.visits[1].arrival, 24);
        assert_eq!(request.visits[1].after, Dependency { on: Moment::End(0), lag: 4 });
    }

    #[test]
    fn a_stage_that_begins_during_another_one_depends_on_its_start() {
        let request = request(40, vec![row(0, 0, 2, 60), row(1, 0, 12, 20)], Vec::new());
        assert_eq!(request.visits[1].after, Dependency { on: Moment::Start(0), lag: 10 });
        assert_eq!(request.end, Dependency { on: Moment::End(1), lag: 8 });
    }
}
