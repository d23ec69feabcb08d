//! The time, and the interval of the view.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long it takes until the view is drawn again, and the log is read on.
pub(super) const TICK: Duration = Duration::from_millis(200);

/// Microseconds since the Unix epoch.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_micros().try_into().unwrap_or(u64::MAX)
}
