//! What stands above the results of a group.

use std::fmt;

use serde::Serialize;

use super::shortened;
use crate::{Timestamp, cli::records::cell, write::columns::printable};

/// The key, and the stretch of time and the name of one group.
#[derive(Debug, Clone, Serialize)]
pub(in crate::cli) struct Heading {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) until: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) group: Option<String>,
}

impl Heading {
    /// The columns of [`Self::cells`].
    pub(in crate::cli) const HEADS: [&str; 2] = ["from", "group"];

    /// What stands at the beginning of a record of comma-separated values.
    pub(in crate::cli) fn cells(&self) -> [String; 2] {
        [cell(self.from), cell(self.group.as_ref())]
    }

    /// What stands at the beginning of the group's row, below [`Grouping::title`](super::Grouping::title).
    pub(in crate::cli) fn row(&self) -> String {
        let group = self.group.as_deref().map(|group| shortened(group).into_owned());
        let parts: Vec<_> = self.from.map(moment).into_iter().chain(group).collect();
        parts.join(", ")
    }
}

impl fmt::Display for Heading {
    /// `finish_reason stop`, `from 2026-11-24T08:46:40Z`, or both.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { by, from, until: _, group } = self;
        let from = from.map(|from| format!("from {}", moment(from)));
        let group = by.as_ref().zip(group.as_ref());
        let group = group.map(|(by, group)| format!("{} {}", printable(by), shortened(group)));
        let parts: Vec<_> = from.into_iter().chain(group).collect();
        f.write_str(&parts.join(", "))
    }
}

/// A moment without decimals that are zero.
pub(super) fn moment(at: Timestamp) -> String {
    let text = at.to_string();
    match text.strip_suffix(".000000Z") {
        Some(text) => format!("{text}Z"),
        None => text,
    }
}
