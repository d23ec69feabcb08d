//! Requests whose line lacks rows of workers.

use crate::{
    RequestLine, TransferRow,
    model::id::{OrderedId, ordered},
};

/// The stage to which the request was sent, but of which it has neither a row nor the receiving half of the
/// transfer. Either the stage never began, or its process left the rows out: a process that samples by the
/// hash of the id does not know that another one keeps the request for being slow.
pub(super) fn stage_without_row(line: &RequestLine) -> Option<OrderedId> {
    without_row(line, |edge| edge.tx_time_ms.is_some() && edge.rx_decode_time_ms.is_none())
}

/// The stage that received the request, but of which it has no row. The stage never began, is still open, or
/// its process died; or it writes no rows at all.
pub(super) fn received_without_row(line: &RequestLine) -> Option<OrderedId> {
    without_row(line, |edge| edge.rx_decode_time_ms.is_some())
}

fn without_row(line: &RequestLine, is_meant: impl Fn(&TransferRow) -> bool) -> Option<OrderedId> {
    let edges = line.transfer_table.iter().filter(|edge| is_meant(edge));
    let has_row = |stage: &OrderedId| line.stage_table.iter().any(|row| row.order() == *stage);
    edges.map(|edge| ordered(edge.to_stage)).find(|stage| !has_row(stage))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Millis, StageRow, TransferRow};

    #[test]
    fn a_row_is_missing_if_a_transfer_was_sent_and_nothing_came_of_it() {
        let edge = |to, is_received: bool| TransferRow {
            from_stage: Some(0),
            to_stage: Some(to),
            tx_time_ms: Some(Millis::ZERO),
            rx_decode_time_ms: is_received.then_some(Millis::ZERO),
            ..TransferRow::default()
        };
        let line = |transfer_table: Vec<TransferRow>| {
            let stage_table = [0, 1].map(|id| StageRow { stage_id: Some(id), ..StageRow::default() }).into();
            RequestLine { stage_table, transfer_table, ..RequestLine::default() }
        };
        let of = |edges| stage_without_row(&line(edges));
        assert_eq!(of(vec![edge(1, false), edge(2, true)]), None);
        assert_eq!(of(vec![edge(1, true), edge(2, false)]), Some(ordered(Some(2))));
        let received = TransferRow { tx_time_ms: None, ..edge(2, false) };
        assert_eq!(of(vec![received]), None);
        let of = |edges| received_without_row(&line(edges));
        assert_eq!(of(vec![edge(1, true), edge(2, false)]), None);
        assert_eq!(of(vec![edge(1, true), edge(2, true)]), Some(ordered(Some(2))));
    }
}
