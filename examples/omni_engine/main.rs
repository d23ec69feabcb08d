//! Speech from a small Llama and a small vocoder, over HTTP, with a line of metrics for each request.

use std::{
    io::{self, Write},
    net::SocketAddr,
    process::ExitCode,
    sync::Arc,
};

use clap::Parser;
use omni_engine::{Result, Service, Settings, routes, send};
use omni_metrics::OmniMetricsLayer;
use tokio::{net::TcpListener, runtime::Runtime, signal, sync::oneshot};
use tracing_subscriber::prelude::*;

/// Serves speech until ctrl-c, or sends itself requests and ends
#[derive(Debug, Parser)]
#[command(name = "omni_engine", version)]
struct Args {
    /// Where to listen; port 0 takes a free one [default: 127.0.0.1:8080, with --requests a free one]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Send itself so many requests, and end
    #[arg(long, value_name = "COUNT")]
    requests: Option<usize>,
    /// How many of them at a time
    #[arg(long, value_name = "COUNT", default_value_t = 8)]
    concurrency: usize,
    /// How many sequences the engine runs at once
    #[arg(long, value_name = "COUNT", default_value_t = 4)]
    max_running: usize,
    /// How many tokens fit into the cache of keys and values
    #[arg(long, value_name = "TOKENS", default_value_t = 320)]
    kv_tokens: usize,
    /// The seed of the weights
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    seed: u64,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // If stderr is gone, the exit code still tells.
            let _ = writeln!(io::stderr(), "error: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let layer = OmniMetricsLayer::new();
    // Writes the totals of the run when it is dropped.
    let _summary = layer.handle().summary_guard();
    tracing_subscriber::registry().with(layer).init();

    let settings = Settings { max_running: args.max_running, kv_tokens: args.kv_tokens, seed: args.seed };
    let (service, stages) = Service::start(&settings, None)?;
    Runtime::new()?.block_on(serve(args, service))?;
    // The server has dropped the service, so the stages end. The last lines are written when they have closed
    // their spans.
    stages.join()
}

/// Serves, with `--requests` until they have been answered.
async fn serve(args: &Args, service: Service) -> Result<()> {
    let free = SocketAddr::from(([127, 0, 0, 1], if args.requests.is_some() { 0 } else { 8080 }));
    let listener = TcpListener::bind(args.listen.unwrap_or(free)).await?;
    let address = listener.local_addr()?.to_string();
    writeln!(io::stdout(), "listening on http://{address}")?;
    let (stop, stopped) = oneshot::channel::<()>();
    let server = axum::serve(listener, routes(Arc::new(service))).with_graceful_shutdown(async {
        tokio::select! {
            // Dropping the other end stops it as well.
            _ = stopped => {}
            _ = signal::ctrl_c() => {}
        }
    });
    let server = tokio::spawn(server.into_future());
    if let Some(requests) = args.requests {
        send(&address, requests, args.concurrency).await?;
        drop(stop);
    }
    Ok(server.await??)
}
