//! Time from the processor's time stamp counter (TSC): a reading costs a third of a reading of the operating
//! system's clock, and a span takes three to five readings.
//!
//! A reading of `quanta` 0.12 costs the same, 16 to 31 ns, but its rate is never corrected: it was off by 1.6
//! parts in a million, 273 µs after 170 s.
//!
//! Ticks are converted by a linear estimate (`Line`) that is refitted at each check (a look) against the
//! system clock. It is refitted so that it stays continuous and converges on the system clock. If an estimate
//! is found to be too far off, `Instant` is used until there is a new one. The TSC is used only if the
//! kernel itself keeps time by it.
//!
//! The kernel may switch to a slower time source while the program runs, mostly because the TSC can no
//! longer be trusted. A reading of the system clock then takes longer than a pair of readings may take, so
//! that the estimate cannot be corrected any more. In this case the estimate is discarded, and `Instant` is
//! used until it can be read quickly again.

use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering, fence},
};

/// The time between the first and the second check, in nanoseconds. One reading of both clocks is accurate to
/// about 50 ns, so that the rate is then known to 5 parts in a million. Each further interval is ten times as
/// long, up to [`INTERVAL`].
const FIRST_INTERVAL: u64 = 10_000_000;
/// The longest interval between two checks, in nanoseconds.
const INTERVAL: u64 = 1_000_000_000;
/// The most ticks that reading both clocks may take. A slower pair was interrupted and is discarded.
const PAIR_TICKS: u64 = 400;
/// How many times a pair is read until one is fast enough.
const PAIR_TRIES: usize = 4;
/// An estimate has failed if it is off by more than [`SLACK`] plus one part in this many of the time since
/// the last check.
const STRAY: u64 = 10_000;
/// The error that is accepted over any time, in nanoseconds.
const SLACK: u64 = 10_000;
/// After this many failed estimates the TSC is not used any more.
const STRAYS: u32 = 100;
/// After this many failed checks in a row the estimate is discarded. From then on, checks are [`INTERVAL`]
/// apart.
const FAILED_LOOKS: u32 = 3;
/// An estimate that was not corrected for longer than this, in nanoseconds, is discarded at the first failed
/// check, and its successor need not be continuous with it.
const GAP: u64 = 2 * INTERVAL;

/// The TSC, with its current estimate of the system clock. The fields form a seqlock.
#[derive(Debug)]
pub(crate) struct Tsc {
    /// Odd while there is no estimate, or while one is being written.
    version: AtomicU64,
    ticks: AtomicU64,
    nanos: AtomicU64,
    rate: AtomicU64,
    /// When the next check is due, in nanoseconds.
    next_look: AtomicU64,
    last_look: Mutex<Look>,
}

#[derive(Debug, Default)]
struct Look {
    pair: Option<Pair>,
    interval: u64,
    strays: u32,
    /// How many checks in a row have failed.
    failed: u32,
}

/// Both clocks, read at the same moment.
#[derive(Debug, Clone, Copy)]
struct Pair {
    ticks: u64,
    nanos: u64,
}

/// A linear estimate that converts ticks to nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Line {
    ticks: u64,
    nanos: u64,
    /// Nanoseconds per tick, times 2^32.
    rate: u64,
}

impl Tsc {
    /// The TSC of this machine, if the kernel keeps time by it.
    pub(crate) fn new() -> Option<Self> {
        hardware::keeps_time().then(Self::without_line)
    }

    fn without_line() -> Self {
        Self {
            version: AtomicU64::new(1),
            ticks: AtomicU64::new(0),
            nanos: AtomicU64::new(0),
            rate: AtomicU64::new(0),
            next_look: AtomicU64::new(0),
            last_look: Mutex::default(),
        }
    }

    /// The time of `clock` in nanoseconds; `clock` itself is read while there is no estimate, and when a
    /// check is due. Never waits.
    #[inline(always)]
    pub(crate) fn now(&self, clock: impl Fn() -> u64) -> u64 {
        let now = match self.line() {
            // `None` if the TSC went back: then the estimate is checked as well.
            Some(line) => line.at(hardware::ticks()),
            None => Some(clock()),
        };
        match now {
            Some(now) if now < self.next_look.load(Ordering::Relaxed) => now,
            _ => self.look(clock),
        }
    }

