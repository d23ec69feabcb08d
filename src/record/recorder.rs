//! From `tracing`'s callbacks to the open spans; what closes goes on in `closing.rs`.

use std::sync::{Arc, atomic::Ordering};

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

    /// Changes where it reads the time, or where its lines go.
    pub(crate) fn set_writing(&mut self, change: impl FnOnce(&mut Writing)) {
        change(&mut self.writing);
        self.shared.set_writing(self.writing.clone());
    }

    #[inline]
    pub(crate) fn now(&self) -> u64 {
        self.writing.clock.now()
    }

    pub(crate) fn enter(&self, id: &Id) {
        self.shared.open.with(id, |span| {
            let now = self.now();
            span.lock().timing.enter(now);
        });
    }

    pub(crate) fn exit(&self, id: &Id) {
        self.shared.open.with(id, |span| {
            let now = self.now();
            span.lock().timing.exit(now);
        });
        self.otel.keep_early(id, &self.shared.open);
    }

    pub(crate) fn record(&self, id: &Id, values: &Record<'_>) {
        self.shared.open.with(id, |span| {
            let Some(metadata) = span.metadata else { return };
            let take = Late { recorder: self, span };
            Layout::with(metadata, span.kind, |layout| values.record(&mut Visitor { layout, take }));
        });
    }

    /// Gives a request another id. Under the span's lock, so that two threads can't leave an id of
    /// the past behind.
    fn rename(&self, span: &OpenSpan, state: &mut SpanState, set: impl FnOnce(&mut SpanFields)) {
        let Some(request) = &span.request else { return };
        let requests = &self.shared.requests;
        requests.remove(state.fields.request_id.as_ref(), request);
        set(&mut state.fields);
        requests.insert(state.fields.request_id.as_ref(), request);
    }

    /// Finds the nearest span of ours around a new one: nearly always its parent, else further up.
    // Called from two places, of which one is cold; a call costs a new span 30 instructions.
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
        // From the span itself: its parent may be one that the filter has declined, which a look-up
        // would not give, while the way up passes over it.
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

/// The values of a late record: each is taken under the span's lock, when no user's code runs.
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
        // The span may have been the last to hold the request that it named before.
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
        // Only the moments of these fields count; a reading for each would be a tenth of the cost.
        let now = match recorded.meaning {
            Meaning::FirstOutput | Meaning::Scheduled | Meaning::Output => self.recorder.now(),
            _ => 0,
        };
        self.span.lock().fields.set(recorded, now);
    }
}

/// Only creation and events come through the filter, which has to see them; [`OmniMetricsLayer`] calls the
/// methods above directly, and the map of open spans tells whether a span is one of ours.
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
        // Lineage lets foreign spans through the filter as well.
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
                outer.encloses_request.store(true, Ordering::Relaxed);
                self.shared.counters.facade.ended(&outer);
            }
            request
        });
        let mut span = OpenSpans::blank();
        // Nobody else knows the span yet, so the user's `Debug` code runs with nothing locked.
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
