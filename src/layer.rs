//! The layer as users see it: how it is set up.

mod callbacks;

use std::{fmt, sync::Arc};

use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{filter::Filtered, fmt::MakeWriter, layer::Identity, registry::LookupSpan};

use crate::{
    Clock, Format, Keep, OmniMetricsHandle, QueueGuard,
    record::{filter::SpanFilter, recorder::Recorder},
    shared::{Shared, Writing},
    write::output::Output,
};

/// A `tracing-subscriber` layer that writes the production metrics of every request as one line of JSON when
/// the request is complete.
///
/// See the [crate documentation](crate) for the spans and fields that it reads. It has a per-layer filter of
/// its own: of other code, it enables only spans up to the [lineage level](Self::with_lineage_level), and
/// events at `ERROR`.
///
/// With the feature `opentelemetry`, add the layer of `tracing-opentelemetry` after this one. A layer that
/// was added earlier is told first that a span closes, and an OpenTelemetry span that has ended takes no
/// attributes.
///
/// ```
/// use omni_metrics::OmniMetricsLayer;
/// use tracing_subscriber::prelude::*;
///
/// tracing_subscriber::registry().with(OmniMetricsLayer::new()).init();
/// ```
#[must_use = "a layer does nothing until it is added to a subscriber"]
pub struct OmniMetricsLayer<S> {
    shared: Arc<Shared>,
    recorder: Recorder,
    filtered: Filtered<Identity, SpanFilter, S>,
}

