//! The stages of `omni_pipeline`, each in a process of its own, and a coordinator that has the requests.
//!
//! ```text
//! coordinator ──▶ thinker ──▶ talker ──▶ code2wav ──▶ coordinator
//!  request         stage 0     stage 1    stage 2
//! ```
//!
//! Every process has the layer, and writes its own log. A worker does not have the request that it works for,
//! so its rows are lines of their own, which name the request; `omni-metrics join` puts them together:
//!
//! ```sh
//! omni-metrics join logs/*.jsonl | omni-metrics summary
//! ```
//!
//! Every process also serves `/metrics`, at an address that the coordinator prints. A row is counted in the process
//! that measured it, so the sums over all processes are those of the joined lines.
//!
//! What a message has to take along for that is in `examples/stages/ticket.rs` and the header in
//! `examples/stages/wire.rs`: the id of the request, when it was sent, and the trace.

mod coordinator;
#[path = "../stages/prometheus.rs"]
mod prometheus;
#[path = "../stages/mod.rs"]
mod stages;
#[path = "../stages/traces.rs"]
mod traces;
mod worker;

use std::{
    env,
    fs::File,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::Parser;
use omni_metrics::OmniMetricsLayer;
use opentelemetry::trace::TracerProvider;
use tokio::runtime::Runtime;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::prelude::*;

use crate::{
    prometheus::Exporter,
    stages::{Result, corpus, exit_code},
    worker::Worker,
};

/// Serves requests with a process for each stage, and ends when they are served
#[derive(Debug, Parser)]
#[command(
    name = "omni_distributed",
    version,
    subcommand_negates_reqs = true,
    args_conflicts_with_subcommands = true
)]
struct Args {
    #[command(subcommand)]
    worker: Option<Role>,
    #[command(flatten)]
    shared: Shared,
    /// How many requests to serve
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    requests: u32,
    /// How many requests to keep in flight
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    concurrency: u32,
    /// At most how many tokens to generate per request
    #[arg(long, value_name = "N", default_value_t = 48, value_parser = clap::value_parser!(u32).range(1..=4096))]
    max_tokens: u32,
    /// How long a request may take
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

/// What every process has to know.
#[derive(Debug, Clone, clap::Args)]
struct Shared {
    /// Write the metrics of every process to a log of its own
    #[arg(long)]
    log_stats: bool,
    /// Directory for the logs
    #[arg(long, value_name = "DIR", default_value = "logs")]
    log_dir: PathBuf,
    /// Text to learn from and to take prompts from [default: the README.md of this project]
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Directory for the sound files [default: omni_distributed in the directory for temporary files]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Where to send traces: an OTLP/HTTP receiver, like http://127.0.0.1:4318/v1/traces
    #[arg(long, value_name = "URL")]
    otlp: Option<String>,
    /// Keep the workers when all requests are served, for a last look at their metrics, until stdin ends
    #[arg(long)]
    keep: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Role {
    /// Run one stage; the coordinator starts it
    #[command(hide = true)]
    Worker(Worker),
}

impl Shared {
    fn sentences(&self) -> Result<Vec<String>> {
        let readme = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md"));
        corpus::read(self.input.as_deref().unwrap_or(readme))
    }

    fn out(&self) -> PathBuf {
        self.out.clone().unwrap_or_else(|| env::temp_dir().join("omni_distributed"))
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let ended = match &args.worker {
        Some(Role::Worker(worker)) => {
            observed(&worker.shared, &worker.log_name(), |exporter| {
                let runtime = Runtime::new()?;
                let ended = runtime.block_on(worker.run(exporter));
                // A thread of it waits for stdin, for as long as the coordinator lives.
                runtime.shutdown_background();
                ended
            })
        }
        None => coordinator::make_directories(&args.shared).and_then(|()| {
            observed(&args.shared, coordinator::LOG, |exporter| {
                Runtime::new()?.block_on(coordinator::run(&args, exporter))
            })
        }),
    };
    exit_code(ended)
}

/// Runs a process with the layer on its log, in traces, and with an exporter.
fn observed(shared: &Shared, log: &str, run: impl FnOnce(Exporter) -> Result<()>) -> Result<()> {
    // Before the first request: the layer takes its handles from the recorder that is there then.
    let exporter = prometheus::install()?;
    let traces = traces::provider(shared.otlp.as_deref())?;
    let log = shared.log_stats.then(|| {
        let path = shared.log_dir.join(log);
        File::create(&path).map_err(|error| format!("cannot write to {}: {error}", path.display()))
    });
    let omni = match log.transpose()? {
        Some(log) => OmniMetricsLayer::new().with_writer(Arc::new(log)),
        None => OmniMetricsLayer::new().with_log_stats(false),
    };
    let otel = tracing_opentelemetry::layer().with_tracer(traces.tracer("omni_distributed"));
    tracing_subscriber::registry().with(omni).with(otel.with_filter(LevelFilter::INFO)).init();
    let ended = run(exporter);
    traces.shutdown()?;
    ended
}
