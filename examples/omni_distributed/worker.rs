//! One stage, in a process of its own.

use std::{
    fmt,
    io::{self, Write},
    net::SocketAddr,
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use tokio::{io::AsyncReadExt, net::TcpListener, sync::mpsc};

use crate::{
    Shared,
    prometheus::{self, Exporter},
    stages::{
        Result, Tasks,
        code2wav::{self, Sink, Spoken},
        talker,
        thinker::{self, Prompt, Thinker},
        ticket::Ticket,
        wav::Wav,
        wire::{self, Edge},
    },
};

/// How many messages each queue holds.
pub(crate) const CAPACITY: usize = 64;

/// What a worker is told by the coordinator.
#[derive(Debug, clap::Args)]
pub(crate) struct Worker {
    #[arg(long)]
    pub(crate) stage: Stage,
    /// Where to listen
    #[arg(long)]
    pub(crate) listen: SocketAddr,
    /// Where to send what the stage makes
    #[arg(long)]
    pub(crate) next: SocketAddr,
    /// How many processes this stage has had before
    #[arg(long)]
    pub(crate) restarts: u32,
    #[command(flatten)]
    pub(crate) shared: Shared,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Stage {
    Thinker,
    Talker,
    #[value(name = "code2wav")]
    Code2Wav,
}

impl Stage {
    pub(crate) const ALL: [Self; 3] = [Self::Thinker, Self::Talker, Self::Code2Wav];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Thinker => "thinker",
            Self::Talker => "talker",
            Self::Code2Wav => "code2wav",
        }
    }

    /// The log of the stage's process; those after the first have a number.
    pub(crate) fn log_name(self, restarts: u32) -> String {
        match restarts {
            0 => format!("{}.jsonl", self.name()),
            restarts => format!("{}.{}.jsonl", self.name(), restarts + 1),
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stage {} ({})", *self as u8, self.name())
    }
}

/// What the coordinator asks of the thinker.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Question {
    pub(crate) text: String,
    pub(crate) max_tokens: usize,
    pub(crate) seed: u64,
}

/// What code2wav tells the coordinator.
pub(crate) type Outcome = Result<Spoken, String>;

impl Worker {
    pub(crate) fn log_name(&self) -> String {
        self.stage.log_name(self.restarts)
    }

    /// Works until there is nothing more to come, or the coordinator has gone.
    pub(crate) async fn run(&self, exporter: Exporter) -> Result<()> {
        let metrics = prometheus::serve(exporter).await?;
        let listener = TcpListener::bind(self.listen).await?;
        let address = listener.local_addr()?;
        let mut tasks = Tasks::default();
        match self.stage {
            Stage::Thinker => {
                let thinker = Thinker::train(&self.shared.sentences()?)?;
                let questions = wire::listen(Edge::Outside, listener, CAPACITY, &mut tasks);
                let talker = wire::dial(Edge::Processes(0, 1), self.next, CAPACITY, &mut tasks);
                let (prompts, queue) = mpsc::channel(CAPACITY);
                tasks.spawn(ask(questions, prompts));
                tasks.spawn(thinker::run(Arc::new(thinker), queue, talker));
            }
            Stage::Talker => {
                let texts = wire::listen(Edge::Processes(0, 1), listener, CAPACITY, &mut tasks);
                let code2wav = wire::dial(Edge::Processes(1, 2), self.next, CAPACITY, &mut tasks);
                tasks.spawn(talker::run(texts, code2wav));
            }
            Stage::Code2Wav => {
                let speeches = wire::listen(Edge::Processes(1, 2), listener, CAPACITY, &mut tasks);
                let outcomes = Arc::new(wire::dial(Edge::Outside, self.next, CAPACITY, &mut tasks));
                let out = self.shared.out();
                let open = move |ticket: &Ticket| File {
                    wav: Wav::of(&ticket.request_id, &out),
                    outcomes: Arc::clone(&outcomes),
                };
                tasks.spawn(code2wav::run(speeches, open, None, None));
            }
        }
        // The coordinator waits for this: from now on it need not wait for anything but work.
        writeln!(io::stdout(), "{address} {metrics}")?;
        tokio::select! {
            ended = tasks.end() => ended?,
            () = orphaned() => return Err("the coordinator has gone".into()),
        }
        if self.shared.keep {
            // Every row is counted. The coordinator closes stdin when the metrics may go.
            writeln!(io::stdout(), "done")?;
            orphaned().await;
        }
        Ok(())
    }
}

/// Ends when the coordinator does, who holds the other end of stdin.
async fn orphaned() {
    let mut stdin = tokio::io::stdin();
    while stdin.read_u8().await.is_ok() {}
}

async fn ask(mut questions: mpsc::Receiver<(Ticket, Question)>, prompts: mpsc::Sender<Prompt>) -> Result<()> {
    while let Some((ticket, Question { text, max_tokens, seed })) = questions.recv().await {
        // The request's span is in another process. There is only its id to name it by.
        let prompt = Prompt { ticket, text, min_tokens: 1, max_tokens, seed, request: None, pieces: None };
        prompts.send(prompt).await?;
    }
    Ok(())
}

/// The sound of a request, on its way into a file.
struct File {
    wav: Wav,
    outcomes: Arc<wire::Sender<Outcome>>,
}

impl Sink for File {
    fn write(&mut self, samples: &[i16]) -> Result<()> {
        self.wav.write(samples)
    }

    async fn finish(self, ticket: Ticket, spoken: Result<Spoken>) -> Result<()> {
        let spoken = spoken.and_then(|spoken| self.wav.finish().map(|_| spoken));
        self.outcomes.send(&ticket, &spoken.map_err(|failure| failure.to_string())).await
    }
}
