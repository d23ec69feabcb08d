//! The stages that the examples share: text in, speech out.
//!
//! ```text
//! prompts ──▶ thinker ──TCP──▶ talker ──TCP──▶ code2wav ──▶ sound
//!             stage 0          stage 1         stage 2
//! ```
//!
//! | span | where | by |
//! |---|---|---|
//! | `stage` 0, for a batch, and `preprocess` inside it | `thinker.rs`: shared by several requests | hand, `#[instrument]` |
//! | `transfer` | `wire.rs`: a sending and a receiving half | hand |
//! | `stage` 1 | `talker.rs`: a function is the stage | `#[instrument]` |
//! | `stage` 2 | `code2wav.rs`: created here, run on another thread | hand |
//!
//! `prometheus.rs` and `traces.rs` are for the services alone, which name them by their paths.
//!
//! They run in one process or in one each. A message that leaves a process takes along what the other one
//! has to know of the request: that is a [`Ticket`](ticket::Ticket).
#![allow(dead_code, reason = "no example uses all of it")]

pub(crate) mod answers;
pub(crate) mod code2wav;
mod codec;
pub(crate) mod corpus;
pub(crate) mod format;
pub(crate) mod ngram;
pub(crate) mod synth;
pub(crate) mod talker;
pub(crate) mod text;
pub(crate) mod thinker;
pub(crate) mod ticket;
mod voice;
pub(crate) mod wav;
pub(crate) mod wire;

use std::{
    error,
    io::{self, Write},
    process::ExitCode,
    sync::mpsc,
    thread,
    time::Duration,
};

use tokio::task::JoinSet;

pub(crate) type Failure = Box<dyn error::Error + Send + Sync>;
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// How long a process that has failed waits until its error is written.
const PATIENCE: Duration = Duration::from_secs(1);

/// How a process ends.
pub(crate) fn exit_code(ended: Result<()>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // If stderr is gone as well, or nobody reads it, the exit code still tells.
            let (done, is_done) = mpsc::channel();
            thread::spawn(move || done.send(writeln!(io::stderr(), "error: {failure}")));
            let _ = is_done.recv_timeout(PATIENCE);
            ExitCode::FAILURE
        }
    }
}

/// The tasks of stages and connections. One that fails ends all.
#[derive(Debug, Default)]
pub(crate) struct Tasks(JoinSet<Result<()>>);

impl Tasks {
    pub(crate) fn spawn(&mut self, task: impl Future<Output = Result<()>> + Send + 'static) {
        self.0.spawn(task);
    }

    /// Waits for all of them, or for the first failure.
    pub(crate) async fn end(&mut self) -> Result<()> {
        while let Some(ended) = self.0.join_next().await {
            ended??;
        }
        Ok(())
    }
}
