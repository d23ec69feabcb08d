//! How a request has ended.

use crate::{E2eTable, model::keep::is_failed};

/// Whether a request failed, as [`Keep::failed`](crate::Keep::failed) defines it.
pub(super) fn has_failed(e2e: &E2eTable) -> bool {
    is_failed(e2e)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_reason_but_stop_and_length_is_a_failure_and_so_is_an_error() {
        let failed = |reason: Option<&str>, errors| {
            has_failed(&E2eTable { finish_reason: reason.map(str::to_owned), errors, ..E2eTable::default() })
        };
        assert!(failed(Some("error"), None) && failed(Some("abort"), None) && failed(Some("timeout"), None));
        assert!(failed(None, Some(2)) && failed(Some("stop"), Some(1)));
        assert!(!failed(Some("stop"), None) && !failed(None, None) && !failed(Some("length"), None));
    }
}
