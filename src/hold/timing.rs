//! When a span was entered and left.
//!
//! Entering and leaving take one locked instruction each. With the times behind a mutex there were two each,
//! and the layer had more than twice the instructions for an enter and exit.

use crate::{
    fold::measured::Measured,
    hold::sync::atomic::{AtomicU64, Ordering},
};

/// The moment of the first enter before there was one.
const NEVER: u64 = u64::MAX;
/// One enter, in the word that counts them.
const ENTER: u64 = 1 << 32 | 1;

/// When a span was entered and left. Many threads may enter a span at once.
///
/// While the span is entered, only its first enter and its last exit write the other words. So each word is
/// written by one thread at a time, and `entered` orders the writes.
#[derive(Debug)]
pub(crate) struct Timing {
    /// How many times it is entered now, on all threads, in the lower half, and how many times it was entered
    /// ever in the upper half.
    entered: AtomicU64,
    /// [`NEVER`] before it was entered.
    first_enter: AtomicU64,
    /// How long it was entered, up to the last exit.
    busy: AtomicU64,
    /// When it would have been entered if it had been busy without a break since. `busy` later is the last
    /// exit, or the enter if it has not been left since.
    busy_since: AtomicU64,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            entered: AtomicU64::new(0),
            first_enter: AtomicU64::new(NEVER),
            busy: AtomicU64::new(0),
            busy_since: AtomicU64::new(0),
        }
    }
}

impl Timing {
    /// Begins anew, for the next span of a slot.
    pub(crate) fn reset(&self) {
        let Self { entered, first_enter, busy, busy_since } = self;
        first_enter.store(NEVER, Ordering::Relaxed);
        for word in [entered, busy, busy_since] {
            word.store(0, Ordering::Relaxed);
        }
    }

    #[inline]
    pub(crate) fn enter(&self, now: u64) {
        if depth(self.entered.fetch_add(ENTER, Ordering::AcqRel)) > 0 {
            return;
        }
        let (busy, latest) = self.busy_and_latest();
        // Another thread may have entered and left since the clock was read.
        let now = now.max(latest);
        if self.first_enter.load(Ordering::Relaxed) == NEVER {
            self.first_enter.store(now, Ordering::Relaxed);
        }
        // It was not busy for longer than the clock has run.
        self.busy_since.store(now.wrapping_sub(busy), Ordering::Relaxed);
    }

    /// How long it was busy, and the moment of the last exit or of the enter since.
    #[inline(always)]
    fn busy_and_latest(&self) -> (u64, u64) {
        let busy = self.busy.load(Ordering::Relaxed);
        (busy, self.busy_since.load(Ordering::Relaxed).wrapping_add(busy))
    }

    pub(crate) fn was_entered(&self) -> bool {
        self.first_enter.load(Ordering::Relaxed) != NEVER
    }

    /// Most spans are entered once at a time.
    #[inline(always)]
    pub(crate) fn exit(&self, clock: impl Fn() -> u64) {
        let entered = self.entered.load(Ordering::Acquire);
        if depth(entered) != 1 || self.leave(entered, &clock).is_err() {
            self.exit_among_others(&clock);
        }
    }

    #[cold]
    fn exit_among_others(&self, clock: &dyn Fn() -> u64) {
        let mut entered = self.entered.load(Ordering::Acquire);
        while depth(entered) > 0 {
            let left =
                if depth(entered) == 1 { self.leave(entered, clock) } else { self.count_exit(entered) };
            let Err(changed) = left else { return };
            entered = changed;
        }
    }

    /// The last exit so far. If another thread has entered meanwhile, the exit is not counted, and whoever
    /// is the last to leave notes a later one.
    #[inline(always)]
    fn leave(&self, entered: u64, clock: impl Fn() -> u64) -> Result<u64, u64> {
        self.note_exit(clock());
        self.count_exit(entered)
    }

    #[inline(always)]
    fn count_exit(&self, entered: u64) -> Result<u64, u64> {
        self.entered.compare_exchange(entered, entered - 1, Ordering::AcqRel, Ordering::Acquire)
    }

    #[inline(always)]
    fn note_exit(&self, now: u64) {
        let (busy, latest) = self.busy_and_latest();
        // If the clock has stepped back, nothing is taken away.
        self.busy.store(busy + now.saturating_sub(latest), Ordering::Relaxed);
    }

