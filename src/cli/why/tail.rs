//! The slowest requests, from the percentile on that chooses a request.

use serde::Serialize;

use super::{
    answer::{Answer, MeanRequest},
    few::Few,
    mostly::Mostly,
    sentences::{time, times_as_long},
    survey::{Mean, Survey},
};
use crate::{Millis, cli::amount::amount, write::columns::grouped};

/// The mean of the slowest requests, as `report` has it of the slowest hundredth.
#[derive(Debug, Serialize)]
pub(super) struct Tail {
    /// How many percent of the requests are slowest.
    percent: f64,
    #[serde(flatten)]
    pub(super) mean: MeanRequest,
    mostly: Mostly,
    /// Few of them that make up most of the difference from the median request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) few: Option<Few>,
    #[serde(skip)]
    pub(super) all: Mean,
}

impl Tail {
    /// The requests from a percentile on.
    pub(super) fn of(survey: &Survey, percentile: f64, median: Millis) -> Option<Self> {
        // Without the error of the subtraction: 0.1, and not 0.0999….
        let percent = ((100.0 - percentile) * 1e9).round() / 1e9;
        let all = survey.slowest(percent).filter(|_| (0.0..100.0).contains(&percent))?;
        let few = Few::of(survey, percent, median);
        Some(Self { percent, mean: MeanRequest::of(&all, survey), mostly: Mostly::of(&all), few, all })
    }

    pub(super) fn name(&self) -> String {
        format!("slowest {} %", self.percent)
    }
}

impl Answer {
    /// Why the slowest requests took as long as they did: where most of them spent their time, then the mean.
    /// If few requests rule the mean, that of the others is explained in its place.
    pub(super) fn about_the_tail(&self) -> Vec<String> {
        let Some(tail) = &self.tail else { return Vec::new() };
        let e2e = tail.mean.e2e_total_ms;
        let of_group = if self.group.is_some() { " of the group" } else { "" };
        let name = format!("{}{of_group}", tail.name());
        let requests = amount(tail.mean.requests, "request", "requests");
        let requests = format!("{requests}, from {} on", time(tail.mean.fastest_ms));
        let mostly =
            self.where_most_were(&tail.mostly).map(|most| format!("Of the {name} ({requests}), {most}."));
        let subject = match mostly {
            Some(_) => format!("All {}", grouped(&tail.mean.requests.to_string())),
            None => format!("The {name} ({requests})"),
        };
        let length = format!("{subject} took {} on average{}.", time(e2e), times_as_long(self, e2e));
        let differences = self.differences(e2e, |part| part.tail_ms.unwrap_or_default());
        let why = match tail.few.as_ref().filter(|_| differences.is_some()) {
            Some(few) => self.about_few(few),
            None => differences.into_iter().map(|differences| format!("They took {differences}.")).collect(),
        };
        let without_rows = (tail.mean.without_rows > 0).then(|| {
            let (one, many) = ("lacks rows of a stage that it was", "lack rows of a stage that they were");
            let requests = amount(tail.mean.without_rows, one, many);
            format!(
                "Of the {}, {requests} sent to, so unattributed time may be time of that stage.",
                tail.name()
            )
        });
        mostly.into_iter().chain([length]).chain(why).chain(without_rows).collect()
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
