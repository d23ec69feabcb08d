//! The place of one open span.

use tracing::span::Id;

use crate::hold::{
    brief_lock::{self, BriefLock},
    span::OpenSpan,
    sync::atomic::{AtomicU64, Ordering},
    timing::Timing,
};

/// The id of an empty slot. The registry gives no span this id.
const NONE: u64 = 0;

/// A place for one open span after the other. The times are outside of the lock, since spans are entered and
/// left most often.
///
/// `tracing` requires that a span is open while a subscriber is called with its id. So the span of a slot
/// does not change between the comparison of its id and the change of its times.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    /// Changes only while the slot is locked.
    id: AtomicU64,
    pub(crate) timing: Timing,
    span: BriefLock<Option<Box<OpenSpan>>>,
}

/// A slot whose span is locked. The lock is held for a few instructions, never over user code or I/O.
pub(crate) type Locked<'a> = brief_lock::Locked<'a, Option<Box<OpenSpan>>>;

/// The outcome of a removal.
#[derive(Debug)]
pub(crate) enum Removal {
    Removed(Box<OpenSpan>),
    /// The span was not ready.
    Kept,
}

impl Slot {
    /// A slot with a span.
    pub(crate) fn of(id: u64, span: Box<OpenSpan>) -> Self {
        Self { id: AtomicU64::new(id), timing: Timing::default(), span: BriefLock::new(Some(span)) }
    }

    #[inline(always)]
    pub(crate) fn has(&self, id: u64) -> bool {
        self.id.load(Ordering::Acquire) == id
    }

    /// Puts a span into the slot, or gives it back if there is one.
    pub(crate) fn fill(&self, id: u64, span: Box<OpenSpan>) -> Result<(), Box<OpenSpan>> {
        let mut place = self.span.lock();
        if place.is_some() {
            return Err(span);
        }
        self.timing.reset();
        *place = Some(span);
        self.id.store(id, Ordering::Release);
        Ok(())
    }

    /// Locks the span, if it is the one with this id.
    #[inline(always)]
    pub(crate) fn lock(&self, id: u64) -> Option<Locked<'_>> {
        let place = self.span.lock();
        self.has(id).then_some(place)
    }

    /// Takes the span with this id out, if it is ready, and measures it.
    #[inline(always)]
    pub(crate) fn remove(
        &self,
        id: u64,
        clock: impl Fn() -> u64,
        is_ready: impl Fn(&mut OpenSpan) -> bool,
    ) -> Option<Removal> {
        let mut place = self.lock(id)?;
        if !place.as_deref_mut().is_some_and(is_ready) {
            return Some(Removal::Kept);
        }
        let mut span = place.take()?;
        span.measured = self.timing.close(span.created, clock);
        self.id.store(NONE, Ordering::Release);
        Some(Removal::Removed(span))
    }

    /// Runs `look` on the span that is there.
    pub(crate) fn look<T>(&self, look: impl FnOnce(Id, &mut OpenSpan) -> T) -> Option<T> {
        let mut place = self.span.lock();
        let id = Id::from_non_zero_u64(self.id.load(Ordering::Relaxed).try_into().ok()?);
        place.as_deref_mut().map(|span| look(id, span))
    }
}
