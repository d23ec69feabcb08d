//! How many notes there are of each kind, and which of them are named.

use std::collections::BTreeMap;

use crate::cli::amount::amount;

/// How many notes of a kind are named.
const NAMED: u64 = 20;

/// Counts notes by what they say, whatever their numbers are.
#[derive(Debug)]
pub(super) struct Notes {
    by_kind: BTreeMap<String, u64>,
    limit: u64,
}

impl Default for Notes {
    fn default() -> Self {
        Self::new(NAMED)
    }
}

impl Notes {
    fn new(limit: u64) -> Self {
        Self { by_kind: BTreeMap::new(), limit }
    }

    /// Counts a note. Returns whether it is one of the first of its kind, which are named.
    pub(super) fn add(&mut self, note: &str) -> bool {
        let kind = kind(note);
        if let Some(notes) = self.by_kind.get_mut(kind) {
            *notes += 1;
            return *notes <= self.limit;
        }
        self.by_kind.insert(kind.to_owned(), 1);
        self.limit > 0
    }

    pub(super) fn all(&self) -> u64 {
        self.by_kind.values().sum()
    }

    /// A sentence about the notes of each kind that are not named.
    pub(super) fn more(&self) -> impl Iterator<Item = String> {
        let more = self.by_kind.iter().map(|(kind, notes)| (kind, notes.saturating_sub(self.limit)));
        let more = more.filter(|(_, more)| *more > 0);
        more.map(|(kind, more)| format!("{}: {kind}", amount(more, "more note", "more notes")))
    }
}

/// What a note says, without its stage or edge, and without its numbers: `KIND`, `stage 1: KIND: expected …`,
/// or `KIND (…): …`.
fn kind(note: &str) -> &str {
    match note.split_once(": expected ") {
        Some((before, _)) => before.rsplit(": ").next().unwrap_or(before),
        None => note.split([':', '(']).next().unwrap_or(note).trim_end(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_notes_of_each_kind_are_named_and_the_rest_counted() {
        let mut notes = Notes::new(2);
        let late = |stage| format!("stage {stage}: it is late: expected at most 1.0, found 2.{stage}");
        let named = [1, 2, 3, 4].map(|stage| notes.add(&late(stage)));
        assert_eq!(named, [true, true, false, false]);
        let anew = |number| format!("the run begins anew (e2e_requests {number}): the process");
        assert_eq!([7, 8, 9].map(|number| notes.add(&anew(number))), [true, true, false]);
        assert!(notes.add("3 rows") && notes.all() == 8);
        let more: Vec<_> = notes.more().collect();
        assert_eq!(more, ["2 more notes: it is late", "1 more note: the run begins anew"]);
    }
}
