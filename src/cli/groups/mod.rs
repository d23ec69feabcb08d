//! Lines in groups: by a key, by the time at which they end, or by both.

use std::{collections::BTreeSet, mem, time::Duration};

use crate::{
    Timestamp,
    cli::{
        argument::time,
        failure::{self, Failure},
        log_line::LogLine,
        objectives::Objectives,
    },
};

mod bounded;
mod buckets;
mod by;
mod figures;
mod heading;
mod key;
mod name;
mod notes;
mod spread;
mod table;

pub(in crate::cli) use bounded::{Grouped, Merge};
use buckets::Buckets;
pub(in crate::cli) use by::By;
pub(in crate::cli) use figures::{RequestGroups, TIMES_OF_STAGE};
pub(in crate::cli) use heading::Heading;
pub(in crate::cli) use name::{Name, REST, shortened};
pub(in crate::cli) use spread::{Percent, Spread};
pub(in crate::cli) use table::{GroupRows, GroupTable};

/// How many groups are told apart; the rest is one more, `others`.
pub(in crate::cli) const GROUPS: usize = 256;
/// Which groups these are.
pub(in crate::cli) const FIRST_NAMES: &str =
    "whose names are first in alphabetical order (numbers before texts, capital before small letters)";
/// How many groups all stretches of time have together: 16 each, if there are as many as there can be.
const GROUPS_OF_ALL: usize = 16 * buckets::LIMIT as usize;

#[derive(Debug, Default, Clone, clap::Args)]
#[command(next_help_heading = "Groups")]
pub(in crate::cli) struct GroupArgs {
    /// A group for each value: finish_reason, error, request_id, stage_name, stage_id, file, fields.NAME
    ///
    /// Of several keys, such as `stage_name,file`, a group for each combination. `file` is the log that a
    /// line or a row of a stage comes from, also after `join`. If each process writes its own log, the log
    /// stands for the process.
    ///
    /// At most 256 groups, and with --every 16,000 in all stretches together: those whose names are first in
    /// alphabetical order (numbers before texts, capital before small letters). The rest is `others`, except
    /// in `export --format csv`, which names the group of each row. The groups with the most requests come
    /// first; those of several keys or with --every are in the order of their names. For stage_name and
    /// stage_id, `summary` and `report` count rows of stages, also those of workers that are not in a
    /// request; elsewhere, a request belongs to each of its stages. Example: `omni-metrics summary --by
    /// fields.model FILE`
    #[arg(long, value_name = "KEYS", value_parser = By::parse)]
    by: Option<By>,
    /// A group for each stretch of time of this length (10s, 5m, 1h), by the end of the requests
    ///
    /// Stretches begin at full multiples of their length by the clock, in UTC (12:00, 12:05, …), not when the
    /// run begins. So the log may cover only a part of the first and of the last one; a sentence says how
    /// much. If there were more than 1,000 groups, the stretches are 2, 4, 8… times as long. With --by, a
    /// group for each pair. Example: `omni-metrics summary --every 10s --by finish_reason FILE`
    #[arg(long, value_name = "SPAN", value_parser = width)]
    every: Option<Duration>,
}

impl GroupArgs {
    /// How lines are to be grouped, if at all.
    pub(in crate::cli) fn grouping(&self) -> Option<Grouping> {
        let Self { by, every } = self;
        let width = every.map(|every| u64::try_from(every.as_micros()).unwrap_or(u64::MAX));
        (by.is_some() || every.is_some()).then(|| Grouping { by: by.clone(), width })
    }
}

fn width(text: &str) -> Result<Duration, String> {
    match time(text)? {
        width if width >= Duration::from_millis(1) => Ok(width),
        _ => Err("expected a millisecond or more".to_owned()),
    }
}

/// How lines are grouped. By default, all are one group.
#[derive(Debug, Clone, Default)]
pub(in crate::cli) struct Grouping {
    pub(in crate::cli) by: Option<By>,
    /// The length of the stretches of time, in microseconds.
    pub(in crate::cli) width: Option<u64>,
}

impl Grouping {
    /// Whether rows of stages are counted rather than requests.
    pub(in crate::cli) fn is_of_stages(&self) -> bool {
        self.by.as_ref().is_some_and(By::is_of_stages)
    }

    /// Whether all lines are one group.
    pub(in crate::cli) fn is_whole(&self) -> bool {
        self.by.is_none() && self.width.is_none()
    }

    /// Refuses objectives where rows of stages are counted.
    pub(in crate::cli) fn check(&self, objectives: &Objectives) -> failure::Result<()> {
        if objectives.slo.is_empty() || !self.is_of_stages() {
            return Ok(());
        }
        Err(Failure::Io(format!(
            "--slo counts requests, and the rows of --by {} are of stages: choose another key, or requests \
             with --where",
            self.title()
        )))
    }

    /// What stands above the names of groups in a table.
    pub(in crate::cli) fn title(&self) -> String {
        let from = self.width.map(|_| "from".to_owned());
        from.into_iter().chain(self.by.as_ref().map(ToString::to_string)).collect::<Vec<_>>().join(", ")
    }

    /// When the stretch of time begins that a moment lies in, if there are several.
    pub(in crate::cli) fn start_of(&self, timestamp: Timestamp) -> Option<Timestamp> {
        let width = self.width?;
        let start = timestamp.unix_micros().checked_div(width)?.saturating_mul(width);
        Some(Timestamp::from_unix_micros(start))
    }

    /// The names of the groups that a line belongs to; an absent one if lines are grouped by time only.
    pub(in crate::cli) fn names(&self, line: &LogLine) -> Vec<Name> {
        self.by.as_ref().map_or_else(|| vec![Name::Absent], |by| by.of_line(line))
    }

