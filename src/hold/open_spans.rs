//! The open spans of one layer, by id.
//!
//! The registry's extensions would be the usual place. An enter and exit took 60 ns more than with a no-op
//! layer when the times were kept there, and 13 ns more with these slots: extensions are behind a lock that
//! all layers share, found by the type of their value, and looked up through the filter.

use std::sync::Arc;

use dashmap::DashMap;
use tracing::span::Id;

use crate::hold::{
    slot::{Removal, Slot},
    span::OpenSpan,
    spares::Spares,
    sync::{
        atomic::{AtomicU32, Ordering},
        thread_local,
    },
};

/// How many places there are before the map is used: few where interleavings are tried, which make them anew.
const PLACES: usize = if cfg!(omni_shuttle) { 16 } else { 4096 };
/// The number of shards of the map. [`OpenSpans::look_at_all`] locks one at a time, for which a new span may
/// have to wait.
const SHARDS: usize = 256;

/// The open spans. The registry reuses an id after its span has closed, so a span is always removed when it
/// closes.
///
/// Each id has one place; collisions are rare while few spans are open. A place with another id shows,
/// without a lock, that a span is not one of this layer's. A span whose place is taken is stored in a map.
#[derive(Debug)]
pub(crate) struct OpenSpans {
    places: Box<[Place; PLACES]>,
    further: DashMap<u64, Arc<Slot>>,
}

/// On a cache line of its own, so that threads do not write to a line that another one reads.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Place {
    slot: Slot,
    /// How many open spans of this place are stored in the map, since the slot was taken already.
    further: AtomicU32,
}

thread_local! {
    static SPARES: Spares<Box<OpenSpan>> = const { Spares::new() };
}

impl OpenSpans {
    pub(crate) fn new() -> Self {
        Self { places: places(), further: DashMap::with_shard_amount(SHARDS) }
    }

    /// A blank span: one that the thread kept for reuse, or a new one.
    pub(crate) fn blank() -> Box<OpenSpan> {
        Spares::take(&SPARES).unwrap_or_default()
    }

    /// Wipes a closed span and keeps it for reuse.
    pub(crate) fn keep(mut span: Box<OpenSpan>) {
        span.wipe();
        Spares::keep(&SPARES, span);
    }

    pub(crate) fn insert(&self, id: &Id, span: Box<OpenSpan>) {
        let id = id.into_u64();
        let Some(place) = self.place(id) else { return };
        if let Err(span) = place.slot.fill(id, span) {
            place.further.fetch_add(1, Ordering::Relaxed);
            self.further.insert(id, Arc::new(Slot::of(id, span)));
        }
    }

    /// Runs `run` on the slot of a span, if the span is one of this layer's.
    #[inline(always)]
    pub(crate) fn slot<T>(&self, id: &Id, run: impl FnOnce(&Slot) -> T) -> Option<T> {
        let id = id.into_u64();
        let place = self.place(id)?;
        let further;
        let slot = if place.slot.has(id) {
            &place.slot
        } else if place.further.load(Ordering::Relaxed) == 0 {
            return None;
        } else {
            further = self.find_further(id)?;
            &*further
        };
        Some(run(slot))
    }

    // Not inlined, so that the fast path saves no registers for it.
    #[inline(never)]
    fn find_further(&self, id: u64) -> Option<Arc<Slot>> {
        self.further.get(&id).map(|slot| Arc::clone(&slot))
    }

    /// Runs `run` on a span while it is locked, if it is one of this layer's.
    #[inline(always)]
    pub(crate) fn with<T>(&self, id: &Id, run: impl FnOnce(&mut OpenSpan) -> T) -> Option<T> {
        self.slot(id, |slot| slot.lock(id.into_u64())?.as_deref_mut().map(run))?
    }

