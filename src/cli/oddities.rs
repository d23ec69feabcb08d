//! Oddities of the input of `join`, which are reported on stderr.

use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

use super::{amount::amount, failure::complain, joined_sample::JoinedSample};
use crate::write::columns::printable;

/// How many ids without a request are named.
const NAMED: usize = 20;

#[derive(Debug, Default)]
pub(super) struct Oddities {
    /// Rows whose request is in none of the files, also by id, and how many such requests there are.
    rows: u64,
    requests: u64,
    ids: BTreeMap<String, u64>,
    /// Those of them that name a request of another time.
    far_off: u64,
    /// Lines that came twice.
    pub(super) doubles: u64,
    /// Rows that lie far from their request.
    pub(super) far_away: u64,
    pub(super) early: Early,
    /// Rows that were moved, and by how much at most, in microseconds.
    moved: u64,
    farthest: u64,
    pub(super) sample: JoinedSample,
}

/// Rows that begin before their request.
#[derive(Debug, Default)]
pub(super) struct Early {
    rows: u64,
    requests: u64,
    /// By how much at most, in nanoseconds, and the id of that request.
    most: Option<(u64, Reverse<String>)>,
}

impl Early {
    /// Adds the rows of a request, of which the earliest begins this many nanoseconds before it.
    pub(super) fn add(&mut self, id: &str, rows: u64, by: u64) {
        self.merge(Self { rows, requests: 1, most: Some((by, Reverse(id.to_owned()))) });
    }

    /// Of two equal times, the one with the smaller id is kept.
    fn merge(&mut self, other: Self) {
        self.rows += other.rows;
        self.requests += other.requests;
        self.most = self.most.take().max(other.most);
    }

    /// `is_aligned` if rows were moved.
    fn sentence(&self, is_aligned: bool) -> Option<String> {
        let (by, Reverse(id)) = self.most.as_ref()?;
        let rows = amount(self.rows, "row", "rows");
        let begin = if self.rows == 1 { "begins" } else { "begin" };
        let requests = amount(self.requests, "request", "requests");
        let most = Duration::from_nanos(*by).as_secs_f64() * 1e3;
        let still = if is_aligned { "still " } else { "" };
        let advice = if is_aligned {
            "the clocks of their processes differ otherwise than for most rows, or the id is that of another \
             attempt too"
        } else {
            "the clocks of the processes differ, and where requests spent their time may be wrong by as \
             much; --align-clocks moves rows by an estimate of the difference"
        };
        let id = printable(id);
        Some(format!(
            "{rows} of {requests} {still}{begin} before the request, by up to {most:.3} ms ({id}): {advice}"
        ))
    }
}

impl Oddities {
    /// No oddities yet, of logs with these rates.
    pub(super) fn of(sample: &JoinedSample) -> Self {
        Self { sample: sample.clone(), ..Self::default() }
    }

    /// Adds rows of a request of which there is no line.
    pub(super) fn add(&mut self, id: &str, rows: u64) {
        if self.sample.explains(id, rows) {
            return;
        }
        self.rows += rows;
        self.requests += 1;
        *self.ids.entry(id.to_owned()).or_default() += rows;
        self.forget_last_ids();
    }

    /// Keeps the first ids, the same ones in whatever order they come.
    fn forget_last_ids(&mut self) {
        while self.ids.len() > NAMED {
            self.ids.pop_last();
        }
    }

    /// Adds rows that are too far from each line of the request that they name.
    pub(super) fn add_far_off(&mut self, id: &str, rows: u64) {
        self.far_off += rows;
        self.add(id, rows);
    }

    /// Adds a row that was moved by this many microseconds.
    pub(super) fn add_offset(&mut self, micros: i64) {
        self.moved += u64::from(micros != 0);
        self.farthest = self.farthest.max(micros.unsigned_abs());
    }

    /// Adds those of another part, which has other ids.
    pub(super) fn merge(&mut self, other: Self) {
        self.rows += other.rows;
        self.requests += other.requests;
        self.doubles += other.doubles;
        self.far_away += other.far_away;
        self.far_off += other.far_off;
        self.early.merge(other.early);
        self.moved += other.moved;
        self.farthest = self.farthest.max(other.farthest);
        self.sample.merge(&other.sample);
        self.ids.extend(other.ids);
        self.forget_last_ids();
    }

    /// Prints them. Rows are far off if they are more than `max_offset` outside of a request.
    pub(super) fn list(&self, max_offset: Duration) {
        let within = format!("within {}", humantime::format_duration(max_offset));
        if self.far_off > 0 {
            let rows = amount(self.far_off, "row is", "rows are");
            complain(&format!(
                "{rows} not {within} of a line of the request, and left out: is it another request with the \
                 same id, or do clocks differ? --max-offset sets the limit"
            ));
        }
        self.sample.sentences().iter().for_each(|sentence| complain(sentence));
        if self.doubles > 0 {
            let doubles = amount(self.doubles, "line occurs twice and counts", "lines occur twice and count");
            complain(&format!("{doubles} once"));
        }
        if self.moved > 0 {
            let rows = amount(self.moved, "row was", "rows were");
            let most = Duration::from_micros(self.farthest).as_secs_f64() * 1e3;
            complain(&format!(
                "{rows} moved by up to {most:.3} ms, since the clocks of their processes differ"
            ));
        }
        if let Some(sentence) = self.early.sentence(self.moved > 0) {
            complain(&sentence);
        }
        if self.far_away > 0 {
            let rows = amount(self.far_away, "row lies", "rows lie");
            complain(&format!(
                "{rows} more than a second outside of the request: do clocks differ, or is the id that of \
                 another attempt too, which has no line? --max-offset 1s leaves such rows out"
            ));
        }
        for (id, rows) in &self.ids {
            let rows = amount(*rows, "row", "rows");
            complain(&format!("request {}: {rows}, but no line of it {within}", printable(id)));
        }
        let named: u64 = self.ids.values().sum();
        if self.rows > named {
            let rows = amount(self.rows - named, "more row", "more rows");
            let requests = self.requests.saturating_sub(self.ids.len() as u64);
            let requests = amount(requests, "more request", "more requests");
            complain(&format!("{rows} of {requests}, but no line of them {within}"));
        }
    }
}
