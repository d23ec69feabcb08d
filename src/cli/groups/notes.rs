//! What there is to say below the table of groups.

use std::collections::BTreeMap;

use super::{GroupTable, heading::moment, table::Times};
use crate::cli::sentence::listed;

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
                "Stretches are of {seconds} s. The log, as far as it is selected, covers {} only: their \
                 counts are of that time, and their rates per second of it.",
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
                "queue: {} is 0 in each row, since each span was entered when it was created. Where requests \
                 wait inside the span, it must record `scheduled` for a queue to show.",
                queue.name
            )
        })
    }

    /// What there is to say below the table.
    pub(in crate::cli) fn notes(&self) -> impl Iterator<Item = String> {
        self.on_ends().into_iter().chain(self.on_queues())
    }
}
