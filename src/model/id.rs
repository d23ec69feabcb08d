//! The id of a stage: its order, and how it is shown.

use std::fmt;

/// An id with the order of the tables, in which an absent id comes last.
pub(crate) type OrderedId = u128;

pub(crate) fn ordered(id: Option<u64>) -> OrderedId {
    id.map_or(u128::MAX, u128::from)
}

pub(crate) fn unordered(id: OrderedId) -> Option<u64> {
    id.try_into().ok()
}

/// An id in a warning.
pub(crate) struct Shown(pub(crate) Option<u64>);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(id) => id.fmt(f),
            None => f.write_str("none"),
        }
    }
}
