//! `check`: verifies every invariant of a line, and of the lines of a run.

use std::{io::Write, mem, process::ExitCode};

use serde::Serialize;

use super::{
    amount::{LATE_ROW, LATE_ROWS, amount},
    failure::Result,
    files::Files,
    groups::{Group, GroupArgs, Grouping, Groups, Merge, Name},
    help::Help,
    input::Inputs,
    invariants::{Remarks, check_line},
    json,
    line_counts::LineCounts,
    numbers::{Ending, Findings, Numbers},
    paint,
    place::Place,
    sample_check::{SampleCheck, Verified, Witness},
    selection::timestamp,
};
use crate::{
    Line, Timestamp,
    write::text::{Cell, Columns, printable},
};

/// How many lines that occur twice are named; more are counted.
const DOUBLES: u64 = 20;

pub(super) const HELP: Help = Help {
    examples: &[
        ("Verifies every line, and that no line is missing", "omni-metrics check service.log"),
        ("Which model has the violations", "omni-metrics check --by fields.model service.log"),
        ("The same in CI, for the program's stderr", "omni-metrics check stderr.log && echo sound"),
    ],
    zero: Some("Every line is sound."),
    one: Some("A line is broken or violates a rule, or lines are missing."),
    ..Help::NONE
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    files: Files,
    /// A line of JSON for each violation and note, and one at the end with the counts
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    groups: GroupArgs,
}

pub(super) fn run(args: &Args, out: &mut impl Write) -> Result<ExitCode> {
    let mut inputs = Inputs::new(&args.files)?;
    let grouping = args.groups.grouping();
    let mut groups = grouping.as_ref().map(Groups::<Checked>::new);
    let mut log = Log { is_json: args.json, ..Log::default() };
    let is_whole = inputs.selection.is_everything();
    inputs.map(
        || {
            let grouping = grouping.clone();
            move |line| Found::of(&line, grouping.as_ref())
        },
        |place, found| {
            log.enter(place, out)?;
            if let Some(groups) = &mut groups {
                let mut checked = Checked { lines: 1, ..Checked::default() };
                checked.violations = found.remarks.violations.len() as u64;
                checked.notes = found.remarks.notes.len() as u64;
                found.names.iter().for_each(|name| {
                    groups.at(found.timestamp, Some(name.clone())).merge(checked);
                });
            }
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
                (None, Some(RequestNumber::Summary(ending))) => log.numbers.end(ending),
                (None, None) => {}
            }
            if is_whole && place.twin.is_none() {
                sentences.extend(log.sample.add(place, found.witness));
            }
            log.write(place, &sentences, out)
        },
    )?;
    log.finish(out)?;
    if let Some(more) = log.doubles.checked_sub(DOUBLES).filter(|more| *more > 0) {
        log.violations += more;
        if !args.json {
            writeln!(out, "{}", amount(more, "more line occurs twice", "more lines occur twice"))?;
        }
    }
    let groups = groups.zip(grouping).map(|(groups, grouping)| CheckedGroups::of(groups, &grouping));
    let is_sound = log.violations == 0 && inputs.read.broken == 0;
    if args.json {
        let summary = Verdict::of(&log, inputs.read, is_whole, groups.map(|groups| groups.rows));
        json::write(out, &summary)?;
        writeln!(out)?;
        return Ok(inputs.exit_code(if is_sound { 0 } else { 1 }));
    }
    if let Some(groups) = groups {
        writeln!(out, "{}\n", paint::tables(&groups.text().to_string()))?;
    }
    let LineCounts { lines, foreign, broken, unknown, late, .. } = inputs.read;
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
    if log.lost > 0 {
        parts.push(amount(log.lost, "line lost by the process", "lines lost by the process"));
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
    sample: SampleCheck,
    violations: u64,
    /// Notes on lines.
    notes: u64,
    doubles: u64,
    /// Lines that processes have counted as lost.
    lost: u64,
    is_json: bool,
}

/// What was found in a line or in a file, as JSON.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Finding<'a> {
    Violation {
        file: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        line: Option<u64>,
        text: &'a str,
    },
    Note {
        file: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        line: Option<u64>,
        text: &'a str,
    },
    /// What was verified of a sampled log.
    Sample {
        file: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        one_in: Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        verified_up_to: Option<u64>,
    },
}

/// The last line of JSON.
#[derive(Serialize)]
#[serde(tag = "type", rename = "check")]
struct Verdict {
    is_sound: bool,
    lines: u64,
    violations: u64,
    notes: u64,
    broken_lines: u64,
    foreign_lines: u64,
    unknown_schema_lines: u64,
    late_rows: u64,
    doubled_lines: u64,
    /// Lines that processes have counted as lost.
    lost_lines: u64,
    left_out_lines: u64,
    /// Whether the numbers of the run's requests were checked for gaps.
    numbers_checked: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<Vec<CheckedGroup>>,
}

impl Verdict {
    fn of(log: &Log, read: LineCounts, numbers_checked: bool, groups: Option<Vec<CheckedGroup>>) -> Self {
        Self {
            is_sound: log.violations == 0 && read.broken == 0,
            lines: read.lines,
            violations: log.violations,
            notes: log.notes,
            broken_lines: read.broken,
            foreign_lines: read.foreign,
            unknown_schema_lines: read.unknown,
            late_rows: read.late,
            doubled_lines: read.doubles,
            lost_lines: log.lost,
            left_out_lines: read.outside + read.unmatched,
            numbers_checked,
            groups,
        }
    }
}

/// What was found in the lines of a group.
#[derive(Debug, Default, Clone, Copy, Serialize)]
struct Checked {
    lines: u64,
    violations: u64,
    notes: u64,
}

