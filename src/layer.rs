//! The layer as users see it: how it is set up, and which callback goes where.

use std::{any::TypeId, fmt, sync::Arc};

use tracing::{
    Dispatch, Event, Metadata, Subscriber,
    level_filters::LevelFilter,
    span::{Attributes, Id, Record},
    subscriber::Interest,
};
use tracing_subscriber::{
    filter::Filtered,
    fmt::MakeWriter,
    layer::{Context, Layer},
    registry::LookupSpan,
};

use crate::{
    Clock, Format,
    emit::Output,
    filter::SpanFilter,
    handle::{OmniMetricsHandle, Shared, Writing},
    otel::Otel,
    queue::QueueGuard,
    recorder::Recorder,
};

/// A `tracing-subscriber` layer that writes the production metrics of every request as one line
/// of JSON when its `request` span closes.
///
/// With the feature `opentelemetry`, add the layer of `tracing-opentelemetry` after this one: it ends its span
/// when it hears that ours closes, and an ended span takes no attributes.
///
/// It brings its own per-layer filter, so adding it enables no span or event of other people's
/// code but for spans up to the [lineage level](Self::with_lineage_level). It needs
/// `#[instrument]` or span macros only; see the [crate documentation](crate) for the span names
/// and fields.
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
    filtered: Filtered<Recorder, SpanFilter, S>,
}

