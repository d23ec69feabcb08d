//! Messages that stages received, but that no line of their request has sent: it has another attempt.

use std::collections::{BTreeMap, hash_map::Entry};

use super::{
    ids::Ids,
    names::{Names, RowPlace},
    work::{Edge, Messages},
};
use crate::{
    cli::{amount::amount, by_hash::ByHash},
    model::id::unordered,
    write::columns::id,
};

/// How many requests are remembered of which more messages were sent than received so far, or more received.
const REQUESTS: usize = 1 << 17;
/// How many edges are told apart.
const EDGES: usize = 256;
/// If this share of the messages of an edge is sent by no line, its sending spans are not one a message.
const MOST: f64 = 0.5;

/// The messages of each edge on which only the lines of requests send. On another edge, a worker may have
/// died between sending a message and writing the row.
#[derive(Debug)]
pub(super) struct Surplus {
    edges: BTreeMap<Edge, Option<Balances>>,
    /// Of all edges.
    balances: usize,
    ids: Ids,
    limit: usize,
}

/// The requests with an edge of which as many messages were sent as received are left out.
#[derive(Debug, Default)]
struct Balances {
    received: u64,
    by_request: ByHash<Balance>,
}

/// How many more messages were received than sent.
#[derive(Debug, Default)]
struct Balance {
    more: i64,
    /// The first row of one.
    first: Option<RowPlace>,
}

impl Default for Surplus {
    fn default() -> Self {
        Self::new(REQUESTS)
    }
}

impl Surplus {
    fn new(limit: usize) -> Self {
        Self { edges: BTreeMap::new(), balances: 0, ids: Ids::ALL, limit }
    }

    /// Adds the messages in the line of a request, or in the row at this place.
    pub(super) fn add(&mut self, request: u64, row: Option<RowPlace>, messages: &[Messages]) {
        for messages in messages {
            if self.edges.len() < EDGES {
                self.edges.entry(messages.edge).or_insert_with(|| Some(Balances::default()));
            }
            let Some(of_edge) = self.edges.get_mut(&messages.edge) else { continue };
            let Some(balances) = of_edge else { continue };
            self.balances -= balances.by_request.len();
            if row.is_some() == (messages.sent > 0) {
                *of_edge = None;
                continue;
            }
            balances.received = balances.received.saturating_add(messages.received.into());
            if self.ids.have(request) {
                balances.add(request, row, messages);
            }
            self.balances += balances.by_request.len();
        }
        while self.balances > self.limit {
            self.ids.halve();
            let of_edges = self.edges.values_mut().flatten();
            of_edges.for_each(|balances| balances.by_request.retain(|request, _| self.ids.have(*request)));
            self.balances = self.edges.values().flatten().map(|balances| balances.by_request.len()).sum();
        }
    }

    /// Whether more messages of the request were sent than received so far, or more received.
    pub(super) fn has(&self, request: u64) -> bool {
        self.edges.values().flatten().any(|balances| balances.by_request.contains_key(&request))
    }

    /// The requests with a line that have messages which no line has sent, by their first row of these, and a
    /// sentence about them. Whether they have a line is known of these ids.
    pub(super) fn finish(
        &self,
        ids: Ids,
        names: &Names,
        has_line: impl Fn(u64) -> bool,
    ) -> Option<(Vec<(RowPlace, u64)>, String)> {
        let ids = self.ids.min(ids);
        let of_edges = self.edges.iter().filter_map(|(edge, balances)| {
            let Balances { received, by_request } = balances.as_ref()?;
            let surplus = by_request
                .iter()
                .filter(|(request, balance)| balance.more > 0 && ids.have(**request) && has_line(**request));
            let (mut more, mut requests) = (0, Vec::new());
            for (request, balance) in surplus {
                more += balance.more.unsigned_abs();
                requests.extend(balance.first.map(|first| (first, *request)));
            }
            let is_usual = more.saturating_mul(ids.one_in()) as f64 >= *received as f64 * MOST;
            (!is_usual && !requests.is_empty()).then_some((more, requests, *edge))
        });
        let (more, mut requests, (from, to)) = of_edges.max_by_key(|(more, ..)| *more)?;
        requests.sort_unstable();
        let [from, to] = [from, to].map(|stage| id(unordered(stage)));
        let sentence = format!(
            "stage {to} received at least {} from stage {from} that no line sent, of at least {}{}, and this \
             row is of the first such request: another attempt with its id is still open, or the line of \
             that attempt is in another log or missing, or a message was received twice{}",
            amount(more, "message", "messages"),
            amount(requests.len() as u64, "request", "requests"),
            names.some_of(&requests),
            ids.share()
        );
        Some((requests, sentence))
    }
}

