//! Stages of several processes, which a replay takes for one.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
};

use super::station::Station;
use crate::{
    Line,
    cli::{amount::amount, log_line::LogLine, origins::each},
    model::id::OrderedId,
};

/// The hashes of the logs of each row of a stage.
pub(super) type RowLogs = Vec<(OrderedId, u64)>;

pub(super) fn row_logs(line: &LogLine) -> RowLogs {
    let Line::Request(request) = &line.line else { return Vec::new() };
    let rows = request.stage_table.iter();
    let logs = rows.flat_map(|row| each(line.origin(Some(row))).map(|log| (row.order(), log)));
    logs.map(|(stage, log)| {
        let mut hasher = DefaultHasher::new();
        log.hash(&mut hasher);
        (stage, hasher.finish())
    })
    .collect()
}

/// The logs of each stage.
#[derive(Debug, Default)]
pub(super) struct Processes(BTreeMap<OrderedId, BTreeSet<u64>>);

impl Processes {
    pub(super) fn add(&mut self, logs: RowLogs) {
        for (stage, log) in logs {
            self.0.entry(stage).or_default().insert(log);
        }
    }

    /// How many logs and workers the stages with several logs have, and what a replay does not know of them.
    pub(super) fn remark(&self, logged: &BTreeMap<OrderedId, Station>) -> Option<String> {
        let several = self.0.iter().filter(|(_, logs)| logs.len() > 1);
        let stages = several.filter_map(|(stage, logs)| {
            let station = logged.get(stage)?;
            let workers = amount(station.workers as u64, "worker", "workers");
            Some(format!("{} ({} logs, {workers})", station.called(*stage), logs.len()))
        });
        let stages: Vec<_> = stages.collect();
        (!stages.is_empty()).then(|| {
            format!(
                "Stages with rows of several logs: {}. If each log is of a process, --workers sets the \
                 number of workers of all these processes together, not the number of processes. If each \
                 process has a queue of its own, requests may wait longer than predicted: the replay has one \
                 queue for all workers of a stage.",
                stages.join(", ")
            )
        })
    }
}
