//! One open request: its rows, and the line that they become.

use std::{mem, sync::Arc};

use crate::{
    Millis,
    answered::{Answered, AnsweredRequests},
    edge::Edge,
    fields::{Kind, SpanFields, StageNumbers, TransferNumbers},
    hops::Flights,
    ids::ordered,
    intervals::Intervals,
    numbers::{total_tokens, total_transfers},
    run::{StageWall, WALL_LIMIT},
    span::Measured,
    spares::Spares,
    stage::Stage,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        thread_local,
    },
    tables::{E2eTable, Fields, OverallSummary, StageRow, TransferRow},
    warnings::Warnings,
};

/// How many stage rows, and how many transfer rows, a request has; past that, further ids share
/// the row without an id.
pub(crate) const ROW_LIMIT: usize = 1024;
/// For how many stage rows, and for how many transfer rows, a request that is used again has room.
const ROWS_KEPT: usize = 16;

/// A request, from the creation of its span until nothing refers to it any more.
///
/// It is open until its line is written: while its span is open, and then, *answered*, while open spans
/// hold it.
#[derive(Debug, Default)]
pub(crate) struct Request {
    pub(crate) created: u64,
    /// A `request` span was created inside this one.
    pub(crate) encloses_request: AtomicBool,
    #[cfg(feature = "metrics")]
    pub(crate) is_in_flight: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Open(Open),
    /// With the id that it had then.
    Closed(Arc<str>),
}

/// The rows and the answer are behind pointers, so that closing moves no more than that.
#[derive(Debug, Default)]
struct Open {
    rows: Box<Rows>,
    /// How many [`Hold`]s there are.
    holds: usize,
    answered: Option<Box<Answered>>,
}

/// Why a request does not close: open spans hold it.
#[derive(Debug)]
pub(crate) struct Held;

impl Default for State {
    fn default() -> Self {
        Self::Open(Open::default())
    }
}

thread_local! {
    static SPARES: Spares<Request> = const { Spares::new() };
}

/// A span that has closed, on its way into the rows.
#[derive(Debug)]
pub(crate) struct Closed<'a> {
    pub(crate) measured: Measured,
    pub(crate) fields: &'a mut SpanFields,
    /// Sum of the span times of `preprocess` children, in nanoseconds.
    pub(crate) preprocess: Option<u64>,
    /// How many requests the batch has that this span stands for.
    pub(crate) batch: Option<u64>,
    /// More than one request gets it, so that its texts are copied, not moved.
    pub(crate) is_shared: bool,
}

impl Closed<'_> {
    /// The span's text for a row.
    pub(crate) fn label(&mut self) -> Option<String> {
        if self.is_shared { self.fields.label.clone() } else { self.fields.label.take() }
    }

    /// The span's further fields for a row.
    pub(crate) fn further(&mut self) -> Option<Fields> {
        if self.fields.further.is_empty() {
            return None;
        }
        Some(if self.is_shared { self.fields.further.clone() } else { mem::take(&mut self.fields.further) })
    }
}

/// What a closed request is besides its rows.
#[derive(Debug)]
pub(crate) struct Folded {
    pub(crate) end: u64,
    pub(crate) e2e: E2eTable,
    pub(crate) warnings: Warnings,
}

/// The order in which requests were created; the address tells those of one moment apart.
pub(crate) type Age = (u64, usize);

impl Request {
    pub(crate) fn age(&self) -> Age {
        (self.created, std::ptr::from_ref(self).addr())
    }

    /// A new request: one that the thread has used before if there is one.
    pub(crate) fn begin(created: u64) -> Arc<Self> {
        let mut request = Spares::take(&SPARES).unwrap_or_default();
        if let Some(only) = Arc::get_mut(&mut request) {
            only.created = created;
            #[cfg(feature = "metrics")]
            {
                *only.is_in_flight.get_mut() = true;
            }
        }
        request
    }

    /// Keeps a request that has closed, and its rows, wiped, for the next one, unless somebody still
    /// refers to it.
    pub(crate) fn keep(mut request: Arc<Self>, mut rows: Box<Rows>) {
        let Some(only) = Arc::get_mut(&mut request) else { return };
        rows.wipe();
        *only.encloses_request.get_mut() = false;
        *only.state.get_mut().unwrap_or_else(PoisonError::into_inner) =
            State::Open(Open { rows, holds: 0, answered: None });
        Spares::keep(&SPARES, request);
    }

    /// Adds to the rows, or says which id the request had when it closed.
    pub(crate) fn add(&self, add: impl FnOnce(&mut Rows)) -> Result<(), Arc<str>> {
        match &mut *self.lock() {
            State::Open(open) => {
                add(&mut open.rows);
                Ok(())
            }
            State::Closed(id) => Err(Arc::clone(id)),
        }
    }

