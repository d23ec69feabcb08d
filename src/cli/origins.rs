//! Which log each line of a join comes from, as the joined lines have it.
//!
//! If a stage has several logs, the field [`LOG_FILE`] of a request names the log of its line. A row of a
//! stage has the field if rows of workers are in it: it names their logs, and that of the request if its own
//! row is a part of the row.

use std::{collections::BTreeMap, sync::Arc};

use super::log_line::LogLine;
use crate::{FieldValue, Fields, Line, model::id::OrderedId};

/// The field that names a log, or several ones with [`BETWEEN`].
pub(super) const LOG_FILE: &str = "log_file";
/// What stands between the names of several logs.
const BETWEEN: &str = ", ";

/// Of how many stages the log is remembered.
const STAGES: usize = 1 << 10;

/// Whether a stage works in several processes, or requests come from several: whether rows of one stage, or
/// lines of requests, are in several logs. Otherwise the stage tells the process.
#[derive(Debug, Default)]
pub(super) struct Siblings {
    /// The first log of each stage, and of requests.
    firsts: BTreeMap<Option<OrderedId>, Arc<str>>,
    are_there: bool,
}

impl Siblings {
    pub(super) fn note(&mut self, line: &LogLine) {
        match &line.line {
            _ if self.are_there => {}
            // Where some rows have names, a row without one comes from the process of the request.
            Line::Request(request) if named(&request.fields).is_some() => self.are_there = true,
            Line::Request(request) => {
                self.add(None, &line.log_name);
                request.stage_table.iter().for_each(|row| self.add(Some(row.order()), &line.log_name));
            }
            Line::Stage(detached) => self.add(Some(detached.row.order()), &line.log_name),
            Line::Transfer(_) | Line::Summary(_) | Line::Open(_) => {}
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.are_there |= other.are_there;
        other.firsts.iter().for_each(|(stage, log)| self.add(*stage, log));
    }

    fn add(&mut self, stage: Option<OrderedId>, log: &Arc<str>) {
        match self.firsts.get(&stage) {
            Some(first) => self.are_there |= first != log,
            None if self.firsts.len() < STAGES => {
                self.firsts.insert(stage, Arc::clone(log));
            }
            None => {}
        }
    }

    pub(super) fn are_there(&self) -> bool {
        self.are_there
    }
}

/// The names of logs, by the numbers that lines of a join have.
#[derive(Default)]
pub(super) struct Origins {
    names: Vec<Arc<str>>,
    /// The log of each run, from the first on.
    runs: Vec<usize>,
}

impl Origins {
    pub(super) fn new(names: Vec<Arc<str>>, runs: Vec<usize>) -> Self {
        Self { names, runs }
    }

    /// The log of a request of this run, whose numbers begin with 1.
    pub(super) fn of_run(&self, run: u64) -> Option<&str> {
        let at = usize::try_from(run).ok()?.checked_sub(1)?;
        self.of_row(*self.runs.get(at)? as u64)
    }

    /// The log with this number, which a row has.
    pub(super) fn of_row(&self, log: u64) -> Option<&str> {
        self.names.get(usize::try_from(log).ok()?).map(|name| &**name)
    }
}

/// The logs that fields name.
pub(super) fn named(fields: &Fields) -> Option<&str> {
    match fields.get(LOG_FILE)? {
        FieldValue::Text(name) => Some(name),
        _ => None,
    }
}

/// Adds the name of a log to fields without one. A field that the span has recorded itself stays, and so
/// does that of another join.
pub(super) fn name(fields: &mut Fields, log: Option<&str>) {
    if let Some(log) = log {
        fields.entry(LOG_FILE.into()).or_insert_with(|| FieldValue::Text(log.to_owned()));
    }
}

/// Lets fields that name logs name these too, before those.
pub(super) fn name_too(fields: &mut Fields, logs: Option<&str>) {
    let Some(logs) = logs else { return };
    if let Some(FieldValue::Text(known)) = fields.get_mut(LOG_FILE) {
        let mut all: Vec<_> = each(logs).collect();
        all.extend(each(known).filter(|log| !each(logs).any(|other| other == *log)));
        *known = all.join(BETWEEN);
    }
}

/// The names of several logs, one by one.
pub(super) fn each(logs: &str) -> impl Iterator<Item = &str> {
    logs.split(BETWEEN)
}
