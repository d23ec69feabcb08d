//! By how much the clocks of processes differ, as the rows of workers tell: a row that a request waits for
//! lies inside of it.

use std::{collections::BTreeMap, mem};

/// Fewer rows than these tell nothing.
const FEWEST: usize = 16;
/// How many rows of one log in the requests of one run are looked at.
const MOST: usize = 4_096;

/// A row of a worker: which of all lines it is, and by how much it has to be moved, at least and at most, to
/// lie inside of its request, in microseconds.
type Row = (u64, i64, i64);

/// The rows of a log in the requests of a run. Of many, one in two to the power of `halved` is kept: the same
/// ones, in whatever order they come.
#[derive(Debug, Default)]
struct Rows {
    halved: u32,
    kept: Vec<Row>,
}

impl Rows {
    fn add(&mut self, row: Row) {
        if self.keeps(row.0) {
            self.kept.push(row);
            self.thin_out();
        }
    }

    /// Whether a line is among those that are kept, by its number multiplied by 2^64 over the golden ratio,
    /// which spreads successive numbers.
    fn keeps(&self, sequence: u64) -> bool {
        sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15).leading_zeros() >= self.halved
    }

    fn merge(&mut self, other: Self) {
        self.halved = self.halved.max(other.halved);
        self.kept.extend(other.kept);
        let mut all = mem::take(&mut self.kept);
        all.retain(|(sequence, ..)| self.keeps(*sequence));
        self.kept = all;
        self.thin_out();
    }

    fn thin_out(&mut self) {
        while self.kept.len() > MOST {
            self.halved += 1;
            let mut kept = mem::take(&mut self.kept);
            kept.retain(|(sequence, ..)| self.keeps(*sequence));
            self.kept = kept;
        }
    }
}

/// The rows from which [`Clocks`] are estimated, by the run of their requests and by their log.
#[derive(Debug, Default)]
pub(super) struct ClockRows(BTreeMap<(u64, u64), Rows>);

impl ClockRows {
    /// Adds the row at `sequence` of a log, which began and ended at these times, in nanoseconds, to those of
    /// a run whose request was created and ended at these.
    pub(super) fn add(&mut self, run: u64, log: u64, sequence: u64, row: (u64, u64), request: (u64, u64)) {
        let micros = |to: u64, from: u64| to.cast_signed().wrapping_sub(from.cast_signed()) / 1_000;
        let (least, most) = (micros(request.0, row.0), micros(request.1, row.1));
        // A row that is longer than its request tells nothing.
        if least <= most {
            self.0.entry((run, log)).or_default().add((sequence, least, most));
        }
    }

    /// Adds those of another part.
    pub(super) fn merge(&mut self, other: Self) {
        for (pair, rows) in other.0 {
            self.0.entry(pair).or_default().merge(rows);
        }
    }

    pub(super) fn estimate(self) -> Clocks {
        let offsets = self.0.into_iter().map(|(pair, Rows { mut kept, .. })| {
            kept.sort_unstable();
            let mut offsets = Vec::new();
            add_offsets(&kept, &mut offsets);
            (pair, offsets)
        });
        Clocks(offsets.collect())
    }
}

/// Appends the offsets from which line on each one holds. A process that is started again reads the wall
/// clock anew. So rows that do not agree are halved until they do.
fn add_offsets(rows: &[Row], offsets: &mut Vec<(u64, i64)>) {
    let Some((first, ..)) = rows.first() else { return };
    match offset_of(rows) {
        Some(offset) => offsets.push((*first, offset)),
        None if rows.len() < 2 * FEWEST => offsets.push((*first, 0)),
        None => {
            let (before, after) = rows.split_at(rows.len() / 2);
            add_offsets(before, offsets);
            add_offsets(after, offsets);
        }
    }
}

/// The offset that puts most rows inside of their requests; `None` if those are less than nineteen in twenty.
/// Zero if it puts nearly as many inside.
fn offset_of(rows: &[Row]) -> Option<i64> {
    if rows.len() < FEWEST {
        return None;
    }
    // An offset at which a row begins to fit comes before the same one at which another row ceases to.
    let ends = rows.iter().flat_map(|(_, least, most)| [(*least, false), (*most, true)]);
    let mut ends: Vec<_> = ends.collect();
    ends.sort_unstable();
    let (mut fitting, mut most, mut from, mut to) = (0, 0, 0, None);
    for (offset, is_last) in ends {
        if is_last {
            if fitting == most && to.is_none() {
                to = Some(offset);
            }
            fitting -= 1;
        } else {
            fitting += 1;
            if fitting > most {
                (most, from, to) = (fitting, offset, None);
            }
        }
    }
    let unmoved = rows.iter().filter(|(_, least, most)| (*least..=*most).contains(&0)).count();
    if most * 20 < rows.len() * 19 {
        return None;
    }
    let middle = from + (to.unwrap_or(from) - from) / 2;
    Some(if unmoved * 100 >= most * 99 { 0 } else { middle })
}

