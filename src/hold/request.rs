//! One open request.

use std::{mem, sync::Arc};

use crate::{
    fold::{fields::SpanFields, measured::Measured, request::Rows},
    hold::{
        answered::{Age, AnsweredRequests},
        brief_lock::{BriefLock, Locked},
        spares::Spares,
        sync::{
            atomic::{AtomicBool, Ordering},
            thread_local,
        },
    },
    model::{line::TraceIds, warnings::Warnings},
};

/// A request, from the creation of its span until nothing refers to it any more.
///
/// It is open until its line is written: while its span is open, and then, *answered*, while open spans
/// hold it.
#[derive(Debug, Default)]
pub(crate) struct Request {
    pub(crate) created: u64,
    /// The id of its span.
    pub(crate) span: u64,
    /// A `request` span was created inside this one.
    pub(crate) encloses_request: AtomicBool,
    state: BriefLock<State>,
}

#[derive(Debug)]
enum State {
    Open(Open),
    /// With the id that it had then.
    Closed(Arc<str>),
}

/// The rows and the answer are behind pointers, so that closing the request moves only the pointers.
#[derive(Debug, Default)]
struct Open {
    rows: Box<Rows>,
    /// The number of [`Hold`]s.
    holds: usize,
    answered: Option<Box<Answered>>,
}

/// The data of the closed `request` span that its line will need.
#[derive(Debug)]
pub(crate) struct Answered {
    /// When the span closed.
    pub(crate) moment: u64,
    pub(crate) measured: Measured,
    pub(crate) fields: SpanFields,
    pub(crate) request_id: Arc<str>,
    pub(crate) trace: TraceIds,
    /// The list in which the request is until its line is written.
    pub(crate) among: Arc<AnsweredRequests<Request>>,
}

/// The error for a request that does not close, because open spans hold it.
#[derive(Debug)]
pub(crate) struct Held;

impl Default for State {
    fn default() -> Self {
        Self::Open(Open::default())
    }
}

thread_local! {
    static SPARES: Spares<Arc<Request>> = const { Spares::new() };
}

impl Request {
    pub(crate) fn age(&self) -> Age {
        (self.created, std::ptr::from_ref(self).addr())
    }

    /// Begins a request, in an object that the thread kept for reuse if there is one.
    pub(crate) fn begin(created: u64, span: u64) -> Arc<Self> {
        let mut request = Spares::take(&SPARES).unwrap_or_default();
        if let Some(only) = Arc::get_mut(&mut request) {
            only.created = created;
            only.span = span;
        }
        request
    }

    /// Empties a closed request and its rows, and keeps the objects for the next request, unless another
    /// reference to the request exists.
    pub(crate) fn keep(mut request: Arc<Self>, mut rows: Box<Rows>) {
        let Some(only) = Arc::get_mut(&mut request) else { return };
        rows.wipe();
        *only.encloses_request.get_mut() = false;
        *only.state.get_mut() = State::Open(Open { rows, holds: 0, answered: None });
        Spares::keep(&SPARES, request);
    }

    /// Runs `add` on the rows. If the request has closed, returns the id that it had then.
    pub(crate) fn add(&self, add: impl FnOnce(&mut Rows)) -> Result<(), Arc<str>> {
        match &mut *self.lock() {
            State::Open(open) => {
                add(&mut open.rows);
                Ok(())
            }
            State::Closed(id) => Err(Arc::clone(id)),
        }
    }

    /// Keeps the request open until the hold is dropped. A hold on a closed request has no effect.
    pub(crate) fn hold(self: &Arc<Self>) -> Hold {
        if let State::Open(open) = &mut *self.lock() {
            open.holds += 1;
        }
        Hold(Arc::clone(self))
    }

    /// Whether its span has closed, and its line is not written.
    pub(crate) fn is_answered(&self) -> bool {
        matches!(&*self.lock(), State::Open(Open { answered: Some(_), .. }))
    }

    /// Closes the request to further rows, unless it is held.
    pub(crate) fn close(&self, request_id: &Arc<str>) -> Result<Ended, Held> {
        let mut state = self.lock();
        match &*state {
            State::Open(open) if open.holds > 0 => Err(Held),
            _ => Ok(self.end(&mut state, request_id)),
        }
    }

