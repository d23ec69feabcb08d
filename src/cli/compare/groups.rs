//! The time end to end of the requests of both logs, or the times of their stages, group by group.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{
    bins::Bins,
    change::{Change, decide},
    comparison::Measure,
    sample::{Estimate, Sample},
    shown::cells,
    undecided::Undecided,
};
use crate::{
    Millis, RequestLine,
    cli::{
        amount::amount,
        groups::{By, FIRST_NAMES, GROUPS, Grouped, Merge, Name, Percent, REST, TIMES_OF_STAGE, shortened},
        log_line::LogLine,
        quantity::short,
    },
};

/// The percentiles that are compared if none are chosen.
pub(super) const USUAL: [Percent; 2] = [Percent::P50, Percent::P99];

/// How many groups the text and the page show, unless all are asked for.
const SHOWN: usize = 64;

/// The times of a block, by group. Of each block, the groups with the smallest names are kept, and so the
/// same ones of all blocks.
#[derive(Debug)]
pub(super) struct Times(Grouped<Name, TimesOfGroup>);

/// The times of a group in a block.
#[derive(Debug, Default)]
struct TimesOfGroup {
    /// Requests, or rows of stages.
    count: u64,
    /// The time end to end, or those of a stage.
    bins: [Bins; TIMES_OF_STAGE.len()],
}

/// The groups of a comparison.
#[derive(Debug, Serialize)]
pub(super) struct ByGroup {
    by: String,
    #[serde(skip)]
    is_of_stages: bool,
    pub(super) groups: Vec<Group>,
    /// What a group of several logs is, if there is one.
    #[serde(skip)]
    on_several_logs: Option<String>,
}

/// A group in both logs.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) group: String,
    is_of_stages: bool,
    /// Requests, or rows of stages.
    pub(super) counts: [u64; 2],
    pub(super) times: Vec<TimeOfGroup>,
}

/// The percentiles of a time of a group.
#[derive(Debug)]
pub(super) struct TimeOfGroup {
    /// The key of the number.
    name: &'static str,
    pub(super) percentiles: BTreeMap<Percent, Change>,
}

impl Default for Times {
    fn default() -> Self {
        Self(Grouped::new(GROUPS))
    }
}

