//! Finds lines that occur twice, and rows that come after the line of their request, in bounded memory.

use std::{
    collections::{VecDeque, hash_map::Entry},
    hash::{BuildHasher, Hash, Hasher},
};

use foldhash::quality::FixedState;

use super::{by_hash::ByHash, same_ids::SameIds};
use crate::{
    Line,
    model::numbers::{Number, Table},
};

/// How many lines are remembered for good: those with the smallest hashes. If a part of a longer log occurs
/// twice, some of its lines are among them, though not all.
const LINES: usize = 1 << 18;
/// How many of the last lines are remembered as well.
const LAST_LINES: usize = 1 << 15;
/// How many of the last request ids of a log are remembered.
const LAST_REQUESTS: usize = 1 << 16;

/// What is remembered of a line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trace {
    /// The hash of the line.
    line: u64,
    /// The hash of its request's id.
    request: Option<u64>,
    pub(super) is_request: bool,
}

impl Trace {
    /// Two lines that agree in id, timestamp and numbers are the same line, however they are spelt.
    pub(super) fn of(line: &Line) -> Self {
        let mut hasher = FixedState::default().build_hasher();
        let id = line.request_id().map(hash_of);
        id.hash(&mut hasher);
        match line {
            Line::Request(line) => {
                let number = line.overall_summary.e2e_requests;
                (0, line.timestamp.unix_micros(), line.e2e_table.e2e_total_ms, number).hash(&mut hasher);
            }
            Line::Stage(line) => {
                (1, line.timestamp.unix_micros()).hash(&mut hasher);
                hash_numbers(&line.row, &mut hasher);
            }
            Line::Transfer(line) => {
                (2, line.timestamp.unix_micros()).hash(&mut hasher);
                hash_numbers(&line.row, &mut hasher);
            }
            Line::Summary(line) => {
                let summary = &line.overall_summary;
                (3, line.timestamp.unix_micros(), summary.e2e_requests).hash(&mut hasher);
                (summary.e2e_wall_time_ms, summary.e2e_total_tokens, line.lines_written).hash(&mut hasher);
            }
            Line::Open(line) => {
                (4, line.timestamp.unix_micros(), line.request.age_ms).hash(&mut hasher);
            }
        }
        let request = id.filter(|_| !matches!(line, Line::Open(_)));
        Self { line: hasher.finish(), request, is_request: matches!(line, Line::Request(_)) }
    }

    /// Whether the line is a detached row that names a request.
    pub(super) fn is_row_with_id(self) -> bool {
        self.request.is_some() && !self.is_request
    }
}

/// The same for the same id in each thread.
pub(super) fn hash_of(id: &str) -> u64 {
    FixedState::default().hash_one(id)
}

fn hash_numbers<Row: Table>(row: &Row, hasher: &mut impl Hasher) {
    for Number { get, .. } in Row::NUMBERS {
        get(row).hash(hasher);
    }
}

/// Where a line stands: which of the files, and which line of it.
pub(super) type Origin = (usize, u64);

/// An origin in half the memory. Files and lines after 2^32 - 1 have that number.
#[derive(Debug, Clone, Copy)]
struct Short(u32, u32);

impl Short {
    fn of((file, line): Origin) -> Self {
        Self(file.try_into().unwrap_or(u32::MAX), line.try_into().unwrap_or(u32::MAX))
    }

    fn origin(self) -> Origin {
        (self.0 as usize, self.1.into())
    }
}

/// How a line relates to the lines before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Relation {
    /// Where the same line occurred before.
    pub(super) twin: Option<Origin>,
    /// The same line is among the last lines of the same log, all of which are remembered.
    pub(super) is_near: bool,
    /// The line is a row that comes after the line of its request in the same log.
    pub(super) is_late: bool,
}

/// The lines so far.
#[derive(Debug)]
pub(super) struct History {
    lines: ByHash<Short>,
    /// The greatest hash that is remembered for good.
    greatest: u64,
    recent: Recent<Short>,
    log: usize,
    /// The first file of the log.
    first_file: usize,
    /// Requests of the log.
    requests: Recent<()>,
    same_ids: SameIds,
    limit: usize,
}

impl Default for History {
    fn default() -> Self {
        Self::new(LINES, LAST_LINES, LAST_REQUESTS)
    }
}

impl History {
    fn new(limit: usize, recent: usize, requests: usize) -> Self {
        let (recent, requests) = (Recent::new(recent), Recent::new(requests));
        Self {
            lines: ByHash::default(),
            greatest: u64::MAX,
            recent,
            log: 0,
            first_file: 0,
            requests,
            same_ids: SameIds::default(),
            limit,
        }
    }

    pub(super) fn add(&mut self, log: usize, origin: Origin, trace: Trace) -> Relation {
        if log != self.log {
            (self.log, self.first_file) = (log, origin.0);
            self.requests.clear();
        }
        let mut is_late = false;
        if let Some(request) = trace.request {
            match trace.is_request {
                true => _ = self.requests.insert(request, ()),
                false => is_late = self.requests.contains(request),
            }
            if !is_late {
                self.same_ids.add(request, trace.is_request);
            }
        }
        let last = self.recent.insert(trace.line, Short::of(origin)).map(Short::origin);
        let is_near = last.is_some_and(|(file, _)| file >= self.first_file);
        Relation { twin: self.first(origin, trace.line).or(last), is_near, is_late }
    }

