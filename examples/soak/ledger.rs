//! What the log has said so far, in memory that does not grow with it.

use std::collections::{BTreeMap, BTreeSet};

use omni_metrics::{Line, Millis, RequestLine};

/// How many faults are kept to be shown.
const FAULTS_SHOWN: usize = 20;
/// How far a line may be behind the others before it counts as lost.
const BEHIND: usize = 20_000;

/// The account of all lines, written and refused.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) ids: Sequence,
    /// How many lines had each `e2e_requests`.
    pub(crate) numbers: BTreeMap<u64, u64>,
    pub(crate) written: u64,
    pub(crate) refused: u64,
    pub(crate) detached: u64,
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
        match line.parse() {
            Ok(Line::Request(request)) => {
                if let Some(fault) = self.request(&request) {
                    self.fault(format!("{fault}: {line}"));
                }
            }
            Ok(_) => self.detached += 1,
            Err(error) => self.fault(format!("{error}: {line}")),
        }
    }

    /// Puts a request on the account. Returns the invariant that its line breaks, if any.
    fn request(&mut self, line: &RequestLine) -> Option<&'static str> {
        let (e2e, stages, edges) = (&line.e2e_table, &line.stage_table, &line.transfer_table);
        let is_new = line.request_id.parse().is_ok_and(|id| self.ids.insert(id));
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
