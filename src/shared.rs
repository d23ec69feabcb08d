//! The state that a layer and its handles share.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use crate::{
    Clock, E2eTable, Keep, OverallSummary, TransferRow,
    fold::{histograms::Histograms, request::Rows, stage::Stage},
    hold::{
        answered::AnsweredRequests, near_misses::NearMisses, open_requests::OpenRequests,
        open_spans::OpenSpans, request::Request, run::Run,
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
        // The histograms are locked for both, so that `take` finds the request in both or in neither.
        self.counters.stripes.stripe().histograms(|histograms| {
            self.run.add(created, end, e2e.e2e_total_tokens, rows.stage_walls(), summary);
            histograms.add(e2e, rows.stages_with_gaps(), rows.transfer_table());
        });
    }

    /// Begins a new run, and returns the last one.
    pub(crate) fn take(&self) -> (OverallSummary, Vec<Histograms>) {
        self.counters.stripes.take(|| self.run.take())
    }

    /// Counts a detached stage in the walls and in the distributions of the run.
    pub(crate) fn count_stage(&self, stage: &Stage) {
        self.counters.stripes.stripe().histograms(|histograms| {
            if let Some(wall) = stage.wall() {
                self.run.add_wall(wall);
            }
            histograms.add_stage(&stage.row, stage.gaps());
        });
        self.counters.facade.add_stage(&stage.row, stage.gaps());
    }

    /// Counts a detached transfer in the distributions of the run.
    pub(crate) fn count_transfer(&self, row: &TransferRow) {
        self.counters.stripes.stripe().histograms(|histograms| histograms.add_transfer(row));
        self.counters.facade.add_transfer(row);
    }
}
