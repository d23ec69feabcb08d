//! A comparison as a page for the browser.

use std::collections::BTreeMap;

use minijinja::{Value, context, value::Serde};
use serde::Serialize;

use super::{
    Report,
    change::Change,
    comparison::{Comparison, Figure, Measure},
    condition::sentences,
    distribution::Distribution,
    groups::{ByGroup, Group},
    metric::Place,
    shown::{HEADS, cells},
    text::named,
};
use crate::{
    Millis,
    cli::{
        failure::{Failure, Result},
        objectives::Objectives,
        report::{figures::shown, spent::Part, templates::templates},
        stage_names::{StageNames, shortened},
    },
    model::id::OrderedId,
    write::columns::printable,
};

const STYLE: &str = concat!(include_str!("../report/style.css"), include_str!("style.css"));
const TEMPLATE: &str = concat!(include_str!("../report/plot.html"), include_str!("page.html"));

/// The markup of the page, which needs no other file.
pub(super) fn html(
    report: &Report,
    distribution: Option<Distribution>,
    objectives: &Objectives,
) -> Result<String> {
    let Comparison { figures, parts, .. } = &report.comparison;
    let table = |figures: &mut dyn Iterator<Item = &Figure>| {
        rows(figures.map(|figure| (report.named(figure), figure.change, figure.unit)))
    };
    let changed = report.changed();
    let is_shown = |figure: &Figure| changed.shown.iter().any(|shown| std::ptr::eq(*shown, figure));
    let is_other = |figure: &&Figure| !figure.is_main && !is_shown(figure);
    let whole = report.comparison.figure("e2e.mean").map(|figure| figure.change);
    let ends = whole.map(|change| ("end to end".to_owned(), change, Measure::Time));
    let parts_of_time =
        parts.iter().map(|part| (printable(&part.named()).into_owned(), part.change, Measure::Time));
    let bars = bars(&report.comparison, &report.stages);
    let plot =
        distribution.as_ref().map(|found| found.plot(&marks(&report.comparison), &objectives.on_a_page()));
    let conditions =
        sentences(&report.conditions).into_iter().map(|sentence| printable(&sentence).into_owned());
    let unjoined = report.unjoined.iter().cloned();
    let notes = unjoined.chain(report.notes()).chain(report.remarks.iter().cloned());
    let page = context! {
        before => printable(&report.before.files),
        after => printable(&report.after.files),
        logs => [report.before.text(), report.after.text()],
        notes => notes.collect::<Vec<_>>(),
        left_out => objectives.left_out_of_a_page(),
        conclusion => report.conclusion().iter().map(|text| plain(text)).collect::<Vec<_>>(),
        conditions => conditions.collect::<Vec<_>>(),
        heads => HEADS,
        main => Value::from(Serde(&table(&mut figures.iter().filter(|figure| figure.is_main)))),
        changed => Value::from(Serde(&table(&mut changed.shown.iter().copied()))),
        without_reach => report.without_reach(),
        repeated => changed.sentence(),
        undecided => report.undecided().map(|sentence| printable(&sentence).into_owned()),
        partial => report.partial(figures.iter()),
        others => Value::from(Serde(&table(&mut figures.iter().filter(is_other)))),
        parts => Value::from(Serde(&rows(parts_of_time.chain(ends)))),
        by => report.by_group.as_ref().map(|groups| printable(groups.name())),
        groups => report.by_group.iter().flat_map(group_rows).collect::<Vec<_>>(),
        notes_on_groups => report.by_group.iter().flat_map(|groups| groups.notes(false)).collect::<Vec<_>>(),
        heads_of_groups => report.by_group.as_ref().map(ByGroup::heads),
        bars => Value::from(Serde(&bars)),
        legend => Value::from(Serde(&legend(&bars))),
        chart => Value::from(Serde(&plot)),
        columns => Value::from(Serde(&distribution.map(|found| found.rows()))),
        style => Value::from_safe_string(STYLE.to_owned()),
    };
    let rendered = templates().render_str(TEMPLATE, page);
    rendered.map_err(|error| Failure::Io(format!("cannot make the page: {error:#}")))
}

