//! The values that were recorded on a span, as the rows take them.

use std::{borrow::Cow, fmt, sync::Arc};

use smallvec::SmallVec;

use crate::{
    FieldValue, Fields,
    fold::{further::keep_further, outputs::Outputs},
    model::{kind::Kind, warnings::Warnings},
};

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
    pub(crate) kind: Kind,
    pub(crate) request_id: Option<Arc<str>>,
    numbers: Numbers,
    /// `stage_name` of a stage, `finish_reason` of a request.
    pub(crate) label: Option<String>,
    pub(crate) phase: Phase,
    /// The moment at which `first_output` was first recorded.
    pub(crate) first_output: Option<u64>,
    pub(crate) progress: Option<Box<Progress>>,
    /// Whether a request declares `finish_reason`, and so has one even if none was recorded.
    pub(crate) declares_reason: bool,
    /// Whether a request closed without a reason while its thread was unwinding.
    pub(crate) is_unwinding: bool,
    pub(crate) further: Fields,
    pub(crate) warnings: Warnings,
    /// Numeric fields that were given an unusable value.
    unusable: SmallVec<[&'static str; 1]>,
}

/// What an engine records on a stage while it works on a request. Few stages have it, and the others pay for
/// one pointer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    /// The moment at which `scheduled` was first recorded.
    pub(crate) scheduled: Option<u64>,
    pub(crate) num_tokens_cached: Option<u64>,
    pub(crate) num_tokens_reasoning: Option<u64>,
    pub(crate) outputs: Outputs,
}

/// The numeric fields of a span, at the indexes that the layout of their callsite gives. Times are in
/// nanoseconds.
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
        let Self {
            kind: _,
            request_id,
            numbers,
            label,
            phase,
            first_output,
            progress,
            declares_reason,
            is_unwinding,
            further,
            warnings,
            unusable,
        } = self;
        *request_id = None;
        *numbers = Numbers::default();
        *label = None;
        *phase = Phase::default();
        *first_output = None;
        *progress = None;
        *declares_reason = false;
        *is_unwinding = false;
        if !further.is_empty() {
            further.clear();
        }
        warnings.clear();
        unusable.clear();
    }

    /// A copy of the fields of a `request` span that its line shows.
    pub(crate) fn copy_for_line(&self) -> Self {
        Self {
            request_id: self.request_id.clone(),
            label: self.label.clone(),
            declares_reason: self.declares_reason,
            is_unwinding: self.is_unwinding,
            further: self.further.clone(),
            warnings: self.warnings.clone(),
            ..Self::default()
        }
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

    /// Adds an output of some units at this moment.
    pub(crate) fn add_output(&mut self, moment: u64, units: u64) {
        self.progress.get_or_insert_default().outputs.add(moment, units, &mut self.warnings);
    }

    /// Adds media, in nanoseconds, of an output.
    pub(crate) fn add_media(&mut self, nanos: u64) {
        self.progress.get_or_insert_default().outputs.add_media(nanos, &mut self.warnings);
    }

    /// Keeps a further field, if there is room.
    pub(crate) fn keep(&mut self, field: &'static str, value: FieldValue) {
        keep_further(&mut self.further, Cow::Borrowed(field), value, self.kind, &mut self.warnings);
    }

    /// Notes that a numeric field was given an unusable value.
    pub(crate) fn mark_unusable(&mut self, field: &'static str) {
        if !self.unusable.contains(&field) {
            self.unusable.push(field);
        }
    }

    /// Whether the field was given an unusable value.
    pub(crate) fn has_unusable(&self, field: &str) -> bool {
        self.unusable.contains(&field)
    }

    /// Takes away the tokens of a span that several requests share, with a warning: they are a total.
    #[cold]
    pub(crate) fn disown_totals(&mut self, sharers: usize) {
        let [_, _, _, num_tokens_in, num_tokens_out, ..] = &mut self.numbers;
        let (num_tokens_in, num_tokens_out) = (num_tokens_in.take(), num_tokens_out.take());
        let progress = self.progress.as_deref_mut();
        let [cached, reasoning, units] = progress.map_or([None; 3], |progress| {
            [
                progress.num_tokens_cached.take(),
                progress.num_tokens_reasoning.take(),
                progress.outputs.units.take(),
            ]
        });
        let tokens = [
            ("num_tokens_in", num_tokens_in),
            ("num_tokens_out", num_tokens_out),
            ("num_tokens_cached", cached),
            ("num_tokens_reasoning", reasoning),
            ("output", units),
        ];
        for (field, count) in tokens {
            if let Some(count) = count {
                let what = format!("a total of the {sharers} requests of a batch goes to none of them");
                self.warn(field, count, what);
            }
        }
    }

    pub(crate) fn warn(&mut self, field: &str, value: impl fmt::Display, what: impl fmt::Display) {
        self.warnings.add(self.kind, field, value, what);
    }
}