impl Times {
    /// Adds a request to its group, or its rows to those of their stages.
    pub(super) fn add(&mut self, by: &By, line: &LogLine, request: &RequestLine) {
        let weight = request.weight();
        if !by.is_of_stages() {
            let e2e = request.e2e_table.e2e_total_ms;
            self.0.at(by.name(line, None)).add([Some(e2e)].into_iter(), weight);
            return;
        }
        for row in &request.stage_table {
            let times = TIMES_OF_STAGE.iter().map(|(_, get)| get(row));
            self.0.at(by.name(line, Some(row))).add(times, weight);
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.0.merge(other.0);
    }

    /// The groups with these names, and under `None` all others.
    fn into_known(self, names: &BTreeSet<Name>) -> BTreeMap<Option<Name>, TimesOfGroup> {
        let (known, rest) = self.0.into_parts();
        let mut found = BTreeMap::<_, TimesOfGroup>::new();
        rest.into_iter().for_each(|times| drop(found.insert(None, times)));
        for (name, times) in known {
            let name = names.contains(&name).then_some(name);
            found.entry(name).or_default().merge(times);
        }
        found
    }
}

impl TimesOfGroup {
    fn add(&mut self, times: impl Iterator<Item = Option<Millis>>, weight: u64) {
        self.count = self.count.saturating_add(weight);
        for (bins, time) in self.bins.iter_mut().zip(times) {
            time.into_iter().for_each(|time| bins.add(time.as_nanos(), weight));
        }
    }
}

impl Merge for TimesOfGroup {
    fn merge(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        self.bins.iter_mut().zip(&other.bins).for_each(|(ours, theirs)| ours.merge(theirs));
    }
}

impl ByGroup {
    /// Takes the groups out of the blocks of both samples. The largest groups come first, and the rest last.
    pub(super) fn of(by: &By, percents: &[Percent], before: &mut Sample, after: &mut Sample) -> Self {
        let times: Vec<_> = match by.is_of_stages() {
            true => TIMES_OF_STAGE.iter().map(|(time, _)| (time.name, time.shown.of(percents))).collect(),
            false => vec![("e2e_total_ms", percents)],
        };
        let blocks = || before.blocks.iter().chain(&after.blocks);
        let names: BTreeSet<Name> = blocks().flat_map(|at| at.block.groups.0.names().cloned()).collect();
        let names = names.into_iter().take(GROUPS).collect();
        let [before, after] = [before, after].map(|sample| {
            let groups = sample.blocks.iter_mut().map(|at| std::mem::take(&mut at.block.groups));
            let groups: Vec<_> = groups.map(|groups| groups.into_known(&names)).collect();
            (&*sample, groups)
        });
        let all: BTreeSet<_> = before.1.iter().chain(&after.1).flat_map(BTreeMap::keys).cloned().collect();
        let on_several_logs = by.on_several_logs(all.iter().flatten());
        let mut groups: Vec<_> =
            all.into_iter().map(|name| Group::of(name, &times, [&before, &after])).collect();
        groups.sort_by_key(|(is_rest, group)| {
            let [before, after] = group.counts;
            (*is_rest, u64::MAX - before.saturating_add(after))
        });
        let mut groups: Vec<_> = groups.into_iter().map(|(_, group)| group).collect();
        let changes = groups.iter_mut().flat_map(|group| &mut group.times);
        let changes = changes.flat_map(|time| time.percentiles.values_mut());
        decide(&mut changes.collect::<Vec<_>>());
        Self { by: by.to_string(), is_of_stages: by.is_of_stages(), groups, on_several_logs }
    }

    /// How many percentiles have an interval, how many of these changed, and what is known of the others.
    pub(super) fn conclusion(&self) -> String {
        let rows = || {
            let groups = self.groups.iter();
            groups.flat_map(|group| group.percentiles().map(move |percentile| (group, percentile)))
        };
        let shown = || rows().filter(|(_, (.., change))| cells(change, Measure::Time).is_some());
        let undecided = Undecided::of(rows().map(|(group, (number, percent, change))| {
            (format!("{} {number} {percent}", shortened(&group.group)), change, Measure::Time)
        }));
        let (all, changed) =
            (shown().count(), shown().filter(|(_, (.., change))| change.is_changed == Some(true)).count());
        let known = match all - undecided.count() {
            0 => "none has an interval.".to_owned(),
            known => format!(
                "{} an interval, and {changed} of these changed; the probability that chance marks any is \
                 at most 5 %.",
                amount(known as u64, "has", "have"),
            ),
        };
        let others = undecided.sentence("percentile", "percentiles").map(|text| format!(" {text}"));
        format!(
            "Of {} of groups, {known}{}",
            amount(all as u64, "percentile", "percentiles"),
            others.unwrap_or_default()
        )
    }

    /// Of many groups, those that changed, and those that differ most.
    pub(super) fn shown(&self, is_all: bool) -> Vec<&Group> {
        let mut groups: Vec<_> = self.groups.iter().enumerate().collect();
        if !is_all {
            groups.sort_by(|(_, one), (_, other)| {
                let ((is_changed, size), (has_changed, most)) = (one.difference(), other.difference());
                has_changed.cmp(&is_changed).then(most.total_cmp(&size))
            });
            groups.truncate(SHOWN);
            groups.sort_by_key(|(at, _)| *at);
        }
        groups.into_iter().map(|(_, group)| group).collect()
    }

