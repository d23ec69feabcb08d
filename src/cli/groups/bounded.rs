//! Values by key, in bounded memory.

use std::collections::BTreeMap;

/// A value to which another of its kind can be added.
pub(in crate::cli) trait Merge {
    fn merge(&mut self, other: Self);
}

/// The values of the smallest keys, and one for all the rest. A key that has been moved to the rest does not
/// come back, since all keys that are kept are smaller. So the result depends neither on the order in which
/// keys are added, nor on how many of these collections are merged.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Grouped<K, T> {
    known: BTreeMap<K, T>,
    rest: Option<T>,
    limit: usize,
}

impl<K: Ord, T: Default + Merge> Grouped<K, T> {
    /// A collection that tells `limit` keys apart.
    pub(in crate::cli) fn new(limit: usize) -> Self {
        Self { known: BTreeMap::new(), rest: None, limit }
    }

    /// The value of a key, or that of the rest.
    pub(in crate::cli) fn at(&mut self, key: K) -> &mut T {
        if self.known.len() >= self.limit && !self.known.contains_key(&key) {
            let is_smaller = self.known.last_key_value().is_some_and(|(last, _)| key < *last);
            if !is_smaller {
                return self.rest.get_or_insert_default();
            }
            if let Some((_, value)) = self.known.pop_last() {
                self.rest.get_or_insert_default().merge(value);
            }
        }
        self.known.entry(key).or_default()
    }

    /// Tells at most `limit` keys apart from now on, if that is less than before.
    pub(in crate::cli) fn limit_to(&mut self, limit: usize) {
        self.limit = self.limit.min(limit);
        while self.known.len() > self.limit
            && let Some((_, value)) = self.known.pop_last()
        {
            self.rest.get_or_insert_default().merge(value);
        }
    }

    pub(in crate::cli) fn names(&self) -> impl Iterator<Item = &K> {
        self.known.keys()
    }

    /// The values by key, and that of the rest, if there are more keys than the limit.
    pub(in crate::cli) fn into_parts(self) -> (BTreeMap<K, T>, Option<T>) {
        (self.known, self.rest)
    }
}

impl<K: Ord, T: Default + Merge> Merge for Grouped<K, T> {
    fn merge(&mut self, other: Self) {
        for (key, value) in other.known {
            self.at(key).merge(value);
        }
        if let Some(rest) = other.rest {
            self.rest.get_or_insert_default().merge(rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Merge for u64 {
        fn merge(&mut self, other: Self) {
            *self += other;
        }
    }

    #[test]
    fn groups_are_bounded_and_exact_however_they_are_spread() {
        let mut parts = [0, 1, 2].map(|_| Grouped::<u64, u64>::new(10));
        for n in 0..30_000_u64 {
            *parts[(n / 50 % 3) as usize].at(n * 37 % 40) += 1;
        }
        let [mut whole, second, third] = parts;
        whole.merge(third);
        whole.merge(second);
        let (known, rest) = whole.into_parts();
        assert!(known.into_iter().eq((0..10).map(|key| (key, 750))));
        assert_eq!(rest, Some(750 * 30));
    }
}
