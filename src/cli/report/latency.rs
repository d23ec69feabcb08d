//! How long requests took, and where the time of the fast and of the slow ones went.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{count, shown};
use crate::{
    Millis, RequestLine,
    cli::parts::{Share, Times},
    percentiles::{least, place},
};

/// How many columns the distribution has at most.
const COLUMNS: usize = 48;

/// The times of requests, by the bucket of their latency: a hundredth wide.
#[derive(Debug, Default)]
pub(super) struct Latencies(BTreeMap<usize, Times>);

#[derive(Serialize)]
pub(super) struct Chart {
    columns: Vec<Column>,
    most: String,
    /// What the chart says, in a sentence.
    text: String,
    first: String,
    last: String,
}

#[derive(Serialize)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) value: String,
    /// Percent of the highest one.
    pub(super) height: f64,
    /// What lies in here, such as the median.
    pub(super) mark: String,
}

/// Where the time of some requests goes.
#[derive(Serialize)]
pub(super) struct Bar {
    name: String,
    parts: Vec<BarPart>,
}

#[derive(Serialize)]
struct BarPart {
    #[serde(flatten)]
    share: Share,
    time: String,
    percent: String,
    width: f64,
    colour: String,
}

impl Latencies {
    pub(super) fn add(&mut self, line: &RequestLine) {
        self.0.entry(place(line.e2e_table.e2e_total_ms.as_nanos())).or_default().add(line);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|(place, times)| self.0.entry(*place).or_default().merge(times));
    }

    /// The distribution, in columns that are each as much longer than the one before.
    pub(super) fn chart(&self, marks: &[(&'static str, Millis)]) -> Option<Chart> {
        let (first, last) = (*self.0.first_key_value()?.0, *self.0.last_key_value()?.0);
        let mut widths = (0..12).map(|power| 1_usize << power);
        let width = widths.find(|width| last / width - first / width < COLUMNS)?;
        let mut counts = vec![0; last / width - first / width + 1];
        for (place, times) in &self.0 {
            if let Some(counted) = counts.get_mut(place / width - first / width) {
                *counted += times.requests;
            }
        }
        let most = counts.iter().copied().max().unwrap_or(1).max(1);
        let columns = counts.into_iter().enumerate().map(|(at, counted)| {
            let begin = (first / width + at) * width;
            let inside: Vec<_> = marks
                .iter()
                .filter(|(_, time)| place(time.as_nanos()) / width == begin / width)
                .map(|(name, _)| *name)
                .collect();
            Column {
                name: format!("{} to {}", time_of(begin), time_of(begin + width)),
                value: format!("{} requests", count(counted)),
                height: counted as f64 / most as f64 * 100.0,
                mark: inside.join(" "),
            }
        });
        let text: Vec<_> = marks.iter().map(|(name, time)| format!("{name} {}", shown(*time))).collect();
        Some(Chart {
            columns: columns.collect(),
            most: format!("{} requests", count(most)),
            text: format!("End-to-end latency of requests: {}", text.join(", ")),
            first: time_of(first / width * width),
            last: time_of((last / width + 1) * width),
        })
    }

    /// Where the time goes: of all requests, of the faster half, and of the slowest.
    pub(super) fn bars(&self) -> Vec<Bar> {
        let whole = sum(self.0.values(), u64::MAX);
        let mut bars = vec![bar("all requests".to_owned(), &whole)];
        for (of, name, is_slow) in
            [(2, "fastest half", false), (10, "slowest tenth", true), (100, "slowest hundredth", true)]
        {
            let wanted = whole.requests.div_ceil(of);
            if whole.requests < of {
                continue;
            }
            let some =
                if is_slow { sum(self.0.values().rev(), wanted) } else { sum(self.0.values(), wanted) };
            bars.push(bar(format!("{name} ({})", count(some.requests)), &some));
        }
        bars
    }
}

/// The sum of so many buckets as hold the wanted number of requests.
fn sum<'a>(buckets: impl Iterator<Item = &'a Times>, wanted: u64) -> Times {
    let mut sum = Times::default();
    for times in buckets {
        if sum.requests >= wanted {
            break;
        }
        sum.merge(times);
    }
    sum
}

fn bar(name: String, times: &Times) -> Bar {
    let shares: Vec<_> = times.shares().collect();
    let whole: f64 = shares.iter().map(|share| share.share).sum::<f64>().max(1.0);
    let parts = shares.into_iter().map(|share| BarPart {
        time: shown(share.time_ms),
        percent: format!("{:.1} %", share.share * 100.0),
        width: share.share / whole * 100.0,
        colour: colour(&share.part),
        share,
    });
    Bar { name, parts: parts.collect() }
}

/// The class of a part's colour, the same wherever it is shown.
fn colour(part: &str) -> String {
    match part.strip_prefix("stage ") {
        Some(id) => format!("stage-{}", id.parse::<u64>().map_or(7, |id| id % 7)),
        None => part.replace(' ', "-"),
    }
}

fn time_of(place: usize) -> String {
    shown(Millis::from_nanos(least(place)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::E2eTable;

    fn latencies(millis: impl Iterator<Item = u64>) -> Latencies {
        let mut latencies = Latencies::default();
        for millis in millis {
            let e2e_total_ms = Millis::from_nanos(millis * 1_000_000);
            let e2e_table =
                E2eTable { e2e_total_ms, unattributed_time_ms: e2e_total_ms, ..E2eTable::default() };
            latencies.add(&RequestLine { e2e_table, ..RequestLine::default() });
        }
        latencies
    }

    #[test]
    fn every_request_is_in_a_column() {
        for range in [0..1, 5..6, 100..200, 0..1_000_000] {
            let chart = latencies(range.clone().step_by(7)).chart(&[]).unwrap();
            assert!((1..=COLUMNS).contains(&chart.columns.len()), "{range:?}");
            let count =
                |column: &Column| column.value.split_once(' ').unwrap().0.replace(',', "").parse::<usize>();
            let counted: usize = chart.columns.iter().map(|column| count(column).unwrap()).sum();
            assert_eq!(counted, range.step_by(7).count());
        }
        assert!(Latencies::default().chart(&[]).is_none());
    }

    #[test]
    fn the_slowest_are_the_slowest() {
        let bars = latencies(1..=1_000).bars();
        let names: Vec<_> = bars.iter().map(|bar| &*bar.name).collect();
        assert_eq!(names[0], "all requests");
        // A bucket is taken as a whole.
        let slow: u64 = names[3].trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
        assert!((10..=20).contains(&slow), "{names:?}");
        let unattributed = bars[3].parts.iter().find(|part| part.share.part == "unattributed").unwrap();
        assert!(unattributed.share.time_ms.as_f64() / slow as f64 > 980.0);
    }
}
