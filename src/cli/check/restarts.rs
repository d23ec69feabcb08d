//! Processes that were started again, by the numbers of their requests.

use crate::{
    Timestamp,
    cli::sample_check::{SampleCheck, Witness},
    write::columns::grouped,
};

/// The line of a request that was read last: its number, and its time.
#[derive(Debug, Default)]
pub(super) struct Restarts(Option<(u64, Timestamp)>);

impl Restarts {
    /// Adds a line of a log with these runs so far. Returns a sentence if it begins another run.
    pub(super) fn add(
        &mut self,
        witness: &Witness,
        timestamp: Timestamp,
        sample: &SampleCheck,
    ) -> Option<String> {
        let Witness::Request(request) = witness else { return None };
        let number = request.run.requests;
        let (last, at) = self.0.replace((number, timestamp))?;
        let [number, last] = (number < last && sample.is_after_all_runs(request))
            .then(|| [number, last].map(|number| grouped(&number.to_string())))?;
        Some(format!(
            "the numbers of requests begin anew (e2e_requests {number} at {timestamp}, after {last} at \
             {at}): the process was started again, or its run was reset"
        ))
    }
}
