//! The tables, as they stand in a line of JSON and as they are read back.

use std::{borrow::Cow, collections::BTreeMap, error, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{FieldValue, Millis, Percentiles, Timestamp};

/// The version of the format, in every line as `schema`.
pub const SCHEMA: u32 = 1;

/// Further fields of a span, by name.
pub type Fields = BTreeMap<Cow<'static, str>, FieldValue>;

/// One line of the log.
///
/// ```
/// use omni_metrics::Line;
///
/// let line = r#"{"type":"stage","schema":1,"timestamp":"2026-01-31T12:00:00.123456Z",
///     "request_id":"r1","stage_id":2,"stage_gen_time_ms":160.745}"#;
/// let Line::Stage(detached) = line.parse()? else { panic!("the type is stage") };
/// assert_eq!(detached.request_id.as_deref(), Some("r1"));
/// assert_eq!(detached.row.stage_gen_time_ms.map(|time| time.as_f64()), Some(160.745));
/// # Ok::<(), omni_metrics::ReadError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Line {
    /// A request that has closed, with all its tables.
    Request(RequestLine),
    /// A stage that belongs to no open request of this process.
    Stage(DetachedStage),
    /// A transfer that belongs to no open request of this process.
    Transfer(DetachedTransfer),
    /// The run, when asked for.
    Summary(SummaryLine),
}

impl Line {
    /// The request that the line is of, as far as it says.
    pub fn request_id(&self) -> Option<&str> {
        match self {
            Self::Request(line) => Some(&line.request_id),
            Self::Stage(line) => line.request_id.as_deref(),
            Self::Transfer(line) => line.request_id.as_deref(),
            Self::Summary(_) => None,
        }
    }
}

impl FromStr for Line {
    type Err = ReadError;

    /// Reads one line. Unknown keys are passed over; the keys that identify the line must be there.
    fn from_str(line: &str) -> Result<Self, ReadError> {
        serde_json::from_str(line).map_err(ReadError)
    }
}

/// Why a text is not a line of this format.
#[derive(Debug)]
pub struct ReadError(serde_json::Error);

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a line of omni-metrics")
    }
}

impl error::Error for ReadError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        Some(&self.0)
    }
}

/// A closed request: `"type":"request"`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RequestLine {
    /// Version of the format, [`SCHEMA`].
    pub schema: u32,
    /// Wall clock at the request's end; it began [`E2eTable::e2e_total_ms`] before.
    pub timestamp: Timestamp,
    /// As recorded, or generated: `req-`, a random number of the process, a count.
    pub request_id: String,
    /// The run up to and including this request.
    pub overall_summary: OverallSummary,
    /// The request as a whole.
    pub e2e_table: E2eTable,
    /// One row a stage, ordered by `stage_id`; the row without one comes last.
    pub stage_table: Vec<StageRow>,
    /// One row an edge, ordered by (`from_stage`, `to_stage`); rows without both come last.
    pub transfer_table: Vec<TransferRow>,
    /// Trace of the request's OpenTelemetry span, 32 hexadecimal digits; absent without the feature
    /// `opentelemetry` or the layer of `tracing-opentelemetry`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The request's OpenTelemetry span, 16 hexadecimal digits; absent with `trace_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_id: Option<String>,
    /// Further fields of the `request` span.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: Fields,
    /// What could not be used or measured, a sentence each, at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// The run so far: `"type":"summary"`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SummaryLine {
    /// Version of the format, [`SCHEMA`].
    pub schema: u32,
    /// Wall clock when it was asked for.
    pub timestamp: Timestamp,
    /// The totals.
    pub overall_summary: OverallSummary,
    /// The distributions.
    pub percentiles: Percentiles,
}

/// The run: all requests that have closed since the layer was made, or since the last
/// [`reset`](crate::OmniMetricsHandle::reset).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OverallSummary {
    /// Closed requests.
    pub e2e_requests: u64,
    /// From the creation of the run's first request, closed or open, to the latest end of a closed one.
    pub e2e_wall_time_ms: Millis,
    /// Sum of [`E2eTable::e2e_total_tokens`].
    pub e2e_total_tokens: u64,
    /// `e2e_wall_time_ms / e2e_requests`: wall time per request, not mean latency. Zero before the
    /// first request.
    pub e2e_avg_time_per_request_ms: Millis,
    /// `e2e_total_tokens * 1000 / e2e_wall_time_ms`, to six decimals; zero for an empty wall.
    pub e2e_avg_tokens_per_s: f64,
    /// By `stage_id`, first start to last end of any span of that stage; zero for ids with none.
    /// Ids of 1024 and more are left out.
    pub stage_wall_time_ms: Vec<Millis>,
}

