//! Counts, numbers and times as the page shows them.

use crate::{Millis, write::text::grouped};

/// A count, its digits in groups of three.
pub(super) fn count(number: u64) -> String {
    grouped(&number.to_string())
}

/// A number with two decimals below 10, one below 100, and none from there on.
pub(super) fn decimal(number: f64) -> String {
    match number {
        number if number >= 1000.0 => count(number.round() as u64),
        number if number >= 100.0 => format!("{number:.0}"),
        number if number >= 10.0 => format!("{number:.1}"),
        number => format!("{number:.2}"),
    }
}

/// A time in minutes, seconds, milliseconds or microseconds, by its length.
pub(super) fn shown(time: Millis) -> String {
    let millis = time.as_f64();
    match millis {
        millis if millis >= 60_000.0 => format!("{} min", decimal(millis / 60_000.0)),
        millis if millis >= 1_000.0 => format!("{} s", decimal(millis / 1_000.0)),
        millis if millis >= 1.0 || millis == 0.0 => format!("{} ms", decimal(millis)),
        millis => format!("{} µs", decimal(millis * 1e3)),
    }
}
