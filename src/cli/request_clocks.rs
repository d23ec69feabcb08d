//! By how much the clocks of the processes that serve requests differ from each other, as workers tell to
//! which several of them send.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
};

use super::clocks::FEWEST;

/// Rows of a worker in the requests of a run: which of all lines each one is, in their order, and the offset
/// that moves it to the clock of the run, in microseconds.
pub(super) type RunRows = (u64, Vec<(u64, i64)>);

/// Pairs of runs, and by how much the second one has to be moved to the clock of the first, in microseconds,
/// by each log that has rows of both, with how many it has.
#[derive(Debug, Default)]
pub(super) struct Links(BTreeMap<(u64, u64), Vec<(i64, usize)>>);

impl Links {
    /// Adds the rows of a log in the requests of all runs.
    pub(super) fn add(&mut self, mut runs: Vec<RunRows>) {
        runs.retain(|(_, rows)| !rows.is_empty());
        runs.sort_unstable_by_key(|(run, rows)| (rows.first().copied(), *run));
        for (at, (one, its_rows)) in runs.iter().enumerate() {
            let last = its_rows.last().map_or(0, |(sequence, _)| *sequence);
            let is_before = |(_, rows): &&RunRows| rows.first().is_some_and(|(first, _)| *first < last);
            for (other, other_rows) in runs.iter().skip(at + 1).take_while(is_before) {
                if let Some((by, rows)) = difference(its_rows, other_rows) {
                    self.0.entry((*one, *other)).or_default().push((by, rows));
                    self.0.entry((*other, *one)).or_default().push((-by, rows));
                }
            }
        }
    }

    /// By how much each run is moved to the clock of the reference, if links lead there. Of several ways, the
    /// one along the links with most rows.
    pub(super) fn moves(mut self, reference: u64) -> BTreeMap<u64, i64> {
        let mut neighbours = BTreeMap::<u64, Vec<_>>::new();
        for ((one, other), of_logs) in &mut self.0 {
            let rows: usize = of_logs.iter().map(|(_, rows)| rows).sum();
            neighbours.entry(*one).or_default().push((rows, *other, median(of_logs)));
        }
        let (mut moves, mut seen) = (BTreeMap::new(), BTreeSet::new());
        let mut next = BinaryHeap::from([(usize::MAX, Reverse(reference), 0)]);
        while let Some((_, Reverse(run), by)) = next.pop() {
            if !seen.insert(run) {
                continue;
            }
            moves.insert(run, by);
            let linked = neighbours.get(&run).into_iter().flatten();
            next.extend(linked.map(|(rows, other, more)| (*rows, Reverse(*other), by + more)));
        }
        moves
    }
}

/// By how much rows of the second run have to be moved further to lie where the first run has put its own,
/// and how many tell. They count in the time in which both sent to the worker: at another time, it may have
/// been started again in between.
fn difference(one: &[(u64, i64)], other: &[(u64, i64)]) -> Option<(i64, usize)> {
    let from = one.first()?.0.max(other.first()?.0);
    let to = one.last()?.0.min(other.last()?.0);
    let [one, other] = [one, other].map(|rows| {
        let end = rows.partition_point(|(sequence, _)| *sequence <= to);
        let rows = rows.get(..end).unwrap_or_default();
        rows.get(rows.partition_point(|(sequence, _)| *sequence < from)..).unwrap_or_default()
    });
    let rows = one.len().min(other.len());
    if rows < FEWEST {
        return None;
    }
    // Each row of the second run, against the row of the first run before it.
    let mut earlier = one.iter().peekable();
    let mut offset = one.first()?.1;
    let differences = other.iter().map(|(sequence, of_other)| {
        while let Some((_, of_one)) = earlier.next_if(|(before, _)| before < sequence) {
            offset = *of_one;
        }
        (offset - of_other, 1)
    });
    Some((median(&mut differences.collect::<Vec<_>>()), rows))
}

/// The median of values that count so often.
fn median(values: &mut [(i64, usize)]) -> i64 {
    values.sort_unstable();
    let half = values.iter().map(|(_, count)| count).sum::<usize>().div_ceil(2);
    let mut counted = 0;
    let is_half = |(_, count): &&(i64, usize)| {
        counted += count;
        counted >= half
    };
    values.iter().find(is_half).map_or(0, |(value, _)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows at each second line from `first` on, with this offset.
    fn rows(run: u64, first: u64, count: u64, offset: i64) -> RunRows {
        (run, (0..count).map(|at| (first + 2 * at, offset)).collect())
    }

    #[test]
    fn runs_that_send_to_the_same_worker_at_the_same_time_are_compared() {
        let mut links = Links::default();
        links.add(vec![rows(1, 0, 20, 500), rows(2, 1, 20, -300)]);
        // The run 3 is compared with 2 alone, and 4 with none: the worker may have been started again.
        links.add(vec![rows(2, 0, 20, 70), rows(3, 1, 20, 20), rows(4, 41, 20, 0)]);
        links.add(vec![rows(1, 0, 20, 40), rows(4, 25, 14, 9_000)]);
        assert_eq!(links.moves(1), [(1, 0), (2, 800), (3, 850)].into());
    }

    #[test]
    fn the_median_worker_decides_and_the_link_with_most_rows() {
        let mut links = Links::default();
        for (log, offset) in [(1, 100), (2, 102), (3, 9_000)] {
            links.add(vec![rows(1, 0, 20 + log, 0), rows(2, 1, 20 + log, offset)]);
        }
        links.add(vec![rows(1, 0, 10, 0), rows(3, 1, 10, 5_000)]);
        links.add(vec![rows(2, 0, 20, 0), rows(3, 1, 20, 1_000)]);
        assert_eq!(links.moves(1), [(1, 0), (2, -102), (3, -1_102)].into());
    }

    #[test]
    fn rows_tell_nothing_from_a_time_in_which_the_worker_served_one_of_the_runs_alone() {
        // It was started again after the last row of the first run.
        let (run, mut late) = rows(2, 1, 20, 250);
        late.extend(rows(2, 101, 30, -700_000).1);
        let mut links = Links::default();
        links.add(vec![rows(1, 0, 21, 0), (run, late)]);
        assert_eq!(links.moves(1), [(1, 0), (2, -250)].into());
        // A single row of the first run is from the time of the second one.
        let (run, mut early) = rows(1, 0, 30, 0);
        early.extend(rows(1, 100, 1, 0).1);
        let mut links = Links::default();
        links.add(vec![(run, early), rows(2, 61, 19, 250)]);
        assert_eq!(links.moves(1), [(1, 0)].into());
    }

    #[test]
    fn a_worker_that_is_started_again_tells_by_its_rows_of_each_start() {
        let started_again = |run, first, ahead: i64| {
            let (_, mut all) = rows(run, first, 20, ahead);
            all.extend(rows(run, first + 40, 30, ahead - 700_000).1);
            (run, all)
        };
        let mut links = Links::default();
        links.add(vec![started_again(1, 0, 0), started_again(2, 1, 250)]);
        assert_eq!(links.moves(2), [(1, 250), (2, 0)].into());
    }
}