    #[inline]
    fn line(&self) -> Option<Line> {
        let version = self.version.load(Ordering::Acquire);
        let line = Line {
            ticks: self.ticks.load(Ordering::Relaxed),
            nanos: self.nanos.load(Ordering::Relaxed),
            rate: self.rate.load(Ordering::Relaxed),
        };
        fence(Ordering::Acquire);
        let is_whole = version & 1 == 0 && version == self.version.load(Ordering::Relaxed);
        is_whole.then_some(line)
    }

    /// Reads the clock, and checks the estimate unless another thread does. Returns the time.
    #[cold]
    #[inline(never)]
    fn look(&self, clock: impl Fn() -> u64) -> u64 {
        let now = clock();
        let Ok(mut last_look) = self.last_look.try_lock() else { return now };
        let line = last_look.next(self.line(), now, Pair::read(clock));
        if let Some(line) = line {
            self.set(line);
        }
        self.next_look.store(now.saturating_add(last_look.interval), Ordering::Relaxed);
        line.flatten().and_then(|line| line.at(hardware::ticks())).unwrap_or(now)
    }

    /// Called with `last_look` locked, so there is one writer.
    fn set(&self, line: Option<Line>) {
        let version = self.version.load(Ordering::Relaxed) | 1;
        self.version.store(version, Ordering::Relaxed);
        fence(Ordering::Release);
        if let Some(Line { ticks, nanos, rate }) = line {
            self.ticks.store(ticks, Ordering::Relaxed);
            self.nanos.store(nanos, Ordering::Relaxed);
            self.rate.store(rate, Ordering::Relaxed);
            self.version.store(version + 1, Ordering::Release);
        }
    }
}

impl Look {
    /// Checks the estimate at moment `nanos` of the clock. `None` keeps it; `Some` replaces it by another
    /// one, or by none.
    fn next(&mut self, line: Option<Line>, nanos: u64, pair: Option<Pair>) -> Option<Option<Line>> {
        let Some(now) = pair else { return self.failed(nanos) };
        self.failed = 0;
        let before = self.pair.replace(now);
        let interval =
            if before.is_some() { self.interval.saturating_mul(10).min(INTERVAL) } else { FIRST_INTERVAL };
        self.interval = interval;
        let next = Line::next(line, before?, now, interval);
        if next.is_none() {
            self.strays += 1;
            self.interval = if self.strays < STRAYS { FIRST_INTERVAL } else { u64::MAX };
        }
        Some(next)
    }

    /// Handles a check for which no pair could be read. With a discarded estimate the pair is discarded too,
    /// so that the next estimate does not depend on the time before.
    fn failed(&mut self, nanos: u64) -> Option<Option<Line>> {
        self.failed = self.failed.saturating_add(1);
        let is_old = self.pair.is_some_and(|pair| nanos.saturating_sub(pair.nanos) > GAP);
        if self.failed < FAILED_LOOKS && !is_old {
            self.interval = FIRST_INTERVAL;
            return None;
        }
        self.failed = FAILED_LOOKS;
        self.interval = INTERVAL;
        self.pair = None;
        Some(None)
    }
}

impl Pair {
    /// Reads both clocks; `None` if every attempt was interrupted.
    fn read(clock: impl Fn() -> u64) -> Option<Self> {
        (0..PAIR_TRIES).find_map(|_| {
            let before = hardware::ticks();
            let nanos = clock();
            let width = hardware::ticks().checked_sub(before)?;
            (width < PAIR_TICKS).then_some(Self { ticks: before + width / 2, nanos })
        })
    }
}

impl Line {
    /// `None` for a moment before the estimate's first: the TSC went back.
    #[inline]
    fn at(&self, ticks: u64) -> Option<u64> {
        let since = u128::from(ticks.checked_sub(self.ticks)?) * u128::from(self.rate);
        Some(self.nanos.saturating_add((since >> 32) as u64))
    }

