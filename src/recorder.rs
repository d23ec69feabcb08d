//! From `tracing`'s callbacks to the rows: what is open, and which request it belongs to.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use smallvec::SmallVec;
use tracing::{
    Subscriber,
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    layer::{Context, Layer},
    registry::LookupSpan,
};

use crate::{
    Clock, Millis,
    edge::Edge,
    emit::Output,
    fields::{Kind, Numbers, SpanFields, StageNumbers, TransferNumbers},
    handle::Shared,
    hops::Flights,
    intervals::Intervals,
    ownership::{OpenRequests, Ownership},
    recorded::{Recorded, Visitor},
    request::{Closed, Request, warn_of_wall},
    run::WALL_LIMIT,
    span::{Enclosing, Followed, OpenSpan, OpenSpans},
    stage::Stage,
    tables::{Detached, Line, SCHEMA},
    warnings::Warnings,
};

/// How many enclosing stages are asked whether they are the same stage.
const NESTING_LIMIT: usize = 64;

/// The layer without its filter.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(crate) clock: Clock,
    pub(crate) output: Output,
    shared: Arc<Shared>,
    open: OpenSpans,
    requests: OpenRequests,
}

impl Recorder {
    pub(crate) fn new(clock: Clock, output: Output, shared: Arc<Shared>) -> Self {
        Self { clock, output, shared, open: OpenSpans::default(), requests: OpenRequests::default() }
    }

    pub(crate) fn enter(&self, id: &Id) {
        self.open.time(id, |timing| timing.enter(self.clock.now()));
    }

    pub(crate) fn exit(&self, id: &Id) {
        self.open.time(id, |timing| timing.exit(self.clock.now()));
    }

    pub(crate) fn record(&self, id: &Id, values: &Record<'_>) {
        let Some(span) = self.open.get(id) else { return };
        let now = self.clock.now();
        let mut recorded = SmallVec::<[Recorded; 2]>::new();
        values.record(&mut Visitor(|value| recorded.push(value)));

        let mut state = span.lock();
        let earlier_id = state.fields.request_id.clone();
        for value in recorded {
            state.fields.set(value, now);
        }
        if let (Kind::Request, Some(request)) = (span.kind, &span.request)
            && state.fields.request_id != earlier_id
        {
            // Under the span's lock, so that two threads can't leave an id of the past behind.
            self.requests.remove(earlier_id.as_deref(), request);
            self.requests.insert(state.fields.request_id.as_deref(), request);
        }
    }

    pub(crate) fn follow<S>(&self, id: &Id, follows: &Id, ctx: &Context<'_, S>)
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let Some(span) = self.open.get(id) else { return };
        let nearest = ctx
            .span(follows)
            .and_then(|followed| followed.scope().find_map(|span| self.open.get(&span.id())));
        let followed = match nearest {
            Some(nearest) if nearest.kind != Kind::Request => Followed::Span(nearest),
            Some(nearest) => match &nearest.request {
                Some(request) => Followed::Request(Arc::clone(request)),
                None => return,
            },
            None => return,
        };
        span.lock().follow(followed);
    }

    /// Not inlined: a registry closes parents from within the close of a child, and this is a part of
    /// the stack that each of them takes.
    #[inline(never)]
    pub(crate) fn close(&self, id: &Id) {
        let Some(span) = self.open.remove(id) else { return };
        let now = self.clock.now();
        match span.kind {
            Kind::Request => self.close_request(&span, now),
            Kind::Stage | Kind::Transfer => self.close_row(&span, now),
            Kind::Preprocess => self.close_preprocess(&span, now),
        }
    }

    fn close_preprocess(&self, span: &OpenSpan, now: u64) {
        self.settle(span);
        let time = Self::take(span, now, None).measured.span_time();
        let stage = span.stage.as_ref().filter(|_| span.is_child_of_stage);
        if let Some(stage) = stage.and_then(|id| self.open.get(id)) {
            let mut state = stage.lock();
            state.preprocess = Some(state.preprocess.unwrap_or(0).saturating_add(time));
        }
    }

    fn close_request(&self, span: &OpenSpan, now: u64) {
        self.shared.open_requests.fetch_sub(1, Ordering::Relaxed);
        let closed = Self::take(span, now, None);
        let Some(request) = &span.request else { return };
        self.requests.remove(closed.fields.request_id.as_deref(), request);
        let request_id = closed.fields.request_id.clone().unwrap_or_else(generated_id);
        let Some(rows) = request.close(&request_id) else { return };

        let mut folded = rows.fold(request_id, closed, |moment| self.clock.timestamp(moment));
        folded.line.overall_summary = self.shared.run.add(&folded.part);
        self.output.emit(&Line::Request(folded.line), &self.shared);
    }

