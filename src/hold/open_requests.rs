//! Which requests a span belongs to.

use std::{
    collections::{BTreeMap, HashSet},
    mem,
    sync::Arc,
};

use dashmap::{DashMap, Entry};
use smallvec::SmallVec;
use tracing::span::Id;

use crate::{
    fold::fields::SpanFields,
    hold::{
        answered::Age,
        open_spans::OpenSpans,
        request::{Hold, Request},
        span::{FOLLOW_LIMIT, Followed, OpenSpan, Owners, Settled},
    },
    model::kind::Kind,
};

/// How many `follows_from` edges are traversed to find the requests of a batch.
const STEP_LIMIT: usize = 16_384;

/// The number of shards of the open requests, so that two threads seldom contend for one lock.
const SHARDS: usize = 64;

/// The open requests that have a `request_id`.
#[derive(Debug)]
pub(crate) struct OpenRequests {
    by_id: DashMap<Arc<str>, SameId>,
}

/// The open requests with one id: nearly always one.
#[derive(Debug)]
struct SameId {
    newest: Arc<Request>,
    /// Ordered by creation. A client may send one id many times.
    older: BTreeMap<Age, Arc<Request>>,
}

/// The requests of a span, and how they were found.
#[derive(Debug, Default)]
pub(crate) struct Ownership {
    pub(crate) owners: Owners,
    /// Whether they were found through `follows_from`.
    pub(crate) is_batch: bool,
    /// Whether the span's `request_id` names no open request, so that the enclosing request gets its row.
    id_is_not_open: bool,
    /// How many other requests the followed spans belong to.
    passed_over: usize,
    is_cut: bool,
}

/// What a span says of its requests.
#[derive(Debug)]
pub(crate) struct Claims {
    /// The request that it names, or else the enclosing one.
    owner: Option<Arc<Request>>,
    id_is_not_open: bool,
    follows: SmallVec<[Step; 1]>,
    follows_are_cut: bool,
}

/// A step of the traversal. It does not hold the request open.
#[derive(Debug)]
enum Step {
    Request(Arc<Request>),
    Span(Id, Arc<Settled>),
}

impl Step {
    fn to(followed: &Followed) -> Self {
        match followed {
            Followed::Request(hold) => Self::Request(Arc::clone(hold.request())),
            Followed::Span(id, settled) => Self::Span(id.clone(), Arc::clone(settled)),
        }
    }
}

impl OpenRequests {
    pub(crate) fn new() -> Self {
        Self { by_id: DashMap::with_shard_amount(SHARDS) }
    }

    pub(crate) fn insert(&self, request_id: Option<&Arc<str>>, request: &Arc<Request>) {
        let Some(id) = request_id else { return };
        let mut request = Arc::clone(request);
        match self.by_id.entry(Arc::clone(id)) {
            Entry::Vacant(vacant) => {
                vacant.insert(SameId { newest: request, older: BTreeMap::new() });
            }
            Entry::Occupied(mut occupied) => {
                let SameId { newest, older } = occupied.get_mut();
                if request.created >= newest.created {
                    mem::swap(newest, &mut request);
                }
                older.insert(request.age(), request);
            }
        }
    }

    pub(crate) fn remove(&self, request_id: Option<&Arc<str>>, request: &Arc<Request>) {
        let Some(id) = request_id else { return };
        self.by_id.remove_if_mut(&**id, |_, SameId { newest, older }| {
            if !Arc::ptr_eq(newest, request) {
                older.remove(&request.age());
                return false;
            }
            match older.pop_last() {
                Some((_, next)) => {
                    *newest = next;
                    false
                }
                None => true,
            }
        });
    }

    /// The newest open request with this id.
    pub(crate) fn newest(&self, request_id: &str) -> Option<Arc<Request>> {
        self.by_id.get(request_id).map(|same_id| Arc::clone(&same_id.newest))
    }

    /// Holds the request that a span names open, if a request with this id is open.
    pub(crate) fn hold(&self, request_id: Option<&Arc<str>>) -> Option<Hold> {
        self.newest(request_id?).map(|request| request.hold())
    }

    /// Decides which requests a span belongs to: the one that its `request_id` names; otherwise the enclosing
    /// one; otherwise those of the spans that it follows. No span is locked meanwhile, since the followed
    /// ones are locked one by one.
    pub(crate) fn owners_of(&self, claims: Claims, spans: &OpenSpans) -> Ownership {
        let Claims { owner, id_is_not_open, follows, follows_are_cut } = claims;
        let Some(request) = owner else {
            let (owners, is_cut) = self.owners_of_followed(follows, spans);
            let is_cut = is_cut || follows_are_cut;
            return Ownership { is_batch: !owners.is_empty(), owners, is_cut, ..Ownership::default() };
        };
        // The other requests get no row.
        let (followed, _) = self.owners_of_followed(follows, spans);
        let passed_over = followed.iter().filter(|other| !Arc::ptr_eq(other, &request)).count();
        let owners = Owners::One(request);
        Ownership { owners, id_is_not_open, passed_over, ..Ownership::default() }
    }

