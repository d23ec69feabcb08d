//! The requests whose waterfalls the page shows: the slowest, some that failed, and a random sample of the
//! others; of each as many as there is room for.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BTreeMap, BinaryHeap},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use super::{shown::to_json, way};
use crate::{
    Millis, RequestLine,
    cli::{
        in_the_way::{Meanwhile, Waiter},
        json::escaped,
        objectives::Objectives,
    },
    model::keep,
};

/// How many of the slowest requests are shown, how many that failed, and how many random ones that did not.
const SLOWEST: usize = 300;
const FAILED: usize = 200;
const RANDOM: usize = 500;
/// How many bytes of JSON what was in their way may have.
const ROOM_OF_WAYS: usize = 100_000;

/// The requests kept so far. Those that failed and the random ones are chosen by a hash, so that the same log
/// gives the same page.
#[derive(Debug, Default)]
pub(super) struct Sample {
    slowest: BinaryHeap<Reverse<(Millis, u64, Kept)>>,
    failed: Chosen<FAILED>,
    random: Chosen<RANDOM>,
}

/// A request that may be shown.
#[derive(Debug, Clone)]
struct Kept {
    json: String,
    waiter: Waiter,
}

impl Ord for Kept {
    fn cmp(&self, other: &Self) -> Ordering {
        self.json.cmp(&other.json)
    }
}

impl PartialOrd for Kept {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Kept {}

/// Requests with the smallest hashes, each with its hash and its latency.
#[derive(Debug, Default)]
struct Chosen<const LIMIT: usize>(BinaryHeap<(u64, Millis, Kept)>);

/// The sample as the page has it.
#[derive(Debug, Default)]
pub(super) struct Sampled {
    /// Slowest first.
    requests: Vec<Kept>,
    pub(super) shown: usize,
    /// How many of them are the slowest of all.
    pub(super) slowest: usize,
    /// How many more failed.
    pub(super) failed: usize,
}

impl<const LIMIT: usize> Chosen<LIMIT> {
    fn takes(&self, chance: u64) -> bool {
        self.0.len() < LIMIT || self.0.peek().is_some_and(|(last, _, _)| chance < *last)
    }

    fn trim(&mut self) {
        while self.0.len() > LIMIT {
            self.0.pop();
        }
    }

    fn in_order(self) -> Vec<(Millis, u64, Kept)> {
        self.0.into_sorted_vec().into_iter().map(|(chance, e2e, kept)| (e2e, chance, kept)).collect()
    }
}

impl Sample {
    pub(super) fn add(&mut self, line: &RequestLine, log_name: &Arc<str>, objectives: &Objectives) {
        let e2e = line.e2e_table.e2e_total_ms;
        let mut hasher = DefaultHasher::new();
        (&line.request_id, line.timestamp.unix_micros(), e2e.as_nanos()).hash(&mut hasher);
        let chance = hasher.finish();
        let is_slow = self.slowest.len() < SLOWEST
            || self.slowest.peek().is_some_and(|Reverse((fastest, _, _))| e2e > *fastest);
        let has_failed = keep::is_failed(&line.e2e_table);
        let is_failed = has_failed && self.failed.takes(chance);
        let is_random = !has_failed && self.random.takes(chance);
        if !is_slow && !is_failed && !is_random {
            return;
        }
        let kept = Kept { json: to_json(line, objectives), waiter: Waiter::of(line, log_name) };
        if is_slow {
            self.slowest.push(Reverse((e2e, chance, kept.clone())));
        }
        if is_failed {
            self.failed.0.push((chance, e2e, kept.clone()));
        }
        if is_random {
            self.random.0.push((chance, e2e, kept));
        }
        self.trim();
    }

    pub(super) fn merge(&mut self, other: &mut Self) {
        self.slowest.append(&mut other.slowest);
        self.failed.0.append(&mut other.failed.0);
        self.random.0.append(&mut other.random.0);
        self.trim();
    }

    fn trim(&mut self) {
        while self.slowest.len() > SLOWEST {
            self.slowest.pop();
        }
        self.failed.trim();
        self.random.trim();
    }

    /// As many of them as fit into these bytes, of each kind the same part of its limit.
    pub(super) fn into_sampled(self, room: usize) -> Sampled {
        let slowest = self.slowest.into_sorted_vec().into_iter();
        let slowest = slowest.map(|Reverse((e2e, chance, kept))| (e2e, chance, kept)).collect();
        let kinds: [(Vec<_>, usize); 3] =
            [(slowest, SLOWEST), (self.failed.in_order(), FAILED), (self.random.in_order(), RANDOM)];
        let in_turn = kinds.into_iter().enumerate().flat_map(|(kind, (requests, limit))| {
            let turn = move |(n, request)| (n * 1_000 / limit, kind, request);
            requests.into_iter().enumerate().map(turn)
        });
        let mut in_turn: Vec<_> = in_turn.collect();
        in_turn.sort_by_key(|(turn, kind, _)| (*turn, *kind));
        let mut left = room.saturating_sub(ROOM_OF_WAYS);
        let mut shown = BTreeMap::new();
        for (_, kind, (e2e, chance, kept)) in in_turn {
            // Escaped only here, since most of the requests that are added are dropped later.
            let kept = Kept { json: escaped(kept.json), ..kept };
            let size = kept.json.len() + 2;
            if let Some(known) = shown.get_mut(&(e2e, chance, kept.clone())) {
                *known = kind.min(*known);
                continue;
            }
            let Some(room) = left.checked_sub(size) else { break };
            left = room;
            shown.insert((e2e, chance, kept), kind);
        }
        let of_kind = |wanted| shown.values().filter(|kind| **kind == wanted).count();
        let (slowest, failed) = (of_kind(0), of_kind(1));
        let requests: Vec<_> = shown.into_keys().rev().map(|(_, _, kept)| kept).collect();
        Sampled { shown: requests.len(), requests, slowest, failed }
    }
}

impl Sampled {
    pub(super) fn waiters(&self) -> Vec<Waiter> {
        self.requests.iter().map(|kept| kept.waiter.clone()).collect()
    }

