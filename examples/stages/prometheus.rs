//! `/metrics`: what the layer gives to the `metrics` facade, for Prometheus to scrape.
#![allow(dead_code, reason = "each service uses its own part of this")]

use std::{net::SocketAddr, time::Duration};

use axum::{
    Router,
    extract::State,
    http::header,
    response::IntoResponse,
    routing::{MethodRouter, get},
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::{
    net::TcpListener,
    time::{MissedTickBehavior, interval},
};

use crate::stages::Result;

/// 1, 2.5, 5 and so on, from ten microseconds, which a transfer may take, to a minute; finer from a tenth of
/// a second to one, where people begin to wait.
const SECONDS: [f64; 25] = [
    1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.15, 0.2, 0.25,
    0.35, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];
/// From 64 bytes to 64 MiB, four times as much each.
const BYTES: [f64; 11] = [
    64.0,
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];
/// How often values are put into their buckets, scraped or not. They wait in memory until then.
const UPKEEP: Duration = Duration::from_secs(5);

pub(crate) type Exporter = PrometheusHandle;

/// Makes it the recorder of this process.
pub(crate) fn install() -> Result<Exporter> {
    Ok(PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), &BYTES)?
        .install_recorder()?)
}

/// Answers who asks for `/metrics`, and puts values into their buckets from now on.
pub(crate) fn route<S: Clone + Send + Sync + 'static>(exporter: Exporter) -> MethodRouter<S> {
    tokio::spawn(keep_up(exporter.clone()));
    get(render).with_state(exporter)
}

/// Serves `/metrics`, and nothing else, at a free port of this machine until the runtime ends.
pub(crate) async fn serve(exporter: Exporter) -> Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let routes = Router::new().route("/metrics", route(exporter));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Ok(address)
}

async fn keep_up(exporter: Exporter) {
    let mut ticks = interval(UPKEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        exporter.run_upkeep();
    }
}

async fn render(State(exporter): State<Exporter>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], exporter.render())
}
