//! `compare`: two logs, and what changed between them.

use std::{collections::BTreeSet, io::Write, path::PathBuf, process::ExitCode};

use serde::Serialize;

use super::{
    attainment::Attainment,
    failure::{Failure, Result, complain},
    groups::{By, Percent},
    help::Help,
    json,
    objectives::Objectives,
    paint,
    percentiles::{PercentileArgs, with_default},
    selection::SelectionArgs,
    stage_names::StageNames,
};
mod bins;
mod blocks;
mod change;
mod comparison;
mod condition;
mod counts;
mod distribution;
mod groups;
mod metric;
mod named;
mod page;
mod remarks;
mod repeated;
mod rows;
mod sample;
mod shown;
mod sides;
mod student;
mod text;
mod undecided;

#[cfg(test)]
mod simulated;

use comparison::Comparison;
use condition::{Condition, Outcome, Verdict};
use distribution::Distribution;
use groups::ByGroup;
use sample::Sample;
use sides::{Side, remarks};

/// The draws of both logs are the same in each run of the program, and independent of each other.
const SEEDS: [u64; 2] = [1, 2];

pub(super) const HELP: Help = Help {
    examples: &[
        ("What changed between two runs", "omni-metrics compare before.jsonl after.jsonl"),
        ("Two sets of files", "omni-metrics compare before-*.jsonl -- after-*.jsonl"),
        ("What changed in one log at 12:05", "omni-metrics compare --split 12:05 service.log"),
        (
            "A check in CI: exit code 1 if p99 rose by more than 5 %, and not by chance",
            "omni-metrics compare --fail-if 'e2e.p99 > +5%' main.jsonl branch.jsonl",
        ),
        (
            "The same with fewer than 1,000 requests in a log, where p99 has no interval",
            "omni-metrics compare --fail-if 'e2e.p90 > +5%' main.jsonl branch.jsonl",
        ),
        (
            "A page with both distributions",
            "omni-metrics compare --output page.html before.jsonl after.jsonl",
        ),
        ("A row for each figure, for a spreadsheet", "omni-metrics compare --csv before.jsonl after.jsonl"),
        ("What became of each model", "omni-metrics compare --by fields.model before.jsonl after.jsonl"),
        (
            "How many more requests met an objective",
            "omni-metrics compare --slo e2e=2s before.jsonl after.jsonl",
        ),
    ],
    note: Some(
        "Means are exact. Percentiles are interpolated within the bins of a histogram, and less than 1 % \
         from the exact ones. Those of `summary` are middles of its buckets, so the two may differ by 1 %. \
         --every has no meaning here, since two logs have no stretches of time in common.",
    ),
    one: Some("A condition of `--fail-if` holds."),
    two: Some(
        "Or a condition of `--fail-if` is undecided: its figure is beyond the limit, but has no interval \
         that tells a change from chance, or a log does not have it. For an interval, requests must have \
         ended in at least eight blocks of time; for that of a percentile, requests that reach it in at \
         least five of them. p90 usually has an interval with 200 requests, and p99 with 1,000, unless the \
         slowest requests ended close together. Or no request has a value for an \
         objective of `--slo`.",
    ),
    ..Help::NONE
};

#[derive(Debug, clap::Args)]
#[command(mut_arg("percentiles", |arg| with_default(arg, "50,90,99; of groups: 50,99")))]
#[command(override_usage = "omni-metrics compare [OPTIONS] BEFORE AFTER\n       \
                      omni-metrics compare [OPTIONS] BEFORE... -- AFTER...\n       \
                      omni-metrics compare [OPTIONS] --split TIME LOG...")]
