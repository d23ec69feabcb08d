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

/// The smallest ids, in the order of their places. So those of several threads are the same ones, and each
/// has been there from its first time on.
#[derive(Debug, Clone)]
pub(crate) struct Ids<Id> {
    known: SmallVec<[Id; LIMIT]>,
    /// The smallest id that found no place, or lost its own; it and those above have none.
    pub(crate) bound: Option<Id>,
}

impl<Id> Default for Ids<Id> {
    fn default() -> Self {
        Self { known: SmallVec::new(), bound: None }
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
    pub(crate) fn find(&mut self, id: Id) -> Found {
        if self.bound.is_some_and(|bound| id >= bound) {
            return Found::Nowhere;
        }
        if let Some(at) = self.known.iter().position(|known| *known == id) {
            return Found::At(at);
        }
        if self.known.len() < LIMIT {
            self.known.push(id);
            return Found::At(self.known.len() - 1);
        }
        let largest = self.known.iter_mut().enumerate().max_by_key(|(_, known)| **known);
        match largest {
            Some((at, largest)) if *largest > id => {
                let lost = std::mem::replace(largest, id);
                self.bound(lost);
                Found::InsteadAt(at)
            }
            _ => {
                self.bound(id);
                Found::Nowhere
            }
        }
    }

    pub(crate) fn bound(&mut self, id: Id) {
        self.bound = Some(self.bound.map_or(id, |bound| bound.min(id)));
    }

    /// The places and ids of those that have been there all the time, in order.
    pub(crate) fn in_order(&self) -> Vec<(usize, Id)> {
        let known = self.known.iter().copied().enumerate();
        let mut whole: Vec<_> = known.filter(|(_, id)| self.bound.is_none_or(|bound| *id < bound)).collect();
        whole.sort_unstable_by_key(|(_, id)| *id);
        whole
    }
}
