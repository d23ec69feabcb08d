//! The course of a run: the time that the charts show, and the requests before and after it.

use std::{collections::BTreeMap, ops::Bound};

use super::stretch::Stretch;

/// Requests are left out of the charts if they are at most one in `FEW`,
const FEW: u64 = 20;
/// and farther away from the others than `FAR` times the time that those take.
const FAR: u64 = 4;

/// The stretches of a run.
pub(super) struct Course {
    /// The length of a stretch in the charts, in microseconds.
    pub(super) length: u64,
    /// When the first request was created and when the last one ended, in microseconds since the Unix epoch.
    pub(super) extent: (u64, u64),
    /// The ends of the time that the charts show.
    pub(super) axis: (u64, u64),
    /// Those that the charts show, also those without a request.
    pub(super) shown: Vec<Placed>,
    /// All that was before the charts, and all that was after them.
    pub(super) before: Option<Placed>,
    pub(super) after: Option<Placed>,
}

/// A stretch with its place in time.
#[derive(Debug)]
pub(super) struct Placed {
    /// In microseconds since the Unix epoch.
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) stretch: Stretch,
    /// The mean number of requests that were in flight.
    pub(super) in_flight: f64,
}

/// The first and the last stretch of the time in which nearly all requests began and ended, with the
/// stretches near to it.
pub(super) fn bulk(known: &BTreeMap<u64, Stretch>) -> Option<(u64, u64)> {
    let all: u64 = known.values().map(|stretch| stretch.events).sum();
    let from = |(first, _): (&u64, _)| {
        let mut inside = 0;
        let mut last = known.range(first..).filter(|(_, stretch)| {
            inside += stretch.events;
            inside >= all - all / FEW
        });
        Some((*first, *last.next()?.0))
    };
    let (mut first, mut last) = known.iter().filter_map(from).min_by_key(|(first, last)| last - first)?;
    loop {
        let near = FAR * (last - first + 1);
        let before = known.range(..first).map(|(at, _)| *at).next_back();
        let after = known.range((Bound::Excluded(last), Bound::Unbounded)).map(|(at, _)| *at).next();
        match (before.filter(|at| first - at <= near), after.filter(|at| at - last <= near)) {
            (None, None) => return Some((first, last)),
            (before, after) => (first, last) = (before.unwrap_or(first), after.unwrap_or(last)),
        }
    }
}

impl Course {
    /// `ends` are the first and the last stretch that the charts show.
    pub(super) fn of(
        mut known: BTreeMap<u64, Stretch>,
        length: u64,
        ends: (u64, u64),
        extent: (u64, u64),
    ) -> Self {
        let (first, last) = ends;
        let (start, end) = (first * length, (last + 1) * length);
        let later = known.split_off(&(last + 1));
        let mut shown = known.split_off(&first);
        let mut open = 0;
        let mut place = |from: u64, to: u64, stretch: Stretch| {
            let (time, still) = stretch.flight.time(open, to - from);
            open = still;
            Placed { from, to, stretch, in_flight: time.max(0) as f64 / (to - from).max(1) as f64 }
        };
        let joined = |stretches: &BTreeMap<u64, Stretch>, to: u64| {
            let mut all = Stretch::default();
            stretches.iter().for_each(|(at, stretch)| all.merge(stretch, to - (at + 1) * length));
            all
        };
        let before = (!known.is_empty()).then(|| place(extent.0, start, joined(&known, start)));
        let place_at = |at| place(at * length, (at + 1) * length, shown.remove(&at).unwrap_or_default());
        let shown = (first..=last).map(place_at).collect();
        let finish = later.keys().next_back().map(|at| (at + 1) * length);
        let after = finish.map(|to| place(end, to, joined(&later, to)));
        // What the charts do not cut off ends them exactly.
        let axis = (
            before.as_ref().map_or(extent.0, |before| before.to),
            after.as_ref().map_or(extent.1, |after| after.from),
        );
        Self { length, extent, axis, shown, before, after }
    }

    /// All of it, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Placed> {
        self.before.iter().chain(&self.shown).chain(&self.after)
    }
}
