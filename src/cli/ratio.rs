//! The ratio of two figures as a person reads it: a change in percent, or a factor if the change is large.

use crate::write::columns::grouped;

/// From this ratio on, it is shown in place of the change in percent.
const TIMES: f64 = 10.0;

/// A ratio as a change in percent, or as the factor that it is.
pub(super) fn as_change(ratio: f64) -> String {
    if ratio >= TIMES { times(ratio) } else { format!("{:+.1} %", (ratio - 1.0) * 100.0) }
}

/// An interval of ratios, as changes in percent or as factors.
pub(super) fn as_changes([low, high]: [f64; 2]) -> String {
    if high >= TIMES {
        return format!("{} to {}", times(low), times(high));
    }
    format!("{:+.1} to {:+.1} %", (low - 1.0) * 100.0, (high - 1.0) * 100.0)
}

fn times(ratio: f64) -> String {
    let decimals = if ratio < 100.0 { 1 } else { 0 };
    format!("×{}", grouped(&format!("{ratio:.decimals$}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_change_is_a_factor_and_a_smaller_one_is_in_percent() {
        let shown = [0.005, 1.0, 2.397, 9.99, 10.0, 123.4, 12_345.0].map(as_change);
        assert_eq!(shown, ["-99.5 %", "+0.0 %", "+139.7 %", "+899.0 %", "×10.0", "×123", "×12,345"]);
        assert_eq!(as_changes([0.9, 9.9]), "-10.0 to +890.0 %");
        assert_eq!(as_changes([0.9, 10.0]), "×0.9 to ×10.0");
    }
}
