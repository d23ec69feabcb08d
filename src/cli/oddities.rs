//! Oddities of the input of `join`, as sentences and as JSON.

use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

use serde::{Serialize, Serializer};
use serde_json::json;

use super::{amount::amount, joined_sample::JoinedSample};
use crate::{Millis, write::columns::printable};

/// How many ids without a request are named.
const NAMED: usize = 20;

#[derive(Debug, Default, Serialize)]
pub(super) struct Oddities {
    /// Rows that were put into their requests.
    joined_rows: u64,
    /// Lines that came twice.
    #[serde(rename = "doubled_lines")]
    pub(super) doubles: u64,
    /// Rows that name no request.
    #[serde(rename = "rows_without_id")]
    pub(super) nameless: u64,
    #[serde(rename = "rows_without_request")]
    lone: Lone,
    /// Whether rows that go into no request are written.
    #[serde(skip)]
    pub(super) keeps_rows: bool,
    /// Those of them that name a request of another time.
    #[serde(rename = "rows_beyond_max_offset")]
    far_off: u64,
    /// Rows that lie far from their request.
    #[serde(rename = "rows_far_from_request")]
    pub(super) far_away: u64,
    #[serde(rename = "rows_before_request")]
    pub(super) early: Early,
    /// Rows that ended before their request by a clock that is known.
    #[serde(rename = "rows_of_earlier_attempts")]
    pub(super) of_earlier_attempts: Early,
    /// Rows of attempts without a line, as their messages tell.
    #[serde(rename = "rows_of_lost_attempts")]
    pub(super) of_lost_attempts: Early,
    moved_rows: Moved,
    pub(super) sample: JoinedSample,
}

/// Rows whose request is in none of the files, and how many such requests there are.
#[derive(Debug, Default, Serialize)]
struct Lone {
    rows: u64,
    requests: u64,
    #[serde(rename = "examples", serialize_with = "examples")]
    ids: BTreeMap<String, u64>,
}

fn examples<S: Serializer>(ids: &BTreeMap<String, u64>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(ids.iter().map(|(id, rows)| json!({ "request_id": id, "rows": rows })))
}

/// Rows that were moved, and by how much at most.
#[derive(Debug, Default, Serialize)]
struct Moved {
    rows: u64,
    most_ms: Millis,
}

/// Rows that begin, or end, before their request.
#[derive(Debug, Default, Serialize)]
pub(super) struct Early {
    rows: u64,
    requests: u64,
    /// By how much at most, and the id of that request.
    most_ms: Millis,
    #[serde(rename = "example", skip_serializing_if = "String::is_empty")]
    id: String,
}

impl Early {
    /// Adds the rows of a request, of which the earliest begins this many nanoseconds before it.
    pub(super) fn add(&mut self, id: &str, rows: u64, by: u64) {
        self.merge(Self { rows, requests: 1, most_ms: Millis::from_nanos(by), id: id.to_owned() });
    }

    /// Of two equal times, the one with the smaller id is kept.
    fn merge(&mut self, other: Self) {
        self.rows += other.rows;
        self.requests += other.requests;
        if (other.most_ms, Reverse(&other.id)) > (self.most_ms, Reverse(&self.id)) {
            (self.most_ms, self.id) = (other.most_ms, other.id);
        }
    }

    /// If the rows are left out since their attempt has no line.
    fn lost(&self) -> Option<String> {
        let Self { rows, requests, most_ms, id } = self;
        let rows_are = amount(*rows, "row is", "rows are");
        let ids = amount(*requests, "request_id", "request_ids");
        let (most, id) = (most_ms.as_f64(), printable(id));
        (*rows > 0).then(|| {
            format!(
                "{rows_are} of other attempts with {ids}, which have no line, and left out: their first \
                 message was sent more than a second before or after each request with the id, by up to \
                 {most:.3} ms ({id}); with --max-offset TIME, times alone decide"
            )
        })
    }

    /// If the rows are left out since they ended before their request.
    fn left_out(&self) -> Option<String> {
        let Self { rows, requests, most_ms, id } = self;
        let counted = amount(*rows, "row", "rows");
        let ended = amount(*requests, "request that began", "requests that began");
        let (most, id) = (most_ms.as_f64(), printable(id));
        (*rows > 0).then(|| {
            format!(
                "{counted} of {ended} more than a second after the row ended, by up to {most:.3} ms ({id}), \
                 left out: the clock is known, so the id is that of an earlier attempt too, which has no \
                 line; --max-offset TIME sets another limit"
            )
        })
    }

    /// `is_aligned` if rows were moved.
    fn sentence(&self, is_aligned: bool) -> Option<String> {
        let Self { rows, requests, most_ms, id } = self;
        let begin = if *rows == 1 { "begins" } else { "begin" };
        let counted = amount(*rows, "row", "rows");
        let requests = amount(*requests, "request", "requests");
        let still = if is_aligned { "still " } else { "" };
        let advice = if is_aligned {
            "the clocks of their processes differ otherwise than for most rows, or the id is that of another \
             attempt too"
        } else {
            "the clocks of the processes differ, and where requests spent their time may be wrong by as \
             much; --align-clocks moves rows by an estimate of the difference"
        };
        let (most, id) = (most_ms.as_f64(), printable(id));
        (*rows > 0).then(|| {
            format!(
                "{counted} of {requests} {still}{begin} before the request, by up to {most:.3} ms ({id}): \
                 {advice}"
            )
        })
    }
}

