//! One open span: when it was entered and left, and what was recorded on it.

use std::{
    ops::Deref,
    slice,
    sync::{Arc, OnceLock},
};

use smallvec::SmallVec;
use tracing::{Metadata, span::Id};

use crate::{
    fields::{Kind, SpanFields},
    otel::Met,
    request::{Hold, Request},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// How many spans a span can follow.
pub(crate) const FOLLOW_LIMIT: usize = 4096;

/// A span of the contract, from its creation to its close; longer only while another open span
/// follows from it, or as a shell that another thread remembers.
#[derive(Debug, Default)]
pub(crate) struct OpenSpan {
    pub(crate) kind: Kind,
    /// Of its callsite; absent while it is blank.
    pub(crate) metadata: Option<&'static Metadata<'static>>,
    pub(crate) created: u64,
    /// The request itself, or the nearest enclosing one.
    pub(crate) request: Option<Arc<Request>>,
    /// The nearest enclosing `stage`, which can't close before this span does.
    pub(crate) stage: Option<Id>,
    /// The nearest enclosing span of the contract is that `stage`.
    pub(crate) is_child_of_stage: bool,
    /// It has left the map of open spans, and its id may be another span's by now.
    has_closed: AtomicBool,
    state: Mutex<SpanState>,
}

#[derive(Debug, Default)]
pub(crate) struct SpanState {
    pub(crate) timing: Timing,
    pub(crate) fields: SpanFields,
    pub(crate) follows: SmallVec<[Followed; 1]>,
    /// The request that its `request_id` named when it was recorded, if one with that id was open.
    pub(crate) named: Option<Hold>,
    /// It followed more than are kept.
    pub(crate) follows_are_cut: bool,
    /// Sum of the span times of `preprocess` children, in nanoseconds.
    pub(crate) preprocess: Option<u64>,
    /// Where those that follow from it will find whose it was, if there are any.
    settled: Option<Arc<Settled>>,
    /// It has closed, and what it had gathered is elsewhere.
    pub(crate) is_taken: bool,
    /// Of a request, from its first exit on: the OpenTelemetry span beside it, if there is one.
    pub(crate) otel: Met,
}

/// The requests that a span belonged to when it closed, held for those that follow from it. Apart from the
/// span, of which other threads keep shells.
pub(crate) type Settled = OnceLock<Vec<Hold>>;

impl SpanState {
    /// Field by field, which is cheaper than a new state: most are empty already.
    fn wipe(&mut self) {
        let Self { timing, fields, follows, named, follows_are_cut, preprocess, settled, is_taken, otel } =
            self;
        *timing = Timing::default();
        fields.wipe();
        if !follows.is_empty() {
            *follows = SmallVec::new();
        }
        *named = None;
        *follows_are_cut = false;
        *preprocess = None;
        *settled = None;
        *is_taken = false;
        *otel = Met::default();
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

/// What a `follows_from` leads to.
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
    /// Makes a blank span one that has been created. Returns its fields, to be filled in.
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

    /// Makes a closed span blank again, so that nothing it held outlives it.
    pub(crate) fn wipe(&mut self) {
        self.metadata = None;
        self.request = None;
        self.stage = None;
        self.state().wipe();
    }

    /// A span of the same standing with everything that this one has gathered, now that it closes
    /// while others still refer to it. Those that follow from it will ask for its `owners`.
    pub(crate) fn taken(&self, owners: &Owners) -> Self {
        let mut state = self.lock();
        if let Some(settled) = state.settled.take() {
            // Set here only, so it is empty.
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
            state: Mutex::new(taken),
        }
    }

    /// What has been gathered, of a span that nobody else refers to.
    #[inline]
    pub(crate) fn state(&mut self) -> &mut SpanState {
        self.state.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    /// The request around the span, if nothing of its own decides otherwise: it names none, and
    /// follows from nothing.
    #[inline]
    pub(crate) fn take_plain_owner(&mut self) -> Option<Arc<Request>> {
        let state = self.state();
        let is_plain = state.fields.request_id.is_none() && state.follows.is_empty();
        if is_plain { self.request.take() } else { None }
    }

    pub(crate) fn is_open(&self) -> bool {
        !self.has_closed.load(Ordering::Acquire)
    }

    /// Where a span that follows from it will find whose it was; `None` if it is too late.
    pub(crate) fn settled(&self) -> Option<Arc<Settled>> {
        let mut state = self.lock();
        (!state.is_taken).then(|| Arc::clone(state.settled.get_or_insert_default()))
    }

    pub(crate) fn mark_closed(&self) {
        self.has_closed.store(true, Ordering::Release);
    }

    /// Held for a few instructions at a time, never over user code or I/O.
    pub(crate) fn lock(&self) -> MutexGuard<'_, SpanState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a new span is inside of.
#[derive(Debug, Default)]
pub(crate) struct Enclosing {
    pub(crate) request: Option<Arc<Request>>,
    pub(crate) stage: Option<Id>,
    pub(crate) is_stage: bool,
}

impl Enclosing {
    /// For a span whose nearest enclosing span of the contract is `outer`.
    pub(crate) fn in_span(id: Id, outer: &OpenSpan) -> Self {
        let is_stage = outer.kind == Kind::Stage;
        Self {
            request: outer.request.clone(),
            stage: if is_stage { Some(id) } else { outer.stage.clone() },
            is_stage,
        }
    }
}

/// When a span was entered and left.
#[derive(Debug, Default)]
pub(crate) struct Timing {
    first_enter: Option<u64>,
    last_exit: Option<u64>,
    /// How many times it is entered right now, on any thread.
    depth: u32,
    busy_since: u64,
    busy: u64,
}

impl Timing {
    pub(crate) fn enter(&mut self, now: u64) {
        self.first_enter = Some(self.first_enter.map_or(now, |first| first.min(now)));
        if self.depth == 0 {
            self.busy_since = now;
        }
        self.depth = self.depth.saturating_add(1);
    }

    pub(crate) fn exit(&mut self, now: u64) {
        if self.depth == 0 {
            return;
        }
        self.depth -= 1;
        self.last_exit = self.last_exit.max(Some(now));
        if self.depth == 0 {
            self.busy = self.busy.saturating_add(now.saturating_sub(self.busy_since));
        }
    }

    /// The span's times, now that it closes. A span that is still entered is left at this moment.
    /// `now` is read only if it counts.
    pub(crate) fn close(&mut self, created: u64, now: impl Fn() -> u64) -> Measured {
        if self.depth > 0 {
            self.depth = 1;
            self.exit(now());
        }
        let activity = self.first_enter.zip(self.last_exit);
        let span_time = activity.map_or(0, |(first, last)| last.saturating_sub(first));
        let end = activity.map_or_else(now, |(_, last)| last);
        Measured { created, end, activity, busy: self.busy.min(span_time) }
    }
}

/// The times of a span that has closed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    pub(crate) created: u64,
    /// Last exit, or close if it was never entered.
    pub(crate) end: u64,
    /// First enter and last exit, if it was ever entered.
    pub(crate) activity: Option<(u64, u64)>,
    pub(crate) busy: u64,
}

impl Measured {
    /// First enter, or creation if it was never entered.
    pub(crate) fn start(&self) -> u64 {
        self.activity.map_or(self.created, |(first, _)| first)
    }

    pub(crate) fn span_time(&self) -> u64 {
        self.end.saturating_sub(self.start())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_and_concurrent_enters_count_once() {
        let mut timing = Timing::default();
        timing.enter(10);
        timing.enter(20);
        timing.exit(30);
        timing.exit(40);
        timing.enter(70);
        timing.exit(75);
        let measured = timing.close(0, || 100);
        assert_eq!((measured.start(), measured.end, measured.busy), (10, 75, 35));
    }

    #[test]
    fn an_exit_without_an_enter_is_passed_over() {
        let mut timing = Timing::default();
        timing.exit(5);
        timing.enter(10);
        timing.exit(20);
        timing.exit(30);
        let measured = timing.close(0, || 100);
        assert_eq!((measured.span_time(), measured.busy), (10, 10));
    }

    #[test]
    fn a_span_that_closes_while_entered_is_left_then() {
        let mut timing = Timing::default();
        timing.enter(10);
        timing.enter(20);
        let measured = timing.close(0, || 100);
        assert_eq!((measured.span_time(), measured.busy), (90, 90));
    }

    #[test]
    fn a_span_that_was_never_entered_counts_from_creation_to_close() {
        let measured = Timing::default().close(3, || 10);
        assert_eq!((measured.span_time(), measured.busy, measured.activity), (7, 0, None));
    }
}
