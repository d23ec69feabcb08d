//! The service's own timers: an account of every request that does not come from omni-metrics.
//!
//! A service does not need this file. Here it lets the tests compare every number of a line with a second
//! measurement. A thread can lose the processor between the reading of a timer and the call that it times, so
//! each moment is a pair of readings, one before the call and one after it. The layer reads its clock between
//! the two, on any machine and under any load.

use std::{
    mem,
    time::{Duration, Instant},
};

use tracing::Span;

/// The readings directly before and directly after a call.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// The clock before the call.
    pub before: Instant,
    /// The clock after the call.
    pub after: Instant,
}

impl Moment {
    /// Makes the call, and says when.
    pub(crate) fn of<T>(call: impl FnOnce() -> T) -> (T, Self) {
        let before = Instant::now();
        let result = call();
        (result, Self { before, after: Instant::now() })
    }
}

/// One stay in a span.
#[derive(Debug, Clone, Copy)]
pub struct Visit {
    /// When the span was entered.
    pub enter: Moment,
    /// When it was exited.
    pub exit: Moment,
}

impl Visit {
    /// [`Span::in_scope`], timed.
    pub(crate) fn to<T>(span: &Span, work: impl FnOnce() -> T) -> (T, Self) {
        let (entered, enter) = Moment::of(|| span.enter());
        let result = work();
        let ((), exit) = Moment::of(|| drop(entered));
        (result, Self { enter, exit })
    }
}

/// A chunk that left a stage.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// When `output` was recorded.
    pub at: Moment,
    /// Tokens or frames in the chunk.
    pub units: u64,
    /// How long its sound lasts.
    pub media_ms: Option<f64>,
}

/// What one stage did for one request.
#[derive(Debug, Clone)]
pub struct StageTimes {
    /// The number of the stage.
    pub stage_id: u64,
    /// When the span was created.
    pub created: Moment,
    /// When `scheduled` was recorded first.
    pub scheduled: Option<Moment>,
    /// When the span was entered first.
    pub first_enter: Option<Moment>,
    /// When it was exited last.
    pub last_exit: Option<Moment>,
    /// The time inside the span: the least and the most that the readings allow.
    pub busy: (Duration, Duration),
    /// Every chunk that left.
    pub outputs: Vec<Output>,
    /// How often the sequence was put back into the queue.
    pub preemptions: u64,
}

impl StageTimes {
    pub(crate) fn new(stage_id: u64, created: Moment) -> Self {
        Self {
            stage_id,
            created,
            scheduled: None,
            first_enter: None,
            last_exit: None,
            busy: (Duration::ZERO, Duration::ZERO),
            outputs: Vec::new(),
            preemptions: 0,
        }
    }

    pub(crate) fn visited(&mut self, Visit { enter, exit }: Visit) {
        self.first_enter.get_or_insert(enter);
        self.last_exit = Some(exit);
        self.busy.0 += exit.before.saturating_duration_since(enter.after);
        self.busy.1 += exit.after.saturating_duration_since(enter.before);
    }
}

/// The account of one request. It is complete when nothing of the service holds the request any more.
#[derive(Debug, Clone)]
pub struct RequestTimes {
    /// The `request_id` that the client gave it, if any.
    pub request_id: Option<String>,
    /// When the `request` span was created.
    pub created: Moment,
    /// When it was exited last.
    pub last_exit: Option<Moment>,
    /// The stages that held the request.
    pub stages: Vec<StageTimes>,
    /// The `tx` spans of its transfers, in their order.
    pub sent: Vec<Visit>,
    /// The `rx` spans, in the same order.
    pub received: Vec<Visit>,
    /// Bytes of all its transfers.
    pub bytes: u64,
}

impl RequestTimes {
    pub(crate) fn new(request_id: Option<&str>, created: Moment) -> Self {
        Self {
            request_id: request_id.map(str::to_owned),
            created,
            last_exit: None,
            stages: Vec::new(),
            sent: Vec::new(),
            received: Vec::new(),
            bytes: 0,
        }
    }

    /// Moves the account out, and leaves an empty one.
    pub(crate) fn take(&mut self) -> Self {
        let empty = Self::new(None, self.created);
        mem::replace(self, empty)
    }
}
