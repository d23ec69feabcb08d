//! Long times without rows in the log of a worker, while messages were sent to its stage.

use std::{collections::BTreeMap, time::Duration};

use super::work::Work;
use crate::{
    Timestamp,
    cli::place::Place,
    model::id::{OrderedId, unordered},
    write::columns::{grouped, id},
};

/// A hole is longer than this, in microseconds,
const SILENCE: u64 = 60_000_000;
/// and than this many times any other time between two rows,
const TIMES: u64 = 4;
/// of which there are this many.
const ROWS: u64 = 100;
/// At least this many rows are missing.
const MISSING: f64 = 30.0;
/// The difference is this many times that of chance.
const CERTAIN: f64 = 6.0;
/// How long a stretch is in which messages and rows are counted, in microseconds.
const STRETCH: u64 = 5_000_000;
/// Of how many stretches of stages the counts are kept.
const STRETCHES: usize = 1 << 17;

/// The logs in turn.
#[derive(Debug, Default)]
pub(super) struct Holes {
    workers: BTreeMap<(usize, OrderedId), Worker>,
    /// By stage and stretch: how many messages were sent to the stage, and how many rows it has.
    counts: BTreeMap<(OrderedId, u64), [u64; 2]>,
    /// The files in turn: which of all files each is, and its name.
    files: Vec<(usize, String)>,
    /// Of a sample, or of too long a time, nothing can be said.
    is_unknown: bool,
}

/// The rows of a stage in a log.
#[derive(Debug, Default)]
struct Worker {
    rows: u64,
    first: u64,
    last: u64,
    /// The longest time between two rows: its begin, its end, and the file and number of the row after it.
    hole: [u64; 2],
    file: usize,
    number: u64,
    /// The longest time but for that.
    second: u64,
}

impl Holes {
    pub(super) fn add(&mut self, place: Place<'_>, work: &Work, timestamp: Timestamp) {
        if self.files.last().is_none_or(|(last, _)| *last != place.index) {
            self.files.push((place.index, place.file.to_owned()));
        }
        let (at, file) = (timestamp.unix_micros(), self.files.len() - 1);
        self.is_unknown |= work.is_sampled || self.counts.len() > STRETCHES;
        if self.is_unknown {
            return;
        }
        let mut count = |stage, what: usize| {
            let counts = self.counts.entry((stage, at / STRETCH)).or_default();
            counts.get_mut(what).into_iter().for_each(|count| *count += 1);
        };
        let sent = work.messages.iter().filter(|messages| messages.sent > 0);
        sent.for_each(|messages| count(messages.edge.1, 0));
        if let Some(stage) = work.row {
            count(stage, 1);
            self.workers.entry((place.log, stage)).or_default().add(at, file, place.number);
        }
    }

    /// The place of the row after each hole, and a sentence about it.
    pub(super) fn finish(&self) -> Vec<(Place<'_>, String)> {
        let workers = self.workers.iter().filter(|(_, worker)| !self.is_unknown && worker.has_hole());
        let holes = workers.filter_map(|((log, stage), worker)| {
            let [begin, end] = worker.hole;
            // Clocks differ, and rows end some time after their message.
            let inside = [begin / STRETCH + 2, end / STRETCH - 1];
            let [sent, rows] = self.counts_of(*stage, inside);
            let all = [worker.first / STRETCH, worker.last / STRETCH + 1];
            let [all_sent, all_rows] = self.counts_of(*stage, all);
            let [other_sent, other_rows] = [all_sent - sent, all_rows - rows].map(|count| count as f64);
            let expected = sent as f64 * other_rows / other_sent;
            let missing = expected * worker.rows as f64 / other_rows;
            let lacking = expected - rows as f64;
            let least = (missing / 2.0).max(CERTAIN * expected.sqrt());
            // If all messages were sent during the hole, nothing tells how many rows to expect.
            let is_hole = other_sent > 0.0 && missing >= MISSING && lacking >= least;
            let (index, file) = self.files.get(worker.file).filter(|_| is_hole)?;
            let place = Place { file, number: worker.number, index: *index, log: *log, twin: None };
            let length = humantime::format_duration(Duration::from_secs((end - begin) / 1_000_000));
            let second = humantime::format_duration(Duration::from_millis(worker.second / 1_000));
            let counts = [sent, rows, expected as u64];
            let [sent, rows, expected] = counts.map(|count| grouped(&count.to_string()));
            let sentence = format!(
                "this log has no row of stage {} for {length} before this one; otherwise, at most {second} \
                 lay between two. {sent} messages were sent to the stage meanwhile, and its logs have {rows} \
                 rows of that time instead of about {expected}: did the process hang, or are lines missing?",
                id(unordered(*stage))
            );
            Some((place, sentence))
        });
        holes.collect()
    }