    /// Keeps the request open until the hold is dropped. Of a closed request it holds nothing.
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

    /// The rows so far.
    pub(crate) fn rows(&self) -> Box<Rows> {
        match &*self.lock() {
            State::Open(open) => open.rows.clone(),
            State::Closed(_) => Box::default(),
        }
    }

    /// Takes what its closed span leaves, for as long as the request is held. Returns whether it is no more.
    pub(crate) fn answer(self: &Arc<Self>, answered: Answered) -> bool {
        match &mut *self.lock() {
            State::Open(open) => {
                // Under the request's lock, so that whoever finds it there finds it answered.
                answered.among.insert(self);
                open.rows.answered = Some(answered.moment);
                open.answered = Some(Box::new(answered));
                open.holds == 0
            }
            State::Closed(_) => false,
        }
    }

    /// Closes an answered request to further rows: one that nothing holds, or any.
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

    /// Whether it is open, and would be counted if it closed now.
    pub(crate) fn is_open_and_counts(&self) -> bool {
        let encloses = self.encloses_request.load(Ordering::Relaxed);
        matches!(&*self.lock(), State::Open(open) if !(encloses && open.rows.is_empty()))
    }

    /// Gives one hold back. Returns whether the line is due.
    fn let_go(&self) -> Option<Arc<AnsweredRequests>> {
        let mut state = self.lock();
        let State::Open(open) = &mut *state else { return None };
        open.holds = open.holds.saturating_sub(1);
        let answered = open.answered.as_ref().filter(|_| open.holds == 0)?;
        Some(Arc::clone(&answered.among))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the close of a request comes to.
#[derive(Debug)]
pub(crate) enum Ended {
    Counted(Box<Rows>),
    /// It has no rows, and another request inside; or it has closed before. With warnings for the next line.
    Wrapper(Warnings),
}

/// An open span's share in a request: the line is not written before it is dropped.
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

/// The rows of a request, and what its numbers need besides. Its size depends on the distinct
/// stages and edges, not on how many spans went into them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rows {
    /// Sorted by stage id.
    stages: Vec<Stage>,
    /// Sorted by ends.
    edges: Vec<Edge>,
    activity: Intervals,
    first_stage_enter: Option<u64>,
    last_exit: Option<u64>,
    /// The moment at which the request was answered, if open spans held it then.
    answered: Option<u64>,
    warnings: Warnings,
    /// The run up to the request, put in as it closes.
    pub(crate) summary: OverallSummary,
}

impl Rows {
    fn is_empty(&self) -> bool {
        self.stages.is_empty() && self.edges.is_empty()
    }

    /// Leaves nothing but some room for the next request's rows.
    fn wipe(&mut self) {
        let Self { stages, edges, activity, first_stage_enter, last_exit, answered, warnings, summary } =
            self;
        stages.clear();
        stages.shrink_to(ROWS_KEPT);
        edges.clear();
        edges.shrink_to(ROWS_KEPT);
        summary.stage_wall_time_ms.clear();
        summary.stage_wall_time_ms.shrink_to(ROWS_KEPT);
        *activity = Intervals::default();
        *first_stage_enter = None;
        *last_exit = None;
        *answered = None;
        warnings.clear();
    }

    pub(crate) fn stage_table(&self) -> impl Iterator<Item = &StageRow> {
        self.stages.iter().map(|stage| &stage.row)
    }

    pub(crate) fn transfer_table(&self) -> impl Iterator<Item = &TransferRow> {
        self.edges.iter().map(|edge| &edge.row)
    }

    pub(crate) fn stage_walls(&self) -> impl Iterator<Item = StageWall> {
        self.stages.iter().filter_map(Stage::wall)
    }

    /// Adds a `stage` span. `is_part` says that another one of the same stage, around it, brings
    /// the times.
    pub(crate) fn add_stage(&mut self, span: &mut Closed<'_>, numbers: &StageNumbers, is_part: bool) {
        self.take_common(span);
        let first_enter = span.measured.activity.map(|(first, _)| first);
        self.first_stage_enter = earliest(self.first_stage_enter, first_enter);
        let mut id = numbers.stage_id;
        // Stage 0 always has its row, for its input counts in the request's tokens.
        if self.stages.len() >= ROW_LIMIT && id != Some(0) && self.find_stage(id).is_err() {
            let more = format!("a request has {ROW_LIMIT} stage rows; added to the one without an id");
            self.warnings.add(Kind::Stage, "stage_id", Shown(id), more);
            id = None;
        }
        let at = self.find_stage(id).unwrap_or_else(|at| {
            self.stages.insert(at, Stage::new(id));
            match id {
                Some(id) if id >= WALL_LIMIT => warn_of_wall(&mut self.warnings, id),
                _ => {}
            }
            at
        });
        if let Some(stage) = self.stages.get_mut(at) {
            stage.add(span, numbers, is_part, &mut self.warnings);
        }
    }