    /// What there is to say below the table.
    pub(super) fn notes(&self, is_all: bool) -> impl Iterator<Item = String> {
        let (shown, all) = (self.shown(is_all).len(), self.groups.len());
        let few = (shown < all).then(|| {
            format!(
                "These are {shown} of {all} groups: those that changed, and those that differ most. `--all`, \
                 `--json` and `--csv` show all."
            )
        });
        let rest = self.groups.iter().any(|group| group.group == REST).then(|| {
            format!(
                "{REST}: all groups but the {GROUPS} {FIRST_NAMES}. To bound memory, at most these \
                 are told apart; fewer logs or --where leave fewer groups."
            )
        });
        few.into_iter().chain(rest).chain(self.on_several_logs.clone())
    }

    pub(super) fn name(&self) -> &str {
        &self.by
    }

    /// What the groups count.
    pub(super) fn counted(&self) -> &'static str {
        counted(self.is_of_stages)
    }
}

fn counted(is_of_stages: bool) -> &'static str {
    if is_of_stages { "rows" } else { "requests" }
}

/// A sample, and the groups of each of its blocks.
type Log<'a> = (&'a Sample, Vec<BTreeMap<Option<Name>, TimesOfGroup>>);

impl Group {
    /// The group, and whether it is that of all others.
    fn of(name: Option<Name>, times: &[(&'static str, &[Percent])], logs: [&Log<'_>; 2]) -> (bool, Self) {
        let counts = logs.map(|(_, blocks)| {
            let counts = blocks.iter().filter_map(|groups| groups.get(&name)).map(|times| times.count);
            counts.fold(0, u64::saturating_add)
        });
        let time = |(at, (number, percents)): (usize, &(&'static str, &[Percent]))| {
            let [before, after] = logs.map(|(sample, blocks)| {
                let bins: Vec<_> = blocks.iter().map(|groups| groups.get(&name)?.bins.get(at)).collect();
                sample.spread(&bins, percents)
            });
            let of = |found: &Option<(_, Vec<Estimate>)>, percent: usize| {
                let (_, percentiles) = found.as_ref()?;
                Some(percentiles.get(percent)?.times(1e-6))
            };
            let change =
                |(at, percent): (usize, &Percent)| (*percent, Change::new(of(&before, at), of(&after, at)));
            TimeOfGroup { name: number, percentiles: percents.iter().enumerate().map(change).collect() }
        };
        let is_of_stages = times.len() > 1;
        let times = times.iter().enumerate().map(time).collect();
        let group = name.as_ref().map_or_else(|| REST.to_owned(), Name::to_string);
        (name.is_none(), Self { group, is_of_stages, counts, times })
    }

    /// Whether any percentile is known to have changed, and the largest difference of one, in milliseconds.
    fn difference(&self) -> (bool, f64) {
        let is_changed = self.changes().any(|change| change.is_changed == Some(true));
        let sizes = self.changes().filter_map(|change| Some(change.difference?.abs()));
        (is_changed, sizes.fold(0.0, f64::max))
    }

    pub(super) fn changes(&self) -> impl Iterator<Item = &Change> {
        self.times.iter().flat_map(|time| time.percentiles.values())
    }

    /// The percentiles, each with the short name of its number.
    pub(super) fn percentiles(&self) -> impl Iterator<Item = (&'static str, &Percent, &Change)> {
        self.times.iter().flat_map(|TimeOfGroup { name, percentiles }| {
            percentiles.iter().map(|(percent, change)| (short(name), percent, change))
        })
    }
}

impl Serialize for Group {
    /// The times of stages have the keys of `summary --json --by`; the time end to end has none.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { group, is_of_stages, counts: [before, after], times } = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("group", group)?;
        let counted = counted(*is_of_stages);
        map.serialize_entry(&format!("{counted}_before"), before)?;
        map.serialize_entry(&format!("{counted}_after"), after)?;
        for TimeOfGroup { name, percentiles } in times {
            if *is_of_stages {
                map.serialize_entry(name, percentiles)?;
                continue;
            }
            for (percent, change) in percentiles {
                map.serialize_entry(percent, change)?;
            }
        }
        map.end()
    }
}
