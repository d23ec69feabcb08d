//! How long requests took, and where the time of the fast and of the slow ones went.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    column::Column,
    figures::{count, shown},
};
use crate::{
    Millis, RequestLine,
    cli::{
        amount::amount,
        parts::{Share, Times},
    },
};

/// How many columns the distribution has at most.
const COLUMNS: u32 = 48;
/// How many bins a doubling of the latency has. All are equally wide on a logarithmic axis, so that requests
/// spread evenly over it have a flat distribution.
const BINS: f64 = 96.0;

/// The times of requests, by the bin of their latency.
#[derive(Debug, Default)]
pub(super) struct Latencies(BTreeMap<u32, Times>);

/// The bin of a latency. Zero has no logarithm, and shares the bin of a nanosecond.
fn bin(latency: Millis) -> u32 {
    ((latency.as_nanos().max(1) as f64).log2() * BINS) as u32
}

/// Where a bin begins.
fn start(bin: u32) -> Millis {
    Millis::from_nanos((f64::from(bin) / BINS).exp2().round() as u64)
}

#[derive(Serialize)]
pub(super) struct Chart {
    columns: Vec<Column>,
    most: String,
    /// What the chart says, in a sentence.
    text: String,
    first: String,
    last: String,
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
        self.0.entry(bin(line.e2e_table.e2e_total_ms)).or_default().add(line);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|(bin, times)| self.0.entry(*bin).or_default().merge(times));
    }

    /// The distribution, in columns of equally many bins: each is longer than the one before by one factor.
    pub(super) fn chart(&self, marks: &[(&'static str, Millis)]) -> Option<Chart> {
        let (first, last) = (*self.0.first_key_value()?.0, *self.0.last_key_value()?.0);
        let width = (last - first + 1).div_ceil(COLUMNS);
        let column = |bin: u32| bin.checked_sub(first).map(|bin| (bin / width) as usize);
        let mut counts = vec![0; ((last - first) / width + 1) as usize];
        for (bin, times) in &self.0 {
            if let Some(counted) = column(*bin).and_then(|column| counts.get_mut(column)) {
                *counted += times.requests;
            }
        }
        let begin = |column: usize| first + column as u32 * width;
        let most = counts.iter().copied().max().unwrap_or(1).max(1);
        let length = counts.len();
        let columns = counts.into_iter().enumerate().map(|(at, counted)| {
            let inside: Vec<_> = marks
                .iter()
                .filter(|(_, time)| column(bin(*time)) == Some(at))
                .map(|(name, _)| *name)
                .collect();
            Column {
                name: format!("{} to {}", shown(start(begin(at))), shown(start(begin(at + 1)))),
                value: requests(counted),
                height: counted as f64 / most as f64 * 100.0,
                mark: inside.join(" "),
            }
        });
        let text: Vec<_> = marks.iter().map(|(name, time)| format!("{name} {}", shown(*time))).collect();
        Some(Chart {
            columns: columns.collect(),
            most: requests(most),
            text: format!("End-to-end latency of requests: {}", text.join(", ")),
            first: shown(start(first)),
            last: shown(start(begin(length))),
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

/// The sum of the first buckets that together have at least the wanted number of requests.
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

/// A number of requests, with the noun.
fn requests(counted: u64) -> String {
    match counted {
        0 | 1 => amount(counted, "request", "requests"),
        _ => format!("{} requests", count(counted)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::E2eTable;

    fn taking(nanos: f64) -> RequestLine {
        let e2e_total_ms = Millis::from_nanos(nanos as u64);
        let e2e_table = E2eTable { e2e_total_ms, unattributed_time_ms: e2e_total_ms, ..E2eTable::default() };
        RequestLine { e2e_table, ..RequestLine::default() }
    }

    fn latencies(millis: impl Iterator<Item = u64>) -> Latencies {
        let mut latencies = Latencies::default();
        millis.for_each(|millis| latencies.add(&taking(millis as f64 * 1e6)));
        latencies
    }

    #[test]
    fn every_request_is_in_a_column() {
        for range in [0..1, 5..6, 100..200, 0..1_000_000] {
            let chart = latencies(range.clone().step_by(7)).chart(&[]).unwrap();
            assert!((1..=COLUMNS as usize).contains(&chart.columns.len()), "{range:?}");
            let count =
                |column: &Column| column.value.split_once(' ').unwrap().0.replace(',', "").parse::<usize>();
            let counted: usize = chart.columns.iter().map(|column| count(column).unwrap()).sum();
            assert_eq!(counted, range.step_by(7).count());
        }
        assert!(Latencies::default().chart(&[]).is_none());
    }

    fn heights(chart: &Chart) -> Vec<f64> {
        chart.columns.iter().map(|column| column.height).collect()
    }

    #[test]
    fn latencies_spread_evenly_over_the_axis_have_a_flat_distribution() {
        let mut latencies = Latencies::default();
        // From 1 ms to 10 s.
        (0..200_000).for_each(|n| latencies.add(&taking(1e6 * 1e4_f64.powf(f64::from(n) / 200_000.0))));
        let heights = heights(&latencies.chart(&[]).unwrap());
        // The first column may begin before the first latency, and the last one end after the last.
        let inner = &heights[1..heights.len() - 1];
        assert!(inner.len() > COLUMNS as usize / 2, "{heights:?}");
        assert!(inner.iter().all(|height| *height > 99.0), "{heights:?}");
    }

    #[test]
    fn columns_are_equally_wide_and_an_empty_one_stays_empty() {
        let mut latencies = Latencies::default();
        for nanos in [1e6, 1.001e6, 1e9] {
            latencies.add(&taking(nanos));
        }
        let chart = latencies.chart(&[("p50", Millis::from_nanos(1_001_000))]).unwrap();
        let filled = chart.columns.iter().filter(|column| column.height > 0.0).count();
        assert_eq!((filled, heights(&chart)[0]), (2, 100.0));
        assert_eq!((&*chart.columns[0].mark, &*chart.columns[1].value), ("p50", "0 requests"));
        for bin in 700..6_000 {
            let [width, next] = [bin, bin + 1].map(|bin| start(bin + 1).as_f64() / start(bin).as_f64());
            assert!((width / next - 1.0).abs() < 0.02, "{bin}");
        }
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
