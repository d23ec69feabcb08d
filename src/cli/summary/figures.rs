//! The figures of a log, as JSON has them.

use serde::Serialize;

use crate::{
    Millis, SummaryLine, Timestamp,
    cli::{
        amount::{LATE_ROW, LATE_ROWS, amount},
        attainment::Attainment,
        attempts::RequestsById,
        chosen::Chosen,
        own_end::Outlasted,
        parts::Share,
        running::{LastReport, StillOpen, left_out},
        sampling::Sampled,
        stage_names::StageNames,
        stage_outputs::OutputsOfStage,
        unjoined::JOIN,
    },
    write::columns::grouped,
};

/// How the queue time of a stage differs from the time that a request waited.
const SUMMED: &str = "it adds up the queue times of the stage's spans, which may wait at the same time. \
                      `waiting for stages` counts each moment once.";

/// The figures of a log, as `summary` and `report` show them.
#[derive(Serialize)]
#[serde(tag = "type", rename = "summary")]
pub(in crate::cli) struct LogSummary {
    #[serde(flatten)]
    pub(in crate::cli) line: SummaryLine,
    /// The percentiles that were asked for.
    #[serde(rename = "chosen_percentiles", skip_serializing_if = "Vec::is_empty")]
    pub(in crate::cli) chosen: Vec<Chosen>,
    /// How many requests and rows the lines stand for, if some were chosen by their hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) sampled: Option<Sampled>,
    #[serde(skip)]
    pub(super) names: StageNames,
    pub(in crate::cli) shares_of_e2e: Vec<Share>,
    /// How the stages delivered their outputs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(in crate::cli) outputs: Vec<OutputsOfStage>,
    /// Requests in which the queue times of a stage add up to more than the request took.
    #[serde(skip)]
    pub(super) summed_queues: u64,
    #[serde(skip)]
    pub(in crate::cli) outlasted: Outlasted,
    /// How many requests met the objectives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) objectives: Option<Attainment>,
    pub(in crate::cli) finish_reasons: Vec<NamedCount>,
    /// Requests with errors, by the text of their first one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(in crate::cli) failed: Vec<NamedCount>,
    /// Requests a second of `e2e_wall_time_ms`.
    pub(super) requests_per_s: f64,
    /// Which time it counts though no request of it is selected.
    #[serde(skip)]
    pub(in crate::cli) on_rates: Option<String>,
    /// Requests that failed, with errors or by their `finish_reason`.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) failed_requests: u64,
    /// How the requests ended, if some have several attempts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) requests_by_id: Option<RequestsById>,
    /// Requests that did not fail and have no row of a stage that they were sent to.
    #[serde(rename = "requests_without_rows", skip_serializing_if = "is_zero")]
    pub(super) without_rows: u64,
    /// Requests that failed and have no row of a stage that received them, though other requests have one.
    #[serde(rename = "failed_requests_without_rows", skip_serializing_if = "is_zero")]
    pub(super) received_without_rows: u64,
    /// All errors of all requests.
    #[serde(skip_serializing_if = "is_zero")]
    pub(in crate::cli) errors: u64,
    pub(super) slowest: Vec<Slow>,
    pub(in crate::cli) warnings: Vec<NamedCount>,
    /// Rows that are lines of their own.
    pub(super) detached: u64,
    /// Detached rows that came after the line of their request.
    pub(super) late_rows: u64,
    /// Other detached rows that name a request, which are in no request before `join`.
    #[serde(skip_serializing_if = "is_zero")]
    pub(in crate::cli) rows_of_workers: u64,
    /// That the log needs `join`.
    #[serde(skip)]
    pub(super) unjoined: Option<String>,
    pub(super) foreign_lines: u64,
    pub(super) broken_lines: u64,
    pub(super) unknown_schema_lines: u64,
    pub(super) doubled_lines: u64,
    /// What precedes their number in a sentence.
    #[serde(skip)]
    pub(super) at_least: &'static str,
    /// Lines that `--since`, `--until` or `--where` leaves out.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) left_out_lines: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(in crate::cli) last_reports: Vec<LastReport>,
    /// Requests that a report has named, and whose line has not come.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(in crate::cli) still_open: Vec<StillOpen>,
    /// Old requests that reports counted and did not name.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) more_open: u64,
    /// Old requests that no line names.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) unnamed_open: u64,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Slow {
    pub(super) e2e_total_ms: Millis,
    pub(super) request_id: String,
    pub(super) timestamp: Timestamp,
    pub(super) dominating_part: String,
    pub(super) dominating_time_ms: Millis,
    /// If it is waiting, the stage that the request waited for longest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) waiting_for_stage: Option<u64>,
}

