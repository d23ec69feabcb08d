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
        stage_names::{StageNames, shortened},
        timeline::Part,
    },
    model::{id::OrderedId, numbers::Unit},
};

/// The statistics of a number: its mean, and its quantiles in the order of the sample's.
const STATISTICS: [&str; 4] = ["mean", "p50", "p90", "p99"];

/// The figures that are looked at first, in this order.
const MAIN: [&str; 9] = [
    "e2e.mean",
    "e2e.p50",
    "e2e.p90",
    "e2e.p99",
    "requests_per_s",
    "tokens_per_s",
    "failed",
    "objectives",
    "goodput",
];

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
    /// Percentiles that only conditions name.
    #[serde(skip)]
    further: Vec<Figure>,
}

impl Comparison {
    pub(super) fn of(before: &Sample, after: &Sample) -> Self {
        let both = Both { before, after };
        let (mut figures, mut parts) = (both.rates(), both.parts());
        for place in both.places() {
            for (at, (name, unit)) in numbers(place).into_iter().enumerate() {
                figures.extend(both.distribution(place, at, &name, unit));
            }
        }
        let rank = |figure: &Figure| MAIN.iter().position(|name| *name == figure.name).unwrap_or(MAIN.len());
        figures.sort_by_key(rank);
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
        Self { figures, parts, further: Vec::new() }
    }

    pub(super) fn figure(&self, name: &str) -> Option<&Figure> {
        self.figures.iter().chain(&self.further).find(|figure| figure.name == name)
    }

    /// Adds a percentile of a number, which does not count among the figures that may have changed.
    pub(super) fn add(&mut self, number: &str, percent: Percent, [before, after]: [&Sample; 2]) {
        let both = Both { before, after };
        let places = both.places().into_iter();
        let mut numbers = places.flat_map(|place| {
            numbers(place).into_iter().enumerate().map(move |(at, (name, unit))| (place, at, name, unit))
        });
        let Some((place, at, _, unit)) = numbers.find(|(_, _, name, _)| name == number) else { return };
        let [old, new] = [before, after]
            .map(|sample| sample.quantile(place, at, percent.share()).map(|figure| figure.times(step(unit))));
        if old.is_some() || new.is_some() {
            let figure = Figure::new(format!("{number}.{percent}"), measure(unit), old, new);
            self.further.push(Figure { place: Some(place), ..figure });
        }
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
        format!("{}{}", self.part, name.unwrap_or_default())
    }
}

fn measure(unit: Unit) -> Measure {
    if unit == Unit::Ratio { Measure::Ratio } else { Measure::Time }
}

fn change_of(figure: &mut Figure) -> &mut Change {
    &mut figure.change
}

/// Two samples.
struct Both<'a> {
    before: &'a Sample,
    after: &'a Sample,
}

impl Both<'_> {
    /// The request, and each stage and edge that one of the logs has.
    fn places(&self) -> BTreeSet<Place> {
        let blocks = self.before.blocks.iter().chain(&self.after.blocks);
        blocks.flat_map(|at| at.block.numbers.keys().copied()).collect()
    }

    fn distribution(&self, place: Place, at_number: usize, name: &str, unit: Unit) -> Vec<Figure> {
        let [before, after] = [self.before, self.after].map(|sample| sample.distribution(place, at_number));
        if before.is_none() && after.is_none() {
            return Vec::new();
        }
        let measure = measure(unit);
        let all = |found: Option<(Estimate, [Estimate; 3])>| match found {
            Some((mean, [p50, p90, p99])) => {
                [mean, p50, p90, p99].map(|figure| Some(figure.times(step(unit))))
            }
            None => [None; 4],
        };
        let [before, after] = [before, after].map(all);
        let named = |statistic: &str| format!("{name}.{statistic}");
        // The highest percentile with an interval, of those below this one.
        let lower = |of: &[Option<Estimate>; 4], at: usize| {
            let below = of.iter().zip(STATISTICS).take(at).skip(1).rev();
            below
                .filter_map(|(found, statistic)| Some(((*found)?, named(statistic))))
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
        let pairs = before.iter().zip(&after).zip(STATISTICS).enumerate();
        let [count_before, count_after] =
            [self.before, self.after].map(|sample| Some(sample.count(place, at_number)));
        let figure = |(at, ((old, new), statistic)): (usize, ((&_, &_), &str))| Figure {
            place: Some(place),
            count_before,
            count_after,
            bound: bound(at, *old, *new),
            ..Figure::new(named(statistic), measure, *old, *new)
        };
        pairs.map(figure).collect()
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
        let is_main = MAIN.contains(&name.as_str());
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

    /// How many requests of each log have the number.
    pub(super) fn counts(&self) -> Option<[u64; 2]> {
        Some([self.count_before?, self.count_after?])
    }
}
