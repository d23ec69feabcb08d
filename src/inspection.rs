//! Open requests as they stand, for whoever looks at a running service.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashSet},
    ops::Range,
    sync::Arc,
};

use tracing::span::Id;

use crate::{
    Millis, OpenRequest, OpenStage, RequestLine, SCHEMA,
    fold::{fields::SpanFields, measured::Measured, request::Folded},
    hold::{answered::Age, request::Request, span::OpenSpan},
    model::kind::Kind,
    record::layout::{Layout, Meaning},
    shared::Shared,
};

impl Shared {
    /// The line of an open request, if it were written now.
    pub(crate) fn line_so_far(&self, request_id: &str) -> Option<RequestLine> {
        let request = self.requests.newest(request_id)?;
        let writing = self.writing();
        let (measured, mut fields) = self.span_of(&request, writing.clock.now())?;
        let (Folded { end, e2e, warnings }, rows) = request.rows()?.as_they_stand(measured, &mut fields);
        Some(RequestLine {
            schema: SCHEMA,
            timestamp: writing.clock.timestamp(end),
            request_id: request_id.to_owned(),
            sample_rate: None,
            overall_summary: self.run.summary(),
            e2e_table: e2e,
            stage_table: rows.stage_table().cloned().collect(),
            transfer_table: rows.transfer_table().cloned().collect(),
            trace_id: None,
            span_id: None,
            fields: fields.further,
            warnings: warnings.into_vec(),
        })
    }

    /// The open requests, the oldest first, at most `limit`.
    pub(crate) fn open_requests(&self, limit: usize) -> Vec<OpenRequest> {
        let mut open = self.open_now(self.writing().clock.now());
        open.keep_oldest(limit);
        self.as_they_stand(open)
    }

    /// What is open at this moment. Wrappers are left out.
    pub(crate) fn open_now(&self, now: u64) -> OpenNow {
        let spans = self.open.look_at_all(|id, span| Seen {
            id,
            kind: span.kind,
            created: span.created,
            request: span.request.clone(),
        });
        let of_spans = spans.iter().filter(|span| span.kind == Kind::Request);
        let of_spans = of_spans.filter_map(|span| span.request.clone());
        let requests = of_spans.chain(self.answered.all());
        let active: HashSet<_> = spans.iter().filter_map(Seen::row).collect();
        let counts = |request: &Request| request.is_open_and_counts() || active.contains(&request.age());
        let requests = requests.filter(|request| request.is_open() && counts(request));
        OpenNow { now, requests: requests.map(|request| (request.age(), request)).collect(), spans }
    }

    pub(crate) fn as_they_stand(&self, open: OpenNow) -> Vec<OpenRequest> {
        let OpenNow { now, requests, spans } = open;
        let mut stages_of: BTreeMap<Age, Vec<OpenStage>> = BTreeMap::new();
        for seen in spans.iter().filter(|span| span.kind == Kind::Stage) {
            let owners = self.requests.owners_of_open(&seen.id, &self.open).unwrap_or_default().owners;
            let ages = owners.iter().map(|owner| owner.age()).filter(|age| requests.contains_key(age));
            let Some(stage) = self.open_stage(seen, owners.len() > 1, now) else { continue };
            for age in ages {
                stages_of.entry(age).or_default().push(stage.clone());
            }
        }
        let requests = requests.into_iter();
        let with_stages =
            requests.map(|(age, request)| (request, stages_of.remove(&age).unwrap_or_default()));
        with_stages.filter_map(|(request, stages)| self.open_request(&request, stages, now)).collect()
    }

    /// A request as it stands; `None` if it has closed meanwhile.
    fn open_request(
        &self,
        request: &Request,
        mut open_stages: Vec<OpenStage>,
        now: u64,
    ) -> Option<OpenRequest> {
        let (measured, mut fields) = self.span_of(request, now)?;
        let (Folded { e2e, .. }, rows) = request.rows()?.as_they_stand(measured, &mut fields);
        open_stages.sort_by_key(|stage| (Reverse(stage.age_ms), stage.stage_id));
        let mut in_stages: Vec<_> = open_stages.iter().filter_map(|stage| stage.stage_id).collect();
        in_stages.sort_unstable();
        in_stages.dedup();
        let open_tokens = open_stages.iter().filter_map(|stage| stage.num_tokens_out);
        Some(OpenRequest {
            request_id: fields.request_id.as_deref().map(str::to_owned),
            age_ms: Millis::from_nanos(now.saturating_sub(request.created)),
            is_answered: request.is_answered(),
            e2e_total_tokens: open_tokens.fold(e2e.e2e_total_tokens, u64::saturating_add),
            fields: fields.further,
            stages: rows.stage_table().cloned().collect(),
            in_stages,
            open_stages,
        })
    }

