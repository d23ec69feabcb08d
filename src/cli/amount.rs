//! Amounts as a sentence names them.

/// A detached row of a request whose own line stands before it in the same file.
pub(super) const LATE_ROW: &str = "row came after the line of its request";
pub(super) const LATE_ROWS: &str = "rows came after the lines of their requests";

/// The count and its noun: `1 line`, `2 lines`.
pub(super) fn amount(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_is_singular() {
        let rows = [0, 1, 2].map(|count| amount(count, "row", "rows"));
        assert_eq!(rows, ["0 rows", "1 row", "2 rows"]);
    }
}
