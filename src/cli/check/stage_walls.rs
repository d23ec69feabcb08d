//! The walls of stages in successive lines of a run. The time from the first enter to the last exit of a
//! stage never falls.

use smallvec::SmallVec;

use crate::{
    Millis,
    cli::sample_check::{State, Witness, begin_of},
};

/// Timestamps have microseconds, so that the beginnings of one run differ by as much.
const ROUNDING: u64 = 2_000;

/// The line of a request that was read last.
#[derive(Debug, Default)]
pub(super) struct StageWalls {
    run: State,
    begin: u64,
    walls: SmallVec<[Millis; 8]>,
}

impl StageWalls {
    /// Adds a line. Returns the wall that is less than in the line before, if that surely is of the same run:
    /// it has the number and the tokens before those of this line, and its run began at the same time.
    pub(super) fn add(&mut self, witness: &Witness) -> Option<String> {
        let Witness::Request(request) = witness else { return None };
        let run = request.run;
        let next = Self { run, begin: begin_of(&run, request.end), walls: request.walls.clone() };
        let last = std::mem::replace(self, next);
        let follows = last.run.requests > 0
            && run.requests.checked_sub(1) == Some(last.run.requests)
            && run.tokens.checked_sub(request.tokens) == Some(last.run.tokens)
            && last.begin.abs_diff(self.begin) <= ROUNDING;
        let walls = self.walls.iter().map(Some).chain(std::iter::repeat(None));
        let mut fallen = last.walls.iter().zip(walls).enumerate();
        let (stage, (before, now)) = fallen.find(|(_, (before, now))| follows && *now < Some(before))?;
        let now = now.map_or("none".to_owned(), Millis::to_string);
        Some(format!(
            "stage {stage}: stage_wall_time_ms is less than in the line before, of the same run: expected at \
             least {before}, found {now}"
        ))
    }
}
