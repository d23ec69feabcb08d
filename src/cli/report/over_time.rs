//! The charts over the time of a run, on one axis.

use std::slice;

use serde::Serialize;

use super::{
    axis::{Axis, Tick},
    course::{Course, Placed},
    ending::Ending,
    figures::{count, decimal, shown},
    limits::spaced,
    plot::{Field, Mark, Path, Plot},
    points::Point,
    spent::{Spent, StageNames},
    stretch::Stretch,
};
use crate::{
    Millis, Timestamp,
    cli::{
        amount::amount,
        latency_bins::{BINS, start},
    },
    write::columns::ABSENT,
};

/// How many requests a window has in the mean, at least: percentiles of fewer would say little. And a column
/// of the charts that count requests.
const OF_WINDOW: u64 = 20;
const OF_COLUMN: u64 = 4;
/// How many rows the density has, and in how many levels its counts are told apart.
const ROWS: u32 = 50;
const LEVELS: usize = 6;

/// Stretches that follow each other, as many as have enough requests.
pub(super) struct Window {
    /// In microseconds since the Unix epoch.
    time: (f64, f64),
    pub(super) all: Stretch,
    pub(super) in_flight: f64,
}

/// The places of a density that have about as many requests.
#[derive(Debug, Default)]
struct Level {
    path: Path,
    least: u64,
    most: u64,
}

impl Level {
    fn name(&self) -> String {
        let most = amount(self.most, "request", "requests");
        if self.least < self.most { format!("{} to {most}", count(self.least)) } else { most }
    }
}

/// The charts and their numbers.
pub(super) struct OverTime<'a> {
    course: &'a Course,
    windows: Vec<Window>,
    columns: Vec<Window>,
    /// What was before and after the time that the charts show.
    outside: [Option<Window>; 2],
    x: Axis,
}

/// A window, as a row of a table.
#[derive(Debug, Serialize)]
pub(super) struct Row([String; 8]);

impl<'a> OverTime<'a> {
    pub(super) fn of(course: &'a Course) -> Self {
        let (begin, end) = course.axis;
        let placed = &course.shown;
        let requests: u64 = placed.iter().map(|at| at.stretch.endings.all()).sum();
        let windows = |least: u64| {
            let windows = (requests / least).clamp(1, placed.len() as u64) as usize;
            placed.chunks(placed.len().div_ceil(windows)).map(Window::of).collect()
        };
        let (windows, columns) = (windows(OF_WINDOW), windows(OF_COLUMN));
        let x = Axis::linear(begin as f64, (end as f64).max(begin as f64 + 1.0));
        let outside =
            [&course.before, &course.after].map(|at| at.as_ref().map(|at| Window::of(slice::from_ref(at))));
        Self { course, windows, columns, outside, x }
    }

    /// How long a window is.
    pub(super) fn window(&self) -> String {
        length(&self.windows)
    }

    fn plot(&self, id: &'static str, title: &str, label: String, y: Vec<Tick>) -> Plot {
        Plot::new(id, title.to_owned(), label, self.x.clock(8), y)
    }

    /// Latency against time: points if they are few, else a density; the median and the 99th percentile; the
    /// limits of objectives.
    pub(super) fn latency(&self, points: Option<&[Point]>, latency: Axis, limits: Vec<Mark>) -> Plot {
        let field = Field { x: self.x, y: latency };
        let texts: Vec<_> = limits.iter().map(|limit| format!(", {}", limit.text)).collect();
        let label =
            format!("End-to-end latency of the requests against the time when they began{}.", texts.concat());
        let mut plot = self.plot("latency", "End-to-end latency", label, latency.times(8));
        match points {
            Some(points) => {
                for ending in Ending::ALL {
                    let mut path = Path::default();
                    let ended = points.iter().filter(|point| point.ending == ending);
                    let ended = ended.filter(|point| self.x.has(point.created as f64));
                    ended.for_each(|point| path.dot(&field, point.created as f64, point.latency as f64));
                    plot.layer(&format!("dots {}", ending.class()), ending.name(), path);
                }
            }
            None => {
                let levels = self.density(&field);
                let filled = |Level { path, .. }: &Level| !path.is_empty();
                let ends = [levels.iter().position(filled), levels.iter().rposition(filled)];
                for (at, level) in levels.into_iter().enumerate() {
                    let name = if ends.contains(&Some(at)) { level.name() } else { String::new() };
                    plot.layer(&format!("density level-{}", at + 1), &name, level.path);
                }
            }
        }
        for (class, name, permille) in [("line p50", "p50", 500), ("line p99", "p99", 990)] {
            let mut path = Path::default();
            path.steps(&field, self.windows.iter().map(|at| (at.time, percentile(&at.all, permille))));
            plot.layer(class, name, path);
        }
        plot.limits = spaced(limits);
        plot
    }