    fn close_row(&self, span: &OpenSpan, now: u64) {
        let ownership = self.settle(span);
        let batch = ownership.is_batch.then_some(ownership.owners.len() as u64);
        let mut closed = Self::take(span, now, batch);
        ownership.warn(&mut closed.fields);
        match closed.fields.numbers {
            Numbers::Stage(numbers) => self.close_stage(span, closed, numbers, &ownership),
            Numbers::Transfer(numbers) => self.close_transfer(closed, numbers, &ownership),
            Numbers::None => {}
        }
    }

    fn close_stage(
        &self,
        span: &OpenSpan,
        mut closed: Closed,
        mut numbers: StageNumbers,
        ownership: &Ownership,
    ) {
        let fields = &mut closed.fields;
        if numbers.stage_id.is_none() && !fields.has_unusable("stage_id") {
            fields.warn("stage_id", "none", "a stage without a usable id has a row without one");
        }
        if ownership.owners.len() > 1 {
            let tokens = [
                ("num_tokens_in", &mut numbers.num_tokens_in),
                ("num_tokens_out", &mut numbers.num_tokens_out),
            ];
            for (field, count) in tokens {
                if let Some(count) = count.take() {
                    let sharers = ownership.owners.len();
                    let what =
                        format_args!("a total of the {sharers} requests of a batch goes to none of them");
                    fields.warn(field, count, what);
                }
            }
        }
        if let (Some(time), None, None) = (closed.preprocess, numbers.preprocess_time, numbers.stage_gen_time)
            && time > closed.measured.span_time()
        {
            let what = "its children ran longer than the stage itself; counted as the stage's time";
            closed.fields.warn("preprocess_time_ms", Millis::from_nanos(time), what);
            closed.preprocess = Some(closed.measured.span_time());
        }

        let add = |request: &Arc<Request>| {
            let is_part = self.is_part(span, &numbers, |outer| self.requests.owns(outer, request));
            request.add(|rows| rows.add_stage(&closed, &numbers, is_part))
        };
        for request_id in Self::add_to_owners(&closed, ownership, add) {
            let is_part = self.is_part(span, &numbers, |outer| {
                request_id.is_none() || self.requests.owns_detached(outer, request_id.as_deref())
            });
            self.emit_stage(&closed, &numbers, is_part, request_id);
        }
    }

    fn close_transfer(&self, mut closed: Closed, numbers: TransferNumbers, ownership: &Ownership) {
        let ends = [("from_stage", numbers.from_stage), ("to_stage", numbers.to_stage)];
        let missing = ends.iter().filter(|(field, end)| end.is_none() && !closed.fields.has_unusable(field));
        let missing: SmallVec<[&str; 2]> = missing.map(|(field, _)| *field).collect();
        if !missing.is_empty() {
            let what = "a transfer without both ends has a row without them";
            closed.fields.warn(&missing.join("` and `"), "none", what);
        }
        let sent_at = numbers.sent_at.map(|unix| self.clock.moment_of_unix(unix));
        let add = |request: &Arc<Request>| request.add(|rows| rows.add_transfer(&closed, &numbers, sent_at));
        for request_id in Self::add_to_owners(&closed, ownership, add) {
            self.emit_transfer(&closed, &numbers, sent_at, request_id);
        }
    }

    /// Adds a closed span to each of its requests. Returns the ids of the detached rows that are
    /// left: one for each request that has closed already, or one if there is no request.
    fn add_to_owners(
        closed: &Closed,
        ownership: &Ownership,
        add: impl Fn(&Arc<Request>) -> Result<(), String>,
    ) -> SmallVec<[Option<String>; 1]> {
        let own_id = &closed.fields.request_id;
        if ownership.owners.is_empty() {
            return SmallVec::from_iter([own_id.clone()]);
        }
        let late = ownership.owners.iter().filter_map(|request| add(request).err());
        late.map(|id| match own_id {
            Some(own_id) if !ownership.is_batch => Some(own_id.clone()),
            _ => Some(id),
        })
        .collect()
    }

    fn emit_stage(&self, closed: &Closed, numbers: &StageNumbers, is_part: bool, request_id: Option<String>) {
        let mut stage = Stage::new(numbers.stage_id);
        let mut warnings = Warnings::default();
        warnings.extend(&closed.fields.warnings);
        stage.add(closed, numbers, is_part, &mut warnings);
        match numbers.stage_id {
            Some(id) if id >= WALL_LIMIT => warn_of_wall(&mut warnings, id),
            _ => {}
        }
        if let Some(wall) = stage.wall() {
            self.shared.run.add_wall(wall);
        }
        let mut row = stage.finish(None);
        row.wall_time_ms = Some(Millis::from_nanos(closed.measured.span_time()));
        let line = self.detached(row, closed, request_id, warnings);
        self.output.emit(&Line::Stage(line), &self.shared);
    }

