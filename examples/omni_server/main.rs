//! Speech over HTTP: the stages of `omni_pipeline` behind a server, with everything that a service has
//! around its requests.
//!
//! ```text
//! POST /v1/generate {"prompt": …} ──▶ thinker ──▶ talker ──▶ code2wav
//!                   ◀── text, sound, as they are made (SSE) ──┘
//! GET /metrics      ◀── the same numbers, for Prometheus
//! GET /debug/requests ◀── the requests that are open, and in which stages
//! ```
//!
//! In reading order: the layers are set up in [`main`] and `logging.rs`, the `request` span is made in
//! `request.rs`, and goes with the body of the answer to its last byte; `answer.rs` is what happens in
//! between. `timings.rs` is what the client is told of it, and `open_requests.rs` what an operator sees
//! meanwhile.

mod answer;
mod chunk;
mod hang;
mod log_file;
mod logging;
mod open_requests;
mod panics;
#[path = "../stages/prometheus.rs"]
mod prometheus;
mod request;
#[path = "../stages/mod.rs"]
mod stages;
mod timings;
#[path = "../stages/traces.rs"]
mod traces;
mod waiting;

use std::{
    io::{self, Write},
    net::SocketAddr,
    num::NonZeroU64,
    path::PathBuf,
    pin::pin,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    middleware::from_fn,
    routing::{get, post},
    serve::ListenerExt,
};
use clap::Parser;
use omni_metrics::OmniMetricsHandle;
use opentelemetry::trace::TracerProvider;
use tokio::{
    net::TcpListener,
    runtime::Runtime,
    sync::{mpsc, oneshot},
    time::timeout,
};
use tower_http::{
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer},
    trace::TraceLayer,
};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{EnvFilter, fmt, prelude::*};

use crate::{
    answer::Service,
    hang::Hang,
    log_file::LogFile,
    logging::Logging,
    stages::{
        Result, Tasks, code2wav, corpus, exit_code, talker,
        thinker::{self, Thinker},
        wire::{self, Edge},
    },
    waiting::Answers,
};

/// How many messages each queue between stages holds.
const CAPACITY: usize = 64;
/// How long, beyond the time that a request may take, clients have to take what was made for them when the
/// server stops.
const GRACE: Duration = Duration::from_secs(1);

/// Serves text and speech over HTTP until it is told to stop
#[derive(Debug, Parser)]
#[command(name = "omni_server", version)]
struct Args {
    #[command(flatten)]
    logging: Logging,
    /// Where to listen; port 0 takes a free one, and stdout says which
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// How long a request may take
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Where to send traces: an OTLP/HTTP receiver, like http://127.0.0.1:4318/v1/traces
    #[arg(long, value_name = "URL")]
    otlp: Option<String>,
    /// Text to learn from [default: the README.md of this project]
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// For tests: let every N-th request hang in its last stage until the server stops
    #[arg(long, value_name = "N")]
    hang_every: Option<NonZeroU64>,
}

fn main() -> ExitCode {
    exit_code(run(&Args::parse()))
}

fn run(args: &Args) -> Result<()> {
    // Before the first request: the layer takes its handles from the recorder that is there then.
    let exporter = prometheus::install()?;
    let traces = traces::provider(args.otlp.as_deref())?;

    let (omni, guards, log_file) = args.logging.layer()?;
    let handle = omni.handle();
    // OpenTelemetry after the metrics: of two layers, the first one hears first that a span closes, and the
    // numbers of a request have to be on its OpenTelemetry span before that ends.
    let otel = tracing_opentelemetry::layer().with_tracer(traces.tracer("omni_server"));
    // As the lines of metrics do, those of `fmt` must not wait for a stderr that nobody reads.
    let (log, _log_guard) = tracing_appender::non_blocking(io::stderr());
    tracing_subscriber::registry()
        .with(fmt::layer().with_writer(log).with_filter(log_filter()))
        .with(omni)
        .with(otel.with_filter(LevelFilter::INFO))
        .init();
    panics::log();

    let runtime = Runtime::new()?;
    let served = runtime.block_on(serve(args, exporter, handle, log_file));
    // What is still open closes with the runtime, and writes its line before the summary.
    drop(runtime);
    drop(guards);
    traces.shutdown()?;
    served
}

