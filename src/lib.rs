//! Production metrics of multi-stage inference requests, from the `tracing` spans you already
//! have.
//!
//! Spans named `request`, `stage` and `transfer` are timed by a layer; when a `request` span
//! closes, one line of JSON with an end-to-end table, a stage table and a transfer table goes to
//! stderr.
//!
//! ```
//! use std::sync::Mutex;
//!
//! use omni_metrics::{Line, OmniMetricsLayer};
//! use tracing::{Span, field::Empty, info_span, instrument};
//! use tracing_subscriber::prelude::*;
//!
//! #[instrument(name = "request", skip_all, fields(request_id = id, finish_reason = Empty))]
//! fn handle(id: &str, prompt: &str) {
//!     let text = think(prompt);
//!     info_span!("transfer", from_stage = 0, to_stage = 1, size_bytes = text.len()).in_scope(|| talk(&text));
//!     Span::current().record("finish_reason", "stop");
//! }
//!
//! #[instrument(name = "stage", skip_all, fields(stage_id = 0, num_tokens_in = Empty, num_tokens_out = Empty))]
//! fn think(prompt: &str) -> String {
//!     let words = info_span!("preprocess").in_scope(|| prompt.split(' ').count());
//!     Span::current().record("num_tokens_in", words).record("num_tokens_out", 2);
//!     "Hello there".to_owned()
//! }
//!
//! fn talk(_text: &str) {}
//!
//! # #[derive(Clone, Default)]
//! # struct Log(std::sync::Arc<Mutex<Vec<u8>>>);
//! # impl std::io::Write for Log {
//! #     fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> { self.0.lock().unwrap().write(bytes) }
//! #     fn flush(&mut self) -> std::io::Result<()> { Ok(()) }
//! # }
//! # let log = Log::default();
//! # let writer = log.clone();
//! let layer = OmniMetricsLayer::new(); // writes to stderr
//! # let layer = layer.with_writer(move || writer.clone());
//! let subscriber = tracing_subscriber::registry().with(layer);
//! tracing::subscriber::with_default(subscriber, || handle("r1", "Say hello to me"));
//!
//! # let line = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
//! // `line` is what was written.
//! let Line::Request(request) = line.parse()? else { panic!("a request has closed") };
//! assert_eq!(request.request_id, "r1");
//! assert_eq!(request.e2e_table.e2e_total_tokens, 4 + 2);
//! assert_eq!(request.e2e_table.finish_reason.as_deref(), Some("stop"));
//! assert_eq!(request.stage_table[0].num_tokens_out, Some(2));
//! assert_eq!(request.transfer_table[0].size_bytes, Some(11));
//! # Ok::<(), omni_metrics::ReadError>(())
//! ```
//!
//! # Concepts
//!
//! * A **request** is one `request` span, from its creation to its last exit or that of its last
//!   stage or transfer. [`RequestLine`] is its line.
//! * A **stage** is a step of the pipeline with a number, `stage_id`. Its spans merge into one
//!   [`StageRow`] a request. A span's time runs from its first enter to its last exit, so what an
//!   async stage awaits counts; [`StageRow::busy_time_ms`] is what it computed.
//! * A **transfer** moves data along an edge between two stages: one [`TransferRow`] a request and
//!   edge. The sending half has `phase = "tx"` or none, the receiving half `phase = "rx"`; the time
//!   between them is in flight.
//! * The **run** is all requests since the layer was made: [`OverallSummary`].
//!
//! # Rules
//!
//! * A stage or transfer belongs to the open request its `request_id` names, else to the nearest
//!   enclosing `request` span, else to the requests of the spans it `follows_from` (a batch).
//!   One that has no open request is *detached*: a line of its own, to be joined by `request_id`.
//! * Fields may be recorded late, and the last value wins. `tracing` ignores a value for a field
//!   that the span did not declare: declare it as [`Empty`](https://docs.rs/tracing/latest/tracing/field/struct.Empty.html).
//! * Any other field is kept under `fields` of its row, where the last value stands. A number in a field
//!   `sum.NAME` adds up over the spans of the row, and stands under `NAME`; a plain `NAME` on a span of the same row
//!   replaces the sum so far.
//! * A value that can't be used is as if it was not recorded, and adds a sentence to the line's
//!   `warnings`.
//! * A name of a field or a span that is one slip away from one of the contract's (`num_token_out`, `stages`) adds
//!   a warning too, once a callsite: to the request around it, else to the next line.
//! * What was neither measured nor recorded is `null` (`None`), never zero.
//!
//! The README has the fields one by one, and how to annotate async, threaded, batched and
//! distributed code.
//!
//! # Cost and limits
//!
//! The layer brings its own filter: foreign events and spans below the lineage level stay as
//! disabled as they were. State lives as long as its span, but for what a thread uses again: the shells of
//! 16 spans and 16 requests, a buffer of 64 KiB, and the last eight spans that it has seen. A request keeps
//! 1,024 stage rows and 1,024 transfer rows (further ids share the row without one), 32 further fields a row,
//! 1 KiB a value, 256 bytes of `request_id`, 16 warnings, 64 separate stretches of activity, and 64 hops
//! under way on one edge (more are measured together, as far as they can be told apart). At most 64 callsites
//! are warned of for their names. What stderr does not take at once waits, up to 1 MiB for all layers of the
//! process. The 16
//! smallest stage ids and pairs of ids have percentiles. `panic = "abort"` takes away one protection: a user's `Debug` or writer that
//! panics is caught by unwinding.
//!
//! # Features
//!
//! On by default is `tables`: `Format::Table`, and the `Display` of lines. All others are off. `cli`: the reader,
//! `omni-metrics`, with `tables`. `metrics`: the numbers of every closed request go
//! through the [`metrics`](https://docs.rs/metrics) facade as well, to the recorder that is installed when
//! the first request is created; README has the list. `opentelemetry`: beside the layer of
//! `tracing-opentelemetry`, added after this one, lines carry the ids of their OpenTelemetry spans, and a request's
//! span has its numbers as attributes.

