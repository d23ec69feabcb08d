//! Whether as many lines stand before each summary line as it counts.

use std::fmt::Display;

use super::{super::amount::amount, witness::Totals};

/// A log whose first request has a number up to this is taken to begin with its process.
const FIRST: u64 = 256;
/// With one line in *n* requests, the first number of a process is greater than this times *n* with a chance
/// of 0.1 %. A log that begins there is a later part of a longer one.
const FIRST_OF_SAMPLE: u64 = 7;

/// The lines of a file against `lines_written`, which a process counts from its beginning.
///
/// A line is counted after it is written. So there are at least as many lines before a summary line as it
/// counts; more, if others are being written meanwhile.
#[derive(Debug, Default)]
pub(super) struct LineCounters {
    /// Lines so far.
    lines: u64,
    /// Those that are not of requests, but for rows.
    others: u64,
    has_rows: bool,
    first_request: Option<u64>,
    rate: Option<u32>,
    /// How many lines came before those of the process that writes now.
    before: u64,
    /// How many lines of it are known to be missing.
    missing: u64,
    state: State,
    /// The count of the last summary line, and the lines up to it.
    last: (u64, u64),
    findings: Vec<String>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first summary line.
    #[default]
    New,
    /// The lines of the process that writes now are all in the file.
    Whole,
    /// Its first lines are not.
    Part,
    /// Processes write to the file at once.
    Mixed,
}

impl LineCounters {
    pub(super) fn add_request(&mut self, number: u64, rate: Option<u32>) {
        self.lines += 1;
        self.rate = self.rate.or(rate);
        let first = self.first_request.get_or_insert(number);
        *first = number.min(*first);
    }

    pub(super) fn add_row(&mut self) {
        self.lines += 1;
        self.has_rows = true;
    }

    pub(super) fn add_other(&mut self) {
        self.lines += 1;
        self.others += 1;
    }

    /// Compares, and counts the summary line itself.
    pub(super) fn add_summary(&mut self, place: &impl Display, totals: &Totals) {
        if let Some(written) = totals.written {
            self.compare(place, written, totals);
            self.last = (written, self.lines + 1);
        }
        self.add_other();
    }

    /// Whether the file is known to have the lines of the process from its first one on.
    pub(super) fn is_whole(&self) -> bool {
        self.state == State::Whole
    }

    fn compare(&mut self, place: &impl Display, written: u64, totals: &Totals) {
        let (last_written, last_lines) = self.last;
        if self.state != State::New && written < last_written && self.state != State::Mixed {
            // Another process, whose lines come after the last summary line of the one before.
            (self.before, self.missing) = (last_lines, 0);
            let is_after = self.lines - last_lines >= written;
            self.state = if is_after { State::Whole } else { State::Mixed };
        }
        let found = self.lines - self.before + self.missing;
        match self.state {
            State::New if found >= written => self.state = State::Whole,
            State::New if !self.begins_with_its_process(written, totals) => self.state = State::Part,
            State::New | State::Whole if found < written => {
                self.state = State::Whole;
                let missing = amount(written - found, "line is missing", "lines are missing");
                self.findings.push(format!(
                    "{place}: lines_written: expected at least {written} lines of this process before this \
                     one, found {} ({missing})",
                    found - self.missing
                ));
                self.missing += written - found;
            }
            _ => {}
        }
    }

    /// Whether a line is missing rather than in an earlier log: this one has low numbers of requests, and all
    /// lines since the process began are accounted for by the requests of its run, so that it is the first.
    fn begins_with_its_process(&self, written: u64, totals: &Totals) -> bool {
        let all = written.saturating_add(totals.left_out).saturating_add(totals.lost);
        let known = totals.run.requests.saturating_add(self.others);
        let most = self.rate.map_or(FIRST, |rate| FIRST.min(FIRST_OF_SAMPLE * u64::from(rate)));
        !self.has_rows && self.first_request.is_some_and(|first| first <= most) && all <= known + FIRST
    }

    /// The violations, and a note.
    pub(super) fn finish(self) -> (Vec<String>, Option<String>) {
        match self.state {
            State::Mixed => {
                let note = "lines_written falls, though too few lines lie between: several processes write \
                            to the file, or lines are missing; it is not checked";
                (Vec::new(), Some(note.to_owned()))
            }
            _ => (self.findings, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines by what they are: `r` of a request, `s` of a summary that counts as many.
    fn findings(lines: &[(char, u64)]) -> (Vec<String>, Option<String>) {
        let mut counters = LineCounters::default();
        let mut requests = 0;
        for (kind, number) in lines {
            match kind {
                'r' => {
                    requests = *number;
                    counters.add_request(*number, Some(2));
                }
                _ => {
                    let run = super::super::identity::State { requests, ..Default::default() };
                    let written = Some(*number);
                    let totals =
                        Totals { run, e2e: None, at: 0, written, left_out: 0, lost: 0, window: None };
                    counters.add_summary(&"log:1", &totals);
                }
            }
        }
        counters.finish()
    }

    #[test]
    fn a_line_that_was_counted_and_is_not_there_is_missing() {
        let (r, s) = (|number| ('r', number), |written| ('s', written));
        for (lines, missing) in [
            (vec![r(3), r(7), s(2), r(9), s(4)], 0),
            (vec![r(3), s(2), r(9), s(4)], 1),
            (vec![r(3), r(7), s(2), s(4), r(9), r(10), s(6)], 1),
            (vec![r(7_003), s(1_000), s(1_002)], 0),
            (vec![r(15), s(5)], 0),
            (vec![r(14), s(5)], 1),
            (vec![r(3), r(7), s(1), s(3)], 0),
            (vec![r(3), r(7), s(2), r(1), s(1), r(2), s(4)], 1),
        ] {
            let (found, note) = findings(&lines);
            assert_eq!((found.len(), note), (missing, None), "{lines:?}: {found:?}");
        }
        let (found, note) = findings(&[r(1), r(2), s(2), r(901), s(300), s(3), r(902), s(302)]);
        assert!(found.is_empty() && note.is_some(), "{found:?} {note:?}");
    }
}
