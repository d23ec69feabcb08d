//! The OpenTelemetry spans beside ours: their ids for a line, and a request's numbers for them.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use opentelemetry::{
    Context, KeyValue,
    trace::{SpanRef, TraceContextExt},
};
use tracing::{
    Dispatch,
    dispatcher::{self, WeakDispatch},
    span::Id,
};

use crate::{
    StageRow,
    contain::contain,
    fields::Kind,
    numbers::{Table, Value},
    open_spans::OpenSpans,
    span::OpenSpan,
    tables::{E2eTable, TraceIds},
    warnings::Warnings,
};

/// Of how many stages, those of the smallest ids, the times become attributes. A span keeps 128
/// attributes, unless the SDK is told otherwise.
const STAGES: usize = 16;

/// The way to the layer of `tracing-opentelemetry` in the same subscriber.
#[derive(Debug, Default)]
pub(crate) struct Otel {
    subscriber: OnceLock<WeakDispatch>,
    /// Once, a request that closed had an OpenTelemetry span, or had none.
    found_at_close: AtomicBool,
    missed_at_close: AtomicBool,
}

/// What an open request knows of its OpenTelemetry span.
#[derive(Debug, Default)]
pub(crate) struct Met {
    has_looked: bool,
    context: Option<Context>,
}

impl Otel {
    /// Takes the subscriber that this layer has become a part of.
    pub(crate) fn connect(&self, subscriber: &Dispatch) {
        // A layer is a part of one subscriber, so the first is the only one.
        let _ = self.subscriber.set(subscriber.downgrade());
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.subscriber().is_some()
    }

    /// The subscriber, if need be the one that is the default now: an `Option` or a `Vec` of layers does not
    /// tell them what they become a part of.
    fn subscriber(&self) -> Option<Dispatch> {
        if self.subscriber.get().is_none() {
            dispatcher::get_default(|default| {
                if default.downcast_ref::<Self>().is_some_and(|otel| std::ptr::eq(otel, self)) {
                    self.connect(default);
                }
            });
        }
        self.subscriber.get()?.upgrade()
    }

    /// The OpenTelemetry span of an open span, started if it was not; `None` if there is no such layer, if it
    /// does not see the span, or if it has closed it already.
    ///
    /// Samplers and processors run in here, which are somebody else's code: nothing may be locked.
    fn context(&self, id: &Id) -> Option<Context> {
        let subscriber = self.subscriber()?;
        let context = contain(|| tracing_opentelemetry::get_otel_context(id, &subscriber)).flatten()?;
        let is_its_own = {
            let span = context.span();
            span.span_context().is_valid() && !span.span_context().is_remote()
        };
        is_its_own.then_some(context)
    }

    /// Keeps hold of a request's OpenTelemetry span when the request is left first, where that layer seems to
    /// close spans before this one does. Elsewhere there is time until the close; to ask earlier would start
    /// the span, and that takes no other parent then.
    pub(crate) fn meet(&self, id: &Id, open: &OpenSpans) {
        if self.found_at_close.load(Ordering::Relaxed) || !self.missed_at_close.load(Ordering::Relaxed) {
            return;
        }
        let is_new = |span: &Arc<OpenSpan>| span.kind == Kind::Request && !span.lock().otel.has_looked;
        if open.with(id, is_new) == Some(true) {
            let met = Met { has_looked: true, context: self.context(id) };
            open.with(id, |span| span.lock().otel = met);
        }
    }

    /// Gives a request's numbers to its OpenTelemetry span, and returns the ids of that.
    pub(crate) fn tell<'a>(
        &self,
        id: &Id,
        met: Met,
        e2e: &E2eTable,
        stages: impl Iterator<Item = &'a StageRow>,
        warnings: &mut Warnings,
    ) -> TraceIds {
        let at_close = self.context(id);
        let is_found = if at_close.is_some() { &self.found_at_close } else { &self.missed_at_close };
        is_found.store(true, Ordering::Relaxed);
        let Some(context) = at_close.or(met.context) else { return TraceIds::default() };
        let span = context.span();
        if span.is_recording() {
            contain(|| span.set_attributes(attributes(e2e, stages)));
        } else if span.span_context().is_sampled() {
            let what = "it had ended already, and has none of the request's numbers; the layer of OpenTelemetry \
                        belongs after this one";
            warnings.add(Kind::Request, "span_id", span.span_context().span_id(), what);
        }
        ids(&span)
    }

    /// The ids of the OpenTelemetry span of an open span.
    pub(crate) fn ids(&self, id: &Id) -> TraceIds {
        self.context(id).map(|context| ids(&context.span())).unwrap_or_default()
    }
}

fn ids(span: &SpanRef<'_>) -> TraceIds {
    let context = span.span_context();
    TraceIds { trace_id: Some(context.trace_id().to_string()), span_id: Some(context.span_id().to_string()) }
}

fn attributes<'a>(e2e: &E2eTable, stages: impl Iterator<Item = &'a StageRow>) -> Vec<KeyValue> {
    let mut attributes: Vec<_> = attributes_of("omni.", e2e).collect();
    for row in stages.take(STAGES) {
        if let Some(id) = row.stage_id {
            attributes.extend(attributes_of(&format!("omni.stage.{id}."), row));
        }
    }
    attributes
}

/// What is absent is no attribute.
fn attributes_of<Row: Table>(prefix: &str, row: &Row) -> impl Iterator<Item = KeyValue> {
    Row::NUMBERS.iter().filter(|number| number.about.is_attribute).filter_map(move |number| {
        let key = format!("{prefix}{}", number.name);
        Some(match (number.get)(row)? {
            Value::Time(time) => KeyValue::new(key, time.as_f64()),
            // OpenTelemetry has no unsigned numbers.
            Value::Count(count) => KeyValue::new(key, i64::try_from(count).unwrap_or(i64::MAX)),
            Value::Text(text) => KeyValue::new(key, text.to_owned()),
        })
    })
}
