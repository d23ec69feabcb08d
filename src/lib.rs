//! Production metrics of multi-stage inference requests, from the `tracing` spans you already
//! have.

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