impl Report {
    /// The name of a figure, with its unit and the names of its stages.
    fn named(&self, figure: &Figure) -> String {
        let name = |stage: OrderedId| self.stages.name(stage).map(|name| shortened(name).into_owned());
        let names = match figure.place {
            Some(Place::Stage(stage)) => name(stage),
            Some(Place::Edge((from, to))) => {
                name(from).zip(name(to)).map(|(from, to)| format!("{from} to {to}"))
            }
            Some(Place::Request) | None => None,
        };
        let names = names.map(|names| format!(" ({})", printable(&names))).unwrap_or_default();
        format!("{}{names}", named(figure))
    }
}

/// Sentences without control characters.
fn plain(text: &str) -> String {
    printable(&text.replace('\u{a0}', " ")).into_owned()
}

/// The name of a part of a bar, with that of its stage.
fn of_bar(part: Part, stages: &StageNames) -> String {
    let name = match part {
        Part::Waiting(stage) => format!("waiting for {}", stages.of(stage)),
        Part::Stage(stage) => stages.of(stage),
        part => part.name(&Default::default()),
    };
    printable(&name).into_owned()
}

/// The cells of each row of the table of groups.
fn group_rows(groups: &ByGroup) -> impl Iterator<Item = Vec<String>> {
    let rows = groups.shown(false).into_iter().flat_map(Group::rows);
    rows.map(|cells| cells.map(|cell| printable(&cell).into_owned()).into())
}

/// A row of a table of figures.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    is_changed: bool,
    cells: [String; 5],
}

fn rows(figures: impl Iterator<Item = (String, Change, Measure)>) -> Vec<Row> {
    let row = |(name, change, unit): (String, Change, Measure)| {
        let cells = cells(&change, unit)?;
        Some(Row { name, is_changed: change.is_changed == Some(true), cells })
    };
    figures.filter_map(row).collect()
}

/// The percentiles of the first log, and then those of the second, in milliseconds.
fn marks(comparison: &Comparison) -> Vec<(String, f64)> {
    type Side = (&'static str, fn(&Change) -> Option<f64>);
    let sides: [Side; 2] = [("before", |change| change.before), ("after", |change| change.after)];
    let of_side = |(side, value): Side| {
        comparison.figures.iter().filter_map(move |figure| {
            let percentile = figure.name.strip_prefix("e2e.").filter(|statistic| *statistic != "mean")?;
            Some((format!("{side} {percentile}"), value(&figure.change)?))
        })
    };
    sides.into_iter().flat_map(of_side).collect()
}

/// The mean time of a request in one of the logs.
#[derive(Debug, Serialize)]
struct Bar {
    name: &'static str,
    whole: String,
    parts: Vec<BarPart>,
}

#[derive(Debug, Clone, Serialize)]
struct BarPart {
    part: String,
    class: String,
    time: String,
    /// In percent of the longer bar.
    width: f64,
}

/// A bar for each log, of the same scale. Sending, flight and receiving are one part.
fn bars(comparison: &Comparison, stages: &StageNames) -> Vec<Bar> {
    let mut times = BTreeMap::<_, (Part, [f64; 2])>::new();
    for row in &comparison.parts {
        let part = row.kind.map_or(Part::Others, Part::of);
        let (_, sums) = times.entry(part.order()).or_insert((part, [0.0; 2]));
        let sides = [row.change.before, row.change.after].map(|time| time.unwrap_or(0.0));
        sums.iter_mut().zip(sides).for_each(|(sum, time)| *sum += time);
    }
    let time = |millis: f64| shown(Millis::from_f64(millis).unwrap_or_default());
    let side =
        |log: usize| times.values().map(move |(part, sides)| (*part, sides.get(log).copied().unwrap_or(0.0)));
    let sum = |log| side(log).map(|(_, time)| time).sum::<f64>();
    let longest = sum(0).max(sum(1)).max(f64::MIN_POSITIVE);
    let bar = |(log, name)| {
        let parts = side(log).filter(|(_, time)| *time > 0.0).map(|(part, millis)| BarPart {
            part: of_bar(part, stages),
            class: part.class(),
            time: time(millis),
            width: millis / longest * 100.0,
        });
        Bar { name, whole: time(sum(log)), parts: parts.collect() }
    };
    [(0, "before"), (1, "after")].map(bar).into()
}

/// Each part of the bars once.
fn legend(bars: &[Bar]) -> Vec<BarPart> {
    let mut parts = Vec::<BarPart>::new();
    for part in bars.iter().flat_map(|bar| &bar.parts) {
        if parts.iter().all(|other| other.part != part.part) {
            parts.push(part.clone());
        }
    }
    parts
}
