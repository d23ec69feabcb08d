//! The open spans of one layer, by id.

use std::{
    cell::RefCell,
    hash::{BuildHasherDefault, Hasher},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use dashmap::DashMap;
use tracing::span::Id;

use crate::span::OpenSpan;

/// How many spans a thread remembers.
const RECENT: usize = 8;
/// How many counters tell ids of ours from others.
const PRESENCE: usize = 4096;

/// The map. An id comes back after its span has closed, so a span leaves the map when it closes,
/// whatever else happens.
///
/// Two short cuts stand in front of it, since most callbacks are enters and exits. Each thread
/// remembers the spans it saw last, which saves the map's lock and look-up. And for each hash of an
/// id there is a count of open spans: zero says without a lock that a span is none of ours.
#[derive(Debug)]
pub(crate) struct OpenSpans {
    /// Which layer's memories are whose.
    layer: u64,
    by_id: DashMap<u64, Arc<OpenSpan>, BuildHasherDefault<IdHasher>>,
    presence: Box<[AtomicU32]>,
}

/// A span that a thread has seen. It may have closed since; then it says so itself.
struct Seen {
    layer: u64,
    id: u64,
    span: Arc<OpenSpan>,
}

/// How many blank spans a thread keeps for the next ones.
const SPARE: usize = 16;

thread_local! {
    static SPARES: RefCell<Vec<Arc<OpenSpan>>> = const { RefCell::new(Vec::new()) };
    static SEEN: RefCell<[Option<Seen>; RECENT]> = const { RefCell::new([const { None }; RECENT]) };
}

impl OpenSpans {
    pub(crate) fn new() -> Self {
        static LAYERS: AtomicU64 = AtomicU64::new(0);
        Self {
            layer: LAYERS.fetch_add(1, Ordering::Relaxed),
            by_id: DashMap::default(),
            presence: (0..PRESENCE).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    /// A blank span, kept from an earlier one if there is one.
    pub(crate) fn blank() -> Arc<OpenSpan> {
        let spare = SPARES.try_with(|spares| spares.try_borrow_mut().ok()?.pop());
        spare.ok().flatten().unwrap_or_else(|| Arc::new(OpenSpan::blank()))
    }

    /// Keeps a span that has closed, wiped, for the next one, unless somebody still refers to it.
    pub(crate) fn keep(mut span: Arc<OpenSpan>) {
        let Some(only) = Arc::get_mut(&mut span) else { return };
        only.wipe();
        let _ = SPARES.try_with(|spares| {
            if let Ok(mut spares) = spares.try_borrow_mut()
                && spares.len() < SPARE
            {
                spares.push(span);
            }
        });
    }

    pub(crate) fn insert(&self, id: &Id, span: Arc<OpenSpan>) {
        let id = id.into_u64();
        if let Some(count) = self.presence_of(id) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.remember(id, Arc::clone(&span));
        self.by_id.insert(id, span);
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
            let seen = seen.get(self.slot(id))?.as_ref()?;
            let is_it = seen.id == id && seen.layer == self.layer && seen.span.is_open();
            if is_it { run.take().map(|run| run(&seen.span)) } else { None }
        });
        if let Ok(Some(done)) = remembered {
            return Some(done);
        }
        if self.presence_of(id).is_some_and(|count| count.load(Ordering::Relaxed) == 0) {
            return None;
        }
        let span = Arc::clone(&*self.by_id.get(&id)?);
        let done = run.take().map(|run| run(&span));
        self.remember(id, span);
        done
    }

    pub(crate) fn remove(&self, id: &Id) -> Option<Arc<OpenSpan>> {
        let id = id.into_u64();
        let count = self.presence_of(id)?;
        if count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let (_, span) = self.by_id.remove(&id)?;
        count.fetch_sub(1, Ordering::Relaxed);
        span.mark_closed();
        self.forget(id);
        Some(span)
    }

    /// Where a thread remembers the span; not where another layer's is.
    fn slot(&self, id: u64) -> usize {
        id.wrapping_add(self.layer) as usize % RECENT
    }

    fn presence_of(&self, id: u64) -> Option<&AtomicU32> {
        self.presence.get(hash(id) as usize % PRESENCE)
    }

    fn remember(&self, id: u64, span: Arc<OpenSpan>) {
        let seen = Seen { layer: self.layer, id, span };
        let earlier =
            SEEN.try_with(|slots| Some(slots.try_borrow_mut().ok()?.get_mut(self.slot(id))?.replace(seen)));
        // Dropped out here: it may be the last of its request.
        drop(earlier);
    }

    fn forget(&self, id: u64) {
        let seen = SEEN.try_with(|slots| {
            let mut slots = slots.try_borrow_mut().ok()?;
            let seen = slots.get_mut(self.slot(id))?;
            seen.take_if(|seen| seen.id == id && seen.layer == self.layer)
        });
        drop(seen);
    }
}

impl Drop for OpenSpans {
    /// Unties spans that follow each other: neither a ring nor a long chain may outlive the layer,
    /// nor be dropped from one end, a stack frame a span.
    fn drop(&mut self) {
        for span in &self.by_id {
            span.mark_closed();
            let follows = std::mem::take(&mut span.lock().follows);
            drop(follows);
        }
    }
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
