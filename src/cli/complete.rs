//! Adds the rows of workers to their request.

use std::mem;

use super::{
    aligned::Senders, joined_outputs::JoinedOutputs, joined_waits::JoinedWaits, origins, own_end,
    timeline::Timeline,
};
use crate::{
    Line, Millis, RequestLine, StageRow, Timestamp, TransferRow,
    fold::intervals::Intervals,
    model::{
        numbers::{Table, factor_of_request, total_tokens, total_transfers},
        warnings::{WARNING_LIMIT, Warnings},
    },
};

/// When a request was created and ended, in nanoseconds since the Unix epoch.
pub(super) fn times(request: &RequestLine) -> (u64, u64) {
    let end = request.timestamp.unix_micros().saturating_mul(1_000);
    (end.saturating_sub(request.e2e_table.e2e_total_ms.as_nanos()), end)
}

/// When a detached row began and ended.
pub(super) fn extent(line: &Line) -> Option<(u64, u64)> {
    let (timestamp, wall) = match line {
        Line::Stage(line) => (line.timestamp, line.row.wall_time_ms),
        Line::Transfer(line) => (line.timestamp, line.row.wall_time_ms),
        Line::Request(_) | Line::Summary(_) | Line::Open(_) => return None,
    };
    let end = timestamp.unix_micros().saturating_mul(1_000);
    Some((end.saturating_sub(wall.unwrap_or_default().as_nanos()), end))
}

/// How long a detached row waited before it began, in nanoseconds: a stage in its queue, a transfer for its
/// message.
pub(super) fn time_before(line: &Line) -> u64 {
    match line {
        Line::Stage(line) => line.row.queue_time_ms.unwrap_or_default().as_nanos(),
        _ => flight(line),
    }
}

/// How long the message of a detached transfer was in flight before the row began, in nanoseconds.
fn flight(line: &Line) -> u64 {
    match line {
        Line::Transfer(line) => line.row.in_flight_time_ms.unwrap_or_default().as_nanos(),
        Line::Stage(_) | Line::Request(_) | Line::Summary(_) | Line::Open(_) => 0,
    }
}

/// A request to which rows are being added.
pub(super) struct Completion<'a> {
    request: &'a mut RequestLine,
    created: u64,
    /// The last end of the request and of the rows so far.
    end: u64,
    known: Stretches,
    /// How long the request's own rows were together, before their flights were corrected.
    length_before: u64,
    waits: JoinedWaits,
    outputs: JoinedOutputs,
}

impl<'a> Completion<'a> {
    /// Without rows of workers yet. The flights of its own rows are corrected by the clocks of the senders.
    pub(super) fn of(request: &'a mut RequestLine, senders: &Senders) -> Self {
        let (created, end) = times(request);
        let length_before = Stretches::of(request).length();
        senders.correct(request);
        let known = Stretches::of(request);
        let waits = JoinedWaits::of(request);
        let mut outputs = JoinedOutputs::default();
        request.stage_table.iter().for_each(|row| outputs.add_own(row));
        Self { request, created, end, known, length_before, waits, outputs }
    }

    /// Takes a row, from this log, and adds it to those of the request.
    pub(super) fn add(&mut self, line: &mut Line, log: Option<&str>) {
        let Some((start, ended)) = extent(line) else { return };
        let Self { request, created, end, known, waits, outputs, .. } = self;
        let created = *created;
        *end = (*end).max(ended);
        // The flight of a message before its row is time that the row accounts for.
        let covered_from = start.saturating_sub(flight(line)).max(created);
        known.add(covered_from - created, ended.saturating_sub(created));
        let start = Millis::from_nanos(start.saturating_sub(created));
        match line {
            Line::Stage(line) => {
                let mut added = placed(mem::take(&mut line.row), start);
                origins::name(&mut added.fields, log);
                outputs.add(&added);
                // A span that was never entered has not waited for that, and has not started.
                if added.was_entered() {
                    waits.add(&added, start);
                    let queue = &mut request.e2e_table.queue_time_ms;
                    *queue = Some(queue.map_or(start, |queue| queue.min(start)));
                }
                add_stage(&mut request.stage_table, added, origins::named(&request.fields));
                request.warnings.extend(line.warnings.iter().cloned());
            }
            Line::Transfer(line) => {
                add_transfer(&mut request.transfer_table, &line.row, start);
                request.warnings.extend(line.warnings.iter().cloned());
            }
            Line::Request(_) | Line::Summary(_) | Line::Open(_) => {}
        }
    }

