//! Warnings: values that could not be used or measured, in sentences.

use std::fmt;

use crate::model::{kind::Kind, value};

/// How many warnings a span or a request keeps.
pub(crate) const WARNING_LIMIT: usize = 16;
/// The longest part of a value that a warning quotes, in bytes.
const EXCERPT_LIMIT: usize = 64;

/// Sentences for the reader of the line. Each names the span, the field and the value.
#[derive(Debug, Clone, Default)]
pub(crate) struct Warnings(Vec<String>);

impl Warnings {
    /// Adds a sentence as it is.
    pub(crate) fn push(&mut self, sentence: String) {
        if self.0.len() < WARNING_LIMIT {
            self.0.push(sentence);
        }
    }

    pub(crate) fn add(&mut self, kind: Kind, field: &str, value: impl fmt::Display, what: impl fmt::Display) {
        if self.0.len() < WARNING_LIMIT {
            self.0.push(Self::sentence(kind, field, value, what));
        }
    }

    pub(crate) fn sentence(
        kind: Kind,
        field: &str,
        value: impl fmt::Display,
        what: impl fmt::Display,
    ) -> String {
        let (text, _) = value::text_of(value);
        let excerpt = value::prefix(&text, EXCERPT_LIMIT);
        let ellipsis = if excerpt.len() < text.len() { "…" } else { "" };
        format!("span `{kind}`, field `{field}`, value `{excerpt}{ellipsis}`: {what}")
    }

    /// Adds the warnings of another span, as far as there is room.
    pub(crate) fn extend(&mut self, others: &Self) {
        if others.0.is_empty() {
            return;
        }
        let room = WARNING_LIMIT - self.0.len();
        self.0.extend(others.0.iter().take(room).cloned());
    }

    /// Moves warnings here, as far as there is room; the others stay.
    pub(crate) fn take_from(&mut self, others: &mut Self) {
        let room = WARNING_LIMIT - self.0.len();
        self.0.extend(others.0.drain(..room.min(others.0.len())));
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn as_slice(&self) -> &[String] {
        &self.0
    }

    pub(crate) fn into_vec(self) -> Vec<String> {
        self.0
    }
}
