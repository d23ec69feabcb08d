//! `--fail-if`: conditions under which a comparison is a failure.

use std::{fmt, str::FromStr};

use serde::Serialize;

use super::{
    blocks::ENOUGH,
    change::{Change, Interval},
    comparison::{Bound, Comparison, Figure, Measure},
    named::{Named, Statistic},
    sample::{BEYOND, Lack},
    shown::{Amount, DECIMALS, range, ratios},
};
use crate::{
    cli::{
        amount::amount,
        groups::Percent,
        objectives::amount as limit,
        ratio::{as_change, as_changes},
        sentence::listed,
        stage_names::StageNames,
    },
    model::{id::unordered, numbers::Unit},
    write::columns::{grouped, id},
};

/// What is said of a condition that does not hold, though it may be so.
const BEYOND_LIMIT: &str =
    "; the 95 % interval reaches beyond the limit, so the logs do not exclude a change beyond it";

/// A condition, such as `e2e.p99 > +5%`.
#[derive(Debug, Clone)]
pub(super) struct Condition {
    text: String,
    /// The name of the figure without its statistic.
    number: String,
    statistic: Option<Statistic>,
    /// The name in `number` of a stage that is not named by its id.
    stage: Option<String>,
    is_above: bool,
    threshold: Threshold,
}

/// What a figure is compared with.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Threshold {
    /// A change in relation to the first log, as a ratio.
    Ratio(f64),
    /// A change, in the unit of the figure.
    Difference(f64),
    /// The second log's figure itself.
    Value(f64),
}

/// What became of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    /// The figure is on the right side.
    Passed,
    /// The figure is beyond the threshold, but that may be chance.
    WithinChance,
    Failed,
    /// The logs are too short to tell a change from chance, or do not have the figure.
    Unknown,
}

/// A condition, and what became of it.
#[derive(Debug, Serialize)]
pub(super) struct Verdict {
    pub(super) condition: String,
    pub(super) outcome: Outcome,
    /// The figure in both logs, and its change, in a sentence.
    pub(super) found: String,
}

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // An edge, `0->1`, has a `>` that compares nothing.
        let compares = |(at, _): &(usize, &str)| !text.get(..*at).is_some_and(|before| before.ends_with('-'));
        let Some((at, _)) = text.match_indices(['<', '>']).find(compares) else {
            return Err(format!("`{text}` compares nothing: a condition is, for example, `e2e.p99 > +5%`"));
        };
        let (figure, rest) = text.split_at(at);
        let is_above = rest.starts_with('>');
        let limit = rest.get(1..).unwrap_or_default().trim();
        if limit.starts_with('=') {
            return Err(format!("`{text}`: the signs are `>` and `<`, as in `e2e.p99 > +5%`"));
        }
        let Named { number, statistic, stage, unit } = Named::parse(figure.trim())?;
        let threshold = Threshold::parse(limit, unit)?;
        match threshold {
            Threshold::Ratio(ratio) if (ratio < 1.0) == is_above && ratio != 1.0 => Err(one_way(text)),
            Threshold::Difference(more) if (more < 0.0) == is_above && more != 0.0 => Err(one_way(text)),
            _ => Ok(Self { text: text.to_owned(), number, statistic, stage, is_above, threshold }),
        }
    }
}

fn one_way(text: &str) -> String {
    format!("`{text}` is about no change: a rise is `> +5%`, a fall is `< -5%`")
}

impl Threshold {
    fn parse(text: &str, unit: Measure) -> Result<Self, String> {
        let sign = text.chars().next().filter(|sign| matches!(sign, '+' | '-'));
        let magnitude = text.trim_start_matches(['+', '-']);
        let signed = |number: f64| if sign == Some('-') { -number } else { number };
        let percent = magnitude.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
        let percent = percent.filter(|percent| percent.is_finite() && *percent >= 0.0);
        match (percent, sign, unit) {
            (Some(percent), Some(_), Measure::Share) => Ok(Self::Difference(signed(percent / 100.0))),
            (Some(percent), None, Measure::Share) => Ok(Self::Value(percent / 100.0)),
            (Some(percent), Some(_), _) => Ok(Self::Ratio(1.0 + signed(percent / 100.0))),
            (Some(_), None, _) => Err(format!("`{text}` has no sign: a change is `+5%` or `-5%`")),
            (None, ..) => {
                let value = match unit {
                    Measure::Time => limit(magnitude, Unit::Milliseconds)? / 1e6,
                    _ => limit(magnitude, Unit::Ratio)?,
                };
                Ok(if sign.is_some() { Self::Difference(signed(value)) } else { Self::Value(value) })
            }
        }
    }
}

impl Condition {
    /// The name of the figure.
    fn name(&self) -> String {
        match self.statistic {
            None => self.number.clone(),
            Some(Statistic::Mean) => format!("{}.mean", self.number),
            Some(Statistic::Percentile(percent)) => format!("{}.{percent}", self.number),
        }
    }

