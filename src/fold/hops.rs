//! In-flight time: the n-th sending span of an edge is paired with its n-th receiving span.

use smallvec::SmallVec;

/// How many sending spans, and how many receiving spans, of an edge wait for their other half.
pub(crate) const LIMIT: usize = 64;

/// The hops of one edge of one request.
///
/// Both halves are added when their spans close, in any order, and are paired in the order in which the spans
/// began. If more than [`LIMIT`] halves wait, the next hops form a [`Crowd`], which is measured as a sum.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hops {
    sent: SmallVec<[Half; 2]>,
    received: SmallVec<[Half; 2]>,
    /// The number of receivings that were completed without their sending; that many later sendings are
    /// ignored.
    answered: u64,
    crowd: Crowd,
    /// The number of hops in crowds that could not be measured.
    unknown: u64,
}

/// One half of a hop.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Half {
    /// When the span began. Halves are paired in this order.
    pub(crate) start: u64,
    /// The end of a sending span, or the start of a receiving span.
    pub(crate) moment: u64,
    /// The hop's time was recorded, so this half is only needed for the pairing.
    pub(crate) is_recorded: bool,
    /// Of a receiving span: when another process sent the message.
    pub(crate) sent_at: Option<i64>,
}

/// The flight of one or more hops, from the end of the sending span to the start of the receiving span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flight {
    /// One hop. `from` is later than `to` if the clocks disagree.
    Hop { from: i64, to: i64 },
    /// One hop whose time was recorded. The interval between its halves still counts as activity.
    Recorded { from: i64, to: i64 },
    /// The hops of a crowd, which lie between two moments. Their sum is unknown if the time of one of them
    /// was recorded, or if halves are missing.
    Crowd { nanos: Option<i64>, from: i64, to: i64 },
}

pub(crate) type Flights = SmallVec<[Flight; 4]>;

/// Hops of which only sums are kept. The sum of their times is exact, unless one of them is negative.
#[derive(Debug, Clone, Default)]
struct Crowd {
    sent: u64,
    received: u64,
    /// Sum of the moments of the receivings − sum of the moments of the sendings.
    nanos: i128,
    /// The end of the first sending and the start of the last receiving.
    bounds: Option<(u64, u64)>,
    /// The number of receivings whose hop has a known time of its own.
    known: u64,
    /// A half with a known time is among them, so the sums do not give the times of the others.
    is_spoiled: bool,
}

impl Hops {
    pub(crate) fn add_sent(&mut self, half: Half, flights: &mut Flights) {
        if self.answered > 0 {
            self.answered -= 1;
            return;
        }
        let others_wait = self.received.len() > self.sent.len();
        if self.crowd.is_open() && !others_wait || !self.make_room(|hops| &hops.sent, flights) {
            self.crowd.sent += 1;
            self.unknown += self.crowd.add(half, -i128::from(half.moment), flights);
        } else {
            self.sent.push(half);
        }
    }

    pub(crate) fn add_received(&mut self, half: Half, flights: &mut Flights) {
        let others_wait = self.sent.len() > self.received.len();
        if self.crowd.is_open() && !others_wait || !self.make_room(|hops| &hops.received, flights) {
            self.crowd.received += 1;
            self.crowd.known += u64::from(half.is_recorded || half.sent_at.is_some());
            flights.extend(half.flight_of_its_own());
            self.unknown += self.crowd.add(half, i128::from(half.moment), flights);
        } else {
            self.received.push(half);
        }
    }

    /// Pairs the halves that still wait. Returns the number of hops that could not be measured.
    pub(crate) fn finish(&mut self, flights: &mut Flights) -> u64 {
        if self.received.is_empty() && !self.crowd.is_open() {
            return self.unknown;
        }
        self.settle(flights);
        flights.extend(self.received.drain(..).filter_map(|received| received.flight_of_its_own()));
        let pairs = self.crowd.sent.min(self.crowd.received);
        if pairs > 0 {
            self.crowd.is_spoiled = true;
            self.crowd.received = pairs;
            self.unknown += self.crowd.end(flights);
        }
        self.unknown
    }

    fn make_room(&mut self, side: impl Fn(&Self) -> &SmallVec<[Half; 2]>, flights: &mut Flights) -> bool {
        if side(self).len() >= LIMIT {
            self.settle(flights);
            // A receiving with `sent_at` needs no sending in this process.
            if let Some(flight) = self.received.first().and_then(Half::flight_of_its_own)
                && self.received.len() >= LIMIT
            {
                flights.push(flight);
                self.received.remove(0);
                self.answered += 1;
            }
        }
        side(self).len() < LIMIT
    }

