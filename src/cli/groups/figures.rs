//! The figures of requests, or of rows of stages, by group.

use super::{GroupTable, Grouping, Groups, Merge, Percent, Spread, table::Figure};
use crate::{
    Line, Millis, RequestLine, StageRow,
    cli::{
        objectives::{ObjectiveCounts, Objectives},
        selection::{Selection, covered_from},
    },
    model::keep::is_failed,
};

/// How a time is taken from a request or a row.
type Get<T> = fn(&T) -> Option<Millis>;

/// A time that is a field of the row, which names it; and a short name for the head of a column.
macro_rules! time {
    ($name:ident, $short:literal) => {
        (Figure { name: stringify!($name), short: $short }, |row| row.$name)
    };
}

/// The times of a row of a stage whose percentiles are shown.
const TIMES_OF_STAGE: [(Figure, Get<StageRow>); 3] =
    [time!(stage_gen_time_ms, "gen"), time!(queue_time_ms, "queue"), time!(first_output_ms, "first")];
/// Those of a request.
const TIMES_OF_REQUEST: [(Figure, Get<RequestLine>); 2] = [
    (Figure { name: "e2e_total_ms", short: "e2e" }, |line| Some(line.e2e_table.e2e_total_ms)),
    (Figure { name: "first_output_ms", short: "first" }, |line| {
        line.stage_table.iter().filter_map(|row| row.first_output_ms).min()
    }),
];

/// The figures of the lines so far, by group.
#[derive(Debug)]
pub(in crate::cli) struct RequestGroups {
    grouping: Grouping,
    groups: Groups<Figures>,
    /// The creation of the first request and the end of the last one, in microseconds.
    span: Option<(u64, u64)>,
    /// From when on the log has every request that ended: the creation of the first request of a run, before
    /// which no other one ended, or else the end of the first request.
    covered_from: Option<u64>,
    /// Without counts.
    objectives: ObjectiveCounts,
}

/// The figures of a group.
#[derive(Debug, Default)]
pub(super) struct Figures {
    /// Requests, or rows of stages in them.
    pub(super) count: u64,
    /// Those of requests that have failed.
    pub(super) failed: u64,
    pub(super) tokens: u64,
    /// In the order above.
    pub(super) times: [Spread; 3],
    /// `None` before the first request, and for rows of stages.
    pub(super) objectives: Option<ObjectiveCounts>,
}

impl Figures {
    fn add<T>(&mut self, line: &RequestLine, tokens: u64, of: &T, times: &[(Figure, Get<T>)]) {
        let weight = line.weight();
        self.count = self.count.saturating_add(weight);
        self.failed = self.failed.saturating_add(if is_failed(&line.e2e_table) { weight } else { 0 });
        self.tokens = self.tokens.saturating_add(tokens.saturating_mul(weight));
        for (spread, (_, get)) in self.times.iter_mut().zip(times) {
            if let Some(time) = get(of) {
                spread.add(time, weight);
            }
        }
    }
}

impl Merge for Figures {
    fn merge(&mut self, other: Self) {
        let Self { count, failed, tokens, times, objectives } = other;
        self.count = self.count.saturating_add(count);
        self.failed = self.failed.saturating_add(failed);
        self.tokens = self.tokens.saturating_add(tokens);
        self.times.iter_mut().zip(times).for_each(|(spread, times)| spread.merge(times));
        match (&mut self.objectives, objectives) {
            (Some(ours), Some(theirs)) => ours.merge(&theirs),
            (ours, theirs) => *ours = ours.take().or(theirs),
        }
    }
}

impl RequestGroups {
    pub(in crate::cli) fn new(grouping: Grouping, objectives: &Objectives) -> Self {
        let (groups, objectives) = (Groups::new(&grouping), ObjectiveCounts::new(objectives));
        Self { grouping, groups, span: None, covered_from: None, objectives }
    }

    pub(in crate::cli) fn add(&mut self, line: &Line) {
        let Line::Request(line) = line else { return };
        let end = line.timestamp.unix_micros();
        let created = end.saturating_sub(line.e2e_table.e2e_total_ms.as_nanos() / 1_000);
        self.widen(created, end);
        let covered_from = covered_from(line).unix_micros();
        self.covered_from = Some(self.covered_from.map_or(covered_from, |first| first.min(covered_from)));
        if self.grouping.is_of_stages() {
            line.stage_table.iter().for_each(|row| self.add_stage(line, row));
        } else {
            self.add_request(line);
        }
    }

    fn widen(&mut self, created: u64, end: u64) {
        let (first, last) = self.span.unwrap_or((created, end));
        self.span = Some((first.min(created), last.max(end)));
    }

    fn add_request(&mut self, line: &RequestLine) {
        let name = self.grouping.by.as_ref().and_then(|by| by.of_request(line));
        let figures = self.groups.at(line.timestamp, name);
        figures.add(line, line.e2e_table.e2e_total_tokens, line, &TIMES_OF_REQUEST);
        figures.objectives.get_or_insert_with(|| self.objectives.clone()).add(line);
    }

    fn add_stage(&mut self, line: &RequestLine, row: &StageRow) {
        let name = self.grouping.by.as_ref().and_then(|by| by.of_stage(row));
        let figures = self.groups.at(line.timestamp, name);
        figures.add(line, row.num_tokens_out.unwrap_or(0), row, &TIMES_OF_STAGE);
    }

    pub(in crate::cli) fn merge(&mut self, other: &mut Self) {
        self.groups.merge(&mut other.groups);
        if let Some((created, end)) = other.span {
            self.widen(created, end);
        }
        self.covered_from = self.covered_from.into_iter().chain(other.covered_from).min();
    }

    /// The table of the figures of the selected lines, with these percentiles.
    pub(in crate::cli) fn into_table(self, percents: &[Percent], selection: &Selection) -> GroupTable {
        let Self { grouping, groups, span, covered_from, mut objectives } = self;
        let is_of_stages = grouping.is_of_stages();
        let times: Vec<_> = match is_of_stages {
            true => TIMES_OF_STAGE.iter().map(|(figure, _)| *figure).collect(),
            false => TIMES_OF_REQUEST.iter().map(|(figure, _)| *figure).collect(),
        };
        let width = groups.width();
        let mut rows = groups.into_groups(&grouping);
        if grouping.width.is_none() {
            // The largest groups come first, and the rest last.
            rows.sort_by_key(|group| (group.is_rest, u64::MAX - group.value.count));
        }
        let mut span = span.unwrap_or_default();
        if grouping.width.is_some() {
            span.0 = covered_from.unwrap_or_default();
        }
        let [start, end] = selection.covered([span.0, span.1].map(|micros| micros.saturating_mul(1_000)));
        let span = (start / 1_000, end / 1_000);
        rows.iter().filter_map(|group| group.value.objectives.as_ref()).for_each(|of| objectives.merge(of));
        GroupTable::new(&grouping, width, span, rows, times, percents).with_missing(objectives.missing())
    }
}
