//! Processes that were started again, by the runs of their requests.

use crate::{Timestamp, write::columns::grouped};

/// The lines of requests in a log.
#[derive(Debug, Default)]
pub(super) struct Restarts {
    /// The one that was read last: its number, and its time.
    last: Option<(u64, Timestamp)>,
    /// How many runs have begun in turn.
    runs: u64,
    /// The last line before the run that began last, until a line shows by its number that this is another
    /// run, and that not only the clock has jumped.
    before: Option<(u64, Timestamp)>,
}

impl Restarts {
    /// Adds a line of the last of these runs in turn. Returns a sentence if it shows that the run is another.
    pub(super) fn add(&mut self, number: u64, timestamp: Timestamp, runs: u64) -> Option<String> {
        let last = self.last.replace((number, timestamp));
        if runs > self.runs {
            (self.runs, self.before) = (runs, last);
        }
        let (last, at) = self.before.filter(|(last, _)| runs == self.runs && number <= *last)?;
        self.before = None;
        let [number, last] = [number, last].map(|number| grouped(&number.to_string()));
        Some(format!(
            "the numbers of requests begin anew (e2e_requests {number} at {timestamp}, after {last} at \
             {at}): the process was started again, or its run was reset"
        ))
    }
}
