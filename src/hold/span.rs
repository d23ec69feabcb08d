//! One open span: its times, and the values recorded on it.

use std::{
    ops::Deref,
    slice,
    sync::{Arc, OnceLock},
};

use smallvec::SmallVec;
use tracing::{Metadata, span::Id};

use crate::{
    fold::{fields::SpanFields, measured::Measured},
    hold::{
        early_context::EarlyContext,
        request::{Hold, Request},
    },
    model::kind::Kind,
};

/// How many spans a span can follow at most.
pub(crate) const FOLLOW_LIMIT: usize = 4096;

/// A documented span, from its creation to its close.
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
    /// Its times, as it closes.
    pub(crate) measured: Measured,
    pub(crate) fields: SpanFields,
    pub(crate) follows: SmallVec<[Followed; 1]>,
    /// Whether it followed more spans than [`FOLLOW_LIMIT`].
    pub(crate) follows_are_cut: bool,
    /// The request that its `request_id` named when it was recorded, if one with that id was open.
    pub(crate) named: Option<Hold>,
    /// Sum of the span times of `preprocess` children, in nanoseconds.
    pub(crate) preprocess: Option<u64>,
    /// Where the spans that follow from it will find its requests. Absent if there are no such spans.
    pub(crate) settled: Option<Arc<Settled>>,
    /// Of a request, from its first exit on: its OpenTelemetry span, if there is one.
    pub(crate) early_context: EarlyContext,
}

/// The requests that a span belonged to when it closed, held for the spans that follow from it.
pub(crate) type Settled = OnceLock<Vec<Hold>>;

/// The target of a `follows_from`.
#[derive(Debug)]
pub(crate) enum Followed {
    Request(Hold),
    /// The id is the span's as long as the span with this id has these `settled` requests.
    Span(Id, Arc<Settled>),
}

impl Followed {
    fn address(&self) -> usize {
        match self {
            Self::Request(hold) => Arc::as_ptr(hold.request()).addr(),
            Self::Span(_, settled) => Arc::as_ptr(settled).addr(),
        }
    }
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
    /// Turns a blank object into a new span.
    #[inline]
    pub(crate) fn begin(&mut self, kind: Kind, metadata: &'static Metadata<'static>, created: u64) {
        self.kind = kind;
        self.metadata = Some(metadata);
        self.created = created;
        self.fields.begin(kind);
    }

    /// Notes the nearest documented span that encloses it.
    #[inline(always)]
    pub(crate) fn set_enclosing(&mut self, id: &Id, outer: &Self) {
        self.request = outer.request.clone();
        self.is_child_of_stage = outer.kind == Kind::Stage;
        self.stage = if self.is_child_of_stage { Some(id.clone()) } else { outer.stage.clone() };
    }

    /// Turns a closed span into a blank object, so that nothing that it held outlives it. It is wiped field
    /// by field, which is cheaper than a new object, since most fields are empty already.
    pub(crate) fn wipe(&mut self) {
        let Self {
            kind: _,
            metadata,
            created: _,
            request,
            stage,
            is_child_of_stage,
            measured: _,
            fields,
            follows,
            follows_are_cut,
            named,
            preprocess,
            settled,
            early_context,
        } = self;
        *metadata = None;
        *request = None;
        *stage = None;
        *is_child_of_stage = false;
        fields.wipe();
        if !follows.is_empty() {
            *follows = SmallVec::new();
        }
        *follows_are_cut = false;
        *named = None;
        *preprocess = None;
        *settled = None;
        *early_context = EarlyContext::default();
    }

    /// The enclosing request, if the span has neither a `request_id` nor a `follows_from`.
    #[inline]
    pub(crate) fn take_plain_owner(&mut self) -> Option<Arc<Request>> {
        let is_plain = self.fields.request_id.is_none() && self.follows.is_empty();
        if is_plain { self.request.take() } else { None }
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

    /// How another span follows this one.
    pub(crate) fn followed(&mut self, id: &Id) -> Option<Followed> {
        match (self.kind, &self.request) {
            (Kind::Request, request) => Some(Followed::Request(request.as_ref()?.hold())),
            _ => Some(Followed::Span(id.clone(), Arc::clone(self.settled.get_or_insert_default()))),
        }
    }
}