    /// The rows so far; `None` if the request has closed.
    pub(crate) fn rows(&self) -> Option<Box<Rows>> {
        match &*self.lock() {
            State::Open(open) => Some(open.rows.clone()),
            State::Closed(_) => None,
        }
    }

    /// The times and fields of the `request` span of an answered request.
    pub(crate) fn answer_so_far(&self) -> Option<(Measured, SpanFields)> {
        let State::Open(Open { answered: Some(answered), .. }) = &*self.lock() else { return None };
        let mut fields = answered.fields.copy_for_line();
        fields.request_id = Some(Arc::clone(&answered.request_id));
        Some((answered.measured, fields))
    }

    /// Stores the data of the closed `request` span until the line is written. Returns whether the last hold
    /// was dropped meanwhile.
    pub(crate) fn answer(self: &Arc<Self>, answered: Answered) -> bool {
        match &mut *self.lock() {
            State::Open(open) => {
                // Inserted while the request is locked, so that a request in the list is always answered.
                answered.among.insert(self.age(), self);
                open.rows.answered = Some(answered.moment);
                open.answered = Some(Box::new(answered));
                open.holds == 0
            }
            State::Closed(_) => false,
        }
    }

    /// Closes an answered request to further rows, if it is not held or if `even_if_held`.
    pub(crate) fn close_answered(&self, even_if_held: bool) -> Option<(Ended, Box<Answered>)> {
        let mut state = self.lock();
        let State::Open(open) = &mut *state else { return None };
        if open.holds > 0 && !even_if_held {
            return None;
        }
        let answered = open.answered.take()?;
        Some((self.end(&mut state, &answered.request_id), answered))
    }

    fn end(&self, state: &mut State, request_id: &Arc<str>) -> Ended {
        let before = mem::replace(state, State::Closed(Arc::clone(request_id)));
        let State::Open(Open { rows, .. }) = before else { return Ended::Wrapper(Warnings::default()) };
        let is_wrapper = self.encloses_request.load(Ordering::Relaxed) && rows.is_empty();
        if is_wrapper { Ended::Wrapper(rows.warnings) } else { Ended::Counted(rows) }
    }

    /// Whether it has closed under this id.
    pub(crate) fn has_closed_as(&self, id: Option<&str>) -> bool {
        matches!(&*self.lock(), State::Closed(closed_as) if Some(&**closed_as) == id)
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(&*self.lock(), State::Open(_))
    }

    /// Whether it is open, and would be counted if it closed now.
    pub(crate) fn is_open_and_counts(&self) -> bool {
        let encloses = self.encloses_request.load(Ordering::Relaxed);
        matches!(&*self.lock(), State::Open(open) if !(encloses && open.rows.is_empty()))
    }

    /// Removes one hold. Returns the list of answered requests if the line is due.
    fn let_go(&self) -> Option<Arc<AnsweredRequests<Self>>> {
        let mut state = self.lock();
        let State::Open(open) = &mut *state else { return None };
        open.holds = open.holds.saturating_sub(1);
        let answered = open.answered.as_ref().filter(|_| open.holds == 0)?;
        Some(Arc::clone(&answered.among))
    }

    fn lock(&self) -> Locked<'_, State> {
        self.state.lock()
    }
}

/// The outcome of closing a request.
#[derive(Debug)]
pub(crate) enum Ended {
    Counted(Box<Rows>),
    /// It has no rows and encloses another request, or it has closed before. Has the warnings for the next
    /// line.
    Wrapper(Warnings),
}

/// An open span's hold on a request: the line is not written before the hold is dropped.
#[derive(Debug)]
pub(crate) struct Hold(Arc<Request>);

impl Hold {
    pub(crate) fn request(&self) -> &Arc<Request> {
        &self.0
    }
}

impl Clone for Hold {
    fn clone(&self) -> Self {
        self.0.hold()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(among) = self.0.let_go() {
            among.is_due(&self.0);
        }
    }
}

