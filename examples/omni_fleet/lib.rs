//! A simulated fleet, whose processes write real logs.
//!
//! ```text
//! client ──▶ front ──▶ thinker ──▶ talker ──▶ code2wav ──▶ front
//!            request   stage 1     stage 2    stage 3
//!            stage 0
//! ```
//!
//! Each process has its own layer, its own log, and a wall clock that is off by up to a limit. The whole fleet
//! runs in simulated time on one thread, so that the same seed gives the same logs. Requests fail, are
//! cancelled, hang, and come again under the same id; processes die and are started again.
//!
//! The simulation also writes what really happened, by one true clock. [`check`] compares the joined logs with
//! it, and says which numbers are exact and by how much the others are off.
//!
//! | file | what it has |
//! |---|---|
//! | `time.rs` | simulated time |
//! | `process.rs` | a process: its clock, its layer, its log, its death |
//! | `plan.rs` | what is to happen to a request, from the seed |
//! | `fleet.rs` | the fleet, its traffic and its restarts |
//! | `front.rs` | the spans of a front |
//! | `worker.rs` | the spans of a worker |
//! | `truth.rs` | what really happened |
//! | `check.rs`, `deviation.rs` | the joined logs against the truth |

mod check;
mod deviation;
mod fleet;
mod front;
mod plan;
mod process;
mod time;
mod truth;
mod worker;

use std::error::Error;

pub use check::{Findings, check};
pub use deviation::Deviation;
pub use fleet::{Settings, TRUTH, run};

/// A result of this crate.
pub type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;
