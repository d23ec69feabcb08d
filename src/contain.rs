//! A user's code, run from within a callback: a panic stays inside.

use std::{
    any::Any,
    cell::Cell,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// How deep formatting may lead to formatting, before a value is refused.
const DEPTH_LIMIT: u32 = 4;

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Runs a user's code. `None` if it panicked.
///
/// Nothing of ours is locked meanwhile, so the code may log, and make and close spans.
pub(crate) fn contain<T>(run: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(run)).map_err(discard).ok()
}

/// Runs a user's `Debug` or `Display`. `None` if it panicked, or if it makes a span that formats it
/// again, without end.
pub(crate) fn contain_formatting<T>(run: impl FnOnce() -> T) -> Option<T> {
    let depth = DEPTH.try_with(|depth| depth.replace(depth.get() + 1)).unwrap_or(0);
    let outcome = if depth < DEPTH_LIMIT { contain(run) } else { None };
    let _ = DEPTH.try_with(|kept| kept.set(depth));
    outcome
}

/// Drops the payload of a panic, which may panic itself.
fn discard(payload: Box<dyn Any + Send>) {
    if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        mem::forget(another);
    }
}
