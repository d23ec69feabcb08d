//! The documented spans and fields, and how their values are interpreted (docs/numbers.md, section 1).

use std::{borrow::Cow, fmt, sync::Arc};

use smallvec::SmallVec;
use tracing::Metadata;

use crate::{
    layout::Meaning,
    recorded::{Kept, PANICKED, Recorded},
    tables::Fields,
    value::{self, FieldValue, TEXT_LIMIT, Unusable},
    warnings::Warnings,
};

/// The longest `request_id`, in bytes.
pub(crate) const REQUEST_ID_LIMIT: usize = 256;
/// How many further fields a row keeps.
pub(crate) const FURTHER_LIMIT: usize = 32;

/// The documented spans.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Stage,
    Transfer,
    #[default]
    Preprocess,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Request, Self::Stage, Self::Transfer, Self::Preprocess];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Stage => "stage",
            Self::Transfer => "transfer",
            Self::Preprocess => "preprocess",
        }
    }

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
        f.write_str(self.name())
    }
}

/// Which half of a hop a `transfer` span is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    #[default]
    Tx,
    Rx,
}

/// The values that were recorded on one span so far.
#[derive(Debug, Default)]
pub(crate) struct SpanFields {
    kind: Kind,
    pub(crate) request_id: Option<Arc<str>>,
    numbers: Numbers,
    /// `stage_name` of a stage, `finish_reason` of a request.
    pub(crate) label: Option<String>,
    pub(crate) phase: Phase,
    /// The moment at which `first_output` was first recorded.
    pub(crate) first_output: Option<u64>,
    pub(crate) further: Fields,
    pub(crate) warnings: Warnings,
    /// Numeric fields that were given an unusable value.
    unusable: SmallVec<[&'static str; 1]>,
}

/// The numeric fields of a span, at the indexes that [`Meaning`] gives. Times are in nanoseconds.
type Numbers = [Option<u64>; 7];

/// The numbers of a `stage` span.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StageNumbers {
    pub(crate) stage_id: Option<u64>,
    pub(crate) batch_id: Option<u64>,
    pub(crate) batch_size: Option<u64>,
    pub(crate) num_tokens_in: Option<u64>,
    pub(crate) num_tokens_out: Option<u64>,
    pub(crate) preprocess_time: Option<u64>,
    pub(crate) stage_gen_time: Option<u64>,
}

/// The numbers of a `transfer` span.
#[derive(Debug, Clone, Copy)]
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

impl SpanFields {
    /// Prepares empty fields for a span of this kind.
    pub(crate) fn begin(&mut self, kind: Kind) {
        self.kind = kind;
    }

    /// Clears all values.
    pub(crate) fn wipe(&mut self) {
        let Self { kind: _, request_id, numbers, label, phase, first_output, further, warnings, unusable } =
            self;
        *request_id = None;
        *numbers = Numbers::default();
        *label = None;
        *phase = Phase::default();
        *first_output = None;
        if !further.is_empty() {
            further.clear();
        }
        warnings.clear();
        unusable.clear();
    }

    pub(crate) fn stage(&self) -> StageNumbers {
        let [stage_id, batch_id, batch_size, num_tokens_in, num_tokens_out, preprocess_time, stage_gen_time] =
            self.numbers;
        StageNumbers {
            stage_id,
            batch_id,
            batch_size,
            num_tokens_in,
            num_tokens_out,
            preprocess_time,
            stage_gen_time,
        }
    }

    pub(crate) fn transfer(&self) -> TransferNumbers {
        let [from_stage, to_stage, size_bytes, tx_time, rx_decode_time, in_flight_time, sent_at] =
            self.numbers;
        TransferNumbers { from_stage, to_stage, size_bytes, tx_time, rx_decode_time, in_flight_time, sent_at }
    }

    /// Sets a usable number; the last one of a field wins.
    pub(crate) fn set_number(&mut self, place: usize, number: u64) {
        if let Some(kept) = self.numbers.get_mut(place) {
            *kept = Some(number);
        }
    }

