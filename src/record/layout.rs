//! The meaning of each field of a callsite, computed once.

use std::{ptr, sync::OnceLock};

use tracing::{Metadata, callsite::Identifier, field::Field};

use crate::{fold::further::name_of_sum, model::kind::Kind, record::spelling::nearest};

/// The number of places of the table. The layout of a callsite without a place is computed for each span.
const KNOWN: usize = 256;
/// The number of places that are tried for a callsite.
const TRIES: usize = 4;

/// The documented meaning of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// A count or an id, at this index of the numbers.
    Count(usize),
    /// A time in milliseconds, at this index of the numbers.
    Time(usize),
    RequestId,
    /// `stage_name` of a stage, `finish_reason` of a request.
    Label,
    Phase,
    FirstOutput,
    Scheduled,
    CachedTokens,
    ReasoningTokens,
    Output,
    /// How long the media of an output plays, in milliseconds.
    Media,
    Further,
    /// A further field whose numbers are added up over the spans of its row.
    Summand,
    /// A field that is ignored, because its span has no row.
    Ignored,
}

/// The meanings of a callsite's fields, by the index of the field. Comparing the names for each value would
/// add a half to the cost of a value.
#[derive(Debug)]
pub(crate) struct Layout {
    metadata: &'static Metadata<'static>,
    callsite: Identifier,
    meanings: Box<[Meaning]>,
    near_misses: Box<[NearMiss]>,
    declares_reason: bool,
}

/// A field, and the documented field whose name is one edit away.
type NearMiss = (&'static str, &'static str);

/// Layouts, hashed by the address of the callsite's metadata. A callsite is never freed, and neither is its
/// layout.
static LAYOUTS: [OnceLock<Layout>; KNOWN] = [const { OnceLock::new() }; KNOWN];

impl Layout {
    fn new(metadata: &'static Metadata<'static>, kind: Kind) -> Self {
        let meanings = metadata.fields().iter().map(|field| Meaning::of(kind, field.name()));
        let near_misses = metadata.fields().iter().filter_map(|field| near_miss(kind, field.name()));
        Self {
            metadata,
            callsite: metadata.callsite(),
            meanings: meanings.collect(),
            near_misses: near_misses.collect(),
            declares_reason: kind == Kind::Request && metadata.fields().field("finish_reason").is_some(),
        }
    }

    /// Whether it is a `request` that declares `finish_reason`.
    pub(crate) fn declares_reason(&self) -> bool {
        self.declares_reason
    }

    /// Whether one of the fields has this meaning.
    pub(crate) fn declares(&self, meaning: Meaning) -> bool {
        self.meanings.contains(&meaning)
    }

    pub(crate) fn near_misses(&self) -> &[NearMiss] {
        &self.near_misses
    }

    /// Runs `run` with the layout of a span's callsite.
    #[inline]
    pub(crate) fn with<T>(
        metadata: &'static Metadata<'static>,
        kind: Kind,
        run: impl FnOnce(&Self) -> T,
    ) -> T {
        // The lowest bits of the address carry no information: metadata is larger than 64 bytes.
        let first = ptr::from_ref(metadata).addr() >> 6;
        for place in first..first + TRIES {
            let Some(place) = LAYOUTS.get(place % KNOWN) else { break };
            let layout = place.get_or_init(|| Self::new(metadata, kind));
            // Callsites are not compared here: those of size zero may share an address.
            if ptr::eq(layout.metadata, metadata) {
                return run(layout);
            }
        }
        run(&Self::new(metadata, kind))
    }

    #[inline]
    pub(crate) fn meaning(&self, field: &Field) -> Meaning {
        // The check fails only for a field of another callsite, which `tracing` permits through hidden
        // functions only.
        let is_ours = field.callsite() == self.callsite;
        self.meanings.get(field.index()).copied().filter(|_| is_ours).unwrap_or(Meaning::Ignored)
    }
}

/// A field that is documented for another kind of span is not a near miss: it was declared on purpose.
fn near_miss(kind: Kind, field: &'static str) -> Option<NearMiss> {
    let names = |kind| Meaning::fields(kind).iter().map(|(name, _)| *name);
    if Kind::ALL.into_iter().flat_map(names).any(|name| name == field) {
        return None;
    }
    Some((field, nearest(field, names(kind))?))
}

/// Which documented span a callsite creates.
#[inline]
pub(crate) fn kind_of(metadata: &Metadata<'_>) -> Option<Kind> {
    if metadata.is_span() { Kind::named(metadata.name()) } else { None }
}

impl Meaning {
    fn of(kind: Kind, field: &str) -> Self {
        if kind == Kind::Preprocess {
            return Self::Ignored;
        }
        let known = Self::fields(kind).iter().find(|(name, _)| *name == field);
        let further = if name_of_sum(field).is_some() { Self::Summand } else { Self::Further };
        known.map_or(further, |(_, meaning)| *meaning)
    }

    /// The documented fields of spans of this kind.
    fn fields(kind: Kind) -> &'static [(&'static str, Self)] {
        match kind {
            Kind::Request => &[("request_id", Self::RequestId), ("finish_reason", Self::Label)],
            Kind::Stage => &[
                ("request_id", Self::RequestId),
                ("stage_name", Self::Label),
                ("first_output", Self::FirstOutput),
                ("stage_id", Self::Count(0)),
                ("batch_id", Self::Count(1)),
                ("batch_size", Self::Count(2)),
                ("num_tokens_in", Self::Count(3)),
                ("num_tokens_out", Self::Count(4)),
                ("preprocess_time_ms", Self::Time(5)),
                ("stage_gen_time_ms", Self::Time(6)),
                ("num_tokens_cached", Self::CachedTokens),
                ("num_tokens_reasoning", Self::ReasoningTokens),
                ("scheduled", Self::Scheduled),
                ("output", Self::Output),
                ("output_media_ms", Self::Media),
            ],
            Kind::Transfer => &[
                ("request_id", Self::RequestId),
                ("phase", Self::Phase),
                ("from_stage", Self::Count(0)),
                ("to_stage", Self::Count(1)),
                ("size_bytes", Self::Count(2)),
                ("tx_time_ms", Self::Time(3)),
                ("rx_decode_time_ms", Self::Time(4)),
                ("in_flight_time_ms", Self::Time(5)),
                ("sent_at_unix_ms", Self::Time(6)),
            ],
            Kind::Preprocess => &[],
        }
    }
}
