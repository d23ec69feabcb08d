//! The numbers of the three tables, each defined once.
//!
//! From these lists come the JSON of a row and its quick reader, the rows of the text tables, what
//! exporters and OpenTelemetry spans get, how two rows become one, and `docs/reference-numbers.md`.

#![cfg_attr(
    not(feature = "tables"),
    allow(dead_code, reason = "what is said of a number is for the text tables too")
)]

#[cfg(feature = "cli")]
use crate::cli::{Packed, Text, packed};
use crate::{
    E2eTable, StageRow, TransferRow,
    model::{
        bounds,
        json::Json,
        kind::Kind,
        record::{object, record},
        rows::Value,
        warnings::Warnings,
    },
};

mod about;
mod derived;
mod member;
mod merge;
#[cfg(test)]
pub(crate) mod tests;

#[cfg(any(feature = "tables", feature = "metrics"))]
pub(crate) use about::Unit;
pub(crate) use about::{About, Family, INTER_OUTPUT, Measure};
use about::{bytes, count, id, key, ms, ratio, text};
pub(crate) use derived::{factor_of_request, total_tokens, total_transfers};
pub(crate) use member::Member;

/// One number of a table.
#[cfg_attr(not(test), allow(dead_code, reason = "the reference and its test take all of it"))]
pub(crate) struct Number<Row> {
    pub(crate) name: &'static str,
    /// `always`: the key is in every line; `if_some`: it is left out where there is no value.
    pub(crate) presence: &'static str,
    /// The function of [`merge`] that makes the numbers of two rows one.
    pub(crate) merge: &'static str,
    pub(crate) about: About,
    pub(crate) get: Get<Row>,
}

/// Takes a number from its row.
pub(crate) type Get<Row> = fn(&Row) -> Option<Value<'_>>;

/// A table whose numbers are listed here.
pub(crate) trait Table: Default + 'static {
    /// The spans that its rows come from.
    const KIND: Kind;
    /// In the order of the line.
    const NUMBERS: &'static [Number<Self>];

    /// Writes the members of the row; `first` is the key of the first of them.
    fn write<'a>(&self, json: Json<'a>, first: &'static str) -> Json<'a>;

    /// Adds the numbers of another row with the same keys, but not its further fields. Sums that do not fit
    /// stay at the largest value, with a warning.
    fn merge(&mut self, other: Self, warnings: &mut Warnings);

    /// Empties the row in place, which costs less than to drop it: an empty map has nothing to drop, but a
    /// drop of it looks for that.
    fn reset(&mut self);

    /// Reads what [`write`](Self::write) has written over this row, whose memory is used again; `None` for
    /// anything else.
    #[cfg(feature = "cli")]
    fn read(&mut self, text: &mut Text<'_>, first: &'static str) -> Option<()>;

    /// Appends the row as bytes.
    #[cfg(feature = "cli")]
    fn pack(&self, out: &mut Vec<u8>);

    /// Reads what [`pack`](Self::pack) has written in place of the row.
    #[cfg(feature = "cli")]
    fn unpack(&mut self, packed: &mut Packed<'_>) -> Option<()>;
}

