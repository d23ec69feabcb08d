//! The content of the page, and its markup.

use std::sync::Arc;

use minijinja::{Value, context, value::Serde};
use serde::Serialize;

use super::{
    SCRIPT,
    ending::Endings,
    figures::{count, decimal, shown},
    head,
    json::{self, Figures},
    latency::Latencies,
    limits,
    over_time::OverTime,
    overview::Overview,
    points::Points,
    sample::{Sample, Sampled},
    spent::{StageNames, spent},
    stages, standing,
    stretches::Stretches,
    templates::templates,
};
use crate::{
    Line, Millis, RequestLine,
    cli::{
        amount::amount,
        failure::{Failure, Result},
        groups::{GroupTable, Grouping, Percent, RequestGroups, shortened},
        in_the_way::{Meanwhile, Waiter},
        input::Inputs,
        log_line::LogLine,
        objectives::Objectives,
        percentiles::PercentileArgs,
        running::Running,
        summary::{LogSummary, NamedCount, Summary},
    },
    model::value::prefix,
    write::columns::printable,
};

/// How many of the slowest requests the figures have, as those of `summary` do.
const SLOWEST: usize = 5;
/// How many bytes the page has at most, unless the rest leaves less than [`LEAST_ROOM`] for the requests.
const SIZE: usize = 1_480_000;
const LEAST_ROOM: usize = 200_000;
/// How many rows of groups are shown at most, how many percentiles, and how many kinds of errors or endings.
const ROWS_OF_GROUPS: usize = 1_000;
const PERCENTILES: usize = 16;
const KINDS: usize = 50;
/// How many bytes of the names of the logs are shown, and how many a command has that names them.
const NAMES: usize = 1_000;
const ARGUMENTS: usize = 10_000;

/// The figures of the lines so far. Their size does not depend on how many lines there are.
pub(super) struct Page {
    summary: Summary,
    /// Those that the page shows, and how many it does not.
    objectives: Objectives,
    left_out: Option<String>,
    groups: Option<RequestGroups>,
    percentiles: PercentileArgs,
    /// How many lines of requests there are; each may stand for several requests.
    lines: u64,
    endings: Endings,
    stage_names: StageNames,
    latencies: Latencies,
    stretches: Stretches,
    points: Points,
    sample: Sample,
}

impl Page {
    /// A page without lines. It will have a table of groups if a grouping is given.
    pub(super) fn new(
        objectives: &Objectives,
        percentiles: &PercentileArgs,
        grouping: Option<Grouping>,
    ) -> Self {
        Self {
            groups: grouping.map(|grouping| RequestGroups::new(grouping, objectives)),
            summary: Summary::new(SLOWEST).with_objectives(objectives),
            objectives: objectives.on_a_page(),
            left_out: objectives.left_out_of_a_page(),
            percentiles: percentiles.clone(),
            lines: 0,
            endings: Endings::default(),
            stage_names: StageNames::default(),
            latencies: Latencies::default(),
            stretches: Stretches::default(),
            points: Points::default(),
            sample: Sample::default(),
        }
    }

    pub(super) fn add(&mut self, line: &LogLine) {
        self.summary.add(line);
        if let Some(groups) = &mut self.groups {
            groups.add(line);
        }
        if let Line::Request(request) = &line.line {
            self.add_request(request, &line.log_name);
        }
    }

    fn add_request(&mut self, line: &RequestLine, log_name: &Arc<str>) {
        let parts = spent(line);
        self.lines += 1;
        self.endings.add(line);
        self.stage_names.add(line);
        self.latencies.add(line, &parts);
        self.stretches.add(line, &parts);
        self.points.add(line);
        self.sample.add(line, log_name, &self.objectives);
    }

    pub(super) fn merge(&mut self, other: &mut Self) {
        self.summary.merge(&mut other.summary);
        if let (Some(groups), Some(others)) = (&mut self.groups, &mut other.groups) {
            groups.merge(others);
        }
        self.lines += other.lines;
        self.endings.merge(&other.endings);
        self.stage_names.merge(&other.stage_names);
        self.latencies.merge(&other.latencies);
        self.stretches.merge(&mut other.stretches);
        self.points.merge(&mut other.points);
        self.sample.merge(&mut other.sample);
    }

    /// The objectives for which no request has a value, a sentence each.
    pub(super) fn missing(&self) -> Vec<String> {
        self.summary.missing()
    }

    /// The figures as JSON has them.
    pub(super) fn into_figures(self, inputs: &Inputs, running: Running) -> Figures {
        let Self { summary, groups, percentiles, latencies, stretches, stage_names, .. } = self;
        let (chosen, of_groups) = (summary.chosen(percentiles.chosen()), percentiles.or(&Percent::USUAL));
        let mut summary = summary.into_log_summary(inputs.read, running, &inputs.selection);
        summary.chosen = chosen;
        let course = stretches.into_course();
        Figures {
            summary,
            groups: groups.map(|groups| groups.into_table(of_groups, &inputs.selection)),
            over_time: course.as_ref().map(OverTime::of).iter().flat_map(json::Stretch::all).collect(),
            distribution: latencies.columns().iter().flat_map(json::Column::all).collect(),
            where_the_time_goes: json::Bar::all(&latencies, &stage_names),
        }
    }

