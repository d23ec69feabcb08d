//! Open requests as they stand, for whoever looks at a running service.

use std::{collections::BTreeMap, sync::Arc};

use tracing::span::Id;

use crate::{
    Millis, OpenRequest, RequestLine, SCHEMA,
    fold::{fields::SpanFields, request::Folded, timing::Measured},
    hold::{answered::Age, request::Request},
    model::kind::Kind,
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

    /// The open requests, the oldest first, at most `limit`. Wrappers are left out.
    pub(crate) fn open_requests(&self, limit: usize) -> Vec<OpenRequest> {
        let now = self.writing().clock.now();
        let spans = self.open.all();
        let of_spans = spans.iter().filter(|span| span.kind == Kind::Request);
        let of_spans = of_spans.filter_map(|span| span.request.clone());
        let mut open: BTreeMap<Age, (Arc<Request>, Vec<u64>)> = BTreeMap::new();
        for request in of_spans.chain(self.answered.all()) {
            if request.is_open_and_counts() {
                open.insert(request.age(), (request, Vec::new()));
            }
        }
        while open.len() > limit {
            open.pop_last();
        }
        for span in spans.iter().filter(|span| span.kind == Kind::Stage) {
            let stage_id = span.lock().fields.stage().stage_id;
            for owner in self.requests.owners_of(span).owners.iter() {
                if let Some((_, in_stages)) = open.get_mut(&owner.age()) {
                    in_stages.extend(stage_id);
                }
            }
        }
        open.into_values()
            .filter_map(|(request, in_stages)| self.open_request(&request, in_stages, now))
            .collect()
    }

    /// A request as it stands; `None` if it has closed meanwhile.
    fn open_request(&self, request: &Request, mut in_stages: Vec<u64>, now: u64) -> Option<OpenRequest> {
        let (measured, mut fields) = self.span_of(request, now)?;
        let (_, rows) = request.rows()?.as_they_stand(measured, &mut fields);
        in_stages.sort_unstable();
        in_stages.dedup();
        Some(OpenRequest {
            request_id: fields.request_id.as_deref().map(str::to_owned),
            age_ms: Millis::from_nanos(now.saturating_sub(request.created)),
            is_answered: request.is_answered(),
            fields: fields.further,
            stages: rows.stage_table().cloned().collect(),
            in_stages,
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
            is_its.then(|| span.lock().fields.copy_for_line())
        });
        let mut fields = fields.flatten()?;
        // An open request may still record a reason.
        fields.declares_reason = false;
        Some((Measured { created, end: now, activity: Some((created, now)), busy: 0 }, fields))
    }
}
