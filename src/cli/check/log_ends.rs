//! Logs that end, or have no more lines of one type, long before the others.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use super::found::LineName;
use crate::{
    Timestamp,
    cli::{
        place::Place,
        sample_check::{Witness, begin_of},
    },
};

/// A log has ended if it lacks lines for longer than this, in microseconds,
const SILENCE: u64 = 60_000_000;
/// and for longer than this many times the longest time between two of its lines,
const TIMES: u64 = 2;
/// of which there are this many.
const LINES: u64 = 100;

/// A log goes on until this many lines before its end: a few lines may be of requests that came late.
const STRAGGLERS: usize = 20;

/// Two lines are of one run if its beginning is the same by both, to this many nanoseconds. Requests that end
/// at once may have their numbers in another order.
const SAME_RUN: u64 = 1_000_000;

/// The types of lines that a note tells apart.
const TYPES: [&str; 4] = ["request or row", "request", "row of a stage", "row of a transfer"];

/// The logs in turn.
#[derive(Debug, Default)]
pub(super) struct LogEnds {
    logs: BTreeMap<usize, Lines>,
    /// The files in turn: which of all files each is, and its name.
    files: Vec<(usize, String)>,
}

/// The lines of a log.
#[derive(Debug, Default)]
struct Lines {
    /// The time of the first one, in microseconds since the Unix epoch.
    first: u64,
    /// The times of the last ones.
    recent: VecDeque<u64>,
    /// By [type](TYPES); the first has all.
    types: [Stream; TYPES.len()],
    /// Whether a summary line at the end says that the process, or its run, has come to an end.
    has_summary: bool,
    /// Its first request, and its last one.
    requests: Option<[InRun; 2]>,
}

/// A request in its run: when the run began, in nanoseconds since the Unix epoch, and the request's number.
#[derive(Debug, Clone, Copy)]
pub(super) struct InRun {
    begin: u64,
    number: u64,
}

impl InRun {
    pub(super) fn of(witness: &Witness) -> Option<Self> {
        let Witness::Request(request) = witness else { return None };
        Some(Self { begin: begin_of(&request.run, request.end), number: request.run.requests })
    }

    fn is_before(self, later: Self) -> bool {
        self.begin.abs_diff(later.begin) <= SAME_RUN && self.number < later.number
    }
}

/// The lines of a type.
#[derive(Debug, Default)]
struct Stream {
    lines: u64,
    /// The time of the latest one, its file by its place in `files`, and its number there.
    last: u64,
    file: usize,
    number: u64,
    /// The longest time between two of them, one after the other.
    longest: u64,
}

impl LogEnds {
    /// Adds a line, and if it is of a request, that. Requests that are open and reports end no silence.
    pub(super) fn add(
        &mut self,
        place: Place<'_>,
        name: &LineName,
        is_ending: bool,
        timestamp: Timestamp,
        request: Option<InRun>,
    ) {
        if self.files.last().is_none_or(|(last, _)| *last != place.index) {
            self.files.push((place.index, place.file.to_owned()));
        }
        let file = self.files.len() - 1;
        let lines = self.logs.entry(place.log).or_default();
        let of_type = match name {
            LineName::Request(..) => 1,
            LineName::Stage(_) => 2,
            LineName::Transfer(_) => 3,
            LineName::Summary => return lines.has_summary |= is_ending,
            LineName::Open(_) => return,
        };
        lines.has_summary = false;
        if let Some(request) = request {
            let [_, last] = lines.requests.get_or_insert([request; 2]);
            *last = request;
        }
        let at = timestamp.unix_micros();
        let [all, types @ ..] = &mut lines.types;
        if all.lines == 0 {
            lines.first = at;
        }
        lines.recent.push_back(at);
        if lines.recent.len() > STRAGGLERS {
            lines.recent.pop_front();
        }
        all.add(at, file, place.number);
        if let Some(stream) = types.get_mut(of_type - 1) {
            stream.add(at, file, place.number);
        }
    }

    /// The place of the last line of each log, or of its last line of a type, after which half of the logs go
    /// on for long, and a sentence about it.
    pub(super) fn finish(&self) -> Vec<(Place<'_>, String)> {
        if self.logs.len() < 2 {
            return Vec::new();
        }
        let logs = self.logs.iter().filter(|(_, lines)| !lines.has_summary && !self.goes_on(lines));
        let ends = logs.filter_map(|(log, lines)| {
            let (stream, name, silence) = lines.types.iter().zip(TYPES).find_map(|(stream, name)| {
                let silence = self.usual_end(stream.last).saturating_sub(stream.last);
                stream.has_ended(silence).then_some((stream, name, silence))
            })?;
            let (index, file) = self.files.get(stream.file)?;
            let place = Place { file, number: stream.number, index: *index, log: *log, twin: None };
            let last = Timestamp::from_unix_micros(stream.last);
            let silence = humantime::format_duration(Duration::from_secs(silence / 1_000_000));
            let longest = humantime::format_duration(Duration::from_millis(stream.longest / 1_000));
            Some((
                place,
                format!(
                    "no {name} of this log comes later than this one ({last}), though half of the logs go on \
                     for at least {silence}; before, at most {longest} lay between two: has the process \
                     died, or does it hang?"
                ),
            ))
        });
        ends.collect()
    }

    /// Whether another log has later requests of the run in which this one ends.
    fn goes_on(&self, lines: &Lines) -> bool {
        let Some([_, last]) = lines.requests else { return false };
        let mut requests = self.logs.values().filter_map(|other| other.requests);
        requests.any(|[first, latest]| last.is_before(first) || last.is_before(latest))
    }

