//! Rows whose clock is off, moved to where the clock of their request would have put them.

use std::collections::BTreeMap;

use super::{clocks::Clocks, joined_line::RowReader, matching::Received};
use crate::{Line, Millis, RequestLine, Timestamp, TransferRow};

type Edge = (Option<u64>, Option<u64>);

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

    /// Moves a row by this many microseconds, and corrects the flight of its message, which the receiver has
    /// computed from the clocks of both processes. A flight of zero stays: by how much it was negative is not
    /// known.
    pub(super) fn align(&self, row: &mut Line, by: i64) {
        move_by(row, by);
        let Line::Transfer(line) = row else { return };
        let sender = self.0.get(&edge(&line.row)).copied().flatten();
        if let (Some(sender), Some(flight)) = (sender, &mut line.row.in_flight_time_ms)
            && *flight > Millis::ZERO
        {
            let nanos = flight.as_nanos().saturating_add_signed((by - sender).saturating_mul(1_000));
            *flight = Millis::from_nanos(nanos);
        }
    }
}

fn edge(row: &TransferRow) -> Edge {
    (row.from_stage, row.to_stage)
}

/// Moves a row by this many microseconds.
pub(super) fn move_by(row: &mut Line, micros: i64) {
    let timestamp = match row {
        Line::Stage(line) => &mut line.timestamp,
        Line::Transfer(line) => &mut line.timestamp,
        Line::Request(_) | Line::Summary(_) | Line::Open(_) => return,
    };
    *timestamp = Timestamp::from_unix_micros(timestamp.unix_micros().saturating_add_signed(micros));
}
