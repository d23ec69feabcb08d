//! Amounts by kind, in bounded memory.

use std::collections::BTreeMap;

/// How many kinds are told apart.
const LIMIT: usize = 256;

/// The amounts of the smallest kinds, and the sum of all the rest. A kind that has been moved to the rest
/// does not come back, since all kinds that are kept are smaller. So the result depends neither on the order
/// in which kinds are added, nor on how many of these collections are merged.
#[derive(Debug, Clone)]
pub(super) struct Tally<K> {
    known: BTreeMap<K, u128>,
    pub(super) rest: u128,
}

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Self { known: BTreeMap::new(), rest: 0 }
    }
}

impl<K: Ord + Clone> Tally<K> {
    pub(super) fn add(&mut self, kind: &K, amount: u128) {
        if let Some(known) = self.known.get_mut(kind) {
            *known += amount;
            return;
        }
        self.known.insert(kind.clone(), amount);
        if self.known.len() > LIMIT
            && let Some((_, amount)) = self.known.pop_last()
        {
            self.rest += amount;
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.rest += other.rest;
        other.known.iter().for_each(|(kind, amount)| self.add(kind, *amount));
    }

    /// By kind.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, u128)> {
        self.known.iter().map(|(kind, amount)| (kind, *amount))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_bounded_and_exact_however_they_are_spread() {
        let (mut whole, mut one, mut other) = (Tally::default(), Tally::default(), Tally::default());
        for n in 0..30_000_u64 {
            let kind = n * 37 % 400;
            whole.add(&kind, 1);
            if n / 500 % 2 == 0 { one.add(&kind, 1) } else { other.add(&kind, 1) }
        }
        let mut reversed = other.clone();
        reversed.merge(&one);
        one.merge(&other);
        for kinds in [&whole, &one, &reversed] {
            assert!(kinds.iter().eq((0..LIMIT as u64).collect::<Vec<_>>().iter().map(|kind| (kind, 75))));
            assert_eq!(kinds.rest, 30_000 - 75 * LIMIT as u128);
        }
    }
}
