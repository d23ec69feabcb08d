//! Amounts by kind, in bounded memory.

use std::collections::BTreeMap;

/// How many kinds are told apart.
const LIMIT: usize = 256;

/// The smallest kinds and what each comes to, and the rest in one sum. Which kinds have their own does not
/// depend on the order in which they came, so that several of these can be merged.
#[derive(Debug, Clone)]
pub(super) struct Kinds<K> {
    known: BTreeMap<K, u128>,
    /// The smallest kind of the rest.
    bound: Option<K>,
    pub(super) rest: u128,
}

impl<K> Default for Kinds<K> {
    fn default() -> Self {
        Self { known: BTreeMap::new(), bound: None, rest: 0 }
    }
}

impl<K: Ord + Clone> Kinds<K> {
    pub(super) fn add(&mut self, kind: K, amount: u128) {
        if self.bound.as_ref().is_some_and(|bound| kind >= *bound) {
            self.rest += amount;
            return;
        }
        *self.known.entry(kind).or_default() += amount;
        if self.known.len() > LIMIT
            && let Some((largest, amount)) = self.known.pop_last()
        {
            self.rest += amount;
            self.bound = Some(largest);
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.rest += other.rest;
        if let Some(bound) = &other.bound
            && self.bound.as_ref().is_none_or(|ours| bound < ours)
        {
            self.rest += self.known.split_off(bound).values().sum::<u128>();
            self.bound = Some(bound.clone());
        }
        other.known.iter().for_each(|(kind, amount)| self.add(kind.clone(), *amount));
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
        let (mut whole, mut one, mut other) = (Kinds::default(), Kinds::default(), Kinds::default());
        for n in 0..30_000_u64 {
            let kind = n * 37 % 400;
            whole.add(kind, 1);
            if n / 500 % 2 == 0 { one.add(kind, 1) } else { other.add(kind, 1) }
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
