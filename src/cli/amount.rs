//! Amounts as a sentence names them.

use crate::write::columns::grouped;

/// A detached row of a request whose own line stands before it in the same file.
pub(super) const LATE_ROW: &str = "row came after the line of its request";
pub(super) const LATE_ROWS: &str = "rows came after the lines of their requests";

/// The count, its digits in groups of three, and its noun: `1 line`, `2,000 lines`.
pub(super) fn amount(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(&count.to_string()), if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_is_singular() {
        let rows = [0, 1, 2_000].map(|count| amount(count, "row", "rows"));
        assert_eq!(rows, ["0 rows", "1 row", "2,000 rows"]);
    }
}
