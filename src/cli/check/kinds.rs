//! How many notes or violations there are of each kind, and which of them are named.

use std::collections::BTreeMap;

use crate::cli::amount::amount;

/// How many of a kind are named.
const NAMED: u64 = 20;

/// Counts notes or violations by what they say, whatever their numbers are.
#[derive(Debug)]
pub(super) struct Kinds {
    by_kind: BTreeMap<String, u64>,
    limit: u64,
}

impl Default for Kinds {
    fn default() -> Self {
        Self::new(NAMED)
    }
}

impl Kinds {
    fn new(limit: u64) -> Self {
        Self { by_kind: BTreeMap::new(), limit }
    }

    /// Counts a sentence. Returns whether it is one of the first of its kind, which are named.
    pub(super) fn add(&mut self, sentence: &str) -> bool {
        let kind = kind(sentence);
        if let Some(count) = self.by_kind.get_mut(kind) {
            *count += 1;
            return *count <= self.limit;
        }
        self.by_kind.insert(kind.to_owned(), 1);
        self.limit > 0
    }

    pub(super) fn all(&self) -> u64 {
        self.by_kind.values().sum()
    }

    /// A sentence about those of each kind that are not named. `one` and `several` are the words for them.
    pub(super) fn more(&self, one: &str, several: &str) -> impl Iterator<Item = String> {
        let more = self.by_kind.iter().map(|(kind, all)| (kind, all.saturating_sub(self.limit)));
        let more = more.filter(|(_, more)| *more > 0);
        more.map(move |(kind, more)| format!("{}: {kind}", amount(more, one, several)))
    }
}

/// The kind of a sentence, which has no stage or edge, and no numbers: `KIND`,
/// `stage 1: KIND: expected …`, or `KIND (…): …`.
fn kind(sentence: &str) -> &str {
    match sentence.split_once(": expected ") {
        Some((before, _)) => before.rsplit(": ").next().unwrap_or(before),
        None => sentence.split([':', '(']).next().unwrap_or(sentence).trim_end(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_each_kind_are_named_and_the_rest_counted() {
        let mut notes = Kinds::new(2);
        let late = |stage| format!("stage {stage}: it is late: expected at most 1.0, found 2.{stage}");
        let named = [1, 2, 3, 4].map(|stage| notes.add(&late(stage)));
        assert_eq!(named, [true, true, false, false]);
        let anew = |number| format!("the run begins anew (e2e_requests {number}): the process");
        assert_eq!([7, 8, 9].map(|number| notes.add(&anew(number))), [true, true, false]);
        assert!(notes.add("3 rows") && notes.all() == 8);
        let more: Vec<_> = notes.more("more note", "more notes").collect();
        assert_eq!(more, ["2 more notes: it is late", "1 more note: the run begins anew"]);
    }
}
