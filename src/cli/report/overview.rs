//! The numbers of a run by its stretches, from which the script recounts those of a part of its time.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    axis::Axis,
    course::{Course, Placed},
    ending::Ending,
    latency::Columns,
    limits::Moment,
    shown,
    spent::{Part, Spent, StageNames},
};
use crate::cli::latency_bins::BINS;

#[derive(Debug, Serialize)]
pub(super) struct Overview<'a> {
    /// When the first stretch of the charts begins, in milliseconds since the Unix epoch; how long each is.
    begin: f64,
    length: f64,
    /// The begin of the first stretch if it is before the charts, and the end of the last one if it is after
    /// them.
    before: Option<f64>,
    after: Option<f64>,
    /// The ends of the axes: of time in milliseconds since the Unix epoch, of latency in milliseconds.
    time: [f64; 2],
    latency: [f64; 2],
    /// How many bins a doubling of the latency has.
    bins: u32,
    distribution: Columns,
    stretches: Vec<Stretch>,
    /// The code, the name and the classes of each part: those of the stretches first, then those that only
    /// waterfalls tell apart.
    parts: Vec<(String, String, String)>,
    numbers: shown::Columns,
    limits: Vec<Moment<'a>>,
}

/// Completed, aborted and otherwise failed requests, tokens, the mean number of requests in flight; latencies
/// as bin and count in turn; times as part and milliseconds in turn.
#[derive(Debug, Serialize)]
struct Stretch(u64, u64, u64, u64, f64, Vec<u64>, Vec<f64>);

impl<'a> Overview<'a> {
    pub(super) fn of(
        course: &Course,
        distribution: Columns,
        axes: (Axis, Axis),
        whole: &Spent,
        stages: &StageNames,
    ) -> Self {
        let parts = whole.told_apart();
        let stretch = |at: &Placed| {
            let stretch = &at.stretch;
            let mut latencies = BTreeMap::<_, u64>::new();
            for (bin, count) in &stretch.latencies {
                *latencies.entry(distribution.grouped(*bin)).or_default() += count;
            }
            let latencies = latencies.into_iter().flat_map(|(bin, count)| [bin.into(), count]);
            let [completed, aborted, unaborted] = Ending::ALL.map(|ending| stretch.endings.of(ending));
            let in_flight = thousandths(at.in_flight);
            let times = times(&stretch.spent, &parts);
            Stretch(completed, aborted, unaborted, stretch.tokens, in_flight, latencies.collect(), times)
        };
        let only_in_waterfalls = [Part::Queue, Part::Transfers, Part::Unattributed].into_iter();
        let only_in_waterfalls =
            only_in_waterfalls.chain(stages.parts()).filter(|part| !parts.contains(part));
        let shown = |part: Part| (part.code(), part.name(stages), part.class());
        let (time, latency) = axes;
        let stretches = course.iter().map(stretch).collect();
        Self {
            begin: course.shown.first().map_or(0.0, |at| at.from as f64 / 1e3),
            length: course.length as f64 / 1e3,
            before: course.before.as_ref().map(|at| at.from as f64 / 1e3),
            after: course.after.as_ref().map(|at| at.to as f64 / 1e3),
            time: [time.low() / 1e3, time.high() / 1e3],
            latency: [latency.low() / 1e6, latency.high() / 1e6],
            bins: BINS,
            distribution,
            stretches,
            parts: parts.iter().copied().chain(only_in_waterfalls).map(shown).collect(),
            numbers: shown::columns(),
            limits: Vec::new(),
        }
    }

    pub(super) fn with_limits(self, limits: Vec<Moment<'a>>) -> Self {
        Self { limits, ..self }
    }
}

fn times(spent: &Spent, parts: &[Part]) -> Vec<f64> {
    let times = spent.times(parts).enumerate().filter(|(_, (_, time))| *time > 0);
    times.flat_map(|(at, (_, time))| [at as f64, thousandths(time as f64 / 1e6)]).collect()
}

fn thousandths(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}