impl Oddities {
    /// No oddities yet, of logs with these rates.
    pub(super) fn of(sample: &JoinedSample) -> Self {
        Self { sample: sample.clone(), ..Self::default() }
    }

    /// Adds rows of a request of which there is no line. Returns whether that is odd.
    pub(super) fn add(&mut self, id: &str, rows: u64) -> bool {
        let is_explained = self.sample.explains(id, rows);
        if !is_explained {
            self.lone.merge(Lone { rows, requests: 1, ids: [(id.to_owned(), rows)].into() });
        }
        !is_explained
    }

    /// Adds rows that are too far from each line of the request that they name.
    pub(super) fn add_far_off(&mut self, id: &str, rows: u64) {
        self.far_off += rows;
        self.add(id, rows);
    }

    /// Adds a row that was put into its request, after it was moved by this many microseconds.
    pub(super) fn add_offset(&mut self, micros: i64) {
        self.joined_rows += 1;
        self.moved_rows.rows += u64::from(micros != 0);
        let by = Millis::from_nanos(micros.unsigned_abs().saturating_mul(1_000));
        self.moved_rows.most_ms = self.moved_rows.most_ms.max(by);
    }

    /// Adds those of another part, which has other ids.
    pub(super) fn merge(&mut self, other: Self) {
        self.joined_rows += other.joined_rows;
        self.doubles += other.doubles;
        self.nameless += other.nameless;
        self.lone.merge(other.lone);
        self.far_off += other.far_off;
        self.far_away += other.far_away;
        self.early.merge(other.early);
        self.of_earlier_attempts.merge(other.of_earlier_attempts);
        self.of_lost_attempts.merge(other.of_lost_attempts);
        self.moved_rows.rows += other.moved_rows.rows;
        self.moved_rows.most_ms = self.moved_rows.most_ms.max(other.moved_rows.most_ms);
        self.sample.merge(&other.sample);
    }

    /// A sentence for each kind. Rows are far off if they are more than `max_offset` outside of a request.
    pub(super) fn sentences(&self, max_offset: Duration) -> Vec<String> {
        let within = format!("within {}", humantime::format_duration(max_offset));
        let Self { doubles, nameless, lone, far_off, far_away, early, moved_rows, sample, .. } = self;
        let mut sentences = Vec::new();
        if *nameless > 0 {
            let rows = amount(*nameless, "row names no request and is", "rows name no request and are");
            sentences.push(format!("{rows} left out"));
        }
        if *far_off > 0 {
            let rows = amount(*far_off, "row is", "rows are");
            sentences.push(format!(
                "{rows} not {within} of a line of the request, and left out: is it another request with the \
                 same id, or do clocks differ? --max-offset sets the limit"
            ));
        }
        sentences.extend(self.of_lost_attempts.lost());
        sentences.extend(self.of_earlier_attempts.left_out());
        sentences.extend(sample.sentences());
        if *doubles > 0 {
            let doubles = amount(*doubles, "line occurs twice and counts", "lines occur twice and count");
            sentences.push(format!("{doubles} once"));
        }
        if moved_rows.rows > 0 {
            let rows = amount(moved_rows.rows, "row was", "rows were");
            let most = moved_rows.most_ms.as_f64();
            sentences.push(format!(
                "{rows} moved by up to {most:.3} ms, since the clocks of their processes differ"
            ));
        }
        sentences.extend(early.sentence(moved_rows.rows > 0));
        if *far_away > 0 {
            let rows = amount(*far_away, "row lies", "rows lie");
            sentences.push(format!(
                "{rows} more than a second outside of the request: workers went on after the request had \
                 ended, as after an abort, or clocks differ, or the id is that of another attempt too, which \
                 has no line; --max-offset 1s leaves out the rows in each of these cases"
            ));
        }
        sentences.extend(lone.sentences(&within));
        if lone.rows > 0 && !self.keeps_rows {
            sentences
                .push("--keep-rows writes these rows too, for summary, check or a later join".to_owned());
        }
        sentences
    }
}

impl Lone {
    /// Keeps the first ids, the same ones in whatever order they come.
    fn merge(&mut self, other: Self) {
        self.rows += other.rows;
        self.requests += other.requests;
        for (id, rows) in other.ids {
            *self.ids.entry(id).or_default() += rows;
        }
        while self.ids.len() > NAMED {
            self.ids.pop_last();
        }
    }

    /// A sentence for each id that is kept, and one for the rest.
    fn sentences(&self, within: &str) -> Vec<String> {
        let of_id = |(id, rows): (&String, &u64)| {
            let rows = amount(*rows, "row", "rows");
            format!("request {}: {rows}, but no line of it {within}", printable(id))
        };
        let mut sentences: Vec<_> = self.ids.iter().map(of_id).collect();
        let named: u64 = self.ids.values().sum();
        if self.rows > named {
            let rows = amount(self.rows - named, "more row", "more rows");
            let requests = self.requests.saturating_sub(self.ids.len() as u64);
            let requests = amount(requests, "more request", "more requests");
            sentences.push(format!("{rows} of {requests}, but no line of them {within}"));
        }
        sentences
    }
}
