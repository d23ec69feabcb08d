//! The lines of the log, as written and as read back.

use std::{error, fmt, str::FromStr};

use serde_core::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, MapAccess, Visitor},
};

use crate::{
    E2eTable, Fields, Millis, OpenRequest, Percentiles, StageRow, Timestamp, TransferRow, Window,
    model::record::{self, Record, Tagged, object, record},
};

/// The version of the format, in every line as `schema`.
pub const SCHEMA: u32 = 1;

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
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Line {
    /// A complete request, with all its tables.
    Request(RequestLine),
    /// A stage that belongs to no open request of this process (a detached row).
    Stage(DetachedStage),
    /// A transfer that belongs to no open request of this process (a detached row).
    Transfer(DetachedTransfer),
    /// The totals of the run; written on request, and by reports.
    Summary(SummaryLine),
    /// A request that has been open for long; written by reports.
    Open(OpenLine),
}

impl Line {
    /// The request that the line belongs to; `None` for a summary, and for a detached row or an open request
    /// that names none.
    ///
    /// ```
    /// use omni_metrics::Line;
    ///
    /// let line = r#"{"type":"stage","schema":1,"timestamp":"2026-01-31T12:00:00.123456Z",
    ///     "request_id":"r1"}"#;
    /// assert_eq!(line.parse::<Line>()?.request_id(), Some("r1"));
    /// # Ok::<(), omni_metrics::ReadError>(())
    /// ```
    pub fn request_id(&self) -> Option<&str> {
        match self {
            Self::Request(line) => Some(&line.request_id),
            Self::Stage(line) => line.request_id.as_deref(),
            Self::Transfer(line) => line.request_id.as_deref(),
            Self::Summary(_) => None,
            Self::Open(line) => line.request.request_id.as_deref(),
        }
    }
}

impl Serialize for Line {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Request(line) => record::serialize(Some("request"), line, serializer),
            Self::Stage(line) => record::serialize(Some("stage"), line, serializer),
            Self::Transfer(line) => record::serialize(Some("transfer"), line, serializer),
            Self::Summary(line) => record::serialize(Some("summary"), line, serializer),
            Self::Open(line) => record::serialize(Some("open"), line, serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(AnyLine)
    }
}

struct AnyLine;

impl<'de> Visitor<'de> for AnyLine {
    type Value = Line;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a type")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Line, A::Error> {
        let (tag, members) = Tagged::new(map)?;
        match &*tag {
            "request" => members.read().map(Line::Request),
            "stage" => members.read().map(Line::Stage),
            "transfer" => members.read().map(Line::Transfer),
            "summary" => members.read().map(Line::Summary),
            "open" => members.read().map(Line::Open),
            tag => Err(A::Error::unknown_variant(tag, &["request", "stage", "transfer", "summary", "open"])),
        }
    }
}

impl FromStr for Line {
    type Err = ReadError;

    /// Reads one line. Unknown keys are ignored; the keys that identify the line are required.
    fn from_str(line: &str) -> Result<Self, ReadError> {
        serde_json::from_str(line).map_err(ReadError)
    }
}

/// The error for a text that is not a line of this format. [`source`](error::Error::source) has the reason.
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

/// A complete request: `"type":"request"`.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct RequestLine {
    /// Version of the format, [`SCHEMA`].
    pub schema: u32,
    /// Wall clock at the request's end. The request began [`E2eTable::e2e_total_ms`] before.
    pub timestamp: Timestamp,
    /// As recorded, or generated: `req-`, a random number of the process, and a count.
    pub request_id: String,
    /// How many requests the line stands for; absent if it stands for itself. See [`Keep`](crate::Keep).
    pub sample_rate: Option<u32>,
    /// The run up to and including this request.
    pub overall_summary: OverallSummary,
    /// The request as a whole.
    pub e2e_table: E2eTable,
    /// One row for each stage, ordered by `stage_id`; the row without an id comes last.
    pub stage_table: Vec<StageRow>,
    /// One row for each edge, ordered by (`from_stage`, `to_stage`); rows without an id come last.
    pub transfer_table: Vec<TransferRow>,
    /// Trace of the request's OpenTelemetry span, 32 hexadecimal digits; absent without the feature
    /// `opentelemetry` or the layer of `tracing-opentelemetry`.
    pub trace_id: Option<String>,
    /// The request's OpenTelemetry span, 16 hexadecimal digits; absent with `trace_id`.
    pub span_id: Option<String>,
    /// Further fields of the `request` span.
    pub fields: Fields,
    /// Values that could not be used or measured: at most 16 sentences, each naming span, field and value.
    pub warnings: Vec<String>,
}

