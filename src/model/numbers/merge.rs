//! How the numbers of two rows become one. All functions have one signature, so that the lists can name them.

use std::mem;

use crate::{
    Fields,
    model::{
        kind::Kind,
        sums::{self, Sum},
        warnings::Warnings,
    },
};

#[inline(always)]
pub(super) fn sum<T: Sum>(
    kept: &mut Option<T>,
    added: Option<T>,
    kind: Kind,
    field: &str,
    warnings: &mut Warnings,
) {
    sums::add_to(kept, added, kind, field, warnings);
}

/// A sum that is never absent.
#[inline(always)]
pub(super) fn total<T: Sum>(kept: &mut T, added: T, kind: Kind, field: &str, warnings: &mut Warnings) {
    sums::add(kept, Some(added), kind, field, warnings);
}

#[inline(always)]
pub(super) fn last<T>(kept: &mut Option<T>, added: Option<T>, _: Kind, _: &str, _: &mut Warnings) {
    if added.is_some() {
        *kept = added;
    }
}

#[inline(always)]
pub(super) fn first<T>(kept: &mut Option<T>, added: Option<T>, _: Kind, _: &str, _: &mut Warnings) {
    if kept.is_none() {
        *kept = added;
    }
}

#[inline(always)]
pub(super) fn earliest<T: Ord>(kept: &mut Option<T>, added: Option<T>, _: Kind, _: &str, _: &mut Warnings) {
    if kept.is_none() || added.is_some() && added < *kept {
        *kept = added;
    }
}

#[inline(always)]
pub(super) fn latest<T: Ord>(kept: &mut Option<T>, added: Option<T>, _: Kind, _: &str, _: &mut Warnings) {
    if added > *kept {
        *kept = added;
    }
}

#[inline(always)]
pub(super) fn largest<T: Ord>(
    kept: &mut Option<T>,
    added: Option<T>,
    kind: Kind,
    name: &str,
    warnings: &mut Warnings,
) {
    latest(kept, added, kind, name, warnings);
}

/// Only detached rows have it, and they are never merged into.
#[inline(always)]
pub(super) fn detached<T>(_: &mut T, _: T, _: Kind, _: &str, _: &mut Warnings) {}

/// Further fields are the caller's to merge. The drop of a map that is new costs more than a row's
/// sums, and there is nothing to drop.
#[inline(always)]
pub(super) fn fields(added: Fields) {
    if added.is_empty() {
        mem::forget(added);
    }
}

/// Computed from the merged row, or the same in both.
#[inline(always)]
pub(super) fn derived<T>(_: &mut T, _: T, _: Kind, _: &str, _: &mut Warnings) {}
