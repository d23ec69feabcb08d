//! What is said of a number: its unit, its meaning, and where it goes.

use crate::model::bounds;

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Part of what a row is known by, and no number of it.
    Key,
    Id,
    Count,
    Bytes,
    Milliseconds,
    Ratio,
    Text,
}

/// A family of the `metrics` facade.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(feature = "metrics"), allow(dead_code, reason = "only exporters take it"))]
pub(crate) struct Family {
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
    pub(crate) measure: Measure,
}

/// How a family measures a number.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(feature = "metrics"), allow(dead_code, reason = "only exporters take it"))]
pub(crate) enum Measure {
    /// The sum of the number over all rows.
    Counter,
    /// The distribution of the number over all rows, with the buckets that are recommended for it.
    Histogram { buckets: &'static [f64], is_rare: bool },
}

/// Every gap between two outputs of a row, which itself has only their mean and the longest one.
#[cfg_attr(not(feature = "metrics"), allow(dead_code, reason = "only exporters take it"))]
pub(crate) const INTER_OUTPUT: Family = Family {
    name: "omni_stage_inter_output_seconds",
    description: "Every gap between two outputs of a stage that follow each other.",
    measure: Measure::Histogram { buckets: bounds::INTER_OUTPUT_SECONDS, is_rare: true },
};

/// What is said of a number.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(test), allow(dead_code, reason = "the reference and its test take all of it"))]
pub(crate) struct About {
    pub(crate) unit: Unit,
    /// What the number is, in one sentence.
    pub(crate) meaning: &'static str,
    /// Whether `Percentiles` has its distribution.
    pub(crate) has_percentiles: bool,
    /// Whether it is an attribute of the request's OpenTelemetry span.
    pub(crate) is_attribute: bool,
    /// Whether a line that lacks it means zero.
    #[cfg_attr(not(feature = "cli"), allow(dead_code, reason = "only the reader takes it"))]
    pub(crate) is_zero_if_absent: bool,
    pub(crate) family: Option<Family>,
}

impl About {
    const fn new(unit: Unit, meaning: &'static str) -> Self {
        let (has_percentiles, is_attribute, is_zero_if_absent) = (false, false, false);
        Self { unit, meaning, has_percentiles, is_attribute, is_zero_if_absent, family: None }
    }

    pub(super) const fn percentiles(self) -> Self {
        Self { has_percentiles: true, ..self }
    }

    pub(super) const fn attribute(self) -> Self {
        Self { is_attribute: true, ..self }
    }

    pub(super) const fn zero_if_absent(self) -> Self {
        Self { is_zero_if_absent: true, ..self }
    }

    /// A histogram, with the buckets of its unit.
    pub(super) const fn family(self, name: &'static str, description: &'static str) -> Self {
        let buckets = match self.unit {
            Unit::Bytes => bounds::BYTES,
            Unit::Ratio => bounds::REAL_TIME_FACTOR,
            _ => bounds::LATENCY_SECONDS,
        };
        let measure = Measure::Histogram { buckets, is_rare: false };
        Self { family: Some(Family { name, description, measure }), ..self }
    }

    pub(super) const fn counter(self, name: &'static str, description: &'static str) -> Self {
        Self { family: Some(Family { name, description, measure: Measure::Counter }), ..self }
    }

    /// Other buckets for its histogram.
    pub(super) const fn buckets(self, buckets: &'static [f64]) -> Self {
        match self.family {
            Some(Family { name, description, measure: Measure::Histogram { is_rare, .. } }) => {
                let measure = Measure::Histogram { buckets, is_rare };
                Self { family: Some(Family { name, description, measure }), ..self }
            }
            _ => self,
        }
    }

    /// The series of its histogram appear with their first value, since most requests and stages have none.
    pub(super) const fn rare(self) -> Self {
        match self.family {
            Some(Family { name, description, measure: Measure::Histogram { buckets, .. } }) => {
                let measure = Measure::Histogram { buckets, is_rare: true };
                Self { family: Some(Family { name, description, measure }), ..self }
            }
            _ => self,
        }
    }
}

pub(super) const fn key(meaning: &'static str) -> About {
    About::new(Unit::Key, meaning)
}

pub(super) const fn id(meaning: &'static str) -> About {
    About::new(Unit::Id, meaning)
}

pub(super) const fn count(meaning: &'static str) -> About {
    About::new(Unit::Count, meaning)
}

pub(super) const fn bytes(meaning: &'static str) -> About {
    About::new(Unit::Bytes, meaning)
}

pub(super) const fn ms(meaning: &'static str) -> About {
    About::new(Unit::Milliseconds, meaning)
}

pub(super) const fn ratio(meaning: &'static str) -> About {
    About::new(Unit::Ratio, meaning)
}

pub(super) const fn text(meaning: &'static str) -> About {
    About::new(Unit::Text, meaning)
}
