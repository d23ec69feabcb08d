//! Finds lines that occur twice, and rows that come after the line of their request, in bounded memory.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, Hash, Hasher},
};

use foldhash::quality::FixedState;

use super::by_hash::ByHash;
use crate::{
    Line,
    model::numbers::{Number, Table},
};

/// How many lines are remembered for good: those with the smallest hashes. If a part of a longer log occurs
/// twice, some of its lines are among them, though not all.
const LINES: usize = 1 << 18;
/// How many of the last lines, and of the last request ids of a log, are remembered as well.
const RECENT: usize = 1 << 16;

/// What is remembered of a line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trace {
    /// The hash of the line.
    line: u64,
    /// The hash of its request's id.
    request: Option<u64>,
    is_request: bool,
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

/// How a line relates to the lines before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Relation {
    /// Where the same line occurred before.
    pub(super) twin: Option<Origin>,
    /// The line is a row that comes after the line of its request in the same log.
    pub(super) is_late: bool,
}

/// The lines so far.
#[derive(Debug)]
pub(super) struct History {
    lines: ByHash<Origin>,
    /// The greatest hash that is remembered for good.
    greatest: u64,
    recent: Recent<Origin>,
    log: usize,
    /// Requests of the log.
    requests: Recent<()>,
    limit: usize,
}

impl Default for History {
    fn default() -> Self {
        Self::new(LINES, RECENT)
    }
}

impl History {
    fn new(limit: usize, recent: usize) -> Self {
        let (recent, requests) = (Recent::new(recent), Recent::new(recent));
        Self { lines: ByHash::default(), greatest: u64::MAX, recent, log: 0, requests, limit }
    }

    pub(super) fn add(&mut self, log: usize, origin: Origin, trace: Trace) -> Relation {
        if log != self.log {
            self.log = log;
            self.requests.clear();
        }
        let mut is_late = false;
        if let Some(request) = trace.request {
            match trace.is_request {
                true => self.requests.insert(request, ()),
                false => is_late = self.requests.get(request).is_some(),
            }
        }
        Relation { twin: self.twin(origin, trace.line), is_late }
    }

    fn twin(&mut self, origin: Origin, line: u64) -> Option<Origin> {
        if let Some(twin) = self.lines.get(&line).or_else(|| self.recent.get(line)) {
            return Some(*twin);
        }
        if line > self.greatest {
            self.recent.insert(line, origin);
            return None;
        }
        self.lines.insert(line, origin);
        if self.lines.len() > self.limit {
            self.greatest /= 2;
            self.lines.retain(|line, _| *line <= self.greatest);
        }
        None
    }
}

/// The last keys, and a value for each.
#[derive(Debug)]
pub(super) struct Recent<V> {
    values: ByHash<V>,
    order: VecDeque<u64>,
    limit: usize,
}

impl<V> Recent<V> {
    pub(super) fn new(limit: usize) -> Self {
        Self { values: ByHash::default(), order: VecDeque::new(), limit }
    }

    pub(super) fn get(&self, key: u64) -> Option<&V> {
        self.values.get(&key)
    }

    pub(super) fn insert(&mut self, key: u64, value: V) {
        if self.values.insert(key, value).is_some() {
            return;
        }
        self.order.push_back(key);
        if self.order.len() > self.limit
            && let Some(oldest) = self.order.pop_front()
        {
            self.values.remove(&oldest);
        }
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
        let mut history = History::new(1_000, 10);
        for number in 0..500 {
            assert_eq!(history.add(0, (0, number), trace(number, true)).twin, None);
        }
        for number in 0..500 {
            assert_eq!(history.add(1, (1, number), trace(number, true)).twin, Some((0, number)));
        }
    }

    #[test]
    fn memory_is_bounded_and_a_long_log_that_occurs_twice_still_shows() {
        let mut history = History::new(1_000, 10);
        for number in 0..100_000 {
            history.add(0, (0, number), trace(number, true));
        }
        assert!(history.lines.len() <= 1_000 && history.recent.values.len() <= 10);
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
    fn a_row_is_late_after_the_line_of_its_request_in_the_same_file() {
        let mut history = History::new(1_000, 10);
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
