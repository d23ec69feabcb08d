//! The visitor: takes the values of a span from `tracing`, bounds them, and contains the user's formatting
//! code.

use std::{error::Error, fmt};

use tracing::field::{Field, Visit};

use crate::{
    FieldValue, Millis,
    contain::contain_formatting,
    model::value::{self, TEXT_LIMIT, Unusable},
    record::layout::{Layout, Meaning},
};

/// The longest `request_id`, in bytes.
pub(crate) const REQUEST_ID_LIMIT: usize = 256;

/// Whether a value was kept as recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    Whole,
    /// Its text was longer than [`TEXT_LIMIT`].
    Cut,
    /// Its `Debug` or `Display` panicked.
    Panicked,
}

pub(crate) const PANICKED: Unusable = "its formatting panicked or led to itself";

/// One recorded value, for [`SpanFields::set`].
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) meaning: Meaning,
    pub(crate) field: &'static str,
    pub(crate) value: FieldValue,
    pub(crate) kept: Kept,
    /// Text without quotes that was recorded through `Display` or `Debug`, which `tracing` does not
    /// distinguish.
    is_bare: bool,
}

impl Recorded {
    pub(crate) fn number<T>(&self, read: fn(&FieldValue) -> Result<T, Unusable>) -> Result<T, Unusable> {
        match self.kept {
            Kept::Whole => read(&self.value),
            Kept::Cut => Err("it is too long for a number"),
            Kept::Panicked => Err(PANICKED),
        }
    }

    /// The value as text; `None` for the text `None` of an `Option`.
    pub(crate) fn into_text(self) -> Option<String> {
        match self.value {
            FieldValue::Text(text) if self.is_bare => match value::unwrapped(&text) {
                "None" => None,
                inner => Some(value::unquoted(inner).to_owned()),
            },
            FieldValue::Text(text) => Some(text),
            other => Some(other.to_string()),
        }
    }
}

/// Takes the values of a span.
pub(crate) trait Take {
    /// Unlocks what it has locked, since user code is about to run.
    fn release(&mut self);
    /// A usable number for a numeric field.
    fn number(&mut self, place: usize, number: u64);
    /// An output of some units.
    fn output(&mut self, units: u64);
    /// Media of an output, in nanoseconds.
    fn media(&mut self, nanos: u64);
    /// A label that was not cut.
    fn label(&mut self, text: &str);
    /// A `request_id` that was not cut.
    fn request_id(&mut self, id: &str);
    /// Any other value.
    fn value(&mut self, recorded: Recorded);
}

/// Passes every value of a span to `take`. The user's `Debug` code runs in it, so it must be used with no
/// lock held but those that `take` releases.
pub(crate) struct Visitor<'a, T> {
    pub(crate) layout: &'a Layout,
    pub(crate) take: T,
}

impl<T: Take> Visitor<'_, T> {
    fn typed(&mut self, field: &Field, value: impl Into<FieldValue>) {
        self.value(field, value.into(), Kept::Whole, false);
    }

    fn text(&mut self, field: &Field, text: &str) {
        match self.layout.meaning(field) {
            Meaning::Label if text.len() <= TEXT_LIMIT => return self.take.label(text),
            Meaning::RequestId if text.len() <= REQUEST_ID_LIMIT => return self.take.request_id(text),
            _ => {}
        }
        let kept = value::prefix(text, TEXT_LIMIT);
        let fate = if kept.len() < text.len() { Kept::Cut } else { Kept::Whole };
        self.value(field, FieldValue::Text(kept.to_owned()), fate, false);
    }

    fn value(&mut self, field: &Field, value: FieldValue, kept: Kept, is_bare: bool) {
        let meaning = self.layout.meaning(field);
        self.take.value(Recorded { meaning, field: field.name(), value, kept, is_bare });
    }
}

impl<T: Take> Visit for Visitor<'_, T> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        match (self.layout.meaning(field), Millis::from_f64(value)) {
            (Meaning::Time(place), Some(time)) => self.take.number(place, time.as_nanos()),
            (Meaning::Media, Some(time)) => self.take.media(time.as_nanos()),
            _ => self.typed(field, value),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        match u64::try_from(value) {
            Ok(value) => self.record_u64(field, value),
            Err(_) => self.typed(field, value),
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match self.layout.meaning(field) {
            Meaning::Count(place) => self.take.number(place, value),
            Meaning::Output => self.take.output(value),
            _ => self.typed(field, value),
        }
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        match (u64::try_from(value), i64::try_from(value)) {
            (Ok(value), _) => self.typed(field, value),
            (_, Ok(value)) => self.typed(field, value),
            _ => self.text(field, &value.to_string()),
        }
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        match u64::try_from(value) {
            Ok(value) => self.typed(field, value),
            Err(_) => self.text(field, &value.to_string()),
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        match (self.layout.meaning(field), value) {
            (Meaning::Output, true) => self.take.output(1),
            _ => self.value(field, FieldValue::Bool(value), Kept::Whole, false),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    fn record_bytes(&mut self, field: &Field, value: &[u8]) {
        match std::str::from_utf8(value) {
            Ok(text) => self.text(field, text),
            Err(_) => {
                let hex: String = value.iter().take(TEXT_LIMIT).map(|byte| format!("{byte:02x}")).collect();
                self.text(field, &hex);
            }
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.take.release();
        let (text, kept) = text_of_user(value);
        self.value(field, FieldValue::Text(text), kept, false);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.take.release();
        let (mut text, kept) = text_of_user(format_args!("{value:?}"));
        let inner = match kept {
            // A text that was cut has lost its closing quote.
            Kept::Cut => text.strip_prefix('"').unwrap_or(&text),
            _ => value::unquoted(&text),
        };
        let is_bare = inner.len() == text.len();
        if !is_bare {
            text = inner.to_owned();
        }
        self.value(field, FieldValue::Text(text), kept, is_bare);
    }
}

/// The text of a value that the user's code formats, of at most [`TEXT_LIMIT`] bytes.
pub(crate) fn text_of_user(value: impl fmt::Display) -> (String, Kept) {
    match contain_formatting(|| value::text_of(value)) {
        Some((text, false)) => (text, Kept::Whole),
        Some((text, true)) => (text, Kept::Cut),
        None => ("…".to_owned(), Kept::Panicked),
    }
}
