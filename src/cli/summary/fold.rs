//! The fold of the lines of a log.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::figures::{LogSummary, NamedCount, Slow};
use crate::{
    Line, OverallSummary, RequestLine, SCHEMA, SummaryLine, Timestamp,
    cli::{
        attempts::Attempts,
        chosen::Chosen,
        groups::Percent,
        line_counts::LineCounts,
        missing_rows::{received_without_row, stage_without_row},
        objectives::{ObjectiveCounts, Objectives},
        own_end::Outlasted,
        parts::{Part, Times, dominating, longest_wait},
        running::{Running, Standing},
        sampling::Sampling,
        selection::Selection,
        stage_names::StageNames,
        stage_outputs::StageOutputs,
        tally::Tally,
    },
    fold::{
        histograms::Histograms,
        totals::{Totals, per_second},
        walls::StageWall,
    },
    model::{
        id::{OrderedId, ordered, unordered},
        keep::is_failed,
        value::prefix,
    },
};

/// How many bytes of an error's text are kept.
const ERROR_TEXT: usize = 200;
/// The figures of the lines so far. Their size does not depend on how many lines there are.
pub(in crate::cli) struct Summary {
    totals: Totals,
    histograms: Histograms,
    last: Timestamp,
    times: Times,
    /// By `finish_reason`, absent ones first.
    reasons: Tally<Option<String>>,
    warnings: Tally<String>,
    outputs: StageOutputs,
    /// Requests that were shorter than the sum of the queue times of the spans of a stage.
    summed_queues: u64,
    outlasted: Outlasted,
    /// Requests with errors, by the text of their first one.
    failed: Tally<String>,
    failed_requests: u64,
    attempts: Attempts,
    /// Requests that did not fail and have no row of a stage that they were sent to.
    without_rows: u64,
    /// Requests that failed and have no row of a stage that received them, by the stage.
    received_without_rows: Tally<OrderedId>,
    /// All errors of all requests.
    errors: u64,
    sampling: Sampling,
    objectives: ObjectiveCounts,
    slowest: BinaryHeap<Reverse<Slow>>,
    limit: usize,
    names: StageNames,
}

impl Summary {
    /// A summary without lines, which will keep `limit` of the slowest requests.
    pub(in crate::cli) fn new(limit: usize) -> Self {
        Self {
            totals: Totals::default(),
            histograms: Histograms::default(),
            last: Timestamp::default(),
            times: Times::default(),
            reasons: Tally::default(),
            warnings: Tally::default(),
            outputs: StageOutputs::default(),
            summed_queues: 0,
            outlasted: Outlasted::default(),
            failed: Tally::default(),
            failed_requests: 0,
            attempts: Attempts::default(),
            without_rows: 0,
            received_without_rows: Tally::default(),
            errors: 0,
            sampling: Sampling::default(),
            objectives: ObjectiveCounts::default(),
            slowest: BinaryHeap::new(),
            limit,
            names: StageNames::default(),
        }
    }

    /// The same, and it will count how many requests meet these objectives.
    pub(in crate::cli) fn with_objectives(self, objectives: &Objectives) -> Self {
        Self { objectives: ObjectiveCounts::new(objectives), ..self }
    }

    /// These percentiles of all numbers; none if none are chosen.
    pub(in crate::cli) fn chosen(&self, percents: &[Percent]) -> Vec<Chosen> {
        Chosen::of(&self.histograms, percents)
    }

    /// The objectives for which no request has a value, a sentence each.
    pub(in crate::cli) fn missing(&self) -> Vec<String> {
        self.objectives.missing()
    }

    pub(in crate::cli) fn add(&mut self, line: &Line) {
        self.names.add(line);
        let (warnings, weight) = match line {
            Line::Request(line) => {
                self.add_request(line);
                self.sampling.add_request(line.sample_rate);
                (&line.warnings, line.weight())
            }
            Line::Stage(line) => {
                self.sampling.add_row(line.sample_rate);
                (&line.warnings, line.weight())
            }
            Line::Transfer(line) => {
                self.sampling.add_row(line.sample_rate);
                (&line.warnings, line.weight())
            }
            Line::Summary(_) | Line::Open(_) => return,
        };
        warnings.iter().for_each(|warning| self.warnings.add(&kind(warning), weight.into()));
    }

