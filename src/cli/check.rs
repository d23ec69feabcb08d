//! `check`: every invariant of a line, and of a run's lines.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    io::Write,
    process::ExitCode,
};

use super::{
    Result,
    input::{Counts, Inputs},
    paint,
};
use crate::{
    Line, Millis, OverallSummary, RequestLine, SCHEMA, StageRow, TransferRow, request::Shown, text::printable,
};

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
    inputs.map(
        || |line| Found::of(&line),
        |place, found| {
            let mut sentences = found.violations;
            if let Some(number) = found.number {
                let run = match numbers.get_mut(place.file) {
                    Some(run) => run,
                    None => numbers.entry(place.file.to_owned()).or_default(),
                };
                run.add(number, &mut sentences);
            }
            violations += sentences.len();
            Ok(sentences.iter().try_for_each(|sentence| writeln!(out, "{place}: {}", printable(sentence)))?)
        },
    )?;
    for (file, run) in numbers {
        let mut sentences = Vec::new();
        run.finish(&mut sentences);
        violations += sentences.len();
        sentences.iter().try_for_each(|sentence| writeln!(out, "{file}: {sentence}"))?;
    }
    let read = inputs.read;
    if violations == 0 && read.broken == 0 {
        let sound = paint::good(format!("{} lines are sound", read.lines));
        writeln!(out, "{sound}, {} lines of others", read.foreign)?;
        return Ok(ExitCode::SUCCESS);
    }
    let found = paint::bad(format!("{violations} violations"));
    let Counts { lines, broken, foreign } = read;
    writeln!(out, "{found} in {lines} lines, {broken} broken lines, {foreign} lines of others")?;
    Ok(ExitCode::from(1))
}

/// What there is to say of a line.
struct Found {
    violations: Vec<String>,
    /// The number of its request.
    number: Option<u64>,
}

impl Found {
    fn of(line: &Line) -> Self {
        let mut report = Report(Vec::new());
        match line {
            Line::Request(line) => check_request(line, &mut report),
            Line::Stage(line) => {
                report.same("schema", SCHEMA, line.schema);
                check_stage(&line.row, &mut report);
            }
            Line::Transfer(line) => {
                report.same("schema", SCHEMA, line.schema);
                check_transfer(&line.row, &mut report);
            }
            Line::Summary(line) => {
                report.same("schema", SCHEMA, line.schema);
                check_summary(&line.overall_summary, &mut report);
            }
        }
        let number = match line {
            Line::Request(line) => Some(line.overall_summary.e2e_requests),
            _ => None,
        };
        Self { violations: report.0, number }
    }
}

/// Violations, a sentence each.
struct Report(Vec<String>);

impl Report {
    fn say(&mut self, what: String) {
        self.0.push(what);
    }

    fn same<T: PartialEq + Display>(&mut self, what: &str, expected: T, found: T) {
        if expected != found {
            self.say(format!("{what}: expected {expected}, found {found}"));
        }
    }

    /// To within a nanosecond.
    fn same_time(&mut self, what: impl Display, expected: Millis, found: Millis) {
        if expected.as_nanos().abs_diff(found.as_nanos()) > 1 {
            self.say(format!("{what}: expected {expected}, found {found}"));
        }
    }

    fn at_most(&mut self, what: impl Display, most: Option<Millis>, found: Option<Millis>) {
        if let (Some(most), Some(found)) = (most, found)
            && found > most
        {
            self.say(format!("{what}: expected at most {most}, found {found}"));
        }
    }
}

fn check_request(line: &RequestLine, report: &mut Report) {
    let e2e = &line.e2e_table;
    report.same("schema", SCHEMA, line.schema);
    check_summary(&line.overall_summary, report);
    if line.overall_summary.e2e_requests == 0 {
        report.say("e2e_requests: expected at least 1 in a request, found 0".to_owned());
    }
    report.same("e2e_total_tokens is not the sum of the rows", line.tokens(), e2e.e2e_total_tokens);
    let bytes = sum(line.transfer_table.iter().filter_map(|row| row.size_bytes));
    report.same("transfers_total_bytes is not the sum of the rows", bytes, e2e.transfers_total_bytes);
    let time = sum(line.transfer_table.iter().map(|row| row.total_time_ms.as_nanos()));
    let what = "transfers_total_time_ms is not the sum of the rows";
    report.same_time(what, Millis::from_nanos(time), e2e.transfers_total_time_ms);
    let what = "unattributed_time_ms is more than e2e_total_ms";
    report.at_most(what, Some(e2e.e2e_total_ms), Some(e2e.unattributed_time_ms));
    let key = |row: &StageRow| (row.stage_id.is_none(), row.stage_id);
    if !line.stage_table.is_sorted_by(|row, next| key(row) < key(next)) {
        report.say("stage_table: expected in the order of stage_id, one row each, found another".to_owned());
    }
    if !line.transfer_table.is_sorted_by(|row, next| row.order() < next.order()) {
        report.say(
            "transfer_table: expected in the order of from_stage and to_stage, one row each, found another"
                .to_owned(),
        );
    }
    line.stage_table.iter().for_each(|row| check_stage(row, report));
    line.transfer_table.iter().for_each(|row| check_transfer(row, report));
}

