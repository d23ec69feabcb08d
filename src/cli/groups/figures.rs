//! The figures of requests, or of rows of stages, by group.

use std::cmp::Reverse;

use super::{
    By, GroupTable, Grouping, Groups, Merge, Name, Percent, Spread,
    table::{Figure, Shown},
};
use crate::{
    DetachedStage, Line, Millis, RequestLine, StageRow, Timestamp,
    cli::{
        log_line::LogLine,
        objectives::{ObjectiveCounts, Objectives},
        selection::{Selection, covered_from},
    },
    model::keep::is_failed,
};

/// How a time is taken from a request or a row.
pub(in crate::cli) type Get<T> = fn(&T) -> Option<Millis>;

/// A time that is a field of the row, which names it; a short name for the head of a column; and which of its
/// percentiles are shown.
macro_rules! time {
    ($name:ident, $short:literal, $shown:ident) => {
        (Figure { name: stringify!($name), short: $short, shown: Shown::$shown }, |row| row.$name)
    };
}

/// The times of a row of a stage whose percentiles are shown. Most rows do not wait in a queue, so it is the
/// highest percentile that tells of those that do.
pub(in crate::cli) const TIMES_OF_STAGE: [(Figure, Get<StageRow>); 3] = [
    time!(stage_gen_time_ms, "gen", All),
    time!(queue_time_ms, "queue", Last),
    time!(first_output_ms, "first", First),
];
/// Those of a request.
const TIMES_OF_REQUEST: [(Figure, Get<RequestLine>); 2] = [
    (Figure { name: "e2e_total_ms", short: "e2e", shown: Shown::All }, |line| {
        Some(line.e2e_table.e2e_total_ms)
    }),
    (Figure { name: "first_output_ms", short: "first", shown: Shown::First }, |line| {
        line.stage_table.iter().filter_map(|row| row.first_output_ms).min()
    }),
];

/// The figures of the lines so far, by group.
#[derive(Debug, Clone)]
pub(in crate::cli) struct RequestGroups {
    grouping: Grouping,
    groups: Groups<Figures>,
    /// The creation of the first request, or the start of the first row, and the end of the last one, in
    /// microseconds.
    span: Option<(u64, u64)>,
    /// From when on the log has every request that ended: the creation of the first request of a run, before
    /// which no other one ended, or else the end of the first request.
    covered_from: Option<u64>,
    /// Without counts.
    objectives: ObjectiveCounts,
}

/// The figures of a group.
#[derive(Debug, Default, Clone)]
pub(super) struct Figures {
    /// Requests, or rows of stages.
    pub(super) count: u64,
    /// Those of which it is known whether their request has failed: not those of detached rows.
    pub(super) judged: u64,
    /// Those whose request has failed.
    pub(super) failed: u64,
    pub(super) tokens: u64,
    /// In the order above.
    pub(super) times: [Spread; 3],
    /// `None` before the first request, and for rows of stages.
    pub(super) objectives: Option<ObjectiveCounts>,
    /// The first of the times of the slowest request or row, and its group. Of equally slow ones, the name
    /// that comes first.
    pub(super) slowest: Option<(Millis, Reverse<Name>)>,
}

impl Figures {
    /// Adds a request or a row that stands for `weight` of them.
    fn add<T>(&mut self, weight: u64, tokens: u64, of: &T, times: &[(Figure, Get<T>)]) {
        self.count = self.count.saturating_add(weight);
        self.tokens = self.tokens.saturating_add(tokens.saturating_mul(weight));
        for (spread, (_, get)) in self.times.iter_mut().zip(times) {
            if let Some(time) = get(of) {
                spread.add(time, weight);
            }
        }
    }

    fn judge(&mut self, line: &RequestLine) {
        let weight = line.weight();
        self.judged = self.judged.saturating_add(weight);
        self.failed = self.failed.saturating_add(if is_failed(&line.e2e_table) { weight } else { 0 });
    }
}

