//! Objects that a thread keeps for reuse. This saves half of a request's allocations.

use std::{cell::RefCell, sync::Arc};

use crate::hold::sync::LocalKey;

/// How many objects of each type a thread keeps.
const SPARE: usize = 16;

/// The blank objects of one type that one thread keeps.
pub(crate) struct Spares<T: 'static>(RefCell<Vec<Arc<T>>>);

impl<T> Spares<T> {
    pub(crate) const fn new() -> Self {
        Self(RefCell::new(Vec::new()))
    }

    pub(crate) fn take(list: &'static LocalKey<Self>) -> Option<Arc<T>> {
        list.try_with(|Self(spares)| spares.try_borrow_mut().ok()?.pop()).ok()?
    }

    /// Keeps a blank object, if there is room.
    pub(crate) fn keep(list: &'static LocalKey<Self>, blank: Arc<T>) {
        let _ = list.try_with(|Self(spares)| {
            if let Ok(mut spares) = spares.try_borrow_mut()
                && spares.len() < SPARE
            {
                spares.push(blank);
            }
        });
    }
}