/// Implements [`Table`] for a row, and serde's traits. A line of the list is: the field, whether the line
/// always has it, how it merges, its value if a line that is read lacks it, and its description. The first
/// is the row's first key. A field of the row that is neither listed nor named after `besides` does not
/// compile.
macro_rules! table {
    (
        $Row:ident of $kind:ident besides ($($besides:ident),*)
        $first:ident = $first_about:expr;
        $($name:ident: $presence:ident $merge:ident $(or $default:literal)? = $about:expr;)*
    ) => {
        record! {
            $Row:
            $first: always,
            $($name: $presence $(or $default)?,)*
            $($besides: unless_empty or Default::default(),)*
        }

        object!($Row);

        impl Table for $Row {
            const KIND: Kind = Kind::$kind;
            const NUMBERS: &'static [Number<Self>] = &[
                Number {
                    name: stringify!($first),
                    presence: "always",
                    merge: "derived",
                    about: $first_about,
                    get: |row| row.$first.value(),
                },
                $(Number {
                    name: stringify!($name),
                    presence: stringify!($presence),
                    merge: stringify!($merge),
                    about: $about,
                    get: |row| row.$name.value(),
                }),*
            ];

            #[inline]
            fn write<'a>(&self, json: Json<'a>, first: &'static str) -> Json<'a> {
                let Self { $first, $($name,)* $($besides: _),* } = self;
                let json = json.always(first, $first.value());
                $(let json = json.$presence(concat!(",\"", stringify!($name), "\":"), $name.value());)*
                json
            }

            // Inlined, so that a row that is made only to be merged is never built.
            #[inline(always)]
            fn merge(&mut self, other: Self, warnings: &mut Warnings) {
                let Self { $first: _, $($name,)* $($besides),* } = other;
                $(merge::$merge(&mut self.$name, $name, Self::KIND, stringify!($name), warnings);)*
                $(merge::$besides($besides);)*
            }

            #[inline(always)]
            fn reset(&mut self) {
                let Self { $first, $($name,)* $($besides),* } = self;
                *$first = Default::default();
                $(*$name = Default::default();)*
                $(if !$besides.is_empty() {
                    $besides.clear();
                })*
            }

            #[cfg(feature = "cli")]
            #[inline]
            fn read(&mut self, text: &mut Text<'_>, first: &'static str) -> Option<()> {
                let Self { $first, $($name,)* $($besides),* } = self;
                text.always(first, $first)?;
                $(text.$presence(concat!(",\"", stringify!($name), "\":"), $name)?;)*
                $(text.$besides($besides)?;)*
                Some(())
            }

            #[cfg(feature = "cli")]
            fn pack(&self, out: &mut Vec<u8>) {
                let Self { $first, $($name,)* $($besides),* } = self;
                $first.pack(out);
                $($name.pack(out);)*
                $(packed::$besides(out, $besides);)*
            }

            #[cfg(feature = "cli")]
            fn unpack(&mut self, packed: &mut Packed<'_>) -> Option<()> {
                let Self { $first, $($name,)* $($besides),* } = self;
                *$first = Member::unpack(packed)?;
                $(*$name = Member::unpack(packed)?;)*
                $(*$besides = packed.$besides()?;)*
                Some(())
            }
        }
    };
}

table! {
    E2eTable of Request besides ()
    e2e_total_ms = ms("From the request's creation to its end.")
        .percentiles()
        .attribute()
        .family("omni_e2e_seconds", "From the creation of a request to its end.");
    e2e_total_tokens: always derived = count("Input tokens of stage 0 and output tokens of all stages.")
        .attribute();
    transfers_total_time_ms: always derived = ms("Sum of `total_time_ms` over the edges.").attribute();
    transfers_total_bytes: always derived = bytes("Sum of `size_bytes` over the edges.").attribute();
    queue_time_ms: always derived = ms("From the request's creation to the first enter of any of its stages.")
        .percentiles()
        .attribute();
    unattributed_time_ms: always derived =
        ms("The part of `e2e_total_ms` that no stage, transfer or flight covers.")
        .percentiles()
        .attribute()
        .family(
            "omni_unattributed_seconds",
            "The part of a request that no stage, transfer or flight covers.",
        );
    real_time_factor: if_some derived = ratio("`e2e_total_ms` / the largest `media_ms` of the rows.")
        .percentiles()
        .attribute()
        .family("omni_real_time_factor", "The time of a request, divided by that of its media.")
        .rare();
    waiting_time_ms: if_some derived = ms("Sum of `waiting_time_ms` over the stages.")
        .attribute()
        .family("omni_waiting_seconds", "The time during which a request only waited for a stage.");
    errors: if_some derived = count("`ERROR` events inside the request.")
        .zero_if_absent()
        .attribute()
        .counter("omni_errors_total", "`ERROR` events inside requests.");
    error: if_some derived = text("The first error's `message`, or else its `error` field.").attribute();
    finish_reason: if_some derived = text("As recorded on the `request` span, or `error` or `abort`.");
}

