//! Times of requests, or of their visits to a stage: the mean and percentiles.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::{Millis, cli::groups::Percent};

/// The mean and the percentiles of some times.
#[derive(Debug, Clone)]
pub(super) struct Times {
    pub(super) mean: Millis,
    /// What sentences are about, whichever percentiles are shown.
    pub(super) p50: Millis,
    pub(super) p99: Millis,
    /// Those that are shown.
    pub(super) percentiles: BTreeMap<Percent, Millis>,
}

impl Times {
    pub(super) fn of(mut times: Vec<u64>, percents: &[Percent]) -> Self {
        times.sort_unstable();
        let count = times.len() as u128;
        let sum: u128 = times.iter().map(|time| u128::from(*time)).sum();
        let at = |percent: Percent| {
            let rank = percent.rank(times.len() as u64) as usize;
            Millis::from_nanos(times.get(rank - 1).copied().unwrap_or_default())
        };
        let mean = (sum + count / 2).checked_div(count).unwrap_or_default();
        let [p50, _, p99] = Percent::USUAL.map(at);
        Self {
            mean: Millis::from_nanos(mean.try_into().unwrap_or(u64::MAX)),
            p50,
            p99,
            percentiles: percents.iter().map(|percent| (*percent, at(*percent))).collect(),
        }
    }

    /// One of those that are shown.
    pub(super) fn at(&self, percent: Percent) -> Millis {
        self.percentiles.get(&percent).copied().unwrap_or_default()
    }

    /// The mean, then the percentiles that are shown, each with its name.
    pub(super) fn named(&self) -> impl Iterator<Item = (String, Millis)> {
        let percentiles = self.percentiles.iter().map(|(percent, time)| (percent.to_string(), *time));
        [("mean".to_owned(), self.mean)].into_iter().chain(percentiles)
    }
}

impl Serialize for Times {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.named().try_for_each(|(name, time)| map.serialize_entry(&name, &time))?;
        map.end()
    }
}