fn check_stage(row: &StageRow, report: &mut Report) {
    let (stage, gen_time) = (Shown(row.stage_id), row.stage_gen_time_ms);
    let what = format_args!("stage {stage}: preprocess_time_ms is more than stage_gen_time_ms");
    report.at_most(what, gen_time, row.preprocess_time_ms);
    match row.wall_time_ms {
        Some(wall) => {
            let what = format_args!("stage {stage}: busy_time_ms is more than wall_time_ms");
            report.at_most(what, Some(wall), row.busy_time_ms);
        }
        None => {
            let what = format_args!("stage {stage}: busy_time_ms is more than stage_gen_time_ms");
            report.at_most(what, gen_time, row.busy_time_ms);
        }
    }
}

fn check_transfer(row: &TransferRow, report: &mut Report) {
    let (from, to) = (Shown(row.from_stage), Shown(row.to_stage));
    let what = format_args!("edge {from}->{to}: total_time_ms is not the sum of its parts");
    report.same_time(what, row.parts(), row.total_time_ms);
}

fn check_summary(summary: &OverallSummary, report: &mut Report) {
    let OverallSummary { e2e_requests, e2e_wall_time_ms, e2e_total_tokens, .. } = summary;
    let wall = e2e_wall_time_ms.as_nanos();
    let average = wall.saturating_add(e2e_requests / 2).checked_div(*e2e_requests).unwrap_or(0);
    let what = "e2e_avg_time_per_request_ms is not e2e_wall_time_ms / e2e_requests";
    report.same_time(what, Millis::from_nanos(average), summary.e2e_avg_time_per_request_ms);
    let rate = if wall == 0 { 0.0 } else { *e2e_total_tokens as f64 / (wall as f64 / 1e9) };
    let found = summary.e2e_avg_tokens_per_s;
    // Written with six decimals.
    if (rate - found).abs() > 1e-6 + rate * 1e-12 {
        let what = "e2e_avg_tokens_per_s is not e2e_total_tokens * 1000 / e2e_wall_time_ms";
        report.say(format!("{what}: expected {rate:.6}, found {found}"));
    }
}

fn sum(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(0, u64::saturating_add)
}

/// The numbers that the lines of a run have had.
#[derive(Default)]
struct Numbers {
    /// As stretches without a gap: first to last.
    stretches: BTreeMap<u64, u64>,
    /// Small ones that came once more: those of a new run in the same file as soon as there is a first
    /// request among them, and doubles otherwise.
    again: BTreeSet<u64>,
}

impl Numbers {
    fn add(&mut self, number: u64, sentences: &mut Vec<String>) {
        let before = self.stretches.range(..=number).next_back().map(|(first, last)| (*first, *last));
        match before {
            Some((_, last)) if last >= number => self.add_again(number, sentences),
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
    }

    fn add_again(&mut self, number: u64, sentences: &mut Vec<String>) {
        if number > NEAR_BEGINNING || !self.again.insert(number) {
            sentences.push(double(number));
        } else if number == 1 {
            let again = std::mem::take(&mut self.again);
            std::mem::take(self).finish(sentences);
            again.into_iter().for_each(|number| self.add(number, sentences));
        }
    }

    fn close_gap(&mut self, first: u64, last: u64) {
        if let Some(end) = last.checked_add(1).and_then(|next| self.stretches.remove(&next)) {
            self.stretches.insert(first, end);
        }
    }

    fn finish(self, sentences: &mut Vec<String>) {
        sentences.extend(self.again.into_iter().map(double));
        // A log that begins far on is the later part of a rotated one.
        let first = self.stretches.first_key_value().map(|(first, _)| *first);
        let mut expected = first.filter(|first| *first > NEAR_BEGINNING).unwrap_or(1);
        for (at, (first, last)) in self.stretches.into_iter().enumerate() {
            if first > expected && at < GAPS {
                let missing = first - expected;
                sentences.push(format!(
                    "e2e_requests: expected every number of the run, found none of {expected} to {} ({missing} lines are missing)",
                    first - 1
                ));
            }
            expected = last.saturating_add(1);
        }
    }
}

fn double(number: u64) -> String {
    format!("e2e_requests: expected each number once, found {number} again")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentences(numbers: impl IntoIterator<Item = u64>) -> Vec<String> {
        let (mut run, mut sentences) = (Numbers::default(), Vec::new());
        numbers.into_iter().for_each(|number| run.add(number, &mut sentences));
        run.finish(&mut sentences);
        sentences
    }

    #[test]
    fn a_run_that_is_whole_rotated_or_begun_again_is_sound() {
        assert!(sentences((1..=1000).rev()).is_empty());
        assert!(sentences(301..=600).is_empty(), "a later part of a log");
        assert!(sentences((1..=300).chain(1..=300)).is_empty());
        assert!(sentences((1..=300).chain([3, 2, 1, 4])).is_empty(), "a new run, out of order");
    }

    #[test]
    fn doubles_and_gaps_are_found() {
        for (numbers, found) in [
            ((1..=100).chain(50..=50).chain(101..=200).collect::<Vec<_>>(), vec!["found 50 again"]),
            ((1..=600).chain(500..=500).collect(), vec!["found 500 again"]),
            ((1..=300).chain(302..=303).collect(), vec!["none of 301 to 301"]),
            ((3..=300).collect(), vec!["none of 1 to 2"]),
            ((1..=9).chain([2, 1, 4]).collect(), vec!["none of 3 to 3"]),
            ((1..=9).chain([2, 2]).collect(), vec!["found 2 again", "found 2 again"]),
        ] {
            let sentences = sentences(numbers);
            assert_eq!(sentences.len(), found.len(), "{sentences:?}");
            assert!(
                sentences.iter().zip(&found).all(|(sentence, found)| sentence.contains(found)),
                "{sentences:?}"
            );
        }
    }
}
