//! The totals of a run, in constant memory.

#[cfg(feature = "cli")]
use crate::model::moment::earliest;
use crate::{
    Millis, OverallSummary,
    fold::walls::{StageWall, WALL_LIMIT},
};

/// Totals over all requests that have closed.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    requests: u64,
    tokens: u64,
    first_created: Option<u64>,
    latest_end: u64,
    /// First start and last end of each stage, by id.
    stage_walls: Vec<Option<(u64, u64)>>,
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
        self.first_created = earliest(self.first_created, other.first_created);
        self.latest_end = self.latest_end.max(other.latest_end);
        for (stage_id, wall) in (0..).zip(&other.stage_walls) {
            if let Some((start, end)) = *wall {
                self.widen(StageWall { stage_id, start, end });
            }
        }
    }

    pub(crate) fn widen(&mut self, StageWall { stage_id, start, end }: StageWall) {
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

    /// When the earliest of the closed requests was created.
    pub(crate) fn first_created(&self) -> Option<u64> {
        self.first_created
    }

    /// From the creation of the earliest of the closed requests to the end of the last one.
    #[cfg(feature = "cli")]
    pub(crate) fn span(&self) -> Option<[u64; 2]> {
        self.first_created.map(|first| [first, self.latest_end])
    }

    /// The summary, if the earliest of the closed requests is the first one of the run.
    #[cfg(feature = "cli")]
    pub(crate) fn summary(&self) -> OverallSummary {
        let mut summary = OverallSummary::default();
        self.put_into(self.first_created, &mut summary);
        summary
    }

    /// The summary of a run whose first request was created at `beginning`. Reuses the allocation of the
    /// summary's list.
    pub(crate) fn put_into(&self, beginning: Option<u64>, summary: &mut OverallSummary) {
        let wall = beginning.map_or(0, |first| self.latest_end.saturating_sub(first));
        let width =
            |wall: &Option<(u64, u64)>| Millis::from_nanos(wall.map_or(0, |(s, e)| e.saturating_sub(s)));
        summary.e2e_requests = self.requests;
        summary.e2e_wall_time_ms = Millis::from_nanos(wall);
        summary.e2e_total_tokens = self.tokens;
        summary.e2e_avg_time_per_request_ms = Millis::from_nanos(rounded_ratio(wall, self.requests));
        summary.e2e_avg_tokens_per_s = per_second(self.tokens, wall);
        summary.stage_wall_time_ms.clear();
        summary.stage_wall_time_ms.extend(self.stage_walls.iter().map(width));
    }
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
