//! The table of groups on the screen.

use ratatui::{layout::Rect, style::Style, widgets::Table};

use super::{
    tables::{COUNT, Column, TIME, amount, head_of, millis, number, room, table, text},
    times::fitting,
};
use crate::{
    cli::{
        amount::decimal,
        attainment::percent,
        groups::{GroupTable, Percent, REST, shortened},
    },
    write::columns::printable,
};

/// How wide a share is.
const SHARE: u16 = 8;

/// The percentiles that the table has room for.
pub(super) fn percentiles(percents: &[Percent], width: u16) -> Vec<Percent> {
    let room = if width < 72 { 1 } else { 2 + usize::from(width.saturating_sub(80) / (TIME + 1)) };
    fitting(percents, room)
}

/// The groups that fit, the busiest ones first. The row of those that are not told apart is the last one.
pub(super) fn groups(groups: &GroupTable, percents: &[Percent], area: Rect) -> Table<'static> {
    let mut rows = groups.busiest_first();
    let (all, room) = (rows.len(), room(area));
    if rows.last().is_some_and(|row| row.group.as_deref() == Some(REST)) && (2..all).contains(&room) {
        rows.drain(room - 1..all - 1);
    }
    let by = printable(groups.rows.by.as_deref().unwrap_or_default()).into_owned();
    let counted = if groups.rows.counted == "requests" { "requests" } else { "rows" };
    let all: [Column; 4] = [
        text(&head_of(&by, room, all), None),
        number(counted, COUNT),
        number("/s", COUNT),
        number("failed", SHARE),
    ];
    let columns = match area.width {
        ..40 => 1,
        40..72 => 3,
        72.. => all.len(),
    };
    let shown = percentiles(percents, area.width);
    let name = groups.first_time().unwrap_or_default();
    let times = shown.iter().map(|percent| number(&format!("{name} {percent}"), TIME));
    let heads: Vec<_> = all.into_iter().take(columns).chain(times).collect();
    let absent = || "-".to_owned();
    let rows = rows.into_iter().map(|row| {
        let cells = [
            shortened(row.group.as_deref().unwrap_or_default()).into_owned(),
            amount(row.count),
            row.per_s.map_or_else(absent, |rate| decimal(rate, 1)),
            row.failed_share.map_or_else(absent, percent),
        ];
        let times = shown.iter().map(|percent| groups.percentile(row, *percent).map_or_else(absent, millis));
        (Style::new(), cells.into_iter().take(columns).chain(times).collect())
    });
    table(&heads, rows)
}