    /// What is to be said of the groups: that the stretches of time are longer than those that were asked
    /// for, and that no line has the field.
    pub(in crate::cli) fn remarks(&self, width: u64) -> Vec<String> {
        let seconds = |micros: u64| micros as f64 / 1e6;
        let asked = self.width.filter(|asked| *asked != width);
        let longer = asked.map(|asked| {
            let (asked, every) = (seconds(asked), seconds(width));
            format!("stretches of {asked} s would be more than 1000 rows; these are of {every} s")
        });
        let absent = self.by.iter().flat_map(By::missing);
        longer.into_iter().chain(absent).collect()
    }
}

/// The groups of a line of this time with these names: if none of them is told apart, that of the rest.
pub(in crate::cli) fn groups_of<T>(
    mut groups: Vec<Group<T>>,
    timestamp: Timestamp,
    names: &[Name],
) -> Vec<Group<T>> {
    let micros = timestamp.unix_micros();
    groups.retain(|group| group.stretch.is_none_or(|(start, end)| (start..end).contains(&micros)));
    let is_named =
        |group: &Group<T>| !group.is_rest && group.name.as_ref().is_none_or(|name| names.contains(name));
    let are_named = groups.iter().any(is_named);
    groups.retain(|group| if are_named { is_named(group) } else { group.is_rest });
    groups
}

/// Values in the groups of a [`Grouping`], in bounded memory.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Groups<T> {
    buckets: Buckets<Grouped<Name, T>>,
    /// How many groups are told apart. This never rises.
    limit: usize,
}

/// One group: the stretch of time, the name, and the value.
#[derive(Debug)]
pub(in crate::cli) struct Group<T> {
    /// The stretch of time, in microseconds since the Unix epoch, if there are several.
    pub(in crate::cli) stretch: Option<(u64, u64)>,
    /// `None` if lines are not grouped by a key, or for the rest.
    pub(in crate::cli) name: Option<Name>,
    pub(in crate::cli) is_rest: bool,
    pub(in crate::cli) value: T,
}

impl<T> Group<T> {
    /// The name, or `others`; `None` if lines are grouped by time only.
    pub(in crate::cli) fn label(&self) -> Option<String> {
        self.name.as_ref().map(Name::to_string).or_else(|| self.is_rest.then(|| REST.to_owned()))
    }

    pub(in crate::cli) fn from(&self) -> Option<Timestamp> {
        self.stretch.map(|(start, _)| Timestamp::from_unix_micros(start))
    }

    pub(in crate::cli) fn until(&self) -> Option<Timestamp> {
        self.stretch.map(|(_, end)| Timestamp::from_unix_micros(end))
    }

    pub(in crate::cli) fn heading(&self, grouping: &Grouping) -> Heading {
        let by = grouping.by.as_ref().map(ToString::to_string);
        Heading { by, from: self.from(), until: self.until(), group: self.label() }
    }
}

impl<T: Default + Merge> Groups<T> {
    pub(in crate::cli) fn new(grouping: &Grouping) -> Self {
        Self { buckets: Buckets::new(grouping.width.unwrap_or(u64::MAX)), limit: GROUPS }
    }

    /// The value of a group. Without a key, there is one group for a stretch of time.
    pub(in crate::cli) fn at(&mut self, timestamp: Timestamp, name: Option<Name>) -> &mut T {
        let limit = self.limit;
        self.buckets.at(timestamp.unix_micros(), || Grouped::new(limit));
        self.settle();
        let limit = self.limit;
        let groups = self.buckets.at(timestamp.unix_micros(), || Grouped::new(limit));
        groups.at(name.unwrap_or(Name::Absent))
    }

    pub(in crate::cli) fn merge(&mut self, other: &mut Self) {
        let (width, limit) = (other.buckets.width(), self.limit);
        self.buckets.merge(mem::replace(&mut other.buckets, Buckets::new(width)), || Grouped::new(limit));
        self.settle();
    }

    /// Tells fewer groups apart if there are more stretches. So the smallest names that remain have all their
    /// values, in whatever order lines were added.
    fn settle(&mut self) {
        let stretches = usize::try_from(self.buckets.count()).unwrap_or(usize::MAX);
        let limit = self.limit.min(GROUPS_OF_ALL / stretches.max(1));
        if limit < self.limit {
            self.limit = limit;
            self.buckets.values_mut().for_each(|groups| groups.limit_to(limit));
        }
    }

    /// The length of the stretches of time, in microseconds.
    pub(in crate::cli) fn width(&self) -> u64 {
        self.buckets.width()
    }

    /// The groups, by time and then by name, the rest last. The same names are told apart in all stretches.
    pub(in crate::cli) fn into_groups(self, grouping: &Grouping) -> Vec<Group<T>> {
        let (width, limit) = (self.buckets.width(), self.limit);
        let names: BTreeSet<Name> =
            self.buckets.iter().flat_map(|(_, groups)| groups.names().cloned()).collect();
        let kept: BTreeSet<Name> = names.into_iter().take(limit).collect();
        let mut all = Vec::new();
        for (start, groups) in self.buckets.into_stretches() {
            let stretch = grouping.width.map(|_| (start, start.saturating_add(width)));
            let (known, mut rest) = groups.into_parts();
            for (name, value) in known {
                if kept.contains(&name) {
                    let name = grouping.by.as_ref().map(|_| name);
                    all.push(Group { stretch, name, is_rest: false, value });
                } else {
                    rest.get_or_insert_default().merge(value);
                }
            }
            all.extend(rest.map(|value| Group { stretch, name: None, is_rest: true, value }));
        }
        all
    }
}