#[cfg(test)]
#[cfg(not(omni_shuttle))]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

    use super::*;

    #[test]
    fn a_panic_in_the_lock_does_not_keep_it_locked() {
        let request = Request::begin(0, 1);
        let outcome =
            catch_unwind(AssertUnwindSafe(|| request.add(|_| resume_unwind(Box::new("in the lock")))));
        assert!(outcome.is_err());
        assert!(request.add(|_| ()).is_ok());
        assert!(matches!(request.close(&"r".into()), Ok(Ended::Counted(_))));
        assert_eq!(request.add(|_| ()), Err("r".into()));
    }
}

#[cfg(test)]
#[cfg(omni_shuttle)]
mod interleaving {
    use shuttle::{check_random, thread};

    use super::*;
    use crate::fold::closed::Closed;

    const MEASURED: Measured = Measured { created: 0, end: 1, activity: Some((0, 1)), busy: 1 };

    /// Adds a stage span that has closed.
    fn add_stage(request: &Request, stage_id: u64) -> Result<(), Arc<str>> {
        let mut fields = SpanFields::default();
        fields.set_number(0, stage_id);
        let mut closed = Closed {
            measured: MEASURED,
            fields: &mut fields,
            preprocess: None,
            batch: None,
            place: 0,
            is_shared: false,
        };
        request.add(|rows| rows.add_stage(&mut closed, false))
    }

    /// How many lines a callback writes before it returns, and with how many rows.
    fn write_due(answered: &AnsweredRequests<Request>, lines: &mut Vec<usize>) {
        while let Some(request) = answered.next_due() {
            if let Some((Ended::Counted(rows), _)) = request.close_answered(false) {
                answered.remove(request.age());
                lines.push(rows.stage_table().count());
            }
        }
    }

    #[test]
    fn a_span_is_in_the_line_of_its_request_or_learns_its_id_never_both_nor_neither() {
        check_random(
            || {
                let request = Request::begin(0, 1);
                let adders: Vec<_> = (0..3_u64)
                    .map(|stage_id| {
                        let request = Arc::clone(&request);
                        thread::spawn(move || add_stage(&request, stage_id))
                    })
                    .collect();
                let Ok(Ended::Counted(rows)) = request.close(&"r".into()) else { panic!("nothing holds it") };
                let outcomes = adders.into_iter().map(|adder| adder.join().unwrap());
                let late = outcomes.filter(|outcome| outcome.as_ref().is_err_and(|id| **id == *"r")).count();
                assert_eq!(rows.stage_table().count() + late, 3);
            },
            20_000,
        );
    }

    #[test]
    fn a_held_request_has_one_line_with_the_rows_of_all_that_held_it() {
        check_random(
            || {
                let (request, answered) = (Request::begin(0, 1), Arc::new(AnsweredRequests::default()));
                let holders: Vec<_> = (0..3_u64)
                    .map(|stage_id| {
                        let (hold, answered) = (request.hold(), Arc::clone(&answered));
                        thread::spawn(move || {
                            let mut lines = Vec::new();
                            add_stage(hold.request(), stage_id).unwrap();
                            drop(hold);
                            write_due(&answered, &mut lines);
                            lines
                        })
                    })
                    .collect();
                let mut lines = Vec::new();
                match request.close(&"r".into()) {
                    Ok(Ended::Counted(rows)) => lines.push(rows.stage_table().count()),
                    Ok(Ended::Wrapper(_)) => panic!("it encloses no request"),
                    Err(Held) => {
                        let is_due = request.answer(Answered {
                            moment: 1,
                            measured: MEASURED,
                            fields: SpanFields::default(),
                            request_id: "r".into(),
                            trace: TraceIds::default(),
                            among: Arc::clone(&answered),
                        });
                        if is_due {
                            answered.is_due(&request);
                        }
                    }
                }
                write_due(&answered, &mut lines);
                holders.into_iter().for_each(|holder| lines.extend(holder.join().unwrap()));
                assert_eq!(lines, [3]);
                assert!(answered.oldest().is_none());
            },
            20_000,
        );
    }
}
