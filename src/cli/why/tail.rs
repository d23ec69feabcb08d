//! The slowest requests, from the percentile on that chooses a request.

use serde::Serialize;

use super::{
    answer::{Answer, MeanRequest},
    sentences::{time, times_as_long},
    survey::{Mean, Survey},
};
use crate::cli::amount::amount;

/// The mean of the slowest requests, as `report` has it of the slowest hundredth.
#[derive(Debug, Serialize)]
pub(super) struct Tail {
    /// How many percent of the requests are slowest.
    percent: f64,
    #[serde(flatten)]
    pub(super) mean: MeanRequest,
}

impl Tail {
    /// The requests from a percentile on, with the times of their parts.
    pub(super) fn of(survey: &Survey, percentile: f64) -> Option<(Self, Mean)> {
        // Without the error of the subtraction: 0.1, and not 0.0999….
        let percent = ((100.0 - percentile) * 1e9).round() / 1e9;
        let mean = survey.slowest(percent).filter(|_| (0.0..100.0).contains(&percent))?;
        Some((Self { percent, mean: MeanRequest::of(&mean, survey) }, mean))
    }

    pub(super) fn name(&self) -> String {
        format!("slowest {} %", self.percent)
    }
}

impl Answer {
    /// Why the slowest requests took as long as they did.
    pub(super) fn about_the_tail(&self) -> Vec<String> {
        let Some(tail) = &self.tail else { return Vec::new() };
        let e2e = tail.mean.e2e_total_ms;
        let of_group = if self.group.is_some() { " of the group" } else { "" };
        let requests = amount(tail.mean.requests, "request", "requests");
        let length = format!(
            "The {}{of_group} ({requests}) took {} on average{}.",
            tail.name(),
            time(e2e),
            times_as_long(self, e2e)
        );
        let differences = self.differences(e2e, |part| part.tail_ms.unwrap_or_default());
        let differences = differences.map(|differences| format!("They took {differences}."));
        let without_rows = (tail.mean.without_rows > 0).then(|| {
            let (one, many) = ("lacks rows of a stage that it was", "lack rows of a stage that they were");
            let requests = amount(tail.mean.without_rows, one, many);
            format!("Of these requests, {requests} sent to, so unattributed time may be time of that stage.")
        });
        [Some(length), differences, without_rows].into_iter().flatten().collect()
    }

    /// Which requests the slowest ones are.
    pub(super) fn note_on_the_tail(&self) -> Option<String> {
        let tail = self.tail.as_ref()?;
        let MeanRequest { fastest_ms, slowest_ms, .. } = tail.mean;
        let [from, to] = [fastest_ms, slowest_ms].map(time);
        Some(format!(
            "The column {} has the mean of the requests from {from} to {to}, as `report` has it: requests \
             whose times differ by less than 3 % are not told apart.",
            tail.name()
        ))
    }
}