impl Merge for Checked {
    fn merge(&mut self, other: Self) {
        self.lines += other.lines;
        self.violations += other.violations;
        self.notes += other.notes;
    }
}

#[derive(Serialize)]
struct CheckedGroup {
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    #[serde(flatten)]
    checked: Checked,
}

/// What was found, by group.
struct CheckedGroups {
    title: String,
    rows: Vec<CheckedGroup>,
}

impl CheckedGroups {
    fn of(groups: Groups<Checked>, grouping: &Grouping) -> Self {
        let row = |group: Group<Checked>| CheckedGroup {
            from: group.from(),
            until: group.until(),
            group: group.label(),
            checked: group.value,
        };
        let from = grouping.width.map(|_| "from".to_owned());
        let title = from.into_iter().chain(grouping.by.as_ref().map(ToString::to_string));
        let title = title.collect::<Vec<_>>().join(", ");
        Self { title, rows: groups.into_groups(grouping).into_iter().map(row).collect() }
    }

    fn text(&self) -> Columns {
        let mut table = Columns::named(&self.title, ["lines", "violations", "notes"]);
        for CheckedGroup { from, group, checked, .. } in &self.rows {
            let from = from.map(|from| from.to_string());
            let name: Vec<_> = from.into_iter().chain(group.clone()).collect();
            let Checked { lines, violations, notes } = *checked;
            table.row(&name.join(", "), [lines, violations, notes].into_iter().map(Cell::Count));
        }
        table
    }
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
        if self.is_json {
            let (file, line) = (place.file, Some(place.number));
            return say(out, sentences.iter().map(|text| Finding::Violation { file, line, text }));
        }
        Ok(sentences.iter().try_for_each(|sentence| writeln!(out, "{place}: {}", printable(sentence)))?)
    }

    fn note(&mut self, place: Place<'_>, notes: &[String], out: &mut impl Write) -> Result<()> {
        self.notes += notes.len() as u64;
        if self.is_json {
            let (file, line) = (place.file, Some(place.number));
            return say(out, notes.iter().map(|text| Finding::Note { file, line, text }));
        }
        Ok(notes.iter().try_for_each(|note| writeln!(out, "{place}: note: {}", printable(note)))?)
    }

    fn finish(&mut self, out: &mut impl Write) -> Result<()> {
        let Some((.., file)) = self.file.take() else { return Ok(()) };
        let by_number = mem::take(&mut self.numbers);
        // Most numbers are missing in a sampled log, which has more to show instead.
        self.lost += by_number.all_lost();
        let (findings, verified) = match mem::take(&mut self.sample).finish(&file) {
            Some((findings, verified)) => (findings, Some(verified)),
            None => (by_number.finish(&file), None),
        };
        let Findings { violations, more, notes } = findings;
        self.violations += violations.len() as u64 + more;
        if self.is_json {
            let name = file.as_str();
            say(
                out,
                violations.iter().map(|sentence| {
                    let (line, text) = located(sentence, name);
                    Finding::Violation { file: name, line, text }
                }),
            )?;
            let notes = notes.iter().map(|sentence| {
                let (line, text) = located(sentence, name);
                Finding::Note { file: name, line, text }
            });
            say(out, notes)?;
            let sample = |verified: Verified| Finding::Sample {
                file: name,
                one_in: verified.one_in,
                verified_up_to: verified.number(),
            };
            return say(out, verified.into_iter().map(sample));
        }
        let mut sentences = violations.iter().chain(&notes);
        sentences.try_for_each(|sentence| writeln!(out, "{}", printable(sentence)))?;
        if more > 0 {
            writeln!(out, "{file}: {}", amount(more, "more violation", "more violations"))?;
        }
        if let Some(verified) = verified {
            writeln!(out, "{}: {verified}", printable(&file))?;
        }
        Ok(())
    }
}

/// What there is to say of a line, and what it says of its run.
struct Found {
    remarks: Remarks,
    number: Option<RequestNumber>,
    witness: Witness,
    /// The name of the line in a sentence.
    name: String,
    timestamp: Timestamp,
    /// The groups of the line, if there are any.
    names: Vec<Name>,
}

/// The number of the line and the text of a sentence that begins with its place in the file.
fn located<'a>(sentence: &'a str, file: &str) -> (Option<u64>, &'a str) {
    let in_file = sentence.strip_prefix(file).and_then(|rest| rest.strip_prefix(':'));
    let Some((number, text)) = in_file.and_then(|rest| rest.split_once(' ')) else { return (None, sentence) };
    (number.strip_suffix(':').and_then(|number| number.parse().ok()), text)
}

/// Writes a line of JSON for each finding.
fn say<'a>(out: &mut impl Write, mut findings: impl Iterator<Item = Finding<'a>>) -> Result<()> {
    findings.try_for_each(|finding| {
        json::write(out, &finding)?;
        Ok(writeln!(out)?)
    })
}

/// The number of requests in the run, as a line has it.
enum RequestNumber {
    /// Up to and with the request.
    Request(u64),
    /// Up to the summary.
    Summary(Ending),
}

impl Found {
    fn of(line: &Line, grouping: Option<&Grouping>) -> Self {
        let by = |grouping: &Grouping| match &grouping.by {
            Some(by) => by.of_line(line),
            None => vec![Name::Absent],
        };
        let names = grouping.map(by).unwrap_or_default();
        let number = match line {
            Line::Request(line) => Some(RequestNumber::Request(line.overall_summary.e2e_requests)),
            Line::Summary(line) => Some(RequestNumber::Summary(Ending {
                requests: line.overall_summary.e2e_requests,
                lost: line.lines_lost.unwrap_or(0),
                is_report: line.window.is_some(),
            })),
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
        let witness = Witness::of(line);
        Self { remarks: check_line(line), number, witness, name, timestamp: timestamp(line), names }
    }
}
