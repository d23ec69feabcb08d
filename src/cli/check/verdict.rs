//! What was found in all files.

use std::fmt;

use serde::Serialize;

use super::{groups::CheckedGroups, log::Log};
use crate::cli::{
    amount::{LATE_ROW, LATE_ROWS, amount},
    line_counts::LineCounts,
    paint,
    sentence::WIDTH,
};

/// The last line of JSON, and the last lines of text.
#[derive(Serialize)]
#[serde(tag = "type", rename = "check")]
pub(super) struct Verdict {
    pub(super) is_sound: bool,
    lines: u64,
    violations: u64,
    notes: u64,
    broken_lines: u64,
    foreign_lines: u64,
    unknown_schema_lines: u64,
    late_rows: u64,
    doubled_lines: u64,
    /// Lines that processes have counted as lost.
    lost_lines: u64,
    left_out_lines: u64,
    /// Whether the numbers of the run's requests were checked for gaps.
    numbers_checked: bool,
    #[serde(skip)]
    at_least: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<CheckedGroups>,
}

impl Verdict {
    pub(super) fn of(log: &Log, read: LineCounts, groups: Option<CheckedGroups>) -> Self {
        Self {
            is_sound: log.violations == 0 && read.broken == 0,
            lines: read.lines,
            violations: log.violations,
            notes: log.notes.all(),
            broken_lines: read.broken,
            foreign_lines: read.foreign,
            unknown_schema_lines: read.unknown,
            late_rows: read.late,
            doubled_lines: read.doubles,
            lost_lines: log.lost,
            left_out_lines: read.outside + read.unmatched,
            numbers_checked: log.is_whole,
            at_least: read.at_least(),
            groups,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(groups) = &self.groups {
            writeln!(f, "{}\n", paint::tables(&groups.text().fitted(WIDTH)))?;
        }
        let mut parts = Vec::new();
        if self.is_sound {
            parts.push(paint::good(amount(self.lines, "line is sound", "lines are sound")).to_string());
        } else {
            let at_least = if self.doubled_lines > 0 { self.at_least } else { "" };
            let violations = amount(self.violations, "violation", "violations");
            let violations = paint::bad(format!("{at_least}{violations}"));
            parts.push(format!("{violations} in {}", amount(self.lines, "line", "lines")));
            parts.push(amount(self.broken_lines, "broken line", "broken lines"));
        }
        parts.push(amount(self.foreign_lines, "foreign line", "foreign lines"));
        let if_any = [
            (self.unknown_schema_lines, "line of an unknown schema", "lines of an unknown schema"),
            (self.late_rows, LATE_ROW, LATE_ROWS),
            (self.notes, "note", "notes"),
            (self.lost_lines, "line lost by the process", "lines lost by the process"),
        ];
        let any = if_any.into_iter().filter(|(number, ..)| *number > 0);
        parts.extend(any.map(|(number, one, many)| amount(number, one, many)));
        if !self.numbers_checked {
            let unchecked =
                "e2e_requests not checked for gaps, nor logs against each other, since lines are left out";
            parts.push(unchecked.to_owned());
        }
        write!(f, "{}", parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::check::finding::Form;

    #[test]
    fn violations_are_a_lower_bound_if_not_all_lines_that_occur_twice_are_known() {
        let said = |doubles, has_forgotten| {
            let mut log = Log::new(Form::Text, true);
            log.violations = 7;
            let read = LineCounts { lines: 9, doubles, has_forgotten, ..LineCounts::default() };
            Verdict::of(&log, read, None).to_string()
        };
        assert!(said(7, true).contains("at least 7 violations"));
        assert!([said(7, false), said(0, true)].iter().all(|said| !said.contains("at least")));
    }
}
