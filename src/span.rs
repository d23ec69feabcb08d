//! One open span: when it was entered and left, and what was recorded on it.

use std::{
    hash::{BuildHasherDefault, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use dashmap::DashMap;
use smallvec::SmallVec;
use tracing::span::Id;

use crate::{
    fields::{Kind, SpanFields},
    request::Request,
};

/// How many spans a span can follow, and how many are looked at to find the requests of a batch.
pub(crate) const FOLLOW_LIMIT: usize = 4096;

/// A span of the contract, from its creation to its close; longer only while another open span
/// follows from it.
#[derive(Debug)]
pub(crate) struct OpenSpan {
    pub(crate) kind: Kind,
    pub(crate) created: u64,
    /// The request itself, or the nearest enclosing one.
    pub(crate) request: Option<Arc<Request>>,
    /// The nearest enclosing `stage`, which can't close before this span does.
    pub(crate) stage: Option<Id>,
    /// The nearest enclosing span of the contract is that `stage`.
    pub(crate) is_child_of_stage: bool,
    state: Mutex<SpanState>,
}

#[derive(Debug)]
pub(crate) struct SpanState {
    pub(crate) timing: Timing,
    pub(crate) fields: SpanFields,
    pub(crate) follows: SmallVec<[Followed; 1]>,
    /// It followed more than are kept.
    pub(crate) follows_are_cut: bool,
    /// Sum of the span times of `preprocess` children, in nanoseconds.
    pub(crate) preprocess: Option<u64>,
    /// The requests it belonged to when it closed.
    pub(crate) settled: Option<Owners>,
}

impl SpanState {
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
            Self::Request(request) => Arc::as_ptr(request).addr(),
            Self::Span(span) => Arc::as_ptr(span).addr(),
        }
    }
}

/// What a `follows_from` leads to.
#[derive(Debug, Clone)]
pub(crate) enum Followed {
    Request(Arc<Request>),
    Span(Arc<OpenSpan>),
}

/// The requests that a span belongs to: none, one, or those of a batch.
pub(crate) type Owners = SmallVec<[Arc<Request>; 1]>;

impl OpenSpan {
    pub(crate) fn new(kind: Kind, created: u64, fields: SpanFields, enclosing: Enclosing) -> Self {
        let state = SpanState {
            timing: Timing::default(),
            fields,
            follows: SmallVec::new(),
            follows_are_cut: false,
            preprocess: None,
            settled: None,
        };
        Self {
            kind,
            created,
            request: enclosing.request,
            stage: enclosing.stage,
            is_child_of_stage: enclosing.is_stage,
            state: Mutex::new(state),
        }
    }

    /// Held for a few instructions at a time, never over user code, formatting or I/O.
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
            self.busy += now.saturating_sub(self.busy_since);
        }
    }

    /// The span's times, now that it closes. A span that is still entered is left at this moment.
    pub(crate) fn close(&mut self, created: u64, closed: u64) -> Measured {
        if self.depth > 0 {
            self.depth = 1;
            self.exit(closed);
        }
        let activity = self.first_enter.zip(self.last_exit);
        let span_time = activity.map(|(first, last)| last.saturating_sub(first));
        Measured { created, closed, activity, busy: self.busy.min(span_time.unwrap_or(0)) }
    }
}

/// The times of a span that has closed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    pub(crate) created: u64,
    pub(crate) closed: u64,
    /// First enter and last exit, if it was ever entered.
    pub(crate) activity: Option<(u64, u64)>,
    pub(crate) busy: u64,
}

impl Measured {
    /// First enter, or creation if it was never entered.
    pub(crate) fn start(&self) -> u64 {
        self.activity.map_or(self.created, |(first, _)| first)
    }

    /// Last exit, or close if it was never entered.
    pub(crate) fn end(&self) -> u64 {
        self.activity.map_or(self.closed, |(_, last)| last)
    }

    pub(crate) fn span_time(&self) -> u64 {
        self.end().saturating_sub(self.start())
    }
}

/// The open spans of one layer, by id. An id comes back after its span has closed, so a span
/// leaves the map when it closes, whatever else happens.
#[derive(Debug, Default)]
pub(crate) struct OpenSpans {
    by_id: DashMap<u64, Arc<OpenSpan>, BuildHasherDefault<IdHasher>>,
}

/// A multiplication is hash enough for the registry's ids, which no client chooses.
#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write_u64(&mut self, id: u64) {
        // The map takes its shard from the upper bits and its bucket from the lower ones.
        let product = u128::from(id ^ 0x9e37_79b9_7f4a_7c15) * 0xa076_1d64_78bd_642f;
        self.0 = (product >> 64) as u64 ^ product as u64;
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0 ^ u64::from(*byte));
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl OpenSpans {
    pub(crate) fn insert(&self, id: &Id, span: Arc<OpenSpan>) {
        self.by_id.insert(id.into_u64(), span);
    }

    pub(crate) fn get(&self, id: &Id) -> Option<Arc<OpenSpan>> {
        self.by_id.get(&id.into_u64()).map(|span| Arc::clone(&span))
    }

    pub(crate) fn remove(&self, id: &Id) -> Option<Arc<OpenSpan>> {
        self.by_id.remove(&id.into_u64()).map(|(_, span)| span)
    }

    /// Runs `change` on the span's timing, if the span is one of ours.
    pub(crate) fn time(&self, id: &Id, change: impl FnOnce(&mut Timing)) {
        if let Some(span) = self.by_id.get(&id.into_u64()) {
            change(&mut span.lock().timing);
        }
    }
}

impl Drop for OpenSpans {
    /// Unties spans that follow each other: neither a ring nor a long chain may outlive the layer,
    /// nor be dropped from one end, a stack frame a span.
    fn drop(&mut self) {
        for span in &self.by_id {
            let follows = std::mem::take(&mut span.lock().follows);
            drop(follows);
        }
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
        let measured = timing.close(0, 100);
        assert_eq!((measured.start(), measured.end(), measured.busy), (10, 75, 35));
    }

    #[test]
    fn an_exit_without_an_enter_is_passed_over() {
        let mut timing = Timing::default();
        timing.exit(5);
        timing.enter(10);
        timing.exit(20);
        timing.exit(30);
        let measured = timing.close(0, 100);
        assert_eq!((measured.span_time(), measured.busy), (10, 10));
    }

    #[test]
    fn a_span_that_closes_while_entered_is_left_then() {
        let mut timing = Timing::default();
        timing.enter(10);
        timing.enter(20);
        let measured = timing.close(0, 100);
        assert_eq!((measured.span_time(), measured.busy), (90, 90));
    }

    #[test]
    fn a_span_that_was_never_entered_counts_from_creation_to_close() {
        let measured = Timing::default().close(3, 10);
        assert_eq!((measured.span_time(), measured.busy, measured.activity), (7, 0, None));
    }
}
