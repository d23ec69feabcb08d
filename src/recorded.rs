//! Values on their way from `tracing`: typed, bounded, with users' code contained.

use std::{error::Error, fmt};

use tracing::field::{Field, Visit};

use crate::{
    contain::contain_formatting,
    fields::ReadNumber,
    value::{self, FieldValue, TEXT_LIMIT, Unusable},
};

/// What became of a value on its way from the span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    Whole,
    /// Its text was longer than [`TEXT_LIMIT`].
    Cut,
    /// Its `Debug` or `Display` panicked.
    Panicked,
}

pub(crate) const PANICKED: Unusable = "its formatting panicked";

/// One value on its way from `tracing` to [`SpanFields::set`].
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) field: &'static str,
    pub(crate) value: FieldValue,
    pub(crate) kept: Kept,
    /// Recorded through `Display` or `Debug`, which `tracing` doesn't tell apart, and not in quotes.
    is_bare: bool,
}

impl Recorded {
    pub(crate) fn number(&self, read: ReadNumber) -> Result<u64, Unusable> {
        match self.kept {
            Kept::Whole => read(&self.value),
            Kept::Cut => Err("it is too long for a number"),
            Kept::Panicked => Err(PANICKED),
        }
    }

    /// The value as a text field holds it; `None` for an option that is `None`.
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

/// Hands every value of a span to `take`. The user's `Debug` code runs in here, so `take` is
/// called, and the visitor used, with no lock held.
pub(crate) struct Visitor<F>(pub(crate) F);

impl<F: FnMut(Recorded)> Visitor<F> {
    fn typed(&mut self, field: &Field, value: impl Into<FieldValue>) {
        (self.0)(Recorded { field: field.name(), value: value.into(), kept: Kept::Whole, is_bare: false });
    }

    fn text(&mut self, field: &Field, text: &str) {
        let kept = value::prefix(text, TEXT_LIMIT);
        let fate = if kept.len() < text.len() { Kept::Cut } else { Kept::Whole };
        let value = FieldValue::Text(kept.to_owned());
        (self.0)(Recorded { field: field.name(), value, kept: fate, is_bare: false });
    }
}

impl<F: FnMut(Recorded)> Visit for Visitor<F> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.typed(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.typed(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.typed(field, value);
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
        (self.0)(Recorded {
            field: field.name(),
            value: FieldValue::Bool(value),
            kept: Kept::Whole,
            is_bare: false,
        });
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
        let (text, kept) = text_of_user(value);
        let value = FieldValue::Text(text);
        (self.0)(Recorded { field: field.name(), value, kept, is_bare: false });
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let (mut text, kept) = text_of_user(format_args!("{value:?}"));
        let inner = match kept {
            // The closing quote of a text that was cut is gone.
            Kept::Cut => text.strip_prefix('"').unwrap_or(&text),
            _ => value::unquoted(&text),
        };
        let is_bare = inner.len() == text.len();
        if !is_bare {
            text = inner.to_owned();
        }
        (self.0)(Recorded { field: field.name(), value: FieldValue::Text(text), kept, is_bare });
    }
}

fn text_of_user(value: impl fmt::Display) -> (String, Kept) {
    match contain_formatting(|| value::text_of(value)) {
        Some((text, false)) => (text, Kept::Whole),
        Some((text, true)) => (text, Kept::Cut),
        None => ("…".to_owned(), Kept::Panicked),
    }
}
