//! Figures and their intervals as a person reads them.

use std::fmt;

use super::{
    change::{Change, Interval},
    comparison::Measure,
};
use crate::{
    cli::ratio::{as_change, as_changes},
    write::columns::grouped,
};

/// The decimals of a sentence on a condition, which may need them to tell a figure from a limit.
pub(super) const DECIMALS: usize = 3;

/// An interval of ratios says nothing if it reaches further than this factor in both directions.
const WIDE: f64 = 5.0;
/// What stands for such an interval.
pub(super) const TOO_WIDE: &str = "too wide";

/// An interval of ratios.
pub(super) fn ratios([low, high]: Interval) -> String {
    if low <= 1.0 / WIDE && high >= WIDE { TOO_WIDE.to_owned() } else { as_changes([low, high]) }
}

/// A figure with its unit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Amount(pub(super) f64, pub(super) Measure);

impl Amount {
    /// A difference, with its sign.
    pub(super) fn signed(self) -> String {
        let sign = if self.0 < 0.0 { "-" } else { "+" };
        match self.1 {
            Measure::Share => format!("{sign}{:.2} points", self.0.abs() * 100.0),
            unit => format!("{sign}{}", Self(self.0.abs(), unit)),
        }
    }
}

impl Measure {
    /// The unit, as it follows a figure.
    fn name(self) -> &'static str {
        match self {
            Self::Time => " ms",
            Self::Rate => "/s",
            Self::Ratio | Self::Share => "",
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", bare(self.0, self.1, DECIMALS), self.1.name())
    }
}

/// How many decimals a figure of both logs has: the larger one has four significant digits, below 1 three. A
/// tenth of a microsecond is the least that a time shows.
fn decimals(change: &Change, unit: Measure) -> usize {
    let largest =
        [change.before, change.after].into_iter().flatten().fold(0.0, |one: f64, other| one.max(other.abs()));
    let digits = if largest < 1.0 { 3 } else { 4 };
    let most = if unit == Measure::Time { 4 } else { 6 };
    let before_the_point = largest.log10().floor() as i32 + 1;
    if largest > 0.0 { (digits - before_the_point).clamp(0, most) as usize } else { DECIMALS }
}

/// A figure without its unit.
fn bare(value: f64, unit: Measure, decimals: usize) -> String {
    match unit {
        Measure::Share => format!("{:.2} %", value * 100.0),
        _ => grouped(&format!("{value:.decimals$}")),
    }
}

/// The difference of a figure, with its sign and its unit, as its row has it.
pub(super) fn difference(change: &Change, unit: Measure) -> Option<String> {
    let [_, _, difference, ..] = cells(change, unit)?;
    change.difference?;
    Some(format!("{difference}{}", unit.name()))
}

/// Both values of a figure with its unit, as its row has them.
pub(super) fn from_to(change: &Change, unit: Measure) -> Option<String> {
    let [before, after, ..] = cells(change, unit)?;
    Some(format!("{before} to {after}{}", unit.name()))
}

/// What the cells of a row of figures say.
pub(super) const HEADS: [&str; 5] = ["before", "after", "difference", "change", "95 % interval"];

/// The cells of a row; `None` if both logs have nothing, or what would be shown as zero.
pub(super) fn cells(change: &Change, unit: Measure) -> Option<[String; 5]> {
    let is_share = unit == Measure::Share;
    let decimals = decimals(change, unit);
    let bare = |value: Option<f64>| value.map(|value| bare(value, unit, decimals));
    let sign = |value: f64| if value < 0.0 { "" } else { "+" };
    let difference = bare(change.difference).zip(change.difference);
    let difference = difference.map(|(text, value)| format!("{}{text}", sign(value)));
    // A share of shares is easily misread.
    let ratio = change.ratio.filter(|_| !is_share);
    let shows_zero =
        |value: Option<f64>| bare(value).is_some_and(|text| !text.contains(|c| ('1'..='9').contains(&c)));
    let is_zero = |value: Option<f64>| value.is_none() || shows_zero(value);
    if is_zero(change.before) && is_zero(change.after) && !is_share {
        return None;
    }
    // No ratio to what is shown as zero says something.
    let is_from_zero = shows_zero(change.before) && !is_share;
    let percent = match ratio {
        _ if is_from_zero && change.after.is_some() => Some("from 0".to_owned()),
        ratio => ratio.map(as_change),
    };
    // But it may be the ratio that is known to have changed.
    let is_of_ratio = change.is_changed == Some(true)
        && change.difference_interval.is_some_and(|[low, high]| low <= 0.0 && high >= 0.0);
    let ratio_interval = change.ratio_interval.filter(|_| !is_share && (!is_from_zero || is_of_ratio));
    let interval = match (ratio_interval, change.difference_interval) {
        (Some(ends), _) => Some(ratios(ends)),
        (None, Some(ends)) => Some(range(ends, unit, decimals).trim_end_matches(unit.name()).to_owned()),
        (None, None) => None,
    };
    let cells = [bare(change.before), bare(change.after), difference, percent, interval];
    Some(cells.map(|cell| cell.unwrap_or_else(|| "-".to_owned())))
}

/// An interval of differences.
pub(super) fn range([low, high]: Interval, unit: Measure, decimals: usize) -> String {
    match unit {
        Measure::Share => format!("{:+.2} to {:+.2} points", low * 100.0, high * 100.0),
        unit => {
            let signed = |end: f64| {
                let sign = if end < 0.0 { "-" } else { "+" };
                format!("{sign}{}", bare(end.abs(), unit, decimals))
            };
            format!("{} to {}{}", signed(low), signed(high), unit.name())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_that_says_nothing_is_not_shown() {
        let shown = [[0.0, 117.0], [0.103, 9.811], [0.2, 5.0], [0.3, 9.0], [0.1, 2.0]].map(ratios);
        let percent = ["-70.0 to +800.0 %", "-90.0 to +100.0 %"];
        assert_eq!(shown, [TOO_WIDE, TOO_WIDE, TOO_WIDE, percent[0], percent[1]]);
    }
}
