//! Counts, numbers and times as the page shows them.

use crate::{Millis, text::grouped};

/// A count for people.
pub(super) fn count(number: u64) -> String {
    grouped(&number.to_string())
}

/// A number for people, with three digits or more.
pub(super) fn decimal(number: f64) -> String {
    match number {
        number if number >= 1000.0 => count(number.round() as u64),
        number if number >= 100.0 => format!("{number:.0}"),
        number if number >= 10.0 => format!("{number:.1}"),
        number => format!("{number:.2}"),
    }
}

/// A time for people, in the unit that suits it.
pub(super) fn shown(time: Millis) -> String {
    let millis = time.as_f64();
    match millis {
        millis if millis >= 60_000.0 => format!("{} min", decimal(millis / 60_000.0)),
        millis if millis >= 1_000.0 => format!("{} s", decimal(millis / 1_000.0)),
        millis if millis >= 1.0 || millis == 0.0 => format!("{} ms", decimal(millis)),
        millis => format!("{} µs", decimal(millis * 1e3)),
    }
}