impl<S> OmniMetricsLayer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    /// A layer that is on, writes JSON lines to stderr and keeps foreign spans up to `INFO` for
    /// lineage.
    pub fn new() -> Self {
        let writing = Writing { clock: Clock::system(), output: Output::stderr(Format::default()) };
        let shared = Arc::new(Shared::new(writing.clone()));
        let recorder = Recorder::new(writing, Arc::clone(&shared));
        let filter = SpanFilter::new(Arc::clone(&shared));
        Self { shared, filtered: Filtered::new(recorder, filter) }
    }

    /// Writes the lines to `make_writer`, by default stderr.
    ///
    /// Each line is one `write` of the whole line, and further ones if the writer takes only a part; they are
    /// made on the thread that closes the span. If the writer fails or panics, the line is lost and
    /// [counted](crate::Snapshot::lines_lost). If it has taken a part of the line before, the next line begins
    /// with a line feed, so that it stands on a line of its own.
    ///
    /// A thread that closes a span waits while the writer writes. Where that may take long, use
    /// [`with_queued_writer`](Self::with_queued_writer). `tracing_appender::non_blocking` does not wait either,
    /// but drops lines by itself when it is full, and `lines_lost` does not count these.
    ///
    /// Without this method, lines go to stderr, and no thread waits for it: what a pipe, socket or terminal does
    /// not take at once waits in memory, in order, up to 1 MiB for all layers of the process, and past that
    /// lines are lost. A thread of the crate's own writes what waits; the exit of the process (the return from
    /// `main`, `std::process::exit`) writes the rest, and gives up when stderr has taken nothing for a second. An
    /// abort or a signal loses what waits. A file is written to directly. On systems other than Unix, stderr
    /// cannot be asked whether it has room, and there a full pipe makes the thread that closes a span wait, as
    /// `with_writer(std::io::stderr)` does everywhere.
    pub fn with_writer<W>(mut self, make_writer: W) -> Self
    where
        W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
    {
        let set = |writing: &mut Writing| writing.output = Output::to(make_writer, writing.output.format);
        self.filtered.inner_mut().set_writing(set);
        self
    }

    /// Writes the lines to `make_writer` from a thread of its own, so that no thread that closes a span waits for
    /// a slow disk or a network.
    ///
    /// Lines wait in a queue, in order, of at most `capacity_bytes` bytes of text; a line that finds no room in
    /// it is lost as a whole and [counted](crate::Snapshot::lines_lost). The writer is called as
    /// [`with_writer`](Self::with_writer) describes. Dropping the [`QueueGuard`] writes what is queued and ends
    /// the thread; its documentation says when it gives up. If the system refuses the thread, all lines are
    /// lost and counted.
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
        let format = self.filtered.inner().writing.output.format;
        let (output, guard) = Output::queued(make_writer, capacity_bytes, format);
        self.filtered.inner_mut().set_writing(|writing| writing.output = output);
        (self, guard)
    }

    /// Writes JSON lines or text tables, by default [`Format::Json`].
    pub fn with_format(mut self, format: Format) -> Self {
        self.filtered.inner_mut().set_writing(|writing| writing.output.format = format);
        self
    }

    /// Starts with the layer on or off, by default on: the service's `--log-stats` flag. While it
    /// is off, `tracing` skips the layer's spans at the callsite. At run time,
    /// [`OmniMetricsHandle::set_log_stats`] switches.
    pub fn with_log_stats(self, on: bool) -> Self {
        self.handle().set_log_stats(on);
        self
    }

    /// Keeps foreign spans up to `level`, by default `INFO`.
    ///
    /// A stage finds its request through the spans around it, and a span that no layer wants does
    /// not exist: one made with it as its explicit parent is a root, a task instrumented with it
    /// is outside of any request. Spans of the contract are kept at any level.
    pub fn with_lineage_level(mut self, level: LevelFilter) -> Self {
        self.filtered.filter_mut().lineage_level = level;
        self
    }

    /// Sees no span above `level`, by default `TRACE`: all are seen.
    ///
    /// `tracing` skips every span and event above the most verbose level that any layer asks for. By default this
    /// layer asks for every level, since spans of the contract count at any. A suppressed `trace!` costs 0.3 ns
    /// more then. A suppressed `log::trace!` costs 35 ns instead of 0.3, if `.init()` has connected `log` with
    /// `tracing` (the feature `tracing-log` of `tracing-subscriber`), which is where a lower level is of use,
    /// provided that no other layer asks for more.
    ///
    /// Choose the level of the most verbose span of the contract: `INFO` for `#[instrument]` and `info_span!`. Spans
    /// above it are not seen, neither those of the contract nor foreign ones, whatever the
    /// [lineage level](Self::with_lineage_level) says. The filter of any other layer is not affected.
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

    /// Reads the time from `clock`, by default [`Clock::system`]. For tests.
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.filtered.inner_mut().set_writing(|writing| writing.clock = clock);
        self
    }

    /// A handle on this layer's state.
    pub fn handle(&self) -> OmniMetricsHandle {
        OmniMetricsHandle::new(Arc::clone(&self.shared))
    }

    fn recorder(&self) -> &Recorder {
        self.filtered.inner()
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

/// What the filter has to see goes through [`Filtered`]. Callbacks on a span that exists go around
/// it, which saves its look-up of the span, and finds those spans too that the filter's memory of
/// them has lost.
impl<S> Layer<S> for OmniMetricsLayer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn on_register_dispatch(&self, subscriber: &Dispatch) {
        self.filtered.on_register_dispatch(subscriber);
        self.recorder().otel.connect(subscriber);
    }

    fn on_layer(&mut self, subscriber: &mut S) {
        self.filtered.on_layer(subscriber);
    }

    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        self.filtered.register_callsite(metadata)
    }

    fn enabled(&self, metadata: &Metadata<'_>, ctx: Context<'_, S>) -> bool {
        self.filtered.enabled(metadata, ctx)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        self.filtered.max_level_hint()
    }

    fn event_enabled(&self, event: &Event<'_>, ctx: Context<'_, S>) -> bool {
        self.filtered.event_enabled(event, ctx)
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        self.filtered.on_event(event, ctx);
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        self.filtered.on_new_span(attributes, id, ctx);
    }

    fn on_id_change(&self, old: &Id, new: &Id, ctx: Context<'_, S>) {
        self.filtered.on_id_change(old, new, ctx);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        self.recorder().record(id, values);
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, ctx: Context<'_, S>) {
        self.recorder().follow(id, follows, &ctx);
    }

    fn on_enter(&self, id: &Id, _: Context<'_, S>) {
        self.recorder().enter(id);
    }

    fn on_exit(&self, id: &Id, _: Context<'_, S>) {
        self.recorder().exit(id);
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        self.recorder().close(&id);
    }

    #[allow(unsafe_code, reason = "the hook by which a registry finds the filter inside of this layer")]
    unsafe fn downcast_raw(&self, id: TypeId) -> Option<*const ()> {
        if id == TypeId::of::<Self>() {
            return Some(std::ptr::from_ref(self).cast());
        }
        if id == TypeId::of::<Otel>() {
            return Some(std::ptr::from_ref(&self.recorder().otel).cast());
        }
        // SAFETY: what `Filtered` returns points into `self.filtered` and is of the type that `id`
        // names, which is what this method promises for `self`.
        unsafe { self.filtered.downcast_raw(id) }
    }
}
