//! Values by stretches of time, in bounded memory.

use std::collections::BTreeMap;

use super::Merge;

/// How many stretches there are at most, from the first to the last.
pub(super) const LIMIT: u64 = 1_000;

/// Values by stretches of time of the same length. If there would be too many, the length doubles.
#[derive(Debug, Clone)]
pub(super) struct Buckets<T> {
    width: u64,
    is_widened: bool,
    /// By the number of the stretch since the Unix epoch.
    buckets: BTreeMap<u64, T>,
}

impl<T: Merge> Buckets<T> {
    pub(super) fn new(width: u64) -> Self {
        Self { width: width.max(1), is_widened: false, buckets: BTreeMap::new() }
    }

    pub(super) fn width(&self) -> u64 {
        self.width
    }

    /// The value of the stretch that a moment lies in.
    pub(super) fn at(&mut self, micros: u64, new: impl FnOnce() -> T) -> &mut T {
        while !self.has_room_for(micros / self.width) {
            self.widen();
        }
        self.buckets.entry(micros / self.width).or_insert_with(new)
    }

    /// How many stretches there are from the first to the last, or [`LIMIT`] once there were more. This never
    /// falls.
    pub(super) fn count(&self) -> u64 {
        let ends = self.buckets.first_key_value().zip(self.buckets.last_key_value());
        match ends {
            _ if self.is_widened => LIMIT,
            Some(((first, _), (last, _))) => last - first + 1,
            None => 0,
        }
    }

    fn has_room_for(&self, at: u64) -> bool {
        let first = self.buckets.first_key_value().map_or(at, |(first, _)| at.min(*first));
        let last = self.buckets.last_key_value().map_or(at, |(last, _)| at.max(*last));
        last - first < LIMIT
    }

    fn widen(&mut self) {
        (self.width, self.is_widened) = (self.width.saturating_mul(2), true);
        for (at, value) in std::mem::take(&mut self.buckets) {
            self.put(at / 2, value);
        }
    }

    fn put(&mut self, at: u64, value: T) {
        match self.buckets.get_mut(&at) {
            Some(there) => there.merge(value),
            None => drop(self.buckets.insert(at, value)),
        }
    }

    /// Adds stretches whose first length was the same.
    pub(super) fn merge(&mut self, mut other: Self, new: impl Fn() -> T) {
        while self.width < other.width {
            self.widen();
        }
        while other.width < self.width {
            other.widen();
        }
        for (at, value) in other.buckets {
            let start = at.saturating_mul(other.width);
            self.at(start, &new).merge(value);
        }
    }

    /// The stretches in which something was, by their beginning.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        self.buckets.iter().map(|(at, value)| (at * self.width, value))
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.buckets.values_mut()
    }

    pub(super) fn into_stretches(self) -> impl Iterator<Item = (u64, T)> {
        let width = self.width;
        self.buckets.into_iter().map(move |(at, value)| (at.saturating_mul(width), value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_log_has_wider_stretches_that_lose_nothing_however_it_is_spread() {
        let mut parts = [0, 1].map(|_| Buckets::<u64>::new(10));
        for n in 0..100_000_u64 {
            *parts[usize::from(n % 3 == 0)].at(1_000_003 + n, u64::default) += 1;
        }
        let [mut whole, other] = parts;
        whole.merge(other, u64::default);
        assert_eq!(whole.width(), 160, "the least of 10, 20, 40… that makes no more than 1,000");
        let counts: Vec<_> = whole.into_stretches().collect();
        assert_eq!(counts.iter().map(|(_, count)| count).sum::<u64>(), 100_000);
        let inner = counts.get(1..counts.len() - 1).unwrap();
        assert!(inner.iter().all(|(start, count)| start % 160 == 0 && *count == 160), "{inner:?}");
        assert!(counts.len() <= 1_000);
    }

    #[test]
    fn one_stretch_holds_all_time() {
        let mut all = Buckets::<u64>::new(u64::MAX);
        [0, 5, u64::MAX - 1].iter().for_each(|at| *all.at(*at, u64::default) += 1);
        assert_eq!(all.into_stretches().collect::<Vec<_>>(), [(0, 3)]);
    }
}