    pub(in crate::cli) fn merge(&mut self, other: &mut Self) {
        self.totals.merge(&other.totals);
        self.histograms.merge(&other.histograms);
        self.last = self.last.max(other.last);
        self.times.merge(&other.times);
        self.sampling.merge(other.sampling);
        self.reasons.merge(&other.reasons);
        self.warnings.merge(&other.warnings);
        self.outputs.merge(&other.outputs);
        self.summed_queues = self.summed_queues.saturating_add(other.summed_queues);
        self.outlasted.merge(other.outlasted);
        self.objectives.merge(&other.objectives);
        self.failed.merge(&other.failed);
        self.failed_requests = self.failed_requests.saturating_add(other.failed_requests);
        self.attempts.merge(&other.attempts);
        self.without_rows = self.without_rows.saturating_add(other.without_rows);
        self.received_without_rows.merge(&other.received_without_rows);
        self.errors = self.errors.saturating_add(other.errors);
        self.names.merge(&other.names);
        self.slowest.append(&mut other.slowest);
        while self.slowest.len() > self.limit {
            self.slowest.pop();
        }
    }

    fn add_request(&mut self, line: &RequestLine) {
        let (e2e, weight) = (&line.e2e_table, line.weight());
        let end = line.timestamp.unix_micros().saturating_mul(1_000);
        let created = end.saturating_sub(e2e.e2e_total_ms.as_nanos());
        let walls = line.stage_table.iter().filter_map(|row| {
            let (start, end) = row.extent()?;
            let (start, end) = (created.saturating_add(start), created.saturating_add(end));
            Some(StageWall { stage_id: row.stage_id?, start, end })
        });
        self.totals.add(created, end, e2e.e2e_total_tokens, walls);
        self.totals.repeat(weight - 1, e2e.e2e_total_tokens);
        let stages = line.stage_table.iter().map(|row| (row, None));
        self.histograms.add_weighted(weight, e2e, stages, line.transfer_table.iter());
        self.last = self.last.max(line.timestamp);
        self.times.add(line);
        self.reasons.add(&e2e.finish_reason, weight.into());
        self.outputs.add(line);
        if line.stage_table.iter().any(|row| row.events > 1 && row.queue_time_ms > Some(e2e.e2e_total_ms)) {
            self.summed_queues = self.summed_queues.saturating_add(weight);
        }
        self.outlasted.add(line);
        self.objectives.add(line);
        self.attempts.add(line);
        if is_failed(e2e) {
            self.failed_requests = self.failed_requests.saturating_add(weight);
            let stage = received_without_row(line);
            stage.iter().for_each(|stage| self.received_without_rows.add(stage, weight.into()));
        } else if stage_without_row(line).is_some() {
            // A failed request may have ended before the stage began.
            self.without_rows = self.without_rows.saturating_add(weight);
        }
        if let Some(errors) = e2e.errors {
            self.errors = self.errors.saturating_add(errors.saturating_mul(weight));
            let text = e2e.error.as_deref().unwrap_or("an error without a text");
            self.failed.add(&prefix(text, ERROR_TEXT).to_owned(), weight.into());
        }
        // Of equally slow requests, the ids decide which are kept, so that the order of lines does not.
        let is_slow = self.slowest.len() < self.limit
            || self.slowest.peek().is_some_and(|Reverse(fastest)| e2e.e2e_total_ms >= fastest.e2e_total_ms);
        if is_slow {
            let (part, time) = dominating(line);
            let waited_for = longest_wait(line).filter(|_| part == Part::Waiting);
            self.slowest.push(Reverse(Slow {
                e2e_total_ms: e2e.e2e_total_ms,
                request_id: line.request_id.clone(),
                timestamp: line.timestamp,
                dominating_part: part.to_string(),
                dominating_time_ms: time,
                waiting_for_stage: waited_for.and_then(unordered),
            }));
            if self.slowest.len() > self.limit {
                self.slowest.pop();
            }
        }
    }

