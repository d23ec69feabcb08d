//! `check`: verifies every invariant of a line, and of the lines of a run.

use std::{fmt::Display, io::Write, mem, process::ExitCode};

use super::{
    amount::{LATE_ROW, LATE_ROWS, amount},
    failure::Result,
    input::Inputs,
    line_counts::LineCounts,
    numbers::{Findings, Numbers},
    paint,
    place::Place,
};
use crate::{
    Line, Millis, OverallSummary, RequestLine, StageRow, TransferRow,
    model::{
        id::Shown,
        numbers::{total_tokens, total_transfers},
        warnings::Warnings,
    },
    write::text::printable,
};

/// How many lines that occur twice are named; more are counted.
const DOUBLES: u64 = 20;

pub(super) fn run(mut inputs: Inputs, out: &mut impl Write) -> Result<ExitCode> {
    let mut log = Log::default();
    inputs.map(
        || |line| Found::of(&line),
        |place, found| {
            log.enter(place, out)?;
            let mut sentences = found.violations;
            match (place.twin, found.number) {
                (Some(twin), _) => {
                    log.doubles += 1;
                    if log.doubles > DOUBLES {
                        return log.write(place, &sentences, out);
                    }
                    let name = found.name;
                    sentences.push(format!("{name}: expected once, found the same line as {twin}"));
                }
                (None, Some(RequestNumber::Request(number))) => log.numbers.add(number),
                (None, Some(RequestNumber::Summary(requests))) => log.numbers.end(requests),
                (None, None) => {}
            }
            log.write(place, &sentences, out)
        },
    )?;
    log.finish(out)?;
    if let Some(more) = log.doubles.checked_sub(DOUBLES).filter(|more| *more > 0) {
        log.violations += more;
        writeln!(out, "{}", amount(more, "more line occurs twice", "more lines occur twice"))?;
    }
    let LineCounts { lines, foreign, broken, unknown, late, .. } = inputs.read;
    let is_sound = log.violations == 0 && broken == 0;
    let mut parts = Vec::new();
    if is_sound {
        parts.push(paint::good(amount(lines, "line is sound", "lines are sound")).to_string());
    } else {
        let violations = paint::bad(amount(log.violations, "violation", "violations"));
        parts.push(format!("{violations} in {}", amount(lines, "line", "lines")));
        parts.push(amount(broken, "broken line", "broken lines"));
    }
    parts.push(amount(foreign, "foreign line", "foreign lines"));
    if unknown > 0 {
        parts.push(amount(unknown, "line of an unknown schema", "lines of an unknown schema"));
    }
    if late > 0 {
        parts.push(amount(late, LATE_ROW, LATE_ROWS));
    }
    writeln!(out, "{}", parts.join(", "))?;
    Ok(inputs.exit_code(if is_sound { 0 } else { 1 }))
}

/// The files in turn, and the findings so far.
#[derive(Default)]
struct Log {
    file: Option<(usize, String)>,
    numbers: Numbers,
    violations: u64,
    doubles: u64,
}

impl Log {
    /// Begins another file, which has runs of its own.
    fn enter(&mut self, place: Place<'_>, out: &mut impl Write) -> Result<()> {
        if self.file.as_ref().is_some_and(|(index, _)| *index == place.index) {
            return Ok(());
        }
        self.finish(out)?;
        self.file = Some((place.index, place.file.to_owned()));
        Ok(())
    }

    fn write(&mut self, place: Place<'_>, sentences: &[String], out: &mut impl Write) -> Result<()> {
        self.violations += sentences.len() as u64;
        Ok(sentences.iter().try_for_each(|sentence| writeln!(out, "{place}: {}", printable(sentence)))?)
    }

    fn finish(&mut self, out: &mut impl Write) -> Result<()> {
        let Some((_, file)) = self.file.take() else { return Ok(()) };
        let Findings { violations, more, notes } = mem::take(&mut self.numbers).finish();
        self.violations += violations.len() as u64 + more;
        violations.iter().chain(&notes).try_for_each(|sentence| writeln!(out, "{file}: {sentence}"))?;
        if more > 0 {
            let gaps = amount(more, "more gap or repeated number", "more gaps and repeated numbers");
            writeln!(out, "{file}: e2e_requests: {gaps}")?;
        }
        Ok(())
    }
}

/// The violations in a line, and what it says of its run.
struct Found {
    violations: Vec<String>,
    number: Option<RequestNumber>,
    /// The name of the line in a sentence.
    name: String,
}

/// The number of requests in the run, as a line has it.
enum RequestNumber {
    /// Up to and with the request.
    Request(u64),
    /// Up to the summary.
    Summary(u64),
}

impl Found {
    fn of(line: &Line) -> Self {
        let mut violations = Violations(Vec::new());
        match line {
            Line::Request(line) => check_request(line, &mut violations),
            Line::Stage(line) => {
                check_stage(&line.row, &mut violations);
            }
            Line::Transfer(line) => {
                check_transfer(&line.row, &mut violations);
            }
            Line::Summary(line) => {
                check_summary(&line.overall_summary, &mut violations);
            }
        }
        let number = match line {
            Line::Request(line) => Some(RequestNumber::Request(line.overall_summary.e2e_requests)),
            Line::Summary(line) => Some(RequestNumber::Summary(line.overall_summary.e2e_requests)),
            Line::Stage(_) | Line::Transfer(_) => None,
        };
        let id = line.request_id().unwrap_or("none");
        let name = match line {
            Line::Request(line) => {
                format!("request {id}, e2e_requests {}", line.overall_summary.e2e_requests)
            }
            Line::Stage(_) => format!("stage of request {id}"),
            Line::Transfer(_) => format!("transfer of request {id}"),
            Line::Summary(_) => "summary".to_owned(),
        };
        Self { violations: violations.0, number, name }
    }
}