    /// The condition with the id of its stage, which the logs know by its name. The error is a sentence.
    pub(super) fn resolved(&self, names: &StageNames) -> Result<Self, String> {
        let Some((name, (number, _))) = self.stage.as_deref().zip(self.number.split_once('@')) else {
            return Ok(self.clone());
        };
        let ids: Vec<_> = names.called(name).map(|stage| id(unordered(stage))).collect();
        match ids.as_slice() {
            [] => Ok(self.clone()),
            [id] => Ok(Self { number: format!("{number}@{id}"), ..self.clone() }),
            several => Err(format!(
                "--fail-if '{}': the stages {} are called {name}; name one by its id",
                self.text,
                listed(several)
            )),
        }
    }

    /// Whether it is about objectives.
    pub(super) fn needs_objective(&self) -> bool {
        ["objectives", "goodput"].contains(&self.number.as_str())
    }

    /// The condition as the argument spells it.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The percentile that it names, if it names one.
    pub(super) fn percent(&self) -> Option<Percent> {
        match self.statistic {
            Some(Statistic::Percentile(percent)) => Some(percent),
            _ => None,
        }
    }

    pub(super) fn verdict(&self, comparison: &Comparison, is_certain: bool) -> Verdict {
        let verdict = |outcome, found| Verdict { condition: self.text.clone(), outcome, found };
        let name = self.name();
        match comparison.figure(&name) {
            None => verdict(Outcome::Unknown, format!("neither log has {name}")),
            Some(figure) => {
                let outcome = self.outcome(figure, is_certain);
                match figure.bound.as_ref().filter(|_| outcome == Outcome::Unknown) {
                    Some(bound) if self.holds_for(bound, is_certain) => {
                        verdict(Outcome::Failed, sentence(figure, &self.by_bound(figure, bound)))
                    }
                    _ => {
                        let mut found = sentence(figure, &self.without_interval(outcome, figure, comparison));
                        if outcome == Outcome::Passed && self.is_open(figure) {
                            found += BEYOND_LIMIT;
                        }
                        verdict(outcome, found)
                    }
                }
            }
        }
    }

    /// Whether the condition holds for a change that is smaller than that of the figure.
    fn holds_for(&self, bound: &Bound, is_certain: bool) -> bool {
        self.is_above == bound.is_rise && self.outcome(&bound.figure, is_certain) == Outcome::Failed
    }

    /// That a lower percentile decides.
    fn by_bound(&self, figure: &Figure, bound: &Bound) -> String {
        let Bound { is_rise, figure: lower } = bound;
        let (value, log) = match is_rise {
            true => (lower.change.after, "second"),
            false => (lower.change.before, "first"),
        };
        let value = value.map_or_else(String::new, |value| format!(" ({})", Amount(value, lower.unit)));
        let interval = self.interval(lower).map(|ends| match self.threshold {
            Threshold::Ratio(_) if !lower.change.is_from_zero() => as_changes(ends),
            _ => range(ends, lower.unit, DECIMALS),
        });
        format!(
            "no interval: {}, but with the smaller {} of the {log} log{value} in its place, the 95 % \
             interval is already {}",
            lacking(figure),
            lower.name,
            interval.unwrap_or_default(),
        )
    }

    /// What is said of a figure that has no interval: that none is needed, or why there is none, and which
    /// figure has one.
    fn without_interval(&self, outcome: Outcome, figure: &Figure, comparison: &Comparison) -> String {
        match outcome {
            Outcome::Passed => {
                return "no interval, and none is needed: it is not beyond the limit".to_owned();
            }
            Outcome::Failed => {
                return "no interval, and none is needed for a limit of its own value".to_owned();
            }
            Outcome::WithinChance | Outcome::Unknown => {}
        }
        let reason = lacking(figure);
        let names = ["p90", "p50", "mean"].map(|statistic| format!("{}.{statistic}", self.number));
        let has_interval =
            |name: &&String| comparison.figure(name).is_some_and(|figure| self.interval(figure).is_some());
        match names.iter().find(has_interval) {
            Some(name) => format!("no interval: {reason}; {name} can be decided"),
            None => format!("no interval: {reason}"),
        }
    }

    /// Whether the interval of a change reaches beyond the limit, so that such a change is not excluded.
    fn is_open(&self, figure: &Figure) -> bool {
        let limit = match self.threshold {
            Threshold::Ratio(_) if figure.change.is_from_zero() => 0.0,
            Threshold::Ratio(limit) | Threshold::Difference(limit) => limit,
            Threshold::Value(_) => return false,
        };
        self.interval(figure).is_some_and(|ends| ends.iter().any(|end| self.is_beyond(*end, limit)))
    }

    /// The interval that decides it for a figure.
    fn interval(&self, figure: &Figure) -> Option<Interval> {
        match self.threshold {
            Threshold::Ratio(_) if !figure.change.is_from_zero() => figure.change.ratio_interval,
            Threshold::Ratio(_) | Threshold::Difference(_) => figure.change.difference_interval,
            Threshold::Value(_) => figure.after_interval,
        }
    }

