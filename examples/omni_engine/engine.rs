//! Stage 0: the loop of the engine, with continuous batching.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, TryRecvError},
    },
    time::Duration,
};

use tracing::error;

use crate::{
    answer::Event,
    hop::{Chunk, Ending, Outbox},
    reason,
    scheduler::Scheduler,
    sequence::{Sequence, to_text},
    thinker::Thinker,
};

/// How often an engine that is paused looks for clients that have gone.
const PAUSED: Duration = Duration::from_millis(1);

/// How many steps the engine may run.
#[derive(Debug, Clone)]
pub(crate) struct Gate(Arc<AtomicU64>);

impl Gate {
    pub(crate) const OPEN: u64 = u64::MAX;

    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicU64::new(Self::OPEN)))
    }

    pub(crate) fn allow(&self, steps: u64) {
        self.0.store(steps, Ordering::Release);
    }

    fn is_closed(&self) -> bool {
        self.0.load(Ordering::Acquire) == 0
    }

    fn passed(&self) {
        let one_less = |steps: u64| (steps != Self::OPEN).then(|| steps.saturating_sub(1));
        // Nothing to do if it is open.
        let _ = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less);
    }
}

pub(crate) struct Engine {
    thinker: Thinker,
    scheduler: Scheduler,
    inbox: Receiver<Sequence>,
    talker: Outbox,
    gate: Gate,
    steps: u64,
}

impl Engine {
    pub(crate) fn new(
        thinker: Thinker,
        scheduler: Scheduler,
        inbox: Receiver<Sequence>,
        talker: Outbox,
        gate: Gate,
    ) -> Self {
        Self { thinker, scheduler, inbox, talker, gate, steps: 0 }
    }

    /// Runs on a thread of its own until there is no service left and all sequences have ended.
    pub(crate) fn run(mut self) {
        while self.receive() {
            self.drop_abandoned();
            if self.gate.is_closed() || self.scheduler.is_idle() {
                continue;
            }
            self.gate.passed();
            self.scheduler.schedule();
            self.step();
        }
    }

    /// Takes the sequences that have come. Waits for one if there is nothing else to do.
    fn receive(&mut self) -> bool {
        if self.scheduler.is_idle() {
            match self.inbox.recv() {
                Ok(sequence) => self.scheduler.add(sequence),
                Err(_) => return false,
            }
        } else if self.gate.is_closed() {
            match self.inbox.recv_timeout(PAUSED) {
                Ok(sequence) => self.scheduler.add(sequence),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => self.gate.allow(Gate::OPEN),
            }
        }
        loop {
            match self.inbox.try_recv() {
                Ok(sequence) => self.scheduler.add(sequence),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return true,
            }
        }
    }

    /// Lets go of sequences whose clients have gone. Their stage spans close, so that their lines can be
    /// written.
    fn drop_abandoned(&mut self) {
        let Self { scheduler, talker, .. } = self;
        scheduler.remove(|sequence| {
            let is_abandoned = sequence.client_has_gone();
            // The talker may hold it as well.
            if is_abandoned && sequence.text.sent() > 0 {
                send(talker, sequence, Vec::new(), Some(Ending::Abort));
            }
            is_abandoned
        });
    }

    /// One token for every sequence that runs.
    ///
    /// This engine computes the sequences of a step one after the other, since candle's Llama can't decode
    /// sequences of different lengths together. They are still one batch: the scheduler decides once a step,
    /// and `batch_id` and `batch_size` say so. An engine that computes them together would enter all spans
    /// around its one call.
    fn step(&mut self) {
        self.steps += 1;
        let Self { thinker, scheduler, talker, .. } = self;
        let batch = scheduler.batch();
        let batch_size = batch.len();
        let mut ended = Vec::new();
        for sequence in batch {
            let Sequence { number, events, span, text, .. } = sequence;
            span.in_batch(self.steps, batch_size);
            let (chunk, ending) = span.in_scope(|| {
                let ending = text.step(thinker).unwrap_or_else(|failure| {
                    // Inside the span, so this is an error of the request. The others go on.
                    let reason = reason(&failure);
                    error!("a step failed: {reason}");
                    Some(Ending::Failed(reason))
                });
                let chunk = text.take_chunk(ending.is_some());
                if let Some(tokens) = &chunk {
                    span.output(tokens.len());
                    span.num_tokens_out(text.sent());
                    // A client that has gone is noticed before the next step.
                    let _ = events.send(Event::Text(to_text(tokens)));
                }
                (chunk, ending)
            });
            if ending.is_some() {
                ended.push(*number);
            }
            if chunk.is_some() || ending.is_some() {
                send(talker, sequence, chunk.unwrap_or_default(), ending);
            }
        }
        scheduler.remove(|sequence| ended.contains(&sequence.number));
    }
}

fn send(talker: &Outbox, sequence: &Sequence, tokens: Vec<u32>, ending: Option<Ending>) {
    talker.send(Chunk {
        request: sequence.request.clone(),
        events: sequence.events.clone(),
        sequence: sequence.number,
        tokens,
        ending,
    });
}