/// The run so far: `"type":"summary"`.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct SummaryLine {
    /// Version of the format, [`SCHEMA`].
    pub schema: u32,
    /// Wall clock when the line was requested.
    pub timestamp: Timestamp,
    /// The totals of the run.
    pub overall_summary: OverallSummary,
    /// The distributions of the run.
    pub percentiles: Percentiles,
    /// The time since the report before; absent if the line is not a [report](crate::ReportGuard).
    pub window: Option<Box<Window>>,
    /// [`Snapshot::open_requests`](crate::Snapshot::open_requests), absent in lines that the reader has made,
    /// as the counts of lines below.
    pub open_requests: Option<u64>,
    /// The age of the oldest open request; absent if none is open.
    pub oldest_age_ms: Option<Millis>,
    /// [`Snapshot::lines_written`](crate::Snapshot::lines_written), without this line.
    pub lines_written: Option<u64>,
    /// [`Snapshot::lines_left_out`](crate::Snapshot::lines_left_out).
    pub lines_left_out: Option<u64>,
    /// [`Snapshot::lines_lost`](crate::Snapshot::lines_lost).
    pub lines_lost: Option<u64>,
}

/// A request that is open, as it stands: `"type":"open"`. A [report](crate::ReportGuard) writes it for
/// each request that has become old.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct OpenLine {
    /// Version of the format, [`SCHEMA`].
    pub schema: u32,
    /// Wall clock at the report.
    pub timestamp: Timestamp,
    /// The request; its members are members of the line.
    pub request: OpenRequest,
    /// How many more requests have become old since the report before, but have no line; absent if none.
    /// Only the last line of a report has it.
    pub more: Option<u64>,
}

/// The totals of a run: of all requests completed since the layer was made, or since the last
/// [`reset`](crate::OmniMetricsHandle::reset) or [`take`](crate::OmniMetricsHandle::take).
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct OverallSummary {
    /// Complete requests.
    pub e2e_requests: u64,
    /// From the creation of the run's first request, which may still be open, to the latest end of a complete
    /// one.
    pub e2e_wall_time_ms: Millis,
    /// Sum of [`E2eTable::e2e_total_tokens`].
    pub e2e_total_tokens: u64,
    /// `e2e_wall_time_ms / e2e_requests`: wall time per request, not mean latency. Zero before the
    /// first request.
    pub e2e_avg_time_per_request_ms: Millis,
    /// `e2e_total_tokens * 1000 / e2e_wall_time_ms`, to six decimals; zero if the wall time is zero.
    pub e2e_avg_tokens_per_s: f64,
    /// Indexed by `stage_id`: from the first start to the last end of all spans of the stage; zero for ids
    /// without spans. Ids of 1,024 and more are left out.
    pub stage_wall_time_ms: Vec<Millis>,
}

/// A row on a line of its own, because its request is not open in this process.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Detached<Row> {
    /// Version of the format, [`SCHEMA`].
    pub schema: u32,
    /// Wall clock at the span's end.
    pub timestamp: Timestamp,
    /// The `request_id` of the row; absent if the span named none.
    pub request_id: Option<String>,
    /// How many detached rows the line stands for; absent if it stands for itself. See [`Keep`](crate::Keep).
    pub sample_rate: Option<u32>,
    /// The row of one span.
    pub row: Row,
    /// Trace of the span's OpenTelemetry span, 32 hexadecimal digits; absent without the feature
    /// `opentelemetry` or the layer of `tracing-opentelemetry`.
    pub trace_id: Option<String>,
    /// The span's OpenTelemetry span, 16 hexadecimal digits; absent with `trace_id`.
    pub span_id: Option<String>,
    /// Values that could not be used or measured, one sentence each.
    pub warnings: Vec<String>,
}

impl RequestLine {
    /// How many requests the line stands for: `sample_rate`, or 1 without it.
    ///
    /// ```
    /// let mut line = omni_metrics::RequestLine::default();
    /// assert_eq!(line.weight(), 1);
    /// line.sample_rate = Some(100);
    /// assert_eq!(line.weight(), 100);
    /// ```
    pub fn weight(&self) -> u64 {
        self.sample_rate.map_or(1, |rate| rate.max(1).into())
    }
}

impl<Row> Detached<Row> {
    /// How many detached rows the line stands for: `sample_rate`, or 1 without it.
    ///
    /// ```
    /// let mut line = omni_metrics::DetachedStage::default();
    /// assert_eq!(line.weight(), 1);
    /// line.sample_rate = Some(100);
    /// assert_eq!(line.weight(), 100);
    /// ```
    pub fn weight(&self) -> u64 {
        self.sample_rate.map_or(1, |rate| rate.max(1).into())
    }
}

