//! The time, and how often the view and the log are looked at.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How often the view is drawn, and the file is read on.
pub(super) const TICK: Duration = Duration::from_millis(200);

/// Microseconds since the Unix epoch.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_micros().try_into().unwrap_or(u64::MAX)
}
