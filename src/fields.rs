//! The span contract: which spans and fields the layer knows, and what it makes of a value.

use std::{borrow::Cow, fmt};

use smallvec::SmallVec;
use tracing::Metadata;

use crate::{
    recorded::{Kept, PANICKED, Recorded},
    tables::Fields,
    value::{self, FieldValue, TEXT_LIMIT, Unusable},
    warnings::Warnings,
};

pub(crate) const REQUEST_ID: &str = "request_id";
pub(crate) const FIRST_OUTPUT: &str = "first_output";

/// The longest `request_id`, in bytes.
const REQUEST_ID_LIMIT: usize = 256;
/// How many further fields a row keeps.
pub(crate) const FURTHER_LIMIT: usize = 32;

/// The spans of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Stage,
    Transfer,
    Preprocess,
}

impl Kind {
    pub(crate) fn of(metadata: &Metadata<'_>) -> Option<Self> {
        if !metadata.is_span() {
            return None;
        }
        match metadata.name() {
            "request" => Some(Self::Request),
            "stage" => Some(Self::Stage),
            "transfer" => Some(Self::Transfer),
            "preprocess" => Some(Self::Preprocess),
            _ => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Request => "request",
            Self::Stage => "stage",
            Self::Transfer => "transfer",
            Self::Preprocess => "preprocess",
        })
    }
}

/// Which half of a hop a `transfer` span is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    #[default]
    Tx,
    Rx,
}

