//! Answered requests: their span has closed, but open spans still hold their line.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use crate::{
    fields::SpanFields,
    request::{Age, Request},
    span::Measured,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    tables::TraceIds,
};

/// The data of the closed `request` span that its line will need.
#[derive(Debug)]
pub(crate) struct Answered {
    /// When the span closed.
    pub(crate) moment: u64,
    pub(crate) measured: Measured,
    pub(crate) fields: SpanFields,
    pub(crate) request_id: Arc<str>,
    pub(crate) trace: TraceIds,
    /// The list in which the request is until its line is written.
    pub(crate) among: Arc<AnsweredRequests>,
}

/// The answered requests of one layer whose lines are not written yet.
#[derive(Debug, Default)]
pub(crate) struct AnsweredRequests {
    state: Mutex<State>,
    /// Whether a line is due. It is read whenever a span closes, and written rarely.
    has_due: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    held: BTreeMap<Age, Arc<Request>>,
    /// The requests whose last hold was dropped, in that order.
    due: VecDeque<Arc<Request>>,
}

impl AnsweredRequests {
    pub(crate) fn insert(&self, request: &Arc<Request>) {
        self.lock().held.insert(request.age(), Arc::clone(request));
    }

    /// Notes that nothing holds the request any more. Its line is not written here, because a span may be
    /// locked. The callback that dropped the last hold writes it before it returns.
    pub(crate) fn is_due(&self, request: &Arc<Request>) {
        self.lock().due.push_back(Arc::clone(request));
        self.has_due.store(true, Ordering::Release);
    }

    #[inline(always)]
    pub(crate) fn has_due(&self) -> bool {
        self.has_due.load(Ordering::Acquire)
    }

    /// The next request whose line is due.
    pub(crate) fn next_due(&self) -> Option<Arc<Request>> {
        let mut state = self.lock();
        let request = state.due.pop_front();
        self.has_due.store(!state.due.is_empty(), Ordering::Release);
        request
    }

    /// The oldest answered request. It may be closed by another thread meanwhile.
    pub(crate) fn oldest(&self) -> Option<Arc<Request>> {
        self.lock().held.first_key_value().map(|(_, request)| Arc::clone(request))
    }

    pub(crate) fn remove(&self, request: &Request) {
        self.lock().held.remove(&request.age());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
