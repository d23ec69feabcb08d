//! The waiting times of a request with rows of several processes.

use crate::{
    Millis, RequestLine, StageRow,
    fold::{
        intervals::Intervals,
        waits::{Wait, Waits},
    },
};

/// The times at which the stages of a request waited, in nanoseconds since its creation.
#[derive(Debug, Default)]
pub(super) struct JoinedWaits(Waits);

impl JoinedWaits {
    /// The waits of the request's own rows. When a row of several spans waited is not known: it keeps its
    /// waiting time.
    pub(super) fn of(request: &mut RequestLine) -> Self {
        let mut waits = Self::default();
        for row in &mut request.stage_table {
            if let (Some(_), 1, Some(start)) = (row.waiting_time_ms, row.events, row.start_ms) {
                row.waiting_time_ms = None;
                waits.add(row, start);
            }
        }
        waits
    }

    /// Adds the wait of a row of one span, which ended at `start`.
    pub(super) fn add(&mut self, row: &StageRow, start: Millis) {
        if let Some(queue_time) = row.queue_time_ms {
            let (start, stage_id) = (start.as_nanos(), row.stage_id);
            self.0.add(Wait { start, created: start.saturating_sub(queue_time.as_nanos()), stage_id });
        }
    }

    /// Divides the time for which the request only waited among its stages, as the layer does.
    pub(super) fn divide(self, request: &mut RequestLine, mut active: Intervals) {
        let rows = &mut request.stage_table;
        let end = request.e2e_table.e2e_total_ms.as_nanos();
        self.0.divide(&mut active, 0, end, |stage_id, idle| {
            if let Some(row) = rows.iter_mut().find(|row| row.stage_id == stage_id) {
                let waited = row.waiting_time_ms.unwrap_or_default();
                row.waiting_time_ms = waited.checked_add(Millis::from_nanos(idle));
            }
        });
        // Since the place of some rows is an estimate, the waits may add up to more than is unattributed.
        let mut left = request.e2e_table.unattributed_time_ms;
        let mut total = None;
        for waited in request.stage_table.iter_mut().filter_map(|row| row.waiting_time_ms.as_mut()) {
            *waited = left.min(*waited);
            left = left.saturating_sub(*waited);
            total = total.unwrap_or(Millis::ZERO).checked_add(*waited);
        }
        request.e2e_table.waiting_time_ms = total;
    }
}
