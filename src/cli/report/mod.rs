//! `report`: a run as one page for the browser, which needs nothing else.

use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

use minijinja::{AutoEscape, Environment, Value, context, value::Serde};
use serde::Serialize;

use super::{
    amount::amount,
    failure::{Failure, Result},
    files::Files,
    help::Help,
    input::Inputs,
    objectives::Objectives,
    parts::Share,
    running::Running,
    stage_outputs::OutputsOfStage,
    summary::{LogSummary, NamedCount, Summary},
};
use crate::{
    Line, Millis, OverallSummary, Percentiles,
    write::text::{id, printable},
};

mod column;
mod figures;
mod latency;
mod sample;
mod throughput;

use figures::{count, decimal, shown};
use latency::Latencies;
use sample::Sample;
use throughput::Throughput;

pub(super) const HELP: Help = Help {
    examples: &[
        ("A page for the browser", "omni-metrics report service.log -o report.html"),
        (
            "The page of a log on another machine",
            "ssh host cat service.log | omni-metrics report -o page.html",
        ),
    ],
    ..Help::NONE
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    files: Files,
    /// Where the page goes; without it, to standard output, unless that is a terminal
    #[arg(short, long, value_name = "PAGE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    objectives: Objectives,
}

pub(super) fn run(args: &Args, out: &mut impl Write) -> Result<ExitCode> {
    if args.output.is_none() && io::stdout().is_terminal() {
        let instead = "name a file for it, `-o FILE`, or send it to one, `> FILE`";
        return Err(Failure::Io(format!("the page is not for a terminal; {instead}")));
    }
    let mut inputs = Inputs::new(&args.files)?;
    let page = inputs.fold(|| ReportPage::new(&args.objectives), ReportPage::add, ReportPage::merge)?;
    let html = page.into_html(&inputs)?;
    inputs.warn_of_doubles();
    match &args.output {
        None => out.write_all(html.as_bytes())?,
        Some(path) => std::fs::write(path, html)
            .map_err(|error| Failure::Io(format!("cannot write {}: {error}", path.display())))?,
    }
    Ok(inputs.exit_code(0))
}

/// The content of the page. Its size does not depend on how many lines there are.
struct ReportPage {
    summary: Summary,
    latencies: Latencies,
    throughput: Throughput,
    sample: Sample,
}

/// A headline number.
#[derive(Serialize)]
struct Tile {
    name: String,
    value: String,
}

impl ReportPage {
    fn new(objectives: &Objectives) -> Self {
        Self {
            summary: Summary::new(0).with_objectives(objectives),
            latencies: Latencies::default(),
            throughput: Throughput::default(),
            sample: Sample::default(),
        }
    }

    fn add(&mut self, line: &Line) {
        self.summary.add(line);
        if let Line::Request(line) = line {
            self.latencies.add(line);
            self.throughput.add(line);
            self.sample.add(line);
        }
    }

    fn merge(&mut self, other: &mut Self) {
        self.summary.merge(&mut other.summary);
        self.latencies.merge(&other.latencies);
        self.throughput.merge(&other.throughput);
        self.sample.merge(&mut other.sample);
    }

    fn into_html(self, inputs: &Inputs) -> Result<String> {
        let summary = self.summary.into_log_summary(inputs.read, Running::default());
        let Percentiles { e2e_total_ms, .. } = &summary.line.percentiles;
        let marks: Vec<_> = e2e_total_ms
            .iter()
            .flat_map(|times| [("p50", times.p50), ("p90", times.p90), ("p99", times.p99)])
            .collect();
        let totals = &summary.line.overall_summary;
        let requests = totals.e2e_requests;
        let sample = self.sample.into_json();
        let besides: Vec<_> =
            summary.sampled.map(|sampled| sampled.sentence()).into_iter().chain(summary.besides()).collect();
        let columns = serde_json::to_string(&sample::columns()).unwrap_or_default();
        let page = context! {
            files => inputs.names(),
            arguments => inputs.arguments(),
            ended => summary.line.timestamp.to_string(),
            tiles => Value::from(Serde(&tiles(totals, &marks, &summary))),
            latency => Value::from(Serde(&self.latencies.chart(&marks))),
            has_waiting => summary.shares_of_e2e.iter().any(|share| share.part == "waiting"),
            bars => Value::from(Serde(&self.latencies.bars())),
            throughput => Value::from(Serde(&self.throughput.chart())),
            requests => count(requests),
            shown => sample.shown,
            is_sampled => (sample.shown as u64) < requests,
            slowest => sample.slowest,
            data => Value::from_safe_string(sample.json),
            column_names => Value::from_safe_string(columns),
            outputs => Value::from(Serde(&outputs(&summary.outputs))),
            failed => Value::from(Serde(&shown_texts(summary.failed))),
            reasons => Value::from(Serde(&shown_texts(summary.finish_reasons))),
            warnings => Value::from(Serde(&shown_texts(summary.warnings))),
            besides => besides,
            style => Value::from_safe_string(include_str!("style.css").to_owned()),
            script => Value::from_safe_string(include_str!("script.js").to_owned()),
        };
        let mut templates = Environment::new();
        templates.add_function("amount", |number: u64, one: &str, many: &str| amount(number, one, many));
        templates.set_auto_escape_callback(|_| AutoEscape::Html);
        let rendered = templates.render_str(include_str!("page.html"), page);
        rendered.map_err(|error| Failure::Io(format!("cannot make the page: {error:#}")))
    }
}

