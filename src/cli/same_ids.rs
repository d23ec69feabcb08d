//! Whether a row of a worker has the id of a request.

use super::by_hash::ByHash;

/// How many ids are remembered. Of more, those with the smallest hashes are.
const IDS: usize = 1 << 16;

/// Ids of requests and of rows of workers, until one is that of both.
#[derive(Debug)]
pub(super) struct SameIds {
    /// Whether each is the id of a request.
    ids: ByHash<bool>,
    /// The greatest hash that is remembered.
    greatest: u64,
    limit: usize,
    are_found: bool,
}

impl Default for SameIds {
    fn default() -> Self {
        Self::new(IDS)
    }
}

impl SameIds {
    fn new(limit: usize) -> Self {
        Self { ids: ByHash::default(), greatest: u64::MAX, limit, are_found: false }
    }

    /// Adds the hash of an id.
    pub(super) fn add(&mut self, id: u64, is_request: bool) {
        if self.are_found || id > self.greatest {
            return;
        }
        if self.ids.insert(id, is_request).is_some_and(|was_request| was_request != is_request) {
            (self.ids, self.are_found) = (ByHash::default(), true);
        }
        if self.ids.len() > self.limit {
            self.greatest /= 2;
            self.ids.retain(|id, _| *id <= self.greatest);
        }
    }

    pub(super) fn are_found(&self) -> bool {
        self.are_found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::history::hash_of;

    /// Whether an id is found that is that of a request and of a row, if 100 are remembered.
    fn are_found(ids: impl Iterator<Item = (u64, bool)>) -> bool {
        let mut same = SameIds::new(100);
        for (id, is_request) in ids {
            same.add(hash_of(&id.to_string()), is_request);
            assert!(same.ids.len() <= 100);
        }
        same.are_found()
    }

    #[test]
    fn of_many_ids_some_are_compared_in_whatever_order_they_come() {
        let all = |is_request| (0..10_000).map(move |id| (id, is_request));
        let others = |is_request| (20_000..30_000).map(move |id| (id, is_request));
        for is_request in [true, false] {
            assert!(are_found(all(is_request).chain(all(!is_request))));
            assert!(!are_found(all(is_request).chain(others(!is_request))));
            assert!(!are_found(all(is_request).chain(all(is_request))), "of one kind");
            assert!(are_found([(1, is_request), (2, is_request), (1, !is_request)].into_iter()));
        }
    }
}
