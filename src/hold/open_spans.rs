//! The open spans of one layer, by id.
//!
//! The registry's extensions would be the usual place. An enter and exit took 60 ns more than with a no-op
//! layer when the times were kept there, and 13 ns more with these slots: extensions are behind a lock that
//! all layers share, found by the type of their value, and looked up through the filter.

use std::{
    cell::RefCell,
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
};

use dashmap::DashMap;
use tracing::span::Id;

use crate::hold::{
    span::OpenSpan,
    spares::Spares,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
        thread_local,
    },
};

/// How many spans the cache of each thread holds.
const RECENT: usize = 8;
/// How many slots there are before the map is used.
const SLOTS: usize = 1024;
/// The number of shards of the map. [`OpenSpans::all`] locks one at a time, for which a new span may have to
/// wait.
const SHARDS: usize = 256;

/// The open spans. The registry reuses an id after its span has closed, so a span is always removed when it
/// closes.
///
/// A look-up has three levels. (1) Each thread caches the spans that it saw last, and reads the cache without
/// a lock. (2) Each id has one slot; collisions are rare while few spans are open. An empty slot shows,
/// without a lock, that a span is not one of this layer's. (3) A span whose slot is taken is stored in a map.
#[derive(Debug)]
pub(crate) struct OpenSpans {
    /// Identifies the layer in the thread-local caches, which all layers share.
    layer: u64,
    slots: Box<[Slot]>,
    overflow: DashMap<u64, Arc<OpenSpan>, BuildHasherDefault<IdHasher>>,
}

#[derive(Debug, Default)]
struct Slot {
    /// How many open spans have an id of this slot, whether they are stored in the slot or in the map.
    spans: AtomicU32,
    first: Mutex<Option<(u64, Arc<OpenSpan>)>>,
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Option<(u64, Arc<OpenSpan>)>> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, id: u64) -> Option<Arc<OpenSpan>> {
        let (_, span) = self.lock().take_if(|(first, _)| {
            let is_it = *first == id;
            if is_it {
                self.count(|spans| spans - 1);
            }
            is_it
        })?;
        Some(span)
    }

    /// Empties the slot.
    fn take_first(&self) -> Option<Arc<OpenSpan>> {
        let mut first = self.lock();
        self.count(|_| 0);
        Some(first.take()?.1)
    }

    /// Changes the number of spans. Called with the slot locked, so no atomic update is needed.
    fn count(&self, change: impl FnOnce(u32) -> u32) {
        self.spans.store(change(self.spans.load(Ordering::Relaxed)), Ordering::Relaxed);
    }
}

/// An entry of a thread's cache. The span may have closed since; `OpenSpan::is_open` tells.
struct Seen {
    layer: u64,
    id: u64,
    span: Arc<OpenSpan>,
}

thread_local! {
    static SPARES: Spares<OpenSpan> = const { Spares::new() };
    static SEEN: RefCell<[Option<Seen>; RECENT]> = const { RefCell::new([const { None }; RECENT]) };
}

impl OpenSpans {
    pub(crate) fn new() -> Self {
        static LAYERS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        Self {
            layer: LAYERS.fetch_add(1, Ordering::Relaxed),
            slots: (0..SLOTS).map(|_| Slot::default()).collect(),
            overflow: DashMap::with_hasher_and_shard_amount(BuildHasherDefault::default(), SHARDS),
        }
    }

    /// A blank span: one that the thread kept for reuse, or a new one.
    pub(crate) fn blank() -> Arc<OpenSpan> {
        Spares::take(&SPARES).unwrap_or_default()
    }

    /// Keeps a closed and wiped span for reuse.
    pub(crate) fn keep(blank: Arc<OpenSpan>) {
        Spares::keep(&SPARES, blank);
    }

