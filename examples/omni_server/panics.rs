//! A panic as an error of the request that it happens in.

use std::panic;

/// Logs each panic as an `ERROR` event, before whatever was done about panics until now. The event is made on
/// the thread that panics, and so inside the span of the request that the thread works for.
///
/// A request whose own future panics has the reason `error` without this. But when one of its tasks panics,
/// the request's span closes later and elsewhere, and the reason would be `abort`.
pub(crate) fn log() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        tracing::error!("{panic}");
        before(panic);
    }));
}
