//! How many violations each group of lines has.

use serde::Serialize;

use super::found::Found;
use crate::{
    Timestamp,
    cli::{
        groups::{Group, Grouping, Groups, Merge},
        invariants::Remarks,
    },
    write::text::{Cell, Columns},
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
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
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
}

impl CheckedGroups {
    pub(super) fn of(groups: Groups<Checked>, grouping: &Grouping) -> Self {
        let row = |group: Group<Checked>| CheckedGroup {
            from: group.from(),
            until: group.until(),
            group: group.label(),
            checked: group.value,
        };
        let from = grouping.width.map(|_| "from".to_owned());
        let title = from.into_iter().chain(grouping.by.as_ref().map(ToString::to_string));
        let title = title.collect::<Vec<_>>().join(", ");
        Self { title, rows: groups.into_groups(grouping).into_iter().map(row).collect() }
    }

    pub(super) fn text(&self) -> Columns {
        let mut table = Columns::named(&self.title, ["lines", "violations", "notes"]);
        for CheckedGroup { from, group, checked, .. } in &self.rows {
            let from = from.map(|from| from.to_string());
            let name: Vec<_> = from.into_iter().chain(group.clone()).collect();
            let Checked { lines, violations, notes } = *checked;
            table.row(&name.join(", "), [lines, violations, notes].into_iter().map(Cell::Count));
        }
        table
    }
}
