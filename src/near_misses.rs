//! Names that are one slip away from one of the contract's. Such a name is mostly a mistake, and without a
//! warning its values would be missing without a word.

use std::{
    ptr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
};

use tracing::Metadata;

use crate::{fields::Kind, warnings::Warnings};

/// For how many callsites a layer warns.
const CALLSITES: usize = 64;

/// The name that `name` is one slip away from, if there is one: one insertion, one deletion, one
/// substitution, or two neighbouring characters swapped.
pub(crate) fn nearest<'a>(name: &str, mut names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    names.find(|candidate| is_one_slip(name.as_bytes(), candidate.as_bytes()))
}

/// The span of the contract whose name `name` is one slip away from.
pub(crate) fn nearest_kind(name: &str) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| is_one_slip(name.as_bytes(), kind.name().as_bytes()))
}

fn is_one_slip(a: &[u8], b: &[u8]) -> bool {
    if a.len().abs_diff(b.len()) > 1 {
        return false;
    }
    let start = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let (Some(a), Some(b)) = (a.get(start..), b.get(start..)) else { return false };
    let end = a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count();
    match (a.split_at_checked(a.len() - end), b.split_at_checked(b.len() - end)) {
        (Some(([_], _)), Some(([] | [_], _))) | (Some(([], _)), Some(([_], _))) => true,
        (Some(([first, second], _)), Some(([third, fourth], _))) => first == fourth && second == third,
        _ => false,
    }
}

/// What a layer knows of such names: for which callsites it has warned, and the warnings that no line has
/// taken yet.
#[derive(Debug)]
pub(crate) struct NearMisses {
    /// Of spans that the filter has let pass.
    expected: Callsites,
    warned: Callsites,
    /// How many of the expected ones have had no span yet. Foreign spans cost nothing more while there are
    /// none.
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

    /// Takes note of the callsite of foreign spans if their name is a near miss. Warns only when there is a
    /// span, since callsites are registered for layers that never see one.
    pub(crate) fn expect(&self, metadata: &'static Metadata<'static>) {
        if nearest_kind(metadata.name()).is_some() && self.expected.insert(metadata) {
            self.open.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[inline]
    pub(crate) fn expects_any(&self) -> bool {
        self.open.load(Ordering::Relaxed) > 0
    }

    /// Whether a foreign span is the first of an expected callsite.
    pub(crate) fn is_first_expected(&self, metadata: &'static Metadata<'static>) -> bool {
        let is_first = self.expected.contains(metadata) && self.warned.insert(metadata);
        if is_first {
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
        is_first
    }

    /// Whether a span of the contract with near misses among its fields is the first of its callsite.
    pub(crate) fn is_first(&self, metadata: &'static Metadata<'static>) -> bool {
        self.warned.insert(metadata)
    }

    /// Keeps a warning that concerns no open request for the next line.
    pub(crate) fn wait(&self, sentence: String) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(sentence);
        self.has_waiting.store(true, Ordering::Release);
    }

    /// Keeps the warnings of a request that has no line for the next one.
    pub(crate) fn wait_all(&self, warnings: &mut Warnings) {
        if !warnings.as_slice().is_empty() {
            self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take_from(warnings);
            self.has_waiting.store(true, Ordering::Release);
        }
    }

    /// Moves the warnings that wait to those of a line, as far as there is room.
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

/// A set of callsites, by the address of their metadata, which never moves. Takes no lock.
#[derive(Debug)]
struct Callsites([AtomicUsize; CALLSITES]);

impl Callsites {
    fn new() -> Self {
        Self([const { AtomicUsize::new(0) }; CALLSITES])
    }

    /// Whether the callsite is new to the set. Where the set is full, none is.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slip_is_an_insertion_a_deletion_a_substitution_or_a_swap_of_neighbours() {
        for name in ["stages", "sstage", "stge", "tage", "stag", "state", "Stage", "tsage", "staeg", "stagé"]
        {
            assert_eq!(nearest_kind(name).is_some(), name != "stagé", "{name}");
        }
        for name in
            ["stage", "", "s", "stgaes", "egats", "gtase", "astge", "st", "stage_id", "sta", "stager2"]
        {
            assert_eq!(nearest_kind(name), None, "{name}");
        }
        assert!(is_one_slip(b"aab", b"aaab") && is_one_slip(b"", b"a") && !is_one_slip(b"", b""));
    }
}
