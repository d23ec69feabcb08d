//! OpenTelemetry: the ids of a span's OpenTelemetry span for its line, and a request's numbers as attributes
//! of it.

use std::{
    mem,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
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
    E2eTable, StageRow,
    contain::contain,
    hold::{early_context::EarlyContext, open_spans::OpenSpans, span::OpenSpan},
    model::{kind::Kind, line::TraceIds, numbers::Table, rows::Value, warnings::Warnings},
    write::gen_ai::{GenAi, integer},
};

/// How many stages, those with the smallest ids, become attributes. A span keeps 128 attributes by default.
const STAGES: usize = 16;

/// Access to the layer of `tracing-opentelemetry` in the same subscriber.
#[derive(Debug, Default)]
pub(crate) struct Otel {
    subscriber: OnceLock<WeakDispatch>,
    /// Whether any closing request had an OpenTelemetry span, and whether any had none.
    found_at_close: AtomicBool,
    missed_at_close: AtomicBool,
}

impl Otel {
    /// Remembers the subscriber that contains this layer.
    pub(crate) fn connect(&self, subscriber: &Dispatch) {
        // A layer is in one subscriber, so the first call decides.
        let _ = self.subscriber.set(subscriber.downgrade());
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.subscriber().is_some()
    }

    /// The subscriber, if necessary the current default: an `Option` or a `Vec` of layers does not pass
    /// `on_register_dispatch` on.
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

    /// The OpenTelemetry span of an open span; it is started if it was not. `None` if there is no
    /// OpenTelemetry layer, or if the layer does not see the span or has closed it already.
    ///
    /// Samplers and processors, which are foreign code, run inside. So no lock may be held.
    fn context(&self, id: &Id) -> Option<Context> {
        let subscriber = self.subscriber()?;
        let context = contain(|| tracing_opentelemetry::get_otel_context(id, &subscriber)).flatten()?;
        let is_its_own = {
            let span = context.span();
            span.span_context().is_valid() && !span.span_context().is_remote()
        };
        is_its_own.then_some(context)
    }

    /// Keeps a request's OpenTelemetry span when the request is exited for the first time, if the
    /// OpenTelemetry layer seems to close spans before this one. Otherwise the look-up can wait until the
    /// close. An earlier look-up would start the OpenTelemetry span, which takes no other parent after that.
    pub(crate) fn keep_early(&self, id: &Id, open: &OpenSpans) {
        if self.found_at_close.load(Ordering::Relaxed) || !self.missed_at_close.load(Ordering::Relaxed) {
            return;
        }
        let is_new = |span: &mut OpenSpan| span.kind == Kind::Request && !span.early_context.has_looked;
        if open.with(id, is_new) == Some(true) {
            // Looked up with no lock held.
            let mut found = EarlyContext { has_looked: true, context: self.context(id) };
            open.with(id, |span| span.early_context = mem::take(&mut found));
        }
    }

    /// Sets a request's numbers on its OpenTelemetry span, and returns the ids of that span.
    pub(crate) fn set_numbers<'a>(
        &self,
        id: &Id,
        early: EarlyContext,
        e2e: &E2eTable,
        stages: impl Iterator<Item = &'a StageRow>,
        warnings: &mut Warnings,
    ) -> TraceIds {
        let at_close = self.context(id);
        let is_found = if at_close.is_some() { &self.found_at_close } else { &self.missed_at_close };
        is_found.store(true, Ordering::Relaxed);
        let Some(context) = at_close.or(early.context) else { return TraceIds::default() };
        let span = context.span();
        if span.is_recording() {
            contain(|| span.set_attributes(attributes(e2e, stages)));
        } else if span.span_context().is_sampled() {
            let what = "it had ended already, and has none of the request's numbers; the layer of \
                        OpenTelemetry belongs after this one";
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

/// The numbers of the request, then those of stages, in the order in which a span that is full keeps them.
fn attributes<'a>(e2e: &E2eTable, stages: impl Iterator<Item = &'a StageRow>) -> Vec<KeyValue> {
    let mut gen_ai = GenAi::default();
    let mut of_stages = Vec::new();
    for (number, row) in stages.enumerate() {
        gen_ai.add(row);
        if let Some(id) = row.stage_id.filter(|_| number < STAGES) {
            of_stages.extend(attributes_of(&format!("omni.stage.{id}."), row));
        }
    }
    attributes_of("omni.", e2e).chain(gen_ai.attributes(e2e)).chain(of_stages).collect()
}

/// An absent number has no attribute.
fn attributes_of<Row: Table>(prefix: &str, row: &Row) -> impl Iterator<Item = KeyValue> {
    Row::NUMBERS.iter().filter(|number| number.about.is_attribute).filter_map(move |number| {
        let key = format!("{prefix}{}", number.name);
        Some(match (number.get)(row)? {
            Value::Time(time) => KeyValue::new(key, time.as_f64()),
            Value::Count(count) => KeyValue::new(key, integer(count)),
            Value::Ratio(ratio) => KeyValue::new(key, ratio),
            Value::Text(text) => KeyValue::new(key, text.to_owned()),
        })
    })
}
