//! Requests as points, as long as they are few.

use super::{ending::Ending, stretches::extent};
use crate::RequestLine;

/// If there are more points, the page has a density in their place.
const LIMIT: usize = 5_000;

/// One request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    /// When it was created, in microseconds since the Unix epoch.
    pub(super) created: u64,
    /// Its latency, in nanoseconds.
    pub(super) latency: u64,
    pub(super) ending: Ending,
}

/// All requests, or none if there are too many.
#[derive(Debug, Default)]
pub(super) struct Points {
    list: Vec<Point>,
    are_many: bool,
}

impl Points {
    pub(super) fn add(&mut self, line: &RequestLine) {
        if !self.are_many {
            let latency = line.e2e_table.e2e_total_ms.as_nanos();
            self.list.push(Point { created: extent(line).0, latency, ending: Ending::of(&line.e2e_table) });
            self.trim();
        }
    }

    pub(super) fn merge(&mut self, other: &mut Self) {
        self.are_many |= other.are_many;
        self.list.append(&mut other.list);
        self.trim();
    }

    fn trim(&mut self) {
        self.are_many |= self.list.len() > LIMIT;
        if self.are_many {
            self.list = Vec::new();
        }
    }

    /// All of them in order of time; `None` if they are too many.
    pub(super) fn in_order(mut self) -> Option<Vec<Point>> {
        self.list.sort_unstable_by_key(|point| (point.created, point.latency, point.ending));
        (!self.are_many).then_some(self.list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_points_are_there_or_none() {
        let points = |count: usize| {
            let (mut one, mut other) = (Points::default(), Points::default());
            for n in 0..count {
                if n % 3 == 0 { &mut one } else { &mut other }.add(&RequestLine::default());
            }
            one.merge(&mut other);
            one.in_order().map(|list| list.len())
        };
        assert_eq!((points(LIMIT), points(LIMIT + 1), points(3 * LIMIT)), (Some(LIMIT), None, None));
    }
}
