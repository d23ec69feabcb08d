//! The lines as serde's derive macros would read and write them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Millis, Timestamp};

type Fields = BTreeMap<String, FieldValue>;

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum Line {
    Request(RequestLine),
    Stage(Detached<StageRow>),
    Transfer(Detached<TransferRow>),
    Summary(SummaryLine),
}

#[derive(Serialize, Deserialize)]
pub(super) struct RequestLine {
    schema: u32,
    timestamp: Timestamp,
    request_id: String,
    overall_summary: OverallSummary,
    e2e_table: E2eTable,
    stage_table: Vec<StageRow>,
    transfer_table: Vec<TransferRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    span_id: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    fields: Fields,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct SummaryLine {
    schema: u32,
    timestamp: Timestamp,
    overall_summary: OverallSummary,
    percentiles: Percentiles,
}

#[derive(Serialize, Deserialize)]
pub(super) struct OverallSummary {
    e2e_requests: u64,
    e2e_wall_time_ms: Millis,
    e2e_total_tokens: u64,
    e2e_avg_time_per_request_ms: Millis,
    e2e_avg_tokens_per_s: f64,
    stage_wall_time_ms: Vec<Millis>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Detached<Row> {
    schema: u32,
    timestamp: Timestamp,
    request_id: Option<String>,
    #[serde(flatten)]
    row: Row,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    span_id: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct E2eTable {
    e2e_total_ms: Millis,
    e2e_total_tokens: u64,
    transfers_total_time_ms: Millis,
    transfers_total_bytes: u64,
    queue_time_ms: Option<Millis>,
    unattributed_time_ms: Millis,
    #[serde(skip_serializing_if = "Option::is_none")]
    real_time_factor: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting_time_ms: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finish_reason: Option<String>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct StageRow {
    stage_id: Option<u64>,
    batch_id: Option<u64>,
    batch_size: Option<u64>,
    num_tokens_in: Option<u64>,
    num_tokens_out: Option<u64>,
    preprocess_time_ms: Option<Millis>,
    stage_gen_time_ms: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stage_name: Option<String>,
    busy_time_ms: Option<Millis>,
    queue_time_ms: Option<Millis>,
    start_ms: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wall_time_ms: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_output_after_ms: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_output_after_ms: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_output_ms: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_per_output_token_ms: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    num_tokens_cached: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    num_tokens_reasoning: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outputs: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_output_ms: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inter_output_mean_ms: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inter_output_max_ms: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_ms: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    real_time_factor: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    underruns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    underrun_total_ms: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    share_time_ms: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting_time_ms: Option<Millis>,
    #[serde(default)]
    events: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    fields: Fields,
}

#[derive(Serialize, Deserialize)]
pub(super) struct TransferRow {
    from_stage: Option<u64>,
    to_stage: Option<u64>,
    size_bytes: Option<u64>,
    tx_time_ms: Option<Millis>,
    rx_decode_time_ms: Option<Millis>,
    in_flight_time_ms: Option<Millis>,
    total_time_ms: Millis,
    start_ms: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wall_time_ms: Option<Millis>,
    #[serde(default)]
    events: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    fields: Fields,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Distribution<T> {
    count: u64,
    mean: T,
    p50: T,
    p90: T,
    p99: T,
    p999: T,
    max: T,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Percentiles {
    e2e_total_ms: Option<Distribution<Millis>>,
    queue_time_ms: Option<Distribution<Millis>>,
    unattributed_time_ms: Option<Distribution<Millis>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    real_time_factor: Option<Distribution<f64>>,
    tokens_per_s: Option<Distribution<f64>>,
    stages: Vec<StagePercentiles>,
    transfers: Vec<TransferPercentiles>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct StagePercentiles {
    stage_id: Option<u64>,
    stage_gen_time_ms: Option<Distribution<Millis>>,
    busy_time_ms: Option<Distribution<Millis>>,
    queue_time_ms: Option<Distribution<Millis>>,
    first_output_ms: Option<Distribution<Millis>>,
    time_per_output_token_ms: Option<Distribution<Millis>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inter_output_ms: Option<Distribution<Millis>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    real_time_factor: Option<Distribution<f64>>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct TransferPercentiles {
    from_stage: Option<u64>,
    to_stage: Option<u64>,
    tx_time_ms: Option<Distribution<Millis>>,
    in_flight_time_ms: Option<Distribution<Millis>>,
    rx_decode_time_ms: Option<Distribution<Millis>>,
    total_time_ms: Option<Distribution<Millis>>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum FieldValue {
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(String),
    Null,
    List(Vec<Self>),
    Object(Fields),
}