    /// The page after the last line: its requests have the room that all else leaves.
    pub(super) fn sampled(mut self, inputs: &Inputs, running: Running) -> Result<SampledPage> {
        let (sample, lines) = (std::mem::take(&mut self.sample), self.lines);
        let figures = self.into_context(inputs, running);
        let sampled = Sampled::default();
        let mut page = SampledPage { figures, sample: sampled, lines, rows_of_groups: ROWS_OF_GROUPS };
        let mut rest = page.html(&[])?.len();
        // Long names and many percentiles make rows long.
        while rest > SIZE - LEAST_ROOM && page.rows_of_groups > 1 {
            page.rows_of_groups /= 2;
            rest = page.html(&[])?.len();
        }
        let sample = sample.into_sampled(SIZE.saturating_sub(rest).max(LEAST_ROOM));
        Ok(SampledPage { sample, ..page })
    }

    /// All that the template shows apart from single requests.
    fn into_context(self, inputs: &Inputs, running: Running) -> Value {
        let chosen = self.percentiles.chosen().len();
        let first = |percents: &'_ [Percent]| percents.iter().take(PERCENTILES).copied().collect::<Vec<_>>();
        let percents = &first(self.percentiles.or(&Percent::USUAL))[..];
        let of_table = &first(self.percentiles.or(&Percent::OF_RUN))[..];
        let percentiles = self.summary.chosen(of_table);
        let mut summary = self.summary.into_log_summary(inputs.read, running, &inputs.selection);
        let shown = self.objectives.slo.len();
        summary.objectives.iter_mut().for_each(|objectives| objectives.each.truncate(shown));
        let of_run = Run {
            endings: self.endings,
            latencies: self.latencies,
            stretches: self.stretches,
            objectives: self.objectives,
            marks: stages::marks(&percentiles, percents),
            percentiles: stages::percentiles(&percentiles, of_table, &self.stage_names),
            stage_names: self.stage_names,
        };
        let run = of_run.context(&summary, self.points.in_order().as_deref());
        let mut besides = summary.besides();
        besides.extend(summary.requests_by_id.map(|by_id| by_id.sentence()));
        besides.extend(summary.on_rates.clone());
        besides.extend(inputs.selection.remark(inputs.read.outside, inputs.read.unmatched));
        let groups = self.groups.map(|groups| groups.into_table(percents, &inputs.selection));
        let percents: Vec<_> = percents.iter().map(Percent::to_string).collect();
        let arguments = Some(inputs.arguments()).filter(|all| all.len() <= ARGUMENTS);
        let arguments = arguments.unwrap_or_else(|| "FILE...".to_owned());
        context! {
            left_out => self.left_out,
            files => names(inputs.names()),
            arguments => arguments,
            chosen_percentiles => chosen,
            run => run,
            groups => Value::from(Serde(&groups)),
            notes_on_groups => groups.iter().flat_map(GroupTable::notes).collect::<Vec<_>>(),
            percents => percents,
            summed_queues => summary.on_summed_queues(),
            outlasted => summary.outlasted.sentence(),
            missing_rows => summary.on_missing_rows(),
            sampled => summary.sampled.map(|sampled| sampled.sentence()),
            lines => count(self.lines),
            failed => Value::from(Serde(&Kinds::of(summary.failed))),
            reasons => Value::from(Serde(&Kinds::of(summary.finish_reasons))),
            warnings => Value::from(Serde(&Kinds::of(summary.warnings))),
            last_reports => Value::from(Serde(&standing::last_reports(&summary.last_reports))),
            still_open => Value::from(Serde(&standing::still_open(&summary.still_open))),
            besides => besides,
            style => Value::from_safe_string(include_str!("style.css").to_owned()),
            script => Value::from_safe_string(SCRIPT.to_owned()),
        }
    }
}

/// A page with the requests that it shows.
pub(super) struct SampledPage {
    figures: Value,
    sample: Sampled,
    lines: u64,
    rows_of_groups: usize,
}

impl SampledPage {
    pub(super) fn waiters(&self) -> Vec<Waiter> {
        self.sample.waiters()
    }

