//! Figures and their intervals as a person reads them.

use std::fmt;

use super::{change::Interval, comparison::Measure};
use crate::write::text::grouped;

/// A figure with its unit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Amount(pub(super) f64, pub(super) Measure);

impl Amount {
    /// The figure without its unit.
    pub(super) fn bare(self) -> String {
        match self.1 {
            Measure::Share => format!("{:.2} %", self.0 * 100.0),
            _ => grouped(&format!("{:.3}", self.0)),
        }
    }

    /// A difference, with its sign.
    pub(super) fn signed(self) -> String {
        let sign = if self.0 < 0.0 { "-" } else { "+" };
        match self.1 {
            Measure::Share => format!("{sign}{:.2} points", self.0.abs() * 100.0),
            unit => format!("{sign}{}", Self(self.0.abs(), unit)),
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.1 {
            Measure::Time => " ms",
            Measure::Rate => "/s",
            Measure::Ratio | Measure::Share => "",
        };
        write!(f, "{}{unit}", self.bare())
    }
}

/// An interval of ratios, as changes in percent.
pub(super) fn percent_range([low, high]: Interval) -> String {
    format!("{:+.1} to {:+.1} %", (low - 1.0) * 100.0, (high - 1.0) * 100.0)
}

/// An interval of differences.
pub(super) fn range([low, high]: Interval, unit: Measure) -> String {
    match unit {
        Measure::Share => format!("{:+.2} to {:+.2} points", low * 100.0, high * 100.0),
        Measure::Time => format!("{low:+.3} to {high:+.3} ms"),
        Measure::Rate => format!("{low:+.3} to {high:+.3}/s"),
        Measure::Ratio => format!("{low:+.3} to {high:+.3}"),
    }
}
