//! Numbers that are computed from others.

use crate::{
    Millis, StageRow, TransferRow,
    model::{
        id::{OrderedId, ordered},
        kind::Kind,
        sums,
        warnings::Warnings,
    },
};

impl StageRow {
    /// What the table is sorted by.
    pub(crate) fn order(&self) -> OrderedId {
        ordered(self.stage_id)
    }

    /// Whether a span of a detached row was entered: a span waits until its first enter.
    #[cfg(feature = "cli")]
    pub(crate) fn was_entered(&self) -> bool {
        self.queue_time_ms.is_some()
    }

    /// When the row began and ended, in nanoseconds since the request's creation, if its spans followed each
    /// other without a pause.
    #[cfg(feature = "cli")]
    pub(crate) fn extent(&self) -> Option<(u64, u64)> {
        let start = self.start_ms?.as_nanos();
        Some((start, start.saturating_add(self.stage_gen_time_ms?.as_nanos())))
    }

    /// `share_time_ms`, also where it is left out since it equals `stage_gen_time_ms`.
    #[cfg(feature = "cli")]
    pub(crate) fn share(&self) -> Option<Millis> {
        self.share_time_ms.or(self.stage_gen_time_ms)
    }

    /// Computes `time_per_output_token_ms` of a row with outputs, from its parts.
    #[cfg(feature = "cli")]
    pub(crate) fn divide_output_time(&mut self) {
        let steps = self.num_tokens_out.unwrap_or(0).saturating_sub(1);
        let extent = self.last_output_ms.zip(self.first_output_ms);
        let nanos = extent.and_then(|(last, first)| last.saturating_sub(first).as_nanos().checked_div(steps));
        self.time_per_output_token_ms = nanos.map(Millis::from_nanos);
    }

    /// `real_time_factor`, from its parts.
    pub(crate) fn factor(&self) -> Option<f64> {
        self.media_ms.and_then(|media| self.stage_gen_time_ms?.ratio(media))
    }
}

impl TransferRow {
    /// What the table is sorted by.
    pub(crate) fn order(&self) -> (OrderedId, OrderedId) {
        (ordered(self.from_stage), ordered(self.to_stage))
    }

    /// `total_time_ms`, from its parts.
    pub(crate) fn total(&self, warnings: &mut Warnings) -> Millis {
        let mut total = Millis::ZERO;
        for time in [self.tx_time_ms, self.rx_decode_time_ms, self.in_flight_time_ms] {
            sums::add(&mut total, time, Kind::Transfer, "total_time_ms", warnings);
        }
        total
    }
}

/// `e2e_total_tokens`, from the rows.
pub(crate) fn total_tokens<'a>(rows: impl Iterator<Item = &'a StageRow>, warnings: &mut Warnings) -> u64 {
    let mut total = 0;
    for row in rows {
        let tokens_in = row.num_tokens_in.filter(|_| row.stage_id == Some(0));
        sums::add(&mut total, tokens_in, Kind::Stage, "num_tokens_in", warnings);
        sums::add(&mut total, row.num_tokens_out, Kind::Stage, "num_tokens_out", warnings);
    }
    total
}

/// `real_time_factor` of a request, from its rows.
pub(crate) fn factor_of_request<'a>(
    e2e_total: Millis,
    rows: impl Iterator<Item = &'a StageRow>,
) -> Option<f64> {
    e2e_total.ratio(rows.filter_map(|row| row.media_ms).max()?)
}

/// `transfers_total_bytes` and `transfers_total_time_ms`, from the rows.
pub(crate) fn total_transfers<'a>(
    rows: impl Iterator<Item = &'a TransferRow>,
    warnings: &mut Warnings,
) -> (u64, Millis) {
    let (mut bytes, mut time) = (0, Millis::ZERO);
    for row in rows {
        sums::add(&mut bytes, row.size_bytes, Kind::Transfer, "size_bytes", warnings);
        sums::add(&mut time, Some(row.total_time_ms), Kind::Transfer, "total_time_ms", warnings);
    }
    (bytes, time)
}
