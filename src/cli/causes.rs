//! Which attempt has caused the rows of an id, as their messages tell.
//!
//! The receiver of a message knows when it was sent, by the sender's own clock. So its row is traced to the
//! row that has sent the message, that one to the message which its process had received before, and so on,
//! to the request that has sent the first one. Each step compares times of one clock, so clocks may differ.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use super::{
    aligned::{Edge, edge, seen_flight},
    complete::{extent, time_before, times},
    packed::{Packed, number},
};
use crate::{Line, RequestLine, TransferRow, model::numbers::Member};

/// A time that is farther than this outside of a request, in nanoseconds, is hardly one of it.
pub(super) const FAR: u64 = 1_000_000_000;

/// A message, and when it was sent by its sender's clock, in nanoseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    edge: Edge,
    at: u64,
}

impl Sent {
    /// The message that a row has received, as the row was written.
    pub(super) fn of(line: &Line) -> Option<Self> {
        let Line::Transfer(detached) = line else { return None };
        let row = Some(&detached.row).filter(|row| row.events == 1)?;
        let flight = seen_flight(row, &detached.warnings)?;
        Some(Self { edge: edge(row), at: extent(line)?.0.checked_add_signed(-flight)? })
    }

    pub(super) fn pack(self, out: &mut Vec<u8>) {
        let (from, to) = self.edge;
        from.pack(out);
        to.pack(out);
        number(out, &self.at);
    }

    pub(super) fn unpack(bytes: &[u8]) -> Option<Self> {
        let mut packed = Packed::of(bytes);
        let edge = (packed.or_null(Packed::number)?, packed.or_null(Packed::number)?);
        Some(Self { edge, at: packed.number()? })
    }

    /// Whether the request sends messages of this edge, but was not there when this one was sent.
    pub(super) fn is_of_another_attempt(&self, request: &RequestLine) -> bool {
        let mut of_edge = request.transfer_table.iter().filter(|row| edge(row) == self.edge);
        distance(self.at, times(request)) > FAR && of_edge.any(sends)
    }
}

/// What has caused a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// One of the requests, by its place among them.
    Request(usize),
    /// An attempt without a line. Its message was sent this long before or after each request.
    Lost(u64),
    Unknown,
}

/// The requests of an id and its rows.
#[derive(Default)]
pub(super) struct Causes {
    requests: usize,
    /// For each row, the message that it has received, or else, when it began and ended, and its log.
    rows: Vec<Row>,
    senders: BTreeMap<Edge, Senders>,
    /// The rows of each log that have received messages, by when they began.
    receivers: BTreeMap<u64, Vec<(u64, usize)>>,
}

enum Row {
    /// `None` if it is not known when the message was sent.
    Receiver(Option<Sent>),
    Other {
        log: u64,
        begin: u64,
        end: u64,
    },
}

/// Who has sent messages of an edge, and from when to when.
#[derive(Default)]
struct Senders {
    requests: Vec<OfRequest>,
    rows: Vec<((u64, u64), usize)>,
}

struct OfRequest {
    request: usize,
    sent: (u64, u64),
    /// How far outside of these times a message may have been sent that the request has not sent.
    times: (u64, u64),
    /// Whether one of the messages is known.
    is_seen: bool,
}

/// The row that has caused a row, or its cause if that is known.
#[derive(Clone, Copy)]
enum Step {
    Row(usize),
    End(Cause),
}

impl Causes {
    pub(super) fn add_request(&mut self, request: &RequestLine) {
        let (created, ended) = times(request);
        for row in request.transfer_table.iter().filter(|row| sends(row)) {
            let from = created.saturating_add(row.start_ms.unwrap_or_default().as_nanos());
            let length = row.tx_time_ms.filter(|_| row.events == 1);
            let to = length.map_or(ended, |length| from.saturating_add(length.as_nanos()));
            let of_edge = &mut self.senders.entry(edge(row)).or_default().requests;
            let (request, sent) = (self.requests, (from, to));
            of_edge.push(OfRequest { request, sent, times: (created, ended), is_seen: false });
        }
        self.requests += 1;
    }

