//! The handle: what an operator reads and switches while the service runs.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tracing_core::callsite::rebuild_interest_cache;

use crate::{OpenRequest, ReportGuard, RequestLine, Snapshot, shared::Shared};

/// Reads the state of a layer, and switches it on and off, from any thread. It stays valid when the
/// subscriber has been dropped. Clones share one state.
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

impl OmniMetricsHandle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Returns the current state of the layer.
    ///
    /// Costs about 5 µs for each stage and edge, and as much for each shard (up to eight) that has counted
    /// requests since the last call. A closing request may wait for a few microseconds. A request is in the
    /// totals and in the percentiles, or in neither.
    ///
    /// ```
    /// use omni_metrics::OmniMetricsLayer;
    /// use tracing_subscriber::prelude::*;
    ///
    /// let layer = OmniMetricsLayer::new().with_writer(std::io::sink);
    /// let handle = layer.handle();
    /// let subscriber = tracing_subscriber::registry().with(layer);
    /// tracing::subscriber::with_default(subscriber, || drop(tracing::info_span!("request")));
    /// let snapshot = handle.snapshot();
    /// assert_eq!(snapshot.overall_summary.e2e_requests, 1);
    /// assert_eq!((snapshot.open_requests, snapshot.lines_written, snapshot.lines_lost), (0, 1, 0));
    /// ```
    pub fn snapshot(&self) -> Snapshot {
        let (overall_summary, percentiles) = self.shared.read();
        self.shared.snapshot_of(overall_summary, percentiles)
    }

    /// Returns the state, and begins a new run at the same moment. Every request is in exactly one run: in
    /// its totals, in its percentiles, and in the `e2e_requests` of its line. An open request belongs to the
    /// new run, with its whole time, as soon as it has closed. The counts of lines and warnings are not
    /// reset.
    ///
    /// It costs the same as [`snapshot`](Self::snapshot). For windows of the log, see
    /// [`report_every`](Self::report_every).
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
        let (overall_summary, percentiles) = self.shared.take();
        self.shared.snapshot_of(overall_summary, percentiles)
    }

    /// Returns the line of an open request as it stands: for a `Server-Timing` header, or the last event of a
    /// stream.
    ///
    /// `request_id` must have been recorded on the `request` span; of several open requests with this id, the
    /// newest one is meant. Returns `None` if no such request is open. The request ends now in this line, and
    /// the rows have the stages and transfers that have closed so far. `overall_summary` is the run without
    /// this request, `trace_id` and `span_id` are absent, and `finish_reason` is absent unless it was
    /// recorded.
    ///
    /// Costs a copy of the request's rows, during which a span of this request that closes has to wait.
    ///
    /// ```
    /// use omni_metrics::OmniMetricsLayer;
    /// use tracing_subscriber::prelude::*;
    ///
    /// let layer = OmniMetricsLayer::new().with_writer(std::io::sink);
    /// let handle = layer.handle();
    /// let subscriber = tracing_subscriber::registry().with(layer);
    /// tracing::subscriber::with_default(subscriber, || {
    ///     let _request = tracing::info_span!("request", request_id = "r1").entered();
    ///     drop(tracing::info_span!("stage", stage_id = 0, num_tokens_out = 7));
    ///     let line = handle.request("r1").unwrap();
    ///     assert_eq!(line.e2e_table.e2e_total_tokens, 7);
    ///     assert_eq!(line.stage_table[0].events, 1);
    /// });
    /// assert_eq!(handle.request("r1"), None);
    /// ```
    pub fn request(&self, request_id: &str) -> Option<RequestLine> {
        self.shared.line_so_far(request_id)
    }

    /// Returns the open requests as they stand, the oldest first and at most `limit`: for a page that shows
    /// which request hangs, and in which stage. A request is open until its line is written; one that
    /// encloses another request, and has no stage or transfer of its own, is left out.
    ///
    /// Costs about 10 µs, 0.2 µs for each open span, and a copy of the rows of each request that is returned.
    /// No lock is held for longer than one such copy or, while thousands of spans are open, than it takes to
    /// list a 256th of them.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use omni_metrics::{Clock, OmniMetricsLayer};
    /// use tracing_subscriber::prelude::*;
    ///
    /// let (clock, time) = Clock::mock();
    /// let layer = OmniMetricsLayer::new().with_writer(std::io::sink).with_clock(clock);
    /// let handle = layer.handle();
    /// let subscriber = tracing_subscriber::registry().with(layer);
    /// tracing::subscriber::with_default(subscriber, || {
    ///     let _request = tracing::info_span!("request", request_id = "r1", model = "m").entered();
    ///     drop(tracing::info_span!("stage", stage_id = 0, num_tokens_out = 7));
    ///     let _stage = tracing::info_span!("stage", stage_id = 1).entered();
    ///     time.advance(Duration::from_secs(30));
    ///
    ///     let open = &handle.open_requests(10)[0];
    ///     assert_eq!((open.request_id.as_deref(), open.age_ms.as_f64()), (Some("r1"), 30_000.0));
    ///     assert_eq!(open.stages[0].num_tokens_out, Some(7));
    ///     assert_eq!(open.in_stages, [1]);
    /// });
    /// assert!(handle.open_requests(10).is_empty());
    /// ```
    pub fn open_requests(&self, limit: usize) -> Vec<OpenRequest> {
        self.shared.open_requests(limit)
    }

    /// Writes a line with the totals and [`Percentiles`](crate::Percentiles) of the run so far, to the
    /// layer's writer and in its format. [`summary_guard`](Self::summary_guard) writes it at the end of a
    /// scope, also when the scope is left by `?` or by a panic.
    ///
    /// ```
    /// use std::{io::{BufRead, BufReader}, sync::Arc};
    ///
    /// use omni_metrics::{Line, OmniMetricsLayer};
    /// use tracing_subscriber::prelude::*;
    ///
    /// let (read, write) = std::io::pipe()?;
    /// let layer = OmniMetricsLayer::new().with_writer(Arc::new(write));
    /// let handle = layer.handle();
    /// let _subscriber = tracing_subscriber::registry().with(layer);
    /// handle.write_summary();
    ///
    /// let mut line = String::new();
    /// BufReader::new(read).read_line(&mut line)?;
    /// assert!(matches!(line.parse()?, Line::Summary(summary) if summary.overall_summary.e2e_requests == 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn write_summary(&self) {
        let writing = self.shared.writing();
        let snapshot = self.snapshot();
        let now = writing.clock.now();
        self.shared.write_summary(&writing, now, snapshot, None, &self.shared.open_now(now));
    }

    /// Writes a report every `interval`, from a thread of its own, until the returned guard is dropped. Its
    /// drop writes the lines of answered requests, as that of a [`SummaryGuard`] does.
    ///
    /// A report is a [summary line](crate::SummaryLine) with a [`Window`](crate::Window): the requests, rates
    /// and percentiles since the report before. It also tells how many requests are open, how old the oldest
    /// one is, and how many lines were written, left out and lost. An [open line](crate::OpenLine) follows
    /// for each request that has become older than `older_than` since the report before: at most 64, the
    /// oldest first; the last one tells how many more there are. So a service that hangs is seen, although
    /// the lines of its requests never come.
    ///
    /// The interval is measured with the system's clock, and is at least a millisecond; all times in the
    /// lines come from the layer's clock. There are no reports while the layer is
    /// [off](Self::set_log_stats). The windows of two guards, and the runs of [`take`](Self::take), do not
    /// affect each other. If the thread cannot be started, there are no reports.
    ///
    /// A report costs about as much as [`snapshot`](Self::snapshot) and
    /// [`open_requests`](Self::open_requests); its memory does not grow with time or closed requests.
    ///
    /// ```
    /// use std::{io::{BufRead, BufReader}, sync::Arc, time::Duration};
    ///
    /// use omni_metrics::{Line, OmniMetricsLayer};
    /// use tracing_subscriber::prelude::*;
    ///
    /// let (read, write) = std::io::pipe()?;
    /// let layer = OmniMetricsLayer::new().with_writer(Arc::new(write));
    /// let handle = layer.handle();
    /// let subscriber = tracing_subscriber::registry().with(layer);
    /// tracing::subscriber::with_default(subscriber, || {
    ///     let _hangs = tracing::info_span!("request", request_id = "r1");
    ///     let _reports = handle.report_every(Duration::from_millis(10), Duration::ZERO);
    ///
    ///     let mut lines = BufReader::new(read).lines();
    ///     let Line::Summary(summary) = lines.next().unwrap()?.parse()? else { panic!() };
    ///     assert_eq!((summary.window.unwrap().requests, summary.open_requests), (0, Some(1)));
    ///     let Line::Open(open) = lines.next().unwrap()?.parse()? else { panic!() };
    ///     assert_eq!(open.request.request_id.as_deref(), Some("r1"));
    /// #   Ok::<(), Box<dyn std::error::Error>>(())
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn report_every(&self, interval: Duration, older_than: Duration) -> ReportGuard {
        ReportGuard::start(Arc::clone(&self.shared), interval, older_than)
    }

    /// A guard that writes [the summary](Self::write_summary) when it is dropped. Before that, it writes the
    /// lines of all answered requests as they stand: requests whose span has closed, and whose line waits for
    /// open spans. Keep the guard until the last request has been answered.
    ///
    /// ```
    /// use omni_metrics::OmniMetricsLayer;
    /// use tracing_subscriber::prelude::*;
    ///
    /// let layer = OmniMetricsLayer::new().with_writer(std::io::sink);
    /// let handle = layer.handle();
    /// let subscriber = tracing_subscriber::registry().with(layer);
    /// {
    ///     let _summary = handle.summary_guard();
    ///     tracing::subscriber::with_default(subscriber, || drop(tracing::info_span!("request")));
    /// }
    /// // The request's line and the summary.
    /// assert_eq!(handle.snapshot().lines_written, 2);
    /// ```
    pub fn summary_guard(&self) -> SummaryGuard {
        SummaryGuard { handle: self.clone() }
    }

    /// Begins a new run, as [`take`](Self::take) does, and discards the numbers of the last one.
    ///
    /// ```
    /// use omni_metrics::OmniMetricsLayer;
    /// use tracing_subscriber::prelude::*;
    ///
    /// let layer = OmniMetricsLayer::new().with_writer(std::io::sink);
    /// let handle = layer.handle();
    /// let subscriber = tracing_subscriber::registry().with(layer);
    /// tracing::subscriber::with_default(subscriber, || drop(tracing::info_span!("request")));
    /// handle.reset();
    /// assert_eq!(handle.snapshot().overall_summary.e2e_requests, 0);
    /// assert_eq!(handle.snapshot().lines_written, 1, "the counts of lines go on");
    /// ```
    pub fn reset(&self) {
        self.shared.take();
    }

    /// Switches the layer on or off for spans that are created from now on. A request that is open still has
    /// its line. While the layer is off, `tracing` skips its spans at the callsite.
    ///
    /// Every callsite of the process is asked for its interest again. So do not call this on a hot path, or
    /// from code that runs inside a `Layer`.
    ///
    /// ```
    /// use omni_metrics::OmniMetricsLayer;
    /// use tracing_subscriber::prelude::*;
    ///
    /// let layer = OmniMetricsLayer::new().with_writer(std::io::sink);
    /// let handle = layer.handle();
    /// let subscriber = tracing_subscriber::registry().with(layer);
    /// tracing::subscriber::with_default(subscriber, || {
    ///     handle.set_log_stats(false);
    ///     drop(tracing::info_span!("request"));
    ///     handle.set_log_stats(true);
    ///     drop(tracing::info_span!("request"));
    /// });
    /// assert_eq!(handle.snapshot().lines_written, 1);
    /// ```
    pub fn set_log_stats(&self, on: bool) {
        if self.shared.log_stats.swap(on, Ordering::Relaxed) != on {
            rebuild_interest_cache();
        }
    }
}

/// Writes the summary when it is dropped. Made by [`OmniMetricsHandle::summary_guard`], which has an example.
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
