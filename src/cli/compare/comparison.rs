//! All figures of two logs side by side.

use std::{collections::BTreeSet, fmt};

use serde::Serialize;

use super::{
    blocks::Block,
    change::{Change, Interval, decide, interval},
    metric::{Place, numbers, step},
    sample::{Estimate, Sample},
};
use crate::{
    cli::{
        groups::Percent,
        parts::shown,
        stage_names::{StageNames, shortened},
        timeline::Part,
    },
    model::{id::OrderedId, numbers::Unit},
};

/// The numbers whose figures are looked at first, in this order.
const MAIN: [&str; 6] = ["e2e", "requests_per_s", "tokens_per_s", "failed", "objectives", "goodput"];

/// In milliseconds. Clocks and spans cost more than this.
const MICROSECOND: f64 = 0.001;

/// In what a figure is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) enum Measure {
    #[serde(rename = "ms")]
    Time,
    #[serde(rename = "ratio")]
    Ratio,
    #[serde(rename = "per_s")]
    Rate,
    #[serde(rename = "share")]
    Share,
}

impl fmt::Display for Measure {
    /// As JSON has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// A figure of both logs.
#[derive(Debug, Serialize)]
pub(super) struct Figure {
    /// As `--fail-if` names it.
    pub(super) name: String,
    pub(super) unit: Measure,
    pub(super) is_main: bool,
    /// `None` for those of the run as a whole.
    #[serde(skip)]
    pub(super) place: Option<Place>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stage_name: Option<String>,
    /// How many requests of each log have the number; absent for figures of the run as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    count_before: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count_after: Option<u64>,
    #[serde(flatten)]
    pub(super) change: Change,
    /// The interval of the figure of the second log by itself.
    pub(super) after_interval: Option<Interval>,
    /// Of a percentile without an interval in one of the logs: the change with a lower percentile of that log
    /// in its place. The percentile itself changed at least as much in that direction.
    #[serde(skip)]
    pub(super) bound: Option<Box<Bound>>,
}

/// A change that is smaller than that of a percentile.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) is_rise: bool,
    /// The change, and the name of the lower percentile.
    pub(super) figure: Figure,
}

/// Where a request's time goes on average, in both logs.
#[derive(Debug, Serialize)]
pub(super) struct PartOfTime {
    pub(super) part: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stage_name: Option<String>,
    /// `None` for those that are not told apart.
    #[serde(skip)]
    pub(super) kind: Option<Part>,
    #[serde(flatten)]
    pub(super) change: Change,
}

/// What changed from one log to the other.
#[derive(Debug, Serialize)]
pub(super) struct Comparison {
    pub(super) figures: Vec<Figure>,
    /// The mean milliseconds of a request, by part of its critical path; they add up to `e2e.mean`.
    pub(super) parts: Vec<PartOfTime>,
    /// Percentiles that are not shown, but that conditions name or are decided by.
    #[serde(skip)]
    further: Vec<Figure>,
}

impl Comparison {
    /// With these percentiles, in ascending order. Conditions find `further` ones, and those by which they
    /// are decided, whichever are shown.
    pub(super) fn of(
        before: &Sample,
        after: &Sample,
        percents: &[Percent],
        further: impl Iterator<Item = Percent>,
    ) -> Self {
        let all: BTreeSet<_> = percents.iter().copied().chain(Percent::USUAL).chain(further).collect();
        let both = Both { before, after, percents: all.into_iter().collect() };
        let (mut figures, mut further, mut parts) = (both.rates(), Vec::new(), both.parts());
        for place in both.places() {
            for (at, (name, unit)) in numbers(place).into_iter().enumerate() {
                for (percent, figure) in both.distribution(place, at, &name, unit) {
                    let is_shown = percent.is_none_or(|percent| percents.contains(&percent));
                    if is_shown { &mut figures } else { &mut further }.push(figure);
                }
            }
        }
        figures.sort_by_key(|figure| main_place(&figure.name).unwrap_or(MAIN.len()));
        // The main figures are a family of their own, so that the many others do not hide their changes.
        let (main, others): (Vec<_>, Vec<_>) = figures.iter_mut().partition(|figure| figure.is_main);
        let [mut main, mut others] =
            [main, others].map(|figures| figures.into_iter().map(change_of).collect::<Vec<_>>());
        others.extend(parts.iter_mut().map(|part| &mut part.change));
        decide(&mut main);
        decide(&mut others);
        let times = figures.iter_mut().filter(|figure| figure.unit == Measure::Time).map(change_of);
        times
            .chain(parts.iter_mut().map(|part| &mut part.change))
            .for_each(|change| change.disregard_below(MICROSECOND));
        Self { figures, parts, further }
    }

