//! Requests told apart by their ids, where attempts share one, in bounded memory.

use std::collections::hash_map::Entry;

use serde::Serialize;

use super::{amount::amount, by_hash::ByHash, history::hash_of};
use crate::{RequestLine, Timestamp, model::keep::is_failed, write::columns::grouped};

/// How many ids are remembered: those with the smallest hashes. Of more, they are a sample.
const IDS: usize = 1 << 16;

/// The attempts of the requests so far, by the hash of the id. Which ids are remembered depends neither on
/// the order of the lines, nor on how many of these are merged.
#[derive(Debug)]
pub(super) struct Attempts {
    ids: ByHash<OfId>,
    /// The number of zero bits that a hash begins with, at least, if it is remembered.
    zeros: u32,
    limit: usize,
}

/// The attempts with one id.
#[derive(Debug, Clone, Copy)]
struct OfId {
    /// The end of one of them.
    end: Timestamp,
    are_several: bool,
    has_failed: bool,
    has_succeeded: bool,
}

impl OfId {
    /// Lines with the same end are copies of one.
    fn merge(&mut self, other: Self) {
        self.are_several |= other.are_several || self.end != other.end;
        self.has_failed |= other.has_failed;
        self.has_succeeded |= other.has_succeeded;
    }
}

impl Default for Attempts {
    fn default() -> Self {
        Self::new(IDS)
    }
}

impl Attempts {
    fn new(limit: usize) -> Self {
        Self { ids: ByHash::default(), zeros: 0, limit }
    }

    pub(super) fn add(&mut self, line: &RequestLine) {
        let has_failed = is_failed(&line.e2e_table);
        let (end, has_succeeded) = (line.timestamp, !has_failed);
        let of_id = OfId { end, are_several: false, has_failed, has_succeeded };
        self.add_hash(hash_of(&line.request_id), of_id);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.forget(other.zeros);
        other.ids.iter().for_each(|(hash, of_id)| self.add_hash(*hash, *of_id));
    }

    fn add_hash(&mut self, hash: u64, of_id: OfId) {
        if hash.leading_zeros() < self.zeros {
            return;
        }
        match self.ids.entry(hash) {
            Entry::Occupied(mut known) => known.get_mut().merge(of_id),
            Entry::Vacant(place) => _ = place.insert(of_id),
        }
        while self.ids.len() > self.limit {
            self.forget(self.zeros + 1);
        }
    }

    fn forget(&mut self, zeros: u32) {
        if zeros > self.zeros {
            self.zeros = zeros;
            self.ids.retain(|hash, _| hash.leading_zeros() >= zeros);
        }
    }

    /// `None` if no id has several attempts.
    pub(super) fn figures(&self) -> Option<RequestsById> {
        // Each bit halves the ids.
        let scale = 1_u64.checked_shl(self.zeros).unwrap_or(u64::MAX);
        let count = |is_counted: fn(&OfId) -> bool| {
            let ids = self.ids.values().filter(|of_id| is_counted(of_id)).count();
            (ids as u64).saturating_mul(scale)
        };
        let retried = count(|of_id| of_id.are_several);
        (retried > 0).then(|| RequestsById {
            ids: count(|_| true),
            retried,
            failed: count(|of_id| !of_id.has_succeeded),
            failed_in_only_attempt: count(|of_id| !of_id.has_succeeded && !of_id.are_several),
            recovered: count(|of_id| of_id.has_failed && of_id.has_succeeded),
            is_estimate: self.zeros > 0,
        })
    }
}

/// How requests ended whose attempts share an id. The attempts are request lines, each of which counts as a
/// request elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct RequestsById {
    /// Different ids.
    pub(super) ids: u64,
    /// Ids with several attempts.
    pub(super) retried: u64,
    /// Ids of which every attempt failed.
    pub(super) failed: u64,
    /// Those of them that have no other attempt.
    pub(super) failed_in_only_attempt: u64,
    /// Ids of which one attempt failed and another did not.
    pub(super) recovered: u64,
    /// Whether the counts are estimates from a sample of the ids.
    pub(super) is_estimate: bool,
}

impl RequestsById {
    pub(super) fn sentence(&self) -> String {
        let Self { ids, retried, failed, failed_in_only_attempt: once, recovered, is_estimate } = *self;
        let about = if is_estimate { "about " } else { "" };
        let share = failed as f64 / ids as f64 * 100.0;
        let several = amount(retried, "request_id has", "request_ids have");
        let [ids, failed, once, recovered] =
            [ids, failed, once, recovered].map(|count| grouped(&count.to_string()));
        format!(
            "These are attempts: {about}{several} several of them, as after a retry. Of {about}{ids} \
             different request_ids, {about}{failed} failed in every attempt ({share:.1} %; {about}{once} \
             after a single one), and {about}{recovered} failed in one attempt and succeeded in another."
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::E2eTable;

    fn line(id: u64, end: u64, is_failed: bool) -> RequestLine {
        let reason = if is_failed { "error" } else { "stop" };
        RequestLine {
            request_id: id.to_string(),
            timestamp: Timestamp::from_unix_micros(end),
            e2e_table: E2eTable { finish_reason: Some(reason.to_owned()), ..E2eTable::default() },
            ..RequestLine::default()
        }
    }

    #[test]
    fn a_request_failed_if_no_attempt_succeeded_in_whatever_order_they_come() {
        let lines = [
            line(1, 1, true),
            line(1, 2, false),
            line(2, 1, false),
            // A hedged request, whose slower attempt was cancelled.
            line(3, 1, false),
            line(3, 2, true),
            line(4, 1, true),
            line(4, 2, true),
            line(5, 1, true),
            // A copy.
            line(5, 1, true),
        ];
        let expected = RequestsById {
            ids: 5,
            retried: 3,
            failed: 2,
            failed_in_only_attempt: 1,
            recovered: 2,
            is_estimate: false,
        };
        let (mut forth, mut back) = (Attempts::default(), Attempts::default());
        lines.iter().for_each(|line| forth.add(line));
        lines.iter().rev().for_each(|line| back.add(line));
        assert_eq!((forth.figures(), back.figures()), (Some(expected), Some(expected)));
        let (mut part, mut whole) = (Attempts::default(), Attempts::default());
        lines
            .iter()
            .enumerate()
            .for_each(|(n, line)| if n % 2 == 0 { &mut part } else { &mut whole }.add(line));
        whole.merge(&part);
        assert_eq!(whole.figures(), Some(expected));
        let mut single = Attempts::default();
        (0..9).for_each(|id| single.add(&line(id, 1, id == 0)));
        assert_eq!(single.figures(), None);
    }

    #[test]
    fn of_many_ids_a_sample_is_remembered_that_is_the_same_however_they_are_spread() {
        let [mut whole, mut part, mut other] = [1_000; 3].map(Attempts::new);
        for id in 0..100_000 {
            // One in ten failed, and half of these once more.
            let mut lines = vec![line(id, 1, id % 10 == 0)];
            lines.extend((id % 10 == 0).then(|| line(id, 2, id % 20 == 0)));
            for line in &lines {
                whole.add(line);
                if id % 3 == 0 { &mut part } else { &mut other }.add(line);
            }
        }
        part.merge(&other);
        let figures = whole.figures().unwrap();
        assert_eq!(part.figures(), Some(figures));
        assert!(whole.ids.len() <= 1_000 && part.ids.len() <= 1_000 && figures.is_estimate);
        assert!((90_000..110_000).contains(&figures.ids), "{figures:?}");
        for count in [figures.failed, figures.recovered] {
            assert!((3_500..6_500).contains(&count), "{figures:?}");
        }
    }
}
