//! A user's code, run from within a callback: whatever it does stays inside.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tracing::{Dispatch, dispatcher, subscriber::NoSubscriber};

/// Runs a user's `Debug` or `Display`. `None` if it panicked.
///
/// A new span or event from in here would begin a filter pass inside of the one that `tracing` is in
/// the middle of, and make the layers after this one misread which filter said what. Under a scoped
/// default `tracing` has a guard against that; under a global one it has none, so for the time of
/// `run` there is no subscriber.
pub(crate) fn contain<T>(run: impl FnOnce() -> T) -> Option<T> {
    let run = AssertUnwindSafe(run);
    let is_guarded = dispatcher::get_default(|dispatch| dispatch.is::<NoSubscriber>());
    if is_guarded {
        catch_unwind(run).ok()
    } else {
        dispatcher::with_default(&Dispatch::none(), || catch_unwind(run).ok())
    }
}
