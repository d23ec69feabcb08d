//! The warnings for names that are one edit away from a documented name: they are most likely misspelt, and
//! their values would be missing without a message.

use std::{
    ptr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
};

use tracing::Metadata;

use crate::model::warnings::Warnings;

/// For how many callsites a layer warns at most.
const CALLSITES: usize = 64;

/// The near misses of a layer: the callsites for which it has warned, and the warnings that are not in a line
/// yet.
#[derive(Debug)]
pub(crate) struct NearMisses {
    /// Callsites of foreign spans that the filter has seen.
    expected: Callsites,
    warned: Callsites,
    /// How many of these callsites have had no span yet. While there are none, the check of a foreign span is
    /// one load.
    open: AtomicU32,
    has_waiting: AtomicBool,
    waiting: Mutex<Warnings>,
}

impl NearMisses {
    pub(crate) fn new() -> Self {
        Self {
            expected: Callsites::new(),
            warned: Callsites::new(),
            open: AtomicU32::new(0),
            has_waiting: AtomicBool::new(false),
            waiting: Mutex::default(),
        }
    }

    /// Notes the callsite of a foreign span whose name is a near miss. The warning is given only when a span
    /// is created, since callsites are also registered for layers that never see a span of them.
    pub(crate) fn expect(&self, metadata: &'static Metadata<'static>) {
        if self.expected.insert(metadata) {
            self.open.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[inline]
    pub(crate) fn expects_any(&self) -> bool {
        self.open.load(Ordering::Relaxed) > 0
    }

    /// Whether a foreign span is the first one of a noted callsite.
    pub(crate) fn is_first_expected(&self, metadata: &'static Metadata<'static>) -> bool {
        let is_first = self.expected.contains(metadata) && self.warned.insert(metadata);
        if is_first {
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
        is_first
    }

    /// Whether a documented span that has near misses among its fields is the first one of its callsite.
    pub(crate) fn is_first(&self, metadata: &'static Metadata<'static>) -> bool {
        self.warned.insert(metadata)
    }

    /// Keeps a warning that belongs to no open request for the next line.
    pub(crate) fn wait(&self, sentence: String) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(sentence);
        self.has_waiting.store(true, Ordering::Release);
    }

    /// Keeps the warnings of a wrapper, which has no line, for the next line.
    pub(crate) fn wait_all(&self, warnings: &mut Warnings) {
        if !warnings.as_slice().is_empty() {
            self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take_from(warnings);
            self.has_waiting.store(true, Ordering::Release);
        }
    }

    /// Moves the waiting warnings into a line, as far as there is room.
    #[inline]
    pub(crate) fn take_waiting(&self, warnings: &mut Warnings) {
        if self.has_waiting.load(Ordering::Acquire) {
            self.move_waiting(warnings);
        }
    }

    #[cold]
    fn move_waiting(&self, warnings: &mut Warnings) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        warnings.take_from(&mut waiting);
        self.has_waiting.store(!waiting.as_slice().is_empty(), Ordering::Release);
    }
}

/// A lock-free set of callsites. A callsite is identified by the address of its metadata, which never moves.
#[derive(Debug)]
struct Callsites([AtomicUsize; CALLSITES]);

impl Callsites {
    fn new() -> Self {
        Self([const { AtomicUsize::new(0) }; CALLSITES])
    }

    /// Inserts a callsite, and returns whether it is new. If the set is full, it returns `false`.
    fn insert(&self, metadata: &'static Metadata<'static>) -> bool {
        let address = ptr::from_ref(metadata).addr();
        for place in &self.0 {
            match place.compare_exchange(0, address, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(taken) if taken == address => return false,
                Err(_) => {}
            }
        }
        false
    }

    fn contains(&self, metadata: &'static Metadata<'static>) -> bool {
        let address = ptr::from_ref(metadata).addr();
        let taken = self.0.iter().map(|place| place.load(Ordering::Relaxed)).take_while(|taken| *taken != 0);
        taken.into_iter().any(|taken| taken == address)
    }
}