impl Balances {
    fn add(&mut self, request: u64, row: Option<RowPlace>, messages: &Messages) {
        let more = i64::from(messages.received) - i64::from(messages.sent);
        match self.by_request.entry(request) {
            Entry::Vacant(_) if more == 0 => {}
            Entry::Vacant(place) => _ = place.insert(Balance { more, first: row }),
            Entry::Occupied(mut known) => {
                let balance = known.get_mut();
                balance.more += more;
                balance.first = balance.first.or(row);
                if balance.more == 0 {
                    known.remove();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::keep;

    const SENT: Messages = Messages { edge: (0, 1), sent: 1, received: 0 };
    const RECEIVED: Messages = Messages { edge: (0, 1), sent: 0, received: 1 };
    /// In a line of `join`.
    const BOTH: Messages = Messages { edge: (0, 1), sent: 1, received: 1 };

    /// What is said of these lines, if up to 100 balances are kept and all requests have a line. An item is
    /// whether it is a row, the number of its request, and its messages.
    fn found(lines: impl IntoIterator<Item = (bool, u64, Messages)>) -> Option<(u64, String)> {
        let mut surplus = Surplus::new(100);
        for (number, (is_row, request, messages)) in (1..).zip(lines) {
            let row = is_row.then_some((0, number));
            surplus.add(keep::hash(&request.to_string()), row, &[messages]);
            assert!(surplus.balances <= 100);
        }
        let (requests, sentence) = surplus.finish(Ids::ALL, &Names::default(), |_| true)?;
        Some((requests.first()?.0.1, sentence))
    }

    fn line(request: u64) -> (bool, u64, Messages) {
        (false, request, SENT)
    }

    fn row(request: u64) -> (bool, u64, Messages) {
        (true, request, RECEIVED)
    }

    #[test]
    fn a_message_that_no_line_sent_is_counted_in_whatever_order_the_lines_come() {
        let (lines, rows) = (|| (0..10).map(line), || (0..10).chain([3, 3, 7]).map(row));
        let begin =
            "stage 1 received at least 3 messages from stage 0 that no line sent, of at least 2 requests, ";
        for (found, first) in [(found(lines().chain(rows())), 21), (found(rows().chain(lines())), 4)] {
            let (place, sentence) = found.unwrap();
            assert!(place == first && sentence.starts_with(begin), "{place}: {sentence}");
        }
        assert_eq!(found(lines().chain((0..10).map(row))), None);
        // A message of another attempt was lost, so that it makes up for one.
        assert_eq!(found(lines().chain([line(3)]).chain((0..10).chain([3]).map(row))), None);
        let joined = (0..10).map(|request| (false, request, BOTH));
        assert_eq!(found(joined.clone()), None);
        assert!(found(joined.chain([row(3)])).unwrap().1.contains(" at least 1 message from stage 0 "));
    }

    #[test]
    fn nothing_is_said_of_an_edge_on_which_others_send_or_whose_messages_are_usually_received_twice() {
        let sound = || (0..10).flat_map(|request| [line(request), row(request)]);
        assert!(found(sound().chain([row(3)])).is_some());
        assert_eq!(found(sound().chain([row(3), (true, 4, SENT)])), None, "a worker sends");
        assert_eq!(found(sound().chain([row(3), (false, 4, RECEIVED)])), None, "the sender's row is lost");
        assert_eq!(found(sound().chain((0..10).map(row))), None, "two workers receive each message");
    }

    #[test]
    fn of_many_requests_a_sample_is_checked() {
        let surplus = (0..4_000).flat_map(|request| [line(request), row(request)]).chain((0..1_000).map(row));
        let (_, sentence) = found(surplus).unwrap();
        assert!(sentence.ends_with("; of the requests, one in 16 was checked"), "{sentence}");
    }
}
