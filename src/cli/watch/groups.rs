//! The table of groups on the screen.

use ratatui::{layout::Rect, style::Style, widgets::Table};

use super::tables::{COUNT, Column, TIME, amount, head_of, number, room, table, text};
use crate::{
    cli::{
        attainment::percent,
        groups::{GroupTable, shortened},
    },
    write::columns::{grouped, printable},
};

/// How wide a share is.
const SHARE: u16 = 8;

/// The groups that fit, the busiest ones first.
pub(super) fn groups(groups: &GroupTable, area: Rect) -> Table<'static> {
    let rows = groups.busiest_first();
    let by = printable(groups.rows.by.as_deref().unwrap_or_default()).into_owned();
    let counted = if groups.rows.counted == "requests" { "requests" } else { "rows" };
    let ends = groups.ends();
    let time = |at: usize| {
        let head = |(time, ends): (&str, [_; 2])| ends.get(at).map(|percent| format!("{time} {percent}"));
        number(&ends.and_then(head).unwrap_or_default(), TIME)
    };
    let all: [Column; 6] = [
        text(&head_of(&by, room(area), rows.len()), None),
        number(counted, COUNT),
        number("/s", COUNT),
        number("failed", SHARE),
        time(0),
        time(1),
    ];
    let shown: &[usize] = match area.width {
        ..40 => &[0, 5],
        40..72 => &[0, 1, 2, 5],
        72.. => &[0, 1, 2, 3, 4, 5],
    };
    let columns: Vec<_> = shown.iter().filter_map(|at| all.get(*at)).cloned().collect();
    let absent = || "-".to_owned();
    let rows = rows.into_iter().map(|row| {
        let time = |at: usize| {
            let time = ends.and_then(|(_, ends)| groups.percentile(row, *ends.get(at)?));
            time.map_or_else(absent, |time| grouped(&format!("{time:.3}")))
        };
        let cell = |at: &usize| match at {
            0 => shortened(row.group.as_deref().unwrap_or_default()).into_owned(),
            1 => amount(row.count),
            2 => row.per_s.map_or_else(absent, |rate| grouped(&format!("{rate:.1}"))),
            3 => row.failed_share.map_or_else(absent, percent),
            4 => time(0),
            _ => time(1),
        };
        (Style::new(), shown.iter().map(cell).collect())
    });
    table(&columns, rows)
}
