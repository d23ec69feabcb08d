//! One open span: its times, and the values recorded on it.

use std::{
    ops::Deref,
    slice,
    sync::{Arc, OnceLock},
};

use smallvec::SmallVec;
use tracing::{Metadata, span::Id};

use crate::{
    fold::fields::SpanFields,
    hold::{
        early_context::EarlyContext,
        request::{Hold, Request},
        sync::{
            Mutex, MutexGuard, PoisonError,
            atomic::{AtomicBool, Ordering},
        },
        timing::Timing,
    },
    model::kind::Kind,
};

/// How many spans a span can follow at most.
pub(crate) const FOLLOW_LIMIT: usize = 4096;

/// A documented span, from its creation to its close. The object lives longer while another open span follows
/// from it, and while it is in the cache of another thread.
#[derive(Debug, Default)]
pub(crate) struct OpenSpan {
    pub(crate) kind: Kind,
    /// Metadata of its callsite; absent while the object is blank.
    pub(crate) metadata: Option<&'static Metadata<'static>>,
    pub(crate) created: u64,
    /// The request of a `request` span; otherwise the nearest enclosing one.
    pub(crate) request: Option<Arc<Request>>,
    /// The nearest enclosing `stage`, which can't close before this span does.
    pub(crate) stage: Option<Id>,
    /// Whether the nearest enclosing documented span is this `stage`.
    pub(crate) is_child_of_stage: bool,
    /// Whether it was removed from the open spans. Its id may belong to another span by now.
    has_closed: AtomicBool,
    pub(crate) timing: Timing,
    state: Mutex<SpanState>,
}

#[derive(Debug, Default)]
pub(crate) struct SpanState {
    pub(crate) fields: SpanFields,
    pub(crate) follows: SmallVec<[Followed; 1]>,
    /// The request that its `request_id` named when it was recorded, if one with that id was open.
    pub(crate) named: Option<Hold>,
    /// Whether it followed more spans than [`FOLLOW_LIMIT`].
    pub(crate) follows_are_cut: bool,
    /// Sum of the span times of `preprocess` children, in nanoseconds.
    pub(crate) preprocess: Option<u64>,
    /// Where the spans that follow from it will find its requests. Absent if there are no such spans.
    settled: Option<Arc<Settled>>,
    /// Whether it has closed, and its state was moved out.
    pub(crate) is_taken: bool,
    /// Of a request, from its first exit on: its OpenTelemetry span, if there is one.
    pub(crate) early_context: EarlyContext,
}

/// The requests that a span belonged to when it closed, held for the spans that follow from it. It is
/// separate from the span, of which the caches of other threads may keep the object.
pub(crate) type Settled = OnceLock<Vec<Hold>>;

impl SpanState {
    /// Wiped field by field, which is cheaper than a new state, since most fields are empty already.
    fn wipe(&mut self) {
        let Self { fields, follows, named, follows_are_cut, preprocess, settled, is_taken, early_context } =
            self;
        fields.wipe();
        if !follows.is_empty() {
            *follows = SmallVec::new();
        }
        *named = None;
        *follows_are_cut = false;
        *preprocess = None;
        *settled = None;
        *is_taken = false;
        *early_context = EarlyContext::default();
    }

    pub(crate) fn follow(&mut self, followed: Followed) {
        if self.follows.len() >= FOLLOW_LIMIT {
            self.follows.sort_by_key(Followed::address);
            self.follows.dedup_by_key(|followed| followed.address());
        }
        if self.follows.len() < FOLLOW_LIMIT {
            self.follows.push(followed);
        } else {
            let is_known = self.follows.iter().any(|other| other.address() == followed.address());
            self.follows_are_cut |= !is_known;
        }
    }
}

impl Followed {
    fn address(&self) -> usize {
        match self {
            Self::Request(hold) => Arc::as_ptr(hold.request()).addr(),
            Self::Span(span, _) => Arc::as_ptr(span).addr(),
        }
    }
}

/// The target of a `follows_from`.
#[derive(Debug)]
pub(crate) enum Followed {
    Request(Hold),
    Span(Arc<OpenSpan>, Arc<Settled>),
}