/// The end-to-end numbers of one request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct E2eTable {
    /// From the request's creation to its end: the latest last exit of the request, its stages
    /// and its transfers, or the close if none was ever entered.
    pub e2e_total_ms: Millis,
    /// `num_tokens_in` of stage 0 plus `num_tokens_out` of every stage.
    pub e2e_total_tokens: u64,
    /// Sum of [`TransferRow::total_time_ms`].
    pub transfers_total_time_ms: Millis,
    /// Sum of [`TransferRow::size_bytes`].
    pub transfers_total_bytes: u64,
    /// From the request's creation to the first enter of any of its stages; absent if none was
    /// entered.
    pub queue_time_ms: Option<Millis>,
    /// The part of `e2e_total_ms` that no stage, transfer or flight covers. A lower bound past 64
    /// separate stretches of activity.
    pub unattributed_time_ms: Millis,
    /// As recorded on the `request` span; absent if the request was cancelled before that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish_reason: Option<String>,
}

/// One stage of one request: all `stage` spans with this `stage_id`.
///
/// Counts and times are sums over the spans, absent where no span recorded or measured one.
/// A `stage` span inside another one of the same stage and request adds its counts, not its times.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StageRow {
    /// As recorded; absent if no usable one was.
    pub stage_id: Option<u64>,
    /// The last recorded.
    pub batch_id: Option<u64>,
    /// The last recorded, or the number of requests that share the span.
    pub batch_size: Option<u64>,
    /// Input tokens, as recorded.
    pub num_tokens_in: Option<u64>,
    /// Output tokens, as recorded.
    pub num_tokens_out: Option<u64>,
    /// Recorded, or the span time of the `preprocess` children.
    pub preprocess_time_ms: Option<Millis>,
    /// Recorded, or the span time: last exit − first enter, or closed − created if never entered.
    pub stage_gen_time_ms: Option<Millis>,
    /// The last recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage_name: Option<String>,
    /// The time during which a span was entered at least once.
    pub busy_time_ms: Option<Millis>,
    /// First enter − created; absent if never entered.
    pub queue_time_ms: Option<Millis>,
    /// First enter of the first span − the request's creation; absent if never entered, or
    /// detached.
    pub start_ms: Option<Millis>,
    /// Span time of a detached row: it began that long before the line's timestamp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wall_time_ms: Option<Millis>,
    /// The first recording of `first_output` in a detached row − the span's first enter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_output_after_ms: Option<Millis>,
    /// The first recording of `first_output` − the request's creation; absent if never recorded, or
    /// detached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_output_ms: Option<Millis>,
    /// (last exit − first output) / (`num_tokens_out` − 1); absent below two tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_per_output_token_ms: Option<Millis>,
    /// How many spans went into this row.
    #[serde(default)]
    pub events: u64,
    /// Further fields of the spans; the last value of a name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: Fields,
}

/// One edge between two stages of one request: all `transfer` spans with these ends.
///
/// Bytes and times are sums over the spans, absent where no span recorded or measured one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TransferRow {
    /// The sending stage, as recorded.
    pub from_stage: Option<u64>,
    /// The receiving stage, as recorded.
    pub to_stage: Option<u64>,
    /// Bytes, as recorded.
    pub size_bytes: Option<u64>,
    /// Recorded, or the span time of spans with `phase = "tx"` or none.
    pub tx_time_ms: Option<Millis>,
    /// Recorded, or the span time of spans with `phase = "rx"`.
    pub rx_decode_time_ms: Option<Millis>,
    /// Recorded, or from the end of each sending to the start of its receiving.
    pub in_flight_time_ms: Option<Millis>,
    /// `tx_time_ms + rx_decode_time_ms + in_flight_time_ms`, an absent one counting zero.
    pub total_time_ms: Millis,
    /// First enter of the first span − the request's creation; absent if never entered, or
    /// detached.
    pub start_ms: Option<Millis>,
    /// Span time of a detached row: it began that long before the line's timestamp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wall_time_ms: Option<Millis>,
    /// How many spans went into this row.
    #[serde(default)]
    pub events: u64,
    /// Further fields of the spans; the last value of a name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: Fields,
}

/// A row on a line of its own, because its request is not open in this process.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Detached<Row> {
    /// Version of the format, [`SCHEMA`].
    pub schema: u32,
    /// Wall clock at the span's end.
    pub timestamp: Timestamp,
    /// The request it belongs to, as far as the span says.
    pub request_id: Option<String>,
    /// The row, of one span.
    #[serde(flatten)]
    pub row: Row,
    /// Trace of the span's OpenTelemetry span, 32 hexadecimal digits; absent without the feature
    /// `opentelemetry` or the layer of `tracing-opentelemetry`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The span's OpenTelemetry span, 16 hexadecimal digits; absent with `trace_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_id: Option<String>,
    /// What could not be used or measured, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// The ids of the OpenTelemetry span beside a span, if there is one.
#[derive(Debug, Clone, Default)]
pub(crate) struct TraceIds {
    pub(crate) trace_id: Option<String>,
    pub(crate) span_id: Option<String>,
}

/// A stage on a line of its own: `"type":"stage"`.
pub type DetachedStage = Detached<StageRow>;

/// A transfer on a line of its own: `"type":"transfer"`.
pub type DetachedTransfer = Detached<TransferRow>;
