//! The per-layer filter: documented spans at any level, foreign spans up to the lineage level, and events at
//! `ERROR` only.

use std::sync::Arc;

use tracing::{Level, Metadata, level_filters::LevelFilter, subscriber::Interest};
use tracing_subscriber::layer::{Context, Filter};

use crate::{
    record::{layout::kind_of, spelling::nearest_kind},
    shared::Shared,
};

/// How the name of the callsite of `enabled!`, `event_enabled!` and `span_enabled!` begins.
const QUESTION: &str = "enabled ";
/// The default of [`with_lineage_level`](crate::OmniMetricsLayer::with_lineage_level).
const DEFAULT_LINEAGE_LEVEL: LevelFilter = LevelFilter::INFO;
/// The default of [`with_max_level`](crate::OmniMetricsLayer::with_max_level).
const DEFAULT_MAX_LEVEL: LevelFilter = LevelFilter::TRACE;

/// The per-layer filter. It decides for this layer only; a span that it declines still reaches other layers.
#[derive(Debug)]
pub(crate) struct SpanFilter {
    shared: Arc<Shared>,
    pub(crate) lineage_level: LevelFilter,
    pub(crate) max_level: LevelFilter,
}

impl SpanFilter {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, lineage_level: DEFAULT_LINEAGE_LEVEL, max_level: DEFAULT_MAX_LEVEL }
    }

    fn keeps(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.max_level
    }

    fn keeps_lineage(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && *metadata.level() <= self.lineage_level
    }
}

/// Whether it is an `ERROR` event, and not a question whether one would be enabled (`event_enabled!`). An
/// answer to a question would make `tracing` ask all filters, and the answers of other filters would stay in
/// the thread's filter state: the next span that is enabled without a check would be hidden from their
/// layers.
fn is_error(metadata: &Metadata<'_>) -> bool {
    metadata.is_event() && *metadata.level() == Level::ERROR && !metadata.name().starts_with(QUESTION)
}

impl<S> Filter<S> for SpanFilter {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        self.shared.log_stats()
            && self.keeps(metadata)
            && (kind_of(metadata).is_some() || self.keeps_lineage(metadata) || is_error(metadata))
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if !self.shared.log_stats() || !self.keeps(metadata) {
            Interest::never()
        } else if kind_of(metadata).is_some() || is_error(metadata) {
            // With `always`, `tracing` would skip the check that refreshes this thread's filter state. A
            // state left by an earlier callsite could then hide a span (tracing#2519).
            Interest::sometimes()
        } else if self.keeps_lineage(metadata) {
            if nearest_kind(metadata.name()).is_some() {
                self.shared.near_misses.expect(metadata);
            }
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let level = if self.shared.log_stats() { self.max_level } else { LevelFilter::OFF };
        // Without a hint, the hint of a global filter stays in force; `TRACE` would replace it.
        (level < LevelFilter::TRACE).then_some(level)
    }
}
