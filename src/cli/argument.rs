//! Parsers of the values of arguments. Their errors name the values that are expected.

use std::{num::NonZeroU32, str::FromStr, time::Duration};

/// A whole number.
pub(super) fn count(text: &str) -> Result<u32, String> {
    number(text, 0)
}

/// A whole number that is not zero.
pub(super) fn at_least_one(text: &str) -> Result<NonZeroU32, String> {
    number(text, 1)
}

fn number<T: FromStr>(text: &str, least: u32) -> Result<T, String> {
    text.parse().map_err(|_| format!("expected a whole number from {least} to {}", u32::MAX))
}

/// A length of time.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text);
    time.map_err(|_| "expected a time with a unit, such as `10s`, `5m` or `1h`".to_owned())
}