    /// Sets one value. The last value of a field wins; an unusable value keeps the one before.
    pub(crate) fn set(&mut self, recorded: Recorded, now: u64) {
        let field = recorded.field;
        match recorded.meaning {
            Meaning::Count(place) => self.set_read(place, recorded.number(FieldValue::to_count), &recorded),
            Meaning::Time(place) => self.set_read(place, recorded.number(FieldValue::to_nanos), &recorded),
            Meaning::FirstOutput => self.first_output = self.first_output.or(Some(now)),
            Meaning::Ignored => {}
            _ if recorded.kept == Kept::Panicked => {
                self.warn(field, &recorded.value, format_args!("{PANICKED}; treated as not recorded"));
            }
            Meaning::RequestId => self.set_request_id(recorded),
            Meaning::Label => {
                self.warn_if_cut(&recorded);
                self.label = recorded.into_text().or(self.label.take());
            }
            Meaning::Phase => match recorded.into_text().as_deref() {
                Some("tx") => self.phase = Phase::Tx,
                Some("rx") => self.phase = Phase::Rx,
                Some(other) => {
                    self.warn(field, other, "it is neither `tx` nor `rx`; treated as not recorded");
                }
                None => {}
            },
            Meaning::Further => {
                self.warn_if_cut(&recorded);
                self.keep(field, recorded.value);
            }
            Meaning::Summand => match recorded.number(FieldValue::to_number) {
                // A request has one span, so there is nothing to add up.
                Ok(number) if self.kind == Kind::Request => {
                    self.keep(name_of_sum(field).unwrap_or(field), number);
                }
                Ok(number) => self.keep(field, number),
                Err(why) => {
                    self.warn_if_cut(&recorded);
                    self.warn(field, &recorded.value, format_args!("{why}; kept under its full name"));
                    self.keep(field, recorded.value);
                }
            },
        }
    }

    fn set_read(&mut self, place: usize, read: Result<u64, Unusable>, recorded: &Recorded) {
        match read {
            Ok(number) => self.set_number(place, number),
            Err(why) => {
                if !self.unusable.contains(&recorded.field) {
                    self.unusable.push(recorded.field);
                }
                let what = format!("{why}; treated as not recorded");
                self.warn(recorded.field, &recorded.value, what);
            }
        }
    }

    fn keep(&mut self, field: &'static str, value: FieldValue) {
        keep_further(&mut self.further, Cow::Borrowed(field), value, self.kind, &mut self.warnings);
    }

    fn set_request_id(&mut self, recorded: Recorded) {
        let Some(id) = recorded.into_text() else { return };
        if id.len() > REQUEST_ID_LIMIT {
            self.warn("request_id", &id, format_args!("it is longer than {REQUEST_ID_LIMIT} bytes; cut"));
            self.request_id = Some(value::prefix(&id, REQUEST_ID_LIMIT).into());
        } else {
            self.request_id = Some(id.into());
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

    /// Whether the field was given an unusable value.
    pub(crate) fn has_unusable(&self, field: &str) -> bool {
        self.unusable.contains(&field)
    }

    /// Warns of a field whose name is most likely a misspelt documented name.
    pub(crate) fn warn_of_near_miss(&mut self, field: &str, meant: &str) {
        let value = self.further.get(field).map_or("none yet".into(), |value| value.to_string());
        let what = format!("not a field of the contract; did you mean `{meant}`? It is kept under `fields`");
        self.warn(field, value, what);
    }

    pub(crate) fn warn(&mut self, field: &str, value: impl fmt::Display, what: impl fmt::Display) {
        self.warnings.add(self.kind, field, value, what);
    }
}

/// The name under which the numbers of a `sum.NAME` field are added up.
pub(crate) fn name_of_sum(field: &str) -> Option<&str> {
    field.strip_prefix("sum.").filter(|name| !name.is_empty())
}

/// Adds the further fields of a span to those of a row. The last value of a field stands; numbers of
/// `sum.NAME` fields are added up.
pub(crate) fn merge_further(row: &mut Fields, span: Fields, kind: Kind, warnings: &mut Warnings) {
    for (field, value) in span {
        let (Some(name), true) = (name_of_sum(&field), value.is_number()) else {
            keep_further(row, field, value, kind, warnings);
            continue;
        };
        match row.get_mut(name).map(|kept| (kept.to_number(), kept)) {
            None => keep_further(row, name.to_owned().into(), value, kind, warnings),
            Some((Ok(sum), kept)) => *kept = sum.plus(&value),
            Some((Err(_), _)) => {
                let what =
                    format!("`{name}` is there with a value that is no number; added up under its full name");
                warnings.add(kind, &field, &value, what);
                let sum = row.get(&field).and_then(|sum| sum.to_number().ok());
                let sum = sum.map_or(value.clone(), |sum| sum.plus(&value));
                keep_further(row, field, sum, kind, warnings);
            }
        }
    }
}

/// Keeps one further field if there is room.
fn keep_further(
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