    fn outcome(&self, figure: &Figure, is_certain: bool) -> Outcome {
        let (change, interval) = (&figure.change, self.interval(figure));
        let (found, threshold, none) = match self.threshold {
            // A rise from 0 is larger than any percentage of it.
            Threshold::Ratio(_) if change.is_from_zero() => (change.difference, 0.0, Some(0.0)),
            Threshold::Ratio(ratio) => (change.ratio, ratio, Some(1.0)),
            Threshold::Difference(more) => (change.difference, more, Some(0.0)),
            Threshold::Value(value) => (change.after, value, None),
        };
        let Some(found) = found else { return Outcome::Unknown };
        if !self.is_beyond(found, threshold) {
            return Outcome::Passed;
        }
        // Without `--certain`, a change only has to be one, and a value is taken as it is.
        let Some(to_exceed) = (if is_certain { Some(threshold) } else { none }) else {
            return Outcome::Failed;
        };
        match interval {
            None => Outcome::Unknown,
            Some(ends) if ends.iter().all(|end| self.is_beyond(*end, to_exceed)) => Outcome::Failed,
            Some(_) => Outcome::WithinChance,
        }
    }

    fn is_beyond(&self, value: f64, threshold: f64) -> bool {
        if self.is_above { value > threshold } else { value < threshold }
    }
}

/// Why a figure has no interval.
pub(super) fn lacking(figure: &Figure) -> String {
    let lacks = figure.change.lacks.into_iter().zip(["first", "second"]);
    let reasons = lacks.filter_map(|(lack, log)| match lack? {
        Lack::Blocks(blocks) => Some(format!(
            "the {log} log has requests in {} of time, and {ENOUGH} are needed",
            amount(blocks as u64, "block", "blocks")
        )),
        Lack::Reach(reached, blocks) => Some(format!(
            "the requests of the {log} log that reach it ended in {reached} of its {blocks} blocks of time, \
             and {BEYOND} are needed"
        )),
    });
    let reasons: Vec<_> = reasons.collect();
    match figure.change {
        _ if !reasons.is_empty() => reasons.join("; "),
        Change { difference_interval: Some(_), .. } => {
            "it may be 0 in one of the logs, so only a difference has one".to_owned()
        }
        _ => "one of the logs does not have it".to_owned(),
    }
}

/// The values of a figure, and its change with its interval, or, if it has none, `without_interval`.
fn sentence(figure: &Figure, without_interval: &str) -> String {
    let Figure { name, unit, change, .. } = figure;
    let shown =
        |value: Option<f64>| value.map_or("none".to_owned(), |value| Amount(value, *unit).to_string());
    let mut text = format!("{name} was {} and is {}", shown(change.before), shown(change.after));
    let no_interval = || without_interval.to_owned();
    match (change.ratio, change.difference) {
        (Some(ratio), _) if *unit != Measure::Share => {
            let interval: Option<Interval> = change.ratio_interval;
            let interval =
                interval.map_or_else(no_interval, |ends| format!("95 % interval {}", ratios(ends)));
            text += &format!(" ({}, {interval})", as_change(ratio));
        }
        (_, Some(difference)) => {
            let interval = change.difference_interval;
            let interval = interval
                .map_or_else(no_interval, |ends| format!("95 % interval {}", range(ends, *unit, DECIMALS)));
            text += &format!(" ({}, {interval})", Amount(difference, *unit).signed());
        }
        _ => {}
    }
    text
}

/// How many conditions the text and the page show.
const SHOWN: usize = 16;

/// The sentences on conditions: if not all are shown, first those that failed, then the undecided ones.
pub(super) fn sentences(verdicts: &[Verdict]) -> Vec<String> {
    let mut first: Vec<_> = verdicts.iter().collect();
    let left_out = first.len().saturating_sub(SHOWN);
    if left_out == 0 {
        return first.into_iter().map(Verdict::to_string).collect();
    }
    first.sort_by_key(|verdict| match verdict.outcome {
        Outcome::Failed => 0,
        Outcome::Unknown => 1,
        Outcome::WithinChance => 2,
        Outcome::Passed => 3,
    });
    let (shown, hidden) = first.split_at(SHOWN);
    let failed = hidden.iter().filter(|verdict| verdict.outcome == Outcome::Failed).count();
    let rest = format!(
        "{} not shown, of which {} failed; `--json` has all, and the exit code counts all.",
        amount(left_out as u64, "more condition is", "more conditions are"),
        grouped(&failed.to_string()),
    );
    shown.iter().map(|verdict| verdict.to_string()).chain([rest]).collect()
}

impl Verdict {
    /// Whether the command does not succeed because of it.
    pub(super) fn is_serious(&self) -> bool {
        matches!(self.outcome, Outcome::Failed | Outcome::Unknown)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { condition, outcome, found } = self;
        match outcome {
            Outcome::Passed => write!(f, "passed: `{condition}` does not hold: {found}"),
            Outcome::WithinChance => {
                write!(
                    f,
                    "passed: `{condition}` may be so by chance, since the interval reaches further: {found}"
                )
            }
            Outcome::Failed => write!(f, "failed: `{condition}`: {found}"),
            Outcome::Unknown => write!(f, "undecided: `{condition}`: {found}"),
        }
    }
}
