//! Stages of several processes, which a replay takes for one.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use super::station::Station;
use crate::{Line, cli::log_line::LogLine, model::id::OrderedId};

/// The hash of the log of each row of a stage.
pub(super) type RowLogs = Vec<(OrderedId, u64)>;

pub(super) fn row_logs(line: &LogLine) -> RowLogs {
    let Line::Request(request) = &line.line else { return Vec::new() };
    let rows = request.stage_table.iter();
    rows.map(|row| {
        let mut hasher = DefaultHasher::new();
        line.origin(Some(row)).hash(&mut hasher);
        (row.order(), hasher.finish())
    })
    .collect()
}

/// The log of each stage, or `None` if it has several.
#[derive(Debug, Default)]
pub(super) struct Processes(BTreeMap<OrderedId, Option<u64>>);

impl Processes {
    pub(super) fn add(&mut self, logs: RowLogs) {
        for (stage, log) in logs {
            let known = self.0.entry(stage).or_insert(Some(log));
            *known = known.filter(|known| *known == log);
        }
    }

    /// What a replay does not know of the stages with several logs.
    pub(super) fn remark(&self, stations: &BTreeMap<OrderedId, Station>) -> Option<String> {
        let several = self.0.iter().filter(|(_, log)| log.is_none());
        let names = several.filter_map(|(stage, _)| Some(stations.get(stage)?.called(*stage)));
        let names: Vec<_> = names.collect();
        let (stages, have) = if names.len() == 1 { ("Stage", "has") } else { ("Stages", "have") };
        (!names.is_empty()).then(|| {
            format!(
                "{stages} {} {have} rows of several logs. If each is of a process with a queue of its own, \
                 requests may wait longer than predicted: the replay has one queue for all workers of a \
                 stage.",
                names.join(", ")
            )
        })
    }
}
