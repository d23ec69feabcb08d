//! The lines between two summary lines, against the window that the second one counts.

use std::collections::BTreeMap;

use super::witness::{Request, Totals};

/// How many reasons are told apart, as in a window.
const REASONS: usize = 64;

/// The requests with numbers up to that of a summary line, from that of the one before.
#[derive(Debug, Default)]
pub(super) struct Segment {
    from: u64,
    to: u64,
    /// Whether all its lines are in the file.
    is_whole: bool,
    found: BTreeMap<Box<str>, u64>,
    expected: Option<BTreeMap<String, u64>>,
    /// Lines that were lost meanwhile.
    lost: u64,
    place: String,
}

impl Segment {
    pub(super) fn has(&self, number: u64) -> bool {
        self.from < number && number <= self.to
    }

    pub(super) fn add(&mut self, request: &Request) {
        if let Some(reason) = &request.bad_reason
            && (self.found.len() < REASONS || self.found.contains_key(reason))
        {
            *self.found.entry(reason.clone()).or_default() += 1;
        }
    }

    /// The summary line that ends it. Of several series of reports, or after a `take`, the window may be
    /// another one than that of these requests.
    pub(super) fn end(&mut self, totals: &Totals, last: Option<&Totals>, place: String, is_whole: bool) {
        (self.place, self.is_whole) = (place, is_whole);
        self.from = last.map_or(0, |last| last.run.requests);
        self.to = totals.run.requests;
        self.lost = totals.lost.saturating_sub(last.map_or(0, |last| last.lost));
        let counts =
            totals.window.as_ref().filter(|(requests, _)| self.from.checked_add(*requests) == Some(self.to));
        self.expected = counts.map(|(_, reasons)| reasons.clone());
    }

    /// Sentences on reasons that more lines have than requests, and that fewer have.
    pub(super) fn judge(&self) -> (Vec<String>, Vec<String>) {
        let (mut excess, mut shortages) = (Vec::new(), Vec::new());
        let Some(expected) = &self.expected else { return (excess, shortages) };
        for (reason, expected) in expected {
            let found = self.found.get(&**reason).copied().unwrap_or(0);
            let sentence = || {
                format!(
                    "{}: window: {expected} requests from {} to {} have finish_reason `{reason}`, found \
                     {found} lines of them",
                    self.place,
                    self.from + 1,
                    self.to
                )
            };
            if found > *expected {
                excess.push(sentence());
            } else if self.is_whole && found + self.lost < *expected {
                shortages.push(format!("{}, though failed requests are kept", sentence()));
            }
        }
        (excess, shortages)
    }
}