pub(super) struct Args {
    /// The first log and the second one; `-` is standard input. If one of them has several files, the files
    /// of the first log
    #[arg(value_name = "BEFORE")]
    logs: Vec<PathBuf>,
    /// The files of the second log, after `--`, if one of the logs has several
    #[arg(last = true, value_name = "AFTER")]
    after: Vec<PathBuf>,
    /// Compare the lines of one log before this time with those from it on
    ///
    /// A time as for --since; a line counts by its `timestamp`, the end of the request. --since and --until
    /// limit the two halves. Example: `omni-metrics compare --split 12:05 --since 11:55 --until 12:15 FILE`
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, conflicts_with = "after")]
    split: Option<String>,
    /// Exit code 1 if this condition holds, such as `e2e.p99 > +5%`, `requests_per_s < -10%` or `failed >
    /// 1%`; may be given several times
    ///
    /// A limit with a sign is for the change: the condition holds if the figure changed by more than that,
    /// and the 95 % interval of the change does not contain "no change". If a change beyond the limit has no
    /// interval, the exit code is 2. A limit without a sign is for the value in the second log, which is
    /// taken as it is.
    #[arg(long, value_name = "CONDITION")]
    fail_if: Vec<Condition>,
    /// The conditions of --fail-if hold only if the whole 95 % interval is beyond the limit
    #[arg(long, requires = "fail_if")]
    certain: bool,
    /// Also compare groups: the end-to-end time of the requests with each value of the key (finish_reason,
    /// fields.NAME, …), or for stage_name the times of each stage
    ///
    /// At most 256 groups, those whose names are first in alphabetical order; the rest is `others`. The table
    /// shows at most 64: those that changed, and those that differ most. For stage_name and stage_id, the
    /// groups are of rows of stages, and have the times of `summary --by stage_name`: all percentiles of gen,
    /// the highest percentile of queue, and the lowest percentile of first_output. Rows that belong to no
    /// request do not count.
    #[arg(long, value_name = "KEYS", value_parser = By::parse)]
    by: Option<By>,
    /// Every figure and every group, not only the main figures and what changed
    #[arg(long)]
    all: bool,
    /// Also write a page for the browser to this file, with both distributions
    #[arg(short, long, value_name = "PAGE")]
    output: Option<PathBuf>,
    /// One line of JSON
    #[arg(long)]
    json: bool,
    /// Comma-separated values: a row for each figure, each part of the time and each percentile of a group
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    #[command(flatten)]
    percentiles: PercentileArgs,
    #[command(flatten)]
    objectives: Objectives,
    #[command(flatten)]
    selection: SelectionArgs,
}

impl Args {
    /// The chosen percentiles, or these ones, in ascending order.
    fn percents(&self, default: &[Percent]) -> Vec<Percent> {
        BTreeSet::from_iter(self.percentiles.or(default).iter().copied()).into_iter().collect()
    }
}

