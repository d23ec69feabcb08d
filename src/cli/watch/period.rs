//! How much of a log the figures are of.

use std::{fmt, str::FromStr, time::Duration};

/// How long the longest period is that ends now, in seconds.
pub(super) const LONGEST: u64 = 300;

/// The period that the figures cover. Longer ones are larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Period {
    /// So many seconds, up to now.
    Last(u64),
    /// The whole log.
    Whole,
}

/// What the keys choose from.
const STEPS: [Period; 4] = [Period::Last(30), Period::Last(60), Period::Last(LONGEST), Period::Whole];

impl Period {
    /// The next longer one, if there is one.
    pub(super) fn longer(self) -> Self {
        STEPS.into_iter().find(|step| *step > self).unwrap_or(self)
    }

    /// The next shorter one, if there is one.
    pub(super) fn shorter(self) -> Self {
        STEPS.into_iter().rev().find(|step| *step < self).unwrap_or(self)
    }
}

impl Default for Period {
    fn default() -> Self {
        Self::Last(60)
    }
}

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self::Whole);
        }
        let length = humantime::parse_duration(text).ok();
        let seconds = length.filter(|length| length.subsec_nanos() == 0).map(|length| length.as_secs());
        let seconds = seconds.filter(|seconds| (1..=LONGEST).contains(seconds));
        seconds.map(Self::Last).ok_or_else(|| "expected whole seconds, from 1s to 5m, or all".to_owned())
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Last(seconds) => {
                write!(f, "last {}", humantime::format_duration(Duration::from_secs(*seconds)))
            }
            Self::Whole => f.write_str("whole log"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_read_and_made_longer_and_shorter_in_steps() {
        for (text, period, shown) in [
            ("30s", Period::Last(30), "last 30s"),
            ("1m", Period::Last(60), "last 1m"),
            ("90s", Period::Last(90), "last 1m 30s"),
            ("5m", Period::Last(300), "last 5m"),
            ("all", Period::Whole, "whole log"),
        ] {
            assert_eq!((text.parse(), &*period.to_string()), (Ok(period), shown));
        }
        for text in ["", "0s", "301s", "6m", "500ms", "1", "-1m", "whole"] {
            assert!(text.parse::<Period>().is_err(), "{text}");
        }
        let default = Period::default();
        assert_eq!((default.longer(), default.shorter()), (Period::Last(300), Period::Last(30)));
        assert_eq!((Period::Last(300).longer(), Period::Whole.longer()), (Period::Whole, Period::Whole));
        assert_eq!((Period::Last(90).longer(), Period::Last(90).shorter()), (Period::Last(300), default));
        assert_eq!(Period::Last(10).shorter(), Period::Last(10));
    }
}
