//! A user's code, run from within a callback: a panic stays inside.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs a user's `Debug`, `Display` or writer. `None` if it panicked.
///
/// Nothing of ours is locked meanwhile, so the code may log, and make and close spans.
pub(crate) fn contain<T>(run: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(run)).ok()
}
