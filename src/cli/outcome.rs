//! How a request has ended.

use crate::E2eTable;

/// Whether a request failed: its `finish_reason` is `error` or `abort`, or it has errors and no
/// `finish_reason`. A request with errors that ended otherwise, say by `stop`, has recovered from them.
pub(super) fn has_failed(e2e: &E2eTable) -> bool {
    match e2e.finish_reason.as_deref() {
        Some(reason) => matches!(reason, "error" | "abort"),
        None => e2e.errors.is_some_and(|errors| errors > 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_decides_and_errors_where_there_is_none() {
        let failed = |reason: Option<&str>, errors| {
            has_failed(&E2eTable { finish_reason: reason.map(str::to_owned), errors, ..E2eTable::default() })
        };
        assert!(failed(Some("error"), Some(1)) && failed(Some("abort"), None) && failed(None, Some(2)));
        assert!(!failed(Some("stop"), Some(1)) && !failed(None, None) && !failed(Some("length"), None));
    }
}
