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
    E2eTable, Millis, StageRow, TransferRow,
    model::{
        bounds,
        id::{OrderedId, ordered},
        json::Json,
        kind::Kind,
        record::{object, record},
        rows::Value,
        sums,
        warnings::Warnings,
    },
};

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Part of what a row is known by, and no number of it.
    Key,
    Id,
    Count,
    Bytes,
    Milliseconds,
    Ratio,
    Text,
}

/// A family of the `metrics` facade.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(feature = "metrics"), allow(dead_code, reason = "only exporters take it"))]
pub(crate) struct Family {
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
    pub(crate) measure: Measure,
}

/// How a family measures a number.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(feature = "metrics"), allow(dead_code, reason = "only exporters take it"))]
pub(crate) enum Measure {
    /// The sum of the number over all rows.
    Counter,
    /// The distribution of the number over all rows, with the buckets that are recommended for it.
    Histogram { buckets: &'static [f64], is_rare: bool },
}

/// Every gap between two outputs of a row, which itself has only their mean and the longest one.
#[cfg_attr(not(feature = "metrics"), allow(dead_code, reason = "only exporters take it"))]
pub(crate) const INTER_OUTPUT: Family = Family {
    name: "omni_stage_inter_output_seconds",
    description: "Every gap between two outputs of a stage that follow each other.",
    measure: Measure::Histogram { buckets: bounds::INTER_OUTPUT_SECONDS, is_rare: true },
};

/// What is said of a number.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(test), allow(dead_code, reason = "the reference and its test take all of it"))]
pub(crate) struct About {
    pub(crate) unit: Unit,
    /// What the number is, in one sentence.
    pub(crate) meaning: &'static str,
    /// Whether `Percentiles` has its distribution.
    pub(crate) has_percentiles: bool,
    /// Whether it is an attribute of the request's OpenTelemetry span.
    pub(crate) is_attribute: bool,
    /// Whether a line that lacks it means zero.
    pub(crate) is_zero_if_absent: bool,
    pub(crate) family: Option<Family>,
}

impl About {
    const fn new(unit: Unit, meaning: &'static str) -> Self {
        let (has_percentiles, is_attribute, is_zero_if_absent) = (false, false, false);
        Self { unit, meaning, has_percentiles, is_attribute, is_zero_if_absent, family: None }
    }

    const fn percentiles(self) -> Self {
        Self { has_percentiles: true, ..self }
    }

    const fn attribute(self) -> Self {
        Self { is_attribute: true, ..self }
    }

    const fn zero_if_absent(self) -> Self {
        Self { is_zero_if_absent: true, ..self }
    }

    /// A histogram, with the buckets of its unit.
    const fn family(self, name: &'static str, description: &'static str) -> Self {
        let buckets = match self.unit {
            Unit::Bytes => bounds::BYTES,
            Unit::Ratio => bounds::REAL_TIME_FACTOR,
            _ => bounds::LATENCY_SECONDS,
        };
        let measure = Measure::Histogram { buckets, is_rare: false };
        Self { family: Some(Family { name, description, measure }), ..self }
    }

    const fn counter(self, name: &'static str, description: &'static str) -> Self {
        Self { family: Some(Family { name, description, measure: Measure::Counter }), ..self }
    }

    /// Other buckets for its histogram.
    const fn buckets(self, buckets: &'static [f64]) -> Self {
        match self.family {
            Some(Family { name, description, measure: Measure::Histogram { is_rare, .. } }) => {
                let measure = Measure::Histogram { buckets, is_rare };
                Self { family: Some(Family { name, description, measure }), ..self }
            }
            _ => self,
        }
    }

