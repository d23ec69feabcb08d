//! The union of stretches of time, in bounded memory.

use smallvec::SmallVec;

/// How many separate stretches are told apart.
pub(crate) const LIMIT: usize = 64;

/// A union of closed intervals. Past [`LIMIT`] separate ones the smallest gap is filled, so that
/// the union can only grow.
#[derive(Debug, Default)]
pub(crate) struct Intervals {
    /// Sorted, and no two of them touch.
    disjoint: SmallVec<[(u64, u64); 8]>,
}

impl Intervals {
    pub(crate) fn add(&mut self, mut start: u64, mut end: u64) {
        if start >= end {
            return;
        }
        // Most come in order: longer than the last one, or behind it.
        let has_room = self.disjoint.len() < LIMIT;
        match self.disjoint.last_mut() {
            Some(last) if start < last.0 => {}
            Some(last) if start <= last.1 => {
                last.1 = last.1.max(end);
                return;
            }
            _ if has_room => {
                self.disjoint.push((start, end));
                return;
            }
            _ => {}
        }
        let first = self.disjoint.partition_point(|&(_, e)| e < start);
        let touching = self.disjoint.iter().skip(first).take_while(|&&(s, _)| s <= end).count();
        for &(s, e) in self.disjoint.iter().skip(first).take(touching) {
            start = start.min(s);
            end = end.max(e);
        }
        self.disjoint.drain(first..first + touching);
        self.disjoint.insert(first, (start, end));
        if self.disjoint.len() > LIMIT {
            self.fill_smallest_gap();
        }
    }

    /// How much of `from..to` the union covers.
    pub(crate) fn covered(&self, from: u64, to: u64) -> u64 {
        self.disjoint.iter().map(|&(s, e)| e.min(to).saturating_sub(s.max(from))).sum()
    }

    fn fill_smallest_gap(&mut self) {
        let gaps = self.disjoint.iter().zip(self.disjoint.iter().skip(1));
        let smallest = gaps.enumerate().min_by_key(|(_, (left, right))| right.0 - left.1);
        if let Some((at, (_, &(_, end)))) = smallest {
            self.disjoint.remove(at + 1);
            if let Some(left) = self.disjoint.get_mut(at) {
                left.1 = end;
            }
        }
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
        let union = union(&[(10, 20), (15, 30), (40, 50), (50, 60), (5, 5)]);
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

    proptest! {
        #[test]
        fn the_union_is_what_counting_every_unit_gives(
            spans in prop::collection::vec((0_u64..200, 0_u64..30), 0..60), from in 0_u64..100, length in 0_u64..200
        ) {
            let spans: Vec<_> = spans.into_iter().map(|(s, l)| (s, s + l)).collect();
            let naive = (from..from + length).filter(|t| spans.iter().any(|&(s, e)| s <= *t && *t < e)).count();
            prop_assert_eq!(union(&spans).covered(from, from + length), naive as u64);
        }

        #[test]
        fn past_the_limit_the_union_is_an_upper_bound_in_bounded_memory(
            starts in prop::collection::vec(0_u64..2_000, 65..200)
        ) {
            let spans: Vec<_> = starts.into_iter().map(|s| (s, s + 5)).collect();
            let naive = (0..2_010).filter(|t| spans.iter().any(|&(s, e)| s <= *t && *t < e)).count();
            let union = union(&spans);
            prop_assert!(union.covered(0, 3_000) >= naive as u64);
            prop_assert!(union.disjoint.len() <= LIMIT);
        }
    }
}
