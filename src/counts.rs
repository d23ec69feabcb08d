//! Counts that are read seldom and written by every request.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Over how many places a count is spread.
const STRIPES: usize = 16;

/// One place a few threads, so that they do not wait for each other's writes: two that serve requests at
/// once would lose a tenth of their time to shared counters.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    stripes: [Stripe; STRIPES],
}

/// Alone in its pair of cache lines, which is what processors hand over.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Stripe {
    /// A request may be opened on one stripe and closed on another, so this one wraps around.
    pub(crate) open_requests: AtomicU64,
    pub(crate) lines_written: AtomicU64,
    pub(crate) lines_lost: AtomicU64,
    pub(crate) warnings: AtomicU64,
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

    pub(crate) fn sum(&self, count: impl Fn(&Stripe) -> &AtomicU64) -> u64 {
        self.stripes.iter().fold(0, |sum, stripe| sum.wrapping_add(count(stripe).load(Ordering::Relaxed)))
    }
}
