//! Which requests a span belongs to.

use std::sync::Arc;

use dashmap::DashMap;
use smallvec::SmallVec;

use crate::{
    fields::SpanFields,
    request::Request,
    span::{FOLLOW_LIMIT, Followed, OpenSpan, Owners},
};

/// The open requests that have a `request_id`; several, if they share one.
#[derive(Debug, Default)]
pub(crate) struct OpenRequests {
    by_id: DashMap<String, SmallVec<[Arc<Request>; 1]>>,
}

/// The requests of a span, and how it came to them.
#[derive(Debug, Default)]
pub(crate) struct Ownership {
    pub(crate) owners: Owners,
    /// Through `follows_from`.
    pub(crate) is_batch: bool,
    /// Its `request_id` names no open request, so that it fell to the one around it.
    id_is_not_open: bool,
    /// How many more requests the spans it follows belong to.
    passed_over: usize,
    is_cut: bool,
}

impl OpenRequests {
    pub(crate) fn insert(&self, request_id: Option<&str>, request: &Arc<Request>) {
        if let Some(id) = request_id {
            self.by_id.entry(id.to_owned()).or_default().push(Arc::clone(request));
        }
    }

    pub(crate) fn remove(&self, request_id: Option<&str>, request: &Arc<Request>) {
        if let Some(id) = request_id {
            self.by_id.remove_if_mut(id, |_, requests| {
                requests.retain(|other| !Arc::ptr_eq(other, request));
                requests.is_empty()
            });
        }
    }

    fn newest(&self, request_id: &str) -> Option<Arc<Request>> {
        self.by_id.get(request_id)?.iter().max_by_key(|request| request.created).cloned()
    }

    /// Decides the requests of a span: the one its `request_id` names, else the one around it, else
    /// those of the spans it follows.
    pub(crate) fn owners_of(&self, span: &OpenSpan) -> Ownership {
        let mut follows = SmallVec::new();
        let Some((request, id_is_not_open)) = self.single_owner(span, &mut follows) else {
            let (owners, is_cut) = self.owners_of_followed(span, follows);
            return Ownership { is_batch: !owners.is_empty(), owners, is_cut, ..Ownership::default() };
        };
        let mut passed_over = 0;
        if !span.lock().follows.is_empty() {
            let follows = SmallVec::from(span.lock().follows.as_slice());
            let (followed, _) = self.owners_of_followed(span, follows);
            passed_over = followed.iter().filter(|other| !Arc::ptr_eq(other, &request)).count();
        }
        let owners = Owners::from_iter([request]);
        Ownership { owners, id_is_not_open, passed_over, ..Ownership::default() }
    }

    fn owners_of_followed(&self, span: &OpenSpan, mut pending: SmallVec<[Followed; 4]>) -> (Owners, bool) {
        let mut owners = Owners::new();
        // Spans may follow each other in rings.
        let mut visited = SmallVec::<[*const OpenSpan; 4]>::from_iter([std::ptr::from_ref(span)]);
        let mut is_cut = span.lock().follows_are_cut;
        while let Some(followed) = pending.pop() {
            match followed {
                Followed::Request(request) => owners.push(request),
                Followed::Span(span) if visited.contains(&Arc::as_ptr(&span)) => {}
                Followed::Span(_) if visited.len() > FOLLOW_LIMIT => is_cut = true,
                Followed::Span(span) => {
                    visited.push(Arc::as_ptr(&span));
                    owners.extend(self.single_owner(&span, &mut pending).map(|(request, _)| request));
                }
            }
        }
        owners.sort_by_key(|request| (request.created, Arc::as_ptr(request)));
        owners.dedup_by(|a, b| Arc::ptr_eq(a, b));
        (owners, is_cut)
    }

    /// The one request of a span, and whether its own id was of no use; or else what it follows is
    /// added to `pending`.
    fn single_owner(
        &self,
        span: &OpenSpan,
        pending: &mut SmallVec<[Followed; 4]>,
    ) -> Option<(Arc<Request>, bool)> {
        let state = span.lock();
        if let Some(settled) = &state.settled {
            pending.extend(settled.iter().cloned().map(Followed::Request));
            return None;
        }
        let own_id = state.fields.request_id.as_deref();
        if let Some(request) = own_id.and_then(|id| self.newest(id)) {
            return Some((request, false));
        }
        if let Some(request) = &span.request {
            return Some((Arc::clone(request), own_id.is_some()));
        }
        pending.extend(state.follows.iter().cloned());
        None
    }
}

impl Ownership {
    pub(crate) fn owns(&self, request: &Arc<Request>) -> bool {
        self.owners.iter().any(|owner| Arc::ptr_eq(owner, request))
    }

    /// Says what the span asked for and did not get.
    pub(crate) fn warn(&self, fields: &mut SpanFields) {
        if self.id_is_not_open {
            let id = fields.request_id.clone().unwrap_or_default();
            fields.warn(
                "request_id",
                id,
                "no request with this id is open; added to the one around the span",
            );
        }
        if self.passed_over > 0 {
            let what =
                "other requests of the spans it follows get no row, since it is inside of one or names one";
            fields.warn("follows_from", self.passed_over, what);
        }
        if self.is_cut {
            let what = format_args!("only {FOLLOW_LIMIT} spans are followed; the rest is left out");
            fields.warn("follows_from", self.owners.len(), what);
        }
    }
}
