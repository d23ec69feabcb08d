//! A span that has closed, on its way into the rows.

use std::mem;

use crate::{
    Fields,
    fold::{
        fields::{Progress, SpanFields},
        measured::Measured,
    },
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
    /// Which of the requests of the batch gets it now.
    pub(crate) place: u64,
    /// More than one request gets it, so that its texts are copied, not moved.
    pub(crate) is_shared: bool,
}

impl Closed<'_> {
    /// The span's text for a row.
    pub(crate) fn label(&mut self) -> Option<String> {
        if self.is_shared { self.fields.label.clone() } else { self.fields.label.take() }
    }

    /// What an engine recorded on the span, for a row.
    #[inline]
    pub(crate) fn progress(&mut self) -> Option<Box<Progress>> {
        if self.is_shared { self.fields.progress.clone() } else { self.fields.progress.take() }
    }

    /// The part of a time of this span that belongs to the other requests of its batch. What is left to each
    /// request adds up to the time over all of them.
    #[inline]
    pub(crate) fn part_of_others(&self, nanos: u64) -> u64 {
        match self.batch {
            Some(requests) if requests > 1 => {
                nanos - nanos / requests - u64::from(self.place < nanos % requests)
            }
            _ => 0,
        }
    }

    /// The span's further fields for a row.
    pub(crate) fn further(&mut self) -> Option<Fields> {
        if self.fields.further.is_empty() {
            return None;
        }
        Some(if self.is_shared { self.fields.further.clone() } else { mem::take(&mut self.fields.further) })
    }
}