    /// Adds a row of a log, as it was written.
    pub(super) fn add_row(&mut self, line: &Line, log: u64) {
        let (at, (start, end)) = (self.rows.len(), extent(line).unwrap_or_default());
        let (mut begin, mut is_receiver) = (start, false);
        match line {
            Line::Transfer(line) if sends(&line.row) => {
                self.senders.entry(edge(&line.row)).or_default().rows.push(((start, end), at));
            }
            Line::Transfer(_) => is_receiver = true,
            _ => begin = start.saturating_sub(time_before(line)),
        }
        if is_receiver {
            self.receivers.entry(log).or_default().push((start, at));
        }
        let row = || Row::Other { log, begin, end };
        self.rows.push(if is_receiver { Row::Receiver(Sent::of(line)) } else { row() });
    }

    /// What has caused each row, in the order in which they were added.
    pub(super) fn find(mut self) -> Vec<Cause> {
        self.senders.values_mut().for_each(|senders| senders.rows.sort_unstable());
        self.receivers.values_mut().for_each(|receivers| receivers.sort_unstable());
        let Self { rows, senders, receivers, .. } = &mut self;
        let steps = rows.iter().map(|row| match row {
            Row::Receiver(sent) => sent.map_or(Step::End(Cause::Unknown), |sent| {
                senders.get_mut(&sent.edge).map_or(Step::End(Cause::Unknown), |of_edge| of_edge.of(sent.at))
            }),
            Row::Other { log, begin, end } => {
                let of_log = receivers.get(log).map(Vec::as_slice).unwrap_or_default();
                received_before(of_log, *begin, *end).map_or(Step::End(Cause::Unknown), Step::Row)
            }
        });
        let mut steps: Vec<_> = steps.collect();
        let causes: Vec<_> = (0..steps.len()).map(|at| follow(&mut steps, at)).collect();
        // The longest row of each lost attempt, by the time between its message and the requests.
        let mut longest = BTreeMap::<u64, u64>::new();
        for (row, cause) in rows.iter().zip(&causes) {
            if let Cause::Lost(outside) = cause {
                let longest = longest.entry(*outside).or_default();
                *longest = row.length().max(*longest);
            }
        }
        // A request of which no message is known may have a clock that was set. If it is too short for the
        // rows, they are not its own.
        let has_room = |edge: &Edge, length: u64| {
            let requests = senders.get(edge).map(|of_edge| of_edge.requests.as_slice()).unwrap_or_default();
            requests.iter().any(|of| !of.is_seen && of.times.1 - of.times.0 >= length)
        };
        let doubtful = rows.iter().zip(&causes).filter_map(|(row, cause)| match (row, cause) {
            (Row::Receiver(Some(sent)), Cause::Lost(outside)) => {
                has_room(&sent.edge, *longest.get(outside)?).then_some(*outside)
            }
            _ => None,
        });
        let doubtful: BTreeSet<_> = doubtful.collect();
        let is_doubtful = |cause: &Cause| matches!(cause, Cause::Lost(outside) if doubtful.contains(outside));
        causes.into_iter().map(|cause| if is_doubtful(&cause) { Cause::Unknown } else { cause }).collect()
    }
}

impl Row {
    /// How long it took; of a row that has received a message, that does not count.
    fn length(&self) -> u64 {
        match self {
            Self::Receiver(_) => 0,
            Self::Other { begin, end, .. } => end.saturating_sub(*begin),
        }
    }
}

/// The end of the steps from this one on, which stands in place of all of them afterwards.
fn follow(steps: &mut [Step], first: usize) -> Cause {
    let (mut path, mut at) = (Vec::new(), first);
    let cause = loop {
        match steps.get_mut(at) {
            Some(Step::End(cause)) => break *cause,
            Some(step) => {
                path.push(at);
                // Steps that lead back here have no end.
                let Step::Row(next) = mem::replace(step, Step::End(Cause::Unknown)) else { continue };
                at = next;
            }
            None => break Cause::Unknown,
        }
    };
    for at in path {
        steps.get_mut(at).into_iter().for_each(|step| *step = Step::End(cause));
    }
    cause
}

