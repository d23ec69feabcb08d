//! Which requests have a line.

use std::time::Duration;

use crate::E2eTable;

/// Decides which requests have a line in the log; by default, all have one. See
/// [`with_keep`](crate::OmniMetricsLayer::with_keep).
///
/// Totals, percentiles and exported metrics count every request, kept or not.
///
/// # Hash
///
/// One in *n* requests is chosen by a hash of the `request_id`, so that all processes and versions choose the
/// same requests: the id is kept if `hash % n == 0`. The hash is the 64-bit FNV-1a of the id's bytes,
/// followed by the finalizer of SplitMix64, all in wrapping arithmetic:
///
/// ```
/// fn hash(id: &str) -> u64 {
///     let step = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
///     let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325, step);
///     let hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
///     let hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
///     hash ^ hash >> 31
/// }
///
/// assert_eq!(hash("r1") % 2, 0);
/// ```
///
/// # Example
///
/// ```
/// use std::time::Duration;
///
/// use omni_metrics::{Keep, OmniMetricsLayer};
/// use tracing_subscriber::prelude::*;
///
/// let keep = Keep::one_in(1_000_000).failed().slower_than(Duration::from_secs(1));
/// let layer = OmniMetricsLayer::new().with_writer(std::io::sink).with_keep(keep);
/// let handle = layer.handle();
/// let subscriber = tracing_subscriber::registry().with(layer);
/// tracing::subscriber::with_default(subscriber, || {
///     drop(tracing::info_span!("request", request_id = "good", finish_reason = "stop"));
///     drop(tracing::info_span!("request", request_id = "bad", finish_reason = "error"));
/// });
/// let snapshot = handle.snapshot();
/// assert_eq!(snapshot.overall_summary.e2e_requests, 2);
/// assert_eq!((snapshot.lines_written, snapshot.lines_left_out), (1, 1));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keep {
    one_in: u32,
    slower_than: Option<Duration>,
    failed: bool,
    with_warnings: bool,
}

/// Whether a request has a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// It has a line, which stands for this many requests if there is a number.
    Line(Option<u32>),
    LeftOut,
}

impl Keep {
    /// Keeps every request: the default.
    #[must_use]
    pub fn all() -> Self {
        Self::one_in(1)
    }

    /// Keeps one in `n` requests, and those that the other methods choose. With 0, it keeps only the latter.
    ///
    /// If `n` is larger than 1, the line of a request that was chosen by its hash has `"sample_rate":n`: it
    /// stands for `n` requests. Detached rows are chosen by the hash of their `request_id` alone; one without
    /// an id is kept.
    #[must_use]
    pub fn one_in(n: u32) -> Self {
        Self { one_in: n, slower_than: None, failed: false, with_warnings: false }
    }

    /// Also keeps every request whose `e2e_total_ms` is longer than `duration`.
    #[must_use]
    pub fn slower_than(self, duration: Duration) -> Self {
        Self { slower_than: Some(duration), ..self }
    }

    /// Also keeps every request that failed: its `finish_reason` is neither `stop` nor `length`, or there was
    /// an `ERROR` event inside it. A request without a `finish_reason` and without such an event has not
    /// failed.
    #[must_use]
    pub fn failed(self) -> Self {
        Self { failed: true, ..self }
    }

    /// Also keeps every request whose line has warnings.
    #[must_use]
    pub fn with_warnings(self) -> Self {
        Self { with_warnings: true, ..self }
    }

    /// Decides about a complete request.
    #[inline]
    pub(crate) fn request(&self, request_id: &str, e2e: &E2eTable, has_warnings: bool) -> Kept {
        if self.one_in == 1 || self.is_chosen(e2e, has_warnings) {
            return Kept::Line(None);
        }
        self.sample(request_id)
    }

    /// Decides about a detached row.
    pub(crate) fn row(&self, request_id: Option<&str>) -> Kept {
        match request_id {
            Some(id) if self.one_in != 1 => self.sample(id),
            _ => Kept::Line(None),
        }
    }

    fn is_chosen(&self, e2e: &E2eTable, has_warnings: bool) -> bool {
        let is_slow = self.slower_than.is_some_and(|limit| Duration::from(e2e.e2e_total_ms) > limit);
        is_slow || self.failed && is_failed(e2e) || self.with_warnings && has_warnings
    }

    fn sample(&self, request_id: &str) -> Kept {
        match is_chosen(request_id, self.one_in) {
            true => Kept::Line(Some(self.one_in)),
            false => Kept::LeftOut,
        }
    }
}

impl Default for Keep {
    fn default() -> Self {
        Self::all()
    }
}

/// Whether [`Keep::failed`] keeps the request.
pub(crate) fn is_failed(e2e: &E2eTable) -> bool {
    let is_good = e2e.finish_reason.as_deref().is_none_or(|reason| ["stop", "length"].contains(&reason));
    !is_good || e2e.errors.is_some()
}

/// Whether the hash chooses the id as one in `one_in`.
pub(crate) fn is_chosen(request_id: &str, one_in: u32) -> bool {
    chooses(hash(request_id), one_in)
}

/// Whether an id with this hash is chosen as one in `one_in`.
pub(crate) fn chooses(hash: u64, one_in: u32) -> bool {
    hash.checked_rem(one_in.into()) == Some(0)
}

/// As the documentation of [`Keep`] gives it.
pub(crate) fn hash(id: &str) -> u64 {
    let step = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325, step);
    let hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ hash >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_documented_one() {
        // By an independent implementation, in Python.
        for (id, expected) in [
            ("", 0xf52a_15e9_a9b5_e89b),
            ("a", 0x02c0_bdbf_4814_20f8),
            ("r1", 0x15d7_ff2b_7619_7532),
            ("req-0001", 0x551d_300a_a039_327c),
            ("größe", 0xbe90_79c1_b7e5_afe8),
            ("x".repeat(256).as_str(), 0x0710_57bd_2073_8e69),
        ] {
            assert_eq!(hash(id), expected, "{id}");
        }
        assert!(is_chosen("r1", 2) && !is_chosen("r1", 0));
    }

    #[test]
    fn any_reason_but_stop_and_length_is_a_failure_and_so_is_an_error() {
        let failed = |reason: Option<&str>, errors| {
            is_failed(&E2eTable { finish_reason: reason.map(str::to_owned), errors, ..E2eTable::default() })
        };
        assert!(failed(Some("error"), None) && failed(Some("abort"), None) && failed(Some("timeout"), None));
        assert!(failed(None, Some(2)) && failed(Some("stop"), Some(1)));
        assert!(!failed(Some("stop"), None) && !failed(None, None) && !failed(Some("length"), None));
    }
}
