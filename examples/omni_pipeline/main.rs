//! Text in, speech out, in three stages: how to annotate such a service for `omni-metrics`.
//!
//! ```text
//! driver ──prompts──▶ thinker ──TCP──▶ talker ──TCP──▶ code2wav ──▶ WAV files
//!    ▲                stage 0          stage 1         stage 2 │
//!    └─────────────────────────── answers ─────────────────────┘
//! ```
//!
//! The layer is set up in [`main`]; everything else it knows, it knows from spans. The `request` is made in
//! `driver.rs`: an async task, from acceptance to answer. The stages and the transfers between them, in
//! `examples/stages`, are those of the other examples too.

mod driver;
#[path = "../stages/mod.rs"]
mod stages;

use std::{
    env, fs,
    io::{self, Write},
    num::NonZeroU32,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use omni_metrics::OmniMetricsLayer;
use tokio::sync::mpsc;
use tracing_subscriber::prelude::*;

use crate::{
    driver::{Answers, Driver, Load},
    stages::{
        Result, Tasks, code2wav, corpus, exit_code,
        format::FormatName,
        talker,
        thinker::{self, Thinker},
        wire::{self, Edge},
    },
};

/// Lets a small language model finish sentences of a text, and speaks what it made of them.
#[derive(Debug, Parser)]
#[command(name = "omni_pipeline", version)]
struct Args {
    /// Write the metrics of every request to stderr
    #[arg(long)]
    log_stats: bool,
    /// With --log-stats: write totals and percentiles at the end
    #[arg(long)]
    summary: bool,
    /// What to write them as
    #[arg(long, value_name = "FORMAT", default_value = "json")]
    format: FormatName,
    /// How many requests to serve
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    requests: u32,
    /// How many requests to keep in flight
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    concurrency: u32,
    /// Instead of a number of requests in flight: how many requests to send a second, at random moments
    #[arg(long, value_name = "R", conflicts_with = "concurrency", value_parser = rate)]
    rate: Option<f64>,
    /// How many sounds to make at once [default: one for each processor]
    #[arg(long, value_name = "N")]
    code2wav_workers: Option<NonZeroU32>,
    /// At most how many tokens to generate per request
    #[arg(long, value_name = "N", default_value_t = 48, value_parser = clap::value_parser!(u32).range(1..=4096))]
    max_tokens: u32,
    /// Make sound so slowly that a chunk takes FACTOR times as long as it plays; above 1, a player underruns
    #[arg(long, value_name = "FACTOR", value_parser = factor)]
    slow_sound: Option<f64>,
    /// Text to learn from and to take prompts from [default: the README.md of this project]
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Directory for the sound files [default: omni_pipeline in the directory for temporary files]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// How many requests to send a second.
fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.01..=100_000.0).contains(&rate) => Ok(rate),
        _ => Err("a number from 0.01 to 100000 is needed".to_owned()),
    }
}

/// A factor that a duration can be multiplied by.
fn factor(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(factor) if (0.0..=1000.0).contains(&factor) => Ok(factor),
        _ => Err("a number from 0 to 1000 is needed".to_owned()),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    // All of the set-up. The flag may also be switched while the service runs, through the layer's
    // handle; while it is off, the spans below cost next to nothing.
    let layer = OmniMetricsLayer::new().with_format(args.format.into()).with_log_stats(args.log_stats);
    let handle = layer.handle();
    tracing_subscriber::registry().with(layer).init();
    let _summary = (args.log_stats && args.summary).then(|| handle.summary_guard());

    exit_code(serve(&args).await)
}

/// Starts the stages, serves the requests, stops the stages and says what was made.
async fn serve(args: &Args) -> Result<()> {
    let input = args
        .input
        .clone()
        .unwrap_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")));
    let out = args.out.clone().unwrap_or_else(|| env::temp_dir().join("omni_pipeline"));
    fs::create_dir_all(&out)
        .map_err(|error| format!("cannot make the directory {}: {error}", out.display()))?;
    let sentences = corpus::read(&input)?;
    let thinker = Thinker::train(&sentences)
        .map_err(|failure| format!("cannot learn from {}: {failure}", input.display()))?;

    // The queues hold every request in flight, so none is ever full, and waiting shows where it
    // belongs: before a stage, not in a transfer.
    let load = match args.rate {
        Some(a_second) => Load::Rate { a_second },
        None => Load::InFlight(args.concurrency as usize),
    };
    let capacity = load.most_in_flight(args.requests);
    let answers = Answers::new();
    let mut tasks = Tasks::default();
    let (prompts, queue) = mpsc::channel(capacity);
    let (to_talker, texts) = wire::connect(Edge::Stages(0, 1), capacity, &mut tasks).await?;
    let (to_code2wav, speeches) = wire::connect(Edge::Stages(1, 2), capacity, &mut tasks).await?;
    tasks.spawn(thinker::run(Arc::new(thinker), queue, to_talker));
    tasks.spawn(talker::run(texts, to_code2wav));
    tasks.spawn(code2wav::run(
        speeches,
        driver::files(answers.clone(), out.clone()),
        args.code2wav_workers,
        args.slow_sound,
    ));

    let driver = Driver {
        prompts: prompts.clone(),
        answers,
        progress: progress_bar(args)?,
        max_tokens: args.max_tokens as usize,
    };
    let mut driver = tokio::spawn(driver.drive(sentences, args.requests, load));
    let account = tokio::select! {
        account = &mut driver => account??,
        ended = tasks.end() => {
            ended?;
            return Err("the stages ended before the requests".into());
        }
    };
    // Without anyone left to send prompts, the stages end one after the other.
    drop(prompts);
    tasks.end().await?;
    let report = format!("{account}The sound files are in {}\n", out.display());
    io::stdout().write_all(report.as_bytes()).map_err(|error| format!("cannot write to stdout: {error}"))?;
    Ok(())
}

/// A bar on stderr, if that is a terminal. It stays away when the metrics go there: each would
/// garble the other, and the lines show the progress by themselves.
fn progress_bar(args: &Args) -> Result<ProgressBar> {
    if args.log_stats {
        return Ok(ProgressBar::hidden());
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} requests, {elapsed}")?;
    Ok(ProgressBar::new(args.requests.into()).with_style(style))
}
