//! What is read seldom and written by every request.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use crate::percentiles::{Histograms, Percentiles};

/// Over how many places a count is spread.
const STRIPES: usize = 8;

/// Each stripe serves a few threads, so that they do not wait for each other's writes: two that serve
/// requests at once would lose a tenth of their time to shared counters.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    stripes: [Stripe; STRIPES],
}

/// Alone in its pair of cache lines, which is what processors hand over.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Stripe {
    /// A request may be opened on one stripe and closed on another: a single one may be below zero, as a
    /// number that has wrapped around, and only the sum says something.
    pub(crate) open_requests: AtomicU64,
    pub(crate) lines_written: AtomicU64,
    pub(crate) lines_lost: AtomicU64,
    pub(crate) warnings: AtomicU64,
    /// Of the requests that closed on one of the stripe's threads.
    histograms: Mutex<Histograms>,
}

impl Stripe {
    /// Runs `run` on the histograms, which only another thread of this stripe can delay.
    pub(crate) fn histograms<T>(&self, run: impl FnOnce(&mut Histograms) -> T) -> T {
        run(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Histograms> {
        self.histograms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// This thread's.
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

    /// Begins the distributions anew, and calls `with` at a moment at which no request is being counted.
    /// Returns the histograms of all stripes until then, which are locked for as long as it takes to swap
    /// them.
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
