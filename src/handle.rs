//! What an operator sees and does while the service runs.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use serde::{Deserialize, Serialize};
use tracing_core::callsite::rebuild_interest_cache;

#[cfg(feature = "metrics")]
use crate::facade::Facade;
use crate::{
    Clock, Format, Percentiles,
    answered::AnsweredRequests,
    counts::Counts,
    emit::Output,
    json,
    near_misses::NearMisses,
    ownership::OpenRequests,
    percentiles::Histograms,
    request::{Request, Rows},
    run::{Run, StageWall},
    tables::{E2eTable, OverallSummary, SCHEMA, StageRow, SummaryLine, TransferRow},
};

/// A view of a layer and its switch, from any thread, for as long as it is kept: also after the
/// subscriber is gone. Clones share one state.
///
/// ```
/// use omni_metrics::OmniMetricsLayer;
/// use tracing_subscriber::prelude::*;
///
/// let layer = OmniMetricsLayer::new().with_writer(std::io::sink);
/// let handle = layer.handle();
/// let subscriber = tracing_subscriber::registry().with(layer);
/// tracing::subscriber::with_default(subscriber, || {
///     let request = tracing::info_span!("request", request_id = "r1");
///     assert_eq!(handle.snapshot().open_requests, 1);
///     drop(request);
/// });
/// assert_eq!(handle.snapshot().open_requests, 0);
/// assert_eq!(handle.snapshot().overall_summary.e2e_requests, 1);
/// ```
#[derive(Debug, Clone)]
pub struct OmniMetricsHandle {
    shared: Arc<Shared>,
}

/// The state of a layer at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// The run so far.
    pub overall_summary: OverallSummary,
    /// How the run's numbers are distributed.
    pub percentiles: Percentiles,
    /// Requests that are open now, wrappers included: their span is open, or open spans that belong to them hold
    /// their line. One whose spans never close stays here.
    pub open_requests: u64,
    /// Lines that the writer took. A line that waits, for room in stderr or in a
    /// [queue](crate::OmniMetricsLayer::with_queued_writer), is neither written nor lost yet.
    pub lines_written: u64,
    /// Lines lost: the writer failed or panicked, there was no room for the line to wait, the queue had ended,
    /// or the line came up inside the write of another line.
    pub lines_lost: u64,
    /// Warnings in all lines, lost ones included.
    pub warnings: u64,
    /// Whether new spans are recorded.
    pub log_stats: bool,
}

impl OmniMetricsHandle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The state now.
    ///
    /// Costs some 10 µs for each stage and edge, and for each group of threads that serves requests. It
    /// takes the locks that closing requests take, none for more than a few microseconds; requests that close
    /// meanwhile may be in the totals and not in the percentiles. [`take`](Self::take) has no such gap.
    pub fn snapshot(&self) -> Snapshot {
        let percentiles = self.shared.counts.percentiles();
        self.snapshot_of(self.shared.run.summary(), percentiles)
    }

    /// The state now, and the beginning of a new run in the same moment: every request is in exactly one run, in its
    /// totals, in its percentiles, and in the `e2e_requests` of its line. Requests that are open go on and will be the
    /// new run's, with their whole time. The counts of lines and warnings go on.
    ///
    /// For windows: a `take` every minute gives the percentiles of every minute. It costs what
    /// [`snapshot`](Self::snapshot) costs, and delays requests that close for as long as eight pointers take to swap.
    ///
    /// ```
    /// use omni_metrics::OmniMetricsLayer;
    /// use tracing_subscriber::prelude::*;
    ///
    /// let layer = OmniMetricsLayer::new().with_writer(std::io::sink);
    /// let handle = layer.handle();
    /// let subscriber = tracing_subscriber::registry().with(layer);
    /// tracing::subscriber::with_default(subscriber, || drop(tracing::info_span!("request")));
    /// assert_eq!(handle.take().overall_summary.e2e_requests, 1);
    /// assert_eq!(handle.take().overall_summary.e2e_requests, 0);
    /// ```
    pub fn take(&self) -> Snapshot {
        let (summary, histograms) = self.shared.take();
        self.snapshot_of(summary, Histograms::merged(&histograms).percentiles())
    }

    fn snapshot_of(&self, overall_summary: OverallSummary, percentiles: Percentiles) -> Snapshot {
        let counts = &self.shared.counts;
        Snapshot {
            overall_summary,
            percentiles,
            // One that opens and closes meanwhile may be seen to close only.
            open_requests: counts.sum(|stripe| &stripe.open_requests).cast_signed().max(0).cast_unsigned(),
            lines_written: counts.sum(|stripe| &stripe.lines_written),
            lines_lost: counts.sum(|stripe| &stripe.lines_lost),
            warnings: counts.sum(|stripe| &stripe.warnings),
            log_stats: self.shared.log_stats(),
        }
    }

    /// Writes a line with the run so far, its totals and its [`Percentiles`], to the layer's writer, in
    /// the layer's format.
    ///
    /// At shutdown, [`summary_guard`](Self::summary_guard) does so however the program ends.
    pub fn write_summary(&self) {
        let Writing { clock, output } = &*self.shared.writing();
        let line = SummaryLine {
            schema: SCHEMA,
            timestamp: clock.timestamp(clock.now()),
            overall_summary: self.shared.run.summary(),
            percentiles: self.shared.counts.percentiles(),
        };
        output.emit(&self.shared, &[], |out, format| match format {
            Format::Json => json::write_summary(out, line),
            #[cfg(feature = "tables")]
            Format::Table => crate::text::append(out, &line),
        });
    }

    /// A guard that, when it is dropped, writes the lines of requests whose span has closed while open spans hold
    /// their line, as they stand, and then [the summary](Self::write_summary). Keep it until the last request has
    /// been answered.
    pub fn summary_guard(&self) -> SummaryGuard {
        SummaryGuard { handle: self.clone() }
    }

    /// Begins a new run, as [`take`](Self::take) does, without a look at the one until now.
    pub fn reset(&self) {
        self.shared.take();
    }

    /// Switches the layer on or off for spans that are created from now on; requests that are open
    /// end with their line. While it is off, `tracing` skips the layer's spans at the callsite.
    ///
    /// Asks every callsite of the process for its interest again, so it is not for a hot path, nor
    /// for code that runs inside a `Layer`.
    pub fn set_log_stats(&self, on: bool) {
        if self.shared.log_stats.swap(on, Ordering::Relaxed) != on {
            rebuild_interest_cache();
        }
    }
}