table! {
    StageRow of Stage besides (fields)
    stage_id = key("As recorded; absent if no usable one was.");
    batch_id: always last = id("As recorded.");
    batch_size: always last = count("As recorded, or the number of requests that share the span.");
    num_tokens_in: always sum = count("Input tokens, as recorded.")
        .attribute()
        .counter("omni_stage_prompt_tokens_total", "Input tokens of a stage.");
    num_tokens_out: always sum = count("Output tokens, as recorded.")
        .attribute()
        .counter("omni_stage_generation_tokens_total", "Output tokens of a stage.");
    preprocess_time_ms: always sum = ms("Recorded, or the span time of the `preprocess` children.")
        .family("omni_stage_preprocess_seconds", "Preprocessing time of a stage in a request.");
    stage_gen_time_ms: always sum = ms("Recorded, or the span time: last exit − first enter.")
        .percentiles()
        .attribute()
        .family(
            "omni_stage_gen_seconds",
            "Generation time of a stage in a request, or of one of its detached spans.",
        );
    stage_name: if_some last = text("As recorded.");
    busy_time_ms: always sum = ms("The time during which a span was entered at least once.")
        .percentiles()
        .attribute();
    queue_time_ms: always sum = ms("First enter − created; absent if never entered.")
        .percentiles()
        .attribute()
        .family("omni_stage_queue_seconds", "From the creation of a stage's spans to their first enter.");
    start_ms: always earliest = ms("First enter of the first span − the request's creation.");
    wall_time_ms: if_some detached = ms("Span time of a detached row.");
    first_output_after_ms: if_some detached =
        ms("The first output in a detached row − the span's first enter.");
    last_output_after_ms: if_some detached =
        ms("The last output in a detached row − the span's first enter.");
    first_output_ms: if_some earliest = ms("The first output − the request's creation.")
        .percentiles()
        .attribute()
        .family(
            "omni_stage_first_output_seconds",
            "From the creation of a request to a stage's first output.",
        )
        .buckets(bounds::FIRST_OUTPUT_SECONDS);
    time_per_output_token_ms: if_some first =
        ms("(last output, or last exit − first output) / (`num_tokens_out` − 1).")
        .percentiles()
        .family("omni_stage_time_per_output_token_seconds", "Time between a stage's output tokens.")
        .buckets(bounds::INTER_OUTPUT_SECONDS);
    num_tokens_cached: if_some sum = count("Input tokens from a cache, as recorded.")
        .counter("omni_stage_cached_tokens_total", "Input tokens of a stage that came from a cache.");
    num_tokens_reasoning: if_some sum = count("Output tokens of a reasoning text, as recorded.")
        .counter("omni_stage_reasoning_tokens_total", "Output tokens of a stage for a reasoning text.");
    outputs: if_some sum = count("How many times `output` was recorded.");
    last_output_ms: if_some latest = ms("The last output − the request's creation.");
    inter_output_mean_ms: if_some derived =
        ms("(last output − first output) / (`outputs` − 1).").attribute();
    inter_output_max_ms: if_some largest = ms("The longest gap between one output and the next.").attribute();
    media_ms: if_some sum = ms("Sum of `output_media_ms`.")
        .attribute()
        .family("omni_stage_media_seconds", "How long the media of a stage in a request plays.")
        .rare();
    real_time_factor: if_some derived = ratio("`stage_gen_time_ms` / `media_ms`.")
        .percentiles()
        .attribute()
        .family("omni_stage_real_time_factor", "A stage's time in a request, divided by that of its media.")
        .rare();
    underruns: if_some sum = count("How many times a player of the media had nothing to play.")
        .attribute()
        .counter("omni_stage_underruns_total", "How often a player of a stage's media had nothing to play.");
    underrun_total_ms: if_some sum = ms("How long a player of the media had nothing to play.")
        .attribute()
        .family("omni_stage_underrun_seconds", "How long a player of a stage's media had nothing to play.")
        .rare();
    share_time_ms: if_some sum = ms("The stage time, divided among the requests of a batch.")
        .attribute()
        .family(
            "omni_stage_share_seconds",
            "A stage's time in a request, divided among the requests of a batch.",
        )
        .rare();
    waiting_time_ms: if_some derived = ms("The part of the queue time during which the request did nothing.")
        .attribute()
        .family("omni_stage_waiting_seconds", "The time during which a request only waited for a stage.");
    events: always total or 0 = count("How many spans went into the row.");
}

table! {
    TransferRow of Transfer besides (fields)
    from_stage = key("The sending stage, as recorded.");
    to_stage: always derived = key("The receiving stage, as recorded.");
    size_bytes: always sum = bytes("As recorded.")
        .family("omni_transfer_size_bytes", "Bytes of an edge in a request.");
    tx_time_ms: always sum = ms("Recorded, or the span time of spans with `phase = \"tx\"` or none.")
        .percentiles()
        .family("omni_transfer_tx_seconds", "Sending time of an edge in a request.")
        .buckets(bounds::TRANSFER_SECONDS);
    rx_decode_time_ms: always sum = ms("Recorded, or the span time of spans with `phase = \"rx\"`.")
        .percentiles()
        .family("omni_transfer_rx_decode_seconds", "Receiving and decoding time of an edge in a request.")
        .buckets(bounds::TRANSFER_SECONDS);
    in_flight_time_ms: always sum =
        ms("Recorded, or from the end of each sending to the start of its receiving.")
        .percentiles()
        .family("omni_transfer_in_flight_seconds", "Time in flight of an edge in a request.")
        .buckets(bounds::TRANSFER_SECONDS);
    total_time_ms: always derived =
        ms("`tx_time_ms` + `rx_decode_time_ms` + `in_flight_time_ms`.").percentiles();
    start_ms: always earliest = ms("First enter of the first span − the request's creation.");
    wall_time_ms: if_some detached = ms("Span time of a detached row.");
    events: always total or 0 = count("How many spans went into the row.");
}