/// What has been recorded on one span so far.
#[derive(Debug)]
pub(crate) struct SpanFields {
    kind: Kind,
    pub(crate) request_id: Option<String>,
    pub(crate) numbers: Numbers,
    /// `stage_name` of a stage, `finish_reason` of a request.
    pub(crate) label: Option<String>,
    pub(crate) phase: Phase,
    /// The moment at which `first_output` was first recorded.
    pub(crate) first_output: Option<u64>,
    pub(crate) further: Fields,
    pub(crate) warnings: Warnings,
    /// Numeric fields with a value that could not be used.
    unusable: SmallVec<[&'static str; 1]>,
}

/// The numeric fields. Times are in nanoseconds.
#[derive(Debug)]
pub(crate) enum Numbers {
    None,
    Stage(StageNumbers),
    Transfer(TransferNumbers),
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct StageNumbers {
    pub(crate) stage_id: Option<u64>,
    pub(crate) batch_id: Option<u64>,
    pub(crate) batch_size: Option<u64>,
    pub(crate) num_tokens_in: Option<u64>,
    pub(crate) num_tokens_out: Option<u64>,
    pub(crate) preprocess_time: Option<u64>,
    pub(crate) stage_gen_time: Option<u64>,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TransferNumbers {
    pub(crate) from_stage: Option<u64>,
    pub(crate) to_stage: Option<u64>,
    pub(crate) size_bytes: Option<u64>,
    pub(crate) tx_time: Option<u64>,
    pub(crate) rx_decode_time: Option<u64>,
    pub(crate) in_flight_time: Option<u64>,
    /// Nanoseconds since the Unix epoch.
    pub(crate) sent_at: Option<u64>,
}

impl Numbers {
    fn of(kind: Kind) -> Self {
        match kind {
            Kind::Request | Kind::Preprocess => Self::None,
            Kind::Stage => Self::Stage(StageNumbers::default()),
            Kind::Transfer => Self::Transfer(TransferNumbers::default()),
        }
    }

    /// Where the field's number goes, and how it is read from the value.
    fn slot(&mut self, field: &str) -> Option<(&mut Option<u64>, ReadNumber)> {
        const COUNT: ReadNumber = FieldValue::to_count;
        const TIME: ReadNumber = FieldValue::to_nanos;
        match self {
            Self::None => None,
            Self::Stage(stage) => Some(match field {
                "stage_id" => (&mut stage.stage_id, COUNT),
                "batch_id" => (&mut stage.batch_id, COUNT),
                "batch_size" => (&mut stage.batch_size, COUNT),
                "num_tokens_in" => (&mut stage.num_tokens_in, COUNT),
                "num_tokens_out" => (&mut stage.num_tokens_out, COUNT),
                "preprocess_time_ms" => (&mut stage.preprocess_time, TIME),
                "stage_gen_time_ms" => (&mut stage.stage_gen_time, TIME),
                _ => return None,
            }),
            Self::Transfer(transfer) => Some(match field {
                "from_stage" => (&mut transfer.from_stage, COUNT),
                "to_stage" => (&mut transfer.to_stage, COUNT),
                "size_bytes" => (&mut transfer.size_bytes, COUNT),
                "tx_time_ms" => (&mut transfer.tx_time, TIME),
                "rx_decode_time_ms" => (&mut transfer.rx_decode_time, TIME),
                "in_flight_time_ms" => (&mut transfer.in_flight_time, TIME),
                "sent_at_unix_ms" => (&mut transfer.sent_at, TIME),
                _ => return None,
            }),
        }
    }
}

/// Reads a number from a value.
pub(crate) type ReadNumber = fn(&FieldValue) -> Result<u64, Unusable>;

impl SpanFields {
    pub(crate) fn new(kind: Kind) -> Self {
        Self {
            kind,
            request_id: None,
            numbers: Numbers::of(kind),
            label: None,
            phase: Phase::default(),
            first_output: None,
            further: Fields::new(),
            warnings: Warnings::default(),
            unusable: SmallVec::new(),
        }
    }

    /// Makes empty fields those of a span of this kind.
    pub(crate) fn begin(&mut self, kind: Kind) {
        self.kind = kind;
        self.numbers = Numbers::of(kind);
    }

    /// Takes one value; the last of a field wins, and what can't be used leaves the one before.
    pub(crate) fn set(&mut self, recorded: Recorded, now: u64) {
        let field = recorded.field;
        if (self.kind, field) == (Kind::Stage, FIRST_OUTPUT) {
            self.first_output = self.first_output.or(Some(now));
            return;
        }
        if let Some((slot, read)) = self.numbers.slot(field) {
            match recorded.number(read) {
                Ok(number) => *slot = Some(number),
                Err(why) => {
                    if !self.unusable.contains(&field) {
                        self.unusable.push(field);
                    }
                    self.warn(field, &recorded.value, format_args!("{why}; treated as not recorded"));
                }
            }
            return;
        }
        if recorded.kept == Kept::Panicked {
            self.warn(field, &recorded.value, format_args!("{PANICKED}; treated as not recorded"));
            return;
        }
        match (self.kind, field) {
            (Kind::Preprocess, _) => {}
            (_, REQUEST_ID) => self.set_request_id(recorded),
            (Kind::Stage, "stage_name") | (Kind::Request, "finish_reason") => {
                self.warn_if_cut(&recorded);
                self.label = recorded.into_text().or(self.label.take());
            }
            (Kind::Transfer, "phase") => match recorded.into_text().as_deref() {
                Some("tx") => self.phase = Phase::Tx,
                Some("rx") => self.phase = Phase::Rx,
                Some(other) => {
                    self.warn(field, other, "it is neither `tx` nor `rx`; treated as not recorded")
                }
                None => {}
            },
            _ => {
                self.warn_if_cut(&recorded);
                keep_further(
                    &mut self.further,
                    Cow::Borrowed(field),
                    recorded.value,
                    self.kind,
                    &mut self.warnings,
                );
            }
        }
    }

    fn set_request_id(&mut self, recorded: Recorded) {
        let Some(id) = recorded.into_text() else { return };
        if id.len() > REQUEST_ID_LIMIT {
            self.warn(REQUEST_ID, &id, format_args!("it is longer than {REQUEST_ID_LIMIT} bytes; cut"));
            self.request_id = Some(value::prefix(&id, REQUEST_ID_LIMIT).to_owned());
        } else {
            self.request_id = Some(id);
        }
    }

    fn warn_if_cut(&mut self, recorded: &Recorded) {
        if recorded.kept == Kept::Cut {
            self.warn(
                recorded.field,
                &recorded.value,
                format_args!("it is longer than {TEXT_LIMIT} bytes; cut"),
            );
        }
    }

    /// Whether the field was given a value that could not be used.
    pub(crate) fn has_unusable(&self, field: &str) -> bool {
        self.unusable.contains(&field)
    }

    pub(crate) fn warn(&mut self, field: &str, value: impl fmt::Display, what: impl fmt::Display) {
        self.warnings.add(self.kind, field, value, what);
    }
}

/// Keeps one further field of a row, as far as there is room.
pub(crate) fn keep_further(
    row: &mut Fields,
    field: Cow<'static, str>,
    value: FieldValue,
    kind: Kind,
    warnings: &mut Warnings,
) {
    if row.len() < FURTHER_LIMIT || row.contains_key(&field) {
        row.insert(field, value);
    } else {
        warnings.add(
            kind,
            &field,
            value,
            format_args!("a row keeps {FURTHER_LIMIT} further fields; dropped"),
        );
    }
}
