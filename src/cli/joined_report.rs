//! The report of `join`: sentences and a table of groups, or a line of JSON.

use std::{io::Write, time::Duration};

use serde::Serialize;

use super::{
    clock_report::ClockReport,
    failure::{Result, complain},
    groups::{GroupTable, Grouping},
    json,
    line_counts::LineCounts,
    oddities::Oddities,
    selection::Sifted,
    summary::print_groups,
};
use crate::Millis;

#[derive(Serialize)]
#[serde(tag = "type", rename = "join")]
pub(super) struct JoinedReport {
    /// Lines of the layer that were read.
    lines: u64,
    broken_lines: u64,
    foreign_lines: u64,
    unknown_schema_lines: u64,
    /// Requests that were written.
    requests: u64,
    /// Requests that were not selected.
    left_out_lines: u64,
    max_offset_ms: Millis,
    #[serde(flatten)]
    oddities: Oddities,
    /// The estimates of the clocks, if rows were to be moved.
    #[serde(flatten)]
    clocks: Option<ClockReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<GroupTable>,
}

impl JoinedReport {
    pub(super) fn new(read: LineCounts, written: Sifted, max_offset: Duration, oddities: Oddities) -> Self {
        let nanos = u64::try_from(max_offset.as_nanos()).unwrap_or(u64::MAX);
        Self {
            lines: read.lines,
            broken_lines: read.broken,
            foreign_lines: read.foreign,
            unknown_schema_lines: read.unknown,
            requests: written.kept,
            left_out_lines: written.left_out,
            max_offset_ms: Millis::from_nanos(nanos),
            oddities,
            clocks: None,
            groups: None,
        }
    }

    pub(super) fn with_clocks(self, clocks: ClockReport) -> Self {
        Self { clocks: Some(clocks), ..self }
    }

    pub(super) fn with_groups(self, groups: Option<GroupTable>) -> Self {
        Self { groups, ..self }
    }

    /// Prints it: the JSON, or sentences on stderr and then the table of groups.
    pub(super) fn print(
        &self,
        is_json: bool,
        grouping: Option<&Grouping>,
        out: &mut impl Write,
    ) -> Result<()> {
        self.groups.iter().flat_map(GroupTable::remarks).for_each(|remark| complain(remark));
        if is_json {
            return json::write(out, self);
        }
        self.complain();
        match self.groups.as_ref().zip(grouping) {
            Some((groups, grouping)) => print_groups(groups, grouping, out),
            None => Ok(()),
        }
    }

    /// Prints the groups as comma-separated values, and sentences on stderr.
    pub(super) fn print_csv(&self, out: &mut impl Write) -> Result<()> {
        self.groups.iter().flat_map(GroupTable::remarks).for_each(|remark| complain(remark));
        self.complain();
        self.groups.iter().try_for_each(|groups| groups.write_csv(out))
    }

    fn complain(&self) {
        let max_offset = Duration::from_nanos(self.max_offset_ms.as_nanos());
        let of_clocks = self.clocks.iter().flat_map(ClockReport::sentences);
        let sentences = of_clocks.chain(self.oddities.sentences(max_offset));
        sentences.for_each(|sentence| complain(&sentence));
    }
}
