//! The close of a span: its times and fields go to the rows of its requests.

use std::{
    hash::{BuildHasher, RandomState},
    iter, mem,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use smallvec::SmallVec;
use tracing::span::Id;

use crate::{
    E2eTable,
    fold::{
        closed::Closed,
        fields::{StageNumbers, TransferNumbers},
        request::{Folded, Rows},
    },
    hold::{
        early_context::EarlyContext,
        open_requests::Ownership,
        open_spans::OpenSpans,
        request::{Answered, Held, Request},
        span::OpenSpan,
    },
    model::{kind::Kind, line::TraceIds, warnings::Warnings},
    record::{detached::DetachedRows, recorder::Recorder},
};

/// At most this many enclosing stages are checked.
const NESTING_LIMIT: usize = 64;

impl Recorder {
    /// Not inlined: the registry closes a parent from within the close of its last child, so the stack frame
    /// of this function is needed once for each ancestor.
    #[inline(never)]
    pub(crate) fn close(&self, id: &Id) {
        let Some(mut span) = self.shared.open.remove(id) else { return };
        // The span is no longer in the map, so no other thread can get a new reference to it.
        if let Some(only) = Arc::get_mut(&mut span) {
            self.close_span(id, only, None);
            only.wipe();
            OpenSpans::keep(span);
        } else {
            let ownership = self.shared.requests.owners_of(&span);
            let mut taken = span.taken(&ownership.owners);
            self.close_span(id, &mut taken, Some(ownership));
        }
        self.shared.write_due(&self.writing);
    }

    fn close_span(&self, id: &Id, span: &mut OpenSpan, ownership: Option<Ownership>) {
        match span.kind {
            Kind::Request => self.close_request(id, span),
            Kind::Stage | Kind::Transfer => self.close_row(id, span, ownership),
            Kind::Preprocess => self.close_preprocess(span),
        }
    }

    fn close_preprocess(&self, span: &mut OpenSpan) {
        let Some(stage) = span.stage.take().filter(|_| span.is_child_of_stage) else { return };
        let time = self.closed(span).measured.span_time();
        self.shared.open.with(&stage, |stage| {
            let mut state = stage.lock();
            state.preprocess = Some(state.preprocess.unwrap_or(0).saturating_add(time));
        });
    }

    fn close_request(&self, id: &Id, span: &mut OpenSpan) {
        let Some(request) = span.request.take() else { return };
        let early = mem::take(&mut span.state().early_context);
        let closed = self.closed(span);
        closed.fields.is_unwinding =
            closed.fields.declares_reason && closed.fields.label.is_none() && thread::panicking();
        let named = closed.fields.request_id.take();
        let request_id = named.clone().unwrap_or_else(generated_id);
        match request.close(&request_id) {
            Ok(ended) => {
                self.shared.requests.remove(named.as_ref(), &request);
                let set_numbers = |e2e: &E2eTable, rows: &Rows, warnings: &mut Warnings| {
                    self.otel.set_numbers(id, early, e2e, rows.stage_table(), warnings)
                };
                self.shared.end_request(&self.writing, request, ended, closed, &request_id, set_numbers);
            }
            Err(Held) => self.answer_request(id, early, &request, closed, request_id),
        }
    }

    /// Keeps an answered request open for the spans that hold it.
    #[cold]
    fn answer_request(
        &self,
        id: &Id,
        early: EarlyContext,
        request: &Arc<Request>,
        closed: Closed<'_>,
        request_id: Arc<str>,
    ) {
        let (moment, measured) = (self.now(), closed.measured);
        let fields = mem::take(closed.fields);
        let among = Arc::clone(&self.shared.answered);
        let mut answered =
            Answered { moment, measured, fields, request_id, trace: TraceIds::default(), among };
        // The OpenTelemetry span ends now, so it gets the numbers as they stand.
        if self.otel.is_connected() {
            let mut fields = answered.fields.copy_for_line();
            let rows = request.rows().unwrap_or_default();
            let (Folded { e2e, .. }, rows) = rows.as_they_stand(measured, &mut fields);
            let warnings = &mut answered.fields.warnings;
            answered.trace = self.otel.set_numbers(id, early, &e2e, rows.stage_table(), warnings);
        }
        if request.answer(answered) {
            self.shared.answered.is_due(request);
        }
    }

    fn close_row(&self, id: &Id, span: &mut OpenSpan, ownership: Option<Ownership>) {
        let ownership = match (ownership, span.take_plain_owner()) {
            (Some(ownership), _) => ownership,
            (None, Some(owner)) => Ownership::of(owner),
            (None, None) => self.shared.requests.owners_of(span),
        };
        let (kind, stage) = (span.kind, span.stage.take());
        let mut closed = self.closed(span);
        closed.batch = ownership.is_batch.then_some(ownership.owners.len() as u64);
        closed.is_shared = ownership.owners.len() > 1;
        ownership.warn(closed.fields);
        if kind == Kind::Stage {
            let numbers = closed.fields.stage();
            self.close_stage(id, stage.as_ref(), closed, numbers, &ownership);
        } else {
            let numbers = closed.fields.transfer();
            self.close_transfer(id, closed, numbers, &ownership);
        }
    }

    fn close_stage(
        &self,
        id: &Id,
        outer: Option<&Id>,
        mut closed: Closed<'_>,
        mut numbers: StageNumbers,
        ownership: &Ownership,
    ) {
        let fields = &mut *closed.fields;
        if numbers.stage_id.is_none() && !fields.has_unusable("stage_id") {
            fields.warn("stage_id", "none", "a stage without a usable id has a row without one");
        }
        if closed.is_shared {
            let mut progress = fields.progress.take();
            let (mut units, mut cached, mut reasoning) = (None, None, None);
            if let Some(progress) = &mut progress {
                units = progress.outputs.units.take();
                cached = progress.num_tokens_cached.take();
                reasoning = progress.num_tokens_reasoning.take();
            }
            fields.progress = progress;
            let tokens = [
                ("num_tokens_in", &mut numbers.num_tokens_in),
                ("num_tokens_out", &mut numbers.num_tokens_out),
                ("num_tokens_cached", &mut cached),
                ("num_tokens_reasoning", &mut reasoning),
                ("output", &mut units),
            ];
            for (field, count) in tokens {
                if let Some(count) = count.take() {
                    let sharers = ownership.owners.len();
                    let what = format!("a total of the {sharers} requests of a batch goes to none of them");
                    fields.warn(field, count, what);
                }
            }
        }
        // With many owners, the owners of each enclosing stage are determined once, not once for each owner.
        let around = if closed.is_shared { self.owners_around(outer, &numbers) } else { Vec::new() };
        let add = |closed: &mut Closed<'_>, request: &Arc<Request>| {
            let is_part = if closed.is_shared {
                around.iter().any(|ownership| ownership.owns(request))
            } else {
                self.is_part(outer, &numbers, |outer| self.shared.requests.owns(outer, request))
            };
            request.add(|rows| rows.add_stage(closed, &numbers, is_part))
        };
        let Some(late) = Self::add_to_owners(&mut closed, ownership, add) else { return };
        for (place, request_id) in late {
            closed.place = place;
            let is_part = self.is_part(outer, &numbers, |outer| {
                request_id.is_none() || self.shared.requests.owns_detached(outer, request_id.as_deref())
            });
            self.detached(id).stage(&mut closed, &numbers, is_part, request_id);
        }
    }

    fn close_transfer(
        &self,
        id: &Id,
        mut closed: Closed<'_>,
        numbers: TransferNumbers,
        ownership: &Ownership,
    ) {
        let ends = [("from_stage", numbers.from_stage), ("to_stage", numbers.to_stage)];
        let missing = ends.iter().filter(|(field, end)| end.is_none() && !closed.fields.has_unusable(field));
        let missing: SmallVec<[&str; 2]> = missing.map(|(field, _)| *field).collect();
        if !missing.is_empty() {
            let what = "a transfer without both ends has a row without them";
            closed.fields.warn(&missing.join("` and `"), "none", what);
        }
        let sent_at = numbers.sent_at.map(|unix| self.writing.clock.moment_of_unix(unix));
        let add = |closed: &mut Closed<'_>, request: &Arc<Request>| {
            request.add(|rows| rows.add_transfer(closed, &numbers, sent_at))
        };
        let Some(late) = Self::add_to_owners(&mut closed, ownership, add) else { return };
        for (_, request_id) in late {
            self.detached(id).transfer(&mut closed, &numbers, sent_at, request_id);
        }
    }

    /// Adds a closed span to each of its requests. Returns the detached rows that are left, each with its
    /// place in the batch and its id: one for each request that has closed already, or one if there is no
    /// request. `None` if nothing is left.
    fn add_to_owners(
        closed: &mut Closed<'_>,
        ownership: &Ownership,
        add: impl Fn(&mut Closed<'_>, &Arc<Request>) -> Result<(), Arc<str>>,
    ) -> Option<Vec<(u64, Option<Arc<str>>)>> {
        match &*ownership.owners {
            [] => Some(vec![(0, closed.fields.request_id.clone())]),
            [one] => match add(closed, one) {
                Ok(()) => None,
                Err(id) if ownership.is_batch => Some(vec![(0, Some(id))]),
                Err(id) => Some(vec![(0, closed.fields.request_id.clone().or(Some(id)))]),
            },
            many => {
                let add = |(place, request)| {
                    closed.place = place;
                    add(closed, request).err().map(|id| (place, Some(id)))
                };
                Some((0..).zip(many).filter_map(add).collect())
            }
        }
    }

    fn detached<'a>(&'a self, id: &'a Id) -> DetachedRows<'a> {
        DetachedRows { id, recorder: self }
    }

    /// The times and fields of a closing span.
    #[inline(always)]
    fn closed<'a>(&self, span: &'a mut OpenSpan) -> Closed<'a> {
        let mut measured = span.timing.close(span.created, || self.now());
        let state = span.state();
        if let Some(moment) = state.fields.progress.as_ref().and_then(|progress| progress.scheduled) {
            measured = measured.scheduled_at(moment, || self.now());
        }
        Closed {
            measured,
            fields: &mut state.fields,
            preprocess: state.preprocess,
            batch: None,
            place: 0,
            is_shared: false,
        }
    }

    /// Whether this span is a part of an enclosing span of the same stage, for which `has_them` says that its
    /// times count already.
    #[inline(always)]
    fn is_part(
        &self,
        outer: Option<&Id>,
        numbers: &StageNumbers,
        has_them: impl Fn(&OpenSpan) -> bool,
    ) -> bool {
        outer.is_some() && self.around(outer, numbers).any(|outer| has_them(&outer))
    }

    fn owners_around(&self, outer: Option<&Id>, numbers: &StageNumbers) -> Vec<Ownership> {
        self.around(outer, numbers).map(|outer| self.shared.requests.owners_of(&outer)).collect()
    }

    /// The enclosing spans of the same stage, from the inside out. `outer` is the nearest enclosing stage.
    fn around(&self, outer: Option<&Id>, numbers: &StageNumbers) -> impl Iterator<Item = Arc<OpenSpan>> {
        let stage_id = numbers.stage_id;
        let first = outer.filter(|_| stage_id.is_some()).and_then(|id| self.shared.open.get(id));
        iter::successors(first, |outer| self.shared.open.get(outer.stage.as_ref()?))
            .take(NESTING_LIMIT)
            .filter(move |outer| {
                outer.kind == Kind::Stage && outer.lock().fields.stage().stage_id == stage_id
            })
    }
}

/// An id for a request without one. It is unique in the process; a random number makes it very likely unique
/// among processes.
fn generated_id() -> Arc<str> {
    static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one("process"));
    static COUNT: AtomicU64 = AtomicU64::new(1);
    format!("req-{:016x}-{}", *PROCESS, COUNT.fetch_add(1, Ordering::Relaxed)).into()
}
