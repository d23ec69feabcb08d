//! The callbacks of `tracing`, except the close of a span (`closing.rs`) and events (`errors.rs`).

use std::sync::Arc;

use tracing::{
    Event, Metadata, Subscriber,
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    layer::{Context, Layer},
    registry::LookupSpan,
};

use crate::{
    fold::fields::SpanFields,
    hold::{
        open_spans::OpenSpans,
        request::Request,
        span::{Enclosing, Followed, OpenSpan, SpanState},
    },
    model::kind::Kind,
    record::{
        layout::{Layout, Meaning, kind_of},
        setting::Filling,
        spelling::nearest_kind,
        visitor::{Recorded, Take, Visitor},
    },
    shared::{Shared, Writing},
    write::otel::Otel,
};

/// The layer without its filter.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(crate) writing: Writing,
    pub(crate) shared: Arc<Shared>,
    pub(crate) otel: Otel,
}

impl Recorder {
    pub(crate) fn new(writing: Writing, shared: Arc<Shared>) -> Self {
        Self { writing, shared, otel: Otel::default() }
    }

    /// Changes the clock or the output.
    pub(crate) fn set_writing(&mut self, change: impl FnOnce(&mut Writing)) {
        change(&mut self.writing);
        self.shared.set_writing(self.writing.clone());
    }

    #[inline]
    pub(crate) fn now(&self) -> u64 {
        self.writing.clock.now()
    }

    pub(crate) fn enter(&self, id: &Id) {
        self.shared.open.with(id, |span| span.timing.enter(self.now()));
    }

    pub(crate) fn exit(&self, id: &Id) {
        self.shared.open.with(id, |span| span.timing.exit(|| self.now()));
        self.otel.keep_early(id, &self.shared.open);
    }

    pub(crate) fn record(&self, id: &Id, values: &Record<'_>) {
        self.shared.open.with(id, |span| {
            let Some(metadata) = span.metadata else { return };
            let take = Late { recorder: self, span };
            Layout::with(metadata, span.kind, |layout| values.record(&mut Visitor { layout, take }));
        });
    }

    /// Changes the id of a request. The span is locked meanwhile, so that two threads cannot leave an
    /// outdated id in the map.
    fn rename(&self, span: &OpenSpan, state: &mut SpanState, set: impl FnOnce(&mut SpanFields)) {
        let Some(request) = &span.request else { return };
        let requests = &self.shared.requests;
        requests.remove(state.fields.request_id.as_ref(), request);
        set(&mut state.fields);
        requests.insert(state.fields.request_id.as_ref(), request);
    }

    /// Finds the nearest documented span that encloses a new one. It is nearly always the parent.
    // Inlined, because a call would cost each new span 30 instructions.
    #[inline(always)]
    fn enclosing<S>(&self, attributes: &Attributes<'_>, id: &Id, ctx: &Context<'_, S>) -> Enclosing
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let current = attributes.is_contextual().then(|| ctx.current_span());
        let parent = attributes.parent().or_else(|| current.as_ref()?.id());
        let Some(parent) = parent else { return Enclosing::default() };
        if let Some(enclosing) =
            self.shared.open.with(parent, |outer| Enclosing::in_span(parent.clone(), outer))
        {
            return enclosing;
        }
        // The scope begins at the span itself, since a look-up of a parent that the filter has declined finds
        // nothing, whereas a scope skips it.
        let mut further = ctx.span(id).into_iter().flat_map(|span| span.scope().skip(1));
        let found = further.find_map(|span| {
            let id = span.id();
            self.shared.open.with(&id, |outer| Enclosing::in_span(id.clone(), outer))
        });
        found.unwrap_or_default()
    }

    /// Warns of fields whose names are most likely misspelt, at the first span of a callsite.
    #[cold]
    #[inline(never)]
    fn warn_of_fields(&self, metadata: &'static Metadata<'static>, layout: &Layout, fields: &mut SpanFields) {
        if self.shared.near_misses.is_first(metadata) {
            for (field, meant) in layout.near_misses() {
                fields.warn_of_near_miss(field, meant);
            }
        }
    }

    /// Warns of a foreign span whose name is most likely a misspelt documented one. The warning goes to the
    /// request that encloses it, otherwise to the next line.
    #[cold]
    #[inline(never)]
    fn warn_of_span<S>(&self, attributes: &Attributes<'_>, id: &Id, ctx: &Context<'_, S>)
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let (metadata, near_misses) = (attributes.metadata(), &self.shared.near_misses);
        let Some(meant) = nearest_kind(metadata.name()) else { return };
        if !near_misses.is_first_expected(metadata) {
            return;
        }
        let name = metadata.name();
        let sentence =
            format!("span `{name}`: not a documented span; did you mean `{meant}`? It is in no table");
        let request = self.enclosing(attributes, id, ctx).request;
        let mut sentence = Some(sentence);
        if let Some(request) = request {
            let _ = request.add(|rows| sentence.take().into_iter().for_each(|sentence| rows.warn(sentence)));
        }
        // No request is open around it.
        if let Some(sentence) = sentence {
            near_misses.wait(sentence);
        }
    }

    pub(crate) fn follow<S>(&self, id: &Id, follows: &Id, ctx: &Context<'_, S>)
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let Some(span) = self.shared.open.get(id).filter(|span| span.kind != Kind::Request) else { return };
        let nearest = ctx
            .span(follows)
            .and_then(|followed| followed.scope().find_map(|span| self.shared.open.get(&span.id())));
        let followed = match nearest {
            Some(nearest) if nearest.kind != Kind::Request => {
                let Some(settled) = nearest.settled() else { return };
                Followed::Span(nearest, settled)
            }
            Some(nearest) => match &nearest.request {
                Some(request) => Followed::Request(request.hold()),
                None => return,
            },
            None => return,
        };
        span.lock().follow(followed);
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // A handle may keep the state for longer.
        self.shared.open.clear();
    }
}

