//! The figures of the page as JSON.

use serde::Serialize;

use super::{
    ending::Ending,
    latency::{Class, Columns, Latencies},
    over_time::{OverTime, Window},
    spent::{Part, StageNames},
};
use crate::{
    Millis, Timestamp,
    cli::{groups::GroupTable, summary::LogSummary},
};

/// What the page shows of a run, without its list of requests.
#[derive(Serialize)]
#[serde(tag = "type", rename = "report")]
pub(super) struct Figures {
    pub(super) summary: LogSummary,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) groups: Option<GroupTable>,
    /// By the time when requests began.
    pub(super) over_time: Vec<Stretch>,
    /// By the end-to-end latency.
    pub(super) distribution: Vec<Column>,
    pub(super) where_the_time_goes: Vec<Bar>,
}

#[derive(Serialize)]
pub(super) struct Stretch {
    from: Timestamp,
    until: Timestamp,
    requests: u64,
    /// Also those that were aborted.
    failed: u64,
    aborted: u64,
    tokens: u64,
    /// The mean number of requests in flight.
    in_flight: f64,
    e2e_p50_ms: Option<Millis>,
    e2e_p99_ms: Option<Millis>,
}

#[derive(Serialize)]
pub(super) struct Column {
    from_ms: Millis,
    to_ms: Millis,
    requests: u64,
}

/// Where the time of some requests goes.
#[derive(Serialize)]
pub(super) struct Bar {
    /// Which requests: `all requests`, `fastest half`, …
    of: &'static str,
    requests: u64,
    mean_ms: Millis,
    parts: Vec<BarPart>,
}

#[derive(Serialize)]
struct BarPart {
    part: String,
    /// The mean of a request.
    time_ms: Millis,
    share: f64,
}

impl Stretch {
    pub(super) fn all(over_time: &OverTime<'_>) -> Vec<Self> {
        let of = |at: &Window| {
            let endings = &at.all.endings;
            let [from, until] = at.ends();
            Self {
                from,
                until,
                requests: endings.all(),
                failed: endings.failed(),
                aborted: endings.of(Ending::Aborted),
                tokens: at.all.tokens,
                in_flight: (at.in_flight * 1e3).round() / 1e3,
                e2e_p50_ms: at.percentile(500),
                e2e_p99_ms: at.percentile(990),
            }
        };
        over_time.windows().map(of).collect()
    }
}

impl Column {
    pub(super) fn all(columns: &Columns) -> Vec<Self> {
        let time = |nanos: f64| Millis::from_nanos(nanos.round() as u64);
        let column = |(from, to, requests)| Self { from_ms: time(from), to_ms: time(to), requests };
        columns.iter().map(column).collect()
    }
}

impl Bar {
    pub(super) fn all(latencies: &Latencies, stages: &StageNames) -> Vec<Self> {
        let parts = latencies.whole().told_apart();
        latencies.classes().into_iter().map(|class| Self::of(&class, &parts, stages)).collect()
    }

    fn of(class: &Class, parts: &[Part], stages: &StageNames) -> Self {
        let Class { name, spent } = class;
        let whole = spent.total();
        let each = |time: u128| Millis::from_f64(spent.each_ms(time)).unwrap_or_default();
        let parts = spent.times(parts).filter(|(_, time)| *time > 0).map(|(part, time)| BarPart {
            part: part.key(stages),
            time_ms: each(time),
            share: (time as f64 / whole.max(1) as f64 * 1e6).round() / 1e6,
        });
        Self { of: name, requests: spent.requests, mean_ms: each(whole), parts: parts.collect() }
    }
}
