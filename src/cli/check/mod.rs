//! `check`: verifies every invariant of a line, and of the lines of a run.

use std::{io::Write, mem, process::ExitCode};

use super::{
    failure::{Result, complain},
    files::Files,
    groups::{GroupArgs, Groups, Merge},
    help::Help,
    input::{BrokenLine, Inputs},
    json,
    log_line::LogLine,
};
use crate::write::columns::printable;

mod finding;
mod found;
mod groups;
mod holes;
mod ids;
mod kinds;
mod log;
mod log_ends;
mod lone_rows;
mod names;
mod restarts;
mod run_times;
mod stage_walls;
mod surplus;
mod verdict;
mod whole_run;
mod work;

use finding::{Finding, Form, record, say};
use found::Found;
use groups::{Checked, CheckedGroups};
use log::Log;
use verdict::Verdict;

pub(super) const HELP: Help = Help {
    examples: &[
        ("Verifies every line, and that no line is missing", "omni-metrics check service.log"),
        ("Which model has the violations", "omni-metrics check --by fields.model service.log"),
        ("Which requests never ended, from all logs", "omni-metrics check --json /var/log/pods"),
        ("A row for each violation and note, for a spreadsheet", "omni-metrics check --csv service.log"),
        ("The same in CI, for the program's stderr", "omni-metrics check stderr.log && echo sound"),
    ],
    note: Some(
        "Requests are numbered in each process, so a gap shows that lines are missing. Missing lines at the \
         end are noticed only if a summary line comes after them. Rows of workers have no numbers, so a \
         missing row does not show. If all logs of a fleet are given at once, notes name requests that \
         have no line, or another attempt without one, and logs that end before the others, as when a \
         process dies or hangs. A note also says when the numbers of a log begin anew, as after a restart. \
         Of each kind of note and of violation, 20 are named, and of requests without a line, 5; --json and \
         --csv have all.",
    ),
    zero: Some("Every line is sound."),
    one: Some("A line is broken or violates a rule, or lines are missing."),
    ..Help::NONE
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A line of JSON for each violation, note and request without a line, and one at the end with the counts
    #[arg(long)]
    json: bool,
    /// Comma-separated values: a row for each violation, note and request without a line, and one at the end
    /// with the verdict
    #[arg(long, conflicts_with_all = ["json", "by", "every"])]
    csv: bool,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    groups: GroupArgs,
}

/// Names the first broken lines. The last line of `--json` and `--csv` counts the rest.
fn name_broken(inputs: &Inputs, form: Form, out: &mut impl Write) -> Result<()> {
    let lines = inputs.broken.iter().flatten();
    if form != Form::Text {
        return say(
            form,
            out,
            lines.map(|BrokenLine { file, number, why }| Finding::BrokenLine {
                file,
                line: *number,
                text: why,
            }),
        );
    }
    for BrokenLine { file, number, why } in lines {
        writeln!(out, "{}", printable(&format!("{file}:{number}: a broken line is left out: {why}")))?;
    }
    Ok(inputs.more_broken().iter().try_for_each(|more| writeln!(out, "{more}"))?)
}

pub(super) fn run(args: &Args, out: &mut impl Write) -> Result<ExitCode> {
    let mut inputs = Inputs::new(&args.files)?;
    let grouping = args.groups.grouping();
    let mut groups = grouping.as_ref().map(Groups::<Checked>::new);
    let is_whole = inputs.selection.is_everything();
    inputs.broken = Some(Vec::new());
    let form = match (args.json, args.csv) {
        (true, _) => Form::Json,
        (_, true) => Form::Csv,
        _ => Form::Text,
    };
    form.begin(out)?;
    let mut log = Log::new(form, is_whole);
    // A line in several groups counts once here.
    let mut in_groups = Checked::default();
    let read = inputs.map(
        || {
            let grouping = grouping.clone();
            move |line: &mut LogLine| Found::of(line, grouping.as_ref())
        },
        |place, mut found| {
            let (names, timestamp) = (mem::take(&mut found.names), found.timestamp);
            let checked = log.add(place, found, out)?;
            if let Some(groups) = &mut groups {
                if !names.is_empty() {
                    in_groups.merge(checked);
                }
                for name in names {
                    groups.at(timestamp, Some(name)).merge(checked);
                }
            }
            Ok(())
        },
    );
    // Also if no line can be read.
    name_broken(&inputs, form, out)?;
    read?;
    log.finish(inputs.read.at_least(), out)?;
    let all = Checked { lines: inputs.read.lines, violations: log.violations, notes: log.notes.all() };
    let groups = groups
        .zip(grouping)
        .map(|(groups, grouping)| CheckedGroups::of(groups, &grouping, all.without(in_groups)));
    groups.iter().flat_map(|groups| &groups.remarks).for_each(|remark| complain(remark));
    let verdict = Verdict::of(&log, inputs.read, groups);
    match form {
        Form::Json => json::write(out, &verdict)?,
        Form::Csv => {
            let text = anstream::adapter::strip_str(&verdict.to_string()).to_string();
            record(["check".to_owned(), String::new(), String::new(), text], out)?;
        }
        Form::Text => writeln!(out, "{verdict}")?,
    }
    Ok(inputs.exit_code(if verdict.is_sound { 0 } else { 1 }))
}
