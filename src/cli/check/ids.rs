//! Which requests are checked, by the hashes of their ids.

use crate::write::columns::grouped;

/// Requests whose ids have the smallest hashes: all of them, or one in a power of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ids {
    greatest: u64,
    halved: u32,
}

impl Ids {
    pub(super) const ALL: Self = Self { greatest: u64::MAX, halved: 0 };

    pub(super) fn have(self, id: u64) -> bool {
        id <= self.greatest
    }

    /// Leaves out the half with the greater hashes.
    pub(super) fn halve(&mut self) {
        (self.greatest, self.halved) = (self.greatest / 2, self.halved + 1);
    }

    /// Of how many requests one is checked.
    pub(super) fn one_in(self) -> u64 {
        1_u64.checked_shl(self.halved).unwrap_or(u64::MAX)
    }

    /// The end of a sentence about the requests that are checked.
    pub(super) fn share(self) -> String {
        match self.halved {
            0 => String::new(),
            _ => format!("; of the requests, one in {} was checked", grouped(&self.one_in().to_string())),
        }
    }
}
