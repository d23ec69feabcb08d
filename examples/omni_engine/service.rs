//! The stages, and the way into them.

use std::{
    io,
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Sender},
    },
    thread::{self, JoinHandle},
};

use tokio::sync::mpsc::unbounded_channel;

use crate::{
    Result,
    answer::{Answer, Ask},
    engine::{Engine, Gate},
    hop::hop,
    request::Request,
    scheduler::Scheduler,
    sequence::Sequence,
    talker::Talker,
    thinker::{MAX_POSITIONS, Thinker},
    timers::RequestTimes,
    voice::Voice,
};

/// The limits of the engine.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How many sequences run at once.
    pub max_running: usize,
    /// How many tokens fit into the cache of keys and values, over all sequences.
    pub kv_tokens: usize,
    /// The seed of the weights.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { max_running: 8, kv_tokens: 1024, seed: 0 }
    }
}

/// Takes requests in. When it is dropped, the stages end what they have begun, and stop.
#[derive(Debug)]
pub struct Service {
    sequences: Sender<Sequence>,
    next_number: AtomicU64,
    gate: Gate,
    longest: usize,
    ledger: Option<Sender<RequestTimes>>,
}

/// The threads of the stages.
#[derive(Debug)]
pub struct Stages(Vec<JoinHandle<()>>);

impl Stages {
    /// Waits until the stages have ended. They do when the [`Service`] has been dropped.
    ///
    /// # Errors
    ///
    /// A stage has panicked.
    pub fn join(self) -> Result<()> {
        for thread in self.0 {
            thread.join().map_err(|_| "a stage has panicked")?;
        }
        Ok(())
    }
}

impl Service {
    /// Loads the models and starts the stages. With a `ledger`, the service's own timers of each request are
    /// sent there when it has ended.
    ///
    /// # Errors
    ///
    /// A model can't be loaded, or a thread can't be started.
    pub fn start(settings: &Settings, ledger: Option<Sender<RequestTimes>>) -> Result<(Self, Stages)> {
        let (sequences, inbox) = mpsc::channel();
        let (outbox, chunks) = hop();
        let gate = Gate::new();
        let scheduler = Scheduler::new(settings.max_running.max(1), settings.kv_tokens);
        let engine = Engine::new(Thinker::load(settings.seed)?, scheduler, inbox, outbox, gate.clone());
        let talker = Talker::new(Voice::load(settings.seed)?, chunks);
        let threads = [spawn("thinker", move || engine.run())?, spawn("talker", move || talker.run())?];
        let longest = settings.kv_tokens.min(MAX_POSITIONS);
        let service = Self { sequences, next_number: AtomicU64::new(0), gate, longest, ledger };
        Ok((service, Stages(threads.into())))
    }

    /// Stops the engine after so many steps, so that a test can bring about what depends on timing. Sequences
    /// whose clients have gone are still dropped.
    pub fn pause_after(&self, steps: u64) {
        self.gate.allow(steps);
    }

    /// Lets the engine run again.
    pub fn resume(&self) {
        self.gate.allow(Gate::OPEN);
    }

    /// A request, with the id that the client gave it.
    pub(crate) fn begin(&self, id: Option<&str>) -> Request {
        Request::begin(id, self.ledger.clone())
    }

    /// Queues the request, or says why not.
    pub(crate) fn submit(&self, request: &Request, ask: Ask) -> Result<Answer, String> {
        let wanted = ask.prompt.len().saturating_add(ask.max_tokens);
        if ask.prompt.is_empty() || ask.max_tokens == 0 {
            return Err("prompt is empty, or max_tokens is 0".to_owned());
        }
        if wanted > self.longest {
            return Err(format!("{wanted} tokens with the prompt are too many for {}", self.longest));
        }
        let (sender, events) = unbounded_channel();
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let sequence = Sequence::new(number, ask, request.clone(), sender);
        self.sequences.send(sequence).map_err(|_| "the engine has stopped")?;
        Ok(Answer::new(events, request.clone()))
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(work)
}