    fn counts_of(&self, stage: OrderedId, [begin, end]: [u64; 2]) -> [u64; 2] {
        let counts = self.counts.range((stage, begin)..(stage, end.max(begin)));
        counts.fold([0; 2], |[sent, rows], (_, [more_sent, more_rows])| [sent + more_sent, rows + more_rows])
    }
}

impl Worker {
    fn add(&mut self, at: u64, file: usize, number: u64) {
        if self.rows == 0 {
            (self.first, self.last) = (at, at);
        }
        self.rows += 1;
        let longest = self.hole[1] - self.hole[0];
        if at.saturating_sub(self.last) > longest {
            (self.second, self.hole, self.file, self.number) = (longest, [self.last, at], file, number);
        } else {
            self.second = self.second.max(at.saturating_sub(self.last));
        }
        self.last = self.last.max(at);
    }

    fn has_hole(&self) -> bool {
        let length = self.hole[1] - self.hole[0];
        self.rows >= ROWS && length > SILENCE && length > self.second.saturating_mul(TIMES)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::work::Messages, *};

    const SENT: Messages = Messages { edge: (0, 3), sent: 1, received: 0 };

    /// The sentences about a stage with these numbers of workers, which take messages in turn, ten a second
    /// for 600 seconds. `is_lost` says of the second and the worker whether a row is missing, `is_idle`
    /// whether no message is sent.
    fn said(
        workers: u64,
        is_lost: impl Fn(u64, u64) -> bool,
        is_idle: impl Fn(u64) -> bool,
        is_sampled: bool,
    ) -> Vec<(usize, String)> {
        let mut holes = Holes::default();
        for number in (0..6_000).filter(|number| !is_idle(number / 10)) {
            let at = Timestamp::from_unix_micros(number * 100_000);
            let place = |log| Place { file: "a", number, index: log, log, twin: None };
            let worker = number % workers;
            holes.add(place(0), &Work { messages: vec![SENT], is_sampled, ..Work::default() }, at);
            if !is_lost(number / 10, worker) {
                holes.add(place(worker as usize + 1), &Work { row: Some(3), ..Work::default() }, at);
            }
        }
        holes.finish().into_iter().map(|(place, sentence)| (place.log, sentence)).collect()
    }

    #[test]
    fn a_hole_is_named_if_the_other_logs_do_not_have_the_rows() {
        let hole = |second| (200..350).contains(&second);
        for workers in [1, 3] {
            let found = said(workers, |second, worker| worker == 0 && hole(second), |_| false, false);
            let [(1, sentence)] = found.as_slice() else { panic!("{found:?}") };
            assert!(
                sentence.starts_with("this log has no row of stage 3 for 2m 30s before this"),
                "{sentence}"
            );
        }
        let lost = |second, worker| worker == 0 && hole(second);
        assert_eq!(said(3, lost, |_| false, true), [], "a sample");
        assert_eq!(said(3, |_, _| false, hole, false), [], "nothing was sent");
        assert_eq!(said(3, |second, _| second % 100 < 70, |_| false, false), [], "it is often silent");
        let short = |second, worker| worker == 0 && (200..255).contains(&second);
        assert_eq!(said(3, short, |_| false, false), [], "for less than a minute");
    }

    #[test]
    fn messages_that_were_sent_during_a_hole_only_do_not_tell_how_many_rows_to_expect() {
        let mut holes = Holes::default();
        for number in 0..6_000 {
            let is_hole = (2_000..3_500).contains(&number);
            let messages = if (2_200..3_300).contains(&number) { vec![SENT] } else { Vec::new() };
            let work = Work { row: (!is_hole).then_some(3), messages, is_sampled: false };
            let place = Place { file: "a", number, index: 0, log: 0, twin: None };
            holes.add(place, &work, Timestamp::from_unix_micros(number * 100_000));
        }
        assert!(holes.finish().is_empty());
    }
}