/// `RUST_LOG`, or warnings.
fn log_filter() -> EnvFilter {
    EnvFilter::builder().with_default_directive(LevelFilter::WARN.into()).from_env_lossy()
}

/// Starts the stages and the server; stops first this one, then those.
async fn serve(
    args: &Args,
    exporter: prometheus::Exporter,
    metrics: OmniMetricsHandle,
    log: Option<LogFile>,
) -> Result<()> {
    let input =
        args.input.clone().unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md").into());
    let thinker = Thinker::train(&corpus::read(&input)?)
        .map_err(|failure| format!("cannot learn from {}: {failure}", input.display()))?;

    let answers = Answers::default();
    let mut tasks = Tasks::default();
    let (prompts, queue) = mpsc::channel(CAPACITY);
    let (to_talker, texts) = wire::connect(Edge::Stages(0, 1), CAPACITY, &mut tasks).await?;
    let (to_code2wav, speeches) = wire::connect(Edge::Stages(1, 2), CAPACITY, &mut tasks).await?;
    tasks.spawn(thinker::run(Arc::new(thinker), queue, to_talker));
    tasks.spawn(talker::run(texts, to_code2wav));
    let (hang, release) = Hang::new(args.hang_every);
    tasks.spawn(code2wav::run(speeches, answers.sinks(hang), None, None));

    let listener = TcpListener::bind(args.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", args.listen))?;
    let signal = stop_signal()?;
    reopen_when_rotated(log)?;
    writeln!(io::stdout(), "listening on http://{}", listener.local_addr()?)?;
    let open_requests = open_requests::routes(metrics.clone());
    let service = Arc::new(Service::new(prompts, answers, args.timeout, metrics));
    let (stop, stopped) = oneshot::channel::<()>();
    // An event goes when it is there, not when a packet is full or the client has acknowledged the last one.
    let listener = listener.tap_io(|stream| {
        // It works without as well.
        let _ = stream.set_nodelay(true);
    });
    let server = axum::serve(listener, routes(service, exporter).merge(open_requests))
        .with_graceful_shutdown(async {
            // Dropping the other end stops it as well.
            let _ = stopped.await;
        });
    let mut server = pin!(server.into_future());
    tokio::select! {
        ended = &mut server => return Ok(ended?),
        ended = tasks.end() => {
            ended?;
            return Err("the stages ended before the server".into());
        }
        () = signal => {}
    }
    drop((stop, release));
    match timeout(args.timeout + GRACE, server).await {
        Ok(ended) => ended?,
        // Somebody does not read what was sent to them. Their connections end with the runtime.
        Err(_) => return Ok(()),
    }
    // Without anyone left to send prompts, the stages end one after the other.
    tasks.end().await
}

fn routes(service: Arc<Service>, exporter: prometheus::Exporter) -> Router {
    // A request meets these from the last to the first. The span of `TraceLayer` is called `request` too;
    // ours is inside of it, and so the layer takes that one for a wrapper. Where none of ours would be
    // inside, on `/metrics` or for another method, it would count as a request.
    let generate = post(answer::generate)
        .route_layer(from_fn(request::in_span))
        .route_layer(TraceLayer::new_for_http())
        .route_layer(PropagateRequestIdLayer::x_request_id())
        .route_layer(SetRequestIdLayer::x_request_id(MakeRequestUuid));
    Router::new()
        .route("/metrics", prometheus::route(exporter))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/v1/generate", generate.with_state(service))
}

/// Opens the log again at each SIGHUP, from now on.
#[cfg(unix)]
fn reopen_when_rotated(log: Option<LogFile>) -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    let Some(log) = log else { return Ok(()) };
    let mut hangups = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            if let Err(error) = log.reopen() {
                tracing::warn!("cannot open the log again: {error}");
            }
        }
    });
    Ok(())
}

#[cfg(not(unix))]
fn reopen_when_rotated(_: Option<LogFile>) -> io::Result<()> {
    Ok(())
}

/// Listens for what asks the server to stop, from now on.
#[cfg(unix)]
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    Ok(async { _ = tokio::signal::ctrl_c().await })
}