    pub(super) fn figure(&self, name: &str) -> Option<&Figure> {
        self.figures.iter().chain(&self.further).find(|figure| figure.name == name)
    }

    /// Notes what the stages are called.
    pub(super) fn name_stages(&mut self, names: &StageNames) {
        let name = |stage: OrderedId| names.name(stage).map(str::to_owned);
        for figure in &mut self.figures {
            if let Some(Place::Stage(stage)) = figure.place {
                figure.stage_name = name(stage);
            }
        }
        for part in &mut self.parts {
            part.stage_name = part.kind.and_then(Part::stage).and_then(name);
        }
    }
}

impl PartOfTime {
    /// The part, with the name of its stage.
    pub(super) fn named(&self) -> String {
        let name = self.stage_name.as_deref().map(|name| format!(" {}", shortened(name)));
        format!("{}{}", shown(&self.part), name.unwrap_or_default())
    }
}

fn measure(unit: Unit) -> Measure {
    if unit == Unit::Ratio { Measure::Ratio } else { Measure::Time }
}

fn change_of(figure: &mut Figure) -> &mut Change {
    &mut figure.change
}

/// Where a figure stands among the main ones, if it is one.
fn main_place(name: &str) -> Option<usize> {
    let number = name.split('.').next();
    MAIN.iter().position(|main| number == Some(main))
}

/// Two samples.
struct Both<'a> {
    before: &'a Sample,
    after: &'a Sample,
    /// Those that are computed, in ascending order.
    percents: Vec<Percent>,
}

