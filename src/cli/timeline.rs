//! When the rows of a request ran.

use std::{cmp::Ordering, fmt};

use smallvec::SmallVec;

use crate::{
    Millis, RequestLine, StageRow, TransferRow,
    model::id::{OrderedId, Shown, unordered},
};

/// How many waits of a request are kept. Past that, the shortest are left out, as in the layer.
const WAITS: usize = 64;

/// The sending and the receiving stage of a transfer.
pub(super) type Edge = (OrderedId, OrderedId);

/// What a time of a request belongs to. The order is that of a pipeline: the transfers to a stage, the wait
/// for it, the stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Part {
    /// Before the first stage, while no stage was waited for by name.
    Queue,
    /// The wait for a stage, while nothing of the request ran.
    Waiting(OrderedId),
    Stage(OrderedId),
    Sending(Edge),
    InFlight(Edge),
    Receiving(Edge),
    /// What no row accounts for.
    Unattributed,
}

/// A time of a request, in nanoseconds since its creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interval {
    pub(super) part: Part,
    pub(super) from: u64,
    pub(super) to: u64,
}

/// Intervals, which are mostly few. On the heap, `check` would take 10 % more instructions.
pub(super) type Stretch = SmallVec<[Interval; 16]>;

/// The intervals of one request.
///
/// A row has a start and a total time. So a row of several spans is one piece, as if its spans followed each
/// other without a pause. A row without a start, whose spans were never entered, has no interval.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    /// `e2e_total_ms`.
    pub(super) end: u64,
    /// When the first stage began. Up to this moment, time without a row is the request's queue.
    pub(super) queue: u64,
    /// The times of stages and transfers. They may overlap, and reach past the end of the request: a batch
    /// may go on after the answer of a request that it serves.
    pub(super) rows: Stretch,
    /// The waits of the stages, each until its stage began. They may overlap each other and the rows.
    pub(super) waits: Stretch,
}

impl Timeline {
    pub(super) fn of(line: &RequestLine) -> Self {
        let e2e = &line.e2e_table;
        let stages = line.stage_table.iter().filter_map(stage);
        let mut timeline = Self {
            end: e2e.e2e_total_ms.as_nanos(),
            queue: e2e.queue_time_ms.unwrap_or_default().as_nanos(),
            ..Self::default()
        };
        timeline.rows.extend(stages);
        line.transfer_table.iter().for_each(|row| timeline.rows.extend(transfer(row)));
        let waits = &mut timeline.waits;
        waits.extend(line.stage_table.iter().filter_map(wait));
        if waits.len() > WAITS {
            waits.sort_unstable_by_key(|wait| (std::cmp::Reverse(wait.length()), wait.to, wait.part));
            waits.truncate(WAITS);
        }
        timeline
    }
}

impl Interval {
    pub(super) fn length(&self) -> u64 {
        self.to.saturating_sub(self.from)
    }
}

fn stage(row: &StageRow) -> Option<Interval> {
    let (from, to) = row.extent()?;
    Some(Interval { part: Part::Stage(row.order()), from, to })
}

/// The wait of a stage, which ended when the stage began. The waits of a row of several spans are one piece
/// as well, of the time for which the request only waited.
fn wait(row: &StageRow) -> Option<Interval> {
    let (to, queue_time) = (row.start_ms?.as_nanos(), row.queue_time_ms?);
    let waited = row.waiting_time_ms.filter(|_| row.events > 1).unwrap_or(queue_time).min(queue_time);
    let wait = Interval { part: Part::Waiting(row.order()), from: to.saturating_sub(waited.as_nanos()), to };
    (wait.length() > 0).then_some(wait)
}

/// Sending, flight and receiving follow each other. A row starts with its first span; without a sending span
/// that is a receiving one, and the flight lies before it.
fn transfer(row: &TransferRow) -> impl Iterator<Item = Interval> {
    let edge = row.order();
    let [sending, in_flight, receiving] =
        [row.tx_time_ms, row.in_flight_time_ms, row.rx_decode_time_ms].map(|time| time.map(Millis::as_nanos));
    let start = row.start_ms.map(Millis::as_nanos);
    let before = in_flight.filter(|_| sending.is_none()).unwrap_or(0).min(start.unwrap_or(0));
    let in_flight = if sending.is_none() { Some(before) } else { in_flight };
    let parts = [
        (Part::Sending(edge), sending),
        (Part::InFlight(edge), in_flight),
        (Part::Receiving(edge), receiving),
    ];
    let mut next = start.unwrap_or(0) - before;
    let intervals = parts.map(|(part, time)| {
        let from = next;
        next = next.saturating_add(time.unwrap_or(0));
        Interval { part, from, to: next }
    });
    intervals.into_iter().filter(move |interval| start.is_some() && interval.length() > 0)
}

