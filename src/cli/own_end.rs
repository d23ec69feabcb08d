//! When a request ended in its own process, if rows of workers end later.

use super::amount::amount;
use crate::{E2eTable, FieldValue, Millis, RequestLine, model::keep::is_failed, write::columns::grouped};

/// The field that has the `e2e_total_ms` of the request's own line, if `join` has made it longer.
pub(super) const E2E_BEFORE_JOIN_MS: &str = "e2e_before_join_ms";
/// From this share of its `e2e_total_ms` on, a request that was over earlier is told.
const NOTABLE: f64 = 0.05;

/// Keeps this time in a request that becomes longer. The time of an earlier `join` stays.
pub(super) fn keep(request: &mut RequestLine, before: Millis) {
    let before = || FieldValue::Float(before.as_f64());
    request.fields.entry(E2E_BEFORE_JOIN_MS.into()).or_insert_with(before);
}

/// How long a request took in its own process, if its rows in others went on for notably longer.
pub(super) fn own_e2e(request: &RequestLine) -> Option<Millis> {
    let millis = match request.fields.get(E2E_BEFORE_JOIN_MS)? {
        FieldValue::Float(millis) => *millis,
        FieldValue::Unsigned(millis) => *millis as f64,
        _ => return None,
    };
    let e2e = request.e2e_table.e2e_total_ms.as_f64();
    Millis::from_f64(millis).filter(|_| millis < (1.0 - NOTABLE) * e2e)
}

/// The failed requests whose rows in other processes went on for notably longer than the request itself.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Outlasted {
    requests: u64,
    /// By how much at most.
    most: Millis,
}

impl Outlasted {
    pub(super) fn add(&mut self, request: &RequestLine) {
        let E2eTable { e2e_total_ms, .. } = request.e2e_table;
        if let Some(own) = own_e2e(request).filter(|_| is_failed(&request.e2e_table)) {
            self.merge(Self { requests: request.weight(), most: e2e_total_ms.saturating_sub(own) });
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.most = self.most.max(other.most);
    }

    /// That the end-to-end times of failed requests are longer than clients waited, if some are.
    pub(super) fn sentence(self) -> Option<String> {
        let Self { requests, most } = self;
        let requests = amount(requests, "failed request was", "failed requests were");
        (self.requests > 0).then(|| {
            let most = grouped(&format!("{:.0}", most.as_f64()));
            format!(
                "{requests} over before the last row of a worker, by up to {most}\u{a0}ms. e2e_total_ms \
                 counts until that row; `{E2E_BEFORE_JOIN_MS}` in `fields` is the time until the request \
                 itself was over."
            )
        })
    }
}