    fn emit_transfer(
        &self,
        closed: &Closed,
        numbers: &TransferNumbers,
        sent_at: Option<i64>,
        request_id: Option<String>,
    ) {
        let mut edge = Edge::new((numbers.from_stage, numbers.to_stage));
        let (mut flights, mut warnings) = (Flights::new(), Warnings::default());
        warnings.extend(&closed.fields.warnings);
        edge.add(closed, numbers, sent_at, &mut flights, &mut warnings);
        edge.finish(&mut flights, &mut warnings);
        edge.land(&flights, &mut Intervals::default(), &mut warnings);
        let mut row = edge.into_row(None, &mut warnings);
        row.wall_time_ms = Some(Millis::from_nanos(closed.measured.span_time()));
        let line = self.detached(row, closed, request_id, warnings);
        self.output.emit(&Line::Transfer(line), &self.shared);
    }

    fn detached<Row>(
        &self,
        row: Row,
        closed: &Closed,
        request_id: Option<String>,
        warnings: Warnings,
    ) -> Detached<Row> {
        Detached {
            schema: SCHEMA,
            timestamp: self.clock.timestamp(closed.measured.end()),
            request_id,
            row,
            warnings: warnings.into_vec(),
        }
    }

    /// Takes what a span has gathered, now that it closes.
    fn take(span: &OpenSpan, now: u64, batch: Option<u64>) -> Closed {
        let mut state = span.lock();
        state.follows.clear();
        Closed {
            measured: state.timing.close(span.created, now),
            fields: std::mem::replace(&mut state.fields, SpanFields::new(span.kind)),
            preprocess: state.preprocess,
            batch,
        }
    }

    /// Decides which requests a closing span belongs to, for the spans that follow it as well.
    fn settle(&self, span: &OpenSpan) -> Ownership {
        let ownership = self.requests.owners_of(span);
        span.lock().settled = Some(ownership.owners.clone());
        ownership
    }

    /// Whether a span of the same stage, around this one, brings the times: one that `has_them`.
    fn is_part(&self, span: &OpenSpan, numbers: &StageNumbers, has_them: impl Fn(&OpenSpan) -> bool) -> bool {
        let mut next = span.stage.clone().filter(|_| numbers.stage_id.is_some());
        for _ in 0..NESTING_LIMIT {
            let Some(outer) = next.and_then(|id| self.open.get(&id)) else { return false };
            let outer_id = match &outer.lock().fields.numbers {
                Numbers::Stage(outer) => outer.stage_id,
                _ => None,
            };
            if outer_id == numbers.stage_id && has_them(&outer) {
                return true;
            }
            next = outer.stage.clone();
        }
        false
    }
}

/// An id for a request that was given none, unique in the process and, as far as chance goes,
/// among processes.
fn generated_id() -> String {
    static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one("process"));
    static COUNT: AtomicU64 = AtomicU64::new(1);
    format!("req-{:016x}-{}", *PROCESS, COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Only creation comes through the filter, which has to see it; [`OmniMetricsLayer`] calls the
/// methods above directly, and the map of open spans tells whether a span is one of ours.
///
/// [`OmniMetricsLayer`]: crate::OmniMetricsLayer
impl<S> Layer<S> for Recorder
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        // Lineage lets foreign spans through the filter as well.
        let Some(kind) = Kind::of(attributes.metadata()) else { return };
        let created = self.clock.now();
        let mut fields = SpanFields::new(kind);
        attributes.record(&mut Visitor(|value| fields.set(value, created)));

        let mut enclosing = ctx
            .span(id)
            .and_then(|span| {
                let mut outer = span.scope().skip(1);
                outer.find_map(|span| Some(Enclosing::in_span(span.id(), &*self.open.get(&span.id())?)))
            })
            .unwrap_or_default();
        if kind == Kind::Request {
            if let Some(outer) = &enclosing.request {
                outer.encloses_request.store(true, Ordering::Relaxed);
            }
            let request = Arc::new(Request::new(created));
            self.shared.run.note_created(&request);
            self.requests.insert(fields.request_id.as_deref(), &request);
            self.shared.open_requests.fetch_add(1, Ordering::Relaxed);
            enclosing.request = Some(request);
        }
        self.open.insert(id, Arc::new(OpenSpan::new(kind, created, fields, enclosing)));
    }
}
