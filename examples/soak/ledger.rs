//! What the log has said so far, in memory that does not grow with it.

use std::collections::{BTreeMap, BTreeSet};

use omni_metrics::{Line, Millis, RequestLine};

use crate::{hanging, kept, reports::Reports};

/// How many faults are kept to be shown.
const FAULTS_SHOWN: usize = 20;
/// How far a line may be behind the others before it counts as lost.
const BEHIND: usize = 20_000;

/// The account of all lines, written and refused.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) ids: Sequence,
    /// Of the requests that hung.
    pub(crate) hung: Sequence,
    /// How many lines had each `e2e_requests`.
    pub(crate) numbers: BTreeMap<u64, u64>,
    pub(crate) written: u64,
    pub(crate) refused: u64,
    pub(crate) detached: u64,
    /// How many of the requests and detached rows have an id that the hash chooses.
    pub(crate) sampled: u64,
    pub(crate) reports: Reports,
    pub(crate) faults: Vec<String>,
}

impl Ledger {
    pub(crate) fn enter(&mut self, line: &str, is_written: bool) {
        // After a panic of the writer, which may have come in the middle of a line, a newline comes first.
        let line = line.trim();
        if line.is_empty() {
            return;
        }
        if is_written {
            self.written += 1;
        } else {
            self.refused += 1;
        }
        let fault = match line.parse() {
            Ok(Line::Request(request)) => self.request(&request).map(str::to_owned),
            Ok(Line::Summary(summary)) => self.reports.enter_summary(&summary).map(str::to_owned),
            Ok(Line::Open(open)) => self.reports.enter_open(&open).map(str::to_owned),
            Ok(row) => self.detached(row.request_id()).map(str::to_owned),
            Err(error) => Some(error.to_string()),
        };
        if let Some(fault) = fault {
            self.fault(format!("{fault}: {line}"));
        }
    }

    fn detached(&mut self, request_id: Option<&str>) -> Option<&'static str> {
        self.detached += 1;
        let is_sampled = request_id.is_some_and(kept::is_sampled);
        self.sampled += u64::from(is_sampled);
        (!is_sampled).then_some("a detached row that was not to be kept")
    }

    /// Puts a request on the account. Returns the invariant that its line breaks, if any.
    fn request(&mut self, line: &RequestLine) -> Option<&'static str> {
        let (e2e, stages, edges) = (&line.e2e_table, &line.stage_table, &line.transfer_table);
        self.sampled += u64::from(kept::is_sampled(&line.request_id));
        if let Some(fault) = self.reports.close(line) {
            return Some(fault);
        }
        let (ids, number) = match line.request_id.strip_prefix(hanging::PREFIX) {
            Some(number) => (&mut self.hung, number),
            None => (&mut self.ids, &*line.request_id),
        };
        let is_new = number.parse().is_ok_and(|number| ids.insert(number));
        *self.numbers.entry(line.overall_summary.e2e_requests).or_default() += 1;
        let tokens_in =
            stages.first().filter(|row| row.stage_id == Some(0)).and_then(|row| row.num_tokens_in);
        let tokens_out = stages.iter().filter_map(|row| row.num_tokens_out);
        let tokens = tokens_out.fold(tokens_in.unwrap_or(0), u64::saturating_add);
        let bytes = edges.iter().filter_map(|row| row.size_bytes).fold(0, u64::saturating_add);
        let transfer_time =
            edges.iter().try_fold(Millis::ZERO, |sum, row| sum.checked_add(row.total_time_ms));
        let is_long_enough = stages.iter().all(|row| row.busy_time_ms <= row.stage_gen_time_ms);
        [
            (is_new, "a second line of one request"),
            (kept::is_right(line), "it was not to be kept, or for another reason"),
            (tokens == e2e.e2e_total_tokens, "tokens differ from their sum"),
            (bytes == e2e.transfers_total_bytes, "bytes differ from their sum"),
            (transfer_time == Some(e2e.transfers_total_time_ms), "transfer time differs from its sum"),
            (e2e.unattributed_time_ms <= e2e.e2e_total_ms, "more unattributed than there is"),
            (is_long_enough, "busier than long"),
        ]
        .into_iter()
        .find_map(|(holds, what)| (!holds).then_some(what))
    }

    fn fault(&mut self, fault: String) {
        if self.faults.len() < FAULTS_SHOWN {
            self.faults.push(fault);
        }
    }
}

/// Numbers from 1 on, each seen once and roughly in order.
#[derive(Debug, Default)]
pub(crate) struct Sequence {
    /// All up to here have been seen, or have been given up.
    seen: u64,
    ahead: BTreeSet<u64>,
    given_up: u64,
}

impl Sequence {
    /// False for a number that was seen before.
    fn insert(&mut self, number: u64) -> bool {
        let is_new = number > self.seen && self.ahead.insert(number);
        if self.ahead.len() > BEHIND {
            self.skip();
        }
        while self.ahead.remove(&(self.seen + 1)) {
            self.seen += 1;
        }
        is_new
    }

    fn skip(&mut self) {
        if let Some(next) = self.ahead.first() {
            self.given_up += next - self.seen - 1;
            self.seen = next - 1;
        }
    }

    /// How many of the numbers up to `last` have not been seen.
    pub(crate) fn missing(&self, last: u64) -> u64 {
        self.given_up + (last - self.seen) - self.ahead.len() as u64
    }
}
