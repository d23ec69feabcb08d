//! `summary`: a run in numbers, from its lines.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    io::Write,
    process::ExitCode,
};

use serde::Serialize;

use super::{
    Files, Result,
    input::{Counts, Inputs},
    paint,
    parts::{Share, Times, dominating},
};
use crate::{
    Line, Millis, OverallSummary, Percentiles, RequestLine, SCHEMA, SummaryLine, Timestamp,
    percentiles::Histograms,
    run::{StageWall, Totals},
    text::{Cell, Columns, printable},
};

/// How many kinds of warnings, and how many finish reasons, are told apart.
const KINDS: usize = 256;
/// How wide the bar of a share of the whole is.
const BAR: f64 = 40.0;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    files: Files,
    /// One line of JSON, with the keys of the layer's own summary line
    #[arg(long)]
    json: bool,
    /// How many of the slowest requests to show
    #[arg(long, value_name = "N", default_value_t = 5)]
    slowest: usize,
}

pub(super) fn run(args: &Args, out: &mut impl Write) -> Result<ExitCode> {
    let mut inputs = Inputs::new(&args.files.files);
    let summary = inputs.fold(|| Summary::new(args.slowest), Summary::add, Summary::merge)?;
    let report = summary.into_report(inputs.read);
    if args.json {
        serde_json::to_writer(&mut *out, &report).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        let mut text = Vec::new();
        report.print(&mut text)?;
        out.write_all(paint::tables(&String::from_utf8_lossy(&text)).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What is kept of the lines: its size does not depend on how many there are.
pub(super) struct Summary {
    totals: Totals,
    histograms: Histograms,
    last: Timestamp,
    times: Times,
    reasons: BTreeMap<String, u64>,
    warnings: BTreeMap<String, u64>,
    detached: u64,
    slowest: BinaryHeap<Reverse<Slow>>,
    limit: usize,
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
    /// With so many of the slowest requests.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            totals: Totals::default(),
            histograms: Histograms::default(),
            last: Timestamp::default(),
            times: Times::default(),
            reasons: BTreeMap::new(),
            warnings: BTreeMap::new(),
            detached: 0,
            slowest: BinaryHeap::new(),
            limit,
        }
    }

    pub(super) fn add(&mut self, line: &Line) {
        let warnings = match line {
            Line::Request(line) => {
                self.add_request(line);
                &line.warnings
            }
            Line::Stage(line) => {
                self.detached += 1;
                &line.warnings
            }
            Line::Transfer(line) => {
                self.detached += 1;
                &line.warnings
            }
            Line::Summary(_) => return,
        };
        warnings.iter().for_each(|warning| count(&mut self.warnings, &kind(warning), 1));
    }

    pub(super) fn merge(&mut self, other: &mut Self) {
        self.totals.merge(&other.totals);
        self.histograms.merge(|run| run(&other.histograms));
        self.last = self.last.max(other.last);
        self.times.merge(&other.times);
        self.detached += other.detached;
        other.reasons.iter().for_each(|(reason, times)| count(&mut self.reasons, reason, *times));
        other.warnings.iter().for_each(|(kind, times)| count(&mut self.warnings, kind, *times));
        self.slowest.append(&mut other.slowest);
        while self.slowest.len() > self.limit {
            self.slowest.pop();
        }
    }

    fn add_request(&mut self, line: &RequestLine) {
        let e2e = &line.e2e_table;
        let end = line.timestamp.unix_micros().saturating_mul(1_000);
        let created = end.saturating_sub(e2e.e2e_total_ms.as_nanos());
        let walls = line.stage_table.iter().filter_map(|row| {
            let start = created + row.start_ms?.as_nanos();
            Some(StageWall { stage_id: row.stage_id?, start, end: start + row.stage_gen_time_ms?.as_nanos() })
        });
        self.totals.add(created, end, e2e.e2e_total_tokens, walls);
        self.histograms.add(e2e, line.stage_table.iter(), line.transfer_table.iter());
        self.last = self.last.max(line.timestamp);
        self.times.add(line);
        count(&mut self.reasons, e2e.finish_reason.as_deref().unwrap_or("none"), 1);
        let is_slow = self.slowest.len() < self.limit
            || self.slowest.peek().is_some_and(|Reverse(fastest)| e2e.e2e_total_ms > fastest.e2e_total_ms);
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

    pub(super) fn percentiles(&self) -> Percentiles {
        self.histograms.percentiles()
    }

    pub(super) fn into_report(mut self, read: Counts) -> Report {
        let rows = |times: BTreeMap<String, u64>| {
            let mut rows: Vec<_> = times.into_iter().collect();
            rows.sort_by_key(|(_, count)| Reverse(*count));
            rows.into_iter().map(|(name, count)| Counted { name, count }).collect()
        };
        Report {
            line: SummaryLine {
                schema: SCHEMA,
                timestamp: self.last,
                overall_summary: self.totals.summary(),
                percentiles: self.histograms.percentiles(),
            },
            shares_of_e2e: self.times.shares().collect(),
            finish_reasons: rows(self.reasons),
            slowest: self.slowest.into_sorted_vec().into_iter().map(|Reverse(slow)| slow).collect(),
            warnings: rows(self.warnings),
            detached: self.detached,
            foreign_lines: read.foreign,
            broken_lines: read.broken,
        }
    }
}

/// Counts one of a kind, as far as there is room for kinds.
fn count(kinds: &mut BTreeMap<String, u64>, kind: &str, times: u64) {
    let kind = if kinds.len() < KINDS || kinds.contains_key(kind) { kind } else { "others" };
    match kinds.get_mut(kind) {
        Some(count) => *count += times,
        None => drop(kinds.insert(kind.to_owned(), times)),
    }
}

/// A warning without the value, which is another one each time.
fn kind(warning: &str) -> String {
    match (warning.split_once(", value `"), warning.rsplit_once("`: ")) {
        (Some((field, _)), Some((_, what))) => format!("{field}: {what}"),
        _ => warning.to_owned(),
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "summary")]
pub(super) struct Report {
    #[serde(flatten)]
    pub(super) line: SummaryLine,
    pub(super) shares_of_e2e: Vec<Share>,
    pub(super) finish_reasons: Vec<Counted>,
    slowest: Vec<Slow>,
    pub(super) warnings: Vec<Counted>,
    pub(super) detached: u64,
    pub(super) foreign_lines: u64,
    pub(super) broken_lines: u64,
}

#[derive(Serialize)]
pub(super) struct Counted {
    pub(super) name: String,
    pub(super) count: u64,
}

impl Report {
    fn print(&self, out: &mut impl Write) -> Result<()> {
        let OverallSummary { e2e_requests, .. } = self.line.overall_summary;
        if e2e_requests == 0 {
            writeln!(out, "no requests")?;
        } else {
            write!(out, "{}", self.line)?;
            let mut table = Columns::named("Where the time goes", ["time_ms", "of e2e", ""]);
            for Share { part, time_ms, share } in &self.shares_of_e2e {
                let (percent, bar) = (format!("{:.1} %", share * 100.0), bar(*share));
                table.row(part, [Cell::Time(*time_ms), Cell::Text(&percent), Cell::Text(&bar)].into_iter());
            }
            table.left(3);
            writeln!(out, "{table}\n")?;
        }
        if !self.slowest.is_empty() {
            let mut table =
                Columns::named("Slowest requests", ["e2e_total_ms", "mostly", "time_ms", "ended"]);
            for slow in &self.slowest {
                let ended = slow.timestamp.to_string();
                let cells = [
                    Cell::Time(slow.e2e_total_ms),
                    Cell::Text(&slow.dominating_part),
                    Cell::Time(slow.dominating_time_ms),
                    Cell::Text(&ended),
                ];
                table.row(&slow.request_id, cells.into_iter());
            }
            writeln!(out, "{table}\n")?;
        }
        for (title, counts) in [("Finish reasons", &self.finish_reasons), ("Warnings", &self.warnings)] {
            if !counts.is_empty() {
                let mut table = Columns::named(title, ["count"]);
                for Counted { name, count } in counts {
                    table.row(name, [Cell::Count(*count)].into_iter());
                }
                writeln!(out, "{table}\n")?;
            }
        }
        let mut rest = Vec::new();
        for (count, what) in [
            (self.detached, "rows of workers that are not in their requests (see `join`)"),
            (self.foreign_lines, "lines of others"),
            (self.broken_lines, "broken lines"),
        ] {
            if count > 0 {
                rest.push(format!("{count} {what}"));
            }
        }
        if !rest.is_empty() {
            writeln!(out, "Besides: {}", printable(&rest.join(", ")))?;
        }
        Ok(())
    }
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

    #[test]
    fn kinds_are_bounded() {
        let mut kinds = BTreeMap::new();
        (0..2_000).for_each(|n| count(&mut kinds, &n.to_string(), 1));
        assert_eq!((kinds.len(), kinds["others"]), (KINDS + 1, 2_000 - KINDS as u64));
    }
}