    /// Until when half of the logs go on that began before this time. When the load ends, some workers are
    /// idle while one still works.
    fn usual_end(&self, time: u64) -> u64 {
        let began = self.logs.values().filter(|lines| lines.first <= time);
        let mut ends: Vec<_> = began.filter_map(|lines| lines.recent.front().copied()).collect();
        ends.sort_unstable();
        ends.get(ends.len() / 2).copied().unwrap_or(time)
    }
}

impl Stream {
    fn add(&mut self, at: u64, file: usize, number: u64) {
        if self.lines > 0 {
            self.longest = self.longest.max(at.saturating_sub(self.last));
        }
        self.lines += 1;
        if at >= self.last {
            (self.last, self.file, self.number) = (at, file, number);
        }
    }

    fn has_ended(&self, silence: u64) -> bool {
        self.lines >= LINES && silence > SILENCE && silence > self.longest.saturating_mul(TIMES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The places and sentences about these logs: of each, the times of its stages and those of its
    /// transfers, in seconds, and whether a summary line follows.
    fn ends(logs: &[(Vec<u64>, Vec<u64>, bool)]) -> Vec<(usize, u64, String)> {
        let mut ends = LogEnds::default();
        for (index, (stages, transfers, has_summary)) in logs.iter().enumerate() {
            let stages = stages.iter().map(|at| (*at, LineName::Stage(None)));
            let transfers = transfers.iter().map(|at| (*at, LineName::Transfer(None)));
            let mut lines: Vec<_> = stages.chain(transfers).collect();
            lines.sort_by_key(|(at, _)| *at);
            lines.extend(has_summary.then_some((1_000_000, LineName::Summary)));
            for (number, (at, name)) in (1..).zip(&lines) {
                let place = Place { file: "a", number, index, log: index, twin: None };
                ends.add(place, name, true, Timestamp::from_unix_micros(at * 1_000_000), None);
            }
        }
        let place = |(place, sentence): (Place<'_>, String)| (place.log, place.number, sentence);
        ends.finish().into_iter().map(place).collect()
    }

    fn worker(
        stages: impl Iterator<Item = u64>,
        transfers: impl Iterator<Item = u64>,
    ) -> (Vec<u64>, Vec<u64>, bool) {
        (stages.collect(), transfers.collect(), false)
    }

    #[test]
    fn a_log_that_ends_before_half_of_the_others_is_named_and_one_without_stages_is() {
        let all = || worker(0..1_000, 0..1_000);
        let found = ends(&[all(), worker(0..800, 0..800), all(), worker(0..700, 0..1_000), all()]);
        let [(1, 1_600, ended), (3, 1_399, stages)] = found.as_slice() else { panic!("{found:?}") };
        let so_long =
            "though half of the logs go on for at least 3m 11s; before, at most 1s lay between two: ";
        assert!(ended.contains(so_long) && ended.starts_with("no request or row of this log"), "{ended}");
        let begin = "no row of a stage of this log comes later than this one (1970-01-01T00:11:39.000000Z), ";
        assert!(stages.starts_with(begin), "{stages}");
    }

    #[test]
    fn nothing_is_said_of_a_log_that_may_be_idle_or_that_came_to_its_end() {
        let none = || 0..0_u64;
        let (all, short) = (|| worker(0..1_000, none()), || worker(0..800, none()));
        let late = || worker((0..800).chain(990..1_000), none());
        assert_eq!(ends(&[all(), short()]).len(), 1);
        for (why, logs) in [
            ("one log", vec![worker(0..700, 0..1_000)]),
            ("a summary line follows", vec![all(), (short().0, Vec::new(), true)]),
            ("for less than a minute", vec![all(), worker(0..921, none())]),
            ("few lines of the others are later", vec![late(), late(), short()]),
            ("it was silent before", vec![all(), worker((0..400).chain(500..800), none())]),
            ("it has few lines", vec![all(), worker(0..99, none())]),
            ("the other log began later", vec![worker(900..2_000, none()), short()]),
            ("most logs ended", vec![all(), short(), short(), short()]),
        ] {
            assert_eq!(ends(&logs), [], "{why}");
        }
    }

    #[test]
    fn a_log_whose_run_goes_on_in_another_log_has_not_ended() {
        // Of two logs, the run begins at these times, and the second log has numbers from this one on.
        let ends = |begins: [u64; 2], from: u64| {
            let mut ends = LogEnds::default();
            for (log, begin, numbers) in [(0, begins[0], 1..=500), (1, begins[1], from..=1_000)] {
                for number in numbers {
                    let place = Place { file: "a", number, index: log, log, twin: None };
                    let at = Timestamp::from_unix_micros((1_000 + number) * 1_000_000);
                    let request = Some(InRun { begin, number });
                    ends.add(place, &LineName::Request(String::new(), number), false, at, request);
                }
            }
            // A front that goes on from the start.
            for number in 1..=1_000 {
                let place = Place { file: "b", number, index: 2, log: 2, twin: None };
                let at = Timestamp::from_unix_micros((1_000 + number) * 1_000_000);
                ends.add(place, &LineName::Stage(None), false, at, None);
            }
            ends.finish().len()
        };
        assert_eq!(ends([7, 7], 501), 0);
        // Requests that ended together may have changed places.
        assert_eq!(ends([7, 70_000], 490), 0);
        assert_eq!(ends([7, 2_000_000_000], 501), 1);
    }
}
