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
use omni_metrics::buckets;
use tokio::{
    net::TcpListener,
    time::{MissedTickBehavior, interval},
};

use crate::stages::Result;

/// How often values are put into their buckets, scraped or not. They wait in memory until then.
const UPKEEP: Duration = Duration::from_secs(5);

pub(crate) type Exporter = PrometheusHandle;

/// Makes it the recorder of this process.
pub(crate) fn install() -> Result<Exporter> {
    let mut builder = PrometheusBuilder::new();
    for (family, buckets) in buckets::families() {
        builder = builder.set_buckets_for_metric(Matcher::Full(family.to_owned()), buckets)?;
    }
    Ok(builder.install_recorder()?)
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
