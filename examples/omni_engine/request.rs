//! The `request` span, as all threads of the service share it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc::Sender};

use tracing::{Span, field::Empty, info_span};

use crate::timers::{Moment, RequestTimes, Visit};

/// A request that is being served. The span closes when the last clone is gone.
///
/// The stages run on threads of their own, so they can't find the request as the current span. Each message
/// between threads has a clone of this, and every `stage` and `transfer` span is created with
/// `parent: request.span()`.
#[derive(Debug, Clone)]
pub(crate) struct Request(Arc<Open>);

#[derive(Debug)]
struct Open {
    span: Span,
    times: Mutex<RequestTimes>,
    /// Where the account of the request goes, if anyone compares it with the line.
    ledger: Option<Sender<RequestTimes>>,
}

impl Request {
    /// Without an id, the line has one that the layer generates.
    pub(crate) fn begin(id: Option<&str>, ledger: Option<Sender<RequestTimes>>) -> Self {
        // `tracing` ignores a value for a field that the span does not declare, so what is recorded later is
        // declared here as `Empty`.
        let (span, created) =
            Moment::of(|| info_span!("request", request_id = id, finish_reason = Empty, refused = Empty));
        Self(Arc::new(Open { span, times: Mutex::new(RequestTimes::new(id, created)), ledger }))
    }

    pub(crate) fn span(&self) -> &Span {
        &self.0.span
    }

    /// Works on the request itself, outside of its stages. The end of the last such work is the end of the
    /// request, if no stage ends later.
    pub(crate) fn in_scope<T>(&self, work: impl FnOnce() -> T) -> T {
        let (result, visit) = Visit::to(&self.0.span, work);
        self.times().last_exit = Some(visit.exit);
        result
    }

    pub(crate) fn finish(&self, reason: &'static str) {
        self.0.span.record("finish_reason", reason);
    }

    pub(crate) fn refuse(&self, why: &str) {
        self.0.span.record("finish_reason", "error").record("refused", why);
    }

    pub(crate) fn times(&self) -> MutexGuard<'_, RequestTimes> {
        self.0.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(ledger) = &self.ledger {
            let times = self.times.get_mut().unwrap_or_else(PoisonError::into_inner).take();
            // Nobody need be left who reads it.
            let _ = ledger.send(times);
        }
    }
}
