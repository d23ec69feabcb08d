//! What the rows of workers add to the totals of the run, request by request.

use std::collections::BTreeMap;

use super::{
    complete::{extent, times},
    packed::{self, Packed},
};
use crate::{
    Line, Millis, OverallSummary, RequestLine,
    fold::{
        totals::{per_second, rounded_ratio},
        walls::WALL_LIMIT,
    },
};

/// A stage, and when one of its rows began and ended.
type Wall = (usize, u64, u64);

/// What a request adds to the run.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Step {
    /// The totals of the run in its line.
    totals: OverallSummary,
    /// The tokens of the workers' rows.
    tokens: u64,
    /// The request's end without the rows, and with them.
    end: u64,
    late_end: u64,
    /// How long the request takes with the rows.
    e2e: Millis,
    /// Of the request's own rows, and of the workers' rows.
    own_walls: Vec<Wall>,
    walls: Vec<Wall>,
}

impl Step {
    /// Of a request to which no row has been added yet.
    pub(super) fn of(request: &RequestLine) -> Self {
        let (created, end) = times(request);
        let own_walls = request.stage_table.iter().filter_map(|row| {
            let (start, end) = row.extent()?;
            wall(row.stage_id, (created.saturating_add(start), created.saturating_add(end)))
        });
        Self {
            totals: request.overall_summary.clone(),
            end,
            late_end: end,
            own_walls: own_walls.collect(),
            ..Self::default()
        }
    }

    /// Adds a worker's row.
    pub(super) fn add(&mut self, row: &Line) {
        if let Line::Stage(line) = row {
            self.walls.extend(extent(row).and_then(|extent| wall(line.row.stage_id, extent)));
        }
    }

    /// Takes the request into account to which all rows have been added; it had this many tokens before.
    pub(super) fn complete(&mut self, request: &RequestLine, tokens_before: u64) {
        self.late_end = times(request).1;
        self.e2e = request.e2e_table.e2e_total_ms;
        // Those of all requests that the line stands for.
        let more = request.e2e_table.e2e_total_tokens.saturating_sub(tokens_before);
        self.tokens = more.saturating_mul(request.weight());
    }

    pub(super) fn pack(&self, out: &mut Vec<u8>) {
        let Self { totals, tokens, end, late_end, e2e, own_walls, walls } = self;
        packed::summary(out, totals);
        [tokens, end, late_end, &e2e.as_nanos()].into_iter().for_each(|value| packed::number(out, value));
        for walls in [own_walls, walls] {
            packed::list(out, walls, |out, (id, start, end)| {
                [&(*id as u64), start, end].into_iter().for_each(|value| packed::number(out, value));
            });
        }
    }

    /// Reads what [`pack`](Self::pack) has written.
    pub(super) fn unpack(bytes: &[u8]) -> Option<Self> {
        let packed = &mut Packed::of(bytes);
        let wall = |packed: &mut Packed<'_>| {
            Some((packed.number()?.try_into().ok()?, packed.number()?, packed.number()?))
        };
        Some(Self {
            totals: packed.summary()?,
            tokens: packed.number()?,
            end: packed.number()?,
            late_end: packed.number()?,
            e2e: Millis::from_nanos(packed.number()?),
            own_walls: packed.list(wall)?,
            walls: packed.list(wall)?,
        })
    }
}

/// The wall of a stage, if there is room for its id.
fn wall(stage_id: Option<u64>, (start, end): (u64, u64)) -> Option<Wall> {
    stage_id.filter(|id| *id < WALL_LIMIT).map(|id| (id as usize, start, end))
}

/// The sums over the requests of a run so far.
#[derive(Default)]
pub(super) struct RunCorrection {
    tokens: u64,
    /// The latest end without the rows, and with them.
    end: u64,
    late_end: u64,
    /// First start and last end of the workers' rows of each stage, and of the requests' own rows.
    walls: BTreeMap<usize, (u64, u64)>,
    own_walls: BTreeMap<usize, (u64, u64)>,
}

fn extend(walls: &mut BTreeMap<usize, (u64, u64)>, added: &[Wall]) {
    for (id, start, end) in added {
        let wall = walls.entry(*id).or_insert((*start, *end));
        *wall = (wall.0.min(*start), wall.1.max(*end));
    }
}

impl RunCorrection {
    /// The corrected totals in the line of the next request.
    pub(super) fn apply(&mut self, step: Step) -> OverallSummary {
        let mut summary = step.totals;
        extend(&mut self.own_walls, &step.own_walls);
        extend(&mut self.walls, &step.walls);
        self.tokens = self.tokens.saturating_add(step.tokens);
        (self.end, self.late_end) = (self.end.max(step.end), self.late_end.max(step.late_end));
        let late = self.late_end.saturating_sub(self.end);
        if self.tokens > 0 || late > 0 {
            // Timestamps are cut to microseconds.
            let wall = summary.e2e_wall_time_ms.as_nanos().saturating_add(late).max(step.e2e.as_nanos());
            summary.e2e_wall_time_ms = Millis::from_nanos(wall);
            summary.e2e_total_tokens = summary.e2e_total_tokens.saturating_add(self.tokens);
            summary.e2e_avg_time_per_request_ms =
                Millis::from_nanos(rounded_ratio(wall, summary.e2e_requests));
            summary.e2e_avg_tokens_per_s = per_second(summary.e2e_total_tokens, wall);
        }
        for (id, (start, end)) in &self.walls {
            let (own_start, own_end) = self.own_walls.get(id).copied().unwrap_or((*start, *end));
            let (start, end) = (own_start.min(*start), own_end.max(*end));
            if summary.stage_wall_time_ms.len() <= *id {
                summary.stage_wall_time_ms.resize(id + 1, Millis::ZERO);
            }
            if let Some(wall) = summary.stage_wall_time_ms.get_mut(*id) {
                *wall = (*wall).max(Millis::from_nanos(end - start));
            }
        }
        summary
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_read_as_it_was_packed() {
        let step = Step {
            totals: OverallSummary { e2e_requests: 1, ..OverallSummary::default() },
            tokens: 300,
            end: 2,
            late_end: u64::MAX,
            e2e: Millis::from_nanos(7),
            own_walls: vec![(0, 1, 2)],
            walls: vec![(3, 4, 5), (63, 0, u64::MAX)],
        };
        let mut bytes = Vec::new();
        step.pack(&mut bytes);
        assert_eq!(Step::unpack(&bytes), Some(step));
    }
}
