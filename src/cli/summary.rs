//! `summary`: a run in numbers, from its lines.

use std::{cmp::Reverse, collections::BinaryHeap, io::Write, process::ExitCode};

use serde::Serialize;

use super::{
    amount::{LATE_ROW, LATE_ROWS, amount},
    chosen::Chosen,
    failure::{Failure, Result, complain},
    files::Files,
    groups::{GroupArgs, Grouping, Percent, RequestGroups},
    help::Help,
    input::Inputs,
    json,
    line_counts::LineCounts,
    objectives::{Attainment, ObjectiveCounts, Objectives},
    paint,
    parts::{Share, Times, dominating},
    percentile_table::percentile_table,
    running::{LastReport, Running, Signs, Standing, StillOpen, last_reports, left_out, still_open},
    sampling::{Sampled, Sampling},
    sentence::in_lines,
    stage_names::StageNames,
    stage_outputs::{OutputsOfStage, StageOutputs},
    tally::Tally,
};
use crate::{
    Line, Millis, OverallSummary, RequestLine, SCHEMA, SummaryLine, Timestamp,
    fold::{histograms::Histograms, totals::Totals, walls::StageWall},
    model::{id::ordered, keep::is_failed, value::prefix},
    write::text::{Cell, Columns, grouped, printable},
};

/// How many bytes of an error's text are kept.
const ERROR_TEXT: usize = 200;
/// How wide the bar of 100 % is.
const BAR: f64 = 40.0;

pub(super) const HELP: Help = Help {
    examples: &[
        ("The run in numbers", "omni-metrics summary service.log"),
        ("The ten slowest requests of a rotated log", "omni-metrics summary --slowest 10 service.log*"),
        (
            "The p99 of the latency",
            "omni-metrics summary --json service.log | jq .percentiles.e2e_total_ms.p99",
        ),
        (
            "What happened between 12:03 and 12:05",
            "omni-metrics summary --since 12:03 --until 12:05 service.log",
        ),
        (
            "The failed requests of one model",
            "omni-metrics summary --where 'finish_reason == \"error\" && fields.model == \"x\"' service.log",
        ),
        ("A row for each model", "omni-metrics summary --by fields.model service.log"),
        (
            "A row for each ten seconds, for a spreadsheet",
            "omni-metrics summary --every 10s --csv service.log",
        ),
    ],
    ..Help::NONE
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    files: Files,
    /// One line of JSON, with the keys of the layer's own summary line
    #[arg(long)]
    json: bool,
    /// The table of --by or --every as comma-separated values
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Which percentiles to show, in percent [default: 50,90,99,99.9; of groups: 50,90,99]
    ///
    /// Example: `omni-metrics summary --percentiles 50,95,99.9 FILE`
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    percentiles: Vec<Percent>,
    #[command(flatten)]
    groups: GroupArgs,
    /// How many of the slowest requests to show
    #[arg(long, value_name = "N", default_value_t = 5)]
    slowest: usize,
    #[command(flatten)]
    objectives: Objectives,
}

pub(super) fn run(args: &Args, out: &mut impl Write) -> Result<ExitCode> {
    let mut inputs = Inputs::new(&args.files)?;
    if let Some(grouping) = args.groups.grouping() {
        return run_by_groups(args, &grouping, inputs, out);
    }
    if args.csv {
        return Err(Failure::Io("--csv is for the table of groups: add --by or --every".to_owned()));
    }
    let (signs, mut running) = (Signs::default(), Running::default());
    let signs_of_cores = signs.clone();
    let summary = inputs.fold_and_map(
        || Summary::new(args.slowest).with_objectives(&args.objectives),
        Summary::add,
        Summary::merge,
        move |line| signs_of_cores.of(line),
        |place, sign| running.add(&signs, place, sign),
    )?;
    let chosen = Chosen::of(&summary.histograms, &args.percentiles);
    let log_summary = LogSummary { chosen, ..summary.into_log_summary(inputs.read, running) };
    inputs.warn_of_doubles();
    if args.json {
        json::write(out, &log_summary)?;
        writeln!(out)?;
    } else {
        let mut text = Vec::new();
        log_summary.print(&args.percentiles, &mut text)?;
        out.write_all(paint::tables(&String::from_utf8_lossy(&text)).as_bytes())?;
    }
    Ok(inputs.exit_code(0))
}

