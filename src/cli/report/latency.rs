//! How long requests took, and where the time of the fast and of the slow ones went.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    axis::Axis,
    figures::{count, shown},
    plot::{Field, Mark, Path, Plot},
    spent::{Part, Spent, StageNames},
};
use crate::{
    Millis, RequestLine,
    cli::{
        amount::amount,
        latency_bins::{BINS, bin, slowest, start},
    },
};

/// How many columns the distribution has at most.
const COLUMNS: u32 = 60;
/// How many bins the axis has at least, a doubling of the latency: a narrower axis would show the width of a
/// bin as if it were a spread.
const LEAST_SPAN: u32 = BINS;
/// The times of requests, by the bin of their latency.
#[derive(Debug, Default)]
pub(super) struct Latencies(BTreeMap<u32, Spent>);

/// The distribution, as the script of the page recounts it for a part of the requests.
#[derive(Debug, Serialize)]
pub(super) struct Columns {
    /// The first bin of the first column.
    first: u32,
    /// How many bins a column has.
    width: u32,
    /// How many bins the script counts as one, a divisor of the width.
    pub(super) group: u32,
    counts: Vec<u64>,
    /// The count at the top of the chart.
    top: f64,
}

/// A row of the distribution as a table.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    range: String,
    requests: String,
}

/// The fastest or the slowest of the requests, or all of them.
pub(super) struct Class {
    pub(super) name: &'static str,
    pub(super) spent: Spent,
}

/// Where the time of some requests goes.
#[derive(Debug, Serialize)]
pub(super) struct Bar {
    name: String,
    /// The mean latency.
    mean: String,
    parts: Vec<BarPart>,
}

#[derive(Debug, Serialize)]
struct BarPart {
    part: String,
    class: String,
    /// A request.
    time: String,
    percent: String,
    width: f64,
}

impl Latencies {
    pub(super) fn add(&mut self, line: &RequestLine, parts: &[(Part, u64)]) {
        self.0.entry(bin(line.e2e_table.e2e_total_ms)).or_default().add(parts, line.weight());
    }

    pub(super) fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|(bin, spent)| self.0.entry(*bin).or_default().merge(spent));
    }

    /// The axis of all latencies, from a whole column to a whole column.
    pub(super) fn axis(&self) -> Option<Axis> {
        let columns = self.columns()?;
        let end = columns.first + columns.width * columns.counts.len() as u32;
        Some(Axis::log(start(columns.first), start(end)))
    }

    /// The distribution, in columns of equally many bins: each is longer than the one before by one factor.
    pub(super) fn columns(&self) -> Option<Columns> {
        let (first, last) = (*self.0.first_key_value()?.0, *self.0.last_key_value()?.0);
        let margin = LEAST_SPAN.saturating_sub(last - first + 1).div_ceil(2);
        let (first, last) = (first.saturating_sub(margin), last + margin);
        let span = last - first + 1;
        let group = span.div_ceil(3 * COLUMNS);
        let width = if group == 1 { span.div_ceil(COLUMNS) } else { 3 * group };
        let mut counts = vec![0; ((last - first) / width + 1) as usize];
        for (bin, spent) in &self.0 {
            if let Some(counted) = counts.get_mut(((bin - first) / width) as usize) {
                *counted += spent.requests;
            }
        }
        let most = counts.iter().copied().max().unwrap_or(0);
        Some(Columns { first, width, group, top: (most as f64 * 1.05).max(1.0), counts })
    }

    /// The parts of all requests.
    pub(super) fn whole(&self) -> Spent {
        sum(self.0.values(), u64::MAX)
    }

    /// All requests, the faster half, and the slowest.
    pub(super) fn classes(&self) -> Vec<Class> {
        let whole = self.whole();
        let requests = whole.requests;
        let mut classes = vec![Class { name: "all requests", spent: whole }];
        if requests >= 2 {
            let spent = sum(self.0.values(), requests.div_ceil(2));
            classes.push(Class { name: "fastest half", spent });
        }
        for (percent, name) in [(10.0, "slowest tenth"), (1.0, "slowest hundredth")] {
            let bins = self.0.iter().rev().map(|(bin, spent)| (*bin, spent.requests));
            if let Some(first) = slowest(percent, requests, bins) {
                let slow = self.0.range(first..).map(|(_, spent)| spent);
                classes.push(Class { name, spent: sum(slow, u64::MAX) });
            }
        }
        classes
    }

    /// Where the time of each class goes.
    pub(super) fn bars(&self, stages: &StageNames) -> Vec<Bar> {
        let (whole, classes) = (self.whole(), self.classes());
        let parts = whole.told_apart();
        let bar = |(at, Class { name, spent }): (usize, &Class)| {
            let name =
                if at == 0 { (*name).to_owned() } else { format!("{name} ({})", count(spent.requests)) };
            Bar::of(name, spent, &parts, stages)
        };
        classes.iter().enumerate().map(bar).collect()
    }
}

