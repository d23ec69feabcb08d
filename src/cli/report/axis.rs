//! An axis: where a value stands on it, and which values it names.

use serde::Serialize;

use super::figures::{round, round_time};
use crate::Timestamp;

/// The steps of an axis of wall clock time, in microseconds, up to a day.
const CLOCK_STEPS: [u64; 36] = [
    1,
    2,
    5,
    10,
    20,
    50,
    100,
    200,
    500,
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    SECOND,
    2 * SECOND,
    5 * SECOND,
    10 * SECOND,
    15 * SECOND,
    30 * SECOND,
    MINUTE,
    2 * MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
];
const SECOND: u64 = 1_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// How many percent of an axis a character of its texts takes on the narrowest phone: 8 of 210 pixels.
const CHARACTER: f64 = 3.8;
/// From how many percent on a text stands in front of its value.
const LAST: f64 = 97.0;

/// From a lowest to a highest value, by the values or by their logarithms.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct Axis {
    low: f64,
    high: f64,
    is_log: bool,
}

/// A value that an axis names.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Tick {
    /// In percent of the axis.
    pub(super) at: f64,
    text: String,
    /// Whether a narrow screen leaves its text out.
    is_minor: bool,
    /// Whether its text stands in front of it, since there is no room behind the axis.
    is_last: bool,
}

impl Axis {
    pub(in crate::cli) fn linear(low: f64, high: f64) -> Self {
        Self { low, high: if high > low { high } else { low + 1.0 }, is_log: false }
    }

    /// The lowest value is more than zero.
    pub(in crate::cli) fn log(low: f64, high: f64) -> Self {
        let low = low.max(f64::MIN_POSITIVE);
        Self { low, high: if high > low { high } else { low * 2.0 }, is_log: true }
    }

