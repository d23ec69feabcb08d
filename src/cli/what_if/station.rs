//! A stage as a queue: how many requests it worked on at once, and how long each of them took.

use std::collections::{BTreeMap, VecDeque};

use super::trace::Request;
use crate::model::id::OrderedId;

/// Times of one batch may differ by this much, in nanoseconds: each request's creation is known to the
/// microsecond.
const SAME_TIME: u64 = 10_000;
/// A number of requests at once counts if it lasted for this share of the time in which the stage worked.
const LASTING: u64 = 100;

/// Which visit of which request.
pub(super) type Place = (usize, usize);

/// A stage of the log.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Station {
    pub(super) stage_name: Option<String>,
    /// How many requests, or batches, it worked on at once.
    pub(super) workers: usize,
    /// How many requests its largest batch had; 1 if it makes no batches.
    pub(super) batch_limit: usize,
    pub(super) batches: Option<Line>,
    /// When its workers worked, from a start to an end.
    pub(super) services: Vec<(u64, u64)>,
}

/// How long a batch takes, by the number of its requests: a straight line through the batches of the log.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Line {
    of_batch: f64,
    of_request: f64,
}

/// What a stage did without a pause: for one request, or for a batch.
#[derive(Debug)]
struct Service {
    start: u64,
    end: u64,
    visits: Vec<Place>,
}

impl Service {
    fn times(&self) -> (u64, u64) {
        (self.start, self.end)
    }
}

/// Makes the stations of a log, and tells in every visit the queue from other delays: a request waited in the
/// queue for as long as all workers were busy. What remains of the time between its arrival and its start
/// would also pass with more workers, so the visit arrives later by that.
pub(super) fn stations(requests: &mut [Request]) -> BTreeMap<OrderedId, Station> {
    let mut by_stage = BTreeMap::<OrderedId, Vec<Place>>::new();
    for (at, request) in requests.iter().enumerate() {
        for (visit_at, visit) in request.visits.iter().enumerate() {
            by_stage.entry(visit.stage).or_default().push((at, visit_at));
        }
    }
    let mut stations = BTreeMap::new();
    for (stage, visits) in by_stage {
        let mut services = services(requests, visits);
        let workers = at_once(services.iter().map(Service::times));
        let places = services.iter().flat_map(|service| &service.visits);
        let mut names = places
            .filter_map(|&(request, visit)| requests.get(request)?.visits.get(visit)?.stage_name.clone());
        let mut station = Station {
            stage_name: names.next_back(),
            workers,
            batch_limit: services.iter().map(|service| service.visits.len()).max().unwrap_or(1),
            batches: Line::through(&services),
            services: Vec::new(),
        };
        divide_delays(requests, &mut services, workers);
        station.services = services.iter().map(Service::times).collect();
        stations.insert(stage, station);
    }
    stations
}

/// The services of a stage, by their start.
fn services(requests: &[Request], mut visits: Vec<Place>) -> Vec<Service> {
    let times = |(request, visit): Place| {
        let request = requests.get(request)?;
        let visit = request.visits.get(visit)?;
        let [start, end] = [visit.start, visit.end].map(|time| request.created.saturating_add(time));
        Some((visit.batch, start, end))
    };
    visits.sort_by_key(|place| times(*place));
    let mut services = Vec::<Service>::new();
    let mut last_batch = None;
    for place in visits {
        let Some((batch, start, end)) = times(place) else { continue };
        match services.last_mut() {
            Some(last)
                if batch.is_some()
                    && batch == last_batch
                    && start.abs_diff(last.start) <= SAME_TIME
                    && end.abs_diff(last.end) <= SAME_TIME =>
            {
                last.visits.push(place);
            }
            _ => services.push(Service { start, end: end.max(start.saturating_add(1)), visits: vec![place] }),
        }
        last_batch = batch;
    }
    services.sort_by_key(|service| (service.start, service.end));
    services
}

/// The starts and ends of services in order; of those at one moment, the ends come first.
fn changes(times: impl Iterator<Item = (u64, u64)> + Clone) -> Vec<(u64, bool, usize)> {
    let ends = times.clone().enumerate().map(|(at, (_, end))| (end, false, at));
    let starts = times.enumerate().map(|(at, (start, _))| (start, true, at));
    let mut changes: Vec<_> = ends.chain(starts).collect();
    changes.sort_unstable();
    changes
}

/// How many of these times, each from a start to an end, ran at once; a number that was reached for moments
/// only is left out.
pub(super) fn at_once(times: impl Iterator<Item = (u64, u64)> + Clone) -> usize {
    let (mut now, mut running, mut lasted) = (0, 0_usize, Vec::<u64>::new());
    for (time, is_start, _) in changes(times) {
        if lasted.len() <= running {
            lasted.resize(running + 1, 0);
        }
        if let Some(lasted) = lasted.get_mut(running) {
            *lasted += time - now;
        }
        now = time;
        running = if is_start { running + 1 } else { running.saturating_sub(1) };
    }
    let busy: u64 = lasted.iter().skip(1).sum();
    let mut at_least = 0;
    let lasting = lasted.iter().enumerate().skip(1).rev().find(|(_, time)| {
        at_least += **time;
        at_least.saturating_mul(LASTING) >= busy
    });
    lasting.map_or(1, |(running, _)| running)
}