pub(super) fn run(args: &Args, out: &mut impl Write) -> Result<ExitCode> {
    if let Some(condition) = args.fail_if.iter().find(|condition| condition.needs_objective())
        && args.objectives.slo.is_empty()
    {
        return Err(Failure::Io(format!(
            "--fail-if '{}' needs an objective for each request, such as `--slo e2e=2s`",
            condition.text()
        )));
    }
    let sides = Side::both(args)?;
    let mut stages = StageNames::default();
    sides.iter().for_each(|side| stages.merge(side.stage_names()));
    let resolved = args.fail_if.iter().map(|condition| condition.resolved(&stages));
    let conditions: Vec<_> = resolved.collect::<Result<_, _>>().map_err(Failure::Io)?;
    let remarks = remarks(&sides);
    let unjoined: Vec<_> = sides.iter().filter_map(|side| side.unjoined.clone()).collect();
    let is_text = !args.json && !args.csv;
    let has_figures = sides.iter().all(Side::has_requests);
    let on_stderr = unjoined.iter().filter(|_| !is_text || !has_figures || !remarks.is_empty());
    on_stderr.chain(&remarks).for_each(|sentence| complain(sentence));
    let is_missing = !remarks.is_empty();
    let has_unknown = sides.iter().any(|side| side.unknown > 0);
    let names = sides.each_ref().map(|side| side.name.clone());
    let attained = sides.each_ref().map(Side::attainment);
    let [rates_before, rates_after] = sides.each_ref().map(Side::on_rates);
    let [rows_before, rows_after] = sides.each_ref().map(|side| side.rows_of_workers);
    let [before, after] = sides;
    let (mut before, mut after) = (before.into_sample(SEEDS[0])?, after.into_sample(SEEDS[1])?);
    let further = conditions.iter().filter_map(Condition::percent);
    let mut comparison = Comparison::of(&before, &after, &args.percents(&Percent::USUAL), further);
    comparison.name_stages(&stages);
    let of_groups = args.percents(&groups::USUAL);
    let by_group = args.by.as_ref().map(|by| ByGroup::of(by, &of_groups, &mut before, &mut after));
    args.by.iter().flat_map(By::missing).for_each(|missing| complain(&missing));
    let verdicts = conditions.iter().map(|condition| condition.verdict(&comparison, args.certain));
    let conditions = verdicts.collect();
    let distribution = Distribution::of([&before.latencies, &after.latencies]);
    let ([first, second], [one, other]) = (names, attained);
    let before = Log { on_rates: rates_before, rows_of_workers: rows_before, ..Log::of(first, &before, one) };
    let after = Log { on_rates: rates_after, rows_of_workers: rows_after, ..Log::of(second, &after, other) };
    let report = Report { before, after, comparison, by_group, conditions, remarks, unjoined, stages };
    if let Some(path) = &args.output {
        std::fs::write(path, page::html(&report, distribution, &args.objectives)?)
            .map_err(|error| Failure::Io(format!("cannot write {}: {error}", path.display())))?;
    }
    if args.json || args.csv {
        match args.json {
            true => json::write(out, &report)?,
            false => report.write_csv(out)?,
        }
        report.conditions.iter().filter(|verdict| verdict.is_serious()).for_each(|verdict| {
            complain(&verdict.to_string());
        });
    } else {
        out.write_all(paint::tables(&report.text(args.all)).as_bytes())?;
    }
    let has = |outcome| report.conditions.iter().any(|verdict| verdict.outcome == outcome);
    Ok(match () {
        () if has_unknown => ExitCode::from(2),
        () if has(Outcome::Failed) => ExitCode::from(1),
        () if has(Outcome::Unknown) || is_missing => ExitCode::from(2),
        () => ExitCode::SUCCESS,
    })
}

/// Everything that the command says.
#[derive(Serialize)]
#[serde(tag = "type", rename = "comparison")]
struct Report {
    before: Log,
    after: Log,
    #[serde(flatten)]
    comparison: Comparison,
    #[serde(skip_serializing_if = "Option::is_none")]
    by_group: Option<ByGroup>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    conditions: Vec<Verdict>,
    /// Objectives for which the requests of a log have no value.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    remarks: Vec<String>,
    /// Which of the logs need `join`.
    #[serde(skip)]
    unjoined: Vec<String>,
    #[serde(skip)]
    stages: StageNames,
}

/// One of the two logs.
#[derive(Serialize)]
struct Log {
    files: String,
    requests: u64,
    lines: u64,
    /// How many blocks of time the intervals are computed from.
    blocks: usize,
    block_ms: f64,
    /// Rows of workers that are in no request before `join`, of the whole log.
    #[serde(skip_serializing_if = "is_zero")]
    rows_of_workers: u64,
    /// Requests that met all objectives, without a value for at least one of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    met_without_value: Option<u64>,
    /// The same as a sentence, if there are any.
    #[serde(skip)]
    note: Option<String>,
    /// Which of the time that rates are of has no selected request.
    #[serde(skip)]
    on_rates: Option<String>,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Log {
    fn of(files: String, sample: &Sample, attained: Option<Attainment>) -> Self {
        Self {
            files,
            requests: sample.requests(),
            lines: sample.lines(),
            blocks: sample.blocks.len(),
            block_ms: sample.micros as f64 / 1e3,
            met_without_value: attained.as_ref().map(|attained| attained.met_without_value),
            note: attained.and_then(|attained| attained.met_without_value()),
            on_rates: None,
            rows_of_workers: 0,
        }
    }
}