impl Senders {
    /// Who has sent a message at this time.
    fn of(&mut self, at: u64) -> Step {
        let row = nearest(&self.rows, at);
        let request = self.requests.iter_mut().min_by_key(|of| distance(at, of.sent));
        let of_row = row.map_or(u64::MAX, |(extent, _)| distance(at, *extent));
        let of_request = request.as_ref().map_or(u64::MAX, |of| distance(at, of.sent));
        match (row, request) {
            (Some((_, row)), _) if of_row <= FAR && of_row <= of_request => Step::Row(*row),
            (_, Some(of)) if of_request <= FAR => {
                of.is_seen = true;
                Step::End(Cause::Request(of.request))
            }
            // Without a row of a worker, the sender is the process of a request.
            (None, Some(_)) => {
                let outside = self.requests.iter().map(|of| distance(at, of.times)).min().unwrap_or_default();
                Step::End(if outside > FAR { Cause::Lost(outside) } else { Cause::Unknown })
            }
            _ => Step::End(Cause::Unknown),
        }
    }
}

/// Of rows by when they began, the one nearest to a time.
fn nearest(rows: &[((u64, u64), usize)], at: u64) -> Option<&((u64, u64), usize)> {
    let after = rows.partition_point(|((from, _), _)| *from <= at);
    let around = rows.get(after.saturating_sub(1)..).unwrap_or_default().iter().take(2);
    around.min_by_key(|(extent, _)| distance(at, *extent))
}

/// Of rows that have received messages, the one that began nearest to the begin of a row, but not after its
/// end.
fn received_before(receivers: &[(u64, usize)], begin: u64, end: u64) -> Option<usize> {
    let after = receivers.partition_point(|(start, _)| *start <= begin);
    let around = receivers.get(after.saturating_sub(1)..).unwrap_or_default().iter().take(2);
    let around = around.filter(|(start, _)| *start <= end);
    around.min_by_key(|(start, _)| start.abs_diff(begin)).map(|(_, at)| *at)
}

/// How far a time lies outside of others.
fn distance(at: u64, (from, to): (u64, u64)) -> u64 {
    from.saturating_sub(at).max(at.saturating_sub(to))
}

