//! The work of stages in a line: a row of a stage, and the messages to it.

use crate::{
    Line, TransferRow,
    model::id::{OrderedId, ordered},
};

/// The ends of a transfer.
pub(super) type Edge = (OrderedId, OrderedId);

#[derive(Debug, Default)]
pub(super) struct Work {
    /// The stage of a detached row.
    pub(super) row: Option<OrderedId>,
    pub(super) messages: Vec<Messages>,
    pub(super) is_sampled: bool,
}

/// The messages of an edge in a line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Messages {
    pub(super) edge: Edge,
    /// At most so many were sent, and at least so many received: a row does not say how many of its spans
    /// are of each half.
    pub(super) sent: u32,
    pub(super) received: u32,
}

impl Work {
    pub(super) fn of(line: &Line) -> Self {
        match line {
            Line::Request(line) => Self {
                row: None,
                messages: line.transfer_table.iter().map(Messages::of).collect(),
                is_sampled: line.sample_rate.is_some(),
            },
            Line::Stage(line) => Self {
                row: Some(line.row.order()),
                is_sampled: line.sample_rate.is_some(),
                ..Self::default()
            },
            Line::Transfer(line) => Self { messages: vec![Messages::of(&line.row)], ..Self::default() },
            Line::Summary(_) | Line::Open(_) => Self::default(),
        }
    }
}

impl Messages {
    fn of(row: &TransferRow) -> Self {
        let events = u32::try_from(row.events).unwrap_or(u32::MAX);
        let (sent, received) = match (row.tx_time_ms, row.rx_decode_time_ms) {
            (Some(_), Some(_)) => (events.saturating_sub(1).max(1), 1),
            (None, Some(_)) => (0, events),
            (_, None) => (events, 0),
        };
        Self { edge: (ordered(row.from_stage), ordered(row.to_stage)), sent, received }
    }
}
