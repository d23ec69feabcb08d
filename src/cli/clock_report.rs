//! How far apart the clocks of processes are, in the report of `join`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    amount::amount,
    clocks::{Clocks, Doubt},
    origins::Origins,
};
use crate::Timestamp;

/// Clocks that differ by this much, in milliseconds, are named.
const MUCH_MS: f64 = 10.0;
/// How many logs a sentence names.
const NAMED: usize = 5;

/// The estimates of [`Clocks`].
#[derive(Serialize)]
pub(super) struct ClockReport {
    clocks: Vec<RowClock>,
    request_clocks: Vec<RequestClock>,
}

/// By how much the rows of a log are moved in the requests of a run.
#[derive(Serialize)]
struct RowClock {
    log_file: String,
    /// The log of the requests.
    requests_from: String,
    /// One for each start of the process that wrote the rows; none if there is no estimate.
    offsets_ms: Vec<f64>,
    /// Where rows in succession agree on another time, although they are moved by one of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    doubtful: Vec<Doubtful>,
    /// By how much these requests were moved themselves.
    #[serde(skip)]
    requests_moved_ms: f64,
}

impl RowClock {
    /// By how much the clock is off at most and, in words, between which offsets, if it is off by much.
    fn off(&self) -> Option<(f64, String)> {
        let moved = || self.offsets_ms.iter().map(|by| by + self.requests_moved_ms);
        let most = moved().map(f64::abs).fold(0.0, f64::max);
        let [back, forth] = [moved().fold(f64::MAX, f64::min), moved().fold(f64::MIN, f64::max)];
        let by = match back < forth {
            true => format!("between {} and {}", ahead(forth), ahead(back)),
            false => ahead(back),
        };
        (most >= MUCH_MS).then(|| (most, format!("{} {by}", self.log_file)))
    }
}

/// Rows in succession that agree on another time than they were moved by.
#[derive(Serialize)]
struct Doubtful {
    /// When the first and the last one of them ended, by the clock of their process.
    from: Timestamp,
    to: Timestamp,
    /// By how much more they would have to be moved.
    by_ms: f64,
}

/// By how much the requests of a run are moved.
#[derive(Serialize)]
struct RequestClock {
    log_file: String,
    requests: u64,
    /// `None` if no worker compares the clock with that of the reference.
    moved_ms: Option<f64>,
    /// Whether others are moved to this clock.
    #[serde(skip_serializing_if = "is_false")]
    is_reference: bool,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

impl ClockReport {
    pub(super) fn of(clocks: &Clocks, logs: &Origins) -> Self {
        let name = |name: Option<&str>| name.unwrap_or_default().to_owned();
        let millis = |micros: i64| micros as f64 / 1e3;
        let doubtful = |doubt: &Doubt| {
            let [from, to] = doubt.times;
            Doubtful { from, to, by_ms: millis(doubt.by) }
        };
        let of_pair = clocks.pairs().iter().map(|((run, log), offsets)| RowClock {
            log_file: name(logs.of_row(*log)),
            requests_from: name(logs.of_run(*run)),
            offsets_ms: offsets.micros().map(millis).collect(),
            doubtful: offsets.doubts().iter().map(doubtful).collect(),
            requests_moved_ms: millis(clocks.of_requests(*run)),
        });
        let of_run = clocks.runs().map(|(run, requests, moved)| RequestClock {
            log_file: name(logs.of_run(run)),
            requests,
            moved_ms: moved.map(millis),
            is_reference: clocks.reference() == Some(run),
        });
        Self { clocks: of_pair.collect(), request_clocks: of_run.collect() }
    }

