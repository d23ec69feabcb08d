//! A real inference engine, and how its loop is annotated for omni-metrics.
//!
//! ```text
//! POST /v1/speech ──▶ queue ──▶ thinker: Llama, continuous batching ──hop──▶ talker: a vocoder
//!                               stage 0, a thread                           stage 1, a thread
//!        ◀── text ───────────────────┘                                            │
//!        ◀── sound ───────────────────────────────────────────────────────────────┘
//! ```
//!
//! Both models are real networks, computed by [candle](https://docs.rs/candle-core) on the CPU. They are
//! small, and their weights are random numbers from a seed, so nothing is downloaded, and the sound is noise.
//!
//! | file | what it has | spans |
//! |---|---|---|
//! | `request.rs` | a request, as all threads share it | `request` |
//! | `stage_span.rs` | a sequence in a stage: queue, steps, chunks | `stage` |
//! | `engine.rs` | the loop of stage 0; `scheduler.rs` admits and preempts | |
//! | `talker.rs` | the loop of stage 1 | |
//! | `hop.rs` | the channel between the two | `transfer` |
//! | `answer.rs`, `server.rs` | the stream to the client | |
//! | `timers.rs` | the service's own timers, with which the tests compare the lines | |

mod answer;
mod client;
mod engine;
mod hop;
mod load;
mod request;
mod scheduler;
mod sequence;
mod server;
mod service;
mod stage_span;
mod talker;
mod thinker;
mod timers;
mod voice;
mod weights;

use std::error::Error;

pub use answer::Ask;
pub use client::{Events, Received};
pub use load::send;
pub use server::{REQUEST_ID, routes};
pub use service::{Service, Settings, Stages};
pub use timers::{Moment, Output, RequestTimes, StageTimes, Visit};
pub use voice::{FRAME, SAMPLE_RATE};

/// A result of this crate.
pub type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// What went wrong. `candle` appends a backtrace if `RUST_BACKTRACE` asks for one. Clients must not see it.
fn reason(failure: &candle_core::Error) -> String {
    failure.to_string().lines().next().unwrap_or_default().to_owned()
}
