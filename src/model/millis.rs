//! Milliseconds that are exact to the nanosecond.

use std::{fmt, time::Duration};

use serde_core::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::model::{cursor::Cursor, digits::push_millionths};

/// Room for the text of any length of time, and for the bytes that are written after it.
const TEXT: usize = 32;
const NANOS_PER_MILLI: f64 = 1e6;
const NANOS_PER_SECOND: f64 = 1e9;
/// Below this value, `f64` represents half nanoseconds exactly (2^52 nanoseconds), as rounding requires.
const EXACT_MILLIS: f64 = 4.5e9;

/// A length of time in milliseconds, kept as whole nanoseconds.
///
/// Sums of `Millis` are exact. The JSON number (at most six decimals) reads back as the same value, up to the
/// 99 days for which a float is exact to the nanosecond.
///
/// ```
/// use omni_metrics::Millis;
///
/// let time: Millis = serde_json::from_str("9910.007")?;
/// assert_eq!(time.as_nanos(), 9_910_007_000);
/// assert_eq!(time.as_f64(), 9910.007);
/// assert_eq!(time.to_string(), "9910.007");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(u64);

impl Millis {
    /// Zero.
    pub const ZERO: Self = Self(0);
    /// The longest time: 584 years.
    pub const MAX: Self = Self(u64::MAX);

    /// The given number of nanoseconds.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The value in nanoseconds.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The value in milliseconds. Up to 99 days (2^33 ms) it reads back as the same nanosecond; past that it
    /// is rounded.
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / NANOS_PER_MILLI
    }

    /// Converts milliseconds, rounded to the nanosecond; `None` if the value is negative, not finite, or
    /// longer than the 584 years that fit.
    pub fn from_f64(millis: f64) -> Option<Self> {
        if (0.0..EXACT_MILLIS).contains(&millis) {
            return Some(Self((millis * NANOS_PER_MILLI + 0.5) as i64 as u64));
        }
        Self::from_many(millis)
    }

    /// Converts milliseconds that are many, or are no time.
    #[cold]
    fn from_many(millis: f64) -> Option<Self> {
        // The text of the largest value is read as the next larger float.
        if !(millis >= 0.0 && millis <= u64::MAX as f64 / NANOS_PER_MILLI) {
            return None;
        }
        // Computed in two parts, because a Unix time of today times 10^6 exceeds the integers that `f64`
        // represents exactly. The cast drops the fraction, and adding a half before it rounds; both parts are
        // exact.
        let whole = millis as u64;
        let fraction = ((millis - whole as f64) * NANOS_PER_MILLI + 0.5) as u64;
        Some(Self(whole.saturating_mul(1_000_000).saturating_add(fraction)))
    }

    /// Appends the text that `Display` shows.
    pub(crate) fn push_to(self, out: Cursor<'_>) -> Cursor<'_> {
        push_millionths(out, self.0)
    }

    /// The value in seconds, as exporters take it.
    ///
    /// ```
    /// assert_eq!(omni_metrics::Millis::from_nanos(1_500_000_000).as_secs_f64(), 1.5);
    /// ```
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / NANOS_PER_SECOND
    }

    /// The sum, or [`MAX`](Self::MAX) if it does not fit.
    ///
    /// ```
    /// use omni_metrics::Millis;
    ///
    /// assert_eq!(Millis::from_nanos(1).saturating_add(Millis::from_nanos(2)), Millis::from_nanos(3));
    /// assert_eq!(Millis::MAX.saturating_add(Millis::from_nanos(1)), Millis::MAX);
    /// ```
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The sum; `None` if it does not fit.
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(nanos) => Some(Self(nanos)),
            None => None,
        }
    }

    /// This time divided by another, to six decimals; `None` if the other is zero.
    ///
    /// ```
    /// use omni_metrics::Millis;
    ///
    /// let (took, plays) = (Millis::from_nanos(100_000_000), Millis::from_nanos(400_000_000));
    /// assert_eq!(took.ratio(plays), Some(0.25));
    /// assert_eq!(took.ratio(Millis::ZERO), None);
    /// ```
    pub fn ratio(self, other: Self) -> Option<f64> {
        (other.0 > 0).then(|| (self.0 as f64 / other.0 as f64 * 1e6).round() / 1e6)
    }

    /// The difference, or zero if `other` is larger.
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl From<Millis> for Duration {
    fn from(time: Millis) -> Self {
        Self::from_nanos(time.0)
    }
}

impl fmt::Debug for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Millis({self})")
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; TEXT];
        let room = self.push_to(Cursor::new(&mut text)).room();
        f.pad(text.get(..TEXT - room).and_then(|text| str::from_utf8(text).ok()).unwrap_or_default())
    }
}

impl Serialize for Millis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.as_f64())
    }
}

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let millis = f64::deserialize(deserializer)?;
        Self::from_f64(millis).ok_or_else(|| {
            de::Error::invalid_value(de::Unexpected::Float(millis), &"milliseconds from 0 to 1.8e13")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_one_to_six_decimals() {
        for (nanos, text) in [
            (0, "0.0"),
            (1, "0.000001"),
            (1_000_000, "1.0"),
            (1_500_000, "1.5"),
            (41_299_190_000, "41299.19"),
            (u64::MAX, "18446744073709.551615"),
        ] {
            assert_eq!(Millis::from_nanos(nanos).to_string(), text);
        }
    }

    #[test]
    fn any_time_is_written_like_its_decimal() {
        // Around every power of ten, and numbers in between.
        let powers = (0..20).map(|power| 10_u64.pow(power));
        let around = powers.flat_map(|power| [power - 1, power, power + 1, power / 7 * 3]);
        for nanos in around.chain([0, 9_999_999_999, 10_000_000_000]) {
            let decimal = format!("{}.{:06}", nanos / 1_000_000, nanos % 1_000_000);
            let trimmed = decimal.trim_end_matches('0');
            let expected = if trimmed.ends_with('.') { format!("{trimmed}0") } else { trimmed.to_owned() };
            assert_eq!(Millis::from_nanos(nanos).to_string(), expected);
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for millis in [-1.0, f64::NAN, f64::INFINITY, 18_446_744_073_709.6, 1e300] {
            assert_eq!(Millis::from_f64(millis), None, "{millis}");
        }
        assert_eq!(Millis::from_f64(-0.0), Some(Millis::ZERO));
    }

    #[test]
    fn a_time_is_rounded_to_the_nearest_nanosecond() {
        for (millis, nanos) in [
            (0.000_000_4, 0),
            (0.000_000_6, 1),
            (4_499_999_999.000_001, 4_499_999_999_000_001),
            (5_000_000_000.000_001, 5_000_000_000_000_001),
            (8_589_934_591.999_999, 8_589_934_591_999_999),
        ] {
            assert_eq!(Millis::from_f64(millis), Some(Millis(nanos)), "{millis}");
        }
    }

    #[test]
    fn a_unix_time_keeps_its_microseconds() {
        assert_eq!(Millis::from_f64(1_769_860_800_997.5), Some(Millis(1_769_860_800_997_500_000)));
    }
}