    /// The series of its histogram appear with their first value, since most requests and stages have none.
    const fn rare(self) -> Self {
        match self.family {
            Some(Family { name, description, measure: Measure::Histogram { buckets, .. } }) => {
                let measure = Measure::Histogram { buckets, is_rare: true };
                Self { family: Some(Family { name, description, measure }), ..self }
            }
            _ => self,
        }
    }
}

const fn key(meaning: &'static str) -> About {
    About::new(Unit::Key, meaning)
}

const fn id(meaning: &'static str) -> About {
    About::new(Unit::Id, meaning)
}

const fn count(meaning: &'static str) -> About {
    About::new(Unit::Count, meaning)
}

const fn bytes(meaning: &'static str) -> About {
    About::new(Unit::Bytes, meaning)
}

const fn ms(meaning: &'static str) -> About {
    About::new(Unit::Milliseconds, meaning)
}

const fn ratio(meaning: &'static str) -> About {
    About::new(Unit::Ratio, meaning)
}

const fn text(meaning: &'static str) -> About {
    About::new(Unit::Text, meaning)
}

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
    fn write(&self, json: &mut Json<'_>, first: &'static str);

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
            fn write(&self, json: &mut Json<'_>, first: &'static str) {
                let Self { $first, $($name,)* $($besides: _),* } = self;
                json.always(first, $first.value());
                $(json.$presence(concat!(",\"", stringify!($name), "\":"), $name.value());)*
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

impl StageRow {
    /// What the table is sorted by.
    pub(crate) fn order(&self) -> OrderedId {
        ordered(self.stage_id)
    }

    /// Whether a span of a detached row was entered: a span waits until its first enter.
    #[cfg(feature = "cli")]
    pub(crate) fn was_entered(&self) -> bool {
        self.queue_time_ms.is_some()
    }

    /// When the row began and ended, in nanoseconds since the request's creation, if its spans followed each
    /// other without a pause.
    #[cfg(feature = "cli")]
    pub(crate) fn extent(&self) -> Option<(u64, u64)> {
        let start = self.start_ms?.as_nanos();
        Some((start, start.saturating_add(self.stage_gen_time_ms?.as_nanos())))
    }

    /// `share_time_ms`, also where it is left out since it equals `stage_gen_time_ms`.
    #[cfg(feature = "cli")]
    pub(crate) fn share(&self) -> Option<Millis> {
        self.share_time_ms.or(self.stage_gen_time_ms)
    }

    /// Computes `time_per_output_token_ms` of a row with outputs, from its parts.
    #[cfg(feature = "cli")]
    pub(crate) fn divide_output_time(&mut self) {
        let steps = self.num_tokens_out.unwrap_or(0).saturating_sub(1);
        let extent = self.last_output_ms.zip(self.first_output_ms);
        let nanos = extent.and_then(|(last, first)| last.saturating_sub(first).as_nanos().checked_div(steps));
        self.time_per_output_token_ms = nanos.map(Millis::from_nanos);
    }

    /// `real_time_factor`, from its parts.
    pub(crate) fn factor(&self) -> Option<f64> {
        self.media_ms.and_then(|media| self.stage_gen_time_ms?.ratio(media))
    }
}

impl TransferRow {
    /// What the table is sorted by.
    pub(crate) fn order(&self) -> (OrderedId, OrderedId) {
        (ordered(self.from_stage), ordered(self.to_stage))
    }

    /// `total_time_ms`, from its parts.
    pub(crate) fn total(&self, warnings: &mut Warnings) -> Millis {
        let mut total = Millis::ZERO;
        for time in [self.tx_time_ms, self.rx_decode_time_ms, self.in_flight_time_ms] {
            sums::add(&mut total, time, Kind::Transfer, "total_time_ms", warnings);
        }
        total
    }
}

/// `e2e_total_tokens`, from the rows.
pub(crate) fn total_tokens<'a>(rows: impl Iterator<Item = &'a StageRow>, warnings: &mut Warnings) -> u64 {
    let mut total = 0;
    for row in rows {
        let tokens_in = row.num_tokens_in.filter(|_| row.stage_id == Some(0));
        sums::add(&mut total, tokens_in, Kind::Stage, "num_tokens_in", warnings);
        sums::add(&mut total, row.num_tokens_out, Kind::Stage, "num_tokens_out", warnings);
    }
    total
}

/// `real_time_factor` of a request, from its rows.
pub(crate) fn factor_of_request<'a>(
    e2e_total: Millis,
    rows: impl Iterator<Item = &'a StageRow>,
) -> Option<f64> {
    e2e_total.ratio(rows.filter_map(|row| row.media_ms).max()?)
}

/// `transfers_total_bytes` and `transfers_total_time_ms`, from the rows.
pub(crate) fn total_transfers<'a>(
    rows: impl Iterator<Item = &'a TransferRow>,
    warnings: &mut Warnings,
) -> (u64, Millis) {
    let (mut bytes, mut time) = (0, Millis::ZERO);
    for row in rows {
        sums::add(&mut bytes, row.size_bytes, Kind::Transfer, "size_bytes", warnings);
        sums::add(&mut time, Some(row.total_time_ms), Kind::Transfer, "total_time_ms", warnings);
    }
    (bytes, time)
}

/// How the numbers of two rows become one. All have one signature, so that the lists can name them.
mod merge {
    use std::mem;

    use crate::{
        Fields,
        model::{
            kind::Kind,
            sums::{self, Sum},
            warnings::Warnings,
        },
    };

    #[inline(always)]
    pub(super) fn sum<T: Sum>(
        kept: &mut Option<T>,
        added: Option<T>,
        kind: Kind,
        field: &str,
        warnings: &mut Warnings,
    ) {
        sums::add_to(kept, added, kind, field, warnings);
    }

