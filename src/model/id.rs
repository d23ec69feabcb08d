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

/// How an absent id is shown.
const NONE: &str = "none";

/// An id in a warning.
pub(crate) struct Shown(pub(crate) Option<u64>);

impl Shown {
    /// The id that is shown like this.
    #[cfg(feature = "cli")]
    pub(crate) fn read(text: &str) -> Option<Option<u64>> {
        if text == NONE { Some(None) } else { text.parse().ok().map(Some) }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(id) => id.fmt(f),
            None => f.write_str(NONE),
        }
    }
}
