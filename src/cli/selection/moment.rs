//! Times as a person gives them, and which moments they are.

use std::path::Path;

use jiff::{SpanRelativeTo, civil, tz::Offset};

use super::log_end::log_end;
use crate::{
    Timestamp,
    cli::{failure::Result, log_file::LogFile},
};

const DAY: i64 = 86_400_000_000;

/// A time as it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    At(Timestamp),
    /// Microseconds since midnight, in UTC.
    TimeOfDay(i64),
    /// Microseconds before the end of the log.
    BeforeEnd(i64),
}

impl Moment {
    pub(super) fn parse(text: &str) -> std::result::Result<Self, &'static str> {
        const EXPECTED: &str = "expected a date and time (2026-01-31T12:03:00Z), a time of day in UTC \
                                (12:03), or a time before the end of the log (-15m)";
        if let Some(span) = text.strip_prefix('-').filter(|span| !span.starts_with(['-', '+'])) {
            let span: jiff::Span = span.parse().map_err(|_| EXPECTED)?;
            let span = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| EXPECTED)?;
            return i64::try_from(span.as_micros()).map(Self::BeforeEnd).map_err(|_| EXPECTED);
        }
        if let Ok(at) = text.parse::<jiff::Timestamp>() {
            return Ok(Self::At(timestamp(at.as_microsecond())));
        }
        // Without an offset.
        if let Ok(at) = text.parse::<civil::DateTime>() {
            let at = Offset::UTC.to_timestamp(at).map_err(|_| EXPECTED)?;
            return Ok(Self::At(timestamp(at.as_microsecond())));
        }
        let is_time = text.contains(':');
        let time: civil::Time = text.parse().ok().filter(|_| is_time).ok_or(EXPECTED)?;
        let midnight = civil::Time::midnight();
        Ok(Self::TimeOfDay(time.duration_since(midnight).as_micros().try_into().unwrap_or(0)))
    }
}

impl Moment {
    pub(super) fn is_before_end(&self) -> bool {
        matches!(self, Self::BeforeEnd(_))
    }
}

/// Knows when the log ends, if a moment depends on it.
#[derive(Debug)]
pub(super) struct Resolver {
    end: i64,
}

impl Resolver {
    pub(super) fn new(moments: [&Option<Moment>; 2], files: &[LogFile]) -> Result<Self> {
        let depends = |moment: &&Option<Moment>| !matches!(moment, None | Some(Moment::At(_)));
        if !moments.iter().any(depends) {
            return Ok(Self { end: 0 });
        }
        // What can only be read once has not ended.
        let is_file = |file: &LogFile| file.path != Path::new("-") && file.path.is_file();
        let end = if files.iter().all(is_file) { log_end(files)? } else { None };
        let now = || jiff::Timestamp::now().as_microsecond();
        Ok(Self { end: end.map_or_else(now, |end| end.unix_micros().try_into().unwrap_or(i64::MAX)) })
    }

    pub(super) fn end(&self) -> Timestamp {
        timestamp(self.end)
    }

    /// Whether `until` is a time of day that is not after that of `since`, so that it is one of the next day,
    /// and the log ends before that day.
    pub(super) fn is_on_a_day_to_come(&self, since: Option<Moment>, until: Option<Moment>) -> bool {
        let (Some(Moment::TimeOfDay(since)), Some(Moment::TimeOfDay(until))) = (since, until) else {
            return false;
        };
        // `since` is the last one before the end.
        until <= since && self.end.rem_euclid(DAY) >= since
    }

    /// The moment itself. A time of day is the first one after `since`, or else the last one before the end.
    pub(super) fn resolve(&self, moment: Moment, since: Option<Timestamp>) -> Timestamp {
        match moment {
            Moment::At(at) => at,
            Moment::BeforeEnd(span) => timestamp(self.end.saturating_sub(span)),
            Moment::TimeOfDay(time) => timestamp(match since {
                None => self.end - (self.end - time).rem_euclid(DAY),
                Some(since) => {
                    let since = i64::try_from(since.unix_micros()).unwrap_or(i64::MAX - DAY);
                    since + 1 + (time - since - 1).rem_euclid(DAY)
                }
            }),
        }
    }
}

fn timestamp(micros: i64) -> Timestamp {
    Timestamp::from_unix_micros(micros.try_into().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn a_moment_is_read_from_every_form() {
        let noon = Moment::At(at("2026-01-31T12:03:00.000000Z"));
        for text in ["2026-01-31T12:03:00Z", "2026-01-31 12:03", "2026-01-31T14:03:00+02:00"] {
            assert_eq!(Moment::parse(text), Ok(noon), "{text}");
        }
        assert_eq!(Moment::parse("2026-01-31"), Ok(Moment::At(at("2026-01-31T00:00:00.000000Z"))));
        for (text, seconds) in
            [("-15m", 900), ("-90s", 90), ("-2h", 7_200), ("-1d", 86_400), ("-1h30m", 5_400)]
        {
            assert_eq!(Moment::parse(text), Ok(Moment::BeforeEnd(seconds * 1_000_000)), "{text}");
        }
        assert_eq!(Moment::parse("12:03"), Ok(Moment::TimeOfDay(43_380_000_000)));
        assert_eq!(Moment::parse("12:03:30.5"), Ok(Moment::TimeOfDay(43_410_500_000)));
        for text in ["", "-", "noon", "12", "1203", "25:00", "-1mo", "--5m", "15m", "2026-02-30"] {
            assert!(Moment::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_time_of_day_is_the_last_before_the_end_or_the_first_after_since() {
        let end = at("2026-02-01T03:00:00.000000Z").unix_micros() as i64;
        let resolver = Resolver { end };
        let time = |text| Moment::parse(text).unwrap();
        let since = resolver.resolve(time("22:00"), None);
        assert_eq!(since, at("2026-01-31T22:00:00.000000Z"));
        assert_eq!(resolver.resolve(time("02:00"), None), at("2026-02-01T02:00:00.000000Z"));
        assert_eq!(resolver.resolve(time("03:00"), None), at("2026-02-01T03:00:00.000000Z"));
        assert_eq!(resolver.resolve(time("04:00"), Some(since)), at("2026-02-01T04:00:00.000000Z"));
        assert_eq!(resolver.resolve(time("22:00"), Some(since)), at("2026-02-01T22:00:00.000000Z"));
        assert_eq!(resolver.resolve(time("-1h"), None), at("2026-02-01T02:00:00.000000Z"));
        for (since, until, is_to_come) in [
            ("02:10", "02:05", true),
            ("02:10", "02:10", true),
            ("02:05", "02:10", false),
            // The log ends at 03:00 on the next day.
            ("22:00", "02:00", false),
            ("02:10", "-5m", false),
        ] {
            let found = resolver.is_on_a_day_to_come(Some(time(since)), Some(time(until)));
            assert_eq!(found, is_to_come, "{since} {until}");
        }
    }
}
