//! The latency of the requests of both logs, group by group.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{
    bins::Bins,
    change::{Change, decide},
    sample::{Estimate, Sample},
};
use crate::cli::groups::{By, Grouped, Merge, Name, Percent, REST};

/// The percentiles that are compared if none are chosen.
pub(super) const USUAL: [Percent; 2] = [Percent::P50, Percent::P99];

/// How many groups are told apart.
const GROUPS: usize = 64;

/// What a group of a stage is, as opposed to a row of `summary --by stage_name`.
const OF_STAGES: &str = "e2e: the time end to end of the requests that have a row of the stage, not the \
                         stage's own time. That is in the figures of the stage, such as gen@1, queue@1 and \
                         first_output@1 of stage 1 (--all shows each of them), and in `summary --by \
                         stage_name`.";

/// The latencies of a block of time, by group. Of each block, the groups whose names come first are kept,
/// and so the same ones of all blocks.
#[derive(Debug)]
pub(super) struct Latencies(Grouped<Name, Bins>);

/// The groups of a comparison.
#[derive(Debug, Serialize)]
pub(super) struct ByGroup {
    by: String,
    #[serde(skip)]
    is_of_stages: bool,
    pub(super) groups: Vec<Group>,
}

/// A group in both logs.
#[derive(Debug, Serialize)]
pub(super) struct Group {
    pub(super) group: String,
    pub(super) requests_before: u64,
    pub(super) requests_after: u64,
    /// Of `e2e_total_ms`.
    #[serde(flatten)]
    pub(super) percentiles: BTreeMap<Percent, Change>,
}

impl Default for Latencies {
    fn default() -> Self {
        Self(Grouped::new(GROUPS))
    }
}

impl Latencies {
    /// Adds a latency, in nanoseconds, to each of the groups.
    pub(super) fn add(&mut self, groups: Vec<Name>, latency: u64, weight: u64) {
        groups.into_iter().for_each(|group| self.0.at(group).add(latency, weight));
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.0.merge(other.0);
    }

    /// The groups with these names, and under `None` all others.
    fn into_known(self, names: &BTreeSet<Name>) -> BTreeMap<Option<Name>, Bins> {
        let (known, rest) = self.0.into_parts();
        let mut found = BTreeMap::<_, Bins>::new();
        rest.into_iter().for_each(|bins| drop(found.insert(None, bins)));
        for (name, bins) in known {
            let name = names.contains(&name).then_some(name);
            found.entry(name).or_default().merge(&bins);
        }
        found
    }
}

impl Merge for Bins {
    fn merge(&mut self, other: Self) {
        Self::merge(self, &other);
    }
}

impl ByGroup {
    /// Takes the groups out of the blocks of both samples. The largest groups come first, and the rest last.
    pub(super) fn of(by: &By, percents: &[Percent], before: &mut Sample, after: &mut Sample) -> Self {
        let blocks = || before.blocks.iter().chain(&after.blocks);
        let names: BTreeSet<Name> = blocks().flat_map(|at| at.block.groups.0.names().cloned()).collect();
        let names = names.into_iter().take(GROUPS).collect();
        let [before, after] = [before, after].map(|sample| {
            let groups = sample.blocks.iter_mut().map(|at| std::mem::take(&mut at.block.groups));
            let groups: Vec<_> = groups.map(|groups| groups.into_known(&names)).collect();
            (&*sample, groups)
        });
        let all: BTreeSet<_> = before.1.iter().chain(&after.1).flat_map(BTreeMap::keys).cloned().collect();
        let mut groups: Vec<_> =
            all.into_iter().map(|name| Group::of(name, percents, [&before, &after])).collect();
        groups.sort_by_key(|(is_rest, group)| {
            (*is_rest, u64::MAX - group.requests_before.saturating_add(group.requests_after))
        });
        let mut groups: Vec<_> = groups.into_iter().map(|(_, group)| group).collect();
        let changes = groups.iter_mut().flat_map(|group| group.percentiles.values_mut());
        decide(&mut changes.collect::<Vec<_>>());
        Self { by: by.to_string(), is_of_stages: by.is_of_stages(), groups }
    }

    /// How many changes of percentiles are known, and how many of them are more than chance.
    pub(super) fn counts(&self) -> (usize, usize) {
        let changes = self.groups.iter().flat_map(Group::changes);
        let known: Vec<_> = changes.filter_map(|change| change.is_changed).collect();
        (known.len(), known.iter().filter(|is_changed| **is_changed).count())
    }

    pub(super) fn name(&self) -> &str {
        &self.by
    }

    /// Of which time the percentiles are, if the names of the groups are those of stages.
    pub(super) fn note(&self) -> Option<&'static str> {
        self.is_of_stages.then_some(OF_STAGES)
    }
}

/// A sample, and the groups of each of its blocks.
type Log<'a> = (&'a Sample, Vec<BTreeMap<Option<Name>, Bins>>);

impl Group {
    /// The group, and whether it is that of all others.
    fn of(name: Option<Name>, percents: &[Percent], logs: [&Log<'_>; 2]) -> (bool, Self) {
        let found = logs.map(|(sample, groups)| {
            let bins: Vec<_> = groups.iter().map(|groups| groups.get(&name)).collect();
            let requests = bins.iter().flatten().map(|bins| bins.count).fold(0, u64::saturating_add);
            (requests, sample.spread(&bins, percents))
        });
        let [(requests_before, before), (requests_after, after)] = found;
        let change = |at: usize| {
            let of = |found: &Option<(_, Vec<Estimate>)>| {
                let (_, percentiles) = found.as_ref()?;
                Some(percentiles.get(at)?.times(1e-6))
            };
            Change::new(of(&before), of(&after))
        };
        let group = name.as_ref().map_or_else(|| REST.to_owned(), Name::to_string);
        let percentiles = percents.iter().enumerate().map(|(at, percent)| (*percent, change(at))).collect();
        (name.is_none(), Self { group, requests_before, requests_after, percentiles })
    }

    pub(super) fn changes(&self) -> impl Iterator<Item = &Change> {
        self.percentiles.values()
    }
}