impl Both<'_> {
    /// The request, and each stage and edge that one of the logs has.
    fn places(&self) -> BTreeSet<Place> {
        let blocks = self.before.blocks.iter().chain(&self.after.blocks);
        blocks.flat_map(|at| at.block.numbers.keys().copied()).collect()
    }

    /// The mean of a number and its percentiles; nothing if neither log has it.
    fn distribution(
        &self,
        place: Place,
        at_number: usize,
        name: &str,
        unit: Unit,
    ) -> Vec<(Option<Percent>, Figure)> {
        let [before, after] =
            [self.before, self.after].map(|sample| sample.distribution(place, at_number, &self.percents));
        if before.is_none() && after.is_none() {
            return Vec::new();
        }
        let measure = measure(unit);
        let statistics: Vec<_> = [None].into_iter().chain(self.percents.iter().copied().map(Some)).collect();
        let all = |found: Option<(Estimate, Vec<Estimate>)>| match found {
            Some((mean, percentiles)) => {
                [mean].into_iter().chain(percentiles).map(|figure| Some(figure.times(step(unit)))).collect()
            }
            None => vec![None; statistics.len()],
        };
        let [before, after] = [before, after].map(all);
        let named = |percent: Option<Percent>| match percent {
            Some(percent) => format!("{name}.{percent}"),
            None => format!("{name}.mean"),
        };
        // The highest of the usual percentiles with an interval, of those below this one.
        let lower = |of: &[Option<Estimate>], at: usize| {
            let below = of.iter().zip(&statistics).take(at).rev();
            let usual = below.filter(|(_, percent)| percent.is_some_and(|it| Percent::USUAL.contains(&it)));
            usual
                .filter_map(|(found, percent)| Some(((*found)?, named(*percent))))
                .find(|(found, _)| found.error.is_ok())
        };
        let bound = |at: usize, old: Option<Estimate>, new: Option<Estimate>| {
            let lacks = |figure: Option<Estimate>| figure.is_some_and(|figure| figure.error.is_err());
            let (is_rise, old, new, name) = match (lacks(old), lacks(new)) {
                (false, true) => lower(&after, at).map(|(new, name)| (true, old, Some(new), name))?,
                (true, false) => lower(&before, at).map(|(old, name)| (false, Some(old), new, name))?,
                _ => return None,
            };
            Some(Box::new(Bound { is_rise, figure: Figure::new(name, measure, old, new) }))
        };
        let [count_before, count_after] =
            [self.before, self.after].map(|sample| Some(sample.count(place, at_number)));
        let figure = |(at, ((old, new), percent)): (usize, ((&_, &_), &Option<Percent>))| {
            let figure = Figure {
                place: Some(place),
                count_before,
                count_after,
                bound: bound(at, *old, *new),
                ..Figure::new(named(*percent), measure, *old, *new)
            };
            (*percent, figure)
        };
        before.iter().zip(&after).zip(&statistics).enumerate().map(figure).collect()
    }

    fn rates(&self) -> Vec<Figure> {
        let figure = |name: &str, unit, of: fn(&Block, u64) -> Option<(f64, f64)>| {
            let [before, after] = [self.before, self.after].map(|sample| sample.ratio(of));
            (before.is_some() || after.is_some()).then(|| Figure::new(name.to_owned(), unit, before, after))
        };
        [
            figure("requests_per_s", Measure::Rate, |block, nanos| {
                Some((block.requests as f64, nanos as f64 / 1e9))
            }),
            figure("tokens_per_s", Measure::Rate, |block, nanos| {
                Some((block.tokens as f64, nanos as f64 / 1e9))
            }),
            figure("failed", Measure::Share, |block, _| Some((block.failed as f64, block.requests as f64))),
            figure("objectives", Measure::Share, |block, _| {
                block.met().map(|(met, judged)| (met as f64, judged as f64))
            }),
            figure("goodput", Measure::Rate, |block, nanos| {
                block.met().map(|(met, _)| (met as f64, nanos as f64 / 1e9))
            }),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn parts(&self) -> Vec<PartOfTime> {
        let blocks = || self.before.blocks.iter().chain(&self.after.blocks);
        let known: BTreeSet<Part> =
            blocks().flat_map(|at| at.block.parts.iter().map(|(part, _)| *part)).collect();
        let mean = |sample: &Sample, nanos: &dyn Fn(&Block) -> u128| {
            sample.ratio(|block, _| Some((nanos(block) as f64 / 1e6, block.requests as f64)))
        };
        let row = |kind: Option<Part>, nanos: &dyn Fn(&Block) -> u128| PartOfTime {
            part: kind.map_or_else(|| "other parts".to_owned(), |part| part.to_string()),
            stage_name: None,
            kind,
            change: Change::new(mean(self.before, nanos), mean(self.after, nanos)),
        };
        let of = |block: &Block, wanted: Part| {
            block.parts.iter().find(|(part, _)| **part == wanted).map_or(0, |(_, nanos)| nanos)
        };
        let rows = known.into_iter().map(|part| row(Some(part), &|block: &Block| of(block, part)));
        let mut parts: Vec<_> = rows.collect();
        if blocks().any(|at| at.block.parts.rest > 0) {
            parts.push(row(None, &|block: &Block| block.parts.rest));
        }
        parts
    }
}

impl Figure {
    fn new(name: String, unit: Measure, before: Option<Estimate>, after: Option<Estimate>) -> Self {
        let is_main = main_place(&name).is_some();
        let change = Change::new(before, after);
        let after_interval = after.and_then(interval);
        let (count_before, count_after) = (None, None);
        Self {
            name,
            unit,
            is_main,
            place: None,
            stage_name: None,
            count_before,
            count_after,
            change,
            after_interval,
            bound: None,
        }
    }

    /// The number and its statistic; `None` for figures of the run as a whole.
    pub(super) fn number_and_statistic(&self) -> Option<(&str, &str)> {
        self.name.split_once('.')
    }

    /// How many requests of each log have the number.
    pub(super) fn counts(&self) -> Option<[u64; 2]> {
        Some([self.count_before?, self.count_after?])
    }
}
