//! The requests of a log, in blocks of time.
//!
//! Requests that are served at the same time share queues and disturbances, so they are no independent
//! observations. Blocks that are much longer than a request are nearly independent of each other. How much
//! the figures differ from block to block is what their uncertainty is computed from.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    bins::Bins,
    distribution::Latencies,
    groups,
    metric::{Place, each_row, numbers},
};
use crate::{
    Line, RequestLine,
    cli::{
        critical_path::critical_path,
        groups::By,
        log_line::LogLine,
        objectives::{ObjectiveCounts, Objectives},
        stage_names::StageNames,
        tally::Tally,
        timeline::{Part, Timeline},
    },
    model::keep::is_failed,
};

/// How many blocks a log has at most; it has more than half as many if its requests are spread evenly.
const LIMIT: usize = 32;
/// How many stages are compared, and how many edges: those with the smallest ids.
const PLACES: usize = 16;
/// Blocks are at least this many times as long as the mean request, as long as there are enough of them.
const REQUESTS_LONG: u64 = 8;
/// With fewer blocks, their differences say too little of the uncertainty.
pub(super) const ENOUGH: usize = 8;

/// All requests of a log, by the block of time in which they ended.
#[derive(Debug)]
pub(super) struct Blocks {
    /// A block is two to the power of this many microseconds long. They begin at its multiples, so the blocks
    /// of all parts of a log agree.
    shift: u32,
    blocks: BTreeMap<u64, Block>,
    stages: BTreeSet<Place>,
    edges: BTreeSet<Place>,
    objectives: ObjectiveCounts,
    by: Option<By>,
    latencies: Latencies,
    names: StageNames,
}

/// The requests that ended in one block of time.
#[derive(Debug, Default)]
pub(super) struct Block {
    pub(super) lines: u64,
    /// The sum of the weights of the lines.
    pub(super) requests: u64,
    pub(super) tokens: u64,
    pub(super) failed: u64,
    pub(super) e2e_nanos: u128,
    pub(super) objectives: ObjectiveCounts,
    pub(super) numbers: BTreeMap<Place, Vec<Bins>>,
    pub(super) groups: groups::Times,
    /// Nanoseconds of all requests, by part of the critical path.
    pub(super) parts: Tally<Part>,
    /// In nanoseconds: the first creation and the last end of a request.
    first: Option<u64>,
    last: u64,
}

impl Blocks {
    pub(super) fn new(objectives: &Objectives, by: Option<&By>) -> Self {
        Self {
            shift: 0,
            blocks: BTreeMap::new(),
            stages: BTreeSet::new(),
            edges: BTreeSet::new(),
            objectives: ObjectiveCounts::new(objectives),
            by: by.cloned(),
            latencies: Latencies::default(),
            names: StageNames::default(),
        }
    }

    pub(super) fn names(&self) -> &StageNames {
        &self.names
    }

    pub(super) fn add(&mut self, line: &LogLine) {
        self.names.add(&line.line);
        let log_line = line;
        let Line::Request(line) = &line.line else { return };
        self.admit_places(line);
        self.latencies.add(line.e2e_table.e2e_total_ms, line.weight());
        let (stages, edges, objectives) = (&self.stages, &self.edges, &self.objectives);
        let key = line.timestamp.unix_micros() >> self.shift;
        let block = self.blocks.entry(key).or_insert_with(|| Block::new(objectives));
        block.add(line, |place| place == Place::Request || stages.contains(&place) || edges.contains(&place));
        if let Some(by) = &self.by {
            block.groups.add(by, log_line, line);
        }
        self.limit();
    }

    /// How all requests stand to the objectives.
    pub(super) fn objectives(&self) -> ObjectiveCounts {
        let mut whole = self.objectives.clone();
        self.blocks.values().for_each(|block| whole.merge(&block.objectives));
        whole
    }

    pub(super) fn merge(&mut self, other: &mut Self) {
        let shift = self.shift.max(other.shift);
        self.coarsen(shift);
        other.coarsen(shift);
        for (key, block) in std::mem::take(&mut other.blocks) {
            self.blocks.entry(key).or_insert_with(|| Block::new(&self.objectives)).merge(block);
        }
        self.latencies.merge(&other.latencies);
        self.names.merge(&other.names);
        other.stages.iter().chain(&other.edges).for_each(|place| self.admit(*place));
        self.drop_strangers();
        self.limit();
    }

    fn admit_places(&mut self, line: &RequestLine) {
        line.stage_table.iter().for_each(|row| self.admit(Place::Stage(row.order())));
        line.transfer_table.iter().for_each(|row| self.admit(Place::Edge(row.order())));
    }

    /// Adds a stage or an edge to those that are compared. The largest one makes room for it; it does not
    /// come back, since all others are smaller.
    fn admit(&mut self, place: Place) {
        let places = if matches!(place, Place::Stage(_)) { &mut self.stages } else { &mut self.edges };
        if places.insert(place)
            && places.len() > PLACES
            && let Some(largest) = places.pop_last()
        {
            self.blocks.values_mut().for_each(|block| {
                block.numbers.remove(&largest);
            });
        }
    }

    /// Removes numbers of stages and edges that are not compared.
    fn drop_strangers(&mut self) {
        let (stages, edges) = (&self.stages, &self.edges);
        for block in self.blocks.values_mut() {
            block.numbers.retain(|place, _| {
                *place == Place::Request || stages.contains(place) || edges.contains(place)
            });
        }
    }

    fn limit(&mut self) {
        while self.blocks.len() > LIMIT {
            self.coarsen(self.shift + 1);
        }
    }

