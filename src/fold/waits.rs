//! The times for which a request's stages waited in their queues.

use smallvec::SmallVec;

use crate::{fold::intervals::Intervals, model::id::ordered};

/// How many waits of a request are kept. Past that, the shortest is left out.
const LIMIT: usize = 64;

/// A stage span that waited from its creation to its start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wait {
    pub(crate) start: u64,
    pub(crate) created: u64,
    pub(crate) stage_id: Option<u64>,
}

impl Wait {
    fn length(&self) -> u64 {
        self.start.saturating_sub(self.created)
    }
}

/// The waits of a request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waits(SmallVec<[Wait; 4]>);

impl Waits {
    #[inline]
    pub(crate) fn add(&mut self, wait: Wait) {
        if wait.length() == 0 {
            return;
        }
        if self.0.len() < LIMIT {
            self.0.push(wait);
        } else if let Some(shortest) = self.0.iter_mut().min_by_key(|kept| kept.length())
            && shortest.length() < wait.length()
        {
            *shortest = wait;
        }
    }

    /// Hands each wait to `waited`, with the part of it, in nanoseconds, during which the request did
    /// nothing. A moment at which several stages wait counts for the one that starts first. Of stages that
    /// start at once, it counts for the one that was created first, and then for the one with the smaller id.
    /// `active` is the activity of the request between `created` and `end`; the waits are added to it.
    pub(crate) fn divide(
        &mut self,
        active: &mut Intervals,
        created: u64,
        end: u64,
        mut waited: impl FnMut(Option<u64>, u64),
    ) {
        if self.0.len() > 1 {
            self.0.sort_unstable_by_key(|wait| (wait.start, wait.created, ordered(wait.stage_id)));
        }
        for wait in &self.0 {
            let (from, to) = (wait.created.max(created), wait.start.min(end));
            let idle = to.saturating_sub(from).saturating_sub(active.covered(from, to));
            if idle > 0 {
                active.add(from, to);
            }
            waited(wait.stage_id, idle);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}