/// The table of outputs, if there are any.
#[derive(Serialize)]
struct OutputTable {
    heads: [&'static str; 8],
    rows: Vec<[String; 8]>,
}

fn outputs(stages: &[OutputsOfStage]) -> Option<OutputTable> {
    let time = |time: Option<Millis>| time.map_or("–".to_owned(), shown);
    let row = |stage: &OutputsOfStage| {
        let has_media = stage.media_ms > Millis::ZERO;
        [
            id(stage.stage_id),
            count(stage.outputs),
            time(stage.inter_output_mean_ms),
            time(stage.inter_output_max_ms),
            time(has_media.then_some(stage.media_ms)),
            stage.real_time_factor.map_or("–".to_owned(), decimal),
            stage.underruns.map_or("–".to_owned(), count),
            time(stage.underruns.and(Some(stage.underrun_total_ms))),
        ]
    };
    let heads = [
        "stage",
        "outputs",
        "mean gap",
        "longest gap",
        "media",
        "real-time factor",
        "underruns",
        "time of underruns",
    ];
    (!stages.is_empty()).then(|| OutputTable { heads, rows: stages.iter().map(row).collect() })
}

/// Names without control characters, such as those that reorder a text.
fn shown_texts(mut counts: Vec<NamedCount>) -> Vec<NamedCount> {
    counts.iter_mut().for_each(|row| row.name = printable(&row.name).into_owned());
    counts
}

fn tiles(totals: &OverallSummary, marks: &[(&'static str, Millis)], summary: &LogSummary) -> Vec<Tile> {
    let OverallSummary { e2e_requests, e2e_wall_time_ms, e2e_total_tokens, e2e_avg_tokens_per_s, .. } =
        totals;
    let seconds = e2e_wall_time_ms.as_f64() / 1e3;
    let rate = if seconds > 0.0 { *e2e_requests as f64 / seconds } else { 0.0 };
    let share = |name: &str| summary.shares_of_e2e.iter().find(|share| share.part == name);
    let percent = |share: Option<&Share>| format!("{:.1} %", share.map_or(0.0, |share| share.share * 100.0));
    let tile = |name: &str, value| Tile { name: name.to_owned(), value };
    let mut tiles = vec![tile("requests", count(*e2e_requests)), tile("requests a second", decimal(rate))];
    tiles.extend(marks.iter().map(|(mark, time)| tile(&format!("e2e, {mark}"), shown(*time))));
    tiles.extend([
        tile("tokens", count(*e2e_total_tokens)),
        tile("tokens a second", decimal(*e2e_avg_tokens_per_s)),
        tile("wall time", shown(*e2e_wall_time_ms)),
        tile("unattributed", percent(share("unattributed"))),
    ]);
    tiles.extend(share("waiting").map(|waiting| tile("waiting", percent(Some(waiting)))));
    let failed = summary.failed.iter().fold(0, |sum: u64, error| sum.saturating_add(error.count));
    tiles.extend(summary.objectives.iter().flat_map(|objectives| {
        let share = objectives.share.map_or("–".to_owned(), |share| format!("{:.1} %", share * 100.0));
        let goodput = format!("{} requests a second", decimal(objectives.goodput_requests_per_s));
        [tile("met objectives", share), tile("goodput", goodput)]
    }));
    tiles.extend((failed > 0).then(|| tile("with errors", count(failed))));
    tiles
}