    /// A sentence for each kind of difference.
    pub(super) fn sentences(&self) -> Vec<String> {
        let mut sentences = Vec::new();
        let mut add = |sentence: &dyn Fn(&str, usize) -> String, named: Vec<(f64, String)>| {
            let count = named.len();
            sentences.extend(list(named).map(|names| sentence(&names, count)));
        };
        let differing =
            farthest(self.clocks.iter().filter_map(|clock| Some((&*clock.log_file, clock.off()?))));
        add(
            &|names, count| {
                let clocks = amount(count as u64, "log of rows has a clock", "logs of rows have clocks");
                format!("{clocks} off by {MUCH_MS} ms or more from that of the requests: {names}")
            },
            differing.into_values().collect(),
        );
        let starts = largest(self.clocks.iter().filter_map(|clock| {
            let again = clock.offsets_ms.len().saturating_sub(1);
            (again > 0).then_some((&*clock.log_file, again as f64))
        }));
        add(
            &|names, count| {
                let processes = amount(count as u64, "process was", "processes were");
                format!("{processes} started again with another clock: {names}")
            },
            starts.into_iter().map(|(log, again)| (again, times(log, again))).collect(),
        );
        let doubtful = self.clocks.iter().flat_map(|clock| {
            clock.doubtful.iter().map(|doubt| {
                let Doubtful { from, to, by_ms } = doubt;
                let text = format!("{} by {:.3} ms from {from} to {to}", clock.log_file, by_ms.abs());
                (&*clock.log_file, (by_ms.abs(), text))
            })
        });
        let doubtful = farthest(doubtful);
        add(
            &|names, count| {
                let logs = amount(count as u64, "log has", "logs have");
                format!(
                    "{logs} rows in succession that agree on another time than they were moved by, so their \
                     flights and starts may be wrong: {names}"
                )
            },
            doubtful.into_values().collect(),
        );
        sentences.extend(self.of_requests());
        sentences
    }

    /// Which requests were moved, and which were not since nothing tells their clock. Nothing without rows of
    /// workers, as after another `join`.
    fn of_requests(&self) -> Vec<String> {
        let reference = self.request_clocks.iter().find(|clock| clock.is_reference);
        let Some(reference) = reference.filter(|_| !self.clocks.is_empty()) else {
            return Vec::new();
        };
        let (all, reference) = (self.request_clocks.len(), &reference.log_file);
        let moved = self.request_clocks.iter().filter_map(|clock| {
            let by = clock.moved_ms.filter(|by| *by != 0.0)?;
            Some((by.abs(), format!("{} was {}", clock.log_file, ahead(by))))
        });
        let moved: Vec<_> = moved.collect();
        let count = moved.len();
        let mut sentences = Vec::new();
        sentences.extend(list(moved).map(|names| {
            format!(
                "the requests of {count} of {all} runs were moved to the clock of {reference}, which has the \
                 most requests: {names}"
            )
        }));
        let unknown = self.request_clocks.iter().filter(|clock| clock.moved_ms.is_none());
        let unknown = largest(unknown.map(|clock| (&*clock.log_file, clock.requests as f64)));
        let runs = self.request_clocks.iter().filter(|clock| clock.moved_ms.is_none()).count();
        let named = unknown.into_iter().map(|(log, requests)| (requests, log.to_owned())).collect();
        sentences.extend(list(named).map(|names| {
            format!(
                "the requests of {runs} of {all} runs keep their clock, since too few rows of workers \
                 compare it with that of {reference}: {names}"
            )
        }));
        sentences
    }
}

/// The largest number of each log, and its text.
fn farthest<'a>(texts: impl Iterator<Item = (&'a str, (f64, String))>) -> BTreeMap<&'a str, (f64, String)> {
    let mut of_logs = BTreeMap::<_, (f64, String)>::new();
    for (log, text) in texts {
        let known = of_logs.entry(log).or_default();
        if text.0 > known.0 {
            *known = text;
        }
    }
    of_logs
}

/// The largest number of each log.
fn largest<'a>(numbers: impl Iterator<Item = (&'a str, f64)>) -> BTreeMap<&'a str, f64> {
    let mut of_logs = BTreeMap::<_, f64>::new();
    for (log, number) in numbers {
        let known = of_logs.entry(log).or_default();
        if number.abs() > known.abs() {
            *known = number;
        }
    }
    of_logs
}

/// By how much a clock is off whose moments were moved by this much.
fn ahead(moved_ms: f64) -> String {
    let off = match moved_ms {
        moved if moved < 0.0 => "ahead",
        moved if moved > 0.0 => "behind",
        _ => "off",
    };
    format!("{:.3} ms {off}", moved_ms.abs())
}

fn times(log: &str, count: f64) -> String {
    if count > 1.0 { format!("{log} ({count} times)") } else { log.to_owned() }
}

/// The names with the largest numbers, and how many more there are; `None` without any.
fn list(mut named: Vec<(f64, String)>) -> Option<String> {
    named.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    let more = named.len().saturating_sub(NAMED);
    let mut names: Vec<_> = named.into_iter().take(NAMED).map(|(_, name)| name).collect();
    if more > 0 {
        names.push(format!("and {more} more"));
    }
    (!names.is_empty()).then(|| names.join(", "))
}
