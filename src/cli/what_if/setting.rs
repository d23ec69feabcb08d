//! A number of a stage that a replay changes.

use std::fmt;

/// The largest number that can be set.
const MOST: usize = 1_000_000;

/// A stage and its new number: `code2wav=4`, or `code2wav=+1` for one more than in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    /// Its id or its name.
    pub(super) stage: String,
    number: Number,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    Of(usize),
    /// The difference from the number of the log.
    More(isize),
}

impl Setting {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let number = |text: &str| match text.starts_with(['+', '-']) {
            true => text.parse().ok().map(Number::More),
            false => text.parse().ok().map(Number::Of),
        };
        let split = text.rsplit_once('=').and_then(|(stage, text)| Some((stage, number(text)?)));
        match split {
            Some((stage, number)) if !stage.is_empty() && number.is_in_range() => {
                Ok(Self { stage: stage.to_owned(), number })
            }
            _ => Err(
                "expected a stage and a whole number from 1 to 1000000, such as `2=4` or `vocoder=4`, or how \
                 many more or fewer, such as `vocoder=+1`"
                    .to_owned(),
            ),
        }
    }

    /// The new number where the log has this one.
    pub(super) fn of(&self, logged: usize) -> Result<usize, String> {
        let new = match self.number {
            Number::Of(number) => Some(number),
            Number::More(more) => logged.checked_add_signed(more),
        };
        new.filter(|new| (1..=MOST).contains(new)).ok_or_else(|| format!("the log has {logged}"))
    }
}

impl Number {
    fn is_in_range(self) -> bool {
        match self {
            Self::Of(number) => (1..=MOST).contains(&number),
            Self::More(more) => (1..=MOST).contains(&more.unsigned_abs()),
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            Number::Of(number) => write!(f, "{}={number}", self.stage),
            Number::More(more) => write!(f, "{}={more:+}", self.stage),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_set_or_changed() {
        let set = |text| Setting::parse(text).unwrap().of(3);
        assert_eq!(["2=4", "2=+1", "a=b=-2"].map(set), [Ok(4), Ok(4), Ok(1)]);
        assert_eq!(set("2=-3"), Err("the log has 3".to_owned()));
        assert_eq!(set("2=+1000000"), Err("the log has 3".to_owned()));
        assert_eq!(Setting::parse("code2wav=+1").unwrap().to_string(), "code2wav=+1");
        for wrong in ["", "2", "=1", "2=", "2=0", "2=+0", "2=+", "2=++1", "2=1.5", "2=1000001", "2=x", "2=é"]
        {
            assert!(Setting::parse(wrong).is_err(), "{wrong}");
        }
    }
}
