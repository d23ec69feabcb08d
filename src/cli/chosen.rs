//! The percentiles that a person has chosen, of every number of a log.

use std::collections::BTreeMap;

use serde::Serialize;

use super::groups::Percent;
use crate::fold::histograms::{Histograms, Quantiles, Whose};

/// The chosen percentiles of one number.
#[derive(Debug, Serialize)]
pub(super) struct Chosen {
    #[serde(skip)]
    pub(super) whose: Whose,
    pub(super) number: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    stage_id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from_stage: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to_stage: Option<u64>,
    pub(super) count: u64,
    pub(super) mean: f64,
    #[serde(flatten)]
    pub(super) values: BTreeMap<String, f64>,
    pub(super) max: f64,
}

impl Chosen {
    /// The percentiles of all numbers; none if none are chosen.
    pub(super) fn of(histograms: &Histograms, percents: &[Percent]) -> Vec<Self> {
        if percents.is_empty() {
            return Vec::new();
        }
        let ranks: Vec<_> = percents.iter().map(|percent| |count| percent.rank(count)).collect();
        let chosen = |quantiles: Quantiles| {
            let Quantiles { whose, name, count, mean, values, max } = quantiles;
            Self::new((whose, name), (count, mean, max), percents.iter().zip(values))
        };
        histograms.at_ranks(&ranks).into_iter().map(chosen).collect()
    }

    /// The percentiles of a number with its count, its mean and its largest value.
    pub(super) fn new<'a>(
        (whose, number): (Whose, &'static str),
        (count, mean, max): (u64, f64, f64),
        values: impl Iterator<Item = (&'a Percent, f64)>,
    ) -> Self {
        let (stage_id, from_stage, to_stage) = match whose {
            Whose::Request => (None, None, None),
            Whose::Stage(stage) => (stage, None, None),
            Whose::Edge(from, to) => (None, from, to),
        };
        let values = values.map(|(percent, value)| (percent.to_string(), value)).collect();
        Self { whose, number, stage_id, from_stage, to_stage, count, mean, values, max }
    }
}
