//! The rows of the three tables.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize};

use crate::{FieldValue, Millis};

/// Further fields of a row or a request, by name.
pub type Fields = BTreeMap<Cow<'static, str>, FieldValue>;

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
    /// The part of `e2e_total_ms` that no stage, transfer or flight covers. If there are more than 64
    /// separate intervals of activity, it is a lower bound.
    pub unattributed_time_ms: Millis,
    /// As recorded on the `request` span; absent if it was not recorded, for example because the request was
    /// cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish_reason: Option<String>,
}

/// One stage of one request: all `stage` spans with this `stage_id`.
///
/// Counts and times are sums over the spans, and absent if no span recorded or measured one. A `stage` span
/// inside another one of the same stage and request adds its counts and its preprocessing, but not its other
/// times.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StageRow {
    /// As recorded; absent if no usable id was recorded.
    pub stage_id: Option<u64>,
    /// The last recorded.
    pub batch_id: Option<u64>,
    /// The last recorded value, or the number of requests that share the span.
    pub batch_size: Option<u64>,
    /// Input tokens, as recorded.
    pub num_tokens_in: Option<u64>,
    /// Output tokens, as recorded.
    pub num_tokens_out: Option<u64>,
    /// As recorded, or the sum of the span times of the `preprocess` spans directly inside.
    pub preprocess_time_ms: Option<Millis>,
    /// As recorded, or the span time: last exit − first enter, or closed − created for a span that was never
    /// entered.
    pub stage_gen_time_ms: Option<Millis>,
    /// The last recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage_name: Option<String>,
    /// The time during which the span was entered at least once, on any thread.
    pub busy_time_ms: Option<Millis>,
    /// From the creation of the span to its first enter; absent if it was never entered.
    pub queue_time_ms: Option<Millis>,
    /// From the request's creation to the first enter of the row's first span; absent if no span was entered,
    /// and on detached rows.
    pub start_ms: Option<Millis>,
    /// Of a detached row: the span time. The row began that long before the line's timestamp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wall_time_ms: Option<Millis>,
    /// Of a detached row: from the span's first enter to the first recording of `first_output`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_output_after_ms: Option<Millis>,
    /// From the request's creation to the first recording of `first_output`; absent if it was never recorded,
    /// and on detached rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_output_ms: Option<Millis>,
    /// (last exit − first output) / (`num_tokens_out` − 1); absent without `first_output`, and below two
    /// tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_per_output_token_ms: Option<Millis>,
    /// The number of spans that were merged into this row.
    #[serde(default)]
    pub events: u64,
    /// Further fields of the spans: the last value of each name, or the sum for fields named `sum.NAME`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: Fields,
}

/// One edge between two stages of one request: all `transfer` spans with these ends.
///
/// Bytes and times are sums over the spans, and absent if no span recorded or measured one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TransferRow {
    /// The sending stage, as recorded.
    pub from_stage: Option<u64>,
    /// The receiving stage, as recorded.
    pub to_stage: Option<u64>,
    /// Bytes, as recorded.
    pub size_bytes: Option<u64>,
    /// As recorded, or the span time of spans with `phase = "tx"` or none.
    pub tx_time_ms: Option<Millis>,
    /// As recorded, or the span time of spans with `phase = "rx"`.
    pub rx_decode_time_ms: Option<Millis>,
    /// As recorded, or the time from the end of each sending span to the start of its receiving span, summed.
    pub in_flight_time_ms: Option<Millis>,
    /// `tx_time_ms + rx_decode_time_ms + in_flight_time_ms`, where an absent one counts as zero.
    pub total_time_ms: Millis,
    /// From the request's creation to the first enter of the row's first span; absent if no span was entered,
    /// and on detached rows.
    pub start_ms: Option<Millis>,
    /// Of a detached row: the span time. The row began that long before the line's timestamp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wall_time_ms: Option<Millis>,
    /// The number of spans that were merged into this row.
    #[serde(default)]
    pub events: u64,
    /// Further fields of the spans: the last value of each name, or the sum for fields named `sum.NAME`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: Fields,
}

/// The value of a number.
#[derive(Debug, Clone, Copy, PartialEq, Hash)]
pub(crate) enum Value<'a> {
    Count(u64),
    Time(Millis),
    Text(&'a str),
}
