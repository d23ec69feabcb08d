//! The numbers of a run by its stretches, from which the script recounts those of a part of its time.

use serde::Serialize;

use super::{
    axis::Axis,
    latency::{BINS, Columns},
    shown,
    spent::{Part, Spent, StageNames},
    stretches::{Placed, Stretches},
};

/// How many parts of the time are told apart.
const PARTS: usize = 24;

#[derive(Debug, Serialize)]
pub(super) struct Overview {
    /// When the first stretch begins, in milliseconds since the Unix epoch, and how long each is.
    begin: f64,
    length: f64,
    /// The ends of the axes: of time in milliseconds since the Unix epoch, of latency in milliseconds.
    time: [f64; 2],
    latency: [f64; 2],
    /// How many bins a doubling of the latency has.
    bins: u32,
    distribution: Columns,
    stretches: Vec<Stretch>,
    /// The code, the name and the classes of each part.
    parts: Vec<(String, String, String)>,
    numbers: shown::Columns,
}

/// Completed, aborted and failed requests, tokens, the mean number of requests in flight; latencies as bin
/// and count in turn; times as part and milliseconds in turn.
#[derive(Debug, Serialize)]
struct Stretch(u64, u64, u64, u64, f64, Vec<u64>, Vec<f64>);

impl Overview {
    pub(super) fn of(
        stretches: &Stretches,
        distribution: Columns,
        axes: (Axis, Axis),
        whole: &Spent,
        stages: &StageNames,
    ) -> Self {
        use super::ending::Ending::{Aborted, Completed, Failed};

        let parts = told_apart(whole);
        let stretch = |at: Placed<'_>| {
            let stretch = at.stretch;
            let latencies = stretch.latencies.iter().flat_map(|(bin, count)| [u64::from(*bin), *count]);
            let [completed, aborted, failed] =
                [Completed, Aborted, Failed].map(|ending| stretch.endings.of(ending));
            let in_flight = thousandths(at.in_flight);
            let times = times(&stretch.spent, &parts);
            Stretch(completed, aborted, failed, stretch.tokens, in_flight, latencies.collect(), times)
        };
        let (time, latency) = axes;
        Self {
            begin: stretches.iter().next().map_or(0.0, |at| at.from as f64 / 1e3),
            length: stretches.length() as f64 / 1e3,
            time: [time.low() / 1e3, time.high() / 1e3],
            latency: [latency.low() / 1e6, latency.high() / 1e6],
            bins: BINS,
            distribution,
            stretches: stretches.iter().map(stretch).collect(),
            parts: parts.iter().map(|part| (part.code(), part.name(stages), part.class())).collect(),
            numbers: shown::columns(),
        }
    }
}

/// The parts with the most time in their order; if there are more, the last one is the others.
fn told_apart(whole: &Spent) -> Vec<Part> {
    let mut parts = whole.parts();
    let mut times: Vec<_> = parts.iter().map(|(_, time)| *time).collect();
    times.sort_unstable_by(|one, other| other.cmp(one));
    if let Some(limit) = times.get(PARTS) {
        parts.retain(|(part, time)| time > limit && *part != Part::Others);
        parts.push((Part::Others, 0));
    }
    parts.into_iter().map(|(part, _)| part).collect()
}

fn times(spent: &Spent, parts: &[Part]) -> Vec<f64> {
    let mut others = spent.total();
    let mut times = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        let time = if *part == Part::Others { others } else { spent.of(*part) };
        others = others.saturating_sub(time);
        if time > 0 {
            times.extend([at as f64, thousandths(time as f64 / 1e6)]);
        }
    }
    times
}

fn thousandths(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_is_lost_however_many_parts_there_are() {
        let mut spent = Spent::default();
        for stage in 0..60 {
            spent.add(&[(Part::Stage(stage), 1_000_000 * (stage as u64 + 1))], 1);
        }
        let parts = told_apart(&spent);
        assert_eq!((parts.len(), parts.last()), (PARTS + 1, Some(&Part::Others)));
        let times = times(&spent, &parts);
        let sum: f64 = times.chunks(2).map(|part| part[1]).sum();
        assert_eq!((sum, times.len()), (f64::from((1..=60).sum::<u32>()), 2 * (PARTS + 1)));
        spent = Spent::default();
        spent.add(&[(Part::Queue, 5)], 1);
        assert_eq!(told_apart(&spent), [Part::Queue]);
    }
}
