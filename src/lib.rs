//! Production metrics of multi-stage inference requests, from the `tracing` spans you already
//! have.

// A panic in a callback is a panic in the host.
#![warn(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing
)]
// Standard output and error belong to the host; lines go through the writer.
#![warn(clippy::print_stdout, clippy::print_stderr)]
// What is `pub` is API.
#![warn(unreachable_pub)]

mod clock;
mod edge;
mod emit;
mod fields;
mod filter;
mod handle;
mod hops;
mod intervals;
mod json;
mod layer;
mod millis;
mod recorder;
mod request;
mod run;
mod span;
mod stage;
mod tables;
mod value;

pub use clock::{Clock, MockClock, Timestamp};
pub use handle::{OmniMetricsHandle, Snapshot};
pub use layer::OmniMetricsLayer;
pub use millis::Millis;
pub use tables::{
    Detached, DetachedStage, DetachedTransfer, E2eTable, Fields, Line, OverallSummary, ReadError,
    RequestLine, SCHEMA, StageRow, TransferRow,
};
pub use value::FieldValue;
