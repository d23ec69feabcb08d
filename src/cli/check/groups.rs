//! How many violations each group of lines has.

use serde::Serialize;

use crate::{
    cli::groups::{Group, Grouping, Groups, Heading, Merge},
    write::columns::{Cell, Columns},
};

/// What was found in the lines of a group.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub(super) struct Checked {
    pub(super) lines: u64,
    pub(super) violations: u64,
    pub(super) notes: u64,
}

impl Checked {
    /// The part of all of these that is not among `others`.
    pub(super) fn without(self, others: Self) -> Self {
        Self {
            lines: self.lines.saturating_sub(others.lines),
            violations: self.violations.saturating_sub(others.violations),
            notes: self.notes.saturating_sub(others.notes),
        }
    }
}

impl Merge for Checked {
    fn merge(&mut self, other: Self) {
        self.lines += other.lines;
        self.violations += other.violations;
        self.notes += other.notes;
    }
}

/// The name of the row for what belongs to no group.
const NO_GROUP: &str = "(no group)";

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
    /// What was found in no line alone, such as a gap, and in lines without a group.
    #[serde(skip)]
    rest: Checked,
    #[serde(skip)]
    pub(super) remarks: Vec<String>,
}

impl CheckedGroups {
    pub(super) fn of(groups: Groups<Checked>, grouping: &Grouping, rest: Checked) -> Self {
        let width = groups.width();
        let groups = groups.into_groups(grouping);
        let remarks = grouping.remarks(width);
        let row =
            |group: Group<Checked>| CheckedGroup { heading: group.heading(grouping), checked: group.value };
        Self { title: grouping.title(), rows: groups.into_iter().map(row).collect(), rest, remarks }
    }

    pub(super) fn text(&self) -> Columns {
        let mut table = Columns::named(&self.title, ["lines", "violations", "notes"]);
        let rows = self.rows.iter().map(|row| (row.heading.row(), row.checked));
        // A row of zeros is left out.
        for (name, Checked { lines, violations, notes }) in rows.chain([(NO_GROUP.to_owned(), self.rest)]) {
            table.row(&name, [lines, violations, notes].into_iter().map(Cell::Count));
        }
        table
    }
}
