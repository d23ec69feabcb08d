//! A span that has closed, on its way into the rows.

use std::mem;

use crate::{
    Fields,
    fold::{fields::SpanFields, timing::Measured},
};

/// A span that has closed, on its way into the rows.
#[derive(Debug)]
pub(crate) struct Closed<'a> {
    pub(crate) measured: Measured,
    pub(crate) fields: &'a mut SpanFields,
    /// Sum of the span times of `preprocess` children, in nanoseconds.
    pub(crate) preprocess: Option<u64>,
    /// How many requests the batch has that this span stands for.
    pub(crate) batch: Option<u64>,
    /// More than one request gets it, so that its texts are copied, not moved.
    pub(crate) is_shared: bool,
}

impl Closed<'_> {
    /// The span's text for a row.
    pub(crate) fn label(&mut self) -> Option<String> {
        if self.is_shared { self.fields.label.clone() } else { self.fields.label.take() }
    }

    /// The span's further fields for a row.
    pub(crate) fn further(&mut self) -> Option<Fields> {
        if self.fields.further.is_empty() {
            return None;
        }
        Some(if self.is_shared { self.fields.further.clone() } else { mem::take(&mut self.fields.further) })
    }
}
