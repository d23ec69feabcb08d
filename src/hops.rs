//! In-flight time: the n-th sending of an edge meets its n-th receiving.

use smallvec::SmallVec;

/// How many sendings, and how many receivings, an edge keeps waiting for their other half.
pub(crate) const LIMIT: usize = 64;

/// The hops of one edge of one request.
///
/// Both halves arrive when their spans close, in any order, and are matched by the order in which
/// they began. Past [`LIMIT`] waiting ones the hops after them form a [`Crowd`], measured as one.
#[derive(Debug, Default)]
pub(crate) struct Hops {
    sent: SmallVec<[Half; 2]>,
    received: SmallVec<[Half; 2]>,
    crowd: Crowd,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Half {
    /// When the span began, which gives its place in the order.
    pub(crate) start: u64,
    /// The end of a sending, the start of a receiving.
    pub(crate) moment: u64,
    /// The hop's time is known already; this half only holds its place.
    pub(crate) known: bool,
}

/// A way between two stages, from the end of the sending to the start of the receiving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flight {
    /// One hop. It began after it ended if the clocks disagree.
    Hop { from: i64, to: i64 },
    /// One hop whose time is known already: it covers the time between its halves all the same.
    Known { from: i64, to: i64 },
    /// The sum over the hops of a crowd.
    Crowd { nanos: i64 },
}

pub(crate) type Flights = SmallVec<[Flight; 4]>;

/// Hops of which only the sums are kept: exact as a whole unless one of them is below zero.
#[derive(Debug, Default)]
struct Crowd {
    sent: u64,
    received: u64,
    /// Sum of the receivings' moments − sum of the sendings'.
    nanos: i128,
    /// A half whose time is known stood among them, so that the sums say nothing.
    spoiled: bool,
}

impl Hops {
    pub(crate) fn add_sent(&mut self, half: Half, flights: &mut Flights) {
        let others_wait = self.received.len() > self.sent.len();
        if self.crowd.is_open() && !others_wait || !self.make_room(|hops| &hops.sent, flights) {
            self.crowd.sent += 1;
            self.crowd.add(half, -i128::from(half.moment), flights);
        } else {
            self.sent.push(half);
        }
    }

    pub(crate) fn add_received(&mut self, half: Half, flights: &mut Flights) {
        let others_wait = self.sent.len() > self.received.len();
        if self.crowd.is_open() && !others_wait || !self.make_room(|hops| &hops.received, flights) {
            self.crowd.received += 1;
            self.crowd.add(half, i128::from(half.moment), flights);
        } else {
            self.received.push(half);
        }
    }

    /// Matches what is still waiting. Returns how many hops can't be told apart any more.
    pub(crate) fn finish(&mut self, flights: &mut Flights) -> u64 {
        self.settle(flights);
        self.crowd.sent.min(self.crowd.received)
    }

    fn make_room(&mut self, side: impl Fn(&Self) -> &SmallVec<[Half; 2]>, flights: &mut Flights) -> bool {
        if side(self).len() >= LIMIT {
            self.settle(flights);
        }
        side(self).len() < LIMIT
    }

    fn settle(&mut self, flights: &mut Flights) {
        self.sent.sort_by_key(|half| half.start);
        self.received.sort_by_key(|half| half.start);
        let matched = self.sent.len().min(self.received.len());
        for (sent, received) in self.sent.drain(..matched).zip(self.received.drain(..matched)) {
            let (from, to) = (sent.moment as i64, received.moment as i64);
            flights.push(if sent.known || received.known {
                Flight::Known { from, to }
            } else {
                Flight::Hop { from, to }
            });
        }
    }
}

impl Crowd {
    fn is_open(&self) -> bool {
        self.sent > 0 || self.received > 0
    }

    fn add(&mut self, half: Half, nanos: i128, flights: &mut Flights) {
        self.spoiled |= half.known;
        self.nanos += nanos;
        if self.sent == self.received {
            if !self.spoiled {
                flights.push(Flight::Crowd { nanos: i64::try_from(self.nanos).unwrap_or(i64::MAX) });
            }
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn half(start: u64, moment: u64) -> Half {
        Half { start, moment, known: false }
    }

    fn nanos(flights: &Flights) -> i64 {
        flights
            .iter()
            .map(|flight| match *flight {
                Flight::Hop { from, to } => to - from,
                Flight::Known { .. } => 0,
                Flight::Crowd { nanos } => nanos,
            })
            .sum()
    }

    #[test]
    fn halves_meet_in_the_order_in_which_they_began_not_in_which_they_closed() {
        let (mut hops, mut flights) = (Hops::default(), Flights::new());
        hops.add_sent(half(20, 30), &mut flights);
        hops.add_sent(half(0, 10), &mut flights);
        hops.add_received(half(31, 31), &mut flights);
        hops.add_received(half(12, 12), &mut flights);
        assert_eq!(hops.finish(&mut flights), 0);
        assert_eq!(flights.as_slice(), [Flight::Hop { from: 10, to: 12 }, Flight::Hop { from: 30, to: 31 }]);
    }

    #[test]
    fn a_known_half_holds_its_place() {
        let (mut hops, mut flights) = (Hops::default(), Flights::new());
        hops.add_sent(half(0, 10), &mut flights);
        hops.add_sent(half(20, 30), &mut flights);
        hops.add_received(Half { known: true, ..half(12, 12) }, &mut flights);
        hops.add_received(half(35, 35), &mut flights);
        hops.finish(&mut flights);
        assert_eq!(
            flights.as_slice(),
            [Flight::Known { from: 10, to: 12 }, Flight::Hop { from: 30, to: 35 }]
        );
    }

    #[test]
    fn a_million_hops_stay_small_and_their_sum_exact() {
        let (mut hops, mut flights, mut total) = (Hops::default(), Flights::new(), 0);
        for n in 0..500_000_u64 {
            hops.add_sent(half(n * 10, n * 10 + 3), &mut flights);
        }
        for n in 0..500_000_u64 {
            hops.add_received(half(n * 10 + 7, n * 10 + 7), &mut flights);
            total += nanos(&flights);
            flights.clear();
        }
        assert_eq!(hops.finish(&mut flights), 0);
        assert_eq!(total + nanos(&flights), 500_000 * 4);
        assert!(hops.sent.capacity() + hops.received.capacity() <= 4 * LIMIT);
    }

    proptest! {
        #[test]
        fn any_interleaving_gives_the_sum_of_all_hops(
            choices in prop::collection::vec(any::<bool>(), 1..600), flight in 0_u64..50
        ) {
            let (mut hops, mut flights) = (Hops::default(), Flights::new());
            let (mut sent, mut received) = (0_u64, 0_u64);
            let total = choices.len() as u64;
            while sent < total || received < total {
                let send = choices[((sent + received) % total) as usize];
                if received == total || (send && sent < total) {
                    hops.add_sent(half(sent * 100, sent * 100 + 10), &mut flights);
                    sent += 1;
                } else {
                    let moment = received * 100 + 10 + flight;
                    hops.add_received(half(moment, moment), &mut flights);
                    received += 1;
                }
            }
            prop_assert_eq!(hops.finish(&mut flights), 0);
            prop_assert_eq!(nanos(&flights), (total * flight) as i64);
        }
    }
}