    fn settle(&mut self, flights: &mut Flights) {
        self.sent.sort_by_key(|half| half.start);
        self.received.sort_by_key(|half| half.start);
        let matched = self.sent.len().min(self.received.len());
        for (sent, received) in self.sent.drain(..matched).zip(self.received.drain(..matched)) {
            let (from, to) = (sent.moment as i64, received.moment as i64);
            flights.push(if sent.is_recorded || received.is_recorded {
                Flight::Recorded { from, to }
            } else {
                Flight::Hop { from: received.sent_at.unwrap_or(from), to }
            });
        }
    }
}

impl Half {
    /// The flight of a receiving half that has `sent_at`.
    fn flight_of_its_own(&self) -> Option<Flight> {
        let (from, to) = (self.sent_at?, self.moment as i64);
        Some(if self.is_recorded { Flight::Recorded { from, to } } else { Flight::Hop { from, to } })
    }
}

impl Crowd {
    fn is_open(&self) -> bool {
        self.sent > 0 || self.received > 0
    }

    /// Returns how many hops turned out to be unmeasurable.
    fn add(&mut self, half: Half, nanos: i128, flights: &mut Flights) -> u64 {
        self.is_spoiled |= half.is_recorded || half.sent_at.is_some();
        self.nanos += nanos;
        let moment = half.moment;
        self.bounds =
            Some(self.bounds.map_or((moment, moment), |(from, to)| (from.min(moment), to.max(moment))));
        if self.sent == self.received { self.end(flights) } else { 0 }
    }

    fn end(&mut self, flights: &mut Flights) -> u64 {
        let (from, to) = self.bounds.unwrap_or_default();
        let nanos = self.nanos.clamp(i64::MIN.into(), i64::MAX.into()) as i64;
        let nanos = (!self.is_spoiled).then_some(nanos);
        flights.push(Flight::Crowd { nanos, from: from as i64, to: to as i64 });
        let unknown = if self.is_spoiled { self.received.saturating_sub(self.known) } else { 0 };
        *self = Self::default();
        unknown
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn half(start: u64, moment: u64) -> Half {
        Half { start, moment, ..Half::default() }
    }

    fn nanos(flights: &Flights) -> i64 {
        flights
            .iter()
            .map(|flight| match *flight {
                Flight::Hop { from, to } => to - from,
                Flight::Recorded { .. } => 0,
                Flight::Crowd { nanos, .. } => nanos.unwrap_or(0),
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
    fn a_recorded_half_holds_its_place() {
        let (mut hops, mut flights) = (Hops::default(), Flights::new());
        hops.add_sent(half(0, 10), &mut flights);
        hops.add_sent(half(20, 30), &mut flights);
        hops.add_received(Half { is_recorded: true, ..half(12, 12) }, &mut flights);
        hops.add_received(half(35, 35), &mut flights);
        hops.finish(&mut flights);
        assert_eq!(
            flights.as_slice(),
            [Flight::Recorded { from: 10, to: 12 }, Flight::Hop { from: 30, to: 35 }]
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

    #[test]
    fn a_million_receivings_from_another_process_need_no_sending_here() {
        let (mut hops, mut flights, mut total) = (Hops::default(), Flights::new(), 0);
        for n in 0..1_000_000 {
            let sent_at = Some(n as i64 * 10);
            hops.add_received(Half { sent_at, ..half(n * 10 + 4, n * 10 + 4) }, &mut flights);
            total += nanos(&flights);
            flights.clear();
        }
        assert_eq!(hops.finish(&mut flights), 0);
        assert_eq!(total + nanos(&flights), 4_000_000);
    }

    #[test]
    fn a_crowd_from_another_process_is_measured_by_its_clock() {
        let (mut hops, mut flights) = (Hops::default(), Flights::new());
        for n in 0..200 {
            hops.add_sent(half(n * 10, n * 10 + 1), &mut flights);
        }
        for n in 0..200 {
            let sent_at = Some(n as i64 * 10);
            hops.add_received(Half { sent_at, ..half(n * 10 + 4, n * 10 + 4) }, &mut flights);
        }
        assert_eq!((hops.finish(&mut flights), nanos(&flights)), (0, 800));
    }

    #[test]
    fn what_a_crowd_can_not_tell_is_counted() {
        let (mut hops, mut flights) = (Hops::default(), Flights::new());
        for n in 0..100 {
            hops.add_sent(half(n * 10, n * 10 + 1), &mut flights);
        }
        for n in 0..100 {
            let is_recorded = n == 80;
            hops.add_received(Half { is_recorded, ..half(n * 10 + 4, n * 10 + 4) }, &mut flights);
        }
        assert_eq!(hops.finish(&mut flights), 35, "36 in the crowd, one of them recorded");
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