    /// The markup, with the requests that were in the way of each one that is shown.
    pub(super) fn html(&self, meanwhile: &[Vec<Meanwhile>]) -> Result<String> {
        let Self { figures, sample, lines, rows_of_groups } = self;
        let page = context! {
            rows_of_groups => rows_of_groups,
            shown => sample.shown,
            slowest => sample.slowest,
            failed_shown => sample.failed,
            is_sampled => (sample.shown as u64) < *lines,
            data => Value::from_safe_string(sample.to_json(meanwhile)),
            ..figures.clone()
        };
        let mut templates = templates();
        templates.add_function("amount", |number: u64, one: &str, many: &str| amount(number, one, many));
        templates.add_filter("time", |millis: f64| shown(Millis::from_f64(millis).unwrap_or_default()));
        templates.add_filter("decimal", decimal);
        templates.add_filter("count", count);
        templates.add_filter("moment", |at: &str| at.replace(".000000Z", "Z"));
        templates.add_filter("short", |name: &str| shortened(name).into_owned());
        let rendered =
            templates.render_str(concat!(include_str!("plot.html"), include_str!("page.html")), page);
        rendered.map_err(|error| Failure::Io(format!("cannot make the page: {error:#}")))
    }
}

/// The requests of a run.
struct Run {
    endings: Endings,
    stage_names: StageNames,
    latencies: Latencies,
    stretches: Stretches,
    objectives: Objectives,
    /// The percentiles of the latency that are marked.
    marks: Vec<(String, Millis)>,
    percentiles: stages::Table,
}

impl Run {
    /// What the template shows of them; nothing if there are none.
    fn context(self, summary: &LogSummary, points: Option<&[super::points::Point]>) -> Value {
        let (Some(course), Some(latency), Some(distribution)) =
            (self.stretches.into_course(), self.latencies.axis(), self.latencies.columns())
        else {
            return Value::from(());
        };
        let over_time = OverTime::of(&course);
        let marks = &self.marks;
        let (whole, names) = (self.latencies.whole(), &self.stage_names);
        let plots = [
            Some(over_time.in_flight()),
            Some(over_time.spent(&whole, names)),
            over_time.failures(),
            Some(over_time.rate("requests-a-second", "Requests a second", |at| at.endings.all())),
            Some(over_time.rate("tokens-a-second", "Tokens a second", |at| at.tokens)),
        ];
        let plots: Vec<_> = plots.into_iter().flatten().collect();
        let limits = || limits::marks(&self.objectives, latency);
        let (distribution_plot, rows) = (distribution.plot(latency, marks, limits()), distribution.rows());
        let axes = (over_time.axis(), latency);
        let overview = Overview::of(&course, distribution, axes, &whole, names);
        let overview = overview.with_limits(limits::moments(&self.objectives));
        // Numbers and strings go into a `String` without an error.
        let overview = serde_json::to_string(&overview).unwrap_or_default().replace('<', "\\u003c");
        let all = self.endings.all();
        let facts = head::facts(course.extent, &self.endings, summary.objectives.as_ref());
        context! {
            facts => Value::from(Serde(&facts)),
            tiles => Value::from(Serde(&head::tiles(summary, all, marks, &whole))),
            objectives => Value::from(Serde(&summary.objectives.as_ref().map(head::objectives))),
            met => summary.objectives.as_ref().map(|objectives| objectives.sentences().join(" ")),
            has_failures => self.endings.failed() > 0,
            are_points => points.is_some(),
            latency => Value::from(Serde(&over_time.latency(points, latency, limits()))),
            plots => Value::from(Serde(&plots)),
            window => over_time.window(),
            outside => Value::from(Serde(&head::outside(&course))),
            rows => Value::from(Serde(&over_time.rows())),
            distribution => Value::from(Serde(&distribution_plot)),
            distribution_rows => Value::from(Serde(&rows)),
            bars => Value::from(Serde(&self.latencies.bars(names))),
            percentiles => Value::from(Serde(&self.percentiles)),
            outputs => Value::from(Serde(&stages::outputs(&summary.outputs, names))),
            overview => Value::from_safe_string(crate::cli::json::escaped(overview)),
        }
    }
}

/// The kinds with the largest counts, without control characters, such as those that reorder a text.
#[derive(Serialize)]
struct Kinds {
    first: Vec<NamedCount>,
    /// The sum of the counts of all others.
    others: u64,
}

impl Kinds {
    fn of(mut first: Vec<NamedCount>) -> Self {
        let others = first.split_off(first.len().min(KINDS));
        first.iter_mut().for_each(|row| row.name = printable(&row.name).into_owned());
        Self { first, others: others.iter().map(|row| row.count).sum() }
    }
}

/// The names of the logs. Of many, the first ones, and how many more there are.
fn names(all: String) -> String {
    if all.len() <= NAMES {
        return all;
    }
    let shown = prefix(&all, NAMES);
    let shown = shown.rsplit_once(", ").map_or(shown, |(whole, _)| whole);
    match all.get(shown.len()..).map_or(0, |rest| rest.matches(", ").count()) {
        0 => format!("{shown}…"),
        more => format!("{shown} and {} more", count(more as u64)),
    }
}