/// Prints a row for each group.
fn run_by_groups(
    args: &Args,
    grouping: &Grouping,
    mut inputs: Inputs,
    out: &mut impl Write,
) -> Result<ExitCode> {
    let grouping = grouping.clone();
    let groups =
        inputs.fold(|| RequestGroups::new(grouping.clone()), RequestGroups::add, RequestGroups::merge)?;
    let percents = if args.percentiles.is_empty() { &Percent::USUAL[..] } else { &args.percentiles };
    let table = groups.into_table(percents);
    inputs.warn_of_doubles();
    table.remark().iter().for_each(|remark| complain(remark));
    match (args.json, args.csv) {
        (true, _) => {
            json::write(out, &table)?;
            writeln!(out)?;
        }
        (_, true) => table.write_csv(out)?,
        _ if table.is_empty() => writeln!(out, "no requests")?,
        _ => writeln!(out, "{}", paint::tables(&table.text().to_string()))?,
    }
    Ok(inputs.exit_code(0))
}

/// The figures of the lines so far. Their size does not depend on how many lines there are.
pub(super) struct Summary {
    totals: Totals,
    histograms: Histograms,
    last: Timestamp,
    times: Times,
    /// By `finish_reason`, absent ones first.
    reasons: Tally<Option<String>>,
    warnings: Tally<String>,
    outputs: StageOutputs,
    /// Requests with errors, by the text of their first one.
    failed: Tally<String>,
    failed_requests: u64,
    /// All errors of all requests.
    errors: u64,
    sampling: Sampling,
    objectives: ObjectiveCounts,
    slowest: BinaryHeap<Reverse<Slow>>,
    limit: usize,
    names: StageNames,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Slow {
    e2e_total_ms: Millis,
    request_id: String,
    timestamp: Timestamp,
    dominating_part: String,
    dominating_time_ms: Millis,
}

impl Summary {
    /// A summary without lines, which will keep `limit` of the slowest requests.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            totals: Totals::default(),
            histograms: Histograms::default(),
            last: Timestamp::default(),
            times: Times::default(),
            reasons: Tally::default(),
            warnings: Tally::default(),
            outputs: StageOutputs::default(),
            failed: Tally::default(),
            failed_requests: 0,
            errors: 0,
            sampling: Sampling::default(),
            objectives: ObjectiveCounts::default(),
            slowest: BinaryHeap::new(),
            limit,
            names: StageNames::default(),
        }
    }

    /// The same, and it will count how many requests meet these objectives.
    pub(super) fn with_objectives(self, objectives: &Objectives) -> Self {
        Self { objectives: ObjectiveCounts::new(objectives), ..self }
    }

    pub(super) fn add(&mut self, line: &Line) {
        self.names.add(line);
        let (warnings, sample_rate) = match line {
            Line::Request(line) => {
                self.add_request(line);
                self.sampling.add_request(line.sample_rate);
                (&line.warnings, line.sample_rate)
            }
            Line::Stage(line) => {
                self.sampling.add_row(line.sample_rate);
                (&line.warnings, line.sample_rate)
            }
            Line::Transfer(line) => {
                self.sampling.add_row(line.sample_rate);
                (&line.warnings, line.sample_rate)
            }
            Line::Summary(_) | Line::Open(_) => return,
        };
        let weight = sample_rate.unwrap_or(1).max(1);
        warnings.iter().for_each(|warning| self.warnings.add(kind(warning), weight.into()));
    }

    pub(super) fn merge(&mut self, other: &mut Self) {
        self.totals.merge(&other.totals);
        self.histograms.merge(&other.histograms);
        self.last = self.last.max(other.last);
        self.times.merge(&other.times);
        self.sampling.merge(other.sampling);
        self.reasons.merge(&other.reasons);
        self.warnings.merge(&other.warnings);
        self.outputs.merge(&other.outputs);
        self.objectives.merge(&other.objectives);
        self.failed.merge(&other.failed);
        self.failed_requests = self.failed_requests.saturating_add(other.failed_requests);
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
        self.reasons.add(e2e.finish_reason.clone(), weight.into());
        self.outputs.add(line);
        self.objectives.add(line);
        if is_failed(e2e) {
            self.failed_requests = self.failed_requests.saturating_add(weight);
        }
        if let Some(errors) = e2e.errors {
            self.errors = self.errors.saturating_add(errors.saturating_mul(weight));
            let text = e2e.error.as_deref().unwrap_or("an error without a text");
            self.failed.add(prefix(text, ERROR_TEXT).to_owned(), weight.into());
        }
        // Of equally slow requests, the ids decide which are kept, so that the order of lines does not.
        let is_slow = self.slowest.len() < self.limit
            || self.slowest.peek().is_some_and(|Reverse(fastest)| e2e.e2e_total_ms >= fastest.e2e_total_ms);
        if is_slow {
            let (part, time) = dominating(line);
            self.slowest.push(Reverse(Slow {
                e2e_total_ms: e2e.e2e_total_ms,
                request_id: line.request_id.clone(),
                timestamp: line.timestamp,
                dominating_part: part.to_string(),
                dominating_time_ms: time,
            }));
            if self.slowest.len() > self.limit {
                self.slowest.pop();
            }
        }
    }

    pub(super) fn into_log_summary(self, read: LineCounts, running: Running) -> LogSummary {
        let Standing { reports: last_reports, open: still_open, more: more_open, unnamed } =
            running.figures();
        let reason = |reason: &Option<String>| reason.clone().unwrap_or_else(|| "none".to_owned());
        LogSummary {
            line: SummaryLine {
                schema: SCHEMA,
                timestamp: self.last,
                overall_summary: self.totals.summary(),
                percentiles: self.histograms.percentiles(),
                ..SummaryLine::default()
            },
            chosen: Vec::new(),
            sampled: self.sampling.figures(),
            names: self.names,
            shares_of_e2e: self.times.shares().collect(),
            outputs: self.outputs.figures(),
            objectives: self.objectives.figures(self.totals.summary().e2e_wall_time_ms),
            finish_reasons: counted(&self.reasons, reason),
            failed: counted(&self.failed, String::clone),
            failed_requests: self.failed_requests,
            errors: self.errors,
            slowest: self.slowest.into_sorted_vec().into_iter().map(|Reverse(slow)| slow).collect(),
            warnings: counted(&self.warnings, String::clone),
            detached: self.sampling.rows(),
            late_rows: read.late,
            foreign_lines: read.foreign,
            broken_lines: read.broken,
            unknown_schema_lines: read.unknown,
            doubled_lines: read.doubles,
            left_out_lines: read.outside + read.unmatched,
            last_reports,
            still_open,
            more_open,
            unnamed_open: unnamed,
        }
    }
}