/// Violations, a sentence each.
struct Violations(Vec<String>);

impl Violations {
    fn add(&mut self, sentence: String) {
        self.0.push(sentence);
    }

    fn same<T: PartialEq + Display>(&mut self, what: &str, expected: T, found: T) {
        if expected != found {
            self.add(format!("{what}: expected {expected}, found {found}"));
        }
    }

    /// Accepts a difference of one nanosecond.
    fn same_time(&mut self, what: impl Display, expected: Millis, found: Millis) {
        if expected.as_nanos().abs_diff(found.as_nanos()) > 1 {
            self.add(format!("{what}: expected {expected}, found {found}"));
        }
    }

    fn at_most(&mut self, what: impl Display, most: Option<Millis>, found: Option<Millis>) {
        if let (Some(most), Some(found)) = (most, found)
            && found > most
        {
            self.add(format!("{what}: expected at most {most}, found {found}"));
        }
    }
}

fn check_request(line: &RequestLine, violations: &mut Violations) {
    let e2e = &line.e2e_table;
    check_summary(&line.overall_summary, violations);
    if line.overall_summary.e2e_requests == 0 {
        violations.add("e2e_requests: expected at least 1 in a request, found 0".to_owned());
    }
    let unread = &mut Warnings::default();
    let tokens = total_tokens(line.stage_table.iter(), unread);
    let (bytes, time) = total_transfers(line.transfer_table.iter(), unread);
    violations.same("e2e_total_tokens is not the sum of the rows", tokens, e2e.e2e_total_tokens);
    violations.same("transfers_total_bytes is not the sum of the rows", bytes, e2e.transfers_total_bytes);
    let what = "transfers_total_time_ms is not the sum of the rows";
    violations.same_time(what, time, e2e.transfers_total_time_ms);
    let what = "unattributed_time_ms is more than e2e_total_ms";
    violations.at_most(what, Some(e2e.e2e_total_ms), Some(e2e.unattributed_time_ms));
    if !line.stage_table.is_sorted_by(|row, next| row.order() < next.order()) {
        violations
            .add("stage_table: expected in the order of stage_id, one row each, found another".to_owned());
    }
    if !line.transfer_table.is_sorted_by(|row, next| row.order() < next.order()) {
        violations.add(
            "transfer_table: expected in the order of from_stage and to_stage, one row each, found another"
                .to_owned(),
        );
    }
    line.stage_table.iter().for_each(|row| check_stage(row, violations));
    line.transfer_table.iter().for_each(|row| check_transfer(row, violations));
}

fn check_stage(row: &StageRow, violations: &mut Violations) {
    let (stage, gen_time) = (Shown(row.stage_id), row.stage_gen_time_ms);
    let what = format!("stage {stage}: preprocess_time_ms is more than stage_gen_time_ms");
    violations.at_most(what, gen_time, row.preprocess_time_ms);
    match row.wall_time_ms {
        Some(wall) => {
            let what = format!("stage {stage}: busy_time_ms is more than wall_time_ms");
            violations.at_most(what, Some(wall), row.busy_time_ms);
        }
        None => {
            let what = format!("stage {stage}: busy_time_ms is more than stage_gen_time_ms");
            violations.at_most(what, gen_time, row.busy_time_ms);
        }
    }
}

fn check_transfer(row: &TransferRow, violations: &mut Violations) {
    let (from, to) = (Shown(row.from_stage), Shown(row.to_stage));
    let what = format!("edge {from}->{to}: total_time_ms is not the sum of its parts");
    violations.same_time(what, row.total(&mut Warnings::default()), row.total_time_ms);
}

fn check_summary(summary: &OverallSummary, violations: &mut Violations) {
    let OverallSummary { e2e_requests, e2e_wall_time_ms, e2e_total_tokens, .. } = summary;
    let wall = e2e_wall_time_ms.as_nanos();
    let average = wall.saturating_add(e2e_requests / 2).checked_div(*e2e_requests).unwrap_or(0);
    let what = "e2e_avg_time_per_request_ms is not e2e_wall_time_ms / e2e_requests";
    violations.same_time(what, Millis::from_nanos(average), summary.e2e_avg_time_per_request_ms);
    let rate = if wall == 0 { 0.0 } else { *e2e_total_tokens as f64 / (wall as f64 / 1e9) };
    let found = summary.e2e_avg_tokens_per_s;
    // Written with six decimals.
    if (rate - found).abs() > 1e-6 + rate * 1e-12 {
        let what = "e2e_avg_tokens_per_s is not e2e_total_tokens * 1000 / e2e_wall_time_ms";
        violations.add(format!("{what}: expected {rate:.6}, found {found}"));
    }
}
