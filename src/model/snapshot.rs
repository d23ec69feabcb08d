//! A layer at one moment.

use crate::{
    OverallSummary, Percentiles,
    model::record::{object, record},
};

/// The state of a layer at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The run so far.
    pub overall_summary: OverallSummary,
    /// The distributions of the run's numbers.
    pub percentiles: Percentiles,
    /// Requests whose line has not been written: their span is open, or other open spans belong to them. A
    /// request that encloses another one does not count. A request whose spans never close stays here.
    pub open_requests: u64,
    /// Lines that the writer took. A line that waits for stderr, or in a
    /// [queue](crate::OmniMetricsLayer::with_queued_writer), is counted neither here nor as lost.
    pub lines_written: u64,
    /// Lines that were lost: the writer failed or panicked, the queue was full or had ended, or the line was
    /// made by the writer itself while it wrote another line.
    pub lines_lost: u64,
    /// Requests and detached rows without a line, since [`Keep`](crate::Keep) did not choose them.
    pub lines_left_out: u64,
    /// Warnings in all lines, lost ones and those left out included.
    pub warnings: u64,
    /// Whether new spans are recorded.
    pub log_stats: bool,
}

record! {
    Snapshot:
    overall_summary: always,
    percentiles: always,
    open_requests: always,
    lines_written: always,
    lines_lost: always,
    lines_left_out: always or 0,
    warnings: always,
    log_stats: always,
}

object!(Snapshot);
