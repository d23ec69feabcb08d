//! How well the time of a worker's row fits to that of a request.

use std::cmp::Reverse;

use super::complete::{extent, time_before};
use crate::Line;

/// When a row began, by the clock of its process alone, and ended: a stage begins with its queue.
pub(super) fn with_queue(row: &Line) -> (u64, u64) {
    let (start, end) = extent(row).unwrap_or_default();
    let queue = if matches!(row, Line::Stage(_)) { time_before(row) } else { 0 };
    (start.saturating_sub(queue), end)
}

/// When a row began and ended. A row that waited in a queue, or for its message, begins with that.
pub(super) fn with_flight(row: &Line) -> (u64, u64) {
    let (start, end) = extent(row).unwrap_or_default();
    (start.saturating_sub(time_before(row)), end)
}

/// How well a row that began and ended at these times fits to a request that was created and ended at those,
/// in nanoseconds: how far it lies outside, how much of it lies inside, and how far its ends are from the
/// request's. The least fits best.
pub(super) fn fit((start, end): (u64, u64), (created, ended): (u64, u64)) -> (u64, Reverse<u64>, u64) {
    let gap = start.saturating_sub(ended).max(created.saturating_sub(end));
    let overlap = ended.min(end).saturating_sub(created.max(start));
    (gap, Reverse(overlap), created.abs_diff(start).saturating_add(ended.abs_diff(end)))
}
