//! How times are spread, in little memory where there are few of them.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Serialize, Serializer};

use super::Merge;
use crate::{
    Distribution, Millis,
    fold::buckets::{middle, place},
};

/// A percentile, to the thousandth of a percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::cli) struct Percent {
    thousandths: u32,
}

impl Percent {
    /// Those that are shown if none are chosen.
    pub(in crate::cli) const USUAL: [Self; 3] = [Self::P50, Self::whole(90), Self::P99];
    /// Those of a run, as a line of type `summary` has them.
    pub(in crate::cli) const OF_RUN: [Self; 4] =
        [Self::P50, Self::whole(90), Self::P99, Self { thousandths: 99_900 }];
    pub(in crate::cli) const P50: Self = Self::whole(50);
    pub(in crate::cli) const P99: Self = Self::whole(99);

    const fn whole(percent: u32) -> Self {
        Self { thousandths: percent * 1_000 }
    }

    /// As a share of the whole.
    pub(in crate::cli) fn share(self) -> f64 {
        f64::from(self.thousandths) / 1e5
    }

    /// How many of `count` values the percentile is not smaller than.
    pub(in crate::cli) fn rank(self, count: u64) -> u64 {
        let rank = (u128::from(count) * u128::from(self.thousandths)).div_ceil(100_000);
        u64::try_from(rank).unwrap_or(count).max(1)
    }
}

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("{text} is no percentile; expected a number above 0 and up to 100");
        let percent: f64 = text.trim().trim_start_matches('p').parse().map_err(|_| expected())?;
        let thousandths = (percent * 1e3).round();
        if !(1.0..=100_000.0).contains(&thousandths) {
            return Err(expected());
        }
        Ok(Self { thousandths: thousandths as u32 })
    }
}

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}", f64::from(self.thousandths) / 1e3)
    }
}

/// Times with their counts. As in the summary, percentiles have a relative error of less than 1 %, and the
/// rest is exact.
#[derive(Debug, Clone, Default)]
pub(in crate::cli) struct Spread {
    /// Only the buckets that have a value.
    counts: BTreeMap<u16, u64>,
    count: u64,
    sum: u128,
    max: u64,
}

impl Spread {
    /// Adds a time that stands for `weight` times like it.
    pub(in crate::cli) fn add(&mut self, time: Millis, weight: u64) {
        let nanos = time.as_nanos();
        *self.counts.entry(place(nanos) as u16).or_default() += weight;
        self.count = self.count.saturating_add(weight);
        self.sum += u128::from(nanos) * u128::from(weight);
        self.max = self.max.max(nanos);
    }

    /// Adds the times of another one.
    pub(in crate::cli) fn include(&mut self, other: &Self) {
        for (at, count) in &other.counts {
            *self.counts.entry(*at).or_default() += count;
        }
        self.count = self.count.saturating_add(other.count);
        self.sum += other.sum;
        self.max = self.max.max(other.max);
    }

    /// The distribution with the percentiles that the layer writes.
    pub(in crate::cli) fn distribution(&self) -> Option<Distribution<Millis>> {
        let at = |thousandths| self.percentile(Percent { thousandths });
        Some(Distribution {
            count: self.count,
            mean: self.mean()?,
            p50: at(50_000)?,
            p90: at(90_000)?,
            p99: at(99_000)?,
            p999: at(99_900)?,
            max: self.max()?,
        })
    }

    pub(in crate::cli) fn count(&self) -> u64 {
        self.count
    }

    /// `None` if there are no times, as below.
    pub(in crate::cli) fn mean(&self) -> Option<Millis> {
        let mean = (self.sum + u128::from(self.count / 2)).checked_div(self.count.into())?;
        Some(Millis::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX)))
    }

    pub(in crate::cli) fn max(&self) -> Option<Millis> {
        (self.count > 0).then(|| Millis::from_nanos(self.max))
    }

    pub(in crate::cli) fn percentile(&self, percent: Percent) -> Option<Millis> {
        let (rank, mut below) = (percent.rank(self.count), 0_u64);
        let at = self.counts.iter().find(|(_, count)| {
            below = below.saturating_add(**count);
            below >= rank
        });
        at.map(|(at, _)| Millis::from_nanos(middle((*at).into()).min(self.max)))
    }
}

impl Merge for Spread {
    fn merge(&mut self, other: Self) {
        self.include(&other);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn percentiles_are_read_and_shown_with_their_decimals() {
        for (text, shown) in [("50", "p50"), ("99.9", "p99.9"), ("p99.999", "p99.999"), (" 100", "p100")] {
            assert_eq!(text.parse::<Percent>().unwrap().to_string(), shown);
        }
        for text in ["", "0", "100.1", "-5", "NaN", "median"] {
            assert!(text.parse::<Percent>().unwrap_err().contains("no percentile"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn percentiles_are_within_one_in_a_hundred_of_the_exact_ones(
            times in prop::collection::vec((1..1_000_000_000_000_u64, 1..4_u64), 1..200),
            thousandths in 1..=100_000_u32,
        ) {
            let (mut spread, mut other, mut exact) = (Spread::default(), Spread::default(), Vec::new());
            for (at, (nanos, weight)) in times.iter().enumerate() {
                let part = if at % 2 == 0 { &mut spread } else { &mut other };
                part.add(Millis::from_nanos(*nanos), *weight);
                (0..*weight).for_each(|_| exact.push(*nanos));
            }
            spread.merge(other);
            exact.sort_unstable();
            let percent = Percent { thousandths };
            let expected = exact[percent.rank(exact.len() as u64) as usize - 1];
            let found = spread.percentile(percent).unwrap().as_nanos();
            prop_assert!(found.abs_diff(expected) as f64 <= expected as f64 / 100.0, "{found} {expected}");
            prop_assert_eq!(spread.count(), exact.len() as u64);
            prop_assert_eq!(spread.max().unwrap().as_nanos(), *exact.last().unwrap());
        }
    }
}