    /// A sum that is never absent.
    #[inline(always)]
    pub(super) fn total<T: Sum>(kept: &mut T, added: T, kind: Kind, field: &str, warnings: &mut Warnings) {
        sums::add(kept, Some(added), kind, field, warnings);
    }

    #[inline(always)]
    pub(super) fn last<T>(kept: &mut Option<T>, added: Option<T>, _: Kind, _: &str, _: &mut Warnings) {
        if added.is_some() {
            *kept = added;
        }
    }

    #[inline(always)]
    pub(super) fn first<T>(kept: &mut Option<T>, added: Option<T>, _: Kind, _: &str, _: &mut Warnings) {
        if kept.is_none() {
            *kept = added;
        }
    }

    #[inline(always)]
    pub(super) fn earliest<T: Ord>(
        kept: &mut Option<T>,
        added: Option<T>,
        _: Kind,
        _: &str,
        _: &mut Warnings,
    ) {
        if kept.is_none() || added.is_some() && added < *kept {
            *kept = added;
        }
    }

    #[inline(always)]
    pub(super) fn latest<T: Ord>(kept: &mut Option<T>, added: Option<T>, _: Kind, _: &str, _: &mut Warnings) {
        if added > *kept {
            *kept = added;
        }
    }

    #[inline(always)]
    pub(super) fn largest<T: Ord>(
        kept: &mut Option<T>,
        added: Option<T>,
        kind: Kind,
        name: &str,
        warnings: &mut Warnings,
    ) {
        latest(kept, added, kind, name, warnings);
    }

    /// Only detached rows have it, and they are never merged into.
    #[inline(always)]
    pub(super) fn detached<T>(_: &mut T, _: T, _: Kind, _: &str, _: &mut Warnings) {}

    /// Further fields are the caller's to merge. The drop of a map that is new costs more than a row's
    /// sums, and there is nothing to drop.
    #[inline(always)]
    pub(super) fn fields(added: Fields) {
        if added.is_empty() {
            mem::forget(added);
        }
    }

    /// Computed from the merged row, or the same in both.
    #[inline(always)]
    pub(super) fn derived<T>(_: &mut T, _: T, _: Kind, _: &str, _: &mut Warnings) {}
}

/// A field of a row.
pub(crate) trait Member: Sized {
    fn value(&self) -> Option<Value<'_>>;

    /// Reads a value over this one, whose memory is used again.
    #[cfg(feature = "cli")]
    fn read(&mut self, text: &mut Text<'_>) -> Option<()>;

    #[cfg(feature = "cli")]
    fn pack(&self, out: &mut Vec<u8>);

    #[cfg(feature = "cli")]
    fn unpack(packed: &mut Packed<'_>) -> Option<Self>;
}

/// Implements [`Member`] for a type, and for its option.
macro_rules! member {
    ($Type:ty, $member:ident => $value:expr, $read:ident) => {
        impl Member for $Type {
            #[inline(always)]
            fn value(&self) -> Option<Value<'_>> {
                let $member = self;
                Some($value)
            }

            #[cfg(feature = "cli")]
            #[inline(always)]
            fn read(&mut self, text: &mut Text<'_>) -> Option<()> {
                text.$read()?.clone_into(self);
                Some(())
            }

            #[cfg(feature = "cli")]
            #[inline]
            fn pack(&self, out: &mut Vec<u8>) {
                packed::$read(out, self);
            }

            #[cfg(feature = "cli")]
            #[inline]
            fn unpack(packed: &mut Packed<'_>) -> Option<Self> {
                packed.$read().map(|value| value.to_owned())
            }
        }

        impl Member for Option<$Type> {
            #[inline(always)]
            fn value(&self) -> Option<Value<'_>> {
                self.as_ref().map(|$member| $value)
            }

            #[cfg(feature = "cli")]
            #[inline(always)]
            fn read(&mut self, text: &mut Text<'_>) -> Option<()> {
                if text.literal("null").is_some() {
                    *self = None;
                    return Some(());
                }
                self.get_or_insert_default().read(text)
            }

            #[cfg(feature = "cli")]
            #[inline]
            fn pack(&self, out: &mut Vec<u8>) {
                out.push(self.is_some().into());
                self.iter().for_each(|value| value.pack(out));
            }

            #[cfg(feature = "cli")]
            #[inline]
            fn unpack(packed: &mut Packed<'_>) -> Option<Self> {
                packed.or_null(Member::unpack)
            }
        }
    };
}

member!(u64, count => Value::Count(*count), number);
member!(Millis, time => Value::Time(*time), time);
member!(f64, ratio => Value::Ratio(*ratio), decimal);
member!(String, text => Value::Text(text), text);

#[cfg(test)]
pub(crate) mod tests;