    /// The times of a closing span. A span that is still entered is exited at this moment. The clock is read
    /// only if it is needed.
    #[inline(always)]
    pub(crate) fn close(&self, created: u64, clock: impl Fn() -> u64) -> Measured {
        if depth(self.entered.load(Ordering::Acquire)) > 0 {
            self.note_exit(clock());
        }
        let (busy, latest) = self.busy_and_latest();
        let first = self.first_enter.load(Ordering::Relaxed);
        let activity = (first != NEVER).then_some((first, latest));
        let end = activity.map_or_else(clock, |(_, last)| last);
        Measured { created, end, activity, busy }
    }
}

/// How many times a span is entered.
fn depth(entered: u64) -> u64 {
    entered & u64::from(u32::MAX)
}

#[cfg(test)]
#[cfg(not(omni_shuttle))]
mod tests {
    use super::*;

    fn exit(timing: &Timing, now: u64) {
        timing.exit(|| now);
    }

    #[test]
    fn nested_and_concurrent_enters_count_once() {
        let timing = Timing::default();
        timing.enter(10);
        timing.enter(20);
        exit(&timing, 30);
        exit(&timing, 40);
        timing.enter(70);
        exit(&timing, 75);
        let measured = timing.close(0, || 100);
        assert_eq!((measured.start(), measured.end, measured.busy), (10, 75, 35));
    }

    #[test]
    fn an_exit_without_an_enter_is_passed_over() {
        let timing = Timing::default();
        exit(&timing, 5);
        timing.enter(10);
        exit(&timing, 20);
        exit(&timing, 30);
        let measured = timing.close(0, || 100);
        assert_eq!((measured.span_time(), measured.busy), (10, 10));
    }

    #[test]
    fn a_span_that_closes_while_entered_is_left_then() {
        let timing = Timing::default();
        timing.enter(10);
        timing.enter(20);
        let measured = timing.close(0, || 100);
        assert_eq!((measured.span_time(), measured.busy), (90, 90));
    }

    #[test]
    fn a_span_that_was_never_entered_counts_from_creation_to_close() {
        let measured = Timing::default().close(3, || 10);
        assert_eq!((measured.span_time(), measured.busy, measured.activity), (7, 0, None));
    }

    #[test]
    fn a_clock_that_steps_back_takes_nothing_away() {
        let timing = Timing::default();
        timing.enter(10);
        exit(&timing, 20);
        timing.enter(19);
        exit(&timing, 18);
        let measured = timing.close(0, || 100);
        assert_eq!((measured.span_time(), measured.end, measured.busy), (10, 20, 10));
    }
}

#[cfg(test)]
#[cfg(omni_shuttle)]
mod interleaving {
    use std::sync::Arc;

    use shuttle::{check_random, thread};

    use super::*;

    /// A clock that ticks whenever it is read.
    fn tick(clock: &AtomicU64) -> u64 {
        clock.fetch_add(1, Ordering::SeqCst)
    }

    /// How many ticks the intervals cover.
    fn union(mut intervals: Vec<(u64, u64)>) -> u64 {
        intervals.sort_unstable();
        let (mut covered, mut until) = (0, 0);
        for (start, end) in intervals {
            covered += end.max(until) - start.max(until);
            until = until.max(end);
        }
        covered
    }

    #[test]
    fn threads_that_enter_one_span_measure_their_union() {
        check_random(
            || {
                let (timing, clock) = (Arc::new(Timing::default()), Arc::new(AtomicU64::new(0)));
                let threads: Vec<_> = (0..3)
                    .map(|_| {
                        let (timing, clock) = (Arc::clone(&timing), Arc::clone(&clock));
                        let visit = move || {
                            let before = tick(&clock);
                            timing.enter(tick(&clock));
                            let entered = tick(&clock);
                            let leaves = tick(&clock);
                            timing.exit(|| tick(&clock));
                            ((before, tick(&clock)), (entered, leaves))
                        };
                        thread::spawn(move || [visit(), visit()])
                    })
                    .collect();
                let visits = threads.into_iter().flat_map(|thread| thread.join().unwrap());
                let (outside, inside): (Vec<_>, Vec<_>) = visits.unzip();
                let first = |list: &[(u64, u64)]| list.iter().map(|visit| visit.0).min().unwrap();
                let last = |list: &[(u64, u64)]| list.iter().map(|visit| visit.1).max().unwrap();
                let measured = timing.close(0, || tick(&clock));
                let (enter, exit) = measured.activity.unwrap();
                assert!(first(&outside) <= enter && enter <= first(&inside), "{measured:?} {outside:?}");
                assert!(last(&inside) <= exit && exit <= last(&outside), "{measured:?} {outside:?}");
                let busy = measured.busy;
                assert!(
                    union(inside.clone()) <= busy && busy <= union(outside.clone()),
                    "{busy} {outside:?} {inside:?}"
                );
            },
            20_000,
        );
    }
}