impl Merge for Figures {
    fn merge(&mut self, other: Self) {
        let Self { count, judged, failed, tokens, times, objectives, slowest } = other;
        self.count = self.count.saturating_add(count);
        self.judged = self.judged.saturating_add(judged);
        self.failed = self.failed.saturating_add(failed);
        self.tokens = self.tokens.saturating_add(tokens);
        self.slowest = self.slowest.take().max(slowest);
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

    pub(in crate::cli) fn add(&mut self, line: &LogLine) {
        match &line.line {
            Line::Request(request) => self.add_request(line, request),
            Line::Stage(row) if self.grouping.is_of_stages() => self.add_detached(line, row),
            Line::Stage(_) | Line::Transfer(_) | Line::Summary(_) | Line::Open(_) => {}
        }
    }

    fn add_request(&mut self, line: &LogLine, request: &RequestLine) {
        let (weight, e2e) = (request.weight(), &request.e2e_table);
        self.widen(request.timestamp, e2e.e2e_total_ms, covered_from(request));
        if self.grouping.is_of_stages() {
            for row in &request.stage_table {
                let figures = self.at(line, request.timestamp, Some(row), row.stage_gen_time_ms);
                figures.add(weight, row.num_tokens_out.unwrap_or(0), row, &TIMES_OF_STAGE);
                figures.judge(request);
            }
            return;
        }
        let objectives = self.objectives.clone();
        let figures = self.at(line, request.timestamp, None, Some(e2e.e2e_total_ms));
        figures.add(weight, e2e.e2e_total_tokens, request, &TIMES_OF_REQUEST);
        figures.judge(request);
        figures.objectives.get_or_insert(objectives).add(request);
    }

    fn add_detached(&mut self, line: &LogLine, detached: &DetachedStage) {
        let DetachedStage { row, timestamp, .. } = detached;
        self.widen(*timestamp, row.wall_time_ms.unwrap_or_default(), *timestamp);
        let figures = self.at(line, *timestamp, Some(row), row.stage_gen_time_ms);
        figures.add(detached.weight(), row.num_tokens_out.unwrap_or(0), row, &TIMES_OF_STAGE);
    }

    /// The figures of the group of a line, or of this row of it, which took this time.
    fn at(
        &mut self,
        line: &LogLine,
        timestamp: Timestamp,
        row: Option<&StageRow>,
        time: Option<Millis>,
    ) -> &mut Figures {
        let name = || self.grouping.by.as_ref().map(|by| by.name(line, row));
        let figures = self.groups.at(timestamp, name());
        let is_slow = |time: &Millis| figures.slowest.as_ref().is_none_or(|(slowest, _)| time >= slowest);
        if let Some((time, name)) = time.filter(is_slow).zip(name()) {
            figures.slowest = figures.slowest.take().max(Some((time, Reverse(name))));
        }
        figures
    }

    /// Adds a request or a row that ended then, after this time.
    fn widen(&mut self, timestamp: Timestamp, time: Millis, covered_from: Timestamp) {
        let end = timestamp.unix_micros();
        let start = end.saturating_sub(time.as_nanos() / 1_000);
        self.extend((start, end), covered_from.unix_micros());
    }

    fn extend(&mut self, (start, end): (u64, u64), covered_from: u64) {
        let (first, last) = self.span.unwrap_or((start, end));
        self.span = Some((first.min(start), last.max(end)));
        self.covered_from = Some(self.covered_from.map_or(covered_from, |first| first.min(covered_from)));
    }

    pub(in crate::cli) fn merge(&mut self, other: &mut Self) {
        self.groups.merge(&mut other.groups);
        if let Some((span, covered_from)) = other.span.zip(other.covered_from) {
            self.extend(span, covered_from);
        }
    }

    /// The table of the figures of the selected lines, with these percentiles.
    pub(in crate::cli) fn into_table(self, percents: &[Percent], selection: &Selection) -> GroupTable {
        let mut span = self.span.unwrap_or_default();
        if self.grouping.width.is_some() {
            span.0 = self.covered_from.unwrap_or_default();
        }
        let span = [span.0, span.1].map(|micros| micros.saturating_mul(1_000));
        let covered @ [start, end] = selection.covered(span);
        // The rates of stretches of time are of each of them.
        let on_rates = selection.on_rates(covered).filter(|_| self.grouping.width.is_none());
        self.into_table_of((start / 1_000, end / 1_000), percents).with_note_on_rates(on_rates)
    }

    /// The same for lines that cover `span`, in microseconds.
    pub(in crate::cli) fn into_table_of(self, span: (u64, u64), percents: &[Percent]) -> GroupTable {
        let Self { grouping, groups, mut objectives, .. } = self;
        let is_of_stages = grouping.is_of_stages();
        let times: Vec<_> = match is_of_stages {
            true => TIMES_OF_STAGE.iter().map(|(figure, _)| *figure).collect(),
            false => TIMES_OF_REQUEST.iter().map(|(figure, _)| *figure).collect(),
        };
        let width = groups.width();
        let mut rows = groups.into_groups(&grouping);
        if grouping.width.is_none() && !grouping.by.as_ref().is_some_and(By::is_of_several) {
            // The largest groups come first, and the rest last.
            rows.sort_by_key(|group| (group.is_rest, u64::MAX - group.value.count));
        }
        rows.iter().filter_map(|group| group.value.objectives.as_ref()).for_each(|of| objectives.merge(of));
        GroupTable::new(&grouping, width, span, rows, times, percents).with_missing(objectives.missing())
    }
}
