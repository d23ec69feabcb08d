//! The distributions of the latency of two logs, on one logarithmic axis.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    Millis,
    cli::{
        latency_bins::{bin, start},
        objectives::Objectives,
        report::{
            axis::Axis,
            figures::shown,
            limits,
            plot::{Field, Mark, Path, Plot},
        },
    },
};

/// How many columns the chart has at most.
const COLUMNS: u32 = 60;

/// Requests by the bin of their latency. All bins are equally wide on a logarithmic axis.
#[derive(Debug, Clone, Default)]
pub(super) struct Latencies(BTreeMap<u32, u64>);

/// Which share of the requests of each log is in each column.
#[derive(Debug)]
pub(super) struct Distribution {
    /// The first bin of the first column.
    first: u32,
    /// How many bins a column has.
    width: u32,
    columns: Vec<[f64; 2]>,
}

/// A row of the distributions as a table.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    range: String,
    shares: [String; 2],
}

impl Latencies {
    pub(super) fn add(&mut self, latency: Millis, weight: u64) {
        let count = self.0.entry(bin(latency)).or_default();
        *count = count.saturating_add(weight);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (bin, weight) in &other.0 {
            let count = self.0.entry(*bin).or_default();
            *count = count.saturating_add(*weight);
        }
    }
}

impl Distribution {
    /// `None` without requests.
    pub(super) fn of(logs: [&Latencies; 2]) -> Option<Self> {
        let bins = || logs.iter().flat_map(|log| log.0.keys().copied());
        let (first, last) = (bins().min()?, bins().max()?);
        let width = (last - first + 1).div_ceil(COLUMNS);
        let mut columns = vec![[0.0; 2]; ((last - first) / width + 1) as usize];
        for (log, latencies) in logs.into_iter().enumerate() {
            let all: u128 = latencies.0.values().map(|count| u128::from(*count)).sum();
            for (bin, count) in &latencies.0 {
                let column = columns.get_mut(((bin - first) / width) as usize);
                if let Some(share) = column.and_then(|column| column.get_mut(log)) {
                    *share += *count as f64 / all.max(1) as f64;
                }
            }
        }
        Some(Self { first, width, columns })
    }

    /// The first log as columns, the second one as a line, the percentiles of both, and the limits of the
    /// objectives. `marks` are in milliseconds.
    pub(super) fn plot(&self, marks: &[(String, f64)], objectives: &Objectives) -> Plot {
        let end = self.first + self.width * self.columns.len() as u32;
        let top = self.columns.iter().flatten().copied().fold(0.0, f64::max) * 105.0;
        let field = Field { x: Axis::log(start(self.first), start(end)), y: Axis::linear(0.0, top) };
        let mut columns = Path::default();
        for (range, [before, _]) in self.iter() {
            columns.rectangle(&field, range, (0.0, before * 100.0));
        }
        let mut line = Path::default();
        line.steps(&field, self.iter().map(|(range, [_, after])| (range, Some(after * 100.0))));
        let mark = |(name, millis): &(String, f64)| Mark {
            at: field.x.place(millis * 1e6) * 100.0,
            text: format!("{name} {}", time(*millis)),
            class: if name.starts_with("before") { "before" } else { "after" },
        };
        let marks: Vec<_> = marks.iter().map(mark).chain(limits::marks(objectives, field.x)).collect();
        let texts: Vec<_> = marks.iter().map(|mark| &*mark.text).collect();
        let label = format!("Distributions of the end-to-end latency: {}.", texts.join(", "));
        let title = "Share of the requests by end-to-end latency, in percent".to_owned();
        let mut plot = Plot::new("distribution", title, label, field.x.times(12), field.y.numbers(5));
        plot.layer("columns", "before", columns);
        plot.layer("line", "after", line);
        plot.marks = marks;
        plot
    }

    /// The columns that have requests.
    pub(super) fn rows(&self) -> Vec<Row> {
        let percent = |share: f64| format!("{:.2} %", share * 100.0);
        let filled = self.iter().filter(|(_, shares)| shares.iter().any(|share| *share > 0.0));
        let row = |((from, to), shares): ((f64, f64), [f64; 2])| Row {
            range: format!("{} to {}", time(from / 1e6), time(to / 1e6)),
            shares: shares.map(percent),
        };
        filled.map(row).collect()
    }

    /// When each column begins and ends, in nanoseconds, with its shares.
    fn iter(&self) -> impl Iterator<Item = ((f64, f64), [f64; 2])> {
        let at = |column: usize| start(self.first + column as u32 * self.width);
        self.columns.iter().enumerate().map(move |(n, shares)| ((at(n), at(n + 1)), *shares))
    }
}

fn time(millis: f64) -> String {
    shown(Millis::from_f64(millis).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latencies(millis: &[u64]) -> Latencies {
        let mut latencies = Latencies::default();
        millis.iter().for_each(|millis| latencies.add(Millis::from_nanos(millis * 1_000_000), 3));
        latencies
    }

    #[test]
    fn each_log_is_a_whole_and_both_share_the_columns() {
        let (mut one, other) = (latencies(&[1, 2, 4, 8]), latencies(&[8, 1_000]));
        let found = Distribution::of([&one, &other]).unwrap();
        for log in 0..2 {
            let sum: f64 = found.columns.iter().map(|shares| shares[log]).sum();
            assert!((sum - 1.0).abs() < 1e-9, "{found:?}");
        }
        assert!(found.columns.len() <= COLUMNS as usize);
        assert_eq!((found.columns[0], found.columns.last().copied()), ([0.25, 0.0], Some([0.0, 0.5])));
        assert!(found.columns.contains(&[0.25, 0.5]), "8 ms is in one column: {found:?}");
        assert_eq!(found.rows().len(), 5);
        let objectives = Objectives { slo: vec!["e2e=2s".parse().unwrap(), "e2e=8ms@99%".parse().unwrap()] };
        let plot = found.plot(&[("before p50".to_owned(), 1_000.0)], &objectives);
        let marks: Vec<_> = plot.marks.iter().map(|mark| (&*mark.text, mark.class)).collect();
        let expected = [
            ("before p50 1.00 s", "before"),
            ("objective e2e=8ms@99%", "limit"),
            ("objective e2e=2s, which is beyond this axis", "limit outside"),
        ];
        assert_eq!(marks, expected);
        assert!(
            plot.marks[0].at > 95.0 && plot.label.contains("p50 1.00 s, objective e2e=8ms@99%,"),
            "{plot:?}"
        );
        assert!(Distribution::of([&Latencies::default(); 2]).is_none());
        one.merge(&other);
        assert_eq!(one.0.values().sum::<u64>(), 18);
    }
}
