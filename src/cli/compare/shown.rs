//! Figures and their intervals as a person reads them.

use std::fmt;

use super::{
    change::{Change, Interval},
    comparison::Measure,
};
use crate::write::columns::grouped;

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

/// What the cells of a row of figures say.
pub(super) const HEADS: [&str; 5] = ["before", "after", "difference", "change", "95 % interval"];

/// The cells of a row; `None` if there is nothing in either log.
pub(super) fn cells(change: &Change, unit: Measure) -> Option<[String; 5]> {
    let is_share = unit == Measure::Share;
    if change.before.unwrap_or(0.0) == 0.0 && change.after.unwrap_or(0.0) == 0.0 && !is_share {
        return None;
    }
    let bare = |value: Option<f64>| value.map(|value| Amount(value, unit).bare());
    let sign = |value: f64| if value < 0.0 { "" } else { "+" };
    let difference = change.difference.map(|value| format!("{}{}", sign(value), Amount(value, unit).bare()));
    // A share of shares is easily misread.
    let ratio = change.ratio.filter(|_| !is_share);
    let percent = ratio.map(|ratio| format!("{:+.1} %", (ratio - 1.0) * 100.0));
    let interval = match (change.ratio_interval.filter(|_| !is_share), change.difference_interval) {
        (Some(ends), _) => Some(percent_range(ends)),
        (None, Some(ends)) => Some(range(ends, unit)),
        (None, None) => None,
    };
    let cells = [bare(change.before), bare(change.after), difference, percent, interval];
    Some(cells.map(|cell| cell.unwrap_or_else(|| "-".to_owned())))
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
