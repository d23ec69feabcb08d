//! Calls of user code from within a callback: a panic is caught.

use std::{
    any::Any,
    cell::Cell,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// The depth of nested formatting from which on a value is refused.
const DEPTH_LIMIT: u32 = 4;

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Runs user code. Returns `None` if it panicked.
///
/// The caller holds no lock of this crate, so the code may log, and create and close spans.
pub(crate) fn contain<T>(run: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(run)).map_err(discard).ok()
}

/// Runs a user's `Debug` or `Display`. Returns `None` if it panicked, or if it recurses without end: it
/// creates a span that formats the value again.
pub(crate) fn contain_formatting<T>(run: impl FnOnce() -> T) -> Option<T> {
    let depth = DEPTH.try_with(|depth| depth.replace(depth.get() + 1)).unwrap_or(0);
    let outcome = if depth < DEPTH_LIMIT { contain(run) } else { None };
    let _ = DEPTH.try_with(|kept| kept.set(depth));
    outcome
}

/// Drops the payload of a panic. The drop may panic itself.
fn discard(payload: Box<dyn Any + Send>) {
    if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        mem::forget(another);
    }
}
