//! Logs that end, or have no more lines of one type, long before the others.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use super::found::LineName;
use crate::{Timestamp, cli::place::Place};

/// A log has ended if it lacks lines for longer than this, in microseconds,
const SILENCE: u64 = 60_000_000;
/// and for longer than this many times the longest time between two of its lines,
const TIMES: u64 = 2;
/// of which there are this many.
const LINES: u64 = 100;

/// A log goes on until this many lines before its end: a few lines may be of requests that came late.
const STRAGGLERS: usize = 20;

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
    /// Adds a line. Requests that are open and reports end no silence.
    pub(super) fn add(&mut self, place: Place<'_>, name: &LineName, is_ending: bool, timestamp: Timestamp) {
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
        let logs = self.logs.iter().filter(|(_, lines)| !lines.has_summary);
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
                ends.add(place, name, true, Timestamp::from_unix_micros(at * 1_000_000));
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
}
