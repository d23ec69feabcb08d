//! `check`: verifies every invariant of a line, and of the lines of a run.

use std::{io::Write, mem, process::ExitCode};

use super::{
    amount::{LATE_ROW, LATE_ROWS, amount},
    failure::Result,
    help::Help,
    input::Inputs,
    invariants::{Remarks, check_line},
    line_counts::LineCounts,
    numbers::{Findings, Numbers},
    paint,
    place::Place,
};
use crate::{Line, write::text::printable};

/// How many lines that occur twice are named; more are counted.
const DOUBLES: u64 = 20;

pub(super) const HELP: Help = Help {
    examples: &[
        ("Verifies every line, and that no line is missing", "omni-metrics check service.log"),
        ("The same in CI, for the program's stderr", "omni-metrics check stderr.log && echo sound"),
    ],
    zero: Some("Every line is sound."),
    one: Some("A line is broken or violates a rule, or lines are missing."),
    ..Help::NONE
};

pub(super) fn run(mut inputs: Inputs, out: &mut impl Write) -> Result<ExitCode> {
    let mut log = Log::default();
    let is_whole = inputs.selection.is_everything();
    inputs.map(
        || |line| Found::of(&line),
        |place, found| {
            log.enter(place, out)?;
            let Remarks { violations: mut sentences, notes } = found.remarks;
            log.note(place, &notes, out)?;
            match (place.twin, found.number) {
                (Some(twin), _) => {
                    log.doubles += 1;
                    if log.doubles > DOUBLES {
                        return log.write(place, &sentences, out);
                    }
                    let name = found.name;
                    sentences.push(format!("{name}: expected once, found the same line as {twin}"));
                }
                // Of a selection, numbers are missing.
                (None, _) if !is_whole => {}
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
    if log.notes > 0 {
        parts.push(amount(log.notes, "note", "notes"));
    }
    if !is_whole {
        parts.push("e2e_requests not checked for gaps, since lines are left out".to_owned());
    }
    writeln!(out, "{}", parts.join(", "))?;
    Ok(inputs.exit_code(if is_sound { 0 } else { 1 }))
}

/// The files in turn, and the findings so far.
#[derive(Default)]
struct Log {
    /// Its number, that of its log, and its name.
    file: Option<(usize, usize, String)>,
    numbers: Numbers,
    violations: u64,
    /// Notes on lines.
    notes: u64,
    doubles: u64,
}

impl Log {
    /// Begins another file. The runs of a log go on in its next file; another log has runs of its own.
    fn enter(&mut self, place: Place<'_>, out: &mut impl Write) -> Result<()> {
        let Place { index, log, .. } = place;
        if self.file.as_ref().is_some_and(|(last, ..)| *last == index) {
            return Ok(());
        }
        if self.file.as_ref().is_some_and(|(_, last, _)| *last != log) {
            self.finish(out)?;
        }
        self.file = Some((index, log, place.file.to_owned()));
        Ok(())
    }

    fn write(&mut self, place: Place<'_>, sentences: &[String], out: &mut impl Write) -> Result<()> {
        self.violations += sentences.len() as u64;
        Ok(sentences.iter().try_for_each(|sentence| writeln!(out, "{place}: {}", printable(sentence)))?)
    }

    fn note(&mut self, place: Place<'_>, notes: &[String], out: &mut impl Write) -> Result<()> {
        self.notes += notes.len() as u64;
        Ok(notes.iter().try_for_each(|note| writeln!(out, "{place}: note: {}", printable(note)))?)
    }

    fn finish(&mut self, out: &mut impl Write) -> Result<()> {
        let Some((.., file)) = self.file.take() else { return Ok(()) };
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

/// What there is to say of a line, and what it says of its run.
struct Found {
    remarks: Remarks,
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
        let number = match line {
            Line::Request(line) => Some(RequestNumber::Request(line.overall_summary.e2e_requests)),
            Line::Summary(line) => Some(RequestNumber::Summary(line.overall_summary.e2e_requests)),
            Line::Stage(_) | Line::Transfer(_) | Line::Open(_) => None,
        };
        let id = line.request_id().unwrap_or("none");
        let name = match line {
            Line::Request(line) => {
                format!("request {id}, e2e_requests {}", line.overall_summary.e2e_requests)
            }
            Line::Stage(_) => format!("stage of request {id}"),
            Line::Transfer(_) => format!("transfer of request {id}"),
            Line::Summary(_) => "summary".to_owned(),
            Line::Open(_) => format!("open request {id}"),
        };
        Self { remarks: check_line(line), number, name }
    }
}
