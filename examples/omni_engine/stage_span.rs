//! The `stage` span of one sequence, from its arrival at a stage until the stage lets go of it.

use std::cell::RefCell;

use tracing::{Span, field::Empty, info_span};

use crate::{
    request::Request,
    timers::{Moment, Output, StageTimes, Visit},
};

/// The stages of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Thinker = 0,
    Talker = 1,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Self::Thinker => "thinker",
            Self::Talker => "talker",
        }
    }
}

/// A sequence in a stage.
///
/// An engine with continuous batching works on a sequence in many steps, and on others between them. The
/// stage still has *one* span for each sequence: it is created when the sequence arrives, entered in every
/// step that computes something for it, and closed when the sequence has ended. So the line tells apart
///
/// * the wait in the queue, from the creation to `scheduled`;
/// * the time in the stage, from `scheduled` to the last exit, with the steps of other sequences;
/// * the time that went into this sequence alone, `busy_time_ms`.
#[derive(Debug)]
pub(crate) struct StageSpan {
    span: Span,
    request: Request,
    times: RefCell<StageTimes>,
}

impl StageSpan {
    /// For a sequence that has just come to the stage.
    pub(crate) fn new(request: &Request, stage: Stage) -> Self {
        let (span, created) = Moment::of(|| {
            info_span!(
                parent: request.span(),
                "stage",
                stage_id = stage as u64,
                stage_name = stage.name(),
                batch_id = Empty,
                batch_size = Empty,
                num_tokens_in = Empty,
                num_tokens_out = Empty,
                scheduled = Empty,
                output = Empty,
                output_media_ms = Empty,
                preemptions = Empty,
            )
        });
        let times = RefCell::new(StageTimes::new(stage as u64, created));
        Self { span, request: request.clone(), times }
    }

    /// The scheduler begins to work on the sequence. The first recording counts, so a sequence that was
    /// preempted and begins again needs no case of its own.
    pub(crate) fn scheduled(&self) {
        let (_, at) = Moment::of(|| self.span.record("scheduled", true));
        self.times.borrow_mut().scheduled.get_or_insert(at);
    }

    /// The sequence is in this step. The row shows the last one.
    pub(crate) fn in_batch(&self, id: u64, size: usize) {
        self.span.record("batch_id", id).record("batch_size", size);
    }

    /// One sequence's part of a step.
    pub(crate) fn in_scope<T>(&self, work: impl FnOnce() -> T) -> T {
        let (result, visit) = Visit::to(&self.span, work);
        self.times.borrow_mut().visited(visit);
        result
    }

    pub(crate) fn num_tokens_in(&self, tokens: usize) {
        self.span.record("num_tokens_in", tokens);
    }

    pub(crate) fn num_tokens_out(&self, tokens: usize) {
        self.span.record("num_tokens_out", tokens);
    }

    /// A chunk of so many tokens leaves the stage.
    pub(crate) fn output(&self, tokens: usize) {
        let (_, at) = Moment::of(|| self.span.record("output", tokens));
        self.times.borrow_mut().outputs.push(Output { at, units: tokens as u64, media_ms: None });
    }

    /// A chunk of so many frames leaves the stage, and its sound lasts so long.
    pub(crate) fn output_sound(&self, frames: usize, media_ms: f64) {
        let (_, at) = Moment::of(|| self.span.record("output", frames).record("output_media_ms", media_ms));
        let output = Output { at, units: frames as u64, media_ms: Some(media_ms) };
        self.times.borrow_mut().outputs.push(output);
    }

    /// The sequence goes back into the queue. `preemptions` is a field of this service, so the line has it
    /// under `fields` of the row.
    pub(crate) fn preempted(&self) {
        let mut times = self.times.borrow_mut();
        times.preemptions += 1;
        self.span.record("preemptions", times.preemptions);
    }
}

impl Drop for StageSpan {
    fn drop(&mut self) {
        self.request.times().stages.push(self.times.borrow().clone());
    }
}
