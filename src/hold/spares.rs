//! Objects that a thread keeps for reuse. This saves half of a request's allocations.

use std::cell::RefCell;

use crate::hold::sync::LocalKey;

/// How many objects of each type a thread keeps.
const SPARE: usize = 16;

/// The blank objects of one type that one thread keeps, behind pointers.
pub(crate) struct Spares<P: 'static>(RefCell<Vec<P>>);

impl<P> Spares<P> {
    pub(crate) const fn new() -> Self {
        Self(RefCell::new(Vec::new()))
    }

    pub(crate) fn take(list: &'static LocalKey<Self>) -> Option<P> {
        list.try_with(|Self(spares)| spares.try_borrow_mut().ok()?.pop()).ok()?
    }

    /// Keeps a blank object, if there is room.
    pub(crate) fn keep(list: &'static LocalKey<Self>, blank: P) {
        let _ = list.try_with(|Self(spares)| {
            if let Ok(mut spares) = spares.try_borrow_mut()
                && spares.len() < SPARE
            {
                spares.push(blank);
            }
        });
    }
}