#[derive(Debug, Serialize)]
pub(in crate::cli) struct NamedCount {
    pub(in crate::cli) name: String,
    pub(in crate::cli) count: u64,
}

impl LogSummary {
    /// How many errors there were, how many lines the figures leave out, and how many they count twice.
    pub(in crate::cli) fn besides(&self) -> Vec<String> {
        let nameless = self.detached.saturating_sub(self.late_rows.saturating_add(self.rows_of_workers));
        let (files, open) = left_out(&self.last_reports, &self.still_open);
        let lone = if self.unjoined.is_none() { self.rows_of_workers } else { 0 };
        let counts = [
            (files, "further file with reports", "further files with reports"),
            (open, "further request still open", "further requests still open"),
            (
                self.more_open,
                "old request that a report counted and did not name",
                "old requests that reports counted and did not name",
            ),
            (
                self.unnamed_open,
                "old request is named in no line that was read (a report names a request once)",
                "old requests are named in no line that was read (a report names a request once)",
            ),
            (self.errors, "error in a request", "errors in requests"),
            (
                self.received_without_rows,
                "failed request has no row of a stage that received it (the stage never began or is still \
                 open, or its process died)",
                "failed requests have no row of a stage that received them (the stage never began or is \
                 still open, or its process died)",
            ),
            (self.late_rows, LATE_ROW, LATE_ROWS),
            (
                lone,
                "row of a worker whose request has no line (still open, killed, or in another log)",
                "rows of workers whose requests have no line (still open, killed, or in another log)",
            ),
            (nameless, "row that names no request", "rows that name no request"),
            (self.foreign_lines, "foreign line", "foreign lines"),
            (self.broken_lines, "broken line", "broken lines"),
            (self.unknown_schema_lines, "line of an unknown schema", "lines of an unknown schema"),
        ];
        let doubles = (self.doubled_lines > 0).then(|| {
            let doubles = amount(self.doubled_lines, "line that occurs twice", "lines that occur twice");
            format!("{}{doubles}", self.at_least)
        });
        counts
            .into_iter()
            .filter(|(count, ..)| *count > 0)
            .map(|(count, one, many)| amount(count, one, many))
            .chain(doubles)
            .collect()
    }

    /// In how many requests the queue times of a stage add up to more than the request took, if in any.
    pub(in crate::cli) fn on_summed_queues(&self) -> Option<String> {
        let requests = amount(self.summed_queues, "request", "requests");
        (self.summed_queues > 0)
            .then(|| format!("In {requests}, a stage's queue_time_ms is more than e2e_total_ms: {SUMMED}"))
    }

    /// What must be known before the figures are read: that rows of workers are in no request or, if they are
    /// in none of these logs, how many requests lack the rows of a stage.
    pub(in crate::cli) fn on_missing_rows(&self) -> Option<String> {
        self.unjoined.clone().or_else(|| self.on_requests_without_rows())
    }

    fn on_requests_without_rows(&self) -> Option<String> {
        let [lacking, all] = [self.without_rows, self.line.overall_summary.e2e_requests]
            .map(|count| grouped(&count.to_string()));
        let lack = match self.without_rows {
            1 => "did not fail and has no row of a stage that it was",
            _ => "did not fail and have no row of a stage that they were",
        };
        (self.without_rows > 0).then(|| {
            format!(
                "{lacking} of {all} requests {lack} sent to, so waiting and unattributed time may be time of \
                 that stage. If its process writes a log of its own, name that log as well: {JOIN} puts the \
                 rows there into the requests."
            )
        })
    }

    /// The requests of the run of a log of one process, as it has counted them.
    pub(in crate::cli) fn exact_requests(&self) -> Option<u64> {
        match self.last_reports.as_slice() {
            [report] => Some(report.line.overall_summary.e2e_requests),
            _ => None,
        }
    }
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}