/// Takes the values of a late record. The span is locked for each value, while no user code runs.
struct Late<'a> {
    recorder: &'a Recorder,
    span: &'a OpenSpan,
}

impl Late<'_> {
    fn set_request_id(&self, set: impl FnOnce(&mut SpanFields)) {
        let Recorder { shared, writing, .. } = self.recorder;
        let mut state = self.span.lock();
        match self.span.kind {
            Kind::Request => self.recorder.rename(self.span, &mut state, set),
            _ => {
                set(&mut state.fields);
                state.named = shared.requests.hold(state.fields.request_id.as_ref());
            }
        }
        drop(state);
        // This span may have dropped the last hold on the request that it named before.
        shared.write_due(writing);
    }
}

impl Take for Late<'_> {
    fn number(&mut self, place: usize, number: u64) {
        self.span.lock().fields.set_number(place, number);
    }

    fn output(&mut self, units: u64) {
        let now = self.recorder.now();
        self.span.lock().fields.add_output(now, units);
    }

    fn media(&mut self, nanos: u64) {
        self.span.lock().fields.add_media(nanos);
    }

    fn label(&mut self, text: &str) {
        self.span.lock().fields.label = Some(text.to_owned());
    }

    fn request_id(&mut self, id: &str) {
        self.set_request_id(|fields| fields.request_id = Some(id.into()));
    }

    fn value(&mut self, recorded: Recorded) {
        if recorded.meaning == Meaning::RequestId {
            return self.set_request_id(|fields| fields.set(recorded, 0));
        }
        // The clock is read only for fields whose moment counts; a reading is a tenth of the cost of a value.
        let now = match recorded.meaning {
            Meaning::FirstOutput | Meaning::Scheduled | Meaning::Output => self.recorder.now(),
            _ => 0,
        };
        self.span.lock().fields.set(recorded, now);
    }
}

/// Only the creation of spans and events come through the filter, which must see them. [`OmniMetricsLayer`]
/// calls the methods above directly, and the map of open spans shows whether a span is documented.
///
/// [`OmniMetricsLayer`]: crate::OmniMetricsLayer
impl<S> Layer<S> for Recorder
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        self.add_error(event, &ctx);
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        // Foreign spans up to the lineage level pass the filter too.
        let Some(kind) = kind_of(attributes.metadata()) else {
            if self.shared.near_misses.expects_any() {
                self.warn_of_span(attributes, id, &ctx);
            }
            return;
        };
        let created = self.now();
        let mut enclosing = self.enclosing(attributes, id, &ctx);
        let request = (kind == Kind::Request).then(|| {
            let request = Request::begin(created, id.into_u64());
            if let Some(outer) = enclosing.request.replace(Arc::clone(&request)) {
                self.shared.counters.count_enclosing(&outer);
            }
            request
        });
        let mut span = OpenSpans::blank();
        // No other thread has a reference to the span yet, so the user's `Debug` code runs with no lock held.
        let Some(only) = Arc::get_mut(&mut span) else { return };
        let metadata = attributes.metadata();
        let fields = only.begin(kind, Some(metadata), created, enclosing);
        Layout::with(metadata, kind, |layout| {
            fields.declares_reason = layout.declares_reason();
            attributes.record(&mut Visitor { layout, take: Filling { fields, now: created } });
            if !layout.near_misses().is_empty() {
                self.warn_of_fields(metadata, layout, fields);
            }
        });
        if let Some(request) = request {
            self.shared.run.note_created(&request);
            self.shared.requests.insert(fields.request_id.as_ref(), &request);
            self.shared.counters.count_created();
        } else if fields.request_id.is_some() {
            let named = self.shared.requests.hold(fields.request_id.as_ref());
            only.state().named = named;
        }
        self.shared.open.insert(id, span);
    }
}