    /// How many requests have a time and a latency, by the logarithm of their number.
    fn density(&self, field: &Field) -> [Level; LEVELS] {
        let bins = ((field.y.high() / field.y.low()).log2() * f64::from(BINS)).round() as u32;
        let first = (field.y.low().log2() * f64::from(BINS)).round() as u32;
        let width = bins.div_ceil(ROWS).max(1);
        let mut cells = Vec::new();
        for at in &self.course.shown {
            let mut row = (0, 0);
            for (bin, count) in &at.stretch.latencies {
                let this = bin.saturating_sub(first) / width;
                if row.0 != this {
                    cells.push((at.from, at.to, row));
                    row = (this, 0);
                }
                row.1 += count;
            }
            cells.push((at.from, at.to, row));
        }
        let most = cells.iter().map(|(_, _, (_, count))| *count).max().unwrap_or(0);
        let mut levels = <[Level; LEVELS]>::default();
        for (from, to, (row, count)) in cells.into_iter().filter(|(_, _, (_, count))| *count > 0) {
            let level = (count as f64).ln() / (most as f64 + 1.0).ln() * LEVELS as f64;
            if let Some(Level { path, least, most }) = levels.get_mut(level as usize) {
                let bottom = first + row * width;
                *least = if path.is_empty() { count } else { count.min(*least) };
                *most = count.max(*most);
                path.rectangle(field, (from as f64, to as f64), (start(bottom), start(bottom + width)));
            }
        }
        levels
    }

    /// How many requests were in flight.
    pub(super) fn in_flight(&self) -> Plot {
        let columns = self.course.shown.iter().map(|at| ((at.from as f64, at.to as f64), at.in_flight));
        let label = "Requests in flight over time, at most";
        self.filled("in-flight", "Requests in flight", label, columns.collect())
    }

    /// The time of a request, by what it was spent on.
    pub(super) fn spent(&self, whole: &Spent, stages: &StageNames) -> Plot {
        let each = |window: &Window, time: u128| window.all.spent.each_ms(time) * 1e6;
        let most = self.windows.iter().map(|at| each(at, at.all.spent.total())).fold(1.0, f64::max);
        let field = Field { x: self.x, y: Axis::linear(0.0, most * 1.05) };
        let label = "Mean time of a request by stage and other parts, over time.".to_owned();
        let title = "Time of a request by part";
        let mut plot = self.plot("spent", title, label, field.y.times(4));
        let parts = whole.told_apart();
        let times: Vec<Vec<_>> = self.windows.iter().map(|at| at.all.spent.times(&parts).collect()).collect();
        let mut below = vec![0.0; self.windows.len()];
        for (n, part) in parts.iter().enumerate() {
            let step = |((at, times), below): ((&Window, &Vec<(_, u128)>), &mut f64)| {
                let low = *below;
                *below += each(at, times.get(n).map_or(0, |(_, time)| *time));
                (at.time, (low, *below))
            };
            let steps: Vec<_> = self.windows.iter().zip(&times).zip(&mut below).map(step).collect();
            plot.area(part.class(), part.name(stages), &field, &steps);
        }
        plot
    }