    /// The estimate from moment `now` on. It is continuous with `line`, and has the rate with which it meets
    /// the clock after `interval`. After a gap between the checks it begins at the clock's time, because the
    /// error may be too large to be corrected within one interval. `None` if `line` has failed.
    fn next(line: Option<Self>, before: Pair, now: Pair, interval: u64) -> Option<Self> {
        let ticks = now.ticks.checked_sub(before.ticks).filter(|ticks| *ticks > 0)?;
        let elapsed = now.nanos.checked_sub(before.nanos).filter(|elapsed| *elapsed > 0)?;
        let mut next = Self {
            ticks: now.ticks,
            nanos: now.nanos,
            rate: ((u128::from(elapsed) << 32) / u128::from(ticks)).try_into().ok()?,
        };
        let Some(line) = line else { return Some(next) };
        let led_to = line.at(now.ticks)?;
        if led_to.abs_diff(now.nanos) > SLACK + elapsed / STRAY {
            return None;
        }
        if elapsed < GAP {
            next.nanos = led_to;
            let ahead = (interval + now.nanos).checked_sub(led_to)?;
            next.rate = (u128::from(next.rate) * u128::from(ahead) / u128::from(interval)).try_into().ok()?;
        }
        Some(next)
    }
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod hardware {
    /// Whether the kernel keeps time by the TSC: it then runs at one rate, in step on all cores.
    pub(super) fn keeps_time() -> bool {
        const CLOCK_SOURCE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
        std::fs::read(CLOCK_SOURCE).is_ok_and(|source| source.trim_ascii() == b"tsc")
    }

    #[inline]
    #[allow(unsafe_code, reason = "the instruction has no safe name")]
    pub(super) fn ticks() -> u64 {
        // SAFETY: every processor of this architecture has the instruction, it touches no memory, and a
        // process that may not use it could not read the system's clock either.
        unsafe { std::arch::x86_64::_rdtsc() }
    }
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
mod hardware {
    pub(super) fn keeps_time() -> bool {
        false
    }

    pub(super) fn ticks() -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, hint, thread, time::Instant};

    use super::*;

    /// A TSC of 2.5 GHz, and a clock that is fast by `fast` parts in a million.
    fn pair(at: f64, fast: f64) -> Pair {
        Pair { ticks: (at * 2.5) as u64 + 7, nanos: (at * (1.0 + fast / 1e6)) as u64 + 1_000 }
    }

    const SECOND: f64 = 1e9;

    fn line(line: Option<Line>, before: Pair, now: Pair) -> Option<Line> {
        Line::next(line, before, now, INTERVAL)
    }

    #[test]
    fn the_lines_follow_a_clock_without_a_step() {
        let mut last = line(None, pair(0.0, 20.0), pair(SECOND, 20.0)).unwrap();
        for n in 1..100_u32 {
            // Its rate wanders a little, as that of a disciplined clock.
            let fast = |n: u32| 20.0 + 0.01 * f64::from(n);
            let (before, now) =
                (pair(f64::from(n) * SECOND, fast(n)), pair(f64::from(n + 1) * SECOND, fast(n + 1)));
            let next = line(Some(last), before, now).unwrap();
            assert_eq!(next.at(now.ticks), last.at(now.ticks));
            assert!(last.at(now.ticks).unwrap().abs_diff(now.nanos) < 3_000, "{n}: {last:?} {now:?}");
            last = next;
        }
    }

    #[test]
    fn after_a_gap_the_line_begins_at_the_clock() {
        let first = Line::next(None, pair(0.0, 0.0), pair(0.01 * SECOND, 8.0), 10 * FIRST_INTERVAL).unwrap();
        let now = pair(3_600.0 * SECOND, 0.0);
        let next = line(Some(first), pair(0.01 * SECOND, 8.0), now).unwrap();
        assert_eq!(next.at(now.ticks), Some(now.nanos));
        let later = pair(3_601.0 * SECOND, 0.0);
        assert!(next.at(later.ticks).unwrap().abs_diff(later.nanos) < 100);
    }

    #[test]
    fn a_line_that_has_led_astray_is_no_more() {
        let first = line(None, pair(0.0, 0.0), pair(SECOND, 0.0)).unwrap();
        let at = |ticks: f64| Pair { ticks: pair(ticks, 0.0).ticks, nanos: 2_000_000_000 };
        assert_eq!(line(Some(first), pair(SECOND, 0.0), at(SECOND)), None, "it stands still");
        assert_eq!(line(Some(first), pair(SECOND, 0.0), at(9.0 * SECOND)), None, "it jumps ahead");
        assert_eq!(line(Some(first), pair(SECOND, 0.0), at(0.0)), None, "it jumps back");
        assert_eq!(first.at(3), None);
    }

    /// The result of a check at `at`, with or without a pair of readings.
    fn look(look: &mut Look, line: &mut Option<Line>, at: f64, pair: Option<Pair>) -> (bool, u64) {
        *line = look.next(*line, (at as u64) + 1_000, pair).unwrap_or(*line);
        (line.is_some(), look.interval)
    }

    #[test]
    fn a_look_measures_again_after_a_line_that_has_led_astray() {
        let (mut last, mut line) = (Look::default(), None);
        let mut looks = |at: f64, jump: f64| {
            let pair = Pair { ticks: pair(at + jump, 0.0).ticks, nanos: pair(at, 0.0).nanos };
            look(&mut last, &mut line, at, Some(pair))
        };
        assert_eq!(looks(0.0, 0.0), (false, FIRST_INTERVAL));
        assert_eq!(looks(0.01 * SECOND, 0.0), (true, 10 * FIRST_INTERVAL));
        assert_eq!(looks(0.11 * SECOND, 0.0), (true, INTERVAL));
        assert_eq!(looks(1.11 * SECOND, 5.0 * SECOND), (false, FIRST_INTERVAL));
        assert_eq!(looks(1.12 * SECOND, 5.0 * SECOND), (true, 10 * FIRST_INTERVAL));
    }

    #[test]
    fn a_line_is_given_up_after_some_failed_looks_and_a_new_one_begins_from_fresh_looks() {
        let (mut last, mut line) = (Look::default(), None);
        let mut looks = |at: f64, pair: Option<Pair>| look(&mut last, &mut line, at, pair);
        looks(0.0, Some(pair(0.0, 0.0)));
        assert_eq!(looks(0.01 * SECOND, Some(pair(0.01 * SECOND, 0.0))), (true, 10 * FIRST_INTERVAL));
        assert_eq!(looks(0.11 * SECOND, None), (true, FIRST_INTERVAL), "an interruption");
        assert_eq!(looks(0.12 * SECOND, Some(pair(0.12 * SECOND, 0.0))), (true, 10 * FIRST_INTERVAL));
        for n in 1..FAILED_LOOKS {
            assert_eq!(looks(0.2 * SECOND, None), (true, FIRST_INTERVAL), "{n} in a row");
        }
        for n in 0..5 {
            assert_eq!(looks(0.3 * SECOND + f64::from(n) * SECOND, None), (false, INTERVAL));
        }
        // Meanwhile the TSC has run at another rate.
        let later = |at: f64| Pair { ticks: (at * 9.0) as u64, nanos: (at as u64) + 1_000 };
        assert_eq!(looks(6.0 * SECOND, Some(later(6.0 * SECOND))), (false, FIRST_INTERVAL));
        assert_eq!(looks(6.01 * SECOND, Some(later(6.01 * SECOND))), (true, 10 * FIRST_INTERVAL));
        let end = later(6.02 * SECOND);
        assert!(line.unwrap().at(end.ticks).unwrap().abs_diff(end.nanos) < 100);
    }

    #[test]
    fn a_line_is_given_up_at_the_first_failed_look_behind_a_gap() {
        let (mut last, mut line) = (Look::default(), None);
        let mut looks = |at: f64, pair: Option<Pair>| look(&mut last, &mut line, at, pair);
        looks(0.0, Some(pair(0.0, 0.0)));
        assert_eq!(looks(0.01 * SECOND, Some(pair(0.01 * SECOND, 0.0))), (true, 10 * FIRST_INTERVAL));
        assert_eq!(looks(2.0 * SECOND, None), (true, FIRST_INTERVAL));
        assert_eq!(looks(2.02 * SECOND, None), (false, INTERVAL));
    }

    /// A clock that is made of the TSC, so that the machine's speed changes nothing: 16 nanoseconds a
    /// tick.
    #[derive(Default)]
    struct Made {
        origin: u64,
        /// Nanoseconds that it is ahead of the TSC.
        ahead: Cell<u64>,
        /// Whether a reading takes longer than a pair may.
        is_slow: Cell<bool>,
        readings: Cell<u64>,
    }

    impl Made {
        fn now(&self) -> u64 {
            self.readings.set(self.readings.get() + 1);
            let start = hardware::ticks();
            while self.is_slow.get() && hardware::ticks() - start <= PAIR_TICKS {
                hint::spin_loop();
            }
            (hardware::ticks() - self.origin) * 16 + self.ahead.get()
        }

        /// Reads the time between two readings of the clock. It lies between them where the clock serves.
        fn assert_serves(&self, tsc: &Tsc) {
            self.assert_within(0, tsc);
        }

        fn assert_within(&self, tolerance: u64, tsc: &Tsc) {
            let before = self.now();
            let now = tsc.now(|| self.now());
            let after = self.now();
            assert!(before <= now + tolerance && now <= after + tolerance, "{before} {now} {after}");
        }

        /// A TSC with a line, where there is a TSC that can be read quickly.
        fn with_line() -> Option<(Self, Tsc)> {
            let made = Self { origin: hardware::ticks(), ..Self::default() };
            let tsc = (made.origin > 0).then(Tsc::without_line)?;
            while tsc.line().is_none() && made.readings.get() < 1_000_000 {
                tsc.now(|| made.now());
            }
            tsc.line().is_some().then_some((made, tsc))
        }
    }

    #[test]
    fn a_clock_that_has_become_slow_serves_after_some_looks_and_is_not_looked_at_often() {
        let Some((made, tsc)) = Made::with_line() else { return };
        made.is_slow.set(true);
        made.ahead.set(1_600_000);
        // A failed look reads the clock once for the time, and for each try of a pair.
        const A_LOOK: u64 = 1 + PAIR_TRIES as u64;
        let readings = made.readings.get();
        while made.readings.get() < readings + 3 * u64::from(FAILED_LOOKS) * A_LOOK {
            tsc.now(|| made.now());
        }
        assert_eq!(tsc.line(), None);
        let (start, readings) = (made.now(), made.readings.get());
        (0..1_000).for_each(|_| made.assert_serves(&tsc));
        let looks = 1 + (made.now() - start) / INTERVAL;
        assert!(made.readings.get() <= readings + 3 * 1_000 + 1 + looks * A_LOOK);

        made.is_slow.set(false);
        while tsc.line().is_none() {
            made.assert_within(SLACK, &tsc);
        }
        made.assert_within(SLACK, &tsc);
    }

    #[test]
    fn a_clock_that_has_become_slow_serves_at_once_behind_a_gap() {
        let Some((made, tsc)) = Made::with_line() else { return };
        let start = made.now();
        while made.now() < start + GAP {
            hint::spin_loop();
        }
        made.is_slow.set(true);
        made.ahead.set(1_600_000);
        made.assert_serves(&tsc);
        assert_eq!(tsc.line(), None);
        made.assert_serves(&tsc);
    }

    #[test]
    fn the_counter_agrees_with_the_clock() {
        let origin = Instant::now();
        let clock = || origin.elapsed().as_nanos() as u64;
        let Some(tsc) = Tsc::new() else { return };
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let mut now = 0;
                    // Past the third look, from which on looks are as far apart as in the end.
                    while now < 10 * FIRST_INTERVAL + INTERVAL + INTERVAL / 10 {
                        let before = clock();
                        now = tsc.now(clock);
                        let after = clock();
                        // Whatever happens to the thread in between only widens what lies between both.
                        let tolerance = SLACK + before / STRAY;
                        assert!(
                            before < now + tolerance && now < after + tolerance,
                            "{before} {now} {after}"
                        );
                    }
                });
            }
        });
    }
}
