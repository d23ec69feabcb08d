//! The ids of requests that a note may name.

use super::ids::Ids;
use crate::cli::{by_hash::ByHash, sentence::listed};

/// How many ids are held. Of more, those with the smallest hashes are.
const NAMES: usize = 1 << 17;
/// A longer id, in bytes, is not held.
const LONGEST: usize = 256;
/// How many requests a sentence names.
const LISTED: usize = 5;

/// Which of the files with rows a row is in, and which line of the file it is.
pub(super) type RowPlace = (u32, u64);

/// Ids by their hashes.
#[derive(Debug)]
pub(super) struct Names {
    by_hash: ByHash<Box<str>>,
    ids: Ids,
    limit: usize,
}

impl Default for Names {
    fn default() -> Self {
        Self::new(NAMES)
    }
}

impl Names {
    fn new(limit: usize) -> Self {
        Self { by_hash: ByHash::default(), ids: Ids::ALL, limit }
    }

    /// Holds an id. If there are too many, those that are not needed are forgotten, and then those with the
    /// greater hashes.
    pub(super) fn add(&mut self, hash: u64, id: &str, is_needed: impl Fn(u64) -> bool) {
        if !self.ids.have(hash) || id.len() > LONGEST {
            return;
        }
        self.by_hash.entry(hash).or_insert_with(|| id.into());
        if self.by_hash.len() <= self.limit {
            return;
        }
        self.by_hash.retain(|hash, _| is_needed(*hash));
        // If few were forgotten, the next ones would soon be too many again.
        while self.by_hash.len() > self.limit / 2 {
            self.ids.halve();
            self.by_hash.retain(|hash, _| self.ids.have(*hash));
        }
    }

    pub(super) fn get(&self, hash: u64) -> Option<&str> {
        self.by_hash.get(&hash).map(|id| &**id)
    }

    /// The part of a sentence that names the first of these requests, in parentheses.
    pub(super) fn some_of(&self, requests: &[(RowPlace, u64)]) -> String {
        let named = requests.iter().filter_map(|(_, hash)| self.get(*hash));
        let mut named: Vec<_> = named.take(LISTED).map(str::to_owned).collect();
        match requests.len() - named.len() {
            _ if named.is_empty() => return String::new(),
            0 => {}
            more => named.push(format!("{more} more")),
        }
        format!(" ({})", listed(&named))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::keep;

    fn hash(number: u64) -> u64 {
        keep::hash(&number.to_string())
    }

    /// The names of these requests, of which this many are held.
    fn names(limit: usize, numbers: u64, is_needed: impl Fn(u64) -> bool) -> Names {
        let mut names = Names::new(limit);
        for number in 0..numbers {
            names.add(hash(number), &number.to_string(), &is_needed);
            assert!(names.by_hash.len() <= limit);
        }
        names
    }

    #[test]
    fn ids_that_are_not_needed_make_room_for_others() {
        let names = names(100, 10_000, |id| (0..40).any(|number| id == hash(number)));
        assert!((0..40).all(|number| names.get(hash(number)) == Some(number.to_string().as_str())));
    }

    #[test]
    fn of_too_many_ids_a_share_is_held() {
        let names = names(100, 10_000, |_| true);
        assert!((20..=100).contains(&names.by_hash.len()), "{}", names.by_hash.len());
    }

    #[test]
    fn an_id_that_is_too_long_is_not_held() {
        let mut names = names(100, 0, |_| true);
        names.add(1, &"x".repeat(LONGEST), |_| true);
        names.add(2, &"x".repeat(LONGEST + 1), |_| true);
        assert!(names.get(1).is_some() && names.get(2).is_none());
    }

    #[test]
    fn a_sentence_names_some_requests_and_counts_the_rest() {
        let names = names(100, 10, |_| true);
        let said = |numbers: std::ops::Range<u64>| {
            names.some_of(&numbers.map(|number| ((0, number), hash(number))).collect::<Vec<_>>())
        };
        assert_eq!([said(0..1), said(0..2)], [" (0)", " (0 and 1)"]);
        assert_eq!(said(0..10), " (0, 1, 2, 3, 4 and 5 more)");
        assert_eq!([said(8..13), said(20..23)], [" (8, 9 and 3 more)", ""]);
    }
}