/// Moves the arrival of each visit by the time for which it did not wait for a worker, and the start of the
/// service to the moment at which its worker was free, if the visit waited for that: the worker was not free
/// for anything else meanwhile.
fn divide_delays(requests: &mut [Request], services: &mut [Service], workers: usize) {
    // Since when each of the free workers has been free.
    let mut free: VecDeque<u64> = std::iter::repeat_n(0, workers).collect();
    for (time, is_start, at) in changes(services.iter().map(Service::times)) {
        if !is_start {
            if free.len() < workers {
                free.push_back(time);
            }
            continue;
        }
        let free_since = free.pop_front().unwrap_or(time);
        let Some(Service { start, visits: places, .. }) = services.get_mut(at) else { continue };
        for &(request, visit) in places.iter() {
            let Some(request) = requests.get_mut(request) else { continue };
            let created = request.created;
            let free_since = free_since.saturating_sub(created);
            let Some(visit) = request.visits.get_mut(visit) else { continue };
            visit.batch_size = places.len();
            if free_since > visit.arrival {
                visit.start = visit.start.min(free_since);
                *start = (*start).min(created.saturating_add(visit.start));
            } else {
                let lag = visit.start.saturating_sub(visit.arrival);
                visit.after.lag = visit.after.lag.saturating_add(lag);
                visit.arrival = visit.start;
            }
        }
    }
}

impl Line {
    /// The line with the least squares; none if all batches have one size.
    fn through(services: &[Service]) -> Option<Self> {
        let count = services.len() as f64;
        let points = || {
            services.iter().map(|service| (service.visits.len() as f64, (service.end - service.start) as f64))
        };
        let mean_size = points().map(|(size, _)| size).sum::<f64>() / count;
        let mean_time = points().map(|(_, time)| time).sum::<f64>() / count;
        let spread: f64 = points().map(|(size, _)| (size - mean_size).powi(2)).sum();
        let both: f64 = points().map(|(size, time)| (size - mean_size) * (time - mean_time)).sum();
        let of_request = (both / spread).max(0.0);
        let of_batch = (mean_time - of_request * mean_size).max(0.0);
        (spread > 0.0).then_some(Self { of_batch, of_request })
    }

    pub(super) fn time(&self, requests: usize) -> f64 {
        self.of_batch + self.of_request * requests as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::what_if::trace::{Dependency, Visit};

    fn visit(arrival: u64, start: u64, end: u64, batch: Option<u64>) -> Visit {
        Visit { arrival, start, end, batch, ..Visit::default() }
    }

    fn log(visits: Vec<Visit>) -> Vec<Request> {
        let requests = visits.into_iter();
        requests.map(|visit| Request { e2e: visit.end, visits: vec![visit], ..Request::default() }).collect()
    }

    #[test]
    fn a_delay_is_waiting_only_while_all_workers_are_busy() {
        let mut requests = log(vec![
            visit(0, 0, 100, None),
            // The worker is free at 100, and the next request begins a little later.
            visit(20, 103, 200, None),
            // It came to a free worker.
            visit(250, 260, 300, None),
        ]);
        let stations = stations(&mut requests);
        assert_eq!((stations[&0].workers, stations[&0].batch_limit), (1, 1));
        let visits: Vec<_> = requests.iter().map(|request| &request.visits[0]).collect();
        assert_eq!((visits[1].arrival, visits[1].start, visits[1].end), (20, 100, 200));
        assert_eq!((visits[2].arrival, visits[2].start), (260, 260));
        assert_eq!(visits[2].after, Dependency { lag: 10, ..Dependency::default() });
    }

    #[test]
    fn workers_are_what_ran_at_once_for_more_than_moments() {
        let workers = |times: &[(u64, u64)]| at_once(times.iter().copied());
        assert_eq!(workers(&[(0, 500), (100, 900), (500, 1_000)]), 2);
        assert_eq!(workers(&[(0, 500), (499, 1_000)]), 1, "for 0.1 % of the time");
        assert_eq!(workers(&[(7, 8)]), 1);
    }

    #[test]
    fn requests_of_one_batch_are_one_service() {
        let batch = |id, start: u64, size: u64| {
            let length = 10_000_000 + size * 1_000_000;
            (0..size).map(move |at| visit(0, start + at, start + length, Some(id)))
        };
        let mut requests: Vec<_> = log(batch(7, 0, 2).chain(batch(8, 50_000_000, 4)).collect());
        let station = &stations(&mut requests)[&0];
        assert_eq!((station.workers, station.batch_limit), (1, 4));
        let line = station.batches.unwrap();
        assert!((line.time(3) - 13e6).abs() < 10.0, "{line:?}");
    }
}
