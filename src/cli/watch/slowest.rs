//! The slowest requests of a stretch of time.

use std::sync::Arc;

use super::row::Row;
use crate::{Millis, RequestLine, model::keep::is_failed};

/// The slowest requests that failed, and the slowest others; at most `limit` of each.
#[derive(Debug, Clone)]
pub(super) struct Slowest {
    limit: usize,
    well: Vec<Arc<Row>>,
    failed: Vec<Arc<Row>>,
}

impl Slowest {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, well: Vec::new(), failed: Vec::new() }
    }

    /// Whether a request is slow enough to be kept.
    pub(super) fn takes(&self, line: &RequestLine) -> bool {
        let rows = if is_failed(&line.e2e_table) { &self.failed } else { &self.well };
        place(rows, line.e2e_table.e2e_total_ms) < self.limit
    }

    pub(super) fn put(&mut self, row: Arc<Row>) {
        let rows = if row.has_failed { &mut self.failed } else { &mut self.well };
        rows.insert(place(rows, row.time), row);
        rows.truncate(self.limit);
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = &Arc<Row>> {
        self.well.iter().chain(&self.failed)
    }
}

/// Where a request stands among the slowest, the slowest first.
fn place(rows: &[Arc<Row>], time: Millis) -> usize {
    rows.partition_point(|row| row.time >= time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::E2eTable;

    #[test]
    fn the_slowest_are_kept_and_failed_ones_do_not_crowd_out_the_others() {
        let mut slowest = Slowest::new(3);
        for n in 1..=100 {
            let e2e_table = E2eTable {
                e2e_total_ms: Millis::from_nanos(n * 37 % 101),
                finish_reason: n.is_multiple_of(2).then(|| "error".to_owned()),
                ..E2eTable::default()
            };
            let line = RequestLine { e2e_table, ..RequestLine::default() };
            if slowest.takes(&line) {
                slowest.put(Arc::new(Row::of_request(&line, 100, n)));
            }
        }
        let times: Vec<_> = slowest.rows().map(|row| (row.time.as_nanos(), row.has_failed)).collect();
        let of = |rest| {
            let mut times: Vec<_> = (1..=100).filter(|n| n % 2 == rest).map(|n| n * 37 % 101).collect();
            times.sort_unstable_by(|time, other| other.cmp(time));
            times.into_iter().take(3).map(move |time: u64| (time, rest == 0))
        };
        assert_eq!(times, of(1).chain(of(0)).collect::<Vec<_>>());
    }
}