fn sends(row: &TransferRow) -> bool {
    row.tx_time_ms.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Detached, Millis, StageRow, Timestamp};

    const SECOND: u64 = 1_000_000_000;

    fn millis(seconds: u64) -> Millis {
        Millis::from_nanos(seconds * SECOND)
    }

    /// A request that ends at this time after 3 seconds, and has sent messages of these edges at its begin.
    fn request(end: u64, edges: &[(u64, u64)]) -> RequestLine {
        let sends = |(from, to): &(u64, u64)| TransferRow {
            from_stage: Some(*from),
            to_stage: Some(*to),
            tx_time_ms: Some(Millis::ZERO),
            start_ms: Some(Millis::ZERO),
            events: 1,
            ..TransferRow::default()
        };
        let mut request = RequestLine {
            timestamp: Timestamp::from_unix_micros(end * 1_000_000),
            transfer_table: edges.iter().map(sends).collect(),
            ..RequestLine::default()
        };
        request.e2e_table.e2e_total_ms = millis(3);
        request
    }

    /// A row that has received a message after a second, or has sent one.
    fn transfer(edge: (u64, u64), at: u64, is_received: bool) -> Line {
        let row = TransferRow {
            from_stage: Some(edge.0),
            to_stage: Some(edge.1),
            tx_time_ms: (!is_received).then_some(Millis::ZERO),
            in_flight_time_ms: is_received.then(|| millis(1)),
            events: 1,
            ..TransferRow::default()
        };
        let timestamp = Timestamp::from_unix_micros(at * 1_000_000);
        Line::Transfer(Detached { timestamp, row, ..Detached::default() })
    }

    fn stage(from: u64, to: u64) -> Line {
        let row = StageRow { wall_time_ms: Some(millis(to - from)), ..StageRow::default() };
        let timestamp = Timestamp::from_unix_micros(to * 1_000_000);
        Line::Stage(Detached { timestamp, row, ..Detached::default() })
    }

    fn causes(requests: &[RequestLine], rows: &[(u64, Line)]) -> Vec<Cause> {
        let mut causes = Causes::default();
        requests.iter().for_each(|request| causes.add_request(request));
        rows.iter().for_each(|(log, row)| causes.add_row(row, *log));
        causes.find()
    }

    #[test]
    fn a_row_around_its_message_is_of_that_one_and_a_row_that_goes_on_is_of_the_message_before_it() {
        let rows = [
            (1, transfer((0, 1), 101, true)),
            (1, stage(102, 140)),
            (1, transfer((0, 1), 131, true)),
            // It has received its message two seconds after its begin.
            (1, stage(129, 150)),
            (1, transfer((1, 2), 160, false)),
            (2, transfer((1, 2), 361, true)),
            (1, transfer((1, 2), 360, false)),
            // Before any message.
            (1, stage(90, 95)),
        ];
        let [one, other] = [100, 130].map(|begin| request(begin + 3, &[(0, 1)]));
        let found = causes(&[one, other], &rows);
        let [one, other] = [0, 1].map(Cause::Request);
        assert_eq!(found, [one, one, other, other, other, other, other, Cause::Unknown]);
    }

    #[test]
    fn an_attempt_is_lost_only_if_a_message_of_each_request_is_known() {
        let [one, other] = [100, 130].map(|begin| request(begin + 3, &[(0, 1)]));
        let row = |at| (1, transfer((0, 1), at, true));
        let lost = |outside| Cause::Lost(outside * SECOND);
        let of = Cause::Request;
        let both = [one.clone(), other];
        assert_eq!(causes(&both, &[row(101), row(131), row(121)]), [of(0), of(1), lost(10)]);
        assert_eq!(causes(&both, &[row(101), row(121)]), [of(0), Cause::Unknown]);
        // The request at 130 has no room for a row of 4 seconds, and has sent another message.
        let too_long = [row(101), row(121), (1, stage(121, 124)), row(150), (1, stage(150, 154))];
        let found = [of(0), Cause::Unknown, Cause::Unknown, lost(16), lost(16)];
        assert_eq!(causes(&both, &too_long), found);
        // Up to a second outside of the request, it is not known.
        let one = [one];
        assert_eq!(causes(&one, &[row(101), row(105), row(106)]), [of(0), Cause::Unknown, lost(2)]);
        // A worker that sends on the same edge may have been lost.
        let sender = (2, transfer((0, 1), 180, false));
        assert_eq!(causes(&one, &[row(101), row(121), sender])[1], Cause::Unknown);
    }

    #[test]
    fn messages_in_a_circle_have_no_cause() {
        let rows = [
            (1, transfer((2, 1), 11, true)),
            (1, transfer((1, 2), 11, false)),
            (2, transfer((1, 2), 12, true)),
            (2, transfer((2, 1), 12, false)),
        ];
        assert_eq!(causes(&[request(3, &[(0, 1)])], &rows), [Cause::Unknown; 4]);
    }

    #[test]
    fn a_message_is_read_as_it_was_packed() {
        let sent = Sent::of(&transfer((3, 0), 101, true)).unwrap();
        assert_eq!(sent, Sent { edge: (Some(3), Some(0)), at: 100 * SECOND });
        let mut bytes = Vec::new();
        sent.pack(&mut bytes);
        assert_eq!(Sent::unpack(&bytes), Some(sent));
        assert_eq!(Sent::unpack(b""), None);
        assert_eq!(Sent::of(&transfer((0, 1), 1, false)), None);
    }
}
