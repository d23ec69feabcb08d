//! The totals of a run, in constant memory.

use smallvec::SmallVec;

use crate::{
    Millis, OverallSummary,
    fold::walls::{StageWall, WALL_LIMIT},
};

/// Totals over all requests that have closed.
#[derive(Debug)]
pub(crate) struct Totals {
    requests: u64,
    tokens: u64,
    /// The largest moment before there was a request.
    first_created: u64,
    latest_end: u64,
    /// First start and last end of each stage, by id.
    stage_walls: SmallVec<[(u64, u64); 3]>,
}

/// The wall of a stage without spans.
const NO_WALL: (u64, u64) = (u64::MAX, 0);

impl Default for Totals {
    fn default() -> Self {
        Self { requests: 0, tokens: 0, first_created: u64::MAX, latest_end: 0, stage_walls: SmallVec::new() }
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
        self.first_created = self.first_created.min(created);
        self.latest_end = self.latest_end.max(end);
        stage_walls.for_each(|wall| self.widen(wall));
        self.first_created
    }

    /// Counts a request that was added as often again as it stands for others like it.
    #[cfg(feature = "cli")]
    pub(crate) fn repeat(&mut self, times: u64, tokens: u64) {
        self.requests = self.requests.saturating_add(times);
        self.tokens = self.tokens.saturating_add(tokens.saturating_mul(times));
    }

    /// Adds the totals of another part of the run.
    #[cfg(feature = "cli")]
    pub(crate) fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.tokens = self.tokens.saturating_add(other.tokens);
        self.first_created = self.first_created.min(other.first_created);
        self.latest_end = self.latest_end.max(other.latest_end);
        for (stage_id, &(start, end)) in (0..).zip(&other.stage_walls) {
            self.widen(StageWall { stage_id, start, end });
        }
    }

    #[inline]
    pub(crate) fn widen(&mut self, StageWall { stage_id, start, end }: StageWall) {
        if stage_id >= WALL_LIMIT {
            return;
        }
        let at = stage_id as usize;
        if self.stage_walls.len() <= at {
            self.stage_walls.resize(at + 1, NO_WALL);
        }
        if let Some((first, last)) = self.stage_walls.get_mut(at) {
            (*first, *last) = (start.min(*first), end.max(*last));
        }
    }

    /// When the earliest of the closed requests was created.
    pub(crate) fn first_created(&self) -> Option<u64> {
        (self.requests > 0).then_some(self.first_created)
    }

    /// From the creation of the earliest of the closed requests to the end of the last one.
    #[cfg(feature = "cli")]
    pub(crate) fn span(&self) -> Option<[u64; 2]> {
        self.first_created().map(|first| [first, self.latest_end])
    }

    /// Takes only the time from `start` to `end` for that of the run and of its stages.
    #[cfg(feature = "cli")]
    pub(crate) fn limit(&mut self, [start, end]: [u64; 2]) {
        (self.first_created, self.latest_end) = (start, end);
        for (first, last) in &mut self.stage_walls {
            (*first, *last) = ((*first).max(start), (*last).min(end));
        }
    }

    /// The summary, if the earliest of the closed requests is the first one of the run.
    #[cfg(feature = "cli")]
    pub(crate) fn summary(&self) -> OverallSummary {
        let mut summary = OverallSummary::default();
        self.put_sums(self.first_created(), &mut summary);
        put_averages(&mut summary);
        summary
    }

    /// Sets the summary of a run whose first request was created at `beginning`, without its averages. Reuses
    /// the allocation of the summary's list.
    pub(crate) fn put_sums(&self, beginning: Option<u64>, summary: &mut OverallSummary) {
        let length = |start, end: u64| Millis::from_nanos(end.saturating_sub(start));
        summary.e2e_requests = self.requests;
        summary.e2e_wall_time_ms = beginning.map_or(Millis::ZERO, |first| length(first, self.latest_end));
        summary.e2e_total_tokens = self.tokens;
        summary.stage_wall_time_ms.clear();
        summary.stage_wall_time_ms.extend(self.stage_walls.iter().map(|&(start, end)| length(start, end)));
    }
}

/// Sets the averages of a summary that has its sums.
pub(crate) fn put_averages(summary: &mut OverallSummary) {
    let wall = summary.e2e_wall_time_ms.as_nanos();
    summary.e2e_avg_time_per_request_ms = Millis::from_nanos(rounded_ratio(wall, summary.e2e_requests));
    summary.e2e_avg_tokens_per_s = per_second(summary.e2e_total_tokens, wall);
}

/// How many there are in a second, to six decimals; zero in no time.
pub(crate) fn per_second(count: u64, nanos: u64) -> f64 {
    if nanos == 0 {
        return 0.0;
    }
    let rate = count as f64 / (nanos as f64 / 1e9);
    (rate * 1e6).round() / 1e6
}

/// Zero for a denominator of zero.
pub(crate) fn rounded_ratio(numerator: u64, denominator: u64) -> u64 {
    numerator.saturating_add(denominator / 2).checked_div(denominator).unwrap_or(0)
}
