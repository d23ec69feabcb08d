//! Which requests a span belongs to.

use std::{
    collections::{BTreeMap, HashSet},
    mem,
    sync::Arc,
};

use dashmap::{DashMap, Entry};
use smallvec::SmallVec;

use crate::{
    fold::fields::SpanFields,
    hold::{
        answered::Age,
        request::{Hold, Request},
        span::{FOLLOW_LIMIT, Followed, OpenSpan, Owners, Settled},
    },
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

/// A step of the traversal. It does not hold the request open.
enum Step {
    Request(Arc<Request>),
    Span(Arc<OpenSpan>, Arc<Settled>),
}

impl Step {
    fn to(followed: &Followed) -> Self {
        match followed {
            Followed::Request(hold) => Self::Request(Arc::clone(hold.request())),
            Followed::Span(span, settled) => Self::Span(Arc::clone(span), Arc::clone(settled)),
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
    /// one; otherwise those of the spans that it follows.
    pub(crate) fn owners_of(&self, span: &OpenSpan) -> Ownership {
        let mut follows = SmallVec::new();
        let Some((request, id_is_not_open)) = self.single_owner(span, &mut follows, None) else {
            let (owners, is_cut) = self.owners_of_followed(span, follows);
            return Ownership { is_batch: !owners.is_empty(), owners, is_cut, ..Ownership::default() };
        };
        let passed_over = self.passed_over(span, &request);
        let owners = Owners::One(request);
        Ownership { owners, id_is_not_open, passed_over, ..Ownership::default() }
    }

    /// How many other requests the followed spans belong to; they get no row.
    fn passed_over(&self, span: &OpenSpan, request: &Arc<Request>) -> usize {
        let follows = SmallVec::<[Step; 4]>::from_iter(span.lock().follows.iter().map(Step::to));
        if follows.is_empty() {
            return 0;
        }
        let (followed, _) = self.owners_of_followed(span, follows);
        followed.iter().filter(|other| !Arc::ptr_eq(other, request)).count()
    }

    /// Whether the span belongs to the request.
    pub(crate) fn owns(&self, span: &OpenSpan, request: &Arc<Request>) -> bool {
        let is_followed = |followed: &Followed| match followed {
            Followed::Request(hold) => Arc::ptr_eq(hold.request(), request),
            Followed::Span(..) => false,
        };
        // A batch mostly follows its requests directly. Then no traversal is needed for each of its parts.
        let is_direct = {
            let state = span.lock();
            span.request.is_none()
                && state.fields.request_id.is_none()
                && state.follows.iter().any(is_followed)
        };
        is_direct || self.owners_of(span).owners.iter().any(|owner| Arc::ptr_eq(owner, request))
    }

    /// Whether the span will have a detached row with this id.
    pub(crate) fn owns_detached(&self, span: &OpenSpan, request_id: Option<&str>) -> bool {
        let Ownership { owners, .. } = self.owners_of(span);
        if owners.is_empty() {
            return span.lock().fields.request_id.as_deref() == request_id;
        }
        owners.iter().any(|owner| owner.has_closed_as(request_id))
    }

    fn owners_of_followed(&self, span: &OpenSpan, mut pending: SmallVec<[Step; 4]>) -> (Owners, bool) {
        let mut owners = Vec::new();
        let mut is_cut = span.lock().follows_are_cut;
        // The edges may form cycles.
        let mut visited = HashSet::new();
        let mut steps = 0;
        while let Some(followed) = pending.pop() {
            steps += 1;
            match followed {
                Step::Request(request) => owners.push(request),
                Step::Span(..) if steps > STEP_LIMIT => is_cut = true,
                Step::Span(span, settled) => {
                    if visited.insert(Arc::as_ptr(&span)) {
                        let owner = self.single_owner(&span, &mut pending, Some(&settled));
                        owners.extend(owner.map(|(request, _)| request));
                    }
                }
            }
        }
        owners.sort_by_key(|request| request.age());
        owners.dedup_by(|a, b| Arc::ptr_eq(a, b));
        let owners = if owners.is_empty() { Owners::None } else { Owners::Batch(owners) };
        (owners, is_cut)
    }

    /// The one request of a span, and whether its own id names no open request. If there is none, the targets
    /// of its `follows_from` are added to `pending`, or, for a span that has closed, the requests to which it
    /// was `settled` then.
    fn single_owner(
        &self,
        span: &OpenSpan,
        pending: &mut SmallVec<[Step; 4]>,
        settled: Option<&Settled>,
    ) -> Option<(Arc<Request>, bool)> {
        let state = span.lock();
        if state.is_taken
            && let Some(settled) = settled.and_then(Settled::get)
        {
            pending.extend(settled.iter().map(|hold| Step::Request(Arc::clone(hold.request()))));
            return None;
        }
        let own_id = state.fields.request_id.as_deref();
        // The answered request is held by this span, while a newer request may have its id.
        if let Some(hold) = state.named.as_ref().filter(|hold| hold.request().is_answered()) {
            return Some((Arc::clone(hold.request()), false));
        }
        if let Some(request) = own_id.and_then(|id| self.newest(id)) {
            return Some((request, false));
        }
        if let Some(request) = &span.request {
            return Some((Arc::clone(request), own_id.is_some()));
        }
        pending.extend(state.follows.iter().map(Step::to));
        None
    }
}

impl Ownership {
    /// The ownership of a span that belongs to one request.
    pub(crate) fn of(owner: Arc<Request>) -> Self {
        Self { owners: Owners::One(owner), ..Self::default() }
    }

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