    /// Adds a `transfer` span. `sent_at` is the moment at which another process sent it.
    pub(crate) fn add_transfer(
        &mut self,
        span: &mut Closed<'_>,
        numbers: &TransferNumbers,
        sent_at: Option<i64>,
    ) {
        self.take_common(span);
        let mut ends = (numbers.from_stage, numbers.to_stage);
        if self.edges.len() >= ROW_LIMIT && self.find_edge(ends).is_err() {
            let more = format!("a request has {ROW_LIMIT} transfer rows; added to the one without ends");
            let shown = format_args!("{} -> {}", Shown(ends.0), Shown(ends.1)).to_string();
            self.warnings.add(Kind::Transfer, "from_stage -> to_stage", shown, more);
            ends = (None, None);
        }
        let at = self.find_edge(ends).unwrap_or_else(|at| {
            self.edges.insert(at, Edge::new(ends));
            at
        });
        let mut flights = Flights::new();
        if let Some(edge) = self.edges.get_mut(at) {
            edge.add(span, numbers, sent_at, &mut flights, &mut self.warnings);
            edge.land(&flights, &mut self.activity, &mut self.warnings);
        }
    }

    pub(crate) fn warn(&mut self, sentence: String) {
        self.warnings.push(sentence);
    }

    fn take_common(&mut self, span: &Closed<'_>) {
        let (mut end, mut last_exit) = (span.measured.end, span.measured.activity.map(|(_, last)| last));
        // What a batch does after this request's answer is not this request's time.
        if span.is_shared
            && let Some(answered) = self.answered
        {
            end = end.min(answered);
            let begins_before = span.measured.start() < answered;
            last_exit = last_exit.filter(|_| begins_before).map(|last| last.min(answered));
        }
        self.activity.add(span.measured.start(), end);
        self.last_exit = self.last_exit.max(last_exit);
        self.warnings.extend(&span.fields.warnings);
    }

    fn find_stage(&self, id: Option<u64>) -> Result<usize, usize> {
        self.stages.binary_search_by_key(&ordered(id), |stage| stage.row.order())
    }

    fn find_edge(&self, (from, to): (Option<u64>, Option<u64>)) -> Result<usize, usize> {
        self.edges.binary_search_by_key(&(ordered(from), ordered(to)), |edge| edge.row.order())
    }

    /// The numbers of an answered request before the spans that hold it have closed.
    pub(crate) fn as_they_stand(mut self: Box<Self>, answered: &Answered) -> (E2eTable, Box<Self>) {
        let mut fields = SpanFields::default();
        fields.label.clone_from(&answered.fields.label);
        let mut closed = Closed {
            measured: answered.measured,
            fields: &mut fields,
            preprocess: None,
            batch: None,
            is_shared: false,
        };
        let Folded { e2e, .. } = self.fold(&mut closed);
        (e2e, self)
    }

