//! Counts that every request writes and that are read rarely.

use std::{
    mem,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

use crate::{fold::period::Period, hold::brief_lock::BriefLock};

/// The number of stripes over which the counts are spread.
const STRIPES: usize = 8;

/// A period for each stripe.
pub(crate) type Emptied = [Period; STRIPES];

/// Each stripe serves a few threads, so that threads seldom write to the same cache line. Two threads that
/// serve requests at once would lose a tenth of their throughput to shared counters.
#[derive(Debug, Default)]
pub(crate) struct Stripes {
    stripes: [Stripe; STRIPES],
}

/// Aligned to two cache lines, the unit that processors prefetch, so that stripes do not share one.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Stripe {
    /// A request may be opened on one stripe and closed on another. So the count of one stripe may be
    /// negative, as a wrapped number; only the sum is meaningful.
    pub(crate) open_requests: AtomicU64,
    pub(crate) lines_written: AtomicU64,
    pub(crate) lines_lost: AtomicU64,
    pub(crate) lines_left_out: AtomicU64,
    pub(crate) warnings: AtomicU64,
    /// The requests that closed on threads of this stripe since the stripes were emptied.
    period: BriefLock<Period>,
}

impl Stripe {
    /// Counts a request or a row. Only another thread of this stripe, or a reader of all stripes, can make it
    /// wait.
    pub(crate) fn count<T>(&self, count: impl FnOnce(&mut Period) -> T) -> T {
        count(&mut self.period.lock())
    }
}

impl Stripes {
    /// The stripe of the current thread.
    pub(crate) fn stripe(&self) -> &Stripe {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static STRIPE: usize = THREADS.fetch_add(1, Ordering::Relaxed) % STRIPES;
        }
        let at = STRIPE.try_with(|at| *at).unwrap_or(0);
        let [first, ..] = &self.stripes;
        self.stripes.get(at).unwrap_or(first)
    }

    pub(crate) fn count_line(&self, is_written: bool) {
        let stripe = self.stripe();
        let lines = if is_written { &stripe.lines_written } else { &stripe.lines_lost };
        lines.fetch_add(1, Ordering::Relaxed);
    }

    /// Exchanges the period of each stripe for an empty one. `with` is called while all stripes are locked,
    /// when no request is being counted; the locks are held only for that and the exchange.
    pub(crate) fn exchange<T>(&self, empty: &mut Emptied, with: impl FnOnce() -> T) -> T {
        let mut locked = self.stripes.each_ref().map(|stripe| stripe.period.lock());
        let outcome = with();
        for (period, empty) in locked.iter_mut().zip(empty) {
            mem::swap(&mut **period, empty);
        }
        outcome
    }

    pub(crate) fn sum(&self, count: impl Fn(&Stripe) -> &AtomicU64) -> u64 {
        self.stripes.iter().fold(0, |sum, stripe| sum.wrapping_add(count(stripe).load(Ordering::Relaxed)))
    }
}