/// The requests that a span belongs to: none, one, or those of a batch.
#[derive(Debug, Clone, Default)]
pub(crate) enum Owners {
    #[default]
    None,
    One(Arc<Request>),
    Batch(Vec<Arc<Request>>),
}

impl Deref for Owners {
    type Target = [Arc<Request>];

    fn deref(&self) -> &[Arc<Request>] {
        match self {
            Self::None => &[],
            Self::One(request) => slice::from_ref(request),
            Self::Batch(requests) => requests,
        }
    }
}

impl OpenSpan {
    /// Turns a blank object into a new span. Returns its fields, to be filled in.
    pub(crate) fn begin(
        &mut self,
        kind: Kind,
        metadata: Option<&'static Metadata<'static>>,
        created: u64,
        enclosing: Enclosing,
    ) -> &mut SpanFields {
        self.kind = kind;
        self.metadata = metadata;
        self.created = created;
        self.request = enclosing.request;
        self.stage = enclosing.stage;
        self.is_child_of_stage = enclosing.is_stage;
        *self.has_closed.get_mut() = false;
        let fields = &mut self.state().fields;
        fields.begin(kind);
        fields
    }

    /// Turns a closed span into a blank object, so that nothing that it held outlives it.
    pub(crate) fn wipe(&mut self) {
        self.metadata = None;
        self.request = None;
        self.stage = None;
        self.timing = Timing::default();
        self.state().wipe();
    }

    /// Moves the state of a closing span into a new object, because other threads still refer to this one.
    /// The spans that follow from it will find `owners` as its requests.
    pub(crate) fn taken(&self, owners: &Owners) -> Self {
        let mut state = self.lock();
        if let Some(settled) = state.settled.take() {
            // It is empty: this is the only place that sets it.
            let _ = settled.set(owners.iter().map(Request::hold).collect());
        }
        let taken = std::mem::replace(&mut *state, SpanState { is_taken: true, ..SpanState::default() });
        Self {
            request: self.request.clone(),
            stage: self.stage.clone(),
            kind: self.kind,
            metadata: self.metadata,
            created: self.created,
            is_child_of_stage: self.is_child_of_stage,
            has_closed: AtomicBool::new(true),
            timing: self.timing.copy(),
            state: Mutex::new(taken),
        }
    }

    /// The state of a span to which no other reference exists.
    #[inline]
    pub(crate) fn state(&mut self) -> &mut SpanState {
        self.state.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    /// The enclosing request, if the span has neither a `request_id` nor a `follows_from`.
    #[inline]
    pub(crate) fn take_plain_owner(&mut self) -> Option<Arc<Request>> {
        let state = self.state();
        let is_plain = state.fields.request_id.is_none() && state.follows.is_empty();
        if is_plain { self.request.take() } else { None }
    }

    pub(crate) fn is_open(&self) -> bool {
        !self.has_closed.load(Ordering::Acquire)
    }

    /// Where a span that follows from this one will find its requests; `None` if this one has closed already.
    pub(crate) fn settled(&self) -> Option<Arc<Settled>> {
        let mut state = self.lock();
        (!state.is_taken).then(|| Arc::clone(state.settled.get_or_insert_default()))
    }

    pub(crate) fn mark_closed(&self) {
        self.has_closed.store(true, Ordering::Release);
    }

    /// Locks the state. The lock is held for a few instructions, never over user code or I/O.
    pub(crate) fn lock(&self) -> MutexGuard<'_, SpanState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The spans that enclose a new span.
#[derive(Debug, Default)]
pub(crate) struct Enclosing {
    pub(crate) request: Option<Arc<Request>>,
    pub(crate) stage: Option<Id>,
    pub(crate) is_stage: bool,
}

impl Enclosing {
    /// For a span whose nearest enclosing documented span is `outer`.
    pub(crate) fn in_span(id: Id, outer: &OpenSpan) -> Self {
        let is_stage = outer.kind == Kind::Stage;
        Self {
            request: outer.request.clone(),
            stage: if is_stage { Some(id) } else { outer.stage.clone() },
            is_stage,
        }
    }
}