    /// Between 0 and 1.
    pub(in crate::cli) fn place(&self, value: f64) -> f64 {
        let place = if self.is_log {
            (value.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        place.clamp(0.0, 1.0)
    }

    pub(super) fn has(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    pub(super) fn low(&self) -> f64 {
        self.low
    }

    pub(super) fn high(&self) -> f64 {
        self.high
    }

    /// Round numbers, of which there are about `most` or fewer.
    pub(in crate::cli) fn numbers(&self, most: usize) -> Vec<Tick> {
        self.ticks(self.steps(most), round)
    }

    /// Whole numbers, of which there are about `most` or fewer.
    pub(super) fn counts(&self, most: usize) -> Vec<Tick> {
        let whole = self.steps(most).into_iter().filter(|value| value.fract() == 0.0);
        self.ticks(whole.collect(), round)
    }

    /// Round times of an axis in nanoseconds, of which there are about `most` or fewer.
    pub(in crate::cli) fn times(&self, most: usize) -> Vec<Tick> {
        self.ticks(self.steps(most), round_time)
    }

    /// At most `most` + 1 round times of the day, of an axis in microseconds since the Unix epoch.
    pub(super) fn clock(&self, most: u64) -> Vec<Tick> {
        let length = self.high - self.low;
        let fits = |step: &u64| length / *step as f64 <= most as f64;
        let days = || DAY * ((length / DAY as f64 / most as f64).ceil().max(1.0) as u64);
        let step = CLOCK_STEPS.into_iter().find(fits).unwrap_or_else(days);
        let first = (self.low / step as f64).ceil();
        let values = (0..=most).map(|n| (first + n as f64) * step as f64).filter(|value| *value <= self.high);
        self.ticks(values.collect(), |micros| time_of_day(micros as u64, step))
    }

    fn ticks(&self, values: Vec<f64>, text: impl Fn(f64) -> String) -> Vec<Tick> {
        let mut free = f64::NEG_INFINITY;
        let tick = |value| {
            let (at, text) = ((self.place(value) * 1e4).round() / 1e2, text(value));
            let width = text.chars().count() as f64 * CHARACTER;
            let is_last = at > LAST;
            let end = if is_last { at } else { at + width / 2.0 };
            let is_minor = end - width < free;
            free = if is_minor { free } else { end + CHARACTER };
            Tick { at, text, is_minor, is_last }
        };
        values.into_iter().map(tick).collect()
    }

    fn steps(&self, most: usize) -> Vec<f64> {
        if !self.is_log {
            return linear_steps(self.low, self.high, most);
        }
        let of_decade = |factors: &'static [f64], decades: i32| {
            let (first, last) = (self.low.log10().floor() as i32, self.high.log10().ceil() as i32);
            let exponents = (first..=last).filter(move |exponent| exponent.rem_euclid(decades) == 0);
            let values =
                exponents.flat_map(|exponent| factors.iter().map(move |by| by * 10_f64.powi(exponent)));
            let inside = values.filter(|value| (self.low..=self.high).contains(value));
            inside.collect::<Vec<_>>()
        };
        let denser = [of_decade(&[1.0, 2.0, 5.0], 1), of_decade(&[1.0], 1), of_decade(&[1.0], 3)];
        let dense = denser.into_iter().find(|values| values.len() <= most).unwrap_or_default();
        // Within a decade there are too few of them.
        if dense.len() < 3 { linear_steps(self.low, self.high, most.div_ceil(2)) } else { dense }
    }
}

/// Multiples of 1, 2 or 5 times a power of ten.
fn linear_steps(low: f64, high: f64, most: usize) -> Vec<f64> {
    let least = (high - low) / most.max(1) as f64;
    let decade = 10_f64.powf(least.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|by| by * decade).into_iter().find(|step| *step >= least * 0.999);
    let step = step.unwrap_or(decade * 10.0);
    let first = (low / step).ceil();
    (0..=most).map(|n| (first + n as f64) * step).filter(|value| *value <= high * (1.0 + 1e-9)).collect()
}

/// As exact as the steps of an axis need it.
fn time_of_day(micros: u64, step: u64) -> String {
    // `2026-11-24T08:46:40.105116Z`
    let text = Timestamp::from_unix_micros(micros).to_string();
    let part = match step {
        step if step >= DAY => text.get(..10),
        step if step >= MINUTE => text.get(11..16),
        step if step >= SECOND => text.get(11..19),
        step if step >= 100_000 => text.get(11..21),
        step if step >= 1_000 => text.get(14..23),
        _ => text.get(17..26),
    };
    part.unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(ticks: &[Tick]) -> Vec<&str> {
        ticks.iter().map(|tick| &*tick.text).collect()
    }

    #[test]
    fn a_logarithmic_axis_has_round_times_within_a_decade_and_over_many() {
        let times = |low, high| Axis::log(low, high).times(8);
        assert_eq!(texts(&times(320e6, 430e6)), ["350 ms", "400 ms"]);
        assert_eq!(texts(&times(3e6, 26e6)), ["5 ms", "10 ms", "20 ms"]);
        assert_eq!(texts(&times(9e3, 1.1e9)), ["10 µs", "100 µs", "1 ms", "10 ms", "100 ms", "1 s"]);
        assert_eq!(texts(&times(1.0, 2e10)), ["1 ns", "1 µs", "1 ms", "1 s"]);
        let ticks = times(1e6, 1e8);
        assert_eq!((ticks[0].at, ticks[3].at, ticks[6].at), (0.0, 50.0, 100.0));
    }

    #[test]
    fn texts_that_a_narrow_screen_shows_have_room_beside_each_other() {
        let shown = |ticks: Vec<Tick>| {
            let major = ticks.into_iter().filter(|tick| !tick.is_minor);
            major.map(|tick| tick.text).collect::<Vec<_>>()
        };
        assert_eq!(shown(Axis::log(20e6, 1.1e11).times(12)), ["20 ms", "200 ms", "2 s", "10 s"]);
        assert_eq!(shown(Axis::linear(0.0, 7.0).numbers(5)), ["0", "2", "4", "6"]);
    }

    #[test]
    fn a_linear_axis_has_multiples_of_a_round_number() {
        assert_eq!(texts(&Axis::linear(0.0, 7.0).numbers(5)), ["0", "2", "4", "6"]);
        assert_eq!(texts(&Axis::linear(0.0, 0.034).numbers(4)), ["0", "0.01", "0.02", "0.03"]);
        assert_eq!(texts(&Axis::linear(0.0, 0.0).numbers(2)), ["0", "0.5", "1"]);
    }

    #[test]
    fn a_clock_is_as_exact_as_its_steps() {
        let clock = |length: u64| {
            let low = 1_764_144_400_105_116;
            let axis = Axis::linear(low as f64, (low + length) as f64);
            axis.clock(7)
        };
        assert_eq!(texts(&clock(180_000))[..2], ["06:40.150", "06:40.200"]);
        assert_eq!(texts(&clock(47 * SECOND))[..2], ["08:06:50", "08:07:00"]);
        assert_eq!(texts(&clock(3 * HOUR))[..2], ["08:30", "09:00"]);
        assert_eq!(texts(&clock(400 * DAY))[0], "2026-01-21");
        assert!((1..=7).contains(&clock(400 * DAY).len()));
    }
}
