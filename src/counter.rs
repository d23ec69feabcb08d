//! The processor's own counter as a clock: a reading costs a third of the operating system's, of which
//! a span takes three to five.
//!
//! How long a tick is has to be measured, and shifts as the system's clock is disciplined. So the
//! counter follows that clock on a chain of straight lines, each begun where the one before has led to
//! and inclined to where the clock is. It serves from the second look at the clock on, and only where the
//! kernel itself keeps time by it.

use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering, fence},
};

/// When the clock is looked at for the second time, in nanoseconds after the first. A pair is good to
/// some 50 ns, so that a tick is then known to 5 millionths; each further look is ten times as far away,
/// up to [`INTERVAL`].
const FIRST_INTERVAL: u64 = 10_000_000;
/// How far looks at the clock are apart in the end, in nanoseconds.
const INTERVAL: u64 = 1_000_000_000;
/// How many ticks the reading of a pair may take: what was interrupted says nothing.
const PAIR_TICKS: u64 = 400;
/// How many times a pair is tried.
const PAIR_TRIES: usize = 4;
/// A counter that strays further than one part in so many of the time, and [`SLACK`], is given up.
const STRAY: u64 = 10_000;
/// In nanoseconds.
const SLACK: u64 = 10_000;

/// The counter, in step with a clock.
#[derive(Debug)]
pub(crate) struct Counter {
    /// Odd while there is no line, or another one on its way.
    version: AtomicU64,
    ticks: AtomicU64,
    nanos: AtomicU64,
    rate: AtomicU64,
    /// When to look at the clock again.
    next_look: AtomicU64,
    last_look: Mutex<Option<Pair>>,
}

/// One moment on both clocks.
#[derive(Debug, Clone, Copy)]
struct Pair {
    ticks: u64,
    nanos: u64,
}

/// From ticks to nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Line {
    ticks: u64,
    nanos: u64,
    /// Nanoseconds a tick, times 2^32.
    rate: u64,
}

impl Counter {
    pub(crate) const fn new() -> Self {
        Self {
            version: AtomicU64::new(1),
            ticks: AtomicU64::new(0),
            nanos: AtomicU64::new(0),
            rate: AtomicU64::new(0),
            next_look: AtomicU64::new(0),
            last_look: Mutex::new(None),
        }
    }

