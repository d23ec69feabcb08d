//! The change of a figure between two logs, with its confidence interval.

use std::fmt;

use super::{
    sample::{Error, Estimate, Lack},
    student::{CONFIDENCE, half_width, two_sided},
};
use serde::Serialize;

/// An interval, from its lower to its upper end.
pub(super) type Interval = [f64; 2];

/// What became of a figure.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Change {
    pub(super) before: Option<f64>,
    pub(super) after: Option<f64>,
    /// `after` − `before`.
    pub(super) difference: Option<f64>,
    pub(super) difference_interval: Option<Interval>,
    /// `after` / `before`.
    pub(super) ratio: Option<f64>,
    pub(super) ratio_interval: Option<Interval>,
    /// How likely a difference as large as this one is without a change. Of the ratio, if it has an interval.
    pub(super) p_value: Option<f64>,
    /// Whether there is a change, with all figures of the comparison taken into account; `None` if that can't
    /// be said.
    pub(super) is_changed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) no_interval: Option<NoInterval>,
    /// Why each of the logs has no interval.
    #[serde(skip)]
    pub(super) lacks: [Option<Lack>; 2],
}

/// Why a change has no interval, so that it can't be said whether it is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum NoInterval {
    /// One of the logs does not have the figure, or both.
    Missing,
    /// A log has requests in too few blocks of time.
    FewBlocks,
    /// The requests of a log that reach the percentile ended in too few blocks of time.
    FewReachIt,
}

impl fmt::Display for NoInterval {
    /// As JSON has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl Change {
    pub(super) fn new(before: Option<Estimate>, after: Option<Estimate>) -> Self {
        let (old, new) = (before.map(|figure| figure.value), after.map(|figure| figure.value));
        let difference = old.zip(new).map(|(old, new)| new - old);
        let ratio = old.zip(new).filter(|(old, _)| *old > 0.0).map(|(old, new)| new / old);
        let lacks = [before, after].map(|figure| figure?.error.err());
        let [old_error, new_error] = [before, after].map(|figure| figure?.error.ok());
        let errors = old_error.zip(new_error);
        let of_value = errors.and_then(|errors| combined(errors, |error| Some(error.of_value)));
        let of_log = errors.and_then(|errors| combined(errors, |error| error.of_log));
        let log = ratio.map(f64::ln).filter(|log| log.is_finite());
        let is_short = |lack: &Option<Lack>| matches!(lack, Some(Lack::Blocks(_)));
        let no_interval = match (difference, of_value) {
            (None, _) => Some(NoInterval::Missing),
            (Some(_), Some(_)) => None,
            (Some(_), None) if lacks.iter().any(is_short) => Some(NoInterval::FewBlocks),
            (Some(_), None) => Some(NoInterval::FewReachIt),
        };
        let p_of_ratio = log.zip(of_log).map(|(log, spread)| spread.p_value(log));
        Self {
            before: old,
            after: new,
            difference,
            difference_interval: difference.zip(of_value).map(|(value, spread)| spread.interval(value)),
            ratio,
            ratio_interval: log.zip(of_log).map(|(log, spread)| spread.interval(log).map(f64::exp)),
            p_value: p_of_ratio.or(difference.zip(of_value).map(|(value, spread)| spread.p_value(value))),
            is_changed: None,
            no_interval,
            lacks,
        }
    }

    /// Whether its own interval excludes *no change*, though it is not known to have changed: the correction
    /// for all figures asks for more.
    pub(super) fn is_changed_alone(&self) -> bool {
        self.is_changed == Some(false) && self.p_value.is_some_and(|p_value| p_value < 1.0 - CONFIDENCE)
    }

    /// Whether a ratio is without meaning, since the first value is 0.
    pub(super) fn is_from_zero(&self) -> bool {
        self.before == Some(0.0)
    }

    /// Takes it for no change, whatever chance explains, if both values are below this one.
    pub(super) fn disregard_below(&mut self, least: f64) {
        if [self.before, self.after].into_iter().flatten().all(|value| value < least) {
            self.p_value = None;
            self.is_changed = self.is_changed.map(|_| false);
        }
    }
}

/// The interval of one figure.
pub(super) fn interval(figure: Estimate) -> Option<Interval> {
    let Error { of_value, freedom, .. } = figure.error.ok()?;
    Some(Spread { error: of_value, freedom }.interval(figure.value))
}

/// A standard error, and the degrees of freedom of its estimate.
#[derive(Debug, Clone, Copy)]
struct Spread {
    error: f64,
    freedom: f64,
}

/// The standard error of a difference of two independent figures; degrees of freedom as in Welch (1947).
fn combined((before, after): (Error, Error), of: impl Fn(Error) -> Option<f64>) -> Option<Spread> {
    let (old, new) = (of(before)?.powi(2), of(after)?.powi(2));
    let freedom = (old + new).powi(2) / (old.powi(2) / before.freedom + new.powi(2) / after.freedom);
    let freedom = if freedom.is_finite() { freedom } else { before.freedom.min(after.freedom) };
    Some(Spread { error: (old + new).sqrt(), freedom })
}

impl Spread {
    fn interval(self, value: f64) -> Interval {
        let reach = half_width(self.freedom) * self.error;
        [value - reach, value + reach]
    }

    /// Of two sides: how likely a difference from zero like this one is if there is none.
    fn p_value(self, difference: f64) -> f64 {
        if self.error == 0.0 {
            return if difference == 0.0 { 1.0 } else { 0.0 };
        }
        two_sided(difference / self.error, self.freedom)
    }
}

/// Decides which changes are changes, so that with a probability of 95 % none of them is there by chance
/// (Holm 1979: the smallest of n values is to be below 5 % / n, the next below 5 % / (n − 1), and so on).
pub(super) fn decide(changes: &mut [&mut Change]) {
    let mut known: Vec<_> = changes.iter_mut().filter_map(|change| Some((change.p_value?, change))).collect();
    known.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    let count = known.len();
    let mut is_changed = true;
    for (at, (p_value, change)) in known.into_iter().enumerate() {
        is_changed &= p_value < (1.0 - CONFIDENCE) / (count - at) as f64;
        change.is_changed = Some(is_changed);
    }
}