    /// The times and fields of the `request` span of an open request. A span that is still open is timed
    /// until now.
    fn span_of(&self, request: &Request, now: u64) -> Option<(Measured, SpanFields)> {
        if let Some(answer) = request.answer_so_far() {
            return Some(answer);
        }
        let created = request.created;
        let fields = self.open.with(&Id::from_u64(request.span), |span| {
            let is_its = span.request.as_ref().is_some_and(|its| its.age() == request.age());
            is_its.then(|| span.fields.copy_for_line())
        });
        let mut fields = fields.flatten()?;
        // An open request may still record a reason.
        fields.declares_reason = false;
        Some((Measured { created, end: now, activity: Some((created, now)), busy: 0 }, fields))
    }

    /// A stage as it stands; `None` if it has closed meanwhile. The token count of a span that several
    /// requests share is the total of a batch, and goes to none of them.
    fn open_stage(&self, seen: &Seen, is_shared: bool, now: u64) -> Option<OpenStage> {
        let was_entered = self.open.slot(&seen.id, |slot| slot.timing.was_entered())?;
        let stage = self.open.with(&seen.id, |span| {
            let numbers = span.fields.stage();
            let progress = span.fields.progress.as_ref();
            let is_scheduled = progress.is_some_and(|progress| progress.scheduled.is_some());
            let of_outputs = || progress?.outputs.units;
            (span.created == seen.created).then(|| OpenStage {
                stage_id: numbers.stage_id,
                stage_name: span.fields.label.clone(),
                age_ms: Millis::from_nanos(now.saturating_sub(span.created)),
                is_waiting: !is_scheduled && (!was_entered || declares_scheduled(span)),
                num_tokens_out: numbers.num_tokens_out.or_else(of_outputs).filter(|_| !is_shared),
            })
        });
        stage.flatten()
    }
}

/// An open span.
#[derive(Debug)]
struct Seen {
    id: Id,
    kind: Kind,
    created: u64,
    request: Option<Arc<Request>>,
}

impl Seen {
    /// The enclosing request that will have a row of it.
    fn row(&self) -> Option<Age> {
        let has_row = matches!(self.kind, Kind::Stage | Kind::Transfer);
        self.request.as_ref().filter(|_| has_row).map(|request| request.age())
    }
}

/// The open requests of a moment, the oldest first, and all open spans.
pub(crate) struct OpenNow {
    now: u64,
    requests: BTreeMap<Age, Arc<Request>>,
    spans: Vec<Seen>,
}

impl OpenNow {
    pub(crate) fn oldest_age(&self) -> Option<u64> {
        let ((created, _), _) = self.requests.first_key_value()?;
        Some(self.now.saturating_sub(*created))
    }

    /// Keeps the requests that were created in this period.
    pub(crate) fn keep_created(&mut self, period: Range<u64>) {
        self.requests.retain(|(created, _), _| period.contains(created));
    }

    /// Keeps the oldest requests, at most `limit`. Returns how many it leaves out.
    pub(crate) fn keep_oldest(&mut self, limit: usize) -> usize {
        let left_out = self.requests.len().saturating_sub(limit);
        (0..left_out).for_each(|_| _ = self.requests.pop_last());
        left_out
    }
}

/// Whether the span begins when `scheduled` is recorded, and not when it is entered: a future that waits for
/// its scheduler is polled before.
fn declares_scheduled(span: &OpenSpan) -> bool {
    let declares = |metadata| Layout::with(metadata, span.kind, |layout| layout.declares(Meaning::Scheduled));
    span.metadata.is_some_and(declares)
}
