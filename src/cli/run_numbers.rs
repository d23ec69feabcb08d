//! Numbers the runs of several logs.

use super::sample_check::{Identity, Runs, State, begin_of};
use crate::Timestamp;

/// Gives each run a number. A run is in one log, and the logs come one after the other.
#[derive(Default)]
pub(super) struct RunNumbers {
    log: usize,
    runs: Runs<(Identity, u64)>,
    last: u64,
    /// The log of each run, from the first on.
    pub(super) logs: Vec<usize>,
}

impl RunNumbers {
    /// The number of the run that a request of a log is of.
    pub(super) fn number(&mut self, log: usize, state: State, ended: Timestamp) -> u64 {
        let end = ended.unix_micros().saturating_mul(1_000);
        if self.log != log {
            (self.log, self.runs) = (log, Runs::default());
        }
        if !self.runs.find(|(run, _)| run.distance(&state, end)) {
            self.last += 1;
            self.logs.push(log);
            self.runs.begin((Identity::new(begin_of(&state, end)), self.last));
        }
        let Some((run, number)) = self.runs.last_mut() else { return self.last };
        run.add(state, end);
        *number
    }
}
