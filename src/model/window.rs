//! The requests between two reports.

use std::collections::BTreeMap;

use crate::{
    Millis, Percentiles,
    model::record::{object, record},
};

/// The requests that closed between two [reports](crate::OmniMetricsHandle::report_every). All counts are
/// exact.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Window {
    /// From the last report, or from the start of the reports, to this one.
    pub time_ms: Millis,
    /// Complete requests.
    pub requests: u64,
    /// `requests * 1000 / time_ms`, to six decimals; zero if no time has passed.
    pub requests_per_s: f64,
    /// Sum of [`E2eTable::e2e_total_tokens`](crate::E2eTable::e2e_total_tokens).
    pub tokens: u64,
    /// `tokens * 1000 / time_ms`, to six decimals; zero if no time has passed.
    pub tokens_per_s: f64,
    /// Requests by `finish_reason`: `none` counts those without one, and `other` those whose reason came
    /// after 64 others.
    pub finish_reasons: BTreeMap<String, u64>,
    /// The distributions of these requests, and of the detached rows of that time.
    pub percentiles: Percentiles,
}

record! {
    Window:
    time_ms: always,
    requests: always,
    requests_per_s: always,
    tokens: always,
    tokens_per_s: always,
    finish_reasons: always,
    percentiles: always,
}

object!(Window);
