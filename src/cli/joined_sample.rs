//! What `join` misses because processes write a sample of their lines, which is no loss.

use serde::Serialize;

use super::{amount::amount, rates::Rates};
use crate::{model::keep, write::columns::grouped};

/// The rates of the lines, and what they explain.
#[derive(Debug, Default, Clone, Serialize)]
pub(super) struct JoinedSample {
    #[serde(skip)]
    of_requests: Rates,
    #[serde(skip)]
    of_rows: Rates,
    requests: u64,
    #[serde(rename = "requests_without_rows")]
    without_rows: u64,
    /// Rows of requests without a line.
    #[serde(rename = "rows_without_request")]
    rows: u64,
}

impl JoinedSample {
    /// Notes the rate of a line. All lines are noted before the first one is explained.
    pub(super) fn note(&mut self, is_row: bool, rate: Option<u32>) {
        let rates = if is_row { &mut self.of_rows } else { &mut self.of_requests };
        rates.note(rate);
    }

    /// Adds the counts of other lines, which were made with the same rates.
    pub(super) fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.without_rows += other.without_rows;
        self.rows += other.rows;
    }

    /// Counts a request; also as one without rows if its line was kept in any case, but the hash has not
    /// chosen it at the workers.
    pub(super) fn add_request(&mut self, request_id: &str, is_sampled: bool) {
        self.requests += 1;
        if !is_sampled && self.of_rows.leave_out(keep::hash(request_id)) {
            self.without_rows += 1;
        }
    }

    /// Whether the request of the rows has no line because the hash has not chosen it; counts them if so.
    pub(super) fn explains(&mut self, request_id: &str, rows: u64) -> bool {
        let is_explained = self.of_requests.leave_out(keep::hash(request_id));
        self.rows += if is_explained { rows } else { 0 };
        is_explained
    }

    /// Sentences about the rows that are absent because they were left out.
    pub(super) fn sentences(&self) -> Vec<String> {
        let mut sentences = Vec::new();
        if self.without_rows > 0 {
            let lack = if self.without_rows == 1 { "lacks" } else { "lack" };
            sentences.push(format!(
                "{} of {} ({:.1} %) {lack} the rows of workers: a process keeps the line of each request \
                 that is slow, failed or has warnings, but rows by the hash of the id alone, {}. Percentiles \
                 of workers' stages and edges lack these requests; docs/scale.md, \"Sampled logs\", has a \
                 query that corrects this. With Keep::all() in all workers, none would lack them",
                grouped(&self.without_rows.to_string()),
                amount(self.requests, "request", "requests"),
                self.without_rows as f64 * 100.0 / self.requests as f64,
                self.of_rows,
            ));
        }
        if self.rows > 0 {
            let rows = amount(self.rows, "row belongs to a request", "rows belong to requests");
            sentences.push(format!("{rows} whose line was left out by the sample"));
        }
        sentences
    }
}
