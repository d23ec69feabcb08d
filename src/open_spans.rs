//! The open spans of one layer, by id.

use std::{
    cell::RefCell,
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
};

use dashmap::DashMap;
use tracing::span::Id;

use crate::{
    span::OpenSpan,
    spares::Spares,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
        thread_local,
    },
};

/// How many spans a thread remembers.
const RECENT: usize = 8;
/// How many slots stand in front of the map.
const SLOTS: usize = 1024;

/// The open spans. An id comes back after its span has closed, so a span leaves when it closes,
/// whatever else happens.
///
/// Three steps, each for fewer spans than the one before. A thread remembers the spans it saw last,
/// which takes no lock. Every id has a slot, with room for one span, that nobody else's span is in
/// the way of as long as few are open; an empty one says without a lock that a span is none of ours.
/// Whatever finds its slot taken goes to a map.
#[derive(Debug)]
pub(crate) struct OpenSpans {
    /// Which layer's memories are whose.
    layer: u64,
    slots: Box<[Slot]>,
    overflow: DashMap<u64, Arc<OpenSpan>, BuildHasherDefault<IdHasher>>,
}

#[derive(Debug, Default)]
struct Slot {
    /// How many spans have their place here, in the slot or in the map.
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

    /// Changes the number of spans. Under the slot's lock, so that a store does.
    fn count(&self, change: impl FnOnce(u32) -> u32) {
        self.spans.store(change(self.spans.load(Ordering::Relaxed)), Ordering::Relaxed);
    }
}

/// A span that a thread has seen. It may have closed since; then it says so itself.
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
            overflow: DashMap::default(),
        }
    }

    /// A blank span, kept from an earlier one if there is one.
    pub(crate) fn blank() -> Arc<OpenSpan> {
        Spares::take(&SPARES).unwrap_or_default()
    }

    /// Keeps a span that has closed, and has been wiped, for the next one.
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

    /// Runs `run` on the span, if it is one of ours.
    pub(crate) fn with<T>(&self, id: &Id, run: impl FnOnce(&Arc<OpenSpan>) -> T) -> Option<T> {
        let id = id.into_u64();
        let mut run = Some(run);
        let remembered = SEEN.try_with(|seen| {
            let seen = seen.try_borrow().ok()?;
            let seen = seen.get(self.place(id))?.as_ref()?;
            let is_it = seen.id == id && seen.layer == self.layer && seen.span.is_open();
            if is_it { run.take().map(|run| run(&seen.span)) } else { None }
        });
        if let Ok(Some(done)) = remembered {
            return Some(done);
        }
        let span = self.find(id)?;
        let done = run.take().map(|run| run(&span));
        self.remember(id, span);
        done
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

    fn slot_of(&self, id: u64) -> Option<&Slot> {
        self.slots.get(slot(id))
    }

    /// Where a thread remembers the span; not where another layer's is.
    fn place(&self, id: u64) -> usize {
        id.wrapping_add(self.layer) as usize % RECENT
    }

    fn remember(&self, id: u64, span: Arc<OpenSpan>) {
        let seen = Seen { layer: self.layer, id, span };
        let earlier =
            SEEN.try_with(|slots| Some(slots.try_borrow_mut().ok()?.get_mut(self.place(id))?.replace(seen)));
        // Dropped out here: it may be the last of its request.
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

impl Drop for OpenSpans {
    /// Unties spans that follow each other: neither a ring nor a long chain may outlive the layer,
    /// nor be dropped from one end, a stack frame a span.
    fn drop(&mut self) {
        let in_slots = self.slots.iter().filter_map(|slot| slot.lock().take()).map(|(_, span)| span);
        let in_map = self.overflow.iter().map(|span| Arc::clone(&span));
        let spans: Vec<_> = in_slots.chain(in_map).collect();
        for span in &spans {
            span.mark_closed();
            let follows = std::mem::take(&mut span.lock().follows);
            drop(follows);
        }
    }
}

/// The number of an id's slot. The registry gives a place of its own again and again to a thread's spans,
/// and counts in the upper bits of the id how often. Without these, an id that comes back finds a slot
/// that is warm, and that no other thread writes to: two threads that shared all slots lost a tenth.
fn slot(id: u64) -> usize {
    const PLACE: u64 = (1 << 51) - 1;
    hash(id & PLACE) as usize % SLOTS
}

/// A multiplication is hash enough for the registry's ids, which no client chooses.
fn hash(id: u64) -> u64 {
    let product = u128::from(id ^ 0x9e37_79b9_7f4a_7c15) * 0xa076_1d64_78bd_642f;
    // The map takes its shard from the upper bits and its bucket from the lower ones.
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
    use crate::{fields::Kind, span::Enclosing};

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
                                        span.lock().timing.enter(now);
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
