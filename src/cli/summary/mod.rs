//! `summary`: a run in numbers, from its lines.

use std::{io::Write, process::ExitCode};

use crate::cli::{
    argument::count,
    failure::{Result, complain},
    files::Files,
    groups::{GroupArgs, GroupTable, Grouping, Percent, RequestGroups},
    help::Help,
    input::Inputs,
    json,
    objectives::Objectives,
    paint,
    percentiles::{PercentileArgs, with_default},
    running::{Running, Signs},
    sentence::{WIDTH, in_lines},
};

mod figures;
mod fold;
mod rows;
mod text;

pub(super) use figures::{LogSummary, NamedCount};
pub(super) use fold::{Summary, counted};

/// Of which stage the outputs are whose times the table of groups of requests has.
const FIRST: &str = "first: until the first output of any stage. --by stage_name has it for each stage.";

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
        ("A row for each outcome", "omni-metrics summary --by finish_reason service.log"),
        ("A row for each model", "omni-metrics summary --by fields.model service.log"),
        (
            "Which process is slow or has a queue, from the logs of all",
            "omni-metrics summary --by stage_name,file logs/",
        ),
        ("Which stage has a queue", "omni-metrics summary --by stage_name service.log"),
        (
            "How many met an objective, minute by minute",
            "omni-metrics summary --slo e2e=2s --every 1m service.log",
        ),
        ("A row for each number, for a spreadsheet", "omni-metrics summary --csv service.log >run.csv"),
    ],
    note: Some(
        "Percentiles are the middles of the buckets of a histogram, and less than 1 % from the exact ones; \
         counts, means and the largest values are exact. `compare` interpolates its percentiles, so the two \
         may differ by 1 %. The queue_time_ms of a stage adds up those of its spans, which may wait at the \
         same time, so it can be more than e2e_total_ms; `waiting for stages` counts each moment once. In \
         the table of --by or --every, `first` is the time to the first output of any stage. That of each \
         stage is in the table of --by stage_name; --slo first_output@STAGE=LIMIT says how many requests \
         have that of one stage within a limit.",
    ),
    two: Some("Or no request has a value for an objective of `--slo`."),
    ..Help::NONE
};

#[derive(Debug, clap::Args)]
#[command(mut_arg("percentiles", |arg| with_default(arg, "50,90,99,99.9; of groups: 50,90,99")))]
pub(super) struct Args {
    /// One line of JSON, with the keys of a line of type summary and more
    #[arg(long)]
    json: bool,
    /// Comma-separated values: a row for each number, or, with --by or --every, for each group
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    #[command(flatten)]
    percentiles: PercentileArgs,
    /// How many of the slowest requests to show
    #[arg(long, value_name = "N", default_value = "5", value_parser = count, allow_negative_numbers = true)]
    slowest: u32,
    #[command(flatten)]
    objectives: Objectives,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    groups: GroupArgs,
}

pub(super) fn run(args: &Args, out: &mut impl Write) -> Result<ExitCode> {
    let mut inputs = Inputs::new(&args.files)?;
    if let Some(grouping) = args.groups.grouping() {
        return run_by_groups(args, &grouping, inputs, out);
    }
    let (signs, mut running) = (Signs::default(), Running::default());
    let signs_of_cores = signs.clone();
    let summary = inputs.fold_and_map(
        || Summary::new(args.slowest as usize).with_objectives(&args.objectives),
        |summary, line| summary.add(line),
        Summary::merge,
        move |line| signs_of_cores.of(line),
        |place, sign| running.add(&signs, place, sign),
    )?;
    let missing = summary.missing();
    let is_text = !args.json && !args.csv;
    let unjoined = inputs.read.unjoined().filter(|_| !is_text || !missing.is_empty());
    unjoined.iter().chain(&missing).for_each(|sentence| complain(sentence));
    let percents = match args.percentiles.chosen() {
        [] if args.csv => &Percent::OF_RUN,
        percents => percents,
    };
    let chosen = summary.chosen(percents);
    let log_summary =
        LogSummary { chosen, ..summary.into_log_summary(inputs.read, running, &inputs.selection) };
    inputs.warn_of_doubles();
    log_summary.on_rates.iter().filter(|_| !is_text).for_each(|sentence| complain(sentence));
    if args.json {
        json::write(out, &log_summary)?;
    } else if args.csv {
        log_summary.write_csv(percents, out)?;
    } else {
        let mut text = Vec::new();
        log_summary.print(percents, &mut text)?;
        out.write_all(paint::tables(&String::from_utf8_lossy(&text)).as_bytes())?;
    }
    Ok(inputs.exit_code(if missing.is_empty() { 0 } else { 2 }))
}

/// Prints a row for each group.
fn run_by_groups(
    args: &Args,
    grouping: &Grouping,
    mut inputs: Inputs,
    out: &mut impl Write,
) -> Result<ExitCode> {
    grouping.check(&args.objectives)?;
    let new = || RequestGroups::new(grouping.clone(), &args.objectives);
    let groups = inputs.fold(new, RequestGroups::add, RequestGroups::merge)?;
    let table = groups.into_table(args.percentiles.or(&Percent::USUAL), &inputs.selection);
    inputs.warn_of_doubles();
    let is_text = !args.json && !args.csv;
    let is_of_stages = grouping.is_of_stages();
    let table = table.with_rows_of_workers(if is_of_stages { 0 } else { inputs.read.rows_of_workers });
    let unjoined = inputs.read.unjoined().filter(|_| !is_of_stages);
    if let Some(sentence) = unjoined.as_ref().filter(|_| is_text) {
        writeln!(out, "{}\n", in_lines(sentence))?;
    }
    let unjoined = unjoined.filter(|_| !is_text || !table.missing.is_empty());
    let why_empty = table.why_empty().filter(|_| !is_text).map(str::to_owned);
    let remarks = unjoined.or(why_empty).into_iter().chain(table.remarks().iter().cloned());
    remarks.chain(table.missing.iter().cloned()).for_each(|remark| complain(&remark));
    match (args.json, args.csv) {
        (true, _) => {
            json::write(out, &table)?;
        }
        (_, true) => table.write_csv(out)?,
        _ => print_groups(&table, grouping, out)?,
    }
    Ok(inputs.exit_code(if table.missing.is_empty() { 0 } else { 2 }))
}

/// Prints the table of groups.
pub(super) fn print_groups(table: &GroupTable, grouping: &Grouping, out: &mut impl Write) -> Result<()> {
    if let Some(why) = table.why_empty() {
        return Ok(writeln!(out, "{why}")?);
    }
    writeln!(out, "{}", paint::tables(&table.text().fitted(WIDTH)))?;
    if !grouping.is_of_stages() {
        writeln!(out, "{FIRST}")?;
    }
    for note in table.notes() {
        writeln!(out, "{}", in_lines(&note))?;
    }
    Ok(())
}
