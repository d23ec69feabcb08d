//! The union of time intervals, in bounded memory.

use smallvec::SmallVec;

/// How many separate intervals are kept in the end.
pub(crate) const LIMIT: usize = 64;
/// How many are kept meanwhile, so that the surplus is reduced once for many additions.
const ROOM: usize = 4 * LIMIT;

/// A union of closed intervals. If there are more than [`LIMIT`] separate intervals, the smallest gaps are
/// filled, so the union can only grow.
#[derive(Debug, Clone, Default)]
pub(crate) struct Intervals {
    /// Sorted, and no two of them touch.
    disjoint: Vec<(u64, u64)>,
}

impl Intervals {
    /// Removes all intervals, and keeps room for some.
    pub(crate) fn clear(&mut self) {
        self.disjoint.clear();
        self.disjoint.shrink_to(LIMIT);
    }

    pub(crate) fn add(&mut self, mut start: u64, mut end: u64) {
        if start >= end {
            return;
        }
        if self.disjoint.len() >= ROOM {
            self.fill_smallest_gaps();
        }
        // Most intervals come in order: they extend the last one, or begin after it.
        match self.disjoint.last_mut() {
            Some(last) if start < last.0 => {}
            Some(last) if start <= last.1 => {
                last.1 = last.1.max(end);
                return;
            }
            _ => {
                self.disjoint.push((start, end));
                return;
            }
        }
        let first = self.disjoint.partition_point(|&(_, e)| e < start);
        let touching = self.disjoint.iter().skip(first).take_while(|&&(s, _)| s <= end).count();
        for &(s, e) in self.disjoint.iter().skip(first).take(touching) {
            start = start.min(s);
            end = end.max(e);
        }
        self.disjoint.drain(first..first + touching);
        self.disjoint.insert(first, (start, end));
    }

    #[cfg(feature = "cli")]
    pub(crate) fn merge(&mut self, other: &Self) {
        other.disjoint.iter().for_each(|&(start, end)| self.add(start, end));
    }

    /// The part of `from..to` that the union covers.
    pub(crate) fn covered(&mut self, from: u64, to: u64) -> u64 {
        if self.disjoint.len() > LIMIT {
            self.fill_smallest_gaps();
        }
        self.disjoint.iter().map(|&(s, e)| e.min(to).saturating_sub(s.max(from))).sum()
    }

    /// The part of `from..to` that the union covers. `cursor` is at most the place of the first interval that
    /// ends after `from`, to which it is moved.
    pub(crate) fn covered_from(&self, cursor: &mut usize, from: u64, to: u64) -> u64 {
        let mut covered = 0;
        while let Some(&(s, e)) = self.disjoint.get(*cursor) {
            if s >= to {
                break;
            }
            covered += e.min(to).saturating_sub(s.max(from));
            if e >= to {
                break;
            }
            *cursor += 1;
        }
        covered
    }

    /// Merges the closest intervals until [`LIMIT`] remain.
    fn fill_smallest_gaps(&mut self) {
        let surplus = self.disjoint.len() - LIMIT;
        let pairs = self.disjoint.iter().zip(self.disjoint.iter().skip(1));
        let mut gaps: SmallVec<[u64; ROOM]> = pairs.map(|(left, right)| right.0 - left.1).collect();
        let (smaller, &mut largest, _) = gaps.select_nth_unstable(surplus - 1);
        // Several gaps may have the size of the largest gap to be filled; only as many as needed are filled.
        let mut ties = surplus - smaller.iter().filter(|gap| **gap < largest).count();
        self.disjoint.dedup_by(|right, left| {
            let gap = right.0 - left.1;
            let is_filled = gap < largest || gap == largest && ties > 0;
            if is_filled {
                ties -= usize::from(gap == largest);
                left.1 = right.1;
            }
            is_filled
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn union(spans: &[(u64, u64)]) -> Intervals {
        let mut union = Intervals::default();
        for &(start, end) in spans {
            union.add(start, end);
        }
        union
    }

    #[test]
    fn overlap_counts_once_and_only_inside_the_window() {
        let mut union = union(&[(10, 20), (15, 30), (40, 50), (50, 60), (5, 5)]);
        assert_eq!(union.covered(0, 100), 40);
        assert_eq!(union.covered(25, 45), 10);
        assert_eq!(union.covered(31, 39), 0);
    }

    #[test]
    fn past_the_limit_the_smallest_gap_is_filled() {
        // 65 intervals of 1, at distances of 10, but one at a distance of 2.
        let mut spans: Vec<_> = (0..64).map(|n| (n * 10, n * 10 + 1)).collect();
        spans.push((3, 4));
        assert_eq!(union(&spans).covered(0, 1_000), 65 + 2);
    }

    #[test]
    fn of_equal_gaps_no_more_are_filled_than_need_be() {
        let spans: Vec<_> = (0..100).map(|n| (n * 10, n * 10 + 1)).collect();
        assert_eq!(union(&spans).covered(0, 1_000), 100 + 36 * 9);
        let spans: Vec<_> = (0..129).map(|n| (n * 10, n * 10 + 1)).collect();
        assert_eq!(union(&spans).covered(0, 2_000), 129 + 65 * 9);
    }

    proptest! {
        #[test]
        fn the_union_is_what_counting_every_unit_gives(
            spans in prop::collection::vec((0_u64..200, 0_u64..30), 0..60),
            from in 0_u64..100,
            length in 0_u64..200,
        ) {
            let spans: Vec<_> = spans.into_iter().map(|(s, l)| (s, s + l)).collect();
            let is_covered = |t: &u64| spans.iter().any(|&(s, e)| s <= *t && *t < e);
            let naive = (from..from + length).filter(is_covered).count();
            prop_assert_eq!(union(&spans).covered(from, from + length), naive as u64);
        }

        #[test]
        fn past_the_limit_the_union_is_an_upper_bound_in_bounded_memory(
            starts in prop::collection::vec(0_u64..2_000, 65..200)
        ) {
            let spans: Vec<_> = starts.into_iter().map(|s| (s, s + 5)).collect();
            let naive = (0..2_010).filter(|t| spans.iter().any(|&(s, e)| s <= *t && *t < e)).count();
            let mut union = union(&spans);
            prop_assert!(union.covered(0, 3_000) >= naive as u64);
            prop_assert!(union.disjoint.len() <= LIMIT && union.disjoint.capacity() <= ROOM);
        }
    }
}
