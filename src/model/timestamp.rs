//! Wall-clock time.

use std::fmt;

use serde_core::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::model::{
    cursor::Cursor,
    digits::{six, two},
};

/// How long the text is, in bytes.
const TEXT: usize = 27;

/// A moment of wall-clock time in UTC, to the microsecond.
///
/// Its text is RFC 3339 with six decimals. Texts sort like the moments that they stand for. Any date and time
/// of RFC 3339 since 1970 is read, with any offset from UTC and any number of decimals; those past the sixth
/// are cut off.
///
/// ```
/// use omni_metrics::Timestamp;
///
/// let timestamp: Timestamp = serde_json::from_str(r#""2026-01-31T12:00:00.123456Z""#)?;
/// assert_eq!(timestamp.unix_micros(), 1_769_860_800_123_456);
/// assert_eq!(timestamp.to_string(), "2026-01-31T12:00:00.123456Z");
/// let rewritten: Timestamp = serde_json::from_str(r#""2026-01-31T14:00:00.123456789+02:00""#)?;
/// assert_eq!(rewritten, timestamp);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// Microseconds since the Unix epoch.
    pub const fn unix_micros(self) -> u64 {
        self.0
    }

    pub(crate) const fn from_unix_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Appends the text that [`Display`](fmt::Display) shows.
    pub(crate) fn push_to(self, out: Cursor<'_>) -> Cursor<'_> {
        out.put(self.text(), TEXT)
    }

    fn text(self) -> [u8; TEXT] {
        let (seconds, micros) = (self.0 / 1_000_000, self.0 % 1_000_000);
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = date_of_days(days);
        // The format has no years after 9999.
        let year = year.min(9999);
        let ([y0, y1], [y2, y3]) = (two(year / 100), two(year % 100));
        let ([m0, m1], [d0, d1]) = (two(month), two(day));
        let ([h0, h1], [n0, n1], [s0, s1]) = (two(second / 3600), two(second / 60 % 60), two(second % 60));
        let [u0, u1, u2, u3, u4, u5] = six(micros);
        [
            y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1, b'T', h0, h1, b':', n0, n1, b':', s0, s1, b'.', u0,
            u1, u2, u3, u4, u5, b'Z',
        ]
    }

    /// Reads the text that [`Display`](fmt::Display) shows; `None` for any other.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text: &[u8; TEXT] = text.as_bytes().try_into().ok()?;
        let number = |range: std::ops::Range<usize>| {
            text.get(range)?.iter().try_fold(0, |number: u64, byte| match byte {
                b'0'..=b'9' => Some(number * 10 + u64::from(byte - b'0')),
                _ => None,
            })
        };
        let days = days_of_date(number(0..4)?, number(5..7)?, number(8..10)?)?;
        let seconds = number(11..13)? * 3600 + number(14..16)? * 60 + number(17..19)?;
        let timestamp = Self((days * 86_400 + seconds) * 1_000_000 + number(20..26)?);
        // Formatting the result again checks the punctuation and the range of every part.
        (timestamp.text() == *text).then_some(timestamp)
    }

    /// Reads any date and time of RFC 3339.
    fn parse_any(text: &str) -> Option<Self> {
        let (date, time, rest) = (text.get(..10)?, text.get(11..19)?, text.get(19..)?);
        text.get(10..11).filter(|between| matches!(*between, "T" | "t" | " "))?;
        let (decimals, offset) = match rest.strip_prefix('.') {
            Some(rest) => rest.split_at_checked(rest.find(|c: char| !c.is_ascii_digit())?)?,
            None => ("0", rest),
        };
        if decimals.is_empty() {
            return None;
        }
        let local = Self::parse(&format!("{date}T{time}.{decimals:0<6.6}Z"))?.0;
        let (sign, offset) = offset.split_at_checked(1)?;
        if matches!((sign, offset), ("Z" | "z", "")) {
            return Some(Self(local));
        }
        let (hours, minutes) = offset.split_at_checked(2)?;
        let number = |text: &str, below: u64| {
            let is_number = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u64>().ok().filter(|number| is_number && *number < below)
        };
        let minutes = number(minutes.strip_prefix(':').unwrap_or(minutes), 60)?;
        let ahead = (number(hours, 24)? * 60 + minutes) * 60_000_000;
        match sign {
            "+" => local.checked_sub(ahead).map(Self),
            "-" => Some(Self(local + ahead)),
            _ => None,
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(str::from_utf8(&self.text()).unwrap_or_default())
    }
}

