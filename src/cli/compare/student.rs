//! Student's distribution.

use statrs::distribution::{ContinuousCDF, StudentsT};

/// How sure an interval is.
pub(super) const CONFIDENCE: f64 = 0.95;

/// How many standard errors an interval reaches to each side.
pub(super) fn half_width(freedom: f64) -> f64 {
    student(freedom).map_or(f64::INFINITY, |t| t.inverse_cdf(0.5 + CONFIDENCE / 2.0))
}

/// How likely it is to be as many standard errors, or more, away from zero, to either side.
pub(super) fn two_sided(errors: f64, freedom: f64) -> f64 {
    student(freedom).map_or(1.0, |t| 2.0 * t.cdf(-errors.abs()))
}

fn student(freedom: f64) -> Option<StudentsT> {
    StudentsT::new(0.0, 1.0, freedom).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_are_those_of_the_tables() {
        for (freedom, expected) in [(1.0, 12.706), (7.0, 2.365), (30.0, 2.042)] {
            assert!((half_width(freedom) - expected).abs() < 1e-3, "{freedom}");
            assert!((two_sided(-expected, freedom) - 0.05).abs() < 1e-4, "{freedom}");
        }
        assert_eq!(half_width(0.0), f64::INFINITY);
    }
}