impl Columns {
    /// The first bin of those that count as one with this bin.
    pub(super) fn grouped(&self, bin: u32) -> u32 {
        bin - bin.saturating_sub(self.first) % self.group
    }

    /// When each column begins and ends, with its count.
    pub(super) fn iter(&self) -> impl Iterator<Item = (f64, f64, u64)> {
        let at = |column: usize| start(self.first + column as u32 * self.width);
        self.counts.iter().enumerate().map(move |(n, count)| (at(n), at(n + 1), *count))
    }

    /// With the percentiles and the limits of objectives.
    pub(super) fn plot(&self, axis: Axis, marks: &[(String, Millis)], limits: Vec<Mark>) -> Plot {
        let field = Field { x: axis, y: Axis::linear(0.0, self.top) };
        let mut path = Path::default();
        for (from, to, count) in self.iter() {
            path.rectangle(&field, (from, to), (0.0, count as f64));
        }
        let mark = |(name, time): &(_, Millis)| Mark {
            at: field.x.place(time.as_nanos() as f64) * 100.0,
            text: format!("{name} {}", shown(*time)),
            class: "percentile",
        };
        let marks: Vec<_> = marks.iter().map(mark).chain(limits).collect();
        let texts: Vec<_> = marks.iter().map(|mark| &*mark.text).collect();
        let label = format!("Distribution of the end-to-end latency: {}.", texts.join(", "));
        let title = "Requests by end-to-end latency".to_owned();
        let mut plot = Plot::new("distribution", title, label, field.x.times(12), field.y.counts(5));
        plot.layer("columns", "requests", path);
        plot.marks = marks;
        plot
    }

    /// The columns that have requests.
    pub(super) fn rows(&self) -> Vec<Row> {
        let time = |nanos: f64| shown(Millis::from_nanos(nanos.round() as u64));
        let filled = self.iter().filter(|(_, _, count)| *count > 0);
        let row = |(from, to, count)| Row {
            range: format!("{} to {}", time(from), time(to)),
            requests: amount(count, "request", "requests"),
        };
        filled.map(row).collect()
    }
}

/// The sum of the first buckets that together have at least the wanted number of requests.
fn sum<'a>(buckets: impl Iterator<Item = &'a Spent>, wanted: u64) -> Spent {
    let mut sum = Spent::default();
    for spent in buckets {
        if sum.requests >= wanted {
            break;
        }
        sum.merge(spent);
    }
    sum
}