// Both conversions count days in 400-year cycles of years that begin in March, so that the leap
// day comes last (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
const DAYS_BEFORE_EPOCH: u64 = 719_468;
const DAYS_PER_CYCLE: u64 = 146_097;

fn date_of_days(days: u64) -> (u64, u64, u64) {
    let days = days + DAYS_BEFORE_EPOCH;
    let (cycle, day_of_cycle) = (days / DAYS_PER_CYCLE, days % DAYS_PER_CYCLE);
    let year_of_cycle =
        (day_of_cycle - day_of_cycle / 1_460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (cycle * 400 + year_of_cycle + u64::from(month <= 2), month, day)
}

fn days_of_date(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1..=12).contains(&month) || year < 1970 {
        return None;
    }
    let year = year - u64::from(month <= 2);
    let (cycle, year_of_cycle) = (year / 400, year % 400);
    let march_month = (month + 9) % 12;
    let day_of_year = (153 * march_month + 2) / 5 + day.checked_sub(1)?;
    let day_of_cycle = 365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100 + day_of_year;
    (cycle * DAYS_PER_CYCLE + day_of_cycle).checked_sub(DAYS_BEFORE_EPOCH)
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).or_else(|| Self::parse_any(&text)).ok_or_else(|| {
            de::Error::invalid_value(de::Unexpected::Str(&text), &"a time like 2026-01-31T12:00:00.123456Z")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_know_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_399, "2000-02-28T23:59:59.000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000000Z"),
            (1_769_860_800, "2026-01-31T12:00:00.000000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000Z"),
        ] {
            let timestamp = Timestamp(seconds * 1_000_000);
            assert_eq!(timestamp.to_string(), text);
            assert_eq!(Timestamp::parse(text), Some(timestamp));
        }
    }

    #[test]
    fn a_timestamp_reads_back_on_every_day_of_two_centuries() {
        for day in 0..73_049 {
            let timestamp = Timestamp(day * 86_400_000_000 + 86_399_999_999);
            assert_eq!(Timestamp::parse(&timestamp.to_string()), Some(timestamp));
        }
    }

    #[test]
    fn any_date_and_time_of_rfc_3339_is_read() {
        for (text, read) in [
            ("2026-01-01T10:00:00Z", "2026-01-01T10:00:00.000000Z"),
            ("2026-01-01t10:00:00.5z", "2026-01-01T10:00:00.500000Z"),
            ("2026-01-01 10:00:00.123+02:00", "2026-01-01T08:00:00.123000Z"),
            ("2026-01-01T10:00:00.123456789-0530", "2026-01-01T15:30:00.123456Z"),
            ("2026-01-01T00:59:59.999999+01:00", "2025-12-31T23:59:59.999999Z"),
            ("2024-02-29T23:00:00-23:59", "2024-03-01T22:59:00.000000Z"),
        ] {
            assert_eq!(
                Timestamp::parse_any(text).map(|read| read.to_string()).as_deref(),
                Some(read),
                "{text}"
            );
        }
    }

    #[test]
    fn text_that_is_no_timestamp_is_refused() {
        for text in [
            "",
            "2026-01-31",
            "2026-02-30T12:00:00.000000Z",
            "2026-01-31_12:00:00.000000Z",
            "2026-01-31T12:60:00.000000Z",
            "é026-01-31T12:00:00.00000Z",
            "2026-01-31T12:00:00",
            "2026-01-31T12:00:00.Z",
            "2026-01-31T12:00:00,5Z",
            "2026-01-31T12:00:00ZZ",
            "2026-01-31T12:00:00é2:00",
            "2026-01-31T12:00:00+é:00",
            "2026-01-31T12:00:00+24:00",
            "2026-01-31T12:00:00+01:60",
            "2026-01-31T12:00:00+01:0",
            "2026-01-31T12:00:00+ 1:00",
            "1970-01-01T00:00:00+00:01",
        ] {
            assert_eq!(Timestamp::parse(text).or_else(|| Timestamp::parse_any(text)), None, "{text}");
        }
    }
}
