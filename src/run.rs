//! The run: totals over all requests that have closed.

use std::{
    mem,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

#[cfg(feature = "cli")]
use crate::request::earliest;
use crate::{Millis, request::Request, tables::OverallSummary};

/// Stage ids from here on are left out of the list of walls, so that a large id does not allocate a large
/// list.
pub(crate) const WALL_LIMIT: u64 = 1024;

/// How many requests are remembered to find the first one of the run.
const FIRST_LIMIT: usize = 64;

/// Totals in constant memory. One lock protects them; it is taken once for each request, and at the creation
/// of the run's first requests.
#[derive(Debug)]
pub(crate) struct Run {
    totals: Alone,
    /// When the earliest of the closed requests was created. Only a request that was created before it can be
    /// the first one of the run.
    first_closed: AtomicU64,
}

/// On a cache line of its own. Otherwise each request that closes would invalidate the line that every new
/// request reads.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Alone(Mutex<Totals>);

#[derive(Debug, Default)]
pub(crate) struct Totals {
    requests: u64,
    tokens: u64,
    first_created: Option<u64>,
    /// Requests that were created before the earliest closed one. The run begins with the first of them that
    /// is not a wrapper.
    candidates: Vec<Weak<Request>>,
    latest_end: u64,
    /// First start and last end of each stage, by id.
    stage_walls: Vec<Option<(u64, u64)>>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct StageWall {
    pub(crate) stage_id: u64,
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl Run {
    pub(crate) fn new() -> Self {
        Self { totals: Alone::default(), first_closed: AtomicU64::new(u64::MAX) }
    }

    /// Notes a new request, whose creation may be the beginning of the run's wall time.
    pub(crate) fn note_created(&self, request: &Arc<Request>) {
        if request.created < self.first_closed.load(Ordering::Relaxed) {
            self.with(|totals| totals.watch(request));
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
        self.with(|totals| {
            let first = totals.add(created, end, tokens, stage_walls);
            // Written only if it changes, since every new request reads it.
            if self.first_closed.load(Ordering::Relaxed) != first {
                self.first_closed.store(first, Ordering::Relaxed);
            }
            totals.put_into(summary);
        });
    }

    /// Adds the wall time of a detached stage.
    pub(crate) fn add_wall(&self, wall: StageWall) {
        self.with(|totals| totals.widen(wall));
    }

    pub(crate) fn summary(&self) -> OverallSummary {
        self.with(Totals::summary)
    }

    /// Begins a new run, and returns the summary of the last one.
    pub(crate) fn take(&self) -> OverallSummary {
        self.with(|totals| {
            self.first_closed.store(u64::MAX, Ordering::Relaxed);
            mem::take(totals).summary()
        })
    }

    fn with<T>(&self, run: impl FnOnce(&mut Totals) -> T) -> T {
        run(&mut self.totals.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Totals {
    /// Counts a request. Returns when the earliest closed request was created.
    pub(crate) fn add(
        &mut self,
        created: u64,
        end: u64,
        tokens: u64,
        stage_walls: impl Iterator<Item = StageWall>,
    ) -> u64 {
        self.requests += 1;
        self.tokens = self.tokens.saturating_add(tokens);
        let first = self.first_created.map_or(created, |first| first.min(created));
        self.first_created = Some(first);
        self.latest_end = self.latest_end.max(end);
        stage_walls.for_each(|wall| self.widen(wall));
        first
    }

    /// Adds the totals of another part of the run.
    #[cfg(feature = "cli")]
    pub(crate) fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.tokens = self.tokens.saturating_add(other.tokens);
        self.first_created = earliest(self.first_created, other.first_created);
        self.latest_end = self.latest_end.max(other.latest_end);
        for (stage_id, wall) in (0..).zip(&other.stage_walls) {
            if let Some((start, end)) = *wall {
                self.widen(StageWall { stage_id, start, end });
            }
        }
    }

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
        let first = self.first_created?;
        self.candidates
            .retain(|candidate| candidate.upgrade().is_some_and(|request| request.created < first));
        let open =
            self.candidates.iter().filter_map(Weak::upgrade).filter(|request| request.is_open_and_counts());
        open.map(|request| request.created).chain([first]).min()
    }

    fn widen(&mut self, StageWall { stage_id, start, end }: StageWall) {
        if stage_id >= WALL_LIMIT {
            return;
        }
        let at = stage_id as usize;
        if self.stage_walls.len() <= at {
            self.stage_walls.resize(at + 1, None);
        }
        if let Some(wall) = self.stage_walls.get_mut(at) {
            *wall = Some(wall.map_or((start, end), |(s, e)| (s.min(start), e.max(end))));
        }
    }

    pub(crate) fn summary(&mut self) -> OverallSummary {
        let mut summary = OverallSummary::default();
        self.put_into(&mut summary);
        summary
    }

    /// Reuses the allocation of the summary's list.
    fn put_into(&mut self, summary: &mut OverallSummary) {
        let wall = self.beginning().map_or(0, |first| self.latest_end.saturating_sub(first));
        let width =
            |wall: &Option<(u64, u64)>| Millis::from_nanos(wall.map_or(0, |(s, e)| e.saturating_sub(s)));
        summary.e2e_requests = self.requests;
        summary.e2e_wall_time_ms = Millis::from_nanos(wall);
        summary.e2e_total_tokens = self.tokens;
        summary.e2e_avg_time_per_request_ms = Millis::from_nanos(rounded_ratio(wall, self.requests));
        summary.e2e_avg_tokens_per_s = tokens_per_s(self.tokens, wall);
        summary.stage_wall_time_ms.clear();
        summary.stage_wall_time_ms.extend(self.stage_walls.iter().map(width));
    }
}

/// Tokens a second, to six decimals; zero for an empty wall.
pub(crate) fn tokens_per_s(tokens: u64, wall_nanos: u64) -> f64 {
    if wall_nanos == 0 {
        return 0.0;
    }
    let rate = tokens as f64 / (wall_nanos as f64 / 1e9);
    (rate * 1e6).round() / 1e6
}

/// Zero for a denominator of zero.
pub(crate) fn rounded_ratio(numerator: u64, denominator: u64) -> u64 {
    numerator.saturating_add(denominator / 2).checked_div(denominator).unwrap_or(0)
}
