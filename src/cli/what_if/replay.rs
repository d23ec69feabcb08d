//! The requests of a log, sent through its stages again, as queues.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, VecDeque},
};

use super::{
    station::{Place, Station},
    trace::{Dependency, Moment, Request},
};
use crate::model::id::OrderedId;

/// When requests arrive.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Arrivals {
    /// As in the log, but this many times as often.
    Open(f64),
    /// This many are in flight at all times: when one ends, the next one begins.
    Closed(usize),
}

/// What came of a replay.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// End-to-end times in nanoseconds, in the order of the requests.
    pub(super) e2e: Vec<u64>,
    /// When the requests began, in nanoseconds, in the same order.
    pub(super) created: Vec<u64>,
    pub(super) stages: BTreeMap<OrderedId, StageOutcome>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct StageOutcome {
    /// How long each visit waited, in nanoseconds, in the order in which they were served.
    pub(super) waits: Vec<u64>,
    /// When the workers worked, from a start to an end.
    pub(super) services: Vec<(u64, u64)>,
}

/// Replays the requests, which are ordered by creation: first come, first served in every stage, and a free
/// worker takes as many waiting requests at once as a batch may have.
pub(super) fn replay(
    requests: &[Request],
    stations: &BTreeMap<OrderedId, Station>,
    arrivals: Arrivals,
) -> Outcome {
    let mut replay = Replay {
        requests,
        stations,
        queues: stations.iter().map(|(stage, station)| (*stage, Queue::new(station.workers))).collect(),
        events: BinaryHeap::new(),
        number: 0,
        outcome: Outcome {
            e2e: vec![0; requests.len()],
            created: vec![0; requests.len()],
            ..Outcome::default()
        },
    };
    replay.run(arrivals);
    let Replay { mut outcome, queues, .. } = replay;
    outcome.stages = queues.into_iter().map(|(stage, queue)| (stage, queue.outcome)).collect();
    outcome
}

struct Replay<'a> {
    requests: &'a [Request],
    stations: &'a BTreeMap<OrderedId, Station>,
    queues: BTreeMap<OrderedId, Queue>,
    /// By time; those of one time in the order in which they were added.
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    number: u64,
    outcome: Outcome,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Created(usize),
    Arrived(Place),
    /// A stage is done with these visits.
    Done(OrderedId, Vec<Place>),
    Ended(usize),
}

struct Queue {
    waiting: VecDeque<(Place, u64)>,
    free: usize,
    outcome: StageOutcome,
}

impl Queue {
    fn new(workers: usize) -> Self {
        Self { waiting: VecDeque::new(), free: workers, outcome: StageOutcome::default() }
    }
}

