//! Amounts as a sentence names them.

use crate::write::columns::grouped;

/// A detached row of a request whose own line stands before it in the same file.
pub(super) const LATE_ROW: &str =
    "row after a line with its request_id (late, or kept by `join --keep-rows`)";
pub(super) const LATE_ROWS: &str =
    "rows after a line with their request_id (late, or kept by `join --keep-rows`)";

/// The count, its digits in groups of three, and its noun: `1 line`, `2,000 lines`.
pub(super) fn amount(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(&count.to_string()), if count == 1 { one } else { many })
}

/// A number with this many decimals, and one below 1 with at least two significant digits: a small rate is
/// not 0.
pub(super) fn decimal(number: f64, decimals: usize) -> String {
    let leading_zeros = if number > 0.0 { (-number.log10().floor()).clamp(0.0, 20.0) as usize } else { 0 };
    let significant = if leading_zeros > 0 { leading_zeros + 1 } else { 0 };
    grouped(&format!("{number:.*}", decimals.max(significant)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_number_is_no_zero_and_has_no_exponent() {
        let shown = [0.0, 0.000_017, 0.004_32, 0.5, 1.0, 8.25, 12_345.0].map(|number| decimal(number, 1));
        assert_eq!(shown, ["0.0", "0.000017", "0.0043", "0.50", "1.0", "8.2", "12,345.0"]);
        assert_eq!([0.004_32, 0.5].map(|number| decimal(number, 3)), ["0.0043", "0.500"]);
    }

    #[test]
    fn only_one_is_singular() {
        let rows = [0, 1, 2_000].map(|count| amount(count, "row", "rows"));
        assert_eq!(rows, ["0 rows", "1 row", "2,000 rows"]);
    }
}
