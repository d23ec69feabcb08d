//! A panic as an error of the request that it happens in.

use std::panic;

/// Lets panics be logged as `ERROR` events, on top of what is done about them now. The event is made where the
/// panic is, so within the span of the request that the thread or task is working for.
///
/// A request whose own future panics has the reason `error` without this. But if it is one of its tasks, the
/// request's span closes later and elsewhere, and does not know why.
pub(crate) fn log() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        tracing::error!("{panic}");
        before(panic);
    }));
}