impl Replay<'_> {
    fn run(&mut self, arrivals: Arrivals) {
        let mut next = 0..self.requests.len();
        match arrivals {
            Arrivals::Open(rate) => {
                let first = self.requests.first().map_or(0, |request| request.created);
                for at in next.by_ref() {
                    let after = self.requests.get(at).map_or(0, |request| request.created - first);
                    self.add((after as f64 / rate) as u64, Event::Created(at));
                }
            }
            Arrivals::Closed(clients) => {
                next.by_ref().take(clients).for_each(|at| self.add(0, Event::Created(at)));
            }
        }
        while let Some(Reverse((now, _, event))) = self.events.pop() {
            self.happen(now, event, &mut next);
            // What happens at one moment happens before a worker takes a batch.
            if self.events.peek().is_none_or(|Reverse((time, ..))| *time > now) {
                self.dispatch(now);
            }
        }
    }

    fn add(&mut self, time: u64, event: Event) {
        self.number += 1;
        self.events.push(Reverse((time, self.number, event)));
    }

    fn happen(&mut self, now: u64, event: Event, next: &mut impl Iterator<Item = usize>) {
        match event {
            Event::Created(request) => {
                if let Some(created) = self.outcome.created.get_mut(request) {
                    *created = now;
                }
                self.follow(request, Moment::Created, now);
            }
            Event::Arrived(place) => {
                let stage = self.visit(place).map(|visit| visit.stage);
                if let Some(queue) = stage.and_then(|stage| self.queues.get_mut(&stage)) {
                    queue.waiting.push_back((place, now));
                }
            }
            Event::Done(stage, visits) => {
                if let Some(queue) = self.queues.get_mut(&stage) {
                    queue.free += 1;
                }
                visits.into_iter().for_each(|(request, at)| self.follow(request, Moment::End(at), now));
            }
            Event::Ended(request) => {
                let created = self.outcome.created.get(request).copied().unwrap_or_default();
                if let Some(e2e) = self.outcome.e2e.get_mut(request) {
                    *e2e = now - created;
                }
                if let Some(request) = next.next() {
                    self.add(now, Event::Created(request));
                }
            }
        }
    }

    /// Adds what depends on a moment of a request.
    fn follow(&mut self, request: usize, moment: Moment, now: u64) {
        let requests = self.requests;
        let Some(Request { visits, end, .. }) = requests.get(request) else { return };
        let then = |after: &Dependency| now.saturating_add(after.lag);
        for (at, visit) in visits.iter().enumerate().filter(|(_, visit)| visit.after.on == moment) {
            self.add(then(&visit.after), Event::Arrived((request, at)));
        }
        if end.on == moment {
            self.add(then(end), Event::Ended(request));
        }
    }

    /// Gives waiting requests to free workers.
    fn dispatch(&mut self, now: u64) {
        for (stage, station) in self.stations {
            while let Some(taken) = self.queues.get_mut(stage).and_then(|queue| queue.take(station, now)) {
                let length = self.service_time(station, &taken);
                if let Some(queue) = self.queues.get_mut(stage) {
                    queue.outcome.services.push((now, now.saturating_add(length)));
                }
                taken.iter().for_each(|&(request, at)| self.follow(request, Moment::Start(at), now));
                self.add(now.saturating_add(length), Event::Done(*stage, taken));
            }
        }
    }

    /// How long a stage works on these visits: as long as in the log. A batch that the log does not have
    /// takes the time of its size, and as much more or less as its requests' batches took in the log.
    fn service_time(&self, station: &Station, visits: &[Place]) -> u64 {
        let in_log = |place: &Place| self.visit(*place).map_or(0, |visit| visit.end - visit.start) as f64;
        let mean = |time: &dyn Fn(&Place) -> f64| visits.iter().map(time).sum::<f64>() / visits.len() as f64;
        let time = match station.batches {
            Some(line) => {
                let usual = |place: &Place| line.time(self.visit(*place).map_or(1, |visit| visit.batch_size));
                line.time(visits.len()) + mean(&|place| in_log(place) - usual(place))
            }
            None => mean(&in_log),
        };
        time.max(0.0) as u64
    }

    fn visit(&self, (request, at): Place) -> Option<&super::trace::Visit> {
        self.requests.get(request)?.visits.get(at)
    }
}

impl Queue {
    /// The visits that a free worker takes now.
    fn take(&mut self, station: &Station, now: u64) -> Option<Vec<Place>> {
        if self.free == 0 || self.waiting.is_empty() {
            return None;
        }
        self.free -= 1;
        let taken = self.waiting.drain(..station.batch_limit.min(self.waiting.len()));
        let waits = &mut self.outcome.waits;
        Some(taken.map(|(place, since)| (waits.push(now - since), place).1).collect())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::cli::what_if::{station::stations, trace::Visit};

    impl Outcome {
        /// When the last request ended.
        fn wall(&self) -> u64 {
            self.created.iter().zip(&self.e2e).map(|(created, e2e)| created + e2e).max().unwrap()
        }
    }

    /// Numbers from 0 to 1 that are the same in every run.
    pub(in crate::cli::what_if) fn random(seed: u64) -> impl FnMut() -> f64 {
        let mut state = seed;
        move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        }
    }

    /// Requests with one stage, which come at random moments, on average one in `between`.
    fn requests(count: usize, between: f64, mut service: impl FnMut() -> f64) -> Vec<Request> {
        let (mut random, mut created) = (random(7), 0.0);
        let request = |_| {
            created -= (1.0 - random()).ln() * between;
            let end = service() as u64;
            let after = Dependency::default();
            let visit = Visit { end, after, batch_size: 1, ..Visit::default() };
            let end = Dependency { on: Moment::End(0), lag: 0 };
            Request { created: created as u64, visits: vec![visit], end, ..Request::default() }
        };
        (0..count).map(request).collect()
    }

