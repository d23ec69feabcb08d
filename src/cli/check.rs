//! `check`: every invariant of a line, and of a run's lines.

use std::{collections::BTreeMap, io::Write, process::ExitCode};

use super::{Result, input::Inputs};
use crate::{Line, Millis, OverallSummary, RequestLine, SCHEMA, StageRow, TransferRow, text::printable};

/// A number that may be a run's first, though it has been seen: requests that end together write their
/// lines in any order.
const NEAR_BEGINNING: u64 = 256;
/// How many stretches of numbers a run is kept in, before gaps are no longer looked for.
const STRETCHES: usize = 100_000;
/// How many gaps of a run are named.
const GAPS: usize = 20;

pub(super) fn run(mut inputs: Inputs, out: &mut impl Write) -> Result<ExitCode> {
    let mut numbers = BTreeMap::<String, Numbers>::new();
    let mut violations = 0;
    inputs.for_each(|place, line| {
        let mut report = Report { out, place: place.to_string(), violations: &mut violations };
        match &line {
            Line::Request(line) => {
                check_request(line, &mut report)?;
                let run = numbers.entry(place.file.to_owned()).or_default();
                run.add(line.overall_summary.e2e_requests, &mut report)
            }
            Line::Stage(line) => {
                report.same("schema", SCHEMA, line.schema)?;
                check_stage(&line.row, &mut report)
            }
            Line::Transfer(line) => {
                report.same("schema", SCHEMA, line.schema)?;
                check_transfer(&line.row, &mut report)
            }
            Line::Summary(line) => {
                report.same("schema", SCHEMA, line.schema)?;
                check_summary(&line.overall_summary, &mut report)
            }
        }
    })?;
    for (file, run) in numbers {
        run.finish(&mut Report { out, place: file, violations: &mut violations })?;
    }
    let read = inputs.read;
    if violations == 0 && read.broken == 0 {
        writeln!(out, "{} lines are sound, {} lines of others", read.lines, read.foreign)?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(out, "{violations} violations in {} lines, {} broken lines", read.lines, read.broken)?;
    Ok(ExitCode::from(1))
}

/// Where violations go, a sentence each.
struct Report<'a, W> {
    out: &'a mut W,
    place: String,
    violations: &'a mut u64,
}

impl<W: Write> Report<'_, W> {
    fn say(&mut self, what: &str) -> Result<()> {
        *self.violations += 1;
        Ok(writeln!(self.out, "{}: {}", self.place, printable(what))?)
    }

    fn same<T: PartialEq + std::fmt::Display>(&mut self, what: &str, expected: T, found: T) -> Result<()> {
        if expected == found {
            Ok(())
        } else {
            self.say(&format!("{what}: expected {expected}, found {found}"))
        }
    }

    /// To within a nanosecond.
    fn same_time(&mut self, what: &str, expected: Millis, found: Millis) -> Result<()> {
        if expected.as_nanos().abs_diff(found.as_nanos()) <= 1 {
            return Ok(());
        }
        self.say(&format!("{what}: expected {expected}, found {found}"))
    }

    fn at_most(&mut self, what: &str, most: Option<Millis>, found: Option<Millis>) -> Result<()> {
        match (most, found) {
            (Some(most), Some(found)) if found > most => {
                self.say(&format!("{what}: expected at most {most}, found {found}"))
            }
            _ => Ok(()),
        }
    }
}

fn check_request<W: Write>(line: &RequestLine, report: &mut Report<'_, W>) -> Result<()> {
    let e2e = &line.e2e_table;
    report.same("schema", SCHEMA, line.schema)?;
    check_summary(&line.overall_summary, report)?;
    report.same("e2e_total_tokens is not the sum of the rows", line.tokens(), e2e.e2e_total_tokens)?;
    let bytes = sum(line.transfer_table.iter().filter_map(|row| row.size_bytes));
    report.same("transfers_total_bytes is not the sum of the rows", bytes, e2e.transfers_total_bytes)?;
    let time = sum(line.transfer_table.iter().map(|row| row.total_time_ms.as_nanos()));
    let what = "transfers_total_time_ms is not the sum of the rows";
    report.same_time(what, Millis::from_nanos(time), e2e.transfers_total_time_ms)?;
    let what = "unattributed_time_ms is more than e2e_total_ms";
    report.at_most(what, Some(e2e.e2e_total_ms), Some(e2e.unattributed_time_ms))?;
    if !line.stage_table.is_sorted_by_key(|row| (row.stage_id.is_none(), row.stage_id)) {
        report.say("stage_table: expected in the order of stage_id, found another")?;
    }
    if !line.transfer_table.is_sorted_by_key(TransferRow::order) {
        report.say("transfer_table: expected in the order of from_stage and to_stage, found another")?;
    }
    line.stage_table.iter().try_for_each(|row| check_stage(row, report))?;
    line.transfer_table.iter().try_for_each(|row| check_transfer(row, report))
}

