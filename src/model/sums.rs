//! Sums of counts and times that stay at the largest value where they do not fit.

use std::fmt;

use crate::{
    Millis,
    model::{kind::Kind, warnings::Warnings},
};

/// What adds up: counts, and times.
pub(crate) trait Sum: Copy + Default + fmt::Display {
    const MAX: Self;
    fn checked_add(self, other: Self) -> Option<Self>;
}

impl Sum for u64 {
    const MAX: Self = u64::MAX;

    fn checked_add(self, other: Self) -> Option<Self> {
        self.checked_add(other)
    }
}

impl Sum for Millis {
    const MAX: Self = Millis::MAX;

    fn checked_add(self, other: Self) -> Option<Self> {
        self.checked_add(other)
    }
}

/// Adds a value, if there is one, with a warning where the sum does not fit.
#[inline(always)]
pub(crate) fn add<T: Sum>(sum: &mut T, value: Option<T>, kind: Kind, field: &str, warnings: &mut Warnings) {
    if let Some(value) = value {
        *sum = total(*sum, value, kind, field, warnings);
    }
}

/// Adds a value, if there is one, to a sum that may be absent so far.
#[inline(always)]
pub(crate) fn add_to<T: Sum>(
    sum: &mut Option<T>,
    value: Option<T>,
    kind: Kind,
    field: &str,
    warnings: &mut Warnings,
) {
    if let Some(value) = value {
        *sum = Some(sum.map_or(value, |sum| total(sum, value, kind, field, warnings)));
    }
}

#[inline(always)]
fn total<T: Sum>(sum: T, value: T, kind: Kind, field: &str, warnings: &mut Warnings) -> T {
    sum.checked_add(value).unwrap_or_else(|| too_large(value, kind, field, warnings))
}

/// The largest sum, with a warning.
#[cold]
fn too_large<T: Sum>(value: T, kind: Kind, field: &str, warnings: &mut Warnings) -> T {
    warnings.add(kind, field, value, format_args!("the sum does not fit; it stays at {}", T::MAX));
    T::MAX
}
