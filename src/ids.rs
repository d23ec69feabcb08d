//! The smallest ids of some kind, each with a place.

use smallvec::SmallVec;

/// How many there are.
pub(crate) const LIMIT: usize = 16;

/// An id in the order of the tables, where its absence comes last.
pub(crate) type OrderedId = u128;

pub(crate) fn ordered(id: Option<u64>) -> OrderedId {
    id.map_or(u128::MAX, u128::from)
}

pub(crate) fn unordered(id: OrderedId) -> Option<u64> {
    id.try_into().ok()
}

/// The smallest ids, in the order of their places. One that has had to leave does not come back, since all
/// that are left are smaller; so each has been there from its first time on, and several threads together
/// have the smallest of all.
#[derive(Debug, Clone)]
pub(crate) struct Ids<Id>(SmallVec<[Id; LIMIT]>);

impl<Id> Default for Ids<Id> {
    fn default() -> Self {
        Self(SmallVec::new())
    }
}

/// Where an id is.
pub(crate) enum Found {
    At(usize),
    /// There, where a larger one was until now.
    InsteadAt(usize),
    Nowhere,
}

impl<Id: Copy + Ord> Ids<Id> {
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

    /// The places and ids, by id.
    pub(crate) fn in_order(&self) -> Vec<(usize, Id)> {
        let mut ids: Vec<_> = self.0.iter().copied().enumerate().collect();
        ids.sort_unstable_by_key(|(_, id)| *id);
        ids
    }
}