    pub(crate) fn insert(&self, id: &Id, span: Arc<OpenSpan>) {
        let id = id.into_u64();
        let Some(slot) = self.slot_of(id) else { return };
        self.remember(id, Arc::clone(&span));
        let mut first = slot.lock();
        slot.count(|spans| spans + 1);
        if first.is_none() {
            *first = Some((id, span));
        } else {
            drop(first);
            self.overflow.insert(id, span);
        }
    }

    pub(crate) fn get(&self, id: &Id) -> Option<Arc<OpenSpan>> {
        self.with(id, Arc::clone)
    }

    /// Runs `run` on the span, if it is one of this layer's.
    #[inline(always)]
    pub(crate) fn with<T>(&self, id: &Id, run: impl Fn(&Arc<OpenSpan>) -> T) -> Option<T> {
        let id = id.into_u64();
        let remembered = SEEN.try_with(|seen| {
            let seen = seen.try_borrow().ok()?;
            let seen = seen.get(self.place(id))?.as_ref()?;
            let is_it = seen.id == id && seen.layer == self.layer && seen.span.is_open();
            is_it.then(|| run(&seen.span))
        });
        match remembered {
            Ok(Some(done)) => Some(done),
            _ => self.find_and_remember(id).map(|span| run(&span)),
        }
    }

    // Not inlined, so that the fast path saves no registers for it.
    #[inline(never)]
    fn find_and_remember(&self, id: u64) -> Option<Arc<OpenSpan>> {
        let span = self.find(id)?;
        self.remember(id, Arc::clone(&span));
        Some(span)
    }

    fn find(&self, id: u64) -> Option<Arc<OpenSpan>> {
        let slot = self.slot_of(id)?;
        if slot.spans.load(Ordering::Relaxed) == 0 {
            return None;
        }
        if let Some((first, span)) = &*slot.lock()
            && *first == id
        {
            return Some(Arc::clone(span));
        }
        self.overflow.get(&id).map(|span| Arc::clone(&span))
    }

    pub(crate) fn remove(&self, id: &Id) -> Option<Arc<OpenSpan>> {
        let id = id.into_u64();
        let slot = self.slot_of(id)?;
        if slot.spans.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let span = slot.take(id).or_else(|| {
            let (_, span) = self.overflow.remove(&id)?;
            let _first = slot.lock();
            slot.count(|spans| spans - 1);
            Some(span)
        })?;
        span.mark_closed();
        self.forget(id);
        Some(span)
    }

    /// The open spans at one moment, or nearly: each slot is locked for itself.
    pub(crate) fn all(&self) -> Vec<Arc<OpenSpan>> {
        let in_slots = self.slots.iter().filter_map(|slot| Some(Arc::clone(&slot.lock().as_ref()?.1)));
        in_slots.chain(self.overflow.iter().map(|span| Arc::clone(&span))).collect()
    }

    /// Removes all spans, and clears what they follow. Otherwise a ring of spans would never be freed, and a
    /// long chain would be dropped recursively, with one stack frame for each span.
    pub(crate) fn clear(&self) {
        let in_slots = self.slots.iter().filter_map(|slot| slot.take_first());
        let mut in_map = Vec::new();
        self.overflow.retain(|_, span| {
            in_map.push(Arc::clone(span));
            false
        });
        let spans: Vec<_> = in_slots.chain(in_map).collect();
        for span in &spans {
            span.mark_closed();
            let follows = std::mem::take(&mut span.lock().follows);
            drop(follows);
        }
    }

    fn slot_of(&self, id: u64) -> Option<&Slot> {
        self.slots.get(slot(id))
    }

    /// The place of a span in a thread's cache. It depends on the layer, so that two layers do not evict each
    /// other's entry of the same span.
    fn place(&self, id: u64) -> usize {
        id.wrapping_add(self.layer) as usize % RECENT
    }