    /// Removes a span, if it is ready.
    pub(crate) fn remove(
        &self,
        id: &Id,
        clock: impl Fn() -> u64,
        is_ready: impl Fn(&mut OpenSpan) -> bool,
    ) -> Option<Removal> {
        let id = id.into_u64();
        let place = self.place(id)?;
        if place.slot.has(id) {
            return place.slot.remove(id, clock, is_ready);
        }
        if place.further.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let removal = self.find_further(id)?.remove(id, clock, is_ready)?;
        if matches!(removal, Removal::Removed(_)) && self.further.remove(&id).is_some() {
            place.further.fetch_sub(1, Ordering::Relaxed);
        }
        Some(removal)
    }

    /// Runs `look` on the open spans, which are locked one by one.
    pub(crate) fn look_at_all<T>(&self, look: impl Fn(Id, &mut OpenSpan) -> T) -> Vec<T> {
        let in_places = self.places.iter().filter_map(|place| place.slot.look(&look));
        in_places.chain(self.further.iter().filter_map(|slot| slot.look(&look))).collect()
    }

    /// Removes all spans, with what they follow.
    pub(crate) fn clear(&self) {
        for id in self.look_at_all(|id, _| id) {
            // Dropped one by one, and not locked: a hold may be the last one on its request.
            drop(self.remove(&id, || 0, |_| true));
        }
    }

    fn place(&self, id: u64) -> Option<&Place> {
        self.places.get(place(id))
    }
}

/// Empty places. They are collected on the heap, since a thread's stack may be too small for all of them.
fn places() -> Box<[Place; PLACES]> {
    let mut places = Vec::new();
    loop {
        places.resize_with(PLACES, Place::default);
        match places.try_into() {
            Ok(places) => return places,
            Err(fewer) => places = fewer,
        }
    }
}

/// The number of an id's place. The registry gives a thread the same few ids again and again, and counts the
/// reuses in the upper 13 bits. The place depends on the other bits only, so a reused id finds a place that
/// is in the thread's CPU cache and that no other thread writes to. Two threads that shared all places lost
/// a tenth of their throughput.
///
/// The ids of a thread follow each other. The factor is 2^51 divided by the golden ratio, which spreads such
/// numbers evenly (Knuth, The Art of Computer Programming, volume 3, section 6.4).
fn place(id: u64) -> usize {
    let product = (id << 13).wrapping_mul(0x4_f1bb_cdcb_fa54 | 1);
    (product >> (u64::BITS - PLACES.ilog2())) as usize
}

#[cfg(test)]
#[cfg(omni_shuttle)]
mod interleaving {
    use shuttle::{check_random, sync::mpsc, thread};

    use super::*;
    /// How many interleavings are tried.
    const TRIES: usize = 20_000;

    fn new_span(created: u64) -> Box<OpenSpan> {
        let mut span = OpenSpans::blank();
        span.created = created;
        span
    }

    /// Two ids that share a place, and one that does not.
    fn ids() -> [Id; 3] {
        let second = (2..).find(|id| place(*id) == place(1)).unwrap();
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
                        // Another thread enters each of the spans that have the id one after the other.
                        let (ask, asked) = mpsc::channel::<u64>();
                        let (answer, answered) = mpsc::channel();
                        let reader = {
                            let (spans, id) = (Arc::clone(&spans), id.clone());
                            thread::spawn(move || {
                                for now in asked {
                                    spans.slot(&id, |slot| slot.timing.enter(now));
                                    answer.send(spans.with(&id, |span| span.created)).unwrap();
                                }
                            })
                        };
                        for created in 1..=3 {
                            spans.insert(&id, new_span(created));
                            ask.send(created).unwrap();
                            assert_eq!(spans.with(&id, |span| span.created), Some(created));
                            assert_eq!(answered.recv().unwrap(), Some(created));
                            assert!(matches!(spans.remove(&id, || 9, |_| false), Some(Removal::Kept)));
                            let Some(Removal::Removed(span)) = spans.remove(&id, || 9, |_| true) else {
                                panic!("it was not there")
                            };
                            assert_eq!((span.created, span.measured.activity), (created, Some((created, 9))));
                            OpenSpans::keep(span);
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
