//! What a line says of the sample that the log is.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use super::identity::State;
use crate::{
    Line, Millis, RequestLine, SummaryLine,
    model::keep::{self, is_failed},
};

pub(in crate::cli) enum Witness {
    Request(Request),
    Summary(Box<Totals>),
    /// A detached row, whether it has a `sample_rate`, and the hash of the id that it names.
    Row {
        is_sampled: bool,
        named: Option<u64>,
    },
    Open,
}

/// What the proof needs of the line of a request.
#[derive(Debug)]
pub(in crate::cli) struct Request {
    /// The run up to and with this request.
    pub(in crate::cli) run: State,
    /// In nanoseconds since the Unix epoch.
    pub(in crate::cli) end: u64,
    /// The walls of the stages in the run.
    pub(in crate::cli) walls: SmallVec<[Millis; 8]>,
    pub(in crate::cli) tokens: u64,
    /// In nanoseconds.
    pub(in crate::cli) e2e: u64,
    pub(in crate::cli) sample_rate: Option<u32>,
    /// The hash of its id, by which a sample chooses it.
    pub(in crate::cli) id: u64,
    /// Why the request failed, if it did and has a reason.
    pub(super) bad_reason: Option<Box<str>>,
    pub(super) is_failed: bool,
    pub(super) has_warnings: bool,
}

/// What the proof needs of a summary line.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Totals {
    pub(in crate::cli) run: State,
    /// The mean and the greatest `e2e_total_ms` of its requests, in nanoseconds.
    pub(in crate::cli) e2e: Option<(u64, u64)>,
    /// In nanoseconds since the Unix epoch.
    pub(super) at: u64,
    pub(super) written: Option<u64>,
    pub(super) left_out: u64,
    pub(super) lost: u64,
    /// The requests since the report before, and how many of them have each reason of a failure.
    pub(super) window: Option<(u64, BTreeMap<String, u64>)>,
}

impl Witness {
    pub(in crate::cli) fn of(line: &Line) -> Self {
        match line {
            Line::Request(line) => Self::Request(Request::of(line)),
            Line::Summary(line) => Self::Summary(Box::new(Totals::of(line))),
            Line::Stage(line) => Self::row(line.sample_rate, line.request_id.as_deref()),
            Line::Transfer(line) => Self::row(line.sample_rate, line.request_id.as_deref()),
            Line::Open(_) => Self::Open,
        }
    }

    fn row(sample_rate: Option<u32>, request_id: Option<&str>) -> Self {
        Self::Row { is_sampled: sample_rate.is_some(), named: request_id.map(keep::hash) }
    }
}

impl Request {
    fn of(line: &RequestLine) -> Self {
        let e2e = &line.e2e_table;
        Self {
            run: State::of(&line.overall_summary),
            end: line.timestamp.unix_micros().saturating_mul(1_000),
            walls: SmallVec::from_slice(&line.overall_summary.stage_wall_time_ms),
            tokens: e2e.e2e_total_tokens,
            e2e: e2e.e2e_total_ms.as_nanos(),
            sample_rate: line.sample_rate,
            id: keep::hash(&line.request_id),
            bad_reason: e2e.finish_reason.as_deref().filter(|reason| is_bad(reason)).map(Box::from),
            is_failed: is_failed(e2e),
            has_warnings: !line.warnings.is_empty(),
        }
    }
}

impl Totals {
    fn of(line: &SummaryLine) -> Self {
        let window = line.window.as_ref().map(|window| {
            let bad = window.finish_reasons.iter().filter(|(reason, _)| is_bad(reason));
            (window.requests, bad.map(|(reason, requests)| (reason.clone(), *requests)).collect())
        });
        Self {
            run: State::of(&line.overall_summary),
            e2e: line.percentiles.e2e_total_ms.map(|times| (times.mean.as_nanos(), times.max.as_nanos())),
            at: line.timestamp.unix_micros().saturating_mul(1_000),
            written: line.lines_written,
            left_out: line.lines_left_out.unwrap_or(0),
            lost: line.lines_lost.unwrap_or(0),
            window,
        }
    }
}

/// Whether a window counts the requests with this reason apart, and all of them failed. It counts as `none`
/// also those without a reason, and as `other` those of further reasons.
fn is_bad(reason: &str) -> bool {
    !matches!(reason, "stop" | "length" | "none" | "other")
}