    /// Completes the rows and folds them, and the `request` span itself, into the end-to-end table.
    pub(crate) fn fold(&mut self, request: &mut Closed<'_>) -> Folded {
        let Measured { created, end, activity, .. } = request.measured;
        let mut warnings = mem::take(&mut request.fields.warnings);
        let mut flights = Flights::new();
        for edge in &mut self.edges {
            edge.match_rest(&mut flights, &mut self.warnings);
            edge.land(&flights, &mut self.activity, &mut self.warnings);
            flights.clear();
        }
        warnings.extend(&self.warnings);

        // A batch may have run, and be followed late, before the request was even created.
        let last_exit = activity.map(|(_, last)| last).max(self.last_exit);
        let end = last_exit.unwrap_or(end).max(created);
        self.stages.iter_mut().for_each(|stage| stage.finish(Some(created), &mut warnings));
        self.edges.iter_mut().for_each(|edge| edge.finish(Some(created), &mut warnings));
        let tokens = total_tokens(self.stage_table(), &mut warnings);
        let (bytes, transfer_time) = total_transfers(self.transfer_table(), &mut warnings);
        let since_created = |moment: u64| Millis::from_nanos(moment.saturating_sub(created));
        let e2e = E2eTable {
            e2e_total_ms: since_created(end),
            e2e_total_tokens: tokens,
            transfers_total_time_ms: transfer_time,
            transfers_total_bytes: bytes,
            queue_time_ms: self.first_stage_enter.map(since_created),
            unattributed_time_ms: since_created(end)
                .saturating_sub(Millis::from_nanos(self.activity.covered(created, end))),
            finish_reason: request.fields.label.take(),
        };
        Folded { end, e2e, warnings }
    }
}

/// Warns that the stage has no place in the list of walls.
pub(crate) fn warn_of_wall(warnings: &mut Warnings, stage_id: u64) {
    let what = format!("ids of {WALL_LIMIT} and more stay out of `stage_wall_time_ms`");
    warnings.add(Kind::Stage, "stage_id", stage_id, what);
}

pub(crate) fn earliest(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// What adds up: counts, and times.
pub(crate) trait Sum: Copy + Default + std::fmt::Display {
    const MAX: Self;
    fn checked_add(self, other: Self) -> Option<Self>;
}

impl Sum for u64 {
    const MAX: Self = u64::MAX;

    fn checked_add(self, other: Self) -> Option<Self> {
        self.checked_add(other)
    }
}

impl Sum for Millis {
    const MAX: Self = Millis::MAX;

    fn checked_add(self, other: Self) -> Option<Self> {
        self.checked_add(other)
    }
}

/// Adds a value, if there is one, with a warning where the sum does not fit.
pub(crate) fn add<T: Sum>(sum: &mut T, value: Option<T>, kind: Kind, field: &str, warnings: &mut Warnings) {
    let Some(value) = value else { return };
    *sum = sum.checked_add(value).unwrap_or_else(|| {
        warnings.add(kind, field, value, format_args!("the sum does not fit; it stays at {}", T::MAX));
        T::MAX
    });
}

/// Adds a value, if there is one, to a sum that may be absent so far.
pub(crate) fn add_to<T: Sum>(
    sum: &mut Option<T>,
    value: Option<T>,
    kind: Kind,
    field: &str,
    warnings: &mut Warnings,
) {
    if value.is_some() {
        add(sum.get_or_insert_default(), value, kind, field, warnings);
    }
}

/// An id in a warning.
pub(crate) struct Shown(pub(crate) Option<u64>);

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(id) => id.fmt(f),
            None => f.write_str("none"),
        }
    }
}

#[cfg(test)]
#[cfg(not(omni_shuttle))]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

    use super::*;

    #[test]
    fn a_poisoned_lock_goes_on() {
        let request = Request::begin(0);
        let outcome =
            catch_unwind(AssertUnwindSafe(|| request.add(|_| resume_unwind(Box::new("in the lock")))));
        assert!(outcome.is_err() && request.state.is_poisoned());
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
    use crate::tables::TraceIds;

    const MEASURED: Measured = Measured { created: 0, end: 1, activity: Some((0, 1)), busy: 1 };

    /// Adds a stage span that has closed.
    fn add_stage(request: &Request, stage_id: u64) -> Result<(), Arc<str>> {
        let mut fields = SpanFields::default();
        fields.set_number(0, stage_id);
        let numbers = fields.stage();
        let mut closed = Closed {
            measured: MEASURED,
            fields: &mut fields,
            preprocess: None,
            batch: None,
            is_shared: false,
        };
        request.add(|rows| rows.add_stage(&mut closed, &numbers, false))
    }

    /// How many lines a callback writes before it returns, and with how many rows.
    fn write_due(answered: &AnsweredRequests, lines: &mut Vec<usize>) {
        while let Some(request) = answered.next_due() {
            if let Some((Ended::Counted(rows), _)) = request.close_answered(false) {
                answered.remove(&request);
                lines.push(rows.stages.len());
            }
        }
    }

    #[test]
    fn a_span_is_in_the_line_of_its_request_or_learns_its_id_never_both_nor_neither() {
        check_random(
            || {
                let request = Request::begin(0);
                let adders: Vec<_> = (0..3_u64)
                    .map(|stage_id| {
                        let request = Arc::clone(&request);
                        thread::spawn(move || add_stage(&request, stage_id))
                    })
                    .collect();
                let Ok(Ended::Counted(rows)) = request.close(&"r".into()) else { panic!("nothing holds it") };
                let outcomes = adders.into_iter().map(|adder| adder.join().unwrap());
                let late = outcomes.filter(|outcome| outcome.as_ref().is_err_and(|id| **id == *"r")).count();
                assert_eq!(rows.stages.len() + late, 3);
            },
            20_000,
        );
    }

    #[test]
    fn a_held_request_has_one_line_with_the_rows_of_all_that_held_it() {
        check_random(
            || {
                let (request, answered) = (Request::begin(0), Arc::new(AnsweredRequests::default()));
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
                    Ok(Ended::Counted(rows)) => lines.push(rows.stages.len()),
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
