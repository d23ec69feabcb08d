//! The periods that are read: the run, and one for each series of reports.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{
    Percentiles, Window,
    fold::period::Period,
    hold::stripes::{Emptied, Stripes},
};

/// Requests are counted on the [`Stripes`]. Whoever reads a period first adds the counts of the stripes to
/// all periods, and empties the stripes. So a request is in each period once, whatever else is read, and the
/// memory does not depend on how often that happens.
#[derive(Debug, Default)]
pub(crate) struct Periods(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    run: Period,
    reported: Vec<Reported>,
    /// Exchanged for the periods of the stripes.
    spares: Box<Emptied>,
    last_id: u64,
}

/// What was counted since the last report of a series.
#[derive(Debug)]
struct Reported {
    id: ReportId,
    period: Period,
}

/// Names a series of reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReportId(u64);

impl Periods {
    /// The percentiles of the run so far. `with` is called at the moment at which they are valid.
    pub(crate) fn read<T>(&self, stripes: &Stripes, with: impl FnOnce() -> T) -> (T, Percentiles) {
        let mut state = self.lock();
        let outcome = state.collect(stripes, with);
        (outcome, state.run.percentiles())
    }

    /// The percentiles of the run; a new run begins at the moment at which `with` is called.
    pub(crate) fn take<T>(&self, stripes: &Stripes, with: impl FnOnce() -> T) -> (T, Percentiles) {
        let mut state = self.lock();
        let outcome = state.collect(stripes, with);
        let percentiles = state.run.percentiles();
        state.run.clear();
        (outcome, percentiles)
    }

    /// Begins a series of reports.
    pub(crate) fn begin(&self, stripes: &Stripes) -> ReportId {
        let mut state = self.lock();
        state.collect(stripes, || ());
        state.last_id += 1;
        let id = ReportId(state.last_id);
        state.reported.push(Reported { id, period: Period::default() });
        id
    }

    /// The percentiles of the run so far, and the window since the last report of this series. `with` is
    /// called at the moment at which it ends, and returns how many nanoseconds it has lasted.
    pub(crate) fn report<T>(
        &self,
        stripes: &Stripes,
        id: ReportId,
        with: impl FnOnce() -> (T, u64),
    ) -> (T, Percentiles, Window) {
        let mut state = self.lock();
        let (outcome, nanos) = state.collect(stripes, with);
        let percentiles = state.run.percentiles();
        let period = state.reported.iter_mut().find(|reported| reported.id == id);
        let window = period.map(|Reported { period, .. }| {
            let window = period.window(nanos);
            period.clear();
            window
        });
        (outcome, percentiles, window.unwrap_or_default())
    }

    /// Ends a series of reports.
    pub(crate) fn end(&self, id: ReportId) {
        self.lock().reported.retain(|reported| reported.id != id);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Adds the counts of the stripes to all periods.
    fn collect<T>(&mut self, stripes: &Stripes, with: impl FnOnce() -> T) -> T {
        let outcome = stripes.exchange(&mut self.spares, with);
        for part in &mut *self.spares {
            self.run.merge(part);
            self.reported.iter_mut().for_each(|reported| reported.period.merge(part));
            part.clear();
        }
        outcome
    }
}
