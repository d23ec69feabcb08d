//! Which field of a callsite is which, found out once.

use std::{ptr, sync::OnceLock};

use tracing::{Metadata, callsite::Identifier, field::Field};

use crate::fields::Kind;

/// For how many callsites there is room; what finds no place is found out each time.
const KNOWN: usize = 256;
/// How many places are tried for a callsite.
const TRIES: usize = 4;

/// What a field stands for in the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// A count or an id, at this place of the numbers.
    Count(usize),
    /// A time in milliseconds, at this place of the numbers.
    Time(usize),
    RequestId,
    /// `stage_name` of a stage, `finish_reason` of a request.
    Label,
    Phase,
    FirstOutput,
    Further,
    /// A field of a span that has no row.
    Ignored,
}

/// The meanings of a callsite's fields, in their order: a field is found by its index, where comparing
/// names took a third of what a value costs.
#[derive(Debug)]
pub(crate) struct Layout {
    metadata: &'static Metadata<'static>,
    callsite: Identifier,
    meanings: Box<[Meaning]>,
}

/// By the address of the callsite's metadata. A callsite is there for good, and so is its layout.
static LAYOUTS: [OnceLock<Layout>; KNOWN] = [const { OnceLock::new() }; KNOWN];

impl Layout {
    fn new(metadata: &'static Metadata<'static>, kind: Kind) -> Self {
        let meanings = metadata.fields().iter().map(|field| Meaning::of(kind, field.name()));
        Self { metadata, callsite: metadata.callsite(), meanings: meanings.collect() }
    }

    /// Runs `run` with the layout of a span's callsite.
    #[inline]
    pub(crate) fn with<T>(
        metadata: &'static Metadata<'static>,
        kind: Kind,
        run: impl FnOnce(&Self) -> T,
    ) -> T {
        // Metadata is larger than 64 bytes.
        let first = ptr::from_ref(metadata).addr() >> 6;
        for place in first..first + TRIES {
            let Some(place) = LAYOUTS.get(place % KNOWN) else { break };
            let layout = place.get_or_init(|| Self::new(metadata, kind));
            // Not by the callsite: those without a size may share an address.
            if ptr::eq(layout.metadata, metadata) {
                return run(layout);
            }
        }
        run(&Self::new(metadata, kind))
    }

    #[inline]
    pub(crate) fn meaning(&self, field: &Field) -> Meaning {
        // `tracing` lets nobody record another callsite's fields but through hidden functions.
        let is_ours = field.callsite() == self.callsite;
        self.meanings.get(field.index()).copied().filter(|_| is_ours).unwrap_or(Meaning::Ignored)
    }
}

impl Meaning {
    fn of(kind: Kind, field: &str) -> Self {
        match (kind, field) {
            (Kind::Preprocess, _) => Self::Ignored,
            (_, "request_id") => Self::RequestId,
            (Kind::Request, "finish_reason") | (Kind::Stage, "stage_name") => Self::Label,
            (Kind::Stage, "first_output") => Self::FirstOutput,
            (Kind::Stage, "stage_id") => Self::Count(0),
            (Kind::Stage, "batch_id") => Self::Count(1),
            (Kind::Stage, "batch_size") => Self::Count(2),
            (Kind::Stage, "num_tokens_in") => Self::Count(3),
            (Kind::Stage, "num_tokens_out") => Self::Count(4),
            (Kind::Stage, "preprocess_time_ms") => Self::Time(5),
            (Kind::Stage, "stage_gen_time_ms") => Self::Time(6),
            (Kind::Transfer, "phase") => Self::Phase,
            (Kind::Transfer, "from_stage") => Self::Count(0),
            (Kind::Transfer, "to_stage") => Self::Count(1),
            (Kind::Transfer, "size_bytes") => Self::Count(2),
            (Kind::Transfer, "tx_time_ms") => Self::Time(3),
            (Kind::Transfer, "rx_decode_time_ms") => Self::Time(4),
            (Kind::Transfer, "in_flight_time_ms") => Self::Time(5),
            (Kind::Transfer, "sent_at_unix_ms") => Self::Time(6),
            _ => Self::Further,
        }
    }
}
