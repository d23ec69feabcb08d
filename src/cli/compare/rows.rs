//! A comparison as comma-separated values, a row for each figure.

use std::io::Write;

use super::{
    Report,
    change::{Change, Interval},
    comparison::{Figure, Measure, PartOfTime},
    groups::Group,
    metric::Place,
};
use crate::cli::{
    failure::Result,
    records::{Records, cell},
};

/// What a figure is of, its name, and its unit.
const NAMES: [&str; 5] = ["of", "place", "stage_name", "figure", "unit"];
const NUMBERS: [&str; 16] = [
    "count_before",
    "count_after",
    "before",
    "after",
    "after_low",
    "after_high",
    "difference",
    "difference_low",
    "difference_high",
    "ratio",
    "ratio_low",
    "ratio_high",
    "p_value",
    "is_changed",
    "is_main",
    "no_interval",
];

/// A figure, as JSON has it.
struct Row<'a> {
    of: &'static str,
    place: String,
    stage_name: Option<&'a str>,
    figure: String,
    unit: Measure,
    counts: Option<[u64; 2]>,
    change: Change,
    after_interval: Option<Interval>,
    is_main: bool,
}

impl Row<'_> {
    fn cells(&self) -> impl Iterator<Item = String> {
        let Self { of, place, stage_name, figure, unit, counts, change, after_interval, is_main } = self;
        let Change { before, after, difference, difference_interval, ratio, ratio_interval, .. } = change;
        let names = [(*of).to_owned(), place.clone(), cell(*stage_name), figure.clone(), unit.to_string()];
        let [count_before, count_after] = pair(*counts, |count| count.to_string());
        let ends = |ends: Option<Interval>| pair(ends, |end| number(Some(end)));
        let [after_low, after_high] = ends(*after_interval);
        let [difference_low, difference_high] = ends(*difference_interval);
        let [ratio_low, ratio_high] = ends(*ratio_interval);
        let numbers = [
            count_before,
            count_after,
            number(*before),
            number(*after),
            after_low,
            after_high,
            number(*difference),
            difference_low,
            difference_high,
            number(*ratio),
            ratio_low,
            ratio_high,
            number(change.p_value),
            cell(change.is_changed),
            is_main.to_string(),
            cell(change.no_interval),
        ];
        names.into_iter().chain(numbers)
    }
}

/// A number that JSON has as well.
fn number(value: Option<f64>) -> String {
    cell(value.filter(|value| value.is_finite()))
}

fn pair<T>(values: Option<[T; 2]>, text: impl Fn(T) -> String) -> [String; 2] {
    values.map(|values| values.map(text)).unwrap_or_default()
}

impl Report {
    pub(super) fn write_csv(&self, out: &mut impl Write) -> Result<()> {
        let mut records = Records::new(out);
        records.write(NAMES.into_iter().chain(NUMBERS).map(str::to_owned))?;
        let figures = self.comparison.figures.iter().map(Figure::row);
        let parts = self.comparison.parts.iter().map(PartOfTime::row);
        let groups = self.by_group.iter().flat_map(|groups| &groups.groups).flat_map(Group::csv_rows);
        for row in figures.chain(parts).chain(groups) {
            records.write(row.cells())?;
        }
        records.flush()
    }
}

impl Figure {
    fn row(&self) -> Row<'_> {
        let (of, place) = match self.place {
            None => ("run", String::new()),
            Some(place @ Place::Request) => ("request", place.to_string()),
            Some(place @ Place::Stage(_)) => ("stage", place.to_string()),
            Some(place @ Place::Edge(_)) => ("transfer", place.to_string()),
        };
        Row {
            of,
            place: place.trim_start_matches('@').to_owned(),
            stage_name: self.stage_name.as_deref(),
            figure: self.name.clone(),
            unit: self.unit,
            counts: self.counts(),
            change: self.change,
            after_interval: self.after_interval,
            is_main: self.is_main,
        }
    }
}

impl PartOfTime {
    fn row(&self) -> Row<'_> {
        Row {
            of: "part",
            place: self.part.clone(),
            stage_name: self.stage_name.as_deref(),
            figure: "mean".to_owned(),
            unit: Measure::Time,
            counts: None,
            change: self.change,
            after_interval: None,
            is_main: false,
        }
    }
}

impl Group {
    fn csv_rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.percentiles().map(|(number, percent, change)| Row {
            of: "group",
            place: self.group.clone(),
            stage_name: None,
            figure: format!("{number}.{percent}"),
            unit: Measure::Time,
            counts: Some(self.counts),
            change: *change,
            after_interval: None,
            is_main: false,
        })
    }
}
