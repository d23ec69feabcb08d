//! Counters and histograms that every request writes and that are read rarely.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use crate::{Percentiles, fold::histograms::Histograms};

/// The number of stripes over which the counts are spread.
const STRIPES: usize = 8;

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
    /// Histograms of the requests that closed on threads of this stripe.
    histograms: Mutex<Histograms>,
}

impl Stripe {
    /// Runs `run` on the histograms. Only another thread of this stripe, or a snapshot, can make it wait.
    pub(crate) fn histograms<T>(&self, run: impl FnOnce(&mut Histograms) -> T) -> T {
        run(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Histograms> {
        self.histograms.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// The distributions over all stripes.
    pub(crate) fn percentiles(&self) -> Percentiles {
        let mut all = Histograms::default();
        for stripe in &self.stripes {
            all.merge(|run| stripe.histograms(|histograms| run(histograms)));
        }
        all.percentiles()
    }

    /// Empties all histograms, and returns the old ones. `with` is called while all stripes are locked, so at
    /// a moment at which no request is being counted; the locks are held only while the histograms are
    /// swapped.
    pub(crate) fn take<T>(&self, with: impl FnOnce() -> T) -> (T, Vec<Histograms>) {
        let mut locked: Vec<_> = self.stripes.iter().map(Stripe::lock).collect();
        let taken = with();
        let histograms = locked.iter_mut().map(|histograms| histograms.take()).collect();
        (taken, histograms)
    }

    pub(crate) fn sum(&self, count: impl Fn(&Stripe) -> &AtomicU64) -> u64 {
        self.stripes.iter().fold(0, |sum, stripe| sum.wrapping_add(count(stripe).load(Ordering::Relaxed)))
    }
}