impl Part {
    /// The stage that ran or was waited for.
    pub(super) fn stage(self) -> Option<OrderedId> {
        match self {
            Self::Waiting(stage) | Self::Stage(stage) => Some(stage),
            _ => None,
        }
    }

    /// The same for equal parts, and for few others.
    pub(super) fn hash(self) -> u64 {
        let (group, to, kind, from) = self.key();
        (to as u64).rotate_left(32) ^ (from as u64).rotate_left(8) ^ u64::from(group) << 4 ^ u64::from(kind)
    }

    fn key(self) -> (u8, OrderedId, u8, OrderedId) {
        match self {
            Self::Queue => (0, 0, 0, 0),
            Self::Sending((from, to)) => (1, to, 0, from),
            Self::InFlight((from, to)) => (1, to, 1, from),
            Self::Receiving((from, to)) => (1, to, 2, from),
            Self::Waiting(stage) => (1, stage, 3, 0),
            Self::Stage(stage) => (1, stage, 4, 0),
            Self::Unattributed => (2, 0, 0, 0),
        }
    }
}

impl Ord for Part {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for Part {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |id| Shown(unordered(id));
        match *self {
            Self::Queue => f.write_str("queue"),
            Self::Waiting(stage) => write!(f, "waiting for stage {}", shown(stage)),
            Self::Stage(stage) => write!(f, "stage {}", shown(stage)),
            Self::Sending((from, to)) => write!(f, "edge {}->{} tx", shown(from), shown(to)),
            Self::InFlight((from, to)) => write!(f, "edge {}->{} in flight", shown(from), shown(to)),
            Self::Receiving((from, to)) => write!(f, "edge {}->{} rx", shown(from), shown(to)),
            Self::Unattributed => f.write_str("unattributed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nanos(nanos: u64) -> Option<Millis> {
        Some(Millis::from_nanos(nanos))
    }

    fn intervals(row: &TransferRow) -> Vec<(String, u64, u64)> {
        transfer(row).map(|interval| (interval.part.to_string(), interval.from, interval.to)).collect()
    }

    #[test]
    fn a_flight_lies_between_its_ends_or_before_the_receiver() {
        let row = TransferRow {
            from_stage: Some(0),
            to_stage: Some(1),
            tx_time_ms: nanos(5),
            in_flight_time_ms: nanos(20),
            rx_decode_time_ms: nanos(3),
            start_ms: nanos(100),
            ..TransferRow::default()
        };
        let flight = |from, to| ("edge 0->1 in flight".to_owned(), from, to);
        let rx = |from, to| ("edge 0->1 rx".to_owned(), from, to);
        let tx = ("edge 0->1 tx".to_owned(), 100, 105);
        assert_eq!(intervals(&row), [tx, flight(105, 125), rx(125, 128)]);
        let received = TransferRow { tx_time_ms: None, ..row.clone() };
        assert_eq!(intervals(&received), [flight(80, 100), rx(100, 103)]);
        let never_entered = TransferRow { start_ms: None, ..row };
        assert_eq!(intervals(&never_entered), []);
    }

    #[test]
    fn a_row_of_several_spans_waits_in_one_piece_for_as_long_as_the_request_only_waited() {
        let row = StageRow { start_ms: nanos(50), queue_time_ms: nanos(30), ..StageRow::default() };
        let from = |row: &StageRow| wait(row).map(|wait| wait.from);
        assert_eq!(from(&row), Some(20));
        let one_span = StageRow { waiting_time_ms: nanos(4), events: 1, ..row.clone() };
        assert_eq!(from(&one_span), Some(20));
        let chunks = StageRow { events: 3, ..one_span };
        assert_eq!(from(&chunks), Some(46));
        assert_eq!(from(&StageRow { waiting_time_ms: nanos(0), ..chunks }), None);
        assert_eq!(from(&StageRow { start_ms: None, ..row }), None);
    }
}