impl Bar {
    fn of(name: String, spent: &Spent, parts: &[Part], stages: &StageNames) -> Self {
        let whole = spent.total();
        let share = |time: u128| time as f64 / whole.max(1) as f64 * 100.0;
        let each = |time: u128| shown(Millis::from_f64(spent.each_ms(time)).unwrap_or_default());
        let parts = spent.times(parts).filter(|(_, time)| *time > 0).map(|(part, time)| BarPart {
            part: part.name(stages),
            class: part.class(),
            time: each(time),
            percent: format!("{:.1} %", share(time)),
            width: share(time),
        });
        Self { name, mean: each(whole), parts: parts.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{E2eTable, cli::report::spent::spent};

    fn taking(nanos: f64) -> RequestLine {
        let e2e_total_ms = Millis::from_nanos(nanos as u64);
        let e2e_table = E2eTable { e2e_total_ms, unattributed_time_ms: e2e_total_ms, ..E2eTable::default() };
        RequestLine { e2e_table, ..RequestLine::default() }
    }

    fn of(lines: impl Iterator<Item = RequestLine>) -> Latencies {
        let mut latencies = Latencies::default();
        lines.for_each(|line| latencies.add(&line, &spent(&line)));
        latencies
    }

    fn latencies(millis: impl Iterator<Item = u64>) -> Latencies {
        of(millis.map(|millis| taking(millis as f64 * 1e6)))
    }

    #[test]
    fn every_request_is_in_a_column() {
        for range in [0..1, 5..6, 100..200, 0..200_000] {
            let columns = latencies(range.clone().step_by(7)).columns().unwrap();
            assert!((1..=COLUMNS as usize).contains(&columns.counts.len()), "{range:?}");
            assert_eq!(columns.counts.iter().sum::<u64>(), range.step_by(7).count() as u64);
        }
        assert!(Latencies::default().columns().is_none() && Latencies::default().axis().is_none());
    }

    #[test]
    fn the_axis_of_few_requests_spans_a_doubling() {
        for millis in [98..=98, 98..=101] {
            let axis = latencies(millis).axis().unwrap();
            assert!((2.0..2.2).contains(&(axis.high() / axis.low())), "{axis:?}");
            assert!((0.4..0.6).contains(&axis.place(99.5e6)), "{axis:?}");
        }
        let wide = latencies(100..=500).axis().unwrap();
        assert!((5.0..5.5).contains(&(wide.high() / wide.low())), "{wide:?}");
    }

    #[test]
    fn latencies_spread_evenly_over_the_axis_have_a_flat_distribution() {
        // From 1 ms to 10 s.
        let spread = (0..40_000).map(|n| taking(1e6 * 1e4_f64.powf(f64::from(n) / 40_000.0)));
        let counts = of(spread).columns().unwrap().counts;
        // The first column may begin before the first latency, and the last one end after the last.
        let inner = &counts[1..counts.len() - 1];
        let most = *counts.iter().max().unwrap() as f64;
        assert!(inner.len() > COLUMNS as usize / 2, "{counts:?}");
        assert!(inner.iter().all(|count| *count as f64 > most * 0.95), "{counts:?}");
    }

    #[test]
    fn columns_are_equally_wide_and_an_empty_one_stays_empty() {
        let latencies = of([1e6, 1.001e6, 1e9].map(taking).into_iter());
        let columns = latencies.columns().unwrap();
        assert_eq!((columns.counts.iter().filter(|count| **count > 0).count(), columns.counts[0]), (2, 2));
        let marks = [("p50".to_owned(), Millis::from_nanos(1_000_000_000))];
        let plot = columns.plot(latencies.axis().unwrap(), &marks, Vec::new());
        assert!(plot.marks[0].at > 95.0 && plot.label.ends_with("p50 1.00 s."), "{plot:?}");
        let rows = columns.rows();
        assert_eq!((rows.len(), &*rows[0].requests, &*rows[1].requests), (2, "2 requests", "1 request"));
        for bin in 700..1_000 {
            let [width, next] = [bin, bin + 1].map(|bin| start(bin + 1) / start(bin));
            assert!((width / next - 1.0).abs() < 1e-9, "{bin}");
        }
    }

    #[test]
    fn the_slowest_are_the_slowest() {
        let bars = latencies(1..=1_000).bars(&StageNames::default());
        let names: Vec<_> = bars.iter().map(|bar| &*bar.name).collect();
        assert_eq!(names[0], "all requests");
        // A bucket is taken as a whole.
        let slow: u64 = names[3].trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
        assert!((10..=40).contains(&slow), "{names:?}");
        assert_eq!((bars[3].parts.len(), &*bars[3].parts[0].part), (1, "unattributed"));
        assert_eq!(bars[3].mean, "992 ms");
    }
}