    /// Requests that failed; `None` if there are none.
    pub(super) fn failures(&self) -> Option<Plot> {
        let most = self.columns.iter().map(|at| at.all.endings.failed() as f64).fold(0.0, f64::max);
        let field = Field { x: self.x, y: Axis::linear(0.0, most * 1.05) };
        let label = "Requests that failed, by the time when they began.".to_owned();
        let title = format!("Failed requests in each {}", length(&self.columns));
        let mut plot = self.plot("failures", &title, label, field.y.counts(3));
        let (mut unaborted, mut aborted) = (Path::default(), Path::default());
        for at in &self.columns {
            let (below, failed) =
                (at.all.endings.of(Ending::Unaborted) as f64, at.all.endings.failed() as f64);
            unaborted.rectangle(&field, at.time, (0.0, below));
            aborted.rectangle(&field, at.time, (below, failed));
        }
        for (ending, path) in [(Ending::Unaborted, unaborted), (Ending::Aborted, aborted)] {
            plot.layer(&format!("fill {}", ending.class()), ending.name(), path);
        }
        (most > 0.0).then_some(plot)
    }

    /// A number of the requests that began at a time, a second.
    pub(super) fn rate(&self, id: &'static str, title: &str, number: fn(&Stretch) -> u64) -> Plot {
        let rate = |at: &Window| (at.time, number(&at.all) as f64 / at.seconds());
        let label = format!("{title}, by the time when they began, at most");
        self.filled(id, title, &label, self.columns.iter().map(rate).collect())
    }

    fn filled(&self, id: &'static str, title: &str, label: &str, columns: Vec<((f64, f64), f64)>) -> Plot {
        let most = columns.iter().map(|(_, number)| *number).fold(0.0, f64::max);
        let field = Field { x: self.x, y: Axis::linear(0.0, most * 1.05) };
        let mut plot = self.plot(id, title, format!("{label} {}.", decimal(most)), field.y.numbers(3));
        let mut path = Path::default();
        columns.into_iter().for_each(|(time, number)| path.rectangle(&field, time, (0.0, number)));
        plot.layer("area", "", path);
        plot
    }

    /// The windows, with those before and after the time that the charts show.
    pub(super) fn windows(&self) -> impl Iterator<Item = &Window> {
        let [before, after] = &self.outside;
        before.iter().chain(&self.windows).chain(after)
    }

    pub(super) fn rows(&self) -> Vec<Row> {
        self.windows().map(Window::row).collect()
    }

    pub(super) fn axis(&self) -> Axis {
        self.x
    }
}

impl Window {
    fn of(stretches: &[Placed]) -> Self {
        let mut all = Stretch::default();
        stretches.iter().for_each(|at| all.merge(&at.stretch, 0));
        let from = stretches.first().map_or(0, |at| at.from);
        let to = stretches.last().map_or(0, |at| at.to);
        let in_flight = stretches.iter().map(|at| at.in_flight).sum::<f64>() / stretches.len().max(1) as f64;
        Self { time: (from as f64, to as f64), all, in_flight }
    }

    fn seconds(&self) -> f64 {
        (self.time.1 - self.time.0) / 1e6
    }

    /// When it begins and when it ends.
    pub(super) fn ends(&self) -> [Timestamp; 2] {
        [self.time.0, self.time.1].map(|micros| Timestamp::from_unix_micros(micros as u64))
    }

    /// The latency that `permille` of a thousand requests do not exceed.
    pub(super) fn percentile(&self, permille: u64) -> Option<Millis> {
        percentile(&self.all, permille).map(|nanos| Millis::from_nanos(nanos as u64))
    }

    fn row(&self) -> Row {
        let Stretch { endings, tokens, .. } = &self.all;
        let time = |permille| self.percentile(permille).map_or(ABSENT.to_owned(), shown);
        Row([
            self.ends()[0].to_string(),
            count(endings.all()),
            count(endings.failed()),
            count(endings.of(Ending::Aborted)),
            time(500),
            time(990),
            decimal(self.in_flight),
            decimal(*tokens as f64 / self.seconds()),
        ])
    }
}