    /// Computes the request's totals anew.
    pub(super) fn finish(self) {
        let Self { request, created, end, mut known, length_before, waits, mut outputs } = self;
        request.warnings.truncate(WARNING_LIMIT);
        request.stage_table.iter_mut().for_each(|row| outputs.complete(row));
        let old_e2e = request.e2e_table.e2e_total_ms;
        let e2e_total = Millis::from_nanos(end.saturating_sub(created)).max(old_e2e);
        let grown = e2e_total.saturating_sub(old_e2e);
        let unread = &mut Warnings::default();
        let tokens = total_tokens(request.stage_table.iter(), unread);
        let (bytes, transfer_time) = total_transfers(request.transfer_table.iter(), unread);
        if grown > Millis::ZERO {
            request.timestamp = Timestamp::from_unix_micros(end / 1_000);
            own_end::keep(request, old_e2e);
        }
        let e2e = &mut request.e2e_table;
        e2e.e2e_total_ms = e2e_total;
        e2e.e2e_total_tokens = tokens;
        e2e.transfers_total_bytes = bytes;
        e2e.transfers_total_time_ms = transfer_time;
        // Less the time that the rows cover and did not cover before. Of the request's own rows only the
        // start and the sum of the times are known, so for rows of several spans this is an estimate.
        let [before, covered] = [length_before, known.length()].map(Millis::from_nanos);
        let unattributed = e2e.unattributed_time_ms.saturating_add(grown).saturating_add(before);
        e2e.unattributed_time_ms = unattributed.saturating_sub(covered).min(e2e_total);
        e2e.real_time_factor = factor_of_request(e2e_total, request.stage_table.iter());
        waits.divide(request, known.intervals());
    }
}

/// Stretches of a request's time, in nanoseconds since its creation, that rows account for.
struct Stretches(Vec<(u64, u64)>);

impl Stretches {
    fn of(request: &RequestLine) -> Self {
        Self(Timeline::of(request).rows.iter().map(|row| (row.from, row.to)).collect())
    }

    fn add(&mut self, start: u64, end: u64) {
        self.0.push((start, end));
    }

    fn intervals(&self) -> Intervals {
        let mut intervals = Intervals::default();
        self.0.iter().for_each(|(start, end)| intervals.add(*start, *end));
        intervals
    }

    /// The length of their union.
    fn length(&mut self) -> u64 {
        self.0.sort_unstable();
        let (mut length, mut until) = (0, 0);
        for &(start, end) in &self.0 {
            length += end.saturating_sub(start.max(until));
            until = until.max(end);
        }
        length
    }
}

/// A detached row that begins at `start`, with moments that count from the request's creation.
fn placed(row: StageRow, start: Millis) -> StageRow {
    let moment = |after: Option<Millis>| after.map(|after| start.saturating_add(after));
    StageRow {
        start_ms: row.was_entered().then_some(start),
        first_output_ms: moment(row.first_output_after_ms),
        last_output_ms: moment(row.last_output_after_ms),
        ..row
    }
}

/// Adds a row of a worker to those of a request, whose own rows come from `log`.
fn add_stage(rows: &mut Vec<StageRow>, mut added: StageRow, log: Option<&str>) {
    let mut is_new = false;
    let at = rows.binary_search_by_key(&added.order(), StageRow::order).unwrap_or_else(|at| {
        is_new = true;
        rows.insert(at, StageRow { stage_id: added.stage_id, ..StageRow::default() });
        at
    });
    let Some(row) = rows.get_mut(at) else { return };
    if !is_new {
        origins::name_too(&mut added.fields, origins::named(&row.fields).or(log));
    }
    // A row without a share has the whole of its time for itself.
    if row.share_time_ms.is_some() || added.share_time_ms.is_some() {
        row.share_time_ms = row.share();
        added.share_time_ms = added.share();
    }
    // The last value of a field stands. Whether it was a `sum.NAME` can't be seen, since it stands under
    // NAME.
    row.fields.append(&mut added.fields);
    row.merge(added, &mut Warnings::default());
}

fn add_transfer(rows: &mut Vec<TransferRow>, added: &TransferRow, start: Millis) {
    let at = rows.binary_search_by_key(&added.order(), TransferRow::order).unwrap_or_else(|at| {
        let (from_stage, to_stage) = (added.from_stage, added.to_stage);
        rows.insert(at, TransferRow { from_stage, to_stage, ..TransferRow::default() });
        at
    });
    let Some(row) = rows.get_mut(at) else { return };
    let unread = &mut Warnings::default();
    row.fields.extend(added.fields.clone());
    row.merge(TransferRow { start_ms: Some(start), ..added.clone() }, unread);
    row.total_time_ms = row.total(unread);
}
