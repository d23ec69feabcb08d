//! What a prediction says of each group of requests.

use serde::Serialize;

use super::{times::Times, trace::Request};
use crate::{
    Timestamp,
    cli::groups::{Grouping, Groups, Heading, Merge, Percent},
    write::columns::{Cell, Columns},
};

/// The end-to-end times of a group in the three runs.
#[derive(Debug, Serialize)]
pub(super) struct PredictedGroup {
    #[serde(flatten)]
    pub(super) heading: Heading,
    pub(super) requests: usize,
    pub(super) logged: Times,
    pub(super) replayed: Times,
    pub(super) predicted: Times,
}

/// All groups, with remarks on them.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct PredictedGroups {
    pub(super) groups: Vec<PredictedGroup>,
    #[serde(skip)]
    title: String,
    #[serde(skip)]
    pub(super) remarks: Vec<String>,
}

/// The times of the requests of a group, by run.
#[derive(Debug, Default)]
struct Runs([Vec<u64>; 3]);

impl Merge for Runs {
    fn merge(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(times, others)| times.extend(others));
    }
}

impl PredictedGroups {
    /// The groups of requests, whose times in the replay and in the prediction are given in the same order.
    /// Requests are grouped by their end in the log.
    pub(super) fn of(
        grouping: &Grouping,
        percents: &[Percent],
        requests: &[Request],
        replayed: &[u64],
        predicted: &[u64],
    ) -> Self {
        let mut groups = Groups::<Runs>::new(grouping);
        for (request, (replayed, predicted)) in requests.iter().zip(replayed.iter().zip(predicted)) {
            let ended = Timestamp::from_unix_micros((request.created + request.e2e) / 1_000);
            for name in &request.names {
                let runs = groups.at(ended, Some(name.clone())).0.iter_mut();
                runs.zip([request.e2e, *replayed, *predicted]).for_each(|(times, time)| times.push(time));
            }
        }
        let width = groups.width();
        let groups = groups.into_groups(grouping);
        let remarks = grouping.remarks(width);
        let groups = groups.into_iter().map(|group| {
            let heading = group.heading(grouping);
            let requests = group.value.0.first().map_or(0, Vec::len);
            let [logged, replayed, predicted] = group.value.0.map(|times| Times::of(times, percents));
            PredictedGroup { heading, requests, logged, replayed, predicted }
        });
        Self { title: grouping.title(), groups: groups.collect(), remarks }
    }

    pub(super) fn table(&self, percents: &[Percent]) -> Columns {
        let of_percent = |percent| [format!("e2e {percent}, logged"), "predicted".to_owned()];
        let heads = ["requests".to_owned()].into_iter().chain(percents.iter().flat_map(of_percent));
        let mut table = Columns::titled(&self.title, heads);
        for PredictedGroup { heading, requests, logged, predicted, .. } in &self.groups {
            let times =
                percents.iter().flat_map(|percent| [logged, predicted].map(|times| times.at(*percent)));
            let requests = Cell::Count(*requests as u64);
            table.row(&heading.row(), [requests].into_iter().chain(times.map(Cell::Time)));
        }
        table
    }
}