impl<S> OmniMetricsLayer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    /// Creates a layer that is on, writes JSON lines to stderr, and keeps foreign spans up to `INFO`, through
    /// which a stage finds its request.
    pub fn new() -> Self {
        let writing =
            Writing { keep: Keep::all(), clock: Clock::system(), output: Output::stderr(Format::default()) };
        let shared = Arc::new(Shared::new(writing.clone()));
        let recorder = Recorder::new(writing, Arc::clone(&shared));
        let filter = SpanFilter::new(Arc::clone(&shared));
        Self { shared, recorder, filtered: Filtered::new(Identity::new(), filter) }
    }

    /// Writes the lines to `make_writer`, by default stderr.
    ///
    /// The writer is called on the thread that closes a request's last span, and that thread waits for it.
    /// Each line is one `write` of the whole line, and further ones if the writer takes only a part; a
    /// [`Mutex`](std::sync::Mutex) around the writer keeps other threads from writing between them. If the
    /// writer fails or panics, the line is lost and [counted](crate::Snapshot::lines_lost). If it had taken a
    /// part of the line, the next line begins with a line feed, so that it stands on a line of its own.
    ///
    /// For a writer that may be slow, use [`with_queued_writer`](Self::with_queued_writer).
    /// `tracing_appender::non_blocking` does not wait either, but it drops lines when it is full, and
    /// `lines_lost` does not count them.
    ///
    /// # Default: stderr
    ///
    /// No thread waits for stderr. What a pipe, socket or terminal does not take at once waits in memory, in
    /// order, up to 1 MiB for all layers of the process; past that, lines are lost and counted. A thread of
    /// this crate writes the waiting lines. The exit of the process (the return from `main`,
    /// `std::process::exit`) writes the rest, and gives up when stderr has taken nothing for a second and, on
    /// Linux, nobody has read the pipe. An abort or a signal loses the waiting lines. A file is written to
    /// directly.
    ///
    /// On systems other than Unix, stderr cannot be asked whether it has room. A full pipe makes the thread
    /// that closes a span wait there, as `with_writer(std::io::stderr)` does everywhere.
    ///
    /// ```
    /// use std::{io::{BufRead, BufReader}, sync::Arc};
    ///
    /// use omni_metrics::{Line, OmniMetricsLayer};
    /// use tracing_subscriber::prelude::*;
    ///
    /// let (read, write) = std::io::pipe()?;
    /// let layer = OmniMetricsLayer::new().with_writer(Arc::new(write));
    /// let subscriber = tracing_subscriber::registry().with(layer);
    /// tracing::subscriber::with_default(subscriber, || {
    ///     drop(tracing::info_span!("request", request_id = "r1"));
    /// });
    ///
    /// let mut line = String::new();
    /// BufReader::new(read).read_line(&mut line)?;
    /// assert_eq!(line.parse::<Line>()?.request_id(), Some("r1"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_writer<W>(mut self, make_writer: W) -> Self
    where
        W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
    {
        let set = |writing: &mut Writing| writing.output = Output::to(make_writer, writing.output.format);
        self.recorder.set_writing(set);
        self
    }

    /// Writes the lines to `make_writer` from a thread of its own, so that no thread that closes a span waits
    /// for a slow disk or a network.
    ///
    /// The lines wait in a queue of at most `capacity_bytes` bytes of text, in order. If a line does not fit,
    /// it is lost as a whole and [counted](crate::Snapshot::lines_lost). The thread calls the writer as
    /// [`with_writer`](Self::with_writer) describes. Dropping the [`QueueGuard`] writes the queued lines and
    /// ends the thread; its documentation says when it gives up. If the thread cannot be started, all lines
    /// are lost and counted.
    ///
    /// ```
    /// use std::fs::{self, File};
    ///
    /// use omni_metrics::OmniMetricsLayer;
    /// use tracing_subscriber::prelude::*;
    ///
    /// # let path = std::env::temp_dir().join(format!("omni-metrics-queue-{}.jsonl", std::process::id()));
    /// let (layer, guard) = OmniMetricsLayer::new().with_queued_writer(File::create(&path)?, 1 << 20);
    /// let handle = layer.handle();
    /// let subscriber = tracing_subscriber::registry().with(layer);
    /// tracing::subscriber::with_default(subscriber, || {
    ///     drop(tracing::info_span!("request", request_id = "r1"));
    ///     drop(tracing::info_span!("request", request_id = "r2"));
    /// });
    /// drop(guard);
    /// assert_eq!(fs::read_to_string(&path)?.lines().count(), 2);
    /// assert_eq!((handle.snapshot().lines_written, handle.snapshot().lines_lost), (2, 0));
    /// # fs::remove_file(path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn with_queued_writer<W>(mut self, make_writer: W, capacity_bytes: usize) -> (Self, QueueGuard)
    where
        W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
    {
        let format = self.recorder.writing.output.format;
        let (output, guard) = Output::queued(make_writer, capacity_bytes, format);
        self.recorder.set_writing(|writing| writing.output = output);
        (self, guard)
    }

    /// Writes JSON lines or text tables, by default [`Format::Json`].
    ///
    /// ```
    /// use std::{io::{BufRead, BufReader}, sync::Arc};
    ///
    /// use omni_metrics::{Format, OmniMetricsLayer};
    /// use tracing_subscriber::prelude::*;
    ///
    /// let (read, write) = std::io::pipe()?;
    /// let layer = OmniMetricsLayer::new().with_writer(Arc::new(write)).with_format(Format::Table);
    /// let subscriber = tracing_subscriber::registry().with(layer);
    /// tracing::subscriber::with_default(subscriber, || drop(tracing::info_span!("request")));
    ///
    /// let mut line = String::new();
    /// BufReader::new(read).read_line(&mut line)?;
    /// assert_eq!(line, "Overall Summary\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn with_format(mut self, format: Format) -> Self {
        self.recorder.set_writing(|writing| writing.output.format = format);
        self
    }

    /// Starts with the layer on or off, by default on. This is for a `--log-stats` flag of the service. While
    /// the layer is off, `tracing` skips its spans at the callsite. [`OmniMetricsHandle::set_log_stats`]
    /// switches it at run time.
    ///
    /// ```
    /// use omni_metrics::OmniMetricsLayer;
    /// use tracing_subscriber::prelude::*;
    ///
    /// let layer = OmniMetricsLayer::new().with_log_stats(false);
    /// let handle = layer.handle();
    /// let subscriber = tracing_subscriber::registry().with(layer);
    /// tracing::subscriber::with_default(subscriber, || drop(tracing::info_span!("request")));
    /// assert_eq!(handle.snapshot().lines_written, 0);
    /// ```
    pub fn with_log_stats(self, on: bool) -> Self {
        self.handle().set_log_stats(on);
        self
    }

    /// Keeps foreign spans up to `level`, by default `INFO`.
    ///
    /// A stage finds its request through the spans that enclose it. A span that no layer enables does not
    /// exist: a span that has it as its explicit parent is a root, and a task that is instrumented with it is
    /// outside of any request. The spans `request`, `stage`, `transfer` and `preprocess` are kept at any
    /// level.
    ///
    /// ```
    /// use omni_metrics::OmniMetricsLayer;
    /// use tracing::{debug_span, info_span};
    /// use tracing_subscriber::{filter::LevelFilter, prelude::*};
    ///
    /// let layer = OmniMetricsLayer::new().with_writer(std::io::sink).with_lineage_level(LevelFilter::DEBUG);
    /// let handle = layer.handle();
    /// let subscriber = tracing_subscriber::registry().with(layer);
    /// tracing::subscriber::with_default(subscriber, || {
    ///     let request = info_span!("request", request_id = "r1");
    ///     let task = debug_span!(parent: &request, "task");
    ///     drop(info_span!(parent: &task, "stage", stage_id = 0));
    /// });
    /// // Without the debug span, the stage would be a detached row, on a line of its own.
    /// assert_eq!(handle.snapshot().lines_written, 1);
    /// ```
    pub fn with_lineage_level(mut self, level: LevelFilter) -> Self {
        self.filtered.filter_mut().lineage_level = level;
        self
    }

    /// Sees no span above `level`, by default `TRACE`: all are seen.
    ///
    /// `tracing` skips every span and event above the most verbose level that any layer asks for. This layer
    /// asks for every level by default, since the spans that it reads count at any level. A suppressed
    /// `trace!` then costs 0.3 ns more. A suppressed `log::trace!` costs 35 ns instead of 0.3 ns, if
    /// `.init()` has connected `log` with `tracing` (the feature `tracing-log` of `tracing-subscriber`). A
    /// lower level avoids that, provided that no other layer asks for more.
    ///
    /// Choose the level of the most verbose span that this layer reads: `INFO` for `#[instrument]` and
    /// `info_span!`. Spans above it are not seen, neither those that the layer reads nor foreign ones,
    /// whatever the [lineage level](Self::with_lineage_level) is. The filters of other layers are not
    /// affected.
    ///
    /// ```
    /// use omni_metrics::OmniMetricsLayer;
    /// use tracing_subscriber::{filter::LevelFilter, prelude::*};
    ///
    /// let layer = OmniMetricsLayer::new().with_writer(std::io::sink).with_max_level(LevelFilter::INFO);
    /// let handle = layer.handle();
    /// tracing_subscriber::registry().with(layer).init();
    /// assert_eq!(LevelFilter::current(), LevelFilter::INFO);
    /// assert_eq!(log::max_level(), log::LevelFilter::Info);
    ///
    /// drop(tracing::info_span!("request", request_id = "r1"));
    /// drop(tracing::debug_span!("request", request_id = "r2"));
    /// assert_eq!(handle.snapshot().lines_written, 1);
    /// ```
    pub fn with_max_level(mut self, level: LevelFilter) -> Self {
        self.filtered.filter_mut().max_level = level;
        self
    }

    /// Writes the lines of the requests that `keep` chooses, by default of [all](Keep::all). The other
    /// requests are [counted](crate::Snapshot::lines_left_out), also in totals, percentiles and exported
    /// metrics, but their lines are not formatted. [`Keep`] has an example.
    pub fn with_keep(mut self, keep: Keep) -> Self {
        self.recorder.set_writing(|writing| writing.keep = keep);
        self
    }

    /// Makes fields of `request` spans labels of the exported metrics, by default none. Needs the feature
    /// `metrics`.
    ///
    /// The labels are on the metrics of closed requests and of their stages and transfers. Their values are
    /// those that the request's line has under `fields`; the label of an absent or empty one is `none`.
    /// Detached rows have no request in this process, so all their labels are `none`. The gauge of open
    /// requests and the counters of lost lines and of warnings have no labels.
    ///
    /// Each label has at most 64 values, the first that come; all others are `other`. At most 256
    /// combinations of values have series of their own; further ones share series of which every label is
    /// `other`. A combination has hundreds of series for each stage, so choose fields with few values, as
    /// `model` or `tenant`, not the user. If clients choose the value, record only the values that the
    /// service knows: otherwise one client's inventions take the places of the others.
    ///
    /// A label that the families have anyway (`finish_reason`, `stage`, `from_stage`, `to_stage`), or that
    /// Prometheus adds (`le`, `quantile`), is passed over. A second call replaces the labels of the first.
    ///
    /// ```
    /// use metrics_util::debugging::DebuggingRecorder;
    /// use omni_metrics::OmniMetricsLayer;
    /// use tracing_subscriber::prelude::*;
    ///
    /// let recorder = DebuggingRecorder::new(); // or an exporter's
    /// let snapshotter = recorder.snapshotter();
    /// recorder.install()?;
    ///
    /// let layer = OmniMetricsLayer::new().with_writer(std::io::sink).with_labels(["model"]);
    /// tracing_subscriber::registry().with(layer).init();
    /// drop(tracing::info_span!("request", model = "small"));
    ///
    /// let metrics = snapshotter.snapshot().into_vec();
    /// let latency = metrics.iter().find(|(key, ..)| key.key().name() == "omni_e2e_seconds").unwrap();
    /// let label = latency.0.key().labels().next().unwrap();
    /// assert_eq!((label.key(), label.value()), ("model", "small"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "metrics")]
    pub fn with_labels(self, fields: impl IntoIterator<Item = &'static str>) -> Self {
        self.shared.counters.facade.set_labels(fields);
        self
    }

    /// Reads the time from `clock`, by default [`Clock::system`]. For tests: [`Clock::mock`] has an example.
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.recorder.set_writing(|writing| writing.clock = clock);
        self
    }

    /// Returns a handle for this layer's state.
    pub fn handle(&self) -> OmniMetricsHandle {
        OmniMetricsHandle::new(Arc::clone(&self.shared))
    }
}

impl<S> Default for OmniMetricsLayer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn default() -> Self {
        Self::new()
    }
}

impl<S> fmt::Debug for OmniMetricsLayer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OmniMetricsLayer").field("shared", &self.shared).finish_non_exhaustive()
    }
}
