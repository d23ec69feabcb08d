//! The spans of a front: the request, and stage 0.

use std::{cell::RefCell, pin::pin, rc::Rc};

use futures_util::future::{Either, select};
use tokio::sync::oneshot;
use tracing::{Instrument, Span, error, field::Empty, info_span};

use crate::{
    fleet::Fleet,
    plan::{Fate, Plan},
    process::Life,
    truth::{self, Attempt},
    worker::{self, Job, Message},
};

/// What the client does next.
pub(crate) enum Ending {
    Final,
    Again,
}

/// Serves a request from its arrival to its answer.
pub(crate) async fn serve(
    fleet: Rc<Fleet>,
    life: Rc<Life>,
    plan: Rc<Plan>,
    request_id: String,
    ending: oneshot::Sender<Ending>,
) {
    let attempt = fleet.open(Attempt {
        request_id: request_id.clone(),
        begin: life.now(),
        end: None,
        finish_reason: None,
        errors: 0,
        offset: life.offset,
        stages: Vec::new(),
        transfers: Vec::new(),
    });
    let span = info_span!("request", request_id, finish_reason = Empty, model = "omni-7b");
    let request = Request { fleet, life: Rc::clone(&life), plan: Rc::clone(&plan), request_id, attempt };
    let attempt = Rc::clone(&request.attempt);
    let hangs_up = async {
        match plan.fate {
            Fate::Cancelled(after) => life.time.sleep(after).await,
            _ => std::future::pending().await,
        }
    };
    let reason = {
        let served = pin!(request.serve().instrument(span));
        match select(served, pin!(hangs_up)).await {
            Either::Left((reason, _)) => reason,
            Either::Right(((), _)) => "abort",
        }
    };
    let mut attempt = attempt.borrow_mut();
    attempt.end = Some(life.now());
    attempt.finish_reason = Some(reason.to_owned());
    // The client may be gone at the end of the simulation.
    let _ = ending.send(if reason == "error" { Ending::Again } else { Ending::Final });
}

struct Request {
    fleet: Rc<Fleet>,
    life: Rc<Life>,
    plan: Rc<Plan>,
    request_id: String,
    attempt: Rc<RefCell<Attempt>>,
}

impl Request {
    async fn serve(self) -> &'static str {
        let Self { fleet, life, plan, request_id, attempt } = self;
        prepare(&life, &plan, &attempt);
        let (answer, answered) = oneshot::channel();
        let job = Job::new(Rc::clone(&plan), request_id, Rc::clone(&attempt), answer);
        worker::send(&fleet, &life, &job, (0, 1));
        drop(job);
        let reason = match answered.await {
            Ok(Ok(message)) => {
                worker::receive(&life, &message, true);
                if plan.tokens_out[1] > 390 { "length" } else { "stop" }
            }
            Ok(Err(message)) => {
                attempt.borrow_mut().errors += 1;
                error!("{message}");
                "error"
            }
            // The process that had the job is dead.
            Err(_) => {
                attempt.borrow_mut().errors += 1;
                error!("a worker is gone");
                "error"
            }
        };
        Span::current().record("finish_reason", reason);
        reason
    }
}

/// Stage 0.
fn prepare(life: &Life, plan: &Plan, attempt: &RefCell<Attempt>) {
    let (begin, [took, ..]) = (life.now(), plan.preprocess);
    info_span!(
        "stage",
        stage_id = 0,
        stage_name = "front",
        num_tokens_in = plan.tokens_in,
        num_tokens_out = 0
    )
    .in_scope(|| life.compute(took));
    attempt.borrow_mut().stages.push(truth::Stage {
        stage_id: 0,
        span: truth::Span { offset: life.offset, begin, end: life.now(), is_own: true },
        created: begin,
        busy: took,
        preprocess: None,
        tokens_in: plan.tokens_in,
        tokens_out: Some(0),
        outputs: Vec::new(),
        media_ms: 0.0,
    });
}

/// The answer of a request, or why there is none.
pub(crate) type Answer = Result<Message, String>;
