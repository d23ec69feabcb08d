//! The times for which a request's stages waited in their queues.

use crate::{
    fold::intervals::Intervals,
    model::id::{OrderedId, ordered},
};

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

    fn key(&self) -> (u64, u64, OrderedId) {
        (self.start, self.created, ordered(self.stage_id))
    }
}

/// The waits of a request, ordered by their starts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waits(Vec<Wait>);

impl Waits {
    #[inline]
    pub(crate) fn add(&mut self, wait: Wait) {
        if wait.length() == 0 || self.0.len() >= LIMIT && !self.remove_shorter(&wait) {
            return;
        }
        match self.0.last() {
            Some(last) if wait.key() < last.key() => {
                let at = self.0.partition_point(|earlier| earlier.key() <= wait.key());
                self.0.insert(at, wait);
            }
            _ => self.0.push(wait),
        }
    }

    /// Removes the shortest wait, if it is shorter than this one.
    #[cold]
    fn remove_shorter(&mut self, wait: &Wait) -> bool {
        let shortest = self.0.iter().enumerate().min_by_key(|(_, kept)| kept.length());
        match shortest.map(|(at, kept)| (at, kept.length())) {
            Some((at, length)) if length < wait.length() => {
                self.0.remove(at);
                true
            }
            _ => false,
        }
    }

    /// Hands each wait to `waited`, with the part of it, in nanoseconds, during which the request did
    /// nothing. A moment at which several stages wait counts for the one that starts first; of those that
    /// start at once, for the one that was created first, and then for the one with the smaller id. `active`
    /// is the activity of the request between `created` and `end`; waits may be added to it.
    #[inline(always)]
    pub(crate) fn divide(
        &self,
        active: &mut Intervals,
        created: u64,
        end: u64,
        mut waited: impl FnMut(Option<u64>, u64),
    ) {
        // Waits before `added` are in `active`. They are added only where a later one overlaps them.
        let (mut added, mut latest, mut cursor) = (0, 0, 0);
        for (at, wait) in self.0.iter().enumerate() {
            let (from, to) = (wait.created.max(created), wait.start.min(end));
            if from < latest {
                let earlier = self.0.get(added..at).unwrap_or_default();
                earlier.iter().for_each(|wait| active.add(wait.created, wait.start));
                (added, cursor) = (at, 0);
            }
            latest = wait.start;
            let idle = to.saturating_sub(from).saturating_sub(active.covered_from(&mut cursor, from, to));
            waited(wait.stage_id, idle);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}
