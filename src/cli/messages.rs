//! How far apart the clocks of a request's processes can be, as its messages tell: none is received before it
//! is sent.

use std::collections::BTreeMap;

use super::aligned::{Edge, edge, seen_flight};
use crate::TransferRow;

/// A process of a request: a worker, by its log, or the request's own.
type Process = Option<u64>;

/// The messages of a request.
#[derive(Default)]
pub(super) struct Messages {
    /// Who sent the messages of each edge; `None` if several processes did.
    senders: BTreeMap<Edge, Option<Process>>,
    /// The shortest flight of each edge to each receiver, by the clocks of both processes, in nanoseconds.
    received: BTreeMap<(Edge, Process), i64>,
}

/// The messages of a request that lead from its own process to each worker, and back.
pub(super) struct Paths([BTreeMap<Process, Path>; 2]);

/// Messages one after another: how long they seem to have been in flight, in nanoseconds, and how many there
/// are. The clock of the last receiver is ahead of the first sender's by at most that time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Path {
    pub(super) flight: i64,
    pub(super) messages: u64,
}

impl Messages {
    /// Adds a transfer row of a process, from a line with these warnings.
    pub(super) fn add(&mut self, row: &TransferRow, warnings: &[String], process: Process) {
        if row.tx_time_ms.is_some() {
            let sender = self.senders.entry(edge(row)).or_insert(Some(process));
            *sender = sender.filter(|known| *known == process);
        }
        if let Some(flight) = seen_flight(row, warnings) {
            // The shortest flight is not longer than the mean.
            let mean = flight / row.events.max(1).cast_signed();
            let shortest = self.received.entry((edge(row), process)).or_insert(mean);
            *shortest = mean.min(*shortest);
        }
    }

    pub(super) fn paths(&self) -> Paths {
        let hops = self.received.iter().filter_map(|((edge, to), flight)| {
            let from = self.senders.get(edge).copied().flatten()?;
            Some((from, *to, *flight))
        });
        let there: Vec<_> = hops.collect();
        let back: Vec<_> = there.iter().map(|(from, to, flight)| (*to, *from, *flight)).collect();
        Paths([there, back].map(|hops| shortest_paths(&hops)))
    }
}

impl Paths {
    /// From the request's own process to the worker with this log, and back.
    pub(super) fn of(&self, log: u64) -> [Option<Path>; 2] {
        self.0.each_ref().map(|paths| paths.get(&Some(log)).copied())
    }
}

/// The shortest path from the request's own process to each other one.
fn shortest_paths(hops: &[(Process, Process, i64)]) -> BTreeMap<Process, Path> {
    let mut paths = BTreeMap::from([(None, Path { flight: 0, messages: 0 })]);
    // A shortest path has each hop once.
    for _ in hops {
        let mut is_shorter = false;
        for (from, to, flight) in hops {
            let Some(before) = paths.get(from) else { continue };
            let path = Path { flight: before.flight.saturating_add(*flight), messages: before.messages + 1 };
            if paths.get(to).is_none_or(|known| path < *known) {
                paths.insert(*to, path);
                is_shorter = true;
            }
        }
        if !is_shorter {
            break;
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Millis, model::early_arrival};

    /// A message on the edge between two stages takes this long by the clocks of a sender and a receiver.
    fn send(messages: &mut Messages, edge: (u64, u64), flight: i64, from: Process, to: Process) {
        let row =
            TransferRow { from_stage: Some(edge.0), to_stage: Some(edge.1), events: 1, ..Default::default() };
        let early = early_arrival::warning((row.from_stage, row.to_stage), flight.unsigned_abs());
        let warnings = Vec::from_iter((flight < 0).then_some(early));
        let millis = Some(Millis::from_nanos(flight.max(0).unsigned_abs()));
        messages.add(&TransferRow { tx_time_ms: Some(Millis::ZERO), ..row.clone() }, &[], from);
        messages.add(&TransferRow { in_flight_time_ms: millis, ..row }, &warnings, to);
    }

    fn pairs(messages: &Messages, log: u64) -> [Option<(i64, u64)>; 2] {
        messages.paths().of(log).map(|path| path.map(|path| (path.flight, path.messages)))
    }

    #[test]
    fn a_clock_is_bounded_by_the_messages_to_its_process_and_those_back() {
        let mut messages = Messages::default();
        // A circle, in which each message takes 10 ns, and the clock of worker 7 is 50 ns ahead.
        send(&mut messages, (0, 1), 60, None, Some(7));
        send(&mut messages, (1, 2), -40, Some(7), Some(8));
        send(&mut messages, (2, 3), 12, Some(8), Some(9));
        send(&mut messages, (2, 3), 10, Some(8), Some(9));
        assert_eq!(pairs(&messages, 8), [Some((20, 2)), None]);
        send(&mut messages, (3, 0), 10, Some(9), None);
        assert_eq!(pairs(&messages, 7), [Some((60, 1)), Some((-20, 3))]);
        assert_eq!(pairs(&messages, 8), [Some((20, 2)), Some((20, 2))]);
        assert_eq!(pairs(&messages, 9), [Some((30, 3)), Some((10, 1))]);
        assert_eq!(pairs(&messages, 1), [None, None]);
        // A direct way that took longer.
        send(&mut messages, (0, 2), 21, None, Some(8));
        assert_eq!(pairs(&messages, 8)[0], Some((20, 2)));
    }

    #[test]
    fn a_message_of_an_edge_on_which_several_processes_send_bounds_nothing() {
        let mut messages = Messages::default();
        send(&mut messages, (0, 1), 60, None, Some(7));
        send(&mut messages, (0, 1), 60, Some(8), Some(7));
        assert_eq!(pairs(&messages, 7), [None, None]);
    }
}
