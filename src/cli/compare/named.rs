//! The names of figures, as conditions have them.

use super::comparison::Measure;
use crate::{
    cli::{
        groups::Percent,
        quantity::{Quantity, Stage},
        selection::near,
    },
    model::numbers::Unit,
};

/// The figures that have no statistic.
const PLAIN: [(&str, Measure); 5] = [
    ("requests_per_s", Measure::Rate),
    ("tokens_per_s", Measure::Rate),
    ("failed", Measure::Share),
    ("objectives", Measure::Share),
    ("goodput", Measure::Rate),
];

/// A statistic of a number.
#[derive(Debug, Clone, Copy)]
pub(super) enum Statistic {
    Mean,
    Percentile(Percent),
}

/// A figure, as a condition names it.
pub(super) struct Named {
    /// Without the statistic.
    pub(super) number: String,
    pub(super) statistic: Option<Statistic>,
    /// The name in `number` of a stage that is not named by its id.
    pub(super) stage: Option<String>,
    pub(super) unit: Measure,
}

impl Named {
    /// The error is a sentence.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if let Some((name, unit)) = PLAIN.iter().find(|(name, _)| *name == text) {
            return Ok(Self { number: (*name).to_owned(), statistic: None, stage: None, unit: *unit });
        }
        let (number, statistic) = match (text.strip_suffix(".mean"), text.rfind(".p")) {
            (Some(number), _) => (number, Statistic::Mean),
            (None, None) => (text, Statistic::Mean),
            (None, Some(at)) => {
                let (number, statistic) = text.split_at(at);
                let percent = statistic.trim_start_matches('.').parse();
                let unknown = |why| format!("{why}; there are mean and percentiles, such as p50 and p99.9");
                (number, Statistic::Percentile(percent.map_err(unknown)?))
            }
        };
        let plain = PLAIN.map(|(name, _)| name);
        let quantity = Quantity::parse(number).map_err(|error| match near(number, plain.into_iter()) {
            near if !near.is_empty() => {
                format!("`{number}` is no figure; did you mean {}?", near.join(" or "))
            }
            _ if error.ends_with('?') => error,
            _ => format!("{error}; there are also {}", plain.join(", ")),
        })?;
        let unit = match quantity.unit {
            Unit::Milliseconds => Measure::Time,
            Unit::Ratio => Measure::Ratio,
            _ => {
                return Err(format!(
                    "`{number}` is a count, and only times and ratios are compared; there are also {}",
                    plain.join(", ")
                ));
            }
        };
        let stage = match quantity.stage() {
            Some(Stage::Name(name)) => Some(name.clone()),
            _ => None,
        };
        Ok(Self { number: quantity.shortest(), statistic: Some(statistic), stage, unit })
    }
}