/// By how much the rows of a log are moved in the requests of a run.
#[derive(Debug, Default)]
pub(super) struct Clocks(BTreeMap<(u64, u64), Vec<(u64, i64)>>);

impl Clocks {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In microseconds, for the row at `sequence`.
    pub(super) fn offset(&self, run: u64, log: u64, sequence: u64) -> i64 {
        let Some(offsets) = self.0.get(&(run, log)) else { return 0 };
        let after = offsets.partition_point(|(first, _)| *first <= sequence);
        offsets.get(after.saturating_sub(1)).map_or(0, |(_, offset)| *offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of 50 ms in requests of 100 ms, by a clock that is ahead by this much.
    fn rows(first: u64, count: u64, ahead: i64) -> impl Iterator<Item = Row> {
        (first..first + count).map(move |sequence| {
            let begin = (sequence * 7 % 50).cast_signed() * 1_000;
            (sequence, -begin - ahead, 50_000 - begin - ahead)
        })
    }

    #[test]
    fn a_clock_that_is_off_is_found_to_the_time_that_requests_leave() {
        for ahead in [-2_000_000, -40_000, 200_000] {
            let rows: Vec<_> = rows(0, 100, ahead).collect();
            let offset = offset_of(&rows).unwrap();
            assert!((offset + ahead).abs() <= 1_000, "{offset} {ahead}");
        }
    }

    #[test]
    fn rows_that_lie_inside_are_not_moved_and_few_or_unlike_rows_neither() {
        assert_eq!(offset_of(&rows(0, 100, 0).collect::<Vec<_>>()), Some(0));
        assert_eq!(offset_of(&rows(0, 15, 90_000).collect::<Vec<_>>()), None);
        let unlike: Vec<_> = (0..100).flat_map(|at| rows(at, 1, at.cast_signed() * 100_000)).collect();
        assert_eq!(offset_of(&unlike), None);
    }

    #[test]
    fn a_process_that_was_started_again_has_another_offset() {
        let mut offsets = Vec::new();
        let all: Vec<_> = rows(0, 700, 90_000).chain(rows(700, 324, -150_000)).collect();
        add_offsets(&all, &mut offsets);
        let clocks = Clocks([((1, 2), offsets)].into());
        let wrong = (0..1024).filter(|at| {
            let ahead = if *at < 700 { 90_000 } else { -150_000 };
            (clocks.offset(1, 2, *at) + ahead).abs() > 1_000
        });
        assert!(wrong.count() <= 2 * FEWEST);
        assert_eq!(clocks.offset(1, 3, 0), 0);
    }

    #[test]
    fn many_rows_are_thinned_out_to_the_same_ones_in_any_order_and_tell_the_same() {
        let thinned_out = |numbers: &mut dyn Iterator<Item = u64>, parts: u64| {
            let mut of_parts: Vec<_> = (0..parts).map(|_| ClockRows::default()).collect();
            for at in numbers {
                let begin = 1_000_000_000_000 + at * 1_000_000;
                let ahead = 300_000_000 + at % 41 * 1_000_000;
                let row = (begin + ahead, begin + ahead + 60_000_000);
                of_parts[(at % parts) as usize].add(1, 1, at, row, (begin, begin + 100_000_000));
            }
            let mut all = ClockRows::default();
            of_parts.into_iter().for_each(|part| all.merge(part));
            all
        };
        let clocks = thinned_out(&mut (0..60_000), 1);
        let kept = |clocks: &ClockRows| {
            let mut kept: Vec<_> = clocks.0[&(1, 1)].kept.clone();
            kept.sort_unstable();
            kept
        };
        assert!((MOST / 4..=MOST).contains(&kept(&clocks).len()));
        for parts in [1, 7] {
            assert_eq!(kept(&thinned_out(&mut (0..60_000).rev(), parts)), kept(&clocks));
        }
        let offset = clocks.estimate().offset(1, 1, 30_000);
        assert!((offset + 300_000).abs() <= 1_000, "{offset}");
    }
}