fn check_stage<W: Write>(row: &StageRow, report: &mut Report<'_, W>) -> Result<()> {
    let name = |what: &str| format!("stage {}: {what}", crate::text::id(row.stage_id));
    let gen_time = row.stage_gen_time_ms;
    report.at_most(
        &name("preprocess_time_ms is more than stage_gen_time_ms"),
        gen_time,
        row.preprocess_time_ms,
    )?;
    let (span_time, what) = match row.wall_time_ms {
        Some(wall) => (Some(wall), "busy_time_ms is more than wall_time_ms"),
        None => (gen_time, "busy_time_ms is more than stage_gen_time_ms"),
    };
    report.at_most(&name(what), span_time, row.busy_time_ms)
}

fn check_transfer<W: Write>(row: &TransferRow, report: &mut Report<'_, W>) -> Result<()> {
    let (from, to) = (crate::text::id(row.from_stage), crate::text::id(row.to_stage));
    let what = format!("edge {from}->{to}: total_time_ms is not the sum of its parts");
    report.same_time(&what, row.parts(), row.total_time_ms)
}

fn check_summary<W: Write>(summary: &OverallSummary, report: &mut Report<'_, W>) -> Result<()> {
    let OverallSummary { e2e_requests, e2e_wall_time_ms, e2e_total_tokens, .. } = summary;
    let wall = e2e_wall_time_ms.as_nanos();
    let average = wall.saturating_add(e2e_requests / 2).checked_div(*e2e_requests).unwrap_or(0);
    let what = "e2e_avg_time_per_request_ms is not e2e_wall_time_ms / e2e_requests";
    report.same_time(what, Millis::from_nanos(average), summary.e2e_avg_time_per_request_ms)?;
    let rate = if wall == 0 { 0.0 } else { *e2e_total_tokens as f64 / (wall as f64 / 1e9) };
    let found = summary.e2e_avg_tokens_per_s;
    // Written with six decimals.
    if (rate - found).abs() > 1e-6 + rate * 1e-12 {
        let what = "e2e_avg_tokens_per_s is not e2e_total_tokens * 1000 / e2e_wall_time_ms";
        report.say(&format!("{what}: expected {rate:.6}, found {found}"))?;
    }
    Ok(())
}

fn sum(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(0, u64::saturating_add)
}

/// The numbers that the lines of a run have had, as stretches without a gap: first to last.
#[derive(Default)]
struct Numbers {
    stretches: BTreeMap<u64, u64>,
}

impl Numbers {
    fn add<W: Write>(&mut self, number: u64, report: &mut Report<'_, W>) -> Result<()> {
        let before = self.stretches.range(..=number).next_back().map(|(first, last)| (*first, *last));
        match before {
            Some((_, last)) if last >= number && number > NEAR_BEGINNING => {
                return report.say(&format!("e2e_requests: expected each number once, found {number} again"));
            }
            Some((_, last)) if last >= number => {
                // Another run has begun in the same file.
                let run = std::mem::take(self);
                run.finish(report)?;
                return self.add(number, report);
            }
            Some((first, last)) if last + 1 == number => {
                self.stretches.insert(first, number);
                self.close_gap(first, number);
            }
            _ if self.stretches.len() < STRETCHES => {
                self.stretches.insert(number, number);
                self.close_gap(number, number);
            }
            _ => {}
        }
        Ok(())
    }

    fn close_gap(&mut self, first: u64, last: u64) {
        if let Some(end) = last.checked_add(1).and_then(|next| self.stretches.remove(&next)) {
            self.stretches.insert(first, end);
        }
    }

    fn finish<W: Write>(self, report: &mut Report<'_, W>) -> Result<()> {
        let mut expected = 1;
        for (at, (first, last)) in self.stretches.into_iter().enumerate() {
            if first > expected && at < GAPS {
                let missing = first - expected;
                report.say(&format!(
                    "e2e_requests: expected every number of the run, found none of {expected} to {} ({missing} lines are missing)",
                    first - 1
                ))?;
            }
            expected = last.saturating_add(1);
        }
        Ok(())
    }
}
