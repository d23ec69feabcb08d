//! What the layer does to the callsites of other people's code: one process per set-up, since
//! `tracing` caches the interest of a callsite for all subscribers of a process.

mod support;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use omni_metrics::OmniMetricsLayer;
use support::in_a_process_of_its_own;
use tracing::{
    Event, Level, Metadata, Subscriber, debug_span, info_span,
    level_filters::LevelFilter,
    span::{Attributes, Id, Record},
    subscriber::Interest,
    trace, trace_span,
};
use tracing_core::span::Current;
use tracing_subscriber::prelude::*;

/// Counts how often a callsite has to ask its subscriber: never, once its interest is cached.
struct CountAsked<S>(S, Arc<AtomicU64>);

impl<S: Subscriber> Subscriber for CountAsked<S> {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        self.0.register_callsite(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        self.0.max_level_hint()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.enabled(metadata)
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.0.new_span(span)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        self.0.record(span, values);
    }

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        self.0.record_follows_from(span, follows);
    }

    fn event_enabled(&self, event: &Event<'_>) -> bool {
        self.0.event_enabled(event)
    }

    fn event(&self, event: &Event<'_>) {
        self.0.event(event);
    }

    fn enter(&self, span: &Id) {
        self.0.enter(span);
    }

    fn exit(&self, span: &Id) {
        self.0.exit(span);
    }

    fn clone_span(&self, id: &Id) -> Id {
        self.0.clone_span(id)
    }

    fn try_close(&self, id: Id) -> bool {
        self.0.try_close(id)
    }

    fn current_span(&self) -> Current {
        self.0.current_span()
    }
}

fn count_asked<S: Subscriber + Send + Sync>(subscriber: S) -> Arc<AtomicU64> {
    let asked = Arc::new(AtomicU64::new(0));
    tracing::subscriber::set_global_default(CountAsked(subscriber, Arc::clone(&asked))).unwrap();
    asked
}

/// Foreign code below the lineage level, a hundred times. Returns how many fields it evaluated.
fn foreign_code() -> u64 {
    let mut evaluated = 0;
    let mut evaluate = || {
        evaluated += 1;
        evaluated
    };
    for _ in 0..100 {
        trace!(cost = evaluate(), "a disabled event");
        let span = debug_span!("a_disabled_span", cost = evaluate());
        assert!(span.is_disabled());
        let _entered = trace_span!("another", cost = evaluate()).entered();
        assert!(!tracing::event_enabled!(Level::INFO), "events are nobody's business here");
    }
    evaluated
}

#[test]
fn foreign_code_below_the_lineage_level_stays_disabled_and_cached() {
    if !in_a_process_of_its_own("foreign_code_below_the_lineage_level_stays_disabled_and_cached") {
        return;
    }
    let asked =
        count_asked(tracing_subscriber::registry().with(OmniMetricsLayer::new().with_writer(std::io::sink)));
    assert_eq!(foreign_code(), 0, "no field was even evaluated");
    assert_eq!(asked.load(Ordering::Relaxed), 0, "every answer was cached");
    assert!(!info_span!("foreign_for_lineage").is_disabled());
    assert_eq!(asked.load(Ordering::Relaxed), 0, "this one too");
    assert!(!trace_span!("stage").is_disabled());
    assert_eq!(asked.load(Ordering::Relaxed), 0, "our own spans too");
}

#[test]
fn beside_a_filtered_layer_foreign_code_stays_disabled_and_cached() {
    if !in_a_process_of_its_own("beside_a_filtered_layer_foreign_code_stays_disabled_and_cached") {
        return;
    }
    let fmt = tracing_subscriber::fmt::layer().with_writer(std::io::sink).with_filter(LevelFilter::WARN);
    let asked = count_asked(
        tracing_subscriber::registry().with(fmt).with(OmniMetricsLayer::new().with_writer(std::io::sink)),
    );
    assert_eq!(foreign_code(), 0);
    assert_eq!(asked.load(Ordering::Relaxed), 0);
}

#[test]
fn an_explicit_lineage_level_of_off_keeps_no_foreign_span() {
    if !in_a_process_of_its_own("an_explicit_lineage_level_of_off_keeps_no_foreign_span") {
        return;
    }
    let layer = OmniMetricsLayer::new().with_writer(std::io::sink).with_lineage_level(LevelFilter::OFF);
    let asked = count_asked(tracing_subscriber::registry().with(layer));
    assert!(tracing::error_span!("foreign").is_disabled());
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    assert!(!trace_span!("stage").is_disabled());
}

#[test]
fn switched_off_our_own_spans_are_disabled_and_cached_until_it_is_on() {
    if !in_a_process_of_its_own("switched_off_our_own_spans_are_disabled_and_cached_until_it_is_on") {
        return;
    }
    let log = support::Log::default();
    let layer = OmniMetricsLayer::new().with_log_stats(false).with_writer(log.clone());
    let handle = layer.handle();
    let asked = count_asked(tracing_subscriber::registry().with(layer));
    let request = || info_span!("request", request_id = "r");
    for on in [false, true, false] {
        handle.set_log_stats(on);
        assert_eq!(request().is_disabled(), !on);
        assert_eq!(info_span!("foreign").is_disabled(), !on);
    }
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    assert_eq!(log.lines().len(), 1);
}
