//! The requests and detached rows of a period, in constant memory.

use crate::{
    E2eTable, Millis, Percentiles, StageRow, TransferRow, Window,
    fold::{gaps::Gaps, histograms::Histograms, reasons::Reasons, totals::per_second},
};

/// What was counted in a period: since the run began, or since the last report.
#[derive(Debug, Default)]
pub(crate) struct Period {
    histograms: Histograms,
    requests: u64,
    tokens: u64,
    reasons: Reasons,
}

impl Period {
    /// Adds a closed request; each stage comes with the gaps between its outputs.
    pub(crate) fn add<'a>(
        &mut self,
        e2e: &E2eTable,
        stages: impl Iterator<Item = (&'a StageRow, Option<&'a Gaps>)>,
        transfers: impl Iterator<Item = &'a TransferRow>,
    ) {
        self.requests += 1;
        self.tokens = self.tokens.saturating_add(e2e.e2e_total_tokens);
        self.reasons.add(e2e.finish_reason.as_deref(), 1);
        self.histograms.add(e2e, stages, transfers);
    }

    /// Adds a detached row.
    pub(crate) fn add_stage(&mut self, row: &StageRow, gaps: Option<&Gaps>) {
        self.histograms.add_stage(row, gaps);
    }

    /// Adds a detached row.
    pub(crate) fn add_transfer(&mut self, row: &TransferRow) {
        self.histograms.add_transfer(row);
    }

    /// Adds another part of the period.
    pub(crate) fn merge(&mut self, other: &Self) {
        let Self { histograms, requests, tokens, reasons } = other;
        self.histograms.merge(histograms);
        self.requests += requests;
        self.tokens = self.tokens.saturating_add(*tokens);
        self.reasons.merge(reasons);
    }

    /// Begins anew, in the same memory.
    pub(crate) fn clear(&mut self) {
        let Self { histograms, requests, tokens, reasons } = self;
        histograms.clear();
        (*requests, *tokens) = (0, 0);
        reasons.clear();
    }

    pub(crate) fn percentiles(&self) -> Percentiles {
        self.histograms.percentiles()
    }

    /// The numbers of a period that lasted `nanos`.
    pub(crate) fn window(&self, nanos: u64) -> Window {
        Window {
            time_ms: Millis::from_nanos(nanos),
            requests: self.requests,
            requests_per_s: per_second(self.requests, nanos),
            tokens: self.tokens,
            tokens_per_s: per_second(self.tokens, nanos),
            finish_reasons: self.reasons.by_name(),
            percentiles: self.percentiles(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_has_the_requests_and_the_rates_of_its_time() {
        let mut period = Period::default();
        for (tokens, reason) in [(10, Some("stop")), (5, None), (0, Some("stop"))] {
            let finish_reason = reason.map(str::to_owned);
            let e2e = E2eTable { e2e_total_tokens: tokens, finish_reason, ..E2eTable::default() };
            period.add(&e2e, [].into_iter(), [].into_iter());
        }
        let Window { time_ms, requests, requests_per_s, tokens, tokens_per_s, finish_reasons, percentiles } =
            period.window(2_000_000_000);
        assert_eq!((time_ms.as_f64(), requests, requests_per_s), (2_000.0, 3, 1.5));
        assert_eq!((tokens, tokens_per_s), (15, 7.5));
        assert_eq!(finish_reasons, [("none".to_owned(), 1), ("stop".to_owned(), 2)].into());
        assert_eq!(percentiles.e2e_total_ms.map(|times| times.count), Some(3));
        period.clear();
        assert_eq!(period.window(0), Window::default());
    }
}
