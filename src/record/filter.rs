//! The per-layer filter: documented spans at any level, foreign spans up to the lineage level, and events at
//! `ERROR` only.

use std::sync::Arc;

use tracing::{Level, Metadata, level_filters::LevelFilter, subscriber::Interest};
use tracing_subscriber::layer::{Context, Filter};

use crate::{
    record::{layout::kind_of, spelling::nearest_kind},
    shared::Shared,
};

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

    /// Whether the layer is on and reads spans and events of this level.
    #[inline]
    pub(crate) fn sees(&self, metadata: &Metadata<'_>) -> bool {
        self.shared.log_stats() && *metadata.level() <= self.max_level
    }

    pub(crate) fn sees_event(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::ERROR && self.sees(metadata)
    }

    fn keeps_lineage(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && *metadata.level() <= self.lineage_level
    }

    fn keeps(&self, metadata: &Metadata<'_>) -> bool {
        let is_kept = || {
            kind_of(metadata).is_some()
                || self.keeps_lineage(metadata)
                || metadata.is_event() && self.sees_event(metadata)
        };
        self.sees(metadata) && !is_question(metadata) && is_kept()
    }
}

/// Whether it is a question whether a span or an event would be enabled (`enabled!`). It is answered with no:
/// a yes would make `tracing` ask all filters, and the answers of the others would stay on the thread, where
/// they would hide the next span from their layers if that is enabled without a check.
fn is_question(metadata: &Metadata<'_>) -> bool {
    let place = metadata.name().strip_prefix("enabled ").zip(metadata.file());
    place.is_some_and(|(place, file)| place.starts_with(file))
}

impl<S> Filter<S> for SpanFilter {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        self.keeps(metadata)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if !self.keeps(metadata) {
            return Interest::never();
        }
        let is_foreign_span = metadata.is_span() && kind_of(metadata).is_none();
        if is_foreign_span && nearest_kind(metadata.name()).is_some() {
            self.shared.near_misses.expect(metadata);
        }
        Interest::always()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let level = if self.shared.log_stats() { self.max_level } else { LevelFilter::OFF };
        // Without a hint, the hint of a global filter stays in force; `TRACE` would replace it.
        (level < LevelFilter::TRACE).then_some(level)
    }
}