    /// Nanoseconds of `clock`, which is looked at now and then. Never waits.
    #[inline]
    pub(crate) fn now(&self, clock: impl Fn() -> u64) -> u64 {
        let now = match self.line() {
            Some(line) => line.at(hardware::ticks()),
            None => clock(),
        };
        if now >= self.next_look.load(Ordering::Relaxed) {
            self.look(&clock);
        }
        now
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

    #[cold]
    fn look(&self, clock: impl Fn() -> u64) {
        let Ok(mut last_look) = self.last_look.try_lock() else { return };
        let Some(pair) = Pair::read(&clock) else {
            self.next_look.store(clock().saturating_add(FIRST_INTERVAL), Ordering::Relaxed);
            return;
        };
        let (line, interval) = match last_look.replace(pair) {
            None => (None, FIRST_INTERVAL),
            Some(before) => {
                let line = self.line();
                let is_trusted = line.is_some() || hardware::keeps_time();
                match Line::next(line, before, pair).filter(|_| is_trusted) {
                    Some(line) => {
                        let elapsed = pair.nanos.saturating_sub(before.nanos);
                        (Some(line), elapsed.saturating_mul(10).min(INTERVAL))
                    }
                    // It is of no use, or has strayed: the clock itself serves from here on.
                    None => (None, u64::MAX),
                }
            }
        };
        self.set(line);
        self.next_look.store(pair.nanos.saturating_add(interval), Ordering::Relaxed);
    }

    /// Under the lock of `last_look`.
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

impl Pair {
    /// A moment on both clocks, if it could be read without an interruption.
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
    #[inline]
    fn at(&self, ticks: u64) -> u64 {
        let since = u128::from(ticks.saturating_sub(self.ticks)) * u128::from(self.rate);
        self.nanos.saturating_add((since >> 32) as u64)
    }

    /// The line from moment `now` on: it begins where `line` has led to, and meets the clock after as
    /// long as has passed since `before`. `None` if `line` has led astray.
    fn next(line: Option<Self>, before: Pair, now: Pair) -> Option<Self> {
        let ticks = now.ticks.checked_sub(before.ticks).filter(|ticks| *ticks > 0)?;
        let elapsed = now.nanos.checked_sub(before.nanos).filter(|elapsed| *elapsed > 0)?;
        let nanos = line.map_or(now.nanos, |line| line.at(now.ticks));
        if nanos.abs_diff(now.nanos) > SLACK + elapsed / STRAY {
            return None;
        }
        // As far as the clock went, and what the line lacks.
        let ahead = (elapsed + now.nanos).checked_sub(nanos)?;
        let rate = u64::try_from((u128::from(ahead) << 32) / u128::from(ticks)).ok()?;
        Some(Self { ticks: now.ticks, nanos, rate })
    }
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod hardware {
    /// Whether the kernel keeps time by the counter: it then runs at one rate, in step on all cores.
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
    use std::{thread, time::Instant};

    use super::*;

    /// A counter of 2.5 GHz against a clock that runs so many millionths fast.
    fn pair(at: f64, fast: f64) -> Pair {
        Pair { ticks: (at * 2.5) as u64 + 7, nanos: (at * (1.0 + fast / 1e6)) as u64 + 1_000 }
    }

    #[test]
    fn the_lines_follow_a_clock_without_a_step() {
        let second = 1e9;
        let mut line = Line::next(None, pair(0.0, 20.0), pair(second, 20.0)).unwrap();
        for n in 1..100_u32 {
            // Its rate wanders a little, as that of a disciplined clock.
            let fast = |n: u32| 20.0 + 0.01 * f64::from(n);
            let (before, now) =
                (pair(f64::from(n) * second, fast(n)), pair(f64::from(n + 1) * second, fast(n + 1)));
            let next = Line::next(Some(line), before, now).unwrap();
            assert!(next.at(now.ticks).abs_diff(line.at(now.ticks)) == 0);
            assert!(line.at(now.ticks).abs_diff(now.nanos) < 3_000, "{n}: {line:?} {now:?}");
            line = next;
        }
    }

    #[test]
    fn a_counter_that_jumps_or_stands_still_is_given_up() {
        let second = 1e9;
        let line = Line::next(None, pair(0.0, 0.0), pair(second, 0.0)).unwrap();
        let still = Pair { ticks: pair(second, 0.0).ticks, nanos: 2_000_000_000 };
        assert_eq!(Line::next(Some(line), pair(second, 0.0), still), None);
        let ahead = Pair { ticks: pair(9.0 * second, 0.0).ticks, nanos: 2_000_000_000 };
        assert_eq!(Line::next(Some(line), pair(second, 0.0), ahead), None);
        let back = Pair { ticks: 3, nanos: 2_000_000_000 };
        assert_eq!(Line::next(Some(line), pair(second, 0.0), back), None);
    }

    #[test]
    fn the_counter_agrees_with_the_clock() {
        let origin = Instant::now();
        let clock = || origin.elapsed().as_nanos() as u64;
        let counter = Counter::new();
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let mut last = 0;
                    while last < 1_500_000_000 {
                        let before = clock();
                        let now = counter.now(clock);
                        let after = clock();
                        let tolerance = SLACK + before / STRAY;
                        assert!(
                            before < now + tolerance && now < after + tolerance,
                            "{before} {now} {after}"
                        );
                        assert!(last < now + 1_000, "{last} {now}");
                        last = now;
                    }
                });
            }
        });
        assert_eq!(counter.line().is_some(), hardware::keeps_time());
    }
}
