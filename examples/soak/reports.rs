//! What the reports have said so far.

use std::{collections::BTreeMap, time::Duration};

use omni_metrics::{Millis, OpenLine, RequestLine, SummaryLine, Timestamp};

use crate::{hanging, kept};

pub(crate) const INTERVAL: Duration = Duration::from_millis(20);
/// From which age on an open request is in a report.
pub(crate) const OLD: Duration = Duration::from_millis(50);
/// Timestamps are rounded to the microsecond.
const ROUNDING_MICROS: u64 = 2;

/// The account of all reports, written and refused.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    pub(crate) lines: u64,
    pub(crate) open_lines: u64,
    /// Open requests that reports counted and did not name, because there were too many at once.
    pub(crate) unnamed: u64,
    /// In all windows.
    pub(crate) requests: u64,
    windows: Windows,
    /// When the requests with an open line began, in microseconds, until their line comes. Only of those that
    /// have a line in any case.
    began: BTreeMap<String, u64>,
}

/// The time that the windows cover, and the time from the first to the last of them.
#[derive(Debug, Default)]
struct Windows {
    sum: Millis,
    first_begin: Option<u64>,
    last_end: u64,
}

impl Reports {
    /// Puts a report on the account. Returns what is wrong with it, if anything.
    pub(crate) fn enter_summary(&mut self, line: &SummaryLine) -> Option<&'static str> {
        self.lines += 1;
        let Some(window) = &line.window else { return Some("a summary that is no report") };
        self.requests += window.requests;
        let end = line.timestamp.unix_micros();
        self.windows.sum = self.windows.sum.saturating_add(window.time_ms);
        self.windows.last_end = self.windows.last_end.max(end);
        let begin = begin(line.timestamp, window.time_ms);
        self.windows.first_begin = Some(self.windows.first_begin.map_or(begin, |first| first.min(begin)));
        let times = window.percentiles.e2e_total_ms.map_or(0, |times| times.count);
        [
            (
                window.requests == window.finish_reasons.values().sum::<u64>(),
                "a window's reasons differ from its requests",
            ),
            (window.requests == times, "a window's percentiles differ from its requests"),
        ]
        .into_iter()
        .find_map(|(holds, what)| (!holds).then_some(what))
    }

    pub(crate) fn enter_open(&mut self, line: &OpenLine) -> Option<&'static str> {
        self.lines += 1;
        self.open_lines += 1;
        self.unnamed += line.more.unwrap_or(0);
        let Some(id) = line.request.request_id.clone() else { return Some("an open request without an id") };
        if Duration::from(line.request.age_ms) < OLD {
            return Some("an open request that is not old");
        }
        if !id.starts_with(hanging::PREFIX) && !kept::is_sampled(&id) {
            return None;
        }
        let began = begin(line.timestamp, line.request.age_ms);
        self.began.insert(id, began).is_some().then_some("a second open line of one request")
    }

    /// Compares a complete request with its open line, if it had one.
    pub(crate) fn close(&mut self, line: &RequestLine) -> Option<&'static str> {
        let began = self.began.remove(&line.request_id)?;
        let difference = began.abs_diff(begin(line.timestamp, line.e2e_table.e2e_total_ms));
        (difference > ROUNDING_MICROS).then_some("it began at another time than its open line says")
    }

    /// Whether there is time between the windows: a report was lost.
    pub(crate) fn have_gap(&self) -> bool {
        let Windows { sum, first_begin, last_end } = &self.windows;
        let time = last_end - first_begin.unwrap_or(*last_end);
        time.abs_diff(sum.as_nanos() / 1_000) > ROUNDING_MICROS
    }
}

fn begin(end: Timestamp, time: Millis) -> u64 {
    end.unix_micros().saturating_sub(time.as_nanos() / 1_000)
}
