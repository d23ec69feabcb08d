//! Production metrics of multi-stage inference requests, from the `tracing` spans that you already have.
//!
//! A layer times spans named `request`, `stage` and `transfer`. When a request is complete, it writes one
//! line of JSON with an end-to-end table, a stage table and a transfer table, by default to stderr.
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
//!     info_span!("transfer", from_stage = 0, to_stage = 1, size_bytes = text.len())
//!         .in_scope(|| talk(&text));
//!     Span::current().record("finish_reason", "stop");
//! }
//!
//! #[instrument(name = "stage", skip_all, fields(
//!     stage_id = 0, num_tokens_in = Empty, num_tokens_out = Empty
//! ))]
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
//! * A **stage** is a step of the pipeline with a number, `stage_id`. The stage spans of a request with
//!   the same number merge into one [`StageRow`]. The time of a span runs from its first enter to its last
//!   exit, so it includes the time that an async stage waits; [`StageRow::busy_time_ms`] does not.
//! * An **output** is a chunk that leaves a stage that streams. Each recording of the stage's field `output`
//!   is one, at its moment; its value is the number of tokens or frames in it. From them come the first
//!   output, the gaps between outputs, and, with `output_media_ms`, the [real-time
//!   factor](StageRow::real_time_factor) and [underruns](StageRow::underruns).
//! * A **transfer** moves data along an edge between two stages. The transfer spans of a request with the
//!   same edge merge into one [`TransferRow`]. A sending span has `phase = "tx"` or no phase, a receiving
//!   span `phase = "rx"`; the data is in flight between the two.
//! * The **run** is all requests since the layer was made, or since the last [`OmniMetricsHandle::reset`]:
//!   [`OverallSummary`].
//!
//! # Rules
//!
//! * A stage or transfer belongs to the open request that its `request_id` names; otherwise to the nearest
//!   enclosing `request` span; otherwise to the requests of the spans that it `follows_from` (a batch).
//!   If there is no such request, its row is *detached*: it is written as a line of its own, which can be
//!   joined by `request_id`.
//! * A request's line is written when its span and all spans that belong to it have closed. Only a span that
//!   begins after that is detached.
//! * A field may be recorded late, and its last value wins. `tracing` ignores a value for a field that the
//!   span did not declare: declare it as
//!   [`Empty`](https://docs.rs/tracing/latest/tracing/field/struct.Empty.html).
//! * Any other field is kept under `fields` of its row. If several spans of the row have it, the last value
//!   stands. A number in a field named `sum.NAME` is added up over the spans of the row and appears under
//!   `NAME`; a plain `NAME` on a later span of the row replaces the sum so far.
//! * If a stage records `scheduled`, it begins at that moment and not at its first enter: before that it was
//!   in the queue.
//! * If a `request` span declares `finish_reason` and closes without one, the reason is `error` if there was
//!   an `ERROR` event inside it (as `#[instrument(err)]` makes one) or its thread was unwinding, else
//!   `abort`.
//! * A value that can't be used counts as not recorded, and adds a sentence to the line's `warnings`.
//! * A field or span whose name is one edit away from a documented name (`num_token_out`, `stages`) adds a
//!   warning, once for each callsite: to the request that encloses it, otherwise to the next line.
//! * A documented value that was neither measured nor recorded is `null` (`None`), never zero.
//!
//! The folder `docs` of the repository has the details: `docs/annotate.md` shows async, threaded, batched and
//! distributed code, and `docs/numbers.md` defines every field and number.
//!
//! # Cost and limits
//!
//! The layer has a per-layer filter of its own: events, except those at `ERROR`, and foreign spans above the
//! lineage level stay disabled if they were. State is freed when its span closes, except what each thread
//! keeps for reuse: 16 span and 16 request objects, a 64 KiB buffer, and the last eight spans that it has
//! seen.
//!
//! A request keeps at most 1,024 stage rows and 1,024 transfer rows; further ids share the row without an id.
//! A row keeps 32 further fields of 1 KiB each, a `request_id` 256 bytes, a line 16 warnings. A request keeps
//! 64 separate intervals of activity, 64 waits of its stages, and 64 hops under way on one edge; more hops
//! are measured as a sum. A row keeps the last 64 to 128 outputs, in order, and a histogram of all gaps. At
//! most 64 callsites are warned of for their names. The 16 smallest stage ids and pairs of ids have
//! percentiles. Lines that stderr does not take at once wait, up to 1 MiB for all layers of the process.
//!
//! With `panic = "abort"`, a panic in a user's `Debug` code or writer ends the process: the layer catches
//! such panics by unwinding.
//!
//! # Features
//!
//! * `tables`, the only one that is on by default: `Format::Table`, and the `Display` of lines.
//! * `cli`: the reader, `omni-metrics`, with `tables`.
//! * `metrics`: the numbers of every closed request and detached row also go through the
//!   [`metrics`](https://docs.rs/metrics) facade, to the recorder that is installed when the first request is
//!   created. `OmniMetricsLayer::with_labels` makes fields of requests labels, [`buckets`] has recommended
//!   buckets, and `docs/exporters.md` lists the families.
//! * `opentelemetry`: beside the layer of `tracing-opentelemetry`, which must be added after this one, lines
//!   have the ids of their OpenTelemetry spans, and the OpenTelemetry span of a request has its numbers as
//!   attributes, also under the names (`gen_ai.*`) that other inference servers use.

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

// Data flows record -> hold -> fold -> write.
mod layer;
mod record;

mod hold;

mod fold;

mod write;

mod handle;
mod inspection;
mod report;
mod shared;

mod contain;
mod model;

// Read: the reader of logs.
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;

pub use handle::{OmniMetricsHandle, SummaryGuard};
pub use hold::clock::{Clock, MockClock};
pub use layer::OmniMetricsLayer;
pub use model::{
    buckets,
    keep::Keep,
    line::{
        Detached, DetachedStage, DetachedTransfer, Line, OpenLine, OverallSummary, ReadError, RequestLine,
        SCHEMA, SummaryLine,
    },
    millis::Millis,
    open_request::{OpenRequest, OpenStage},
    percentiles::{Distribution, Percentiles, StagePercentiles, TransferPercentiles},
    rows::{E2eTable, Fields, StageRow, TransferRow},
    snapshot::Snapshot,
    timestamp::Timestamp,
    value::FieldValue,
    window::Window,
};
pub use report::ReportGuard;
pub use write::{format::Format, queue::QueueGuard};

// The examples of README and docs are tests.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../README.md")]
    struct Readme;
    #[doc = include_str!("../docs/annotate.md")]
    struct Annotate;
    #[doc = include_str!("../docs/limits-and-faults.md")]
    struct LimitsAndFaults;
    #[doc = include_str!("../docs/numbers.md")]
    struct Numbers;
    #[doc = include_str!("../docs/performance.md")]
    struct Performance;
    #[doc = include_str!("../docs/reader.md")]
    struct Reader;
    #[doc = include_str!("../docs/scale.md")]
    struct Scale;
    #[doc = include_str!("../docs/services.md")]
    struct Services;
}
