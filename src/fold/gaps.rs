//! The gaps between the outputs of a stage, in constant memory.

use crate::fold::buckets::place;

/// How many gaps are in each bucket of a histogram; only buckets with gaps take room, since the gaps of one
/// stage are mostly alike.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gaps {
    /// Sorted by the place of the bucket.
    counts: Vec<(u16, u32)>,
    pub(crate) sum: u64,
    pub(crate) max: u64,
}

impl Gaps {
    /// Adds a gap, in nanoseconds.
    pub(crate) fn add(&mut self, gap: u64) {
        self.count(place(gap) as u16, 1);
        self.sum = self.sum.saturating_add(gap);
        self.max = self.max.max(gap);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        other.counts.iter().for_each(|(place, count)| self.count(*place, *count));
        self.sum = self.sum.saturating_add(other.sum);
        self.max = self.max.max(other.max);
    }

    /// The place of each bucket that has gaps, and how many it has.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = (usize, u64)> {
        self.counts.iter().map(|(place, count)| (usize::from(*place), u64::from(*count)))
    }

    fn count(&mut self, place: u16, more: u32) {
        let at = match self.counts.binary_search_by_key(&place, |(place, _)| *place) {
            Ok(at) => at,
            Err(at) => {
                self.counts.insert(at, (place, 0));
                at
            }
        };
        if let Some((_, count)) = self.counts.get_mut(at) {
            *count = count.saturating_add(more);
        }
    }
}
