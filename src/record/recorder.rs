//! The callbacks of `tracing`, except the close of a span (`closing.rs`) and events (`errors.rs`).

use std::sync::Arc;

use tracing::{
    Metadata, Subscriber,
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{layer::Context, registry::LookupSpan};

use crate::{
    fold::fields::SpanFields,
    hold::{
        open_spans::OpenSpans,
        request::Request,
        slot::{Locked, Slot},
        span::OpenSpan,
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

    pub(crate) fn new_span<S>(&self, attributes: &Attributes<'_>, id: &Id, ctx: &Context<'_, S>)
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let Some(kind) = kind_of(attributes.metadata()) else {
            if self.shared.near_misses.expects_any() {
                self.warn_of_span(attributes, id, ctx);
            }
            return;
        };
        let (metadata, created) = (attributes.metadata(), self.now());
        // No other thread knows the span yet, so the user's `Debug` code runs with no lock held.
        let mut span = OpenSpans::blank();
        span.begin(kind, metadata, created);
        self.look_around(attributes, id, ctx, |outer_id, outer| span.set_enclosing(outer_id, outer));
        let request = (kind == Kind::Request).then(|| {
            let request = Request::begin(created, id.into_u64());
            if let Some(outer) = span.request.replace(Arc::clone(&request)) {
                self.shared.counters.count_enclosing(&outer);
            }
            request
        });
        let fields = &mut span.fields;
        Layout::with(metadata, kind, |layout| {
            fields.declares_reason = layout.declares_reason();
            attributes.record(&mut Visitor { layout, take: Filling { fields, now: created } });
            if !layout.near_misses().is_empty() {
                self.warn_of_fields(metadata, layout, fields);
            }
        });
        if let Some(request) = request {
            self.shared.run.note_created(&request);
            self.shared.requests.insert(span.fields.request_id.as_ref(), &request);
            self.shared.counters.count_created();
        } else if span.fields.request_id.is_some() {
            span.named = self.shared.requests.hold(span.fields.request_id.as_ref());
        }
        self.shared.open.insert(id, span);
    }

    pub(crate) fn enter(&self, id: &Id) {
        self.shared.open.slot(id, |slot| slot.timing.enter(self.now()));
    }

    pub(crate) fn exit(&self, id: &Id) {
        self.shared.open.slot(id, |slot| slot.timing.exit(|| self.now()));
        self.otel.keep_early(id, &self.shared.open);
    }

    pub(crate) fn record(&self, id: &Id, values: &Record<'_>) {
        self.shared.open.slot(id, |slot| {
            let mut take = Late { recorder: self, slot, id: id.into_u64(), locked: None };
            let Some(&mut OpenSpan { metadata: Some(metadata), kind, .. }) = take.span() else { return };
            Layout::with(metadata, kind, |layout| values.record(&mut Visitor { layout, take }));
        });
    }

    /// Changes the id of a request. The span is locked meanwhile, so that two threads cannot leave an
    /// outdated id in the map.
    fn rename(&self, span: &mut OpenSpan, set: impl FnOnce(&mut SpanFields)) {
        let OpenSpan { request: Some(request), fields, .. } = span else { return };
        let requests = &self.shared.requests;
        requests.remove(fields.request_id.as_ref(), request);
        set(fields);
        requests.insert(fields.request_id.as_ref(), request);
    }

    /// Shows the nearest documented span that encloses a new one to `look`. It is nearly always the parent.
    // Inlined, because a call would cost each new span 30 instructions.
    #[inline(always)]
    fn look_around<S>(
        &self,
        attributes: &Attributes<'_>,
        id: &Id,
        ctx: &Context<'_, S>,
        mut look: impl FnMut(&Id, &OpenSpan),
    ) where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let current = attributes.is_contextual().then(|| ctx.current_span());
        let parent = attributes.parent().or_else(|| current.as_ref()?.id());
        let Some(parent) = parent else { return };
        let mut look_at = |id: &Id| self.shared.open.with(id, |span| look(id, span));
        if look_at(parent).is_none() {
            // The scope begins at the span itself, since a look-up of a parent that the filter has declined
            // finds nothing, whereas a scope skips it.
            let mut further = ctx.span(id).into_iter().flat_map(|span| span.scope().skip(1));
            let _ = further.find_map(|span| look_at(&span.id()));
        }
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
        let mut request = None;
        self.look_around(attributes, id, ctx, |_, outer| request.clone_from(&outer.request));
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
        let open = &self.shared.open;
        if open.with(id, |span| span.kind != Kind::Request) != Some(true) {
            return;
        }
        let nearest = ctx.span(follows).and_then(|followed| {
            followed.scope().find_map(|span| {
                let id = span.id();
                open.with(&id, |span| span.followed(&id))
            })
        });
        let mut followed = nearest.flatten();
        open.with(id, |span| followed.take().into_iter().for_each(|followed| span.follow(followed)));
        // A hold that is one too many may have been the last one on its request.
        self.shared.write_due(&self.writing);
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // A handle may keep the state for longer.
        self.shared.open.clear();
    }
}

/// Takes the values of a late record. The span is locked from one value to the next, but not while user code
/// runs.
struct Late<'a> {
    recorder: &'a Recorder,
    slot: &'a Slot,
    id: u64,
    locked: Option<Locked<'a>>,
}

impl Late<'_> {
    /// The span, locked; `None` if it has closed.
    #[inline]
    fn span(&mut self) -> Option<&mut OpenSpan> {
        if self.locked.is_none() {
            self.locked = self.slot.lock(self.id);
        }
        self.locked.as_mut()?.as_deref_mut()
    }

    fn set_request_id(&mut self, set: impl FnOnce(&mut SpanFields)) {
        let recorder = self.recorder;
        let Recorder { shared, writing, .. } = recorder;
        match self.span() {
            Some(span) if span.kind == Kind::Request => recorder.rename(span, set),
            Some(span) => {
                set(&mut span.fields);
                span.named = shared.requests.hold(span.fields.request_id.as_ref());
            }
            None => {}
        }
        self.release();
        // This span may have dropped the last hold on the request that it named before.
        shared.write_due(writing);
    }

    fn set(&mut self, set: impl FnOnce(&mut SpanFields)) {
        if let Some(span) = self.span() {
            set(&mut span.fields);
        }
    }
}

impl Take for Late<'_> {
    fn release(&mut self) {
        self.locked = None;
    }

    fn number(&mut self, place: usize, number: u64) {
        self.set(|fields| fields.set_number(place, number));
    }

    fn output(&mut self, units: u64) {
        let now = self.recorder.now();
        self.set(|fields| fields.add_output(now, units));
    }

    fn media(&mut self, nanos: u64) {
        self.set(|fields| fields.add_media(nanos));
    }

    fn label(&mut self, text: &str) {
        self.set(|fields| fields.label = Some(text.to_owned()));
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
        self.set(|fields| fields.set(recorded, now));
    }
}
