//! Rows whose clock is off, moved to where the clock of their request would have put them.

use std::collections::BTreeMap;

use super::{clocks::Clocks, joined_line::RowReader, matching::Received};
use crate::{
    FieldValue, Line, Millis, RequestLine, Timestamp, TransferRow,
    model::{
        early_arrival,
        warnings::{WARNING_LIMIT, Warnings},
    },
};

/// The field of a request that says by how many milliseconds it was moved.
const CLOCK_MOVED_MS: &str = "clock_moved_ms";

pub(super) type Edge = (Option<u64>, Option<u64>);

/// The offsets of the processes that sent the messages of each edge of a request; `None` if they differ.
#[derive(Default)]
pub(super) struct Senders(BTreeMap<Edge, Option<i64>>);

impl Senders {
    /// Of a request of this run and its rows. `None` if a row can't be read.
    pub(super) fn of(
        request: &RequestLine,
        run: u64,
        rows: &[Received<'_>],
        reader: &mut RowReader,
        clocks: &Clocks,
    ) -> Option<Self> {
        let mut senders = Self::default();
        if clocks.is_empty() {
            return Some(senders);
        }
        request.transfer_table.iter().for_each(|row| senders.add(row, 0));
        for row in rows {
            if let Line::Transfer(line) = reader.read(row.line)? {
                senders.add(&line.row, row.offset(clocks, run));
            }
        }
        Some(senders)
    }

    fn add(&mut self, row: &TransferRow, offset: i64) {
        if row.tx_time_ms.is_some() {
            let of_edge = self.0.entry(edge(row)).or_insert(Some(offset));
            *of_edge = of_edge.filter(|known| *known == offset);
        }
    }

    /// Moves a row by this many microseconds, and corrects the flight of its message.
    pub(super) fn align(&self, row: &mut Line, by: i64) {
        move_by(row, by);
        if let Line::Transfer(line) = row {
            self.correct_flight(&mut line.row, &mut line.warnings, by);
        }
    }

    /// Corrects the flights of the messages that the request's own process has received.
    pub(super) fn correct(&self, request: &mut RequestLine) {
        for row in &mut request.transfer_table {
            self.correct_flight(row, &mut request.warnings, 0);
        }
    }

    /// Corrects the flight of messages, which the receiver has computed from the clocks of both processes.
    /// The receiver was moved by this many microseconds.
    fn correct_flight(&self, row: &mut TransferRow, warnings: &mut Vec<String>, by: i64) {
        let edge = edge(row);
        let Some(sender) = self.0.get(&edge).copied().flatten() else { return };
        // Each span of the row has received a message, since a row with a sender has the sender's offset.
        let longer = (by - sender).saturating_mul(1_000).saturating_mul(row.events.cast_signed());
        let Some(seen) = seen_flight(row, warnings).filter(|_| longer != 0) else { return };
        let corrected = seen.saturating_add(longer);
        let others = warnings.len();
        warnings.retain(|text| early_arrival::nanos(text, edge).is_none());
        if corrected < 0 && warnings.len() < others {
            warnings.push(early_arrival::warning(edge, corrected.unsigned_abs()));
        }
        row.in_flight_time_ms = Some(Millis::from_nanos(corrected.max(0).unsigned_abs()));
        row.total_time_ms = row.total(&mut Warnings::default());
    }
}

pub(super) fn edge(row: &TransferRow) -> Edge {
    (row.from_stage, row.to_stage)
}

/// How long the messages of a row were in flight by the clocks of both processes, in nanoseconds. Warnings
/// say by how much a flight that counts as 0 was negative. `None` if that is not known.
pub(super) fn seen_flight(row: &TransferRow, warnings: &[String]) -> Option<i64> {
    let flight = row.in_flight_time_ms?.as_nanos().cast_signed();
    let may_lack_some = row.events > 1 && warnings.len() >= WARNING_LIMIT;
    let early = warnings.iter().filter_map(|text| early_arrival::nanos(text, edge(row)));
    let early = early.reduce(u64::saturating_add);
    let is_known = !may_lack_some && (flight > 0 || early.is_some());
    is_known.then(|| flight.saturating_sub_unsigned(early.unwrap_or_default()))
}

/// Moves a row by this many microseconds.
pub(super) fn move_by(row: &mut Line, micros: i64) {
    let timestamp = match row {
        Line::Stage(line) => &mut line.timestamp,
        Line::Transfer(line) => &mut line.timestamp,
        Line::Request(_) | Line::Summary(_) | Line::Open(_) => return,
    };
    *timestamp = moved(*timestamp, micros);
}

/// Moves a request by this many microseconds, to the clock of other requests. Its rows follow, since their
/// moments count from its creation.
pub(super) fn move_request(request: &mut RequestLine, micros: i64) {
    if micros != 0 {
        request.timestamp = moved(request.timestamp, micros);
        let millis = || FieldValue::Float(micros as f64 / 1e3);
        request.fields.entry(CLOCK_MOVED_MS.into()).or_insert_with(millis);
    }
}

fn moved(timestamp: Timestamp, micros: i64) -> Timestamp {
    Timestamp::from_unix_micros(timestamp.unix_micros().saturating_add_signed(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The flight of the front's row of a message that a worker sent, whose clock is ahead by this many
    /// milliseconds and is moved; and the warnings. The row has this many spans.
    fn corrected(flight: u64, early: &[u64], events: u64, ahead: i64) -> (u64, Vec<Option<u64>>) {
        let row = TransferRow {
            from_stage: Some(3),
            to_stage: Some(0),
            rx_decode_time_ms: Some(Millis::from_nanos(1_000_000)),
            in_flight_time_ms: Some(Millis::from_nanos(flight * 1_000_000)),
            total_time_ms: Millis::from_nanos((flight + 1) * 1_000_000),
            events,
            ..TransferRow::default()
        };
        let edge = edge(&row);
        let warning = |early: &u64| early_arrival::warning(edge, early * 1_000_000);
        let mut request = RequestLine {
            warnings: early.iter().map(warning).collect(),
            transfer_table: vec![row],
            ..RequestLine::default()
        };
        Senders([(edge, Some(-ahead * 1_000))].into()).correct(&mut request);
        let row = &request.transfer_table[0];
        let flight = row.in_flight_time_ms.unwrap().as_nanos();
        assert_eq!(row.total_time_ms.as_nanos(), flight + 1_000_000);
        let early = request.warnings.iter().map(|text| early_arrival::nanos(text, edge));
        (flight / 1_000_000, early.map(|early| early.map(|nanos| nanos / 1_000_000)).collect())
    }

    #[test]
    fn the_flight_of_a_message_to_the_front_is_corrected_by_the_clock_of_its_sender() {
        assert_eq!(corrected(150, &[], 1, -140), (10, vec![]));
        assert_eq!(corrected(150, &[], 1, -151), (0, vec![]));
        assert_eq!(corrected(450, &[], 3, -140), (30, vec![]));
        assert_eq!(corrected(150, &[], 1, 0), (150, vec![]));
    }

    #[test]
    fn a_flight_that_was_negative_is_corrected_with_its_warning() {
        assert_eq!(corrected(0, &[190], 1, 200), (10, vec![]));
        assert_eq!(corrected(0, &[190], 1, 180), (0, vec![Some(10)]));
        assert_eq!(corrected(5, &[190, 185], 3, 200), (230, vec![]));
        assert_eq!(corrected(0, &[190; 16], 1, 1), (0, vec![Some(3_039)]));
        assert_eq!(corrected(0, &[190; 16], 17, 200), (0, vec![Some(190); 16]));
    }
}