#![cfg_attr(docsrs, feature(doc_cfg))]
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

// Record: what `tracing` says.
mod layer;

mod closing;
mod filter;
mod recorder;

mod contain;
mod fields;
mod layout;
mod near_misses;
mod recorded;
mod value;
mod warnings;

// Hold: what is open, and whose it is.
mod answered;
mod clock;
mod counter;
mod counts;
mod open_spans;
mod ownership;
mod span;
mod spares;
mod sync;

// Fold: rows, requests, the run.
mod detached;
mod edge;
mod hops;
mod ids;
mod intervals;
mod percentiles;
mod request;
mod run;
mod stage;

// Write: tables, lines, what is left to see.
mod digits;
mod emit;
#[cfg(feature = "metrics")]
mod facade;
mod format;
mod handle;
mod json;
mod line;
mod millis;
#[cfg_attr(not(feature = "opentelemetry"), path = "no_otel.rs")]
mod otel;
mod queue;
#[cfg(unix)]
mod stderr;
mod tables;
#[cfg(feature = "tables")]
mod text;
mod waiting;

// Read: the reader of logs.
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;

pub use clock::{Clock, MockClock, Timestamp};
pub use format::Format;
pub use handle::{OmniMetricsHandle, Snapshot, SummaryGuard};
pub use layer::OmniMetricsLayer;
pub use millis::Millis;
pub use percentiles::{Distribution, Percentiles, StagePercentiles, TransferPercentiles};
pub use queue::QueueGuard;
pub use tables::{
    Detached, DetachedStage, DetachedTransfer, E2eTable, Fields, Line, OverallSummary, ReadError,
    RequestLine, SCHEMA, StageRow, SummaryLine, TransferRow,
};
pub use value::FieldValue;

/// The README's examples are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
