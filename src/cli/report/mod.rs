//! `report`: a run as one page for the browser, which needs nothing else.

use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

use super::{
    failure::{Failure, Result, complain},
    files::Files,
    groups::GroupArgs,
    help::Help,
    in_the_way::InTheWay,
    input::Inputs,
    objectives::Objectives,
    output,
    percentiles::{PercentileArgs, with_default},
    running::{Running, Signs},
};

pub(super) mod axis;
mod course;
mod ending;
pub(super) mod figures;
mod head;
mod json;
pub(super) mod latency;
pub(super) mod limits;
mod over_time;
mod overview;
mod page;
pub(super) mod plot;
mod points;
mod sample;
mod shown;
pub(super) mod spent;
mod stages;
mod standing;
mod stretch;
mod stretches;
pub(super) mod templates;
mod way;

use page::Page;

/// How many of the requests that were in the way of one are named for each stage.
const NAMED: usize = 2;

/// The script of the page, one noun a file.
const SCRIPT: &str = concat!(
    "\"use strict\";\n",
    include_str!("script/figures.js"),
    include_str!("script/tip.js"),
    include_str!("script/run.js"),
    include_str!("script/selection.js"),
    include_str!("script/over_time.js"),
    include_str!("script/recount.js"),
    include_str!("script/waterfall.js"),
    include_str!("script/request.js"),
    include_str!("script/list.js"),
    include_str!("script/link.js"),
);

pub(super) const HELP: Help = Help {
    examples: &[
        ("A page for the browser", "omni-metrics report service.log -o report.html"),
        (
            "The page of a log on another machine",
            "ssh host cat service.log | omni-metrics report -o page.html",
        ),
        (
            "With the requests that met an objective, and a table of the models",
            "omni-metrics report --slo e2e=2s --by fields.model service.log -o report.html",
        ),
        (
            "Where the time of the slowest tenth goes",
            "omni-metrics report --json service.log | jq '.where_the_time_goes[2].parts'",
        ),
    ],
    note: Some(
        "All requests count in the figures and charts. The page has at most 1.5 MB: of a long log, it lists \
         the slowest requests, some that failed, and a sample of the others. Percentiles are those of \
         `summary`: less than 1 % from the exact ones.",
    ),
    two: Some("Or no request has a value for an objective of `--slo`."),
    ..Help::NONE
};

#[derive(Debug, clap::Args)]
#[command(mut_arg("percentiles", |arg| with_default(arg, "50,90,99; in the table of the run also 99.9")))]
pub(super) struct Args {
    /// The file for the page; without it, the page goes to standard output, unless that is a terminal
    #[arg(short, long, value_name = "PAGE")]
    output: Option<PathBuf>,
    /// One line of JSON with the figures of the page, in place of the page; its key `summary` has what
    /// `summary --json` prints
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    percentiles: PercentileArgs,
    #[command(flatten)]
    objectives: Objectives,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    groups: GroupArgs,
}

pub(super) fn run(args: &Args, out: &mut impl Write) -> Result<ExitCode> {
    if args.output.is_none() && !args.json && io::stdout().is_terminal() {
        let instead = "name a file for it, `-o FILE`, or send it to one, `> FILE`";
        return Err(Failure::Io(format!("the page is not for a terminal; {instead}")));
    }
    // The page reads its input twice.
    let mut inputs = if args.json { Inputs::new(&args.files)? } else { Inputs::copied(&args.files)? };
    if let Some(path) = &args.output {
        inputs.refuse_output(path)?;
    }
    let grouping = args.groups.grouping();
    let new = || Page::new(&args.objectives, &args.percentiles, grouping.clone());
    let (signs, mut running) = (Signs::default(), Running::default());
    let signs_of_cores = signs.clone();
    let page = inputs.fold_and_map(
        new,
        Page::add,
        Page::merge,
        move |line| signs_of_cores.of(line),
        |place, sign| running.add(&signs, place, sign),
    )?;
    inputs.warn_of_doubles();
    let missing = page.missing();
    inputs.read.unjoined().iter().chain(&missing).for_each(|sentence| complain(sentence));
    let mut written = Vec::new();
    if args.json {
        super::json::write(&mut written, &page.into_figures(&inputs, running))?;
    } else {
        written.extend(html(page, &inputs, running)?.into_bytes());
    }
    match &args.output {
        None => out.write_all(&written)?,
        Some(path) => output::write(path, |file| Ok(file.write_all(&written)?))?,
    }
    Ok(inputs.exit_code(if missing.is_empty() { 0 } else { 2 }))
}

/// The page, for which the log is read again.
fn html(page: Page, inputs: &Inputs, running: Running) -> Result<String> {
    let page = page.sampled(inputs, running)?;
    // What was in the way of a request is known once it is known which requests the page shows.
    let nobody = InTheWay::new(page.waiters(), NAMED, inputs.is_of_several_logs());
    let found = inputs.again().fold(|| nobody.clone(), |others, line| others.add(line), InTheWay::merge)?;
    page.html(&found.into_meanwhile())
}
