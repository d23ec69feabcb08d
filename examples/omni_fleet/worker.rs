//! The spans of a worker: stages 1 to 3, and the messages between them.

use std::{
    cell::{Cell, RefCell},
    future::pending,
    rc::Rc,
};

use tokio::sync::oneshot;
use tracing::{Instrument, Span, field::Empty, info_span};

use crate::{
    fleet::Fleet,
    front::Answer,
    plan::{Fate, Plan},
    process::Life,
    truth::{self, Attempt},
};

const NAMES: [&str; 4] = ["front", "thinker", "talker", "code2wav"];
/// How many frames of sound a chunk has, and how long each plays.
const FRAMES: u64 = 4;
const FRAME_MS: f64 = 80.0;

/// A request in the workers. If all that have it are dead, the front hears that it is lost.
pub(crate) struct Job {
    plan: Rc<Plan>,
    request_id: String,
    attempt: Rc<RefCell<Attempt>>,
    answer: Cell<Option<oneshot::Sender<Answer>>>,
    /// How many chunks the last stage has still to make.
    chunks: Cell<u64>,
}

/// What one process sends to another.
pub(crate) struct Message {
    job: Rc<Job>,
    from_stage: u64,
    to_stage: u64,
    /// By the sender's wall clock; and really, with how far that clock was ahead.
    sent_at_unix_ms: f64,
    sent: (u64, i64),
}

impl Job {
    pub(crate) fn new(
        plan: Rc<Plan>,
        request_id: String,
        attempt: Rc<RefCell<Attempt>>,
        answer: oneshot::Sender<Answer>,
    ) -> Rc<Self> {
        let (chunks, answer) = (Cell::new(plan.chunks), Cell::new(Some(answer)));
        Rc::new(Self { plan, request_id, attempt, answer, chunks })
    }
}

/// Sends a message to the next stage, or the answer to the front: the sending half of a transfer.
pub(crate) fn send(fleet: &Rc<Fleet>, life: &Life, job: &Rc<Job>, edge: (u64, u64)) {
    let plan = &job.plan;
    let [from_stage, to_stage] = <[u64; 2]>::from(edge);
    let (at, begin, bytes) = (to_stage as usize, life.now(), plan.bytes[from_stage as usize]);
    let span = info_span!("transfer", from_stage, to_stage, size_bytes = bytes, request_id = job.request_id);
    span.in_scope(|| life.compute(plan.codec));
    drop(span);
    let is_own = from_stage == 0;
    job.attempt.borrow_mut().transfers.push(truth::Half {
        from_stage,
        to_stage,
        span: truth::Span { offset: life.offset, begin, end: life.now(), is_own },
        bytes: Some(bytes),
        sent: None,
    });
    let message = Message {
        job: Rc::clone(job),
        from_stage,
        to_stage,
        sent_at_unix_ms: life.unix_ms(),
        sent: (life.now(), life.offset),
    };
    let (arrives, to) = (life.now() + plan.flights[at], plan.processes[at]);
    let fleet_ = Rc::clone(fleet);
    let carried = async move {
        fleet_.time.until(arrives).await;
        if to_stage == 0 {
            if let Some(answer) = message.job.answer.take() {
                // The request may be cancelled.
                let _ = answer.send(Ok(message));
            }
        } else if let Some(life) = fleet_.life(to) {
            // A message to a dead process is lost.
            let _ = fleet_.spawn(Rc::clone(&life).run(work(Rc::clone(&fleet_), life, message)));
        }
    };
    // Only at the end of the simulation there is nobody to carry it.
    let _ = fleet.spawn(carried);
}

/// The receiving half of a transfer.
pub(crate) fn receive(life: &Life, message: &Message, is_own: bool) {
    let Message { job, from_stage, to_stage, sent_at_unix_ms, sent } = message;
    let begin = life.now();
    let span = info_span!(
        "transfer",
        from_stage,
        to_stage,
        phase = "rx",
        sent_at_unix_ms,
        request_id = job.request_id
    );
    span.in_scope(|| life.compute(job.plan.codec));
    drop(span);
    job.attempt.borrow_mut().transfers.push(truth::Half {
        from_stage: *from_stage,
        to_stage: *to_stage,
        span: truth::Span { offset: life.offset, begin, end: life.now(), is_own },
        bytes: None,
        sent: Some(*sent),
    });
}

/// What a worker does with a message.
async fn work(fleet: Rc<Fleet>, life: Rc<Life>, message: Message) {
    receive(&life, &message, false);
    let (job, stage_id) = (message.job, message.to_stage);
    let plan = Rc::clone(&job.plan);
    let at = stage_id as usize;
    let span = info_span!(
        "stage",
        stage_id,
        stage_name = NAMES[at],
        request_id = job.request_id,
        num_tokens_in = plan.tokens_in,
        num_tokens_out = Empty,
        output = Empty,
        output_media_ms = Empty
    );
    let created = life.now();
    let Ok(_slot) = life.slots.acquire().await else { return };
    let mut row = truth::Stage {
        stage_id,
        span: truth::Span { offset: life.offset, begin: life.now(), end: 0, is_own: false },
        created,
        busy: 0,
        preprocess: None,
        tokens_in: plan.tokens_in,
        tokens_out: None,
        outputs: Vec::new(),
        media_ms: 0.0,
    };
    let made = make(&life, &plan, &mut row).instrument(span).await;
    row.span.end = life.now();
    job.attempt.borrow_mut().stages.push(row);
    if let Err(failure) = made {
        if let Some(answer) = job.answer.take() {
            // The request may be cancelled.
            let _ = answer.send(Err(failure));
        }
        return;
    }
    match stage_id {
        1 => send(&fleet, &life, &job, (1, 2)),
        2 => (0..plan.chunks).for_each(|_| send(&fleet, &life, &job, (2, 3))),
        _ => {
            job.chunks.set(job.chunks.get() - 1);
            if job.chunks.get() == 0 {
                send(&fleet, &life, &job, (3, 0));
            }
        }
    }
}

/// The work of a stage, inside its span.
async fn make(life: &Life, plan: &Plan, row: &mut truth::Stage) -> Result<(), String> {
    let at = row.stage_id as usize;
    let (preprocess, model, tokens_out) = (plan.preprocess[at], plan.model[at], plan.tokens_out[at]);
    info_span!("preprocess").in_scope(|| life.compute(preprocess));
    row.preprocess = Some(preprocess);
    row.busy += preprocess;
    if plan.fate == Fate::HangsIn(row.stage_id) {
        pending::<()>().await;
    }
    // Tokens leave a stage one by one, here in four groups.
    for n in 0..FRAMES {
        life.time.until(life.now() + model / FRAMES).await;
        if plan.fate == Fate::FailsIn(row.stage_id) && n == 2 {
            return Err(format!("stage {} failed", row.stage_id));
        }
        if row.stage_id != 2 {
            Span::current().record("output", tokens_out / FRAMES);
            row.outputs.push(life.now());
        }
        if row.stage_id == 3 {
            Span::current().record("output_media_ms", FRAME_MS);
            row.media_ms += FRAME_MS;
        }
        let took = preprocess / 8;
        life.compute(took);
        row.busy += took;
    }
    Span::current().record("num_tokens_out", tokens_out);
    row.tokens_out = Some(tokens_out);
    Ok(())
}
