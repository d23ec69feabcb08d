//! Counts, numbers and times as the page shows them.

use crate::{Millis, cli::amount, write::columns::grouped};

/// A count, its digits in groups of three.
pub(in crate::cli) fn count(number: u64) -> String {
    grouped(&number.to_string())
}

/// A number with two decimals below 10, one below 100, and none from there on; more if it is small.
pub(super) fn decimal(number: f64) -> String {
    match number {
        number if number >= 999.5 => count(number.round() as u64),
        number if number >= 100.0 => format!("{number:.0}"),
        number if number >= 10.0 => format!("{number:.1}"),
        number => amount::decimal(number, 2),
    }
}

/// A time in days, hours, minutes, seconds, milliseconds or microseconds, by its length.
pub(in crate::cli) fn shown(time: Millis) -> String {
    let millis = time.as_f64();
    match millis {
        millis if millis >= 259_200_000.0 => format!("{} d", decimal(millis / 86_400_000.0)),
        millis if millis >= 10_800_000.0 => format!("{} h", decimal(millis / 3_600_000.0)),
        millis if millis >= 60_000.0 => format!("{} min", decimal(millis / 60_000.0)),
        millis if millis >= 1_000.0 => format!("{} s", decimal(millis / 1_000.0)),
        0.0 => "0 ms".to_owned(),
        millis if millis >= 1.0 => format!("{} ms", decimal(millis)),
        millis => format!("{} µs", decimal(millis * 1e3)),
    }
}

/// A share in percent. Only a share of zero is `0 %`, and only a share of one `100 %`.
pub(super) fn percent(part: u64, whole: u64) -> String {
    match part as f64 / whole.max(1) as f64 * 100.0 {
        0.0 => "0 %".to_owned(),
        100.0 => "100 %".to_owned(),
        percent if percent < 0.01 => "less than 0.01 %".to_owned(),
        percent if percent < 1.0 => format!("{percent:.2} %"),
        percent => format!("{:.1} %", percent.min(99.9)),
    }
}

/// A round number of an axis, without decimals that say nothing: `20 k` is 20,000.
pub(super) fn round(number: f64) -> String {
    match number {
        number if number >= 1e15 => format!("{number:e}"),
        number if number >= 1e9 => format!("{} G", plain(number / 1e9)),
        number if number >= 1e6 => format!("{} M", plain(number / 1e6)),
        number if number >= 1e4 => format!("{} k", plain(number / 1e3)),
        number if number > 0.0 && number < 1e-3 => format!("{number:.0e}"),
        number => plain(number),
    }
}

fn plain(number: f64) -> String {
    grouped(&((number * 1e6).round() / 1e6).to_string())
}

/// A round time of an axis, in nanoseconds. All ticks from a second on are in seconds, so that they compare.
pub(super) fn round_time(nanos: f64) -> String {
    match nanos {
        0.0 => "0".to_owned(),
        nanos if nanos >= 1e9 => format!("{} s", plain(nanos / 1e9)),
        nanos if nanos >= 1e6 => format!("{} ms", plain(nanos / 1e6)),
        nanos if nanos >= 1e3 => format!("{} µs", plain(nanos / 1e3)),
        nanos => format!("{} ns", plain(nanos)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_never_say_none_for_some() {
        let percents = [(0, 5), (1, 1_000_000), (1, 300), (1, 3), (99_999, 100_000), (4, 4)];
        let expected = ["0 %", "less than 0.01 %", "0.33 %", "33.3 %", "99.9 %", "100 %"];
        assert_eq!(percents.map(|(part, whole)| percent(part, whole)), expected);
        let times = [0.0, 500.0, 2e3, 250e6, 5e9, 2e12].map(round_time);
        let lengths =
            [0.0, 90_000.0, 4.5 * 3.6e6, 9.0 * 864e5].map(|ms| shown(Millis::from_f64(ms).unwrap()));
        assert_eq!(lengths, ["0 ms", "1.50 min", "4.50 h", "9.00 d"]);
        assert_eq!([0.0, 0.000_02, 0.5].map(decimal), ["0.00", "0.000020", "0.50"]);
        assert_eq!(times, ["0", "500 ns", "2 µs", "250 ms", "5 s", "2,000 s"]);
        assert_eq!(
            [0.1 + 0.2, 5e3, 25e3, 1.5e6, 1e18, 2e-6].map(round),
            ["0.3", "5,000", "25 k", "1.5 M", "1e18", "2e-6"]
        );
    }
}
