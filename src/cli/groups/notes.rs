//! What there is to say below the table of groups.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    FIRST_NAMES, GROUPS, GROUPS_OF_ALL, GroupTable, REST,
    heading::moment,
    shortened,
    table::{Row, Times},
};
use crate::{
    cli::{percentile_table::short, sentence::listed},
    write::columns::grouped,
};

/// Times that are shorter are shown as 0, in milliseconds.
const LEAST_SHOWN: f64 = 0.0005;

impl GroupTable {
    /// How much of the first and of the last stretch of time the log covers, if not all.
    fn on_ends(&self) -> Option<String> {
        let ends: BTreeMap<_, _> =
            self.rows.groups.iter().filter_map(|row| Some((row.from?, row.covered_ms?))).collect();
        let ends: Vec<_> = ends
            .iter()
            .map(|(from, covered)| format!("{:.3} s of that from {}", covered / 1e3, moment(*from)))
            .collect();
        let seconds = self.rows.every_ms? / 1e3;
        (!ends.is_empty()).then(|| {
            format!(
                "Stretches are of {seconds} s. The log, or its selected part, covers only {}: their counts \
                 are of that time, and their rates per second of it.",
                listed(&ends)
            )
        })
    }

    /// Why no row of a stage waited, if none did.
    fn on_queues(&self) -> Option<String> {
        let queue = self.times.iter().find(|figure| figure.short == "queue")?;
        let mut times = self.rows.groups.iter().filter_map(|row| row.times.get(queue.name)?.as_ref());
        let first = times.next()?;
        let is_zero = |times: &Times| times.max < LEAST_SHOWN;
        (is_zero(first) && times.all(is_zero)).then(|| {
            format!(
                "queue: {} is 0 in each row. It is the time from the creation of a span to its first enter, \
                 and each span was entered at once. Where requests wait inside the span, it must record \
                 `scheduled` for a queue to show.",
                queue.name
            )
        })
    }

    /// Which groups are told apart, and where the slowest of the others is, if there are others.
    fn on_rest(&self) -> Option<String> {
        let is_rest = |row: &&Row| row.group.as_deref() == Some(REST);
        let rows = || self.rows.groups.iter();
        let slowest = |row: &&Row| row.times.get(self.times.first()?.name)?.as_ref().map(|times| times.max);
        let rest = rows().filter(is_rest).max_by(|one, other| {
            slowest(one).unwrap_or_default().total_cmp(&slowest(other).unwrap_or_default())
        })?;
        let known = rows().filter(|row| !is_rest(row)).filter_map(|row| row.group.as_deref());
        let known = known.collect::<BTreeSet<_>>().len() as u64;
        let time = slowest(&rest).map(|time| format!(" ({} ms)", short(time)));
        let of = rest.slowest_group.as_ref().map(|group| {
            let counted = if self.rows.counted == "requests" { "requests" } else { "rows" };
            let time = time.unwrap_or_default();
            format!(" The slowest of their {counted}{time} is of {}.", shortened(group))
        });
        let (pairs, fewer) = match self.rows.every_ms {
            Some(_) => (
                format!(", and {} with those of each stretch", grouped(&GROUPS_OF_ALL.to_string())),
                "Longer stretches, fewer logs",
            ),
            None => (String::new(), "Fewer logs"),
        };
        Some(format!(
            "{REST}: all groups but the {} {FIRST_NAMES}.{} To bound memory, a table has at most \
             {GROUPS} groups{pairs}. {fewer} or --where leave fewer groups; `export --format csv` \
             names the group of each request and row.",
            grouped(&known.to_string()),
            of.unwrap_or_default(),
        ))
    }

    /// What there is to say below the table.
    pub(in crate::cli) fn notes(&self) -> impl Iterator<Item = String> {
        let notes = [
            self.on_ends(),
            self.on_rates.clone(),
            self.on_rest(),
            self.on_several_logs.clone(),
            self.on_queues(),
        ];
        notes.into_iter().flatten()
    }
}
