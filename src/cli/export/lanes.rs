//! Lanes of a track: times in one lane do not overlap.

use std::collections::BTreeSet;

/// The lanes of one track, by the end of the last time in them.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    free_from: BTreeSet<(u64, usize)>,
}

impl Lanes {
    /// The lane of the next time: the one that has been free for the shortest, or else a new one. If times
    /// come by their start, there are as many lanes as times that overlap.
    pub(super) fn next(&mut self, from: u64, to: u64) -> usize {
        let free = self.free_from.range(..=(from, usize::MAX)).next_back().copied();
        let lane = match free {
            Some(free) => {
                self.free_from.remove(&free);
                free.1
            }
            None => self.free_from.len(),
        };
        self.free_from.insert((to.max(from), lane));
        lane
    }

    pub(super) fn len(&self) -> usize {
        self.free_from.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn times_in_one_lane_do_not_overlap_and_lanes_are_as_few_as_can_be(
            mut times in prop::collection::vec((0..1_000_u64, 1..200_u64), 1..100),
        ) {
            times.sort_unstable();
            let mut lanes = Lanes::default();
            let mut placed = Vec::<(usize, u64, u64)>::new();
            for (from, length) in times {
                let lane = lanes.next(from, from + length);
                prop_assert!(placed.iter().all(|(other, _, to)| *other != lane || *to <= from));
                placed.push((lane, from, from + length));
            }
            let is_at = |moment: u64, (_, from, to): &(usize, u64, u64)| (*from..*to).contains(&moment);
            let at_once = |moment| placed.iter().filter(|time| is_at(moment, time)).count();
            let most = placed.iter().map(|(_, from, _)| at_once(*from)).max().unwrap_or(0);
            prop_assert_eq!(lanes.len(), most);
        }
    }
}
