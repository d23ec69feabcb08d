//! Answered requests: their span has closed, but open spans still hold their line.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use crate::hold::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

/// The order in which requests were created; the address tells those of one moment apart.
pub(crate) type Age = (u64, usize);

/// The answered requests of one layer whose lines are not written yet.
#[derive(Debug, Default)]
pub(crate) struct AnsweredRequests<Request> {
    state: Mutex<State<Request>>,
    /// Whether a line is due. It is read whenever a span closes, and written rarely.
    has_due: AtomicBool,
}

#[derive(Debug, Default)]
struct State<Request> {
    held: BTreeMap<Age, Arc<Request>>,
    /// The requests whose last hold was dropped, in that order.
    due: VecDeque<Arc<Request>>,
}

impl<Request> AnsweredRequests<Request> {
    pub(crate) fn insert(&self, age: Age, request: &Arc<Request>) {
        self.lock().held.insert(age, Arc::clone(request));
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

    pub(crate) fn all(&self) -> Vec<Arc<Request>> {
        self.lock().held.values().cloned().collect()
    }

    pub(crate) fn remove(&self, age: Age) {
        self.lock().held.remove(&age);
    }

    fn lock(&self) -> MutexGuard<'_, State<Request>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
