//! Times that are known from two readings of a clock: the least and the most that they can be.

use std::time::Instant;

use omni_engine::{Moment, Visit};

/// The two clocks may differ by so much, and by a thousandth of a time.
const TOLERANCE_MS: f64 = 0.1;

/// The least and the most that a time can be, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Between(pub f64, pub f64);

impl Between {
    pub fn allows(self, value: f64) -> bool {
        let tolerance = TOLERANCE_MS + value / 1_000.;
        (self.0 - tolerance..=self.1 + tolerance).contains(&value)
    }

    pub fn sum(times: impl IntoIterator<Item = Self>) -> Self {
        times.into_iter().fold(Self(0., 0.), |Self(least, most), time| Self(least + time.0, most + time.1))
    }

    /// The larger of the two.
    pub fn max(self, other: Self) -> Self {
        Self(self.0.max(other.0), self.1.max(other.1))
    }

    /// Divided by a number that is known exactly.
    pub fn over(self, divisor: f64) -> Self {
        Self(self.0 / divisor, self.1 / divisor)
    }
}

/// The time from one moment to another one.
pub fn since(begin: Moment, end: Moment) -> Between {
    Between(ms(begin.after, end.before).max(0.), ms(begin.before, end.after).max(0.))
}

/// A stretch of time.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    pub begin: Moment,
    pub end: Moment,
}

impl From<Visit> for Span {
    fn from(Visit { enter, exit }: Visit) -> Self {
        Self { begin: enter, end: exit }
    }
}

impl Span {
    pub fn time(self) -> Between {
        since(self.begin, self.end)
    }

    /// The part of this during which none of the others was under way.
    pub fn without(self, others: &[Self]) -> Between {
        let widest = |span: &Self| (span.begin.before, span.end.after);
        let narrowest = |span: &Self| (span.begin.after, span.end.before);
        Between(
            uncovered(narrowest(&self), others.iter().map(widest).collect()),
            uncovered(widest(&self), others.iter().map(narrowest).collect()),
        )
    }
}

fn uncovered((begin, end): (Instant, Instant), mut covers: Vec<(Instant, Instant)>) -> f64 {
    covers.sort();
    let (mut at, mut total) = (begin, 0.);
    for (from, to) in covers {
        total += ms(at, from.min(end)).max(0.);
        // A cover that is known too badly may have no inside.
        at = at.max(to.max(from));
    }
    total + ms(at, end).max(0.)
}

fn ms(from: Instant, to: Instant) -> f64 {
    let time = to.saturating_duration_since(from).as_secs_f64() * 1_000.;
    time - from.saturating_duration_since(to).as_secs_f64() * 1_000.
}
