//! The close of a span: its times and fields go to the rows of its requests.

use std::{
    hash::{BuildHasher, RandomState},
    iter, mem, slice,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use tracing::span::Id;

use crate::{
    E2eTable,
    fold::{
        closed::Closed,
        fields::SpanFields,
        request::{Folded, Rows},
    },
    hold::{
        early_context::EarlyContext,
        open_requests::Ownership,
        open_spans::OpenSpans,
        request::{Answered, Held, Request},
        slot::Removal,
        span::OpenSpan,
    },
    model::{kind::Kind, line::TraceIds, warnings::Warnings},
    record::{detached::DetachedRows, recorder::Recorder},
    shared::Shared,
};

/// At most this many enclosing stages are checked.
const NESTING_LIMIT: usize = 64;

impl Recorder {
    /// Not inlined: the registry closes a parent from within the close of its last child, so the stack frame
    /// of this function is needed once for each ancestor.
    #[inline(never)]
    pub(crate) fn close(&self, id: &Id) {
        match self.shared.open.remove(id, || self.now(), |span| span.settled.is_none()) {
            Some(Removal::Removed(span)) => self.close_span(id, span, None),
            Some(Removal::Kept) => self.close_followed(id),
            None => {}
        }
    }

    /// Closes a span that others follow: they will find its owners.
    #[cold]
    fn close_followed(&self, id: &Id) {
        let Shared { open, requests, .. } = &*self.shared;
        let Some(ownership) = requests.owners_of_open(id, open) else { return };
        let settle = |span: &mut OpenSpan| {
            if let Some(settled) = span.settled.take() {
                // It is empty: this is the only place that sets it.
                let _ = settled.set(ownership.owners.iter().map(Request::hold).collect());
            }
            true
        };
        if let Some(Removal::Removed(span)) = open.remove(id, || self.now(), settle) {
            self.close_span(id, span, Some(ownership));
        }
    }

    #[inline(always)]
    fn close_span(&self, id: &Id, mut span: Box<OpenSpan>, ownership: Option<Ownership>) {
        match span.kind {
            Kind::Request => self.close_request(id, &mut span),
            Kind::Stage | Kind::Transfer => match span.take_plain_owner() {
                Some(owner) => self.close_row(id, &mut span, slice::from_ref(&owner), false),
                None => self.close_owned(id, &mut span, ownership),
            },
            Kind::Preprocess => self.close_preprocess(&mut span),
        }
        OpenSpans::keep(span);
        self.shared.write_due(&self.writing);
    }

    fn close_preprocess(&self, span: &mut OpenSpan) {
        let Some(stage) = span.stage.take().filter(|_| span.is_child_of_stage) else { return };
        let time = span.measured.span_time();
        self.shared.open.with(&stage, |stage| {
            stage.preprocess = Some(stage.preprocess.unwrap_or(0).saturating_add(time));
        });
    }

    fn close_request(&self, id: &Id, span: &mut OpenSpan) {
        let Some(request) = span.request.take() else { return };
        let early = mem::take(&mut span.early_context);
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

    /// Closes a span whose owners are not simply the enclosing request.
    #[cold]
    fn close_owned(&self, id: &Id, span: &mut OpenSpan, ownership: Option<Ownership>) {
        let Shared { open, requests, .. } = &*self.shared;
        let ownership = ownership.unwrap_or_else(|| requests.owners_of(requests.claims(span), open));
        ownership.warn(&mut span.fields);
        self.close_row(id, span, &ownership.owners, ownership.is_batch);
    }

    #[inline]
    fn close_row(&self, id: &Id, span: &mut OpenSpan, owners: &[Arc<Request>], is_batch: bool) {
        let (kind, stage) = (span.kind, span.stage.take());
        let mut closed = self.closed(span);
        closed.batch = is_batch.then_some(owners.len() as u64);
        closed.is_shared = owners.len() > 1;
        if kind == Kind::Stage {
            self.close_stage(id, stage.as_ref(), closed, owners);
        } else {
            self.close_transfer(id, closed, owners);
        }
    }

    fn close_stage(&self, id: &Id, outer: Option<&Id>, mut closed: Closed<'_>, owners: &[Arc<Request>]) {
        let Shared { open, requests, .. } = &*self.shared;
        let fields = &mut *closed.fields;
        let stage_id = fields.stage().stage_id;
        if stage_id.is_none() && !fields.has_unusable("stage_id") {
            fields.warn("stage_id", "none", "a stage without a usable id has a row without one");
        }
        if closed.is_shared {
            fields.disown_totals(owners.len());
        }
        // With many owners, the owners of each enclosing stage are determined once, not once for each owner.
        let around = if closed.is_shared { self.owners_around(outer, stage_id) } else { Vec::new() };
        let add = |closed: &mut Closed<'_>, request: &Arc<Request>| {
            let is_part = if closed.is_shared {
                around.iter().any(|ownership| ownership.owns(request))
            } else {
                self.is_part(outer, stage_id, |outer| requests.owns(outer, request, open))
            };
            request.add(|rows| rows.add_stage(closed, is_part))
        };
        let Some(late) = Self::add_to_owners(&mut closed, owners, add) else { return };
        for (place, request_id) in late {
            closed.place = place;
            let is_part = self.is_part(outer, stage_id, |outer| {
                request_id.is_none() || requests.owns_detached(outer, request_id.as_deref(), open)
            });
            self.detached(id).stage(&mut closed, is_part, request_id);
        }
    }

    fn close_transfer(&self, id: &Id, mut closed: Closed<'_>, owners: &[Arc<Request>]) {
        let numbers = closed.fields.transfer();
        if numbers.from_stage.and(numbers.to_stage).is_none() {
            warn_of_missing_ends(closed.fields);
        }
        let sent_at = numbers.sent_at.map(|unix| self.writing.clock.moment_of_unix(unix));
        let add = |closed: &mut Closed<'_>, request: &Arc<Request>| {
            request.add(|rows| rows.add_transfer(closed, sent_at))
        };
        let Some(late) = Self::add_to_owners(&mut closed, owners, add) else { return };
        for (_, request_id) in late {
            self.detached(id).transfer(&mut closed, sent_at, request_id);
        }
    }

    /// Adds a closed span to each of its requests. Returns the detached rows that are left, each with its
    /// place in the batch and its id: one for each request that has closed already, or one if there is no
    /// request. `None` if nothing is left.
    #[inline(always)]
    fn add_to_owners(
        closed: &mut Closed<'_>,
        owners: &[Arc<Request>],
        add: impl Fn(&mut Closed<'_>, &Arc<Request>) -> Result<(), Arc<str>>,
    ) -> Option<Vec<(u64, Option<Arc<str>>)>> {
        match owners {
            [] => Some(vec![(0, closed.fields.request_id.clone())]),
            [one] => match add(closed, one) {
                Ok(()) => None,
                Err(id) if closed.batch.is_some() => Some(vec![(0, Some(id))]),
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
        if let Some(moment) = span.fields.progress.as_ref().and_then(|progress| progress.scheduled) {
            span.measured = span.measured.scheduled_at(moment, || self.now());
        }
        Closed {
            measured: span.measured,
            fields: &mut span.fields,
            preprocess: span.preprocess,
            batch: None,
            place: 0,
            is_shared: false,
        }
    }

    /// Whether this span is a part of an enclosing span of the same stage, for which `has_them` says that its
    /// times count already.
    #[inline(always)]
    fn is_part(&self, outer: Option<&Id>, stage_id: Option<u64>, has_them: impl Fn(&Id) -> bool) -> bool {
        outer.is_some() && self.around(outer, stage_id).any(|outer| has_them(&outer))
    }

    fn owners_around(&self, outer: Option<&Id>, stage_id: Option<u64>) -> Vec<Ownership> {
        let Shared { open, requests, .. } = &*self.shared;
        self.around(outer, stage_id).filter_map(|outer| requests.owners_of_open(&outer, open)).collect()
    }

    /// The enclosing spans of the same stage, from the inside out. `outer` is the nearest enclosing stage.
    fn around(&self, outer: Option<&Id>, stage_id: Option<u64>) -> impl Iterator<Item = Id> {
        let mut next = outer.filter(|_| stage_id.is_some()).cloned();
        let stages = iter::from_fn(move || {
            let id = next.take()?;
            let look = |span: &mut OpenSpan| (span.fields.stage().stage_id, span.stage.clone());
            let (its, further) = self.shared.open.with(&id, look)?;
            next = further;
            Some((id, its))
        });
        stages.take(NESTING_LIMIT).filter_map(move |(id, its)| (its == stage_id).then_some(id))
    }
}

#[cold]
fn warn_of_missing_ends(fields: &mut SpanFields) {
    let numbers = fields.transfer();
    let ends = [("from_stage", numbers.from_stage), ("to_stage", numbers.to_stage)];
    let missing = ends.iter().filter(|(field, end)| end.is_none() && !fields.has_unusable(field));
    let missing: Vec<_> = missing.map(|(field, _)| *field).collect();
    if !missing.is_empty() {
        let what = "a transfer without both ends has a row without them";
        fields.warn(&missing.join("` and `"), "none", what);
    }
}

/// An id for a request without one. It is unique in the process; a random number makes it very likely unique
/// among processes.
fn generated_id() -> Arc<str> {
    static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one("process"));
    static COUNT: AtomicU64 = AtomicU64::new(1);
    format!("req-{:016x}-{}", *PROCESS, COUNT.fetch_add(1, Ordering::Relaxed)).into()
}
