//! How many violations each group of lines has.

use serde::Serialize;

use super::found::Found;
use crate::{
    cli::{
        groups::{Group, Grouping, Groups, Heading, Merge},
        invariants::Remarks,
    },
    write::columns::{Cell, Columns},
};

/// What was found in the lines of a group.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub(super) struct Checked {
    lines: u64,
    violations: u64,
    notes: u64,
}

impl Checked {
    pub(super) fn of(found: &Found) -> Self {
        let Remarks { violations, notes } = &found.remarks;
        Self { lines: 1, violations: violations.len() as u64, notes: notes.len() as u64 }
    }
}

impl Merge for Checked {
    fn merge(&mut self, other: Self) {
        self.lines += other.lines;
        self.violations += other.violations;
        self.notes += other.notes;
    }
}

#[derive(Serialize)]
struct CheckedGroup {
    #[serde(flatten)]
    heading: Heading,
    #[serde(flatten)]
    checked: Checked,
}

/// What was found, by group.
#[derive(Serialize)]
#[serde(transparent)]
pub(super) struct CheckedGroups {
    #[serde(skip)]
    title: String,
    rows: Vec<CheckedGroup>,
    #[serde(skip)]
    pub(super) remarks: Vec<String>,
}

impl CheckedGroups {
    pub(super) fn of(groups: Groups<Checked>, grouping: &Grouping) -> Self {
        let width = groups.width();
        let groups = groups.into_groups(grouping);
        let remarks = grouping.remarks(width);
        let row =
            |group: Group<Checked>| CheckedGroup { heading: group.heading(grouping), checked: group.value };
        Self { title: grouping.title(), rows: groups.into_iter().map(row).collect(), remarks }
    }

    pub(super) fn text(&self) -> Columns {
        let mut table = Columns::named(&self.title, ["lines", "violations", "notes"]);
        for CheckedGroup { heading, checked } in &self.rows {
            let Checked { lines, violations, notes } = *checked;
            table.row(&heading.row(), [lines, violations, notes].into_iter().map(Cell::Count));
        }
        table
    }
}