/// Writes the summary when it is dropped; from [`OmniMetricsHandle::summary_guard`].
#[derive(Debug)]
#[must_use = "dropped at once, it writes the summary at once"]
pub struct SummaryGuard {
    handle: OmniMetricsHandle,
}

impl Drop for SummaryGuard {
    fn drop(&mut self) {
        let shared = &self.handle.shared;
        shared.write_answered(&shared.writing());
        self.handle.write_summary();
    }
}

/// Where the layer reads the time, and where its lines go.
#[derive(Debug, Clone)]
pub(crate) struct Writing {
    pub(crate) clock: Clock,
    pub(crate) output: Output,
}

/// What the layer and its handles share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The layer has it at hand as well; here for what is asked for through a handle.
    writing: Mutex<Arc<Writing>>,
    pub(crate) requests: OpenRequests,
    pub(crate) answered: Arc<AnsweredRequests>,
    pub(crate) run: Run,
    pub(crate) counts: Counts,
    pub(crate) near_misses: NearMisses,
    #[cfg(feature = "metrics")]
    pub(crate) facade: Facade,
    log_stats: AtomicBool,
}

impl Shared {
    pub(crate) fn new(writing: Writing) -> Self {
        let writing = Mutex::new(Arc::new(writing));
        Self {
            writing,
            requests: OpenRequests::new(),
            answered: Arc::default(),
            run: Run::new(),
            counts: Counts::default(),
            near_misses: NearMisses::new(),
            #[cfg(feature = "metrics")]
            facade: Facade::default(),
            log_stats: AtomicBool::new(true),
        }
    }

    pub(crate) fn set_writing(&self, writing: Writing) {
        *self.writing.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(writing);
    }

    fn writing(&self) -> Arc<Writing> {
        Arc::clone(&self.writing.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn log_stats(&self) -> bool {
        self.log_stats.load(Ordering::Relaxed)
    }

    /// A request is open no more.
    pub(crate) fn has_ended(&self, request: &Request) {
        self.counts.stripe().open_requests.fetch_sub(1, Ordering::Relaxed);
        #[cfg(feature = "metrics")]
        self.facade.ended(request);
        #[cfg(not(feature = "metrics"))]
        let _ = request;
    }

    /// Counts a request in the run and in its distributions, and makes `summary` that of the run up to it.
    pub(crate) fn count_request(
        &self,
        created: u64,
        end: u64,
        e2e: &E2eTable,
        rows: &Rows,
        summary: &mut OverallSummary,
    ) {
        // Both under the lock of the histograms, so that `take` finds it in both or in neither.
        self.counts.stripe().histograms(|histograms| {
            self.run.add(created, end, e2e.e2e_total_tokens, rows.stage_walls(), summary);
            histograms.add(e2e, rows.stage_table(), rows.transfer_table());
        });
    }

    /// Begins a new run. Returns the one until now.
    fn take(&self) -> (OverallSummary, Vec<Histograms>) {
        self.counts.take(|| self.run.take())
    }

    /// Counts a row that has no request in this process in the run's walls and in the distributions.
    pub(crate) fn count_stage(&self, row: &StageRow, wall: Option<StageWall>) {
        self.counts.stripe().histograms(|histograms| {
            if let Some(wall) = wall {
                self.run.add_wall(wall);
            }
            histograms.add_stage(row);
        });
        #[cfg(feature = "metrics")]
        self.facade.add_stage(row);
    }

    /// Counts a row that has no request in this process in the distributions.
    pub(crate) fn count_transfer(&self, row: &TransferRow) {
        self.counts.stripe().histograms(|histograms| histograms.add_transfer(row));
        #[cfg(feature = "metrics")]
        self.facade.add_transfer(row);
    }

    /// Counts a line, once it is known whether it is written or lost.
    pub(crate) fn count_line(&self, is_written: bool) {
        self.counts.count_line(is_written);
        #[cfg(feature = "metrics")]
        self.facade.line(is_written, 0);
    }

    /// Counts the warnings in a line.
    pub(crate) fn count_warnings(&self, warnings: usize) {
        if warnings > 0 {
            self.counts.stripe().warnings.fetch_add(warnings as u64, Ordering::Relaxed);
            #[cfg(feature = "metrics")]
            self.facade.line(true, warnings);
        }
    }
}
