//! The rows of the three tables.

use std::{borrow::Cow, collections::BTreeMap};

use crate::{FieldValue, Millis};

/// Further fields of a row or a request, by name.
pub type Fields = BTreeMap<Cow<'static, str>, FieldValue>;

/// The end-to-end numbers of one request.
#[derive(Debug, Clone, Default, PartialEq)]
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
    /// `e2e_total_ms` / the largest [`StageRow::media_ms`] of the request, to six decimals; absent without
    /// media.
    pub real_time_factor: Option<f64>,
    /// Sum of [`StageRow::waiting_time_ms`]; absent if no stage waited.
    pub waiting_time_ms: Option<Millis>,
    /// How many `ERROR` events happened inside the request; absent if none.
    pub errors: Option<u64>,
    /// The first error's `message`, or else its `error` field, of at most 1 KiB; absent without a text.
    pub error: Option<String>,
    /// As recorded on the `request` span. If the span declares the field and closes without a value: `error`
    /// if there was an `ERROR` event inside the request or its thread was unwinding, otherwise `abort`, since
    /// the request was dropped. Absent if the span does not declare the field.
    pub finish_reason: Option<String>,
}

/// One stage of one request: all `stage` spans with this `stage_id`.
///
/// Counts and times are sums over the spans, and absent if no span recorded or measured one. A `stage` span
/// inside another one of the same stage and request adds its counts and its preprocessing, but not its other
/// times.
#[derive(Debug, Clone, Default, PartialEq)]
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
    /// Output tokens, as recorded; if they never were, the sum of the values of `output`.
    pub num_tokens_out: Option<u64>,
    /// As recorded, or the sum of the span times of the `preprocess` spans directly inside.
    pub preprocess_time_ms: Option<Millis>,
    /// As recorded, or the span time: last exit − first enter, or closed − created for a span that was never
    /// entered.
    pub stage_gen_time_ms: Option<Millis>,
    /// The last recorded.
    pub stage_name: Option<String>,
    /// The time during which the span was entered at least once, on any thread.
    pub busy_time_ms: Option<Millis>,
    /// From the creation of the span to its first enter; absent if it was never entered.
    pub queue_time_ms: Option<Millis>,
    /// From the request's creation to the first enter of the row's first span; absent if no span was entered,
    /// and on detached rows.
    pub start_ms: Option<Millis>,
    /// Of a detached row: the span time. The row began that long before the line's timestamp.
    pub wall_time_ms: Option<Millis>,
    /// Of a detached row: from the span's first enter to the first recording of `first_output` or `output`.
    pub first_output_after_ms: Option<Millis>,
    /// Of a detached row: from the span's first enter to the last recording of `output`.
    pub last_output_after_ms: Option<Millis>,
    /// From the request's creation to the first recording of `first_output` or `output`; absent if neither
    /// was recorded, and on detached rows.
    pub first_output_ms: Option<Millis>,
    /// (last output − first output) / (`num_tokens_out` − 1), with the last exit in place of the last output
    /// if `output` was not recorded; absent without a first output, and below two tokens.
    pub time_per_output_token_ms: Option<Millis>,
    /// Input tokens that came from a cache, as recorded; a part of `num_tokens_in`.
    pub num_tokens_cached: Option<u64>,
    /// Output tokens of a reasoning text, as recorded; a part of `num_tokens_out`.
    pub num_tokens_reasoning: Option<u64>,
    /// How many times `output` was recorded; absent if never.
    pub outputs: Option<u64>,
    /// From the request's creation to the last recording of `output`; absent without one, and on detached
    /// rows.
    pub last_output_ms: Option<Millis>,
    /// The mean gap between one output and the next: (last output − first output) / (`outputs` − 1); absent
    /// below two outputs.
    pub inter_output_mean_ms: Option<Millis>,
    /// The longest gap between one output and the next; absent below two outputs.
    pub inter_output_max_ms: Option<Millis>,
    /// How long the media of the outputs plays: the sum of `output_media_ms`; absent if it was never
    /// recorded.
    pub media_ms: Option<Millis>,
    /// `stage_gen_time_ms / media_ms`, to six decimals: below 1, the stage makes its media faster than it
    /// plays. Absent without media.
    pub real_time_factor: Option<f64>,
    /// How many times a player had nothing to play before the last chunk of media. The player starts with the
    /// first chunk, and plays each chunk when it has come. Absent without media in an output.
    pub underruns: Option<u64>,
    /// How long that player had nothing to play, in total; absent with `underruns`.
    pub underrun_total_ms: Option<Millis>,
    /// The stage time, with that of a span that serves several requests divided by their number. The shares
    /// of all requests add up to the time for which the stage was busy. Absent if it equals
    /// `stage_gen_time_ms`.
    pub share_time_ms: Option<Millis>,
    /// The part of the stage's queue time during which the request did nothing: no stage, transfer or flight.
    /// Of several stages that wait at once, the one that starts first has it. Absent if no span waited, and
    /// on detached rows.
    pub waiting_time_ms: Option<Millis>,
    /// The number of spans that were merged into this row.
    pub events: u64,
    /// Further fields of the spans: the last value of each name, or the sum for fields named `sum.NAME`.
    pub fields: Fields,
}

/// One edge between two stages of one request: all `transfer` spans with these ends.
///
/// Bytes and times are sums over the spans, and absent if no span recorded or measured one.
#[derive(Debug, Clone, Default, PartialEq)]
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
    pub wall_time_ms: Option<Millis>,
    /// The number of spans that were merged into this row.
    pub events: u64,
    /// Further fields of the spans: the last value of each name, or the sum for fields named `sum.NAME`.
    pub fields: Fields,
}

/// The value of a number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value<'a> {
    Count(u64),
    Time(Millis),
    Ratio(f64),
    Text(&'a str),
}

#[cfg(feature = "cli")]
impl std::hash::Hash for Value<'_> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        match self {
            Self::Count(count) => (0, count).hash(state),
            Self::Time(time) => (1, time).hash(state),
            Self::Ratio(ratio) => (2, ratio.to_bits()).hash(state),
            Self::Text(text) => (3, text).hash(state),
        }
    }
}