    /// A list, with what the stages did while each request waited for them: of the slowest ones, as long as
    /// there is room.
    pub(super) fn to_json(&self, meanwhile: &[Vec<Meanwhile>]) -> String {
        let mut left = ROOM_OF_WAYS;
        let with_way = |(kept, meanwhile): (&Kept, &Vec<Meanwhile>)| {
            let way = escaped(way::to_json(meanwhile));
            match (left.checked_sub(way.len()), kept.json.strip_suffix('}')) {
                (Some(room), Some(members)) if !way.is_empty() => {
                    left = room;
                    format!("{members},\"way\":{way}}}")
                }
                _ => kept.json.clone(),
            }
        };
        let requests: Vec<_> = self.requests.iter().zip(meanwhile).map(with_way).collect();
        format!("[{}]", requests.join(",\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{E2eTable, StageRow};

    fn line(n: u64, text: &str) -> RequestLine {
        let finish_reason = (n % 100 == 1).then(|| "error".to_owned());
        let e2e_total_ms = Millis::from_nanos(n * 1_000);
        let e2e_table = E2eTable { e2e_total_ms, finish_reason, ..E2eTable::default() };
        let row = StageRow { stage_name: Some(text.to_owned()), ..StageRow::default() };
        RequestLine {
            request_id: format!("r{n}"),
            e2e_table,
            stage_table: vec![row; 30],
            warnings: vec![text.to_owned(); 16],
            ..RequestLine::default()
        }
    }

    fn add(sample: &mut Sample, line: RequestLine) {
        sample.add(&line, &Arc::default(), &Objectives::default());
    }

    /// Without anything in the way.
    fn json(sampled: &Sampled) -> String {
        sampled.to_json(&vec![Vec::new(); sampled.shown])
    }

    const ROOM: usize = 900_000;

    #[test]
    fn the_slowest_are_there_and_all_of_it_has_its_room() {
        let (mut one, mut other) = (Sample::default(), Sample::default());
        for n in 0..5_000 {
            let sample = if n % 2 == 0 { &mut one } else { &mut other };
            add(sample, line(n, &"é</script>".repeat(40)));
        }
        one.merge(&mut other);
        let sampled = one.into_sampled(ROOM);
        let (json, Sampled { shown, slowest, failed, .. }) = (json(&sampled), sampled);
        assert!(json.len() <= ROOM - ROOM_OF_WAYS && shown > 40, "{} {shown}", json.len());
        // The sample keeps its half, however long the lines are.
        let half = shown / 2;
        assert!((half..=half + 2).contains(&(slowest + failed)) && slowest > failed, "{slowest} {failed}");
        assert!(!json.contains('<'));
        let requests: Vec<serde_json::Value> = serde_json::from_str(&json).unwrap();
        assert_eq!((requests.len(), &requests[0]["id"]), (shown, &"r4999".into()));
        assert_eq!(requests[slowest - 1]["id"], format!("r{}", 5_000 - slowest));
    }

    #[test]
    fn few_requests_are_all_there_once() {
        let mut sample = Sample::default();
        (0..100).for_each(|n| add(&mut sample, line(n, "x")));
        let sampled = sample.into_sampled(usize::MAX);
        let (json, Sampled { shown, slowest, failed, .. }) = (json(&sampled), sampled);
        assert_eq!((shown, slowest, failed, json.matches("\"id\":").count()), (100, 100, 0, 100));
    }

    #[test]
    fn of_many_some_that_failed_and_some_others_are_there() {
        let mut sample = Sample::default();
        (0..30_000).for_each(|n| {
            add(&mut sample, RequestLine { stage_table: Vec::new(), warnings: Vec::new(), ..line(n, "") });
        });
        let sampled = sample.into_sampled(usize::MAX);
        let (json, Sampled { shown, slowest, failed, .. }) = (json(&sampled), sampled);
        // The sets may share a few requests.
        assert_eq!(slowest, SLOWEST);
        assert!((190..=FAILED).contains(&failed) && (950..=1_000).contains(&shown), "{failed} {shown}");
        let requests: Vec<serde_json::Value> = serde_json::from_str(&json).unwrap();
        assert!(requests.iter().filter(|request| request["ending"] == "unaborted").count() >= 190);
    }
}