    pub(in crate::cli) fn into_log_summary(
        mut self,
        read: LineCounts,
        running: Running,
        selection: &Selection,
    ) -> LogSummary {
        let on_rates = self.totals.span().and_then(|span| {
            let covered = selection.covered(span);
            self.totals.limit(covered);
            selection.on_rates(covered)
        });
        let overall_summary = self.totals.summary();
        let OverallSummary { e2e_requests, e2e_wall_time_ms, .. } = overall_summary;
        let requests_per_s = per_second(e2e_requests, e2e_wall_time_ms.as_nanos());
        let objectives = self.objectives.figures(overall_summary.e2e_wall_time_ms);
        let Standing { reports: last_reports, open: still_open, more: more_open, unnamed } =
            running.figures();
        let reason = |reason: &Option<String>| reason.clone().unwrap_or_else(|| "none".to_owned());
        let sampled = self.sampling.figures();
        let percentiles = self.histograms.percentiles();
        // A stage without any row is not measured.
        let is_measured =
            |stage: &OrderedId| percentiles.stages.iter().any(|other| ordered(other.stage_id) == *stage);
        let received = self.received_without_rows.iter().filter(|(stage, _)| is_measured(stage));
        let received_without_rows = received.map(|(_, requests)| requests as u64).sum();
        LogSummary {
            line: SummaryLine {
                schema: SCHEMA,
                timestamp: self.last,
                overall_summary,
                percentiles,
                ..SummaryLine::default()
            },
            chosen: Vec::new(),
            // A process that keeps failed requests keeps few of the attempts that succeeded.
            requests_by_id: self.attempts.figures().filter(|_| sampled.is_none()),
            sampled,
            names: self.names,
            shares_of_e2e: self.times.shares().collect(),
            outputs: self.outputs.figures(),
            summed_queues: self.summed_queues,
            outlasted: self.outlasted,
            objectives,
            finish_reasons: counted(&self.reasons, reason),
            failed: counted(&self.failed, String::clone),
            requests_per_s,
            on_rates,
            failed_requests: self.failed_requests,
            without_rows: self.without_rows,
            received_without_rows,
            errors: self.errors,
            slowest: self.slowest.into_sorted_vec().into_iter().map(|Reverse(slow)| slow).collect(),
            warnings: counted(&self.warnings, String::clone),
            detached: self.sampling.rows(),
            late_rows: read.late,
            rows_of_workers: read.rows_of_workers,
            unjoined: read.unjoined(),
            foreign_lines: read.foreign,
            broken_lines: read.broken,
            unknown_schema_lines: read.unknown,
            doubled_lines: read.doubles,
            at_least: read.at_least(),
            left_out_lines: read.outside + read.unmatched,
            last_reports,
            still_open,
            more_open,
            unnamed_open: unnamed,
        }
    }
}

/// The counts of kinds, the most frequent first. The sum of the kinds that are not told apart is the last.
pub(in crate::cli) fn counted<K: Ord + Clone>(
    kinds: &Tally<K>,
    name: impl Fn(&K) -> String,
) -> Vec<NamedCount> {
    let count = |count: u128| count.try_into().unwrap_or(u64::MAX);
    let mut rows: Vec<_> =
        kinds.iter().map(|(kind, times)| NamedCount { name: name(kind), count: count(times) }).collect();
    rows.sort_by_key(|row| Reverse(row.count));
    if kinds.rest > 0 {
        rows.push(NamedCount { name: "others".to_owned(), count: count(kinds.rest) });
    }
    rows
}

/// A warning without its value, which differs from line to line.
fn kind(warning: &str) -> String {
    match (warning.split_once(", value `"), warning.rsplit_once("`: ")) {
        (Some((field, _)), Some((_, what))) => format!("{field}: {what}"),
        _ => warning.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_counted_without_its_value() {
        let warning =
            "span `stage`, field `num_tokens_in`, value `-3`: it is negative; treated as not recorded";
        let expected = "span `stage`, field `num_tokens_in`: it is negative; treated as not recorded";
        assert_eq!(kind(warning), expected);
        assert_eq!(kind("something else"), "something else");
    }
}