    /// Makes blocks longer, and puts those together that become one.
    fn coarsen(&mut self, shift: u32) {
        let by = shift.saturating_sub(self.shift);
        if by == 0 {
            return;
        }
        self.shift = shift;
        let mut coarse = BTreeMap::<u64, Block>::new();
        for (key, block) in std::mem::take(&mut self.blocks) {
            match coarse.get_mut(&key.checked_shr(by).unwrap_or(0)) {
                Some(coarse) => coarse.merge(block),
                None => {
                    coarse.insert(key.checked_shr(by).unwrap_or(0), block);
                }
            }
        }
        self.blocks = coarse;
    }

    /// From the first creation to the last end of a request, in nanoseconds, if there is one.
    pub(super) fn span(&self) -> Option<[u64; 2]> {
        let begin = self.blocks.values().filter_map(|block| block.first).min()?;
        Some([begin, self.blocks.values().map(|block| block.last).max()?])
    }

    /// The blocks, long enough for the requests of this log, which covers the time from `begin` to `end`.
    pub(super) fn into_settled(mut self, [begin, end]: [u64; 2]) -> Settled {
        // A share of failed requests only would say nothing of the objectives.
        if self.blocks.values().all(|block| !block.objectives.has_values()) {
            self.blocks.values_mut().for_each(|block| block.objectives = ObjectiveCounts::default());
        }
        let requests: u128 = self.blocks.values().map(|block| u128::from(block.requests)).sum();
        let nanos: u128 = self.blocks.values().map(|block| block.e2e_nanos).sum();
        let mean_micros = (nanos / requests.max(1) / 1_000) as u64;
        let wanted = mean_micros.saturating_mul(REQUESTS_LONG);
        while self.blocks.len() >= 2 * ENOUGH
            && 1_u64.checked_shl(self.shift).is_some_and(|long| long < wanted)
        {
            self.coarsen(self.shift + 1);
        }
        let (count, shift, mut before) = (self.blocks.len(), self.shift, begin);
        let settled = self.blocks.into_iter().enumerate().map(|(at, (key, block))| {
            let edge = ((u128::from(key) + 1) << shift) * 1_000;
            let edge = u64::try_from(edge).unwrap_or(u64::MAX).clamp(before, end.max(before));
            let edge = if at + 1 == count { end.max(before) } else { edge };
            let nanos = edge.saturating_sub(before);
            before = edge;
            TimeBlock { key, nanos, block }
        });
        Settled {
            micros: 1_u64.checked_shl(shift).unwrap_or(u64::MAX),
            blocks: settled.collect(),
            latencies: self.latencies,
        }
    }
}

/// The blocks of a whole log, in order.
#[derive(Debug)]
pub(super) struct Settled {
    /// How long each block is.
    pub(super) micros: u64,
    pub(super) blocks: Vec<TimeBlock>,
    pub(super) latencies: Latencies,
}

/// A block, and when it was.
#[derive(Debug)]
pub(super) struct TimeBlock {
    /// Two blocks with successive keys follow each other.
    pub(super) key: u64,
    /// From the end of the block before it, which may not be the one just before, to its own. These lengths
    /// add up to the time that the log covers.
    pub(super) nanos: u64,
    pub(super) block: Block,
}

impl Block {
    fn new(objectives: &ObjectiveCounts) -> Self {
        Self { objectives: objectives.clone(), ..Self::default() }
    }

    fn add(&mut self, line: &RequestLine, is_compared: impl Fn(Place) -> bool) {
        let (e2e, weight) = (&line.e2e_table, line.weight());
        self.lines += 1;
        self.requests = self.requests.saturating_add(weight);
        self.tokens = self.tokens.saturating_add(e2e.e2e_total_tokens.saturating_mul(weight));
        self.failed += if is_failed(e2e) { weight } else { 0 };
        self.e2e_nanos += u128::from(e2e.e2e_total_ms.as_nanos()) * u128::from(weight);
        self.objectives.add(line);
        let end = line.timestamp.unix_micros().saturating_mul(1_000);
        let created = end.saturating_sub(e2e.e2e_total_ms.as_nanos());
        self.first = Some(self.first.map_or(created, |first| first.min(created)));
        self.last = self.last.max(end);
        for interval in critical_path(&Timeline::of(line)) {
            self.parts.add(&interval.part, u128::from(interval.length()) * u128::from(weight));
        }
        each_row(line, |place, values| {
            if !is_compared(place) {
                return;
            }
            let new = || vec![Bins::default(); numbers(place).len()];
            let bins = self.numbers.entry(place).or_insert_with(new);
            for (at, value) in values {
                bins.get_mut(at).into_iter().for_each(|bins| bins.add(value, weight));
            }
        });
    }

    fn merge(&mut self, other: Self) {
        self.lines += other.lines;
        self.requests = self.requests.saturating_add(other.requests);
        self.tokens = self.tokens.saturating_add(other.tokens);
        self.failed += other.failed;
        self.e2e_nanos += other.e2e_nanos;
        self.objectives.merge(&other.objectives);
        self.parts.merge(&other.parts);
        self.first = self.first.into_iter().chain(other.first).min();
        self.last = self.last.max(other.last);
        self.groups.merge(other.groups);
        for (place, theirs) in other.numbers {
            match self.numbers.get_mut(&place) {
                Some(ours) => ours.iter_mut().zip(&theirs).for_each(|(ours, theirs)| ours.merge(theirs)),
                None => drop(self.numbers.insert(place, theirs)),
            }
        }
    }

    /// The values of a number.
    pub(super) fn number(&self, place: Place, at: usize) -> Option<&Bins> {
        self.numbers.get(&place)?.get(at)
    }

    /// Requests that met all objectives, and requests that are judged by them.
    pub(super) fn met(&self) -> Option<(u64, u64)> {
        self.objectives.met_and_judged()
    }
}