record! {
    RequestLine:
    schema: always,
    timestamp: always,
    request_id: always,
    sample_rate: if_some,
    overall_summary: always,
    e2e_table: always,
    stage_table: always,
    transfer_table: always,
    trace_id: if_some,
    span_id: if_some,
    fields: unless_empty or Fields::new(),
    warnings: unless_empty or Vec::new(),
}

record! {
    SummaryLine:
    schema: always,
    timestamp: always,
    overall_summary: always,
    percentiles: always,
    window: if_some,
    open_requests: if_some,
    oldest_age_ms: if_some,
    lines_written: if_some,
    lines_left_out: if_some,
    lines_lost: if_some,
}

record! {
    OpenLine:
    schema: always,
    timestamp: always,
    ..request: OpenRequest,
    more: if_some,
}

record! {
    OverallSummary:
    e2e_requests: always,
    e2e_wall_time_ms: always,
    e2e_total_tokens: always,
    e2e_avg_time_per_request_ms: always,
    e2e_avg_tokens_per_s: always,
    stage_wall_time_ms: always,
}

record! {
    Detached<Row: Record>:
    schema: always,
    timestamp: always,
    request_id: always,
    sample_rate: if_some,
    ..row: Row,
    trace_id: if_some,
    span_id: if_some,
    warnings: unless_empty or Vec::new(),
}

object!(RequestLine, SummaryLine, OpenLine, OverallSummary, DetachedStage, DetachedTransfer);

/// The ids of a span's OpenTelemetry span, if there is one.
#[derive(Debug, Clone, Default)]
pub(crate) struct TraceIds {
    pub(crate) trace_id: Option<String>,
    pub(crate) span_id: Option<String>,
}

/// A stage on a line of its own: `"type":"stage"`.
pub type DetachedStage = Detached<StageRow>;

/// A transfer on a line of its own: `"type":"transfer"`.
pub type DetachedTransfer = Detached<TransferRow>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OpenStage;

    const PAGE: &str = include_str!("../../docs/numbers.md");

    /// The keys in the first column of the first table after `text`, sorted.
    fn documented(text: &str) -> Vec<String> {
        let after = PAGE.split_once(text).unwrap().1;
        let rows = after.lines().skip_while(|line| !line.starts_with("| `"));
        let rows = rows.take_while(|line| line.starts_with("| `"));
        let mut keys: Vec<_> = rows.map(|row| row.split('`').nth(1).unwrap().to_owned()).collect();
        keys.sort();
        keys
    }

    /// The keys of an object, sorted, without those that every line has.
    fn written(object: impl Serialize) -> Vec<String> {
        let object = serde_json::to_value(object).unwrap();
        let keys = object.as_object().unwrap().keys().filter(|key| !["type", "schema"].contains(&&***key));
        let mut keys: Vec<_> = keys.cloned().collect();
        keys.sort();
        keys
    }

    #[test]
    fn the_page_on_numbers_has_every_key_of_a_summary_and_an_open_request() {
        let summary = SummaryLine {
            window: Some(Box::default()),
            open_requests: Some(0),
            oldest_age_ms: Some(Millis::default()),
            lines_written: Some(0),
            lines_left_out: Some(0),
            lines_lost: Some(0),
            ..SummaryLine::default()
        };
        let open = OpenLine { more: Some(1), ..OpenLine::default() };
        let stage =
            OpenStage { stage_name: Some(String::new()), num_tokens_out: Some(0), ..OpenStage::default() };
        assert_eq!(documented("**The summary**"), written(Line::Summary(summary)));
        assert_eq!(documented("The keys of\n`window`"), written(Window::default()));
        assert_eq!(documented("**An open request**"), written(Line::Open(open)));
        assert_eq!(documented("The keys in `open_stages`"), written(stage));
    }

    #[test]
    fn the_lines_on_the_page_on_numbers_are_lines() {
        let blocks = PAGE.split("```json\n").skip(1).map(|block| block.split_once("```").unwrap().0);
        let [request, summary, open] = blocks.collect::<Vec<_>>()[..] else { panic!("three lines") };
        assert!(matches!(request.parse(), Ok(Line::Request(_))));
        assert!(matches!(open.parse(), Ok(Line::Open(_))));
        // Most of its percentiles are left out there.
        let summary: serde_json::Value = serde_json::from_str(&summary.replace(", …", "")).unwrap();
        assert_eq!(written(summary), documented("**The summary**"));
    }
}