/// The counts of kinds, the most frequent first. The sum of the kinds that are not told apart is the last.
pub(super) fn counted<K: Ord + Clone>(kinds: &Tally<K>, name: impl Fn(&K) -> String) -> Vec<NamedCount> {
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

/// The figures of a log, as `summary` and `report` show them.
#[derive(Serialize)]
#[serde(tag = "type", rename = "summary")]
pub(super) struct LogSummary {
    #[serde(flatten)]
    pub(super) line: SummaryLine,
    /// The percentiles that were asked for.
    #[serde(rename = "chosen_percentiles", skip_serializing_if = "Vec::is_empty")]
    chosen: Vec<Chosen>,
    /// How many requests and rows the lines stand for, if some were chosen by their hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sampled: Option<Sampled>,
    #[serde(skip)]
    names: StageNames,
    pub(super) shares_of_e2e: Vec<Share>,
    /// How the stages delivered their outputs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) outputs: Vec<OutputsOfStage>,
    /// How many requests met the objectives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) objectives: Option<Attainment>,
    pub(super) finish_reasons: Vec<NamedCount>,
    /// Requests with errors, by the text of their first one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) failed: Vec<NamedCount>,
    /// Requests that failed, with errors or by their `finish_reason`.
    #[serde(skip_serializing_if = "is_zero")]
    failed_requests: u64,
    /// All errors of all requests.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) errors: u64,
    slowest: Vec<Slow>,
    pub(super) warnings: Vec<NamedCount>,
    /// Rows that are lines of their own.
    detached: u64,
    /// Detached rows that came after the line of their request.
    late_rows: u64,
    foreign_lines: u64,
    broken_lines: u64,
    unknown_schema_lines: u64,
    doubled_lines: u64,
    /// Lines that `--since`, `--until` or `--where` leaves out.
    #[serde(skip_serializing_if = "is_zero")]
    left_out_lines: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) last_reports: Vec<LastReport>,
    /// Requests that a report has named, and whose line has not come.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) still_open: Vec<StillOpen>,
    /// Old requests that reports counted and did not name.
    #[serde(skip_serializing_if = "is_zero")]
    more_open: u64,
    /// Old requests that no line names.
    #[serde(skip_serializing_if = "is_zero")]
    unnamed_open: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct NamedCount {
    pub(super) name: String,
    pub(super) count: u64,
}

impl LogSummary {
    /// How many errors there were, how many lines the figures leave out, and how many they count twice.
    pub(super) fn besides(&self) -> Vec<String> {
        let workers = self.detached.saturating_sub(self.late_rows);
        let (files, open) = left_out(&self.last_reports, &self.still_open);
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
            (self.late_rows, LATE_ROW, LATE_ROWS),
            (
                workers,
                "row of a worker that is not in its request (see `omni-metrics join`)",
                "rows of workers that are not in their requests (see `omni-metrics join`)",
            ),
            (self.foreign_lines, "foreign line", "foreign lines"),
            (self.broken_lines, "broken line", "broken lines"),
            (self.unknown_schema_lines, "line of an unknown schema", "lines of an unknown schema"),
            (self.doubled_lines, "line that occurs twice", "lines that occur twice"),
        ];
        counts
            .into_iter()
            .filter(|(count, ..)| *count > 0)
            .map(|(count, one, many)| amount(count, one, many))
            .collect()
    }

    /// The requests of the run of a log of one process, as it has counted them.
    pub(super) fn exact_requests(&self) -> Option<u64> {
        match self.last_reports.as_slice() {
            [report] => Some(report.line.overall_summary.e2e_requests),
            _ => None,
        }
    }

    fn print(&self, percents: &[Percent], out: &mut impl Write) -> Result<()> {
        let OverallSummary { e2e_requests, .. } = self.line.overall_summary;
        if let Some(sampled) = &self.sampled {
            let exact = self.exact_requests().map(|requests| {
                let requests = grouped(&requests.to_string());
                format!(" By its last summary line, the process counted {requests} requests.")
            });
            let sentence = sampled.sentence() + &exact.unwrap_or_default();
            writeln!(out, "{}\n", in_lines(&sentence))?;
        }
        if e2e_requests == 0 {
            writeln!(out, "no requests")?;
        } else {
            let table = match percents {
                [] => percentile_table(&self.line.percentiles, &self.names),
                percents => Chosen::table(&self.chosen, percents),
            };
            writeln!(out, "{}", self.line.overall_summary)?;
            let share = self.failed_requests as f64 / e2e_requests as f64 * 100.0;
            writeln!(out, "failed {} ({share:.1} %)\n", grouped(&self.failed_requests.to_string()))?;
            writeln!(
                out,
                "Percentiles until {}
{table}
",
                self.line.timestamp
            )?;
            let mut table = Columns::named("Where the time goes", ["time_ms", "of e2e", ""]);
            for Share { part, time_ms, share } in &self.shares_of_e2e {
                let (percent, bar) = (format!("{:.1} %", share * 100.0), bar(*share));
                let part = self.names.of_part(part);
                table.row(&part, [Cell::Time(*time_ms), Cell::Text(&percent), Cell::Text(&bar)].into_iter());
            }
            table.left(3);
            writeln!(out, "{table}\n")?;
        }
        if let Some(objectives) = &self.objectives {
            writeln!(out, "{objectives}")?;
        }
        if !self.slowest.is_empty() {
            let mut table = Columns::named("Slowest requests", ["e2e_ms", "mostly", "time_ms", "ended"]);
            for slow in &self.slowest {
                let (ended, part) = (ended(slow.timestamp), self.names.of_part(&slow.dominating_part));
                let cells = [
                    Cell::Time(slow.e2e_total_ms),
                    Cell::Text(&part),
                    Cell::Time(slow.dominating_time_ms),
                    Cell::Text(&ended),
                ];
                table.row(&slow.request_id, cells.into_iter());
            }
            writeln!(out, "{table}\n")?;
        }
        if !self.outputs.is_empty() {
            writeln!(out, "{}\n", outputs(&self.outputs, &self.names))?;
        }
        let counts = [
            ("Finish reasons", &self.finish_reasons),
            ("Requests by their first error", &self.failed),
            ("Warnings", &self.warnings),
        ];
        for (title, counts) in counts {
            if !counts.is_empty() {
                let mut table = Columns::named(title, ["count"]);
                for NamedCount { name, count } in counts {
                    table.row(name, [Cell::Count(*count)].into_iter());
                }
                writeln!(out, "{table}\n")?;
            }
        }
        if !self.last_reports.is_empty() {
            writeln!(out, "{}\n", last_reports(&self.last_reports))?;
        }
        if !self.still_open.is_empty() {
            writeln!(out, "{}\n", still_open(&self.still_open))?;
        }
        let rest = self.besides();
        if !rest.is_empty() {
            writeln!(out, "Besides: {}", printable(&rest.join(", ")))?;
        }
        Ok(())
    }
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// A column for each number, and a row for each stage.
fn outputs(stages: &[OutputsOfStage], names: &StageNames) -> Columns {
    let heads = ["outputs", "mean gap", "longest", "media_ms", "rt factor", "underruns", "in ms"];
    let mut table = Columns::named("Outputs", heads);
    let time = |time: Option<Millis>| time.map_or(Cell::Absent, Cell::Time);
    let is_media = |stage: &OutputsOfStage| stage.media_ms > Millis::ZERO;
    for stage in stages {
        let cells = [
            Cell::Count(stage.outputs),
            time(stage.inter_output_mean_ms),
            time(stage.inter_output_max_ms),
            time(is_media(stage).then_some(stage.media_ms)),
            stage.real_time_factor.map_or(Cell::Absent, Cell::Decimal),
            stage.underruns.map_or(Cell::Absent, Cell::Count),
            time(stage.underruns.and(Some(stage.underrun_total_ms))),
        ];
        table.row(&names.of(ordered(stage.stage_id)), cells.into_iter());
    }
    table
}

/// Month, day and time, which leaves room for a long request id.
fn ended(timestamp: Timestamp) -> String {
    let text = timestamp.to_string();
    let (date, time) = text.split_once('T').unwrap_or((&text, ""));
    format!("{} {}", date.get(5..).unwrap_or(date), time.get(..8).unwrap_or(time))
}

fn bar(share: f64) -> String {
    "#".repeat((share * BAR).round().clamp(0.0, 2.0 * BAR) as usize)
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