    /// The owners of an open span; `None` if it has closed.
    pub(crate) fn owners_of_open(&self, id: &Id, spans: &OpenSpans) -> Option<Ownership> {
        let claims = spans.with(id, |span| self.claims(span))?;
        Some(self.owners_of(claims, spans))
    }

    /// Whether the open span belongs to the request.
    pub(crate) fn owns(&self, id: &Id, request: &Arc<Request>, spans: &OpenSpans) -> bool {
        let is_followed = |followed: &Followed| match followed {
            Followed::Request(hold) => Arc::ptr_eq(hold.request(), request),
            Followed::Span(..) => false,
        };
        // A batch mostly follows its requests directly. Then no traversal is needed for each of its parts.
        let is_direct = spans.with(id, |span| {
            span.request.is_none() && span.fields.request_id.is_none() && span.follows.iter().any(is_followed)
        });
        let owns = || self.owners_of_open(id, spans).is_some_and(|ownership| ownership.owns(request));
        is_direct == Some(true) || owns()
    }

    /// Whether the open span will have a detached row with this id.
    pub(crate) fn owns_detached(&self, id: &Id, request_id: Option<&str>, spans: &OpenSpans) -> bool {
        let Some(Ownership { owners, .. }) = self.owners_of_open(id, spans) else { return false };
        if owners.is_empty() {
            return spans.with(id, |span| span.fields.request_id.as_deref() == request_id) == Some(true);
        }
        owners.iter().any(|owner| owner.has_closed_as(request_id))
    }

    fn owners_of_followed(&self, mut pending: SmallVec<[Step; 1]>, spans: &OpenSpans) -> (Owners, bool) {
        let mut owners = Vec::new();
        let mut is_cut = false;
        // The edges may form cycles.
        let mut visited = HashSet::new();
        let mut steps = 0;
        while let Some(followed) = pending.pop() {
            steps += 1;
            match followed {
                Step::Request(request) => owners.push(request),
                Step::Span(..) if steps > STEP_LIMIT => is_cut = true,
                Step::Span(id, settled) => {
                    if visited.insert(Arc::as_ptr(&settled)) {
                        self.claims_of(&id, &settled, spans, &mut owners, &mut pending);
                    }
                }
            }
        }
        owners.sort_by_key(|request| request.age());
        owners.dedup_by(|a, b| Arc::ptr_eq(a, b));
        let owners = if owners.is_empty() { Owners::None } else { Owners::Batch(owners) };
        (owners, is_cut)
    }

    /// Adds the request of a followed span to `owners`. If it has none, the targets of its `follows_from` are
    /// added to `pending`.
    fn claims_of(
        &self,
        id: &Id,
        settled: &Arc<Settled>,
        spans: &OpenSpans,
        owners: &mut Vec<Arc<Request>>,
        pending: &mut SmallVec<[Step; 1]>,
    ) {
        let claims = spans.with(id, |span| {
            let is_it = span.settled.as_ref().is_some_and(|its| Arc::ptr_eq(its, settled));
            is_it.then(|| self.claims(span))
        });
        match claims.flatten() {
            Some(Claims { owner: Some(owner), .. }) => owners.push(owner),
            Some(Claims { follows, .. }) => pending.extend(follows),
            // It has closed.
            None => owners.extend(settled.get().into_iter().flatten().map(|hold| Arc::clone(hold.request()))),
        }
    }

    /// What a span says of its requests. It may be locked.
    pub(crate) fn claims(&self, span: &OpenSpan) -> Claims {
        let own_id = span.fields.request_id.as_deref().filter(|_| span.kind != Kind::Request);
        // The answered request is held by this span, while a newer request may have its id.
        let answered = span.named.as_ref().map(Hold::request).filter(|request| request.is_answered());
        let named = answered.cloned().or_else(|| self.newest(own_id?));
        Claims {
            id_is_not_open: named.is_none() && own_id.is_some() && span.request.is_some(),
            owner: named.or_else(|| span.request.clone()),
            follows: span.follows.iter().map(Step::to).collect(),
            follows_are_cut: span.follows_are_cut,
        }
    }
}

impl Ownership {
    pub(crate) fn owns(&self, request: &Arc<Request>) -> bool {
        // The owners are sorted by age.
        self.owners.binary_search_by_key(&request.age(), |owner| owner.age()).is_ok()
    }

    /// Adds warnings for requests that the span named or followed and that get no row.
    #[inline]
    pub(crate) fn warn(&self, fields: &mut SpanFields) {
        if self.id_is_not_open {
            let id = fields.request_id.clone().unwrap_or_else(|| "".into());
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
            let what = format!(
                "only {FOLLOW_LIMIT} spans are followed, in {STEP_LIMIT} steps; the rest is left out"
            );
            fields.warn("follows_from", self.owners.len(), what);
        }
    }
}
