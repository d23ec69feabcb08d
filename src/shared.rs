//! The state that a layer and its handles share.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use crate::{
    Clock, E2eTable, Keep, OverallSummary, Percentiles, Snapshot, TransferRow,
    fold::{request::Rows, stage::Stage},
    hold::{
        answered::AnsweredRequests, near_misses::NearMisses, open_requests::OpenRequests,
        open_spans::OpenSpans, periods::Periods, request::Request, run::Run,
    },
    write::{counters::Counters, output::Output},
};

/// The clock and the output of a layer, and which requests have a line.
#[derive(Debug, Clone)]
pub(crate) struct Writing {
    pub(crate) keep: Keep,
    pub(crate) clock: Clock,
    pub(crate) output: Output,
}

/// The state that the layer and its handles share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// A copy of the layer's clock and output, for calls through a handle.
    writing: Mutex<Arc<Writing>>,
    pub(crate) open: OpenSpans,
    pub(crate) requests: OpenRequests,
    pub(crate) answered: Arc<AnsweredRequests<Request>>,
    pub(crate) run: Run,
    pub(crate) periods: Periods,
    pub(crate) counters: Arc<Counters>,
    pub(crate) near_misses: NearMisses,
    pub(crate) log_stats: AtomicBool,
}

impl Shared {
    pub(crate) fn new(writing: Writing) -> Self {
        let writing = Mutex::new(Arc::new(writing));
        Self {
            writing,
            open: OpenSpans::new(),
            requests: OpenRequests::new(),
            answered: Arc::default(),
            run: Run::new(),
            periods: Periods::default(),
            counters: Arc::default(),
            near_misses: NearMisses::new(),
            log_stats: AtomicBool::new(true),
        }
    }

    pub(crate) fn set_writing(&self, writing: Writing) {
        *self.writing.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(writing);
    }

    pub(crate) fn writing(&self) -> Arc<Writing> {
        Arc::clone(&self.writing.lock().unwrap_or_else(PoisonError::into_inner))
    }

    #[inline]
    pub(crate) fn log_stats(&self) -> bool {
        self.log_stats.load(Ordering::Relaxed)
    }

    /// Counts a request in the totals and in the distributions of the run, and sets `summary` to the totals
    /// up to it.
    pub(crate) fn count_request(
        &self,
        created: u64,
        end: u64,
        e2e: &E2eTable,
        rows: &Rows,
        summary: &mut OverallSummary,
    ) {
        // The stripe is locked for both, so that a reader finds the request in both or in neither.
        self.counters.stripes.stripe().count(|period| {
            self.run.add(created, end, e2e.e2e_total_tokens, rows.stage_walls(), summary);
            period.add(e2e, rows.stages_with_gaps(), rows.transfer_table());
        });
    }

    /// The run so far.
    pub(crate) fn read(&self) -> (OverallSummary, Percentiles) {
        self.periods.read(&self.counters.stripes, || self.run.summary())
    }

    /// Begins a new run, and returns the last one.
    pub(crate) fn take(&self) -> (OverallSummary, Percentiles) {
        self.periods.take(&self.counters.stripes, || self.run.take())
    }

    pub(crate) fn snapshot_of(&self, overall_summary: OverallSummary, percentiles: Percentiles) -> Snapshot {
        let stripes = &self.counters.stripes;
        Snapshot {
            overall_summary,
            percentiles,
            // A request that opens and closes meanwhile may be counted at its close only.
            open_requests: stripes.sum(|stripe| &stripe.open_requests).cast_signed().max(0).cast_unsigned(),
            lines_written: stripes.sum(|stripe| &stripe.lines_written),
            lines_lost: stripes.sum(|stripe| &stripe.lines_lost),
            lines_left_out: stripes.sum(|stripe| &stripe.lines_left_out),
            warnings: stripes.sum(|stripe| &stripe.warnings),
            log_stats: self.log_stats(),
        }
    }

    /// Counts a detached stage in the walls and in the distributions of the run.
    pub(crate) fn count_stage(&self, stage: &Stage) {
        self.counters.stripes.stripe().count(|period| {
            if let Some(wall) = stage.wall() {
                self.run.add_wall(wall);
            }
            period.add_stage(&stage.row, stage.gaps());
        });
        self.counters.facade.add_stage(&stage.row, stage.gaps());
    }

    /// Counts a detached transfer in the distributions of the run.
    pub(crate) fn count_transfer(&self, row: &TransferRow) {
        self.counters.stripes.stripe().count(|period| period.add_transfer(row));
        self.counters.facade.add_transfer(row);
    }
}
