//! The figures of a period of a log, as the view and `--json` show them.

use std::sync::Arc;

use serde::Serialize;

use super::{
    bucket::Bucket,
    log::{Log, MICROS},
    period::{LONGEST, Period},
    row::Row,
};
use crate::{
    Millis, SCHEMA, SummaryLine, Timestamp, Window,
    cli::{
        attainment::Attainment,
        chosen::Chosen,
        groups::{GroupRows, GroupTable, Percent, RequestGroups},
        line_counts::LineCounts,
        running::{Standing, StillOpen},
        sampling::Sampled,
        stage_names::StageNames,
        summary::{NamedCount, counted},
    },
};

/// How many open requests are shown.
const OPEN: usize = 100;

#[derive(Debug)]
pub(super) struct Figures {
    pub(super) source: String,
    pub(super) has_ended: bool,
    pub(super) read: LineCounts,
    /// Of the whole log.
    pub(super) requests: u64,
    pub(super) last: Option<u64>,
    /// All requests ended before the reading began.
    is_old: bool,
    pub(super) sampled: Option<Sampled>,
    pub(super) report: Option<Box<SummaryLine>>,
    pub(super) open: Vec<StillOpen>,
    /// Of the period.
    pub(super) period: Period,
    pub(super) moment: u64,
    /// How much of it was seen.
    pub(super) seen: Millis,
    pub(super) window: Window,
    /// The percentiles that were asked for; none if none were.
    pub(super) percents: Vec<Percent>,
    /// The times of the period, with these percentiles or the usual ones.
    pub(super) times: Vec<Chosen>,
    pub(super) failed: u64,
    pub(super) failures: Vec<NamedCount>,
    pub(super) objectives: Option<Attainment>,
    pub(super) groups: Option<GroupTable>,
    /// The requests that are kept, and the open ones, in no order.
    pub(super) rows: Vec<Arc<Row>>,
    pub(super) names: StageNames,
    pub(super) per_second: Vec<u64>,
}

impl Figures {
    /// The figures at a moment, in microseconds since the Unix epoch.
    pub(super) fn of(log: &Log, period: Period, now: u64) -> Self {
        let moment = log.moment(period, now);
        let seen = Millis::from_nanos(log.seen(period, moment));
        let (sum, mut rows) = log.sum(period, moment);
        let Standing { reports, open, .. } = log.running.figures();
        rows.extend(open.iter().take(OPEN).map(|open| Arc::new(Row::of_open(open))));
        let length = if let Period::Last(length) = period { length } else { LONGEST };
        let window = sum.window(seen.as_nanos());
        let percents = log.percentiles.or(&Percent::USUAL);
        let times = sum.chosen(percents);
        let Bucket { failed, failures, objectives, groups, .. } = sum;
        let span = (moment.saturating_sub(seen.as_nanos() / 1_000), moment);
        let table = |groups: RequestGroups| groups.into_table_of(span, percents);
        Self {
            source: log.source.clone(),
            has_ended: log.has_ended,
            read: log.read,
            requests: log.requests(),
            last: log.last,
            is_old: log.is_old(),
            sampled: log.sampling.figures(),
            report: reports.into_iter().next().map(|report| report.line),
            open,
            period,
            moment,
            seen,
            window,
            percents: log.percentiles.chosen().to_vec(),
            times,
            failed,
            failures: counted(&failures, String::clone),
            objectives: objectives.figures(seen),
            groups: groups.map(table),
            rows,
            names: log.names.clone(),
            per_second: log.per_second(length, moment),
        }
    }

    /// `None` if no time has been seen yet.
    pub(super) fn rates(&self) -> Option<(f64, f64)> {
        (self.seen > Millis::ZERO).then_some((self.window.requests_per_s, self.window.tokens_per_s))
    }

    pub(super) fn percents_or_usual(&self) -> &[Percent] {
        if self.percents.is_empty() { &Percent::USUAL } else { &self.percents }
    }

    /// Whether the period is empty because the log is one of the past.
    pub(super) fn is_past(&self) -> bool {
        self.is_old && self.window.requests == 0
    }

    /// Whether the log or the reading began within the period.
    pub(super) fn is_partly_seen(&self) -> bool {
        let Period::Last(length) = self.period else { return false };
        self.seen.as_nanos() / 1_000 < (length - 1) * MICROS
    }

    /// What `--json` writes.
    pub(super) fn line(self) -> WatchLine {
        let Self { read, report, .. } = self;
        let chosen_percentiles = if self.percents.is_empty() { Vec::new() } else { self.times };
        WatchLine {
            schema: SCHEMA,
            timestamp: Timestamp::from_unix_micros(self.moment),
            window: self.window,
            chosen_percentiles,
            failed_requests: self.failed,
            failures: self.failures,
            objectives: self.objectives,
            groups: self.groups.map(|table| table.rows),
            requests: self.requests,
            sampled: self.sampled,
            open_requests: report.as_ref().and_then(|report| report.open_requests),
            oldest_age_ms: report.as_ref().and_then(|report| report.oldest_age_ms),
            lines_lost: report.as_ref().and_then(|report| report.lines_lost),
            still_open: self.open,
            foreign_lines: read.foreign,
            broken_lines: read.broken,
            unknown_schema_lines: read.unknown,
            left_out_lines: read.outside + read.unmatched,
            has_ended: self.has_ended,
        }
    }
}

/// A line of `--json`. The keys are those of the layer's reports and of `summary --json` where they have the
/// same meaning.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "watch")]
pub(super) struct WatchLine {
    schema: u32,
    timestamp: Timestamp,
    window: Window,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    chosen_percentiles: Vec<Chosen>,
    failed_requests: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failures: Vec<NamedCount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    objectives: Option<Attainment>,
    #[serde(flatten)]
    groups: Option<GroupRows>,
    requests: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sampled: Option<Sampled>,
    #[serde(skip_serializing_if = "Option::is_none")]
    open_requests: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_age_ms: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lines_lost: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    still_open: Vec<StillOpen>,
    foreign_lines: u64,
    broken_lines: u64,
    unknown_schema_lines: u64,
    left_out_lines: u64,
    has_ended: bool,
}