/// How long windows are.
fn length(windows: &[Window]) -> String {
    let seconds = windows.first().map_or(0.0, Window::seconds);
    shown(Millis::from_f64(seconds * 1e3).unwrap_or_default())
}

/// The middle of the bin with the latency that `permille` of a thousand requests do not exceed.
fn percentile(stretch: &Stretch, permille: u64) -> Option<f64> {
    let rank = (stretch.endings.all() * permille).div_ceil(1000).max(1);
    let mut below = 0;
    let bin = stretch.latencies.iter().find(|(_, count)| {
        below += **count;
        below >= rank
    });
    bin.map(|(bin, _)| (start(*bin) * start(bin + 1)).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        E2eTable, RequestLine,
        cli::report::{points::Points, spent::spent, stretches::Stretches},
    };

    const BASE: u64 = 1_700_000_000_000_000;

    fn run(count: u64) -> (Course, Points) {
        let (mut stretches, mut points) = (Stretches::default(), Points::default());
        for n in 0..count {
            let e2e_total_ms = Millis::from_nanos(1_000_000 + n % 100 * 1_000_000);
            let finish_reason = (n % 50 == 0).then(|| "error".to_owned());
            let e2e_table = E2eTable { e2e_total_ms, finish_reason, ..E2eTable::default() };
            let timestamp = Timestamp::from_unix_micros(BASE + n * 1_000 + e2e_total_ms.as_nanos() / 1_000);
            let line = RequestLine { timestamp, e2e_table, ..RequestLine::default() };
            stretches.add(&line, &spent(&line));
            points.add(&line);
        }
        (stretches.into_course().unwrap(), points)
    }

    #[test]
    fn few_requests_are_points_and_many_a_density_with_their_percentiles() {
        for (count, class) in [(5_000, "dots completed"), (6_000, "density level-1")] {
            let (course, points) = run(count);
            let over_time = OverTime::of(&course);
            let points = points.in_order();
            let plot = over_time.latency(points.as_deref(), Axis::log(1e6, 1e8), Vec::new());
            let classes: Vec<_> = plot.layers.iter().map(|layer| &*layer.class).collect();
            assert!(classes.contains(&class) && classes.contains(&"line p99"), "{classes:?}");
            let drawn = plot.layers.iter().filter(|layer| layer.class.starts_with("dots"));
            let drawn: usize = drawn.map(|layer| layer.path.matches('M').count()).sum();
            assert_eq!(drawn, if count == 5_000 { 5_000 } else { 0 });
        }
    }

    #[test]
    fn percentiles_are_those_of_the_requests_and_each_request_is_in_a_row() {
        let (course, _) = run(2_000);
        let over_time = OverTime::of(&course);
        for window in over_time.windows.iter().filter(|window| window.all.endings.all() >= 100) {
            let p99 = percentile(&window.all, 990).unwrap() / 1e6;
            assert!((95.0..105.0).contains(&p99), "{p99}");
        }
        let counted =
            |column: usize| over_time.rows().iter().map(|row| row.0[column].parse::<u64>().unwrap()).sum();
        let [requests, failed, aborted]: [u64; 3] = [1, 2, 3].map(counted);
        assert_eq!((requests, failed, aborted), (2_000, 40, 0));
        let failures = over_time.failures().unwrap();
        assert_eq!(failures.layers.len(), 1, "nothing was aborted");
        assert!(Stretches::default().into_course().is_none());
    }

    #[test]
    fn the_areas_of_the_parts_lie_on_each_other() {
        let (course, _) = run(100);
        let over_time = OverTime::of(&course);
        let mut whole = Spent::default();
        course.iter().for_each(|at| whole.merge(&at.stretch.spent));
        let plot = over_time.spent(&whole, &StageNames::default());
        assert_eq!((plot.areas.len(), &*plot.areas[0].name), (1, "unattributed"));
        assert!(plot.areas[0].polygon.ends_with(" 100.00%"), "{plot:?}");
    }
}
