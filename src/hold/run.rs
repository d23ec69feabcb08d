//! The run: totals over all requests that have closed.

use std::{
    mem,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    OverallSummary,
    fold::{
        totals::{Totals, put_averages},
        walls::StageWall,
    },
    hold::{brief_lock::BriefLock, request::Request},
};

/// How many requests are remembered to find the first one of the run.
const FIRST_LIMIT: usize = 64;

/// Totals in constant memory. One lock protects them; it is taken once for each request, and at the creation
/// of the run's first requests.
#[derive(Debug)]
pub(crate) struct Run {
    state: CacheLine,
    /// When the earliest of the closed requests was created. Only a request that was created before it can be
    /// the first one of the run.
    first_closed: AtomicU64,
}

/// On two cache lines of its own, the unit that processors prefetch. Otherwise each request that closes would
/// invalidate a line that every new request reads.
#[derive(Debug, Default)]
#[repr(align(128))]
struct CacheLine(BriefLock<State>);

#[derive(Debug, Default)]
struct State {
    totals: Totals,
    /// Requests that were created before the earliest closed one. The run begins with the first of them that
    /// is not a wrapper.
    candidates: Vec<Weak<Request>>,
}

impl Run {
    pub(crate) fn new() -> Self {
        Self { state: CacheLine::default(), first_closed: AtomicU64::new(u64::MAX) }
    }

    /// Notes a new request, whose creation may be the beginning of the run's wall time.
    pub(crate) fn note_created(&self, request: &Arc<Request>) {
        if request.created < self.first_closed.load(Ordering::Relaxed) {
            self.with(|state| state.watch(request));
        }
    }

    /// Counts a request, and sets `summary` to that of the run up to it.
    pub(crate) fn add(
        &self,
        created: u64,
        end: u64,
        tokens: u64,
        stage_walls: impl Iterator<Item = StageWall>,
        summary: &mut OverallSummary,
    ) {
        self.with(|state| {
            let first = state.totals.add(created, end, tokens, stage_walls);
            // Written only if it changes, since every new request reads it.
            if self.first_closed.load(Ordering::Relaxed) != first {
                self.first_closed.store(first, Ordering::Relaxed);
            }
            state.put_sums(summary);
        });
        put_averages(summary);
    }

    /// Adds the wall time of a detached stage.
    pub(crate) fn add_wall(&self, wall: StageWall) {
        self.with(|state| state.totals.widen(wall));
    }

    pub(crate) fn summary(&self) -> OverallSummary {
        self.with(State::summary)
    }

    /// Begins a new run, and returns the summary of the last one.
    pub(crate) fn take(&self) -> OverallSummary {
        self.with(|state| {
            self.first_closed.store(u64::MAX, Ordering::Relaxed);
            mem::take(state).summary()
        })
    }

    #[inline(always)]
    fn with<T>(&self, run: impl FnOnce(&mut State) -> T) -> T {
        run(&mut self.state.0.lock())
    }
}

impl State {
    fn watch(&mut self, request: &Arc<Request>) {
        if self.candidates.len() >= FIRST_LIMIT {
            self.candidates.retain(|candidate| candidate.strong_count() > 0);
        }
        if self.candidates.len() < FIRST_LIMIT {
            self.candidates.push(Arc::downgrade(request));
        }
    }

    /// When the run's first request was created.
    fn beginning(&mut self) -> Option<u64> {
        let first = self.totals.first_created()?;
        self.candidates
            .retain(|candidate| candidate.upgrade().is_some_and(|request| request.created < first));
        let open =
            self.candidates.iter().filter_map(Weak::upgrade).filter(|request| request.is_open_and_counts());
        open.map(|request| request.created).chain([first]).min()
    }

    fn put_sums(&mut self, summary: &mut OverallSummary) {
        let beginning = self.beginning();
        self.totals.put_sums(beginning, summary);
    }

    fn summary(&mut self) -> OverallSummary {
        let mut summary = OverallSummary::default();
        self.put_sums(&mut summary);
        put_averages(&mut summary);
        summary
    }
}
