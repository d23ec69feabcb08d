//! One monotonic clock for every measurement, one wall-clock anchor for every timestamp.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::{Timestamp, hold::tsc::Tsc};

/// The clock that a layer reads: [`Clock::system`], unless
/// [`with_clock`](crate::OmniMetricsLayer::with_clock) sets another one.
///
/// The wall clock is read once, at the clock's origin. Every timestamp is that reading plus monotonic time,
/// so timestamps do not change when the system's wall clock is set.
///
/// # Source of the system's clock
///
/// On Linux on x86-64, if the kernel keeps time by the processor's time stamp counter, this clock reads it
/// too, from about 10 ms after its origin. Once a second, while it is in use, it is corrected by the
/// monotonic clock, which is that of [`Instant`](std::time::Instant).
/// The two differ by less than 10 µs, and by less than a ten-thousandth of a span's time. If the system's
/// clock changes its rate by more than that, this clock follows within a second.
///
/// If the kernel switches to a slower time source, this clock switches to that one: about 30 ms after the
/// next correction was due, or at once if the clock was not read for two seconds. At that moment the time may
/// step, forwards or backwards, by the difference between the two, which is less than 10 µs unless the
/// tsc has failed.
///
/// On every other system, this clock is [`Instant`](std::time::Instant).
#[derive(Debug, Clone)]
pub struct Clock {
    source: Source,
    /// Wall clock at the origin, in nanoseconds since the Unix epoch.
    unix_origin: u64,
}

#[derive(Debug, Clone)]
enum Source {
    System(&'static System),
    Mock(Arc<AtomicU64>),
}

/// The operating system's monotonic clock, or the processor's time stamp counter, in step with it.
#[derive(Debug)]
struct System {
    origin: Origin,
    unix_origin: u64,
    tsc: Option<Tsc>,
}

impl System {
    #[inline]
    fn now(&self) -> u64 {
        let clock = || self.origin.elapsed();
        match &self.tsc {
            Some(tsc) => tsc.now(clock),
            None => clock(),
        }
    }
}

/// The moment from which the system's clock counts.
#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
#[derive(Debug)]
struct Origin(std::time::Instant);

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
impl Origin {
    fn now() -> Self {
        Self(std::time::Instant::now())
    }

    fn elapsed(&self) -> u64 {
        nanos(self.0.elapsed())
    }
}

/// The moment from which the system's clock counts. It is the clock of `Instant`, whose arithmetic would
/// double the instructions of a reading.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[derive(Debug)]
struct Origin(u64);

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
impl Origin {
    fn now() -> Self {
        Self(Self(0).elapsed())
    }

    #[allow(unsafe_code, reason = "the reading has no safe name except in `Instant`")]
    fn elapsed(&self) -> u64 {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` may be written while the call lasts. The clock exists on every Linux, so the call
        // cannot fail.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
        // Both parts are positive: this clock counts from the start of the system.
        let now = time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned();
        now.saturating_sub(self.0)
    }
}

impl Clock {
    /// The operating system's monotonic clock. Its origin is the first call in the process.
    pub fn system() -> Self {
        static SYSTEM: OnceLock<System> = OnceLock::new();
        let system = SYSTEM.get_or_init(|| {
            let tsc = Tsc::new();
            let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            System { origin: Origin::now(), unix_origin: nanos(unix), tsc }
        });
        Self { source: Source::System(system), unix_origin: system.unix_origin }
    }

    /// A clock that stands still until [`MockClock::advance`] is called, for exact numbers in tests without a
    /// sleep. Its origin is 2026-01-31T12:00:00Z.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use omni_metrics::{Clock, OmniMetricsLayer};
    /// use tracing_subscriber::prelude::*;
    ///
    /// let (clock, time) = Clock::mock();
    /// let layer = OmniMetricsLayer::new().with_writer(std::io::sink).with_clock(clock);
    /// let handle = layer.handle();
    /// let subscriber = tracing_subscriber::registry().with(layer);
    /// tracing::subscriber::with_default(subscriber, || {
    ///     let _request = tracing::info_span!("request").entered();
    ///     time.advance(Duration::from_millis(250));
    /// });
    /// assert_eq!(handle.snapshot().overall_summary.e2e_wall_time_ms.as_f64(), 250.0);
    /// ```
    pub fn mock() -> (Self, MockClock) {
        const UNIX_ORIGIN: u64 = 1_769_860_800_000_000_000;
        let now = Arc::new(AtomicU64::new(0));
        let clock = Self { source: Source::Mock(Arc::clone(&now)), unix_origin: UNIX_ORIGIN };
        (clock, MockClock { now })
    }

    /// Nanoseconds since the origin.
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        match &self.source {
            Source::System(system) => system.now(),
            Source::Mock(now) => now.load(Ordering::Acquire),
        }
    }

    /// The wall clock at moment `at`.
    pub(crate) fn timestamp(&self, at: u64) -> Timestamp {
        Timestamp::from_unix_micros(self.unix_origin.saturating_add(at) / 1_000)
    }

    /// Converts a wall-clock reading, in nanoseconds since the Unix epoch, into a moment of this clock;
    /// negative before the origin.
    pub(crate) fn moment_of_unix(&self, unix: u64) -> i64 {
        let moment = i128::from(unix) - i128::from(self.unix_origin);
        i64::try_from(moment).unwrap_or(i64::MAX)
    }
}

fn nanos(duration: Duration) -> u64 {
    // The product can hold 584 years.
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(duration.subsec_nanos()))
}

/// Moves the time of the [`Clock`] that [`Clock::mock`] made together with it.
#[derive(Debug, Clone)]
pub struct MockClock {
    now: Arc<AtomicU64>,
}

impl MockClock {
    /// Moves the clock forward by `duration`; see the example of [`Clock::mock`].
    pub fn advance(&self, duration: Duration) {
        let later = |now: u64| Some(now.saturating_add(nanos(duration)));
        let _ = self.now.fetch_update(Ordering::AcqRel, Ordering::Acquire, later);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_has_one_origin_a_process() {
        let (first, second) = (Clock::system(), Clock::system());
        assert_eq!(first.unix_origin, second.unix_origin);
        let (earlier, later) = (first.now(), second.now());
        assert!(earlier <= later);
    }
}
