//! The smallest ids of a kind, each with an index.

use smallvec::SmallVec;

/// How many ids are kept.
pub(crate) const LIMIT: usize = 16;

/// The smallest ids; the index of an id is its place in the list. An evicted id cannot return, because all
/// remaining ids are smaller. So each id in the list has been there since its first occurrence, and the
/// merged lists of several threads have the smallest ids of all.
#[derive(Debug, Clone)]
pub(crate) struct SmallestIds<Id>(SmallVec<[Id; LIMIT]>);

impl<Id> Default for SmallestIds<Id> {
    fn default() -> Self {
        Self(SmallVec::new())
    }
}

/// The result of a look-up.
pub(crate) enum Found {
    At(usize),
    /// At this index, where a larger id has been evicted.
    InsteadAt(usize),
    Nowhere,
}

impl<Id: Copy + Ord> SmallestIds<Id> {
    #[inline]
    pub(crate) fn find(&mut self, id: Id) -> Found {
        if let Some(at) = self.0.iter().position(|known| *known == id) {
            return Found::At(at);
        }
        if self.0.len() < LIMIT {
            self.0.push(id);
            return Found::At(self.0.len() - 1);
        }
        match self.0.iter_mut().enumerate().max_by_key(|(_, known)| **known) {
            Some((at, largest)) if *largest > id => {
                *largest = id;
                Found::InsteadAt(at)
            }
            _ => Found::Nowhere,
        }
    }

    /// The indexes and ids, ordered by id.
    pub(crate) fn in_order(&self) -> Vec<(usize, Id)> {
        let mut ids: Vec<_> = self.0.iter().copied().enumerate().collect();
        ids.sort_unstable_by_key(|(_, id)| *id);
        ids
    }
}