    fn stations_with(workers: usize, batch_limit: usize) -> BTreeMap<OrderedId, Station> {
        BTreeMap::from([(0, Station { workers, batch_limit, ..Station::default() })])
    }

    fn mean(times: &[u64]) -> f64 {
        times.iter().sum::<u64>() as f64 / times.len() as f64
    }

    /// The log that a service with these stations would have written.
    fn log(requests: &[Request], stations: &BTreeMap<OrderedId, Station>) -> Vec<Request> {
        let outcome = replay(requests, stations, Arrivals::Open(1.0));
        let waits = outcome.stages[&0].waits.iter();
        let logged = |(request, (wait, e2e)): (&Request, (&u64, &u64))| {
            let mut logged = Request { e2e: *e2e, ..request.clone() };
            logged.visits[0].start = *wait;
            logged.visits[0].end += wait;
            logged
        };
        requests.iter().zip(waits.zip(&outcome.e2e)).map(logged).collect()
    }

    #[test]
    fn waits_are_those_of_queueing_theory() {
        for load in [0.5, 0.8] {
            let (service, mut random) = (1e6, random(11));
            let arrivals = service / load;
            let exponential = requests(200_000, arrivals, || -(1.0 - random()).ln() * service);
            let constant = requests(200_000, arrivals, || service);
            // By Pollaczek and Khinchine, services of constant length halve the wait of exponential ones.
            let expected = load / (1.0 - load) * service;
            for (requests, expected) in [(exponential, expected), (constant, expected / 2.0)] {
                let outcome = replay(&requests, &stations_with(1, 1), Arrivals::Open(1.0));
                let found = mean(&outcome.stages[&0].waits) / expected;
                assert!((0.9..1.1).contains(&found), "load {load}: {found} of the expected wait");
            }
        }
    }

    #[test]
    fn the_log_of_one_number_of_workers_predicts_the_other() {
        let mut random = random(11);
        let requests = requests(3_000, 1e6, || (random() + 0.2) * 1.7e6);
        for (workers, others) in [(2, 3), (3, 2), (4, 2)] {
            let mut log = log(&requests, &stations_with(workers, 1));
            let mut stations = stations(&mut log);
            assert_eq!(stations[&0].workers, workers);
            let replayed = replay(&log, &stations, Arrivals::Open(1.0));
            assert_eq!(replayed.e2e, log.iter().map(|request| request.e2e).collect::<Vec<_>>());
            if let Some(station) = stations.get_mut(&0) {
                station.workers = others;
            }
            let predicted = replay(&log, &stations, Arrivals::Open(1.0));
            let truth = replay(&requests, &stations_with(others, 1), Arrivals::Open(1.0));
            assert_eq!(predicted.e2e, truth.e2e, "{workers} workers predict {others}");
        }
    }

    #[test]
    fn a_closed_loop_keeps_its_clients_busy() {
        let requests = requests(100, 1e6, || 1e6);
        let outcome = replay(&requests, &stations_with(2, 1), Arrivals::Closed(4));
        assert_eq!(outcome.wall(), 50_000_000);
        // The first two find a free worker; every later one waits for one service.
        assert_eq!(outcome.e2e.iter().filter(|e2e| **e2e == 1_000_000).count(), 2);
        assert_eq!(outcome.e2e.iter().filter(|e2e| **e2e == 2_000_000).count(), 98);
    }

    #[test]
    fn a_free_worker_takes_all_that_wait_as_one_batch() {
        let requests = requests(10, 0.0, || 1e6);
        let outcome = replay(&requests, &stations_with(1, 4), Arrivals::Open(1.0));
        let services = [0, 1, 2].map(|at| (at * 1_000_000, (at + 1) * 1_000_000));
        assert_eq!(outcome.stages[&0].services, services);
        assert_eq!(outcome.e2e.iter().filter(|e2e| **e2e == 1_000_000).count(), 4);
    }

    #[test]
    fn twice_the_rate_is_half_the_time_between_requests() {
        let requests = requests(1_000, 1e6, || 1.0);
        let wall = |rate| replay(&requests, &stations_with(1, 1), Arrivals::Open(rate)).wall() as f64;
        assert!((wall(1.0) / wall(2.0) - 2.0).abs() < 0.01);
    }
}