    fn remember(&self, id: u64, span: Arc<OpenSpan>) {
        let seen = Seen { layer: self.layer, id, span };
        let earlier =
            SEEN.try_with(|slots| Some(slots.try_borrow_mut().ok()?.get_mut(self.place(id))?.replace(seen)));
        // Dropped outside of the borrow: it may be the last reference to its request.
        drop(earlier);
    }

    fn forget(&self, id: u64) {
        let seen = SEEN.try_with(|slots| {
            let mut slots = slots.try_borrow_mut().ok()?;
            let seen = slots.get_mut(self.place(id))?;
            seen.take_if(|seen| seen.id == id && seen.layer == self.layer)
        });
        drop(seen);
    }
}

/// The number of an id's slot. The registry gives a thread the same few ids again and again, and counts the
/// reuses in the upper bits. The slot depends on the lower bits only, so a reused id finds a slot that is in
/// the thread's CPU cache and that no other thread writes to. Two threads that shared all slots lost a tenth
/// of their throughput.
fn slot(id: u64) -> usize {
    const PLACE: u64 = (1 << 51) - 1;
    hash(id & PLACE) as usize % SLOTS
}

/// One multiplication is a sufficient hash: the ids come from the registry, and no client chooses them.
fn hash(id: u64) -> u64 {
    let product = u128::from(id ^ 0x9e37_79b9_7f4a_7c15) * 0xa076_1d64_78bd_642f;
    // The map takes its shard from the upper bits and its bucket from the lower bits.
    (product >> 64) as u64 ^ product as u64
}

#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write_u64(&mut self, id: u64) {
        self.0 = hash(id);
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0 ^ u64::from(*byte));
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
#[cfg(omni_shuttle)]
mod interleaving {
    use shuttle::{check_random, sync::mpsc, thread};

    use super::*;
    use crate::{hold::span::Enclosing, model::kind::Kind};

    /// How many interleavings are tried.
    const TRIES: usize = 20_000;

    fn new_span(created: u64) -> Arc<OpenSpan> {
        let mut span = OpenSpans::blank();
        Arc::get_mut(&mut span).unwrap().begin(Kind::Stage, None, created, Enclosing::default());
        span
    }

    /// Two ids that share a slot, and one that does not.
    fn ids() -> [Id; 3] {
        let second = (2..).find(|id| slot(*id) == slot(1)).unwrap();
        [1, second, 2].map(Id::from_u64)
    }

    #[test]
    fn an_id_leads_to_the_open_span_that_has_it_and_to_no_other() {
        check_random(
            || {
                let spans = Arc::new(OpenSpans::new());
                let owners = ids().map(|id| {
                    let spans = Arc::clone(&spans);
                    thread::spawn(move || {
                        // Another thread enters each of the spans that have the id one after the other,
                        // and remembers the one before.
                        let (ask, asked) = mpsc::channel::<u64>();
                        let (answer, answered) = mpsc::channel();
                        let reader = {
                            let (spans, id) = (Arc::clone(&spans), id.clone());
                            thread::spawn(move || {
                                for now in asked {
                                    let enter = |span: &Arc<OpenSpan>| {
                                        span.timing.enter(now);
                                        span.created
                                    };
                                    answer.send(spans.with(&id, enter)).unwrap();
                                }
                            })
                        };
                        for created in 1..=3 {
                            spans.insert(&id, new_span(created));
                            ask.send(created).unwrap();
                            assert_eq!(spans.with(&id, |span| span.created), Some(created));
                            assert_eq!(answered.recv().unwrap(), Some(created));
                            let mut removed = spans.remove(&id).unwrap();
                            assert_eq!(removed.created, created);
                            if let Some(only) = Arc::get_mut(&mut removed) {
                                only.wipe();
                                OpenSpans::keep(removed);
                            }
                            assert!(spans.with(&id, |span| span.created).is_none());
                        }
                        drop(ask);
                        reader.join().unwrap();
                    })
                });
                owners.into_iter().for_each(|owner| owner.join().unwrap());
            },
            TRIES,
        );
    }
}
