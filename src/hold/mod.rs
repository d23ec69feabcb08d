//! What is open, and for how long: spans, requests, the run; and the clock that times them.

pub(crate) mod answered;
pub(crate) mod brief_lock;
pub(crate) mod clock;
pub(crate) mod early_context;
pub(crate) mod near_misses;
pub(crate) mod open_requests;
pub(crate) mod open_spans;
pub(crate) mod periods;
pub(crate) mod request;
pub(crate) mod run;
pub(crate) mod slot;
pub(crate) mod span;
pub(crate) mod spares;
pub(crate) mod stripes;
pub(crate) mod sync;
pub(crate) mod timing;
pub(crate) mod tsc;