    /// Whether not every line so far is remembered for good.
    pub(super) fn has_forgotten(&self) -> bool {
        self.greatest < u64::MAX
    }

    /// Whether a row that is not late has the id of a request.
    pub(super) fn has_joinable_rows(&self) -> bool {
        self.same_ids.are_found()
    }

    /// Where the line occurred first, if it is remembered for good.
    fn first(&mut self, origin: Origin, line: u64) -> Option<Origin> {
        if line > self.greatest {
            return None;
        }
        match self.lines.entry(line) {
            Entry::Occupied(first) => return Some(first.get().origin()),
            Entry::Vacant(place) => _ = place.insert(Short::of(origin)),
        }
        if self.lines.len() > self.limit {
            self.greatest /= 2;
            self.lines.retain(|line, _| *line <= self.greatest);
        }
        None
    }
}

/// The last keys, and for each the value that it had last.
#[derive(Debug)]
pub(super) struct Recent<V> {
    /// The values, and how many keys there had been before each.
    values: ByHash<(V, u64)>,
    order: VecDeque<u64>,
    limit: usize,
    /// How many keys there have been.
    count: u64,
}

impl<V> Recent<V> {
    pub(super) fn new(limit: usize) -> Self {
        Self { values: ByHash::default(), order: VecDeque::new(), limit, count: 0 }
    }

    pub(super) fn contains(&self, key: u64) -> bool {
        self.values.contains_key(&key)
    }

    /// Adds a key. Returns the value that it had, if it is among the last ones before it.
    pub(super) fn insert(&mut self, key: u64, value: V) -> Option<V> {
        let last = self.values.insert(key, (value, self.count));
        self.order.push_back(key);
        self.count += 1;
        if self.order.len() > self.limit
            && let Some(oldest) = self.order.pop_front()
            && let Entry::Occupied(entry) = self.values.entry(oldest)
            // Otherwise the key came again.
            && entry.get().1 + self.limit as u64 + 1 == self.count
        {
            entry.remove();
        }
        last.map(|(value, _)| value)
    }

    fn clear(&mut self) {
        self.values.clear();
        self.order.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line with this number in it, its hash spread as those of real lines are.
    fn trace(number: u64, is_request: bool) -> Trace {
        Trace { line: FixedState::default().hash_one(number), request: Some(number), is_request }
    }

    #[test]
    fn a_line_that_occurs_twice_is_found() {
        let mut history = History::new(1_000, 10, 10);
        for number in 0..500 {
            assert_eq!(history.add(0, (0, number), trace(number, true)).twin, None);
        }
        for number in 0..500 {
            assert_eq!(history.add(1, (1, number), trace(number, true)).twin, Some((0, number)));
        }
        assert!(!history.has_forgotten());
    }

    #[test]
    fn memory_is_bounded_and_a_long_log_that_occurs_twice_still_shows() {
        let mut history = History::new(1_000, 10, 10);
        for number in 0..100_000 {
            history.add(0, (0, number), trace(number, true));
        }
        assert!(history.has_forgotten() && history.lines.len() <= 1_000 && history.recent.values.len() <= 10);
        assert_eq!(
            history.add(0, (0, 100_000), trace(99_999, true)).twin,
            Some((0, 99_999)),
            "one of the last"
        );
        let twins =
            (0..100_000).filter(|number| history.add(1, (1, *number), trace(*number, true)).twin.is_some());
        assert!(twins.count() > 300);
    }

    #[test]
    fn of_a_part_that_occurs_again_all_lines_are_near_or_none() {
        for (part, between, is_near) in [(60, 40, true), (60, 60, false), (5_000, 0, false)] {
            // The table is full, so that only some of the lines are remembered for good.
            let mut history = History::new(50, 100, 10);
            let mut line = 0;
            let mut near = |log, number| {
                line += 1;
                history.add(log, (log, line), trace(number, true)).is_near
            };
            let stream = || (0..part).chain(20_000..20_000 + between);
            assert!((7_000..8_000).chain(stream()).all(|number| !near(0, number)));
            for _ in 0..2 {
                assert!(stream().all(|number| near(0, number) == is_near), "{part} and {between}");
            }
            assert!(stream().all(|number| !near(1, number)), "in another log");
        }
    }

    #[test]
    fn a_row_is_late_after_the_line_of_its_request_in_the_same_file() {
        let mut history = History::new(1_000, 10, 10);
        let mut is_late = |file, id, is_request| history.add(file, (file, 0), trace(id, is_request)).is_late;
        assert!(!is_late(0, 1, false), "a worker's");
        assert!(!is_late(0, 1, true));
        assert!(is_late(0, 1, false));
        assert!(!is_late(1, 1, false), "of another process");
        assert!(!is_late(1, 1, true));
        (100..120).for_each(|id| assert!(!is_late(1, id, true)));
        assert!(!is_late(1, 1, false), "forgotten");
        assert!(is_late(1, 119, false));
    }
}
