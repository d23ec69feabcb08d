//! The tables of the screen.

use std::sync::Arc;

use ratatui::{
    layout::{Constraint, Rect},
    style::{Color, Modifier, Style},
    text::Line as Text,
    widgets::{Row as Cells, Table},
};

use super::{
    controls::{Controls, Order},
    figures::Figures,
    row::Row,
};
use crate::{
    Millis, Timestamp,
    cli::attainment::percent,
    write::columns::{grouped, printable},
};

/// How wide a time is, and a count.
pub(super) const TIME: u16 = 11;
pub(super) const COUNT: u16 = 9;

/// A column: its head, how wide it is (`None` for the rest of the line), and whether it is of numbers.
pub(super) type Column = (String, Option<u16>, bool);

pub(super) fn number(head: &str, width: u16) -> Column {
    (head.to_owned(), Some(width), true)
}

pub(super) fn text(head: &str, width: Option<u16>) -> Column {
    (head.to_owned(), width, false)
}

/// A table of these columns. A row may have a style of its own, and more cells than there are columns.
pub(super) fn table(columns: &[Column], rows: impl Iterator<Item = (Style, Vec<String>)>) -> Table<'static> {
    let aligned = |cells: Vec<String>| {
        let cells = cells.into_iter().zip(columns).map(|(cell, (.., is_number))| {
            if *is_number { Text::from(cell).right_aligned() } else { Text::from(cell) }
        });
        Cells::new(cells.collect::<Vec<_>>())
    };
    let heads = columns.iter().map(|(head, ..)| head.clone()).collect();
    let head = aligned(heads).style(Style::new().add_modifier(Modifier::DIM));
    let widths = columns.iter().map(|(_, width, _)| width.map_or(Constraint::Fill(1), Constraint::Length));
    let widths: Vec<_> = widths.collect();
    Table::new(rows.map(|(style, cells)| aligned(cells).style(style)).collect::<Vec<_>>(), widths)
        .header(head)
}

/// A head, and how many of the rows are shown if there is no room for all.
pub(super) fn head_of(name: &str, shown: usize, all: usize) -> String {
    if shown < all { format!("{name}: {shown} of {all}") } else { name.to_owned() }
}

/// How many rows an area has room for below the head.
pub(super) fn room(area: Rect) -> usize {
    usize::from(area.height.saturating_sub(1))
}

pub(super) fn objectives(figures: &Figures, area: Rect) -> Table<'static> {
    let all = figures.objectives.as_ref().map_or(0, |objectives| objectives.each.len());
    let head = head_of("objective", room(area), all);
    let attainment = figures.objectives.as_ref();
    let failed = attainment.map_or(0, |attainment| attainment.failed);
    // With them, a row has all requests.
    let has_failed = area.width >= 72;
    let has_without =
        has_failed && attainment.is_some_and(|all| all.each.iter().any(|row| row.without_value > 0));
    let columns = [text(&head, None), number("met", COUNT), number("broke", COUNT)].into_iter();
    let columns = columns.chain(has_failed.then(|| number("failed", COUNT)));
    let columns = columns.chain(has_without.then(|| number("no value", COUNT)));
    let columns: Vec<_> = columns.chain([number("share", 8), number("wanted", 8)]).collect();
    let rows = attainment.into_iter().flat_map(|objectives| &objectives.each).map(|row| {
        let style = if row.is_attained == Some(false) { bad() } else { Style::new() };
        let share = |share: Option<f64>| share.map_or("-".to_owned(), percent);
        let name = printable(&row.objective).into_owned();
        let cells = [name, amount(row.met), amount(row.broke)].into_iter();
        let cells = cells.chain(has_failed.then(|| amount(failed)));
        let cells = cells.chain(has_without.then(|| amount(row.without_value)));
        (style, cells.chain([share(row.share), share(row.wanted)]).collect())
    });
    table(&columns, rows)
}

pub(super) fn failures(figures: &Figures, area: Rect) -> Table<'static> {
    let head = head_of("failed by", room(area), figures.failures.len());
    let columns = [text(&head, None), number("requests", COUNT), number("share", 8)];
    let rows = figures.failures.iter().map(|failure| {
        let share = failure.count as f64 / figures.window.requests.max(1) as f64;
        (bad(), vec![printable(&failure.name).into_owned(), amount(failure.count), percent(share)])
    });
    table(&columns, rows)
}

/// The requests that fit, the selected one among them.
pub(super) fn list(rows: &[Arc<Row>], controls: &Controls, area: Rect) -> Table<'static> {
    let head = |order: Order, head: &str| {
        let mark = if controls.order == order { " v" } else { "" };
        format!("{head}{mark}")
    };
    let name = if controls.only_failed { "  failed request_id" } else { "  request_id" };
    let columns = [
        text(&head(Order::Id, name), None),
        number(&head(Order::Time, "e2e"), TIME),
        text("mostly", Some(16)),
        number(&head(Order::PartTime, "time_ms"), TIME),
        text(&head(Order::Ended, "ended"), Some(8)),
        text("how", Some(8)),
    ];
    let shown = match area.width {
        ..34 => 2,
        34..50 => 3,
        50..76 => 4,
        76.. => columns.len(),
    };
    let visible = usize::from(area.height.saturating_sub(1)).max(1);
    let first = (controls.cursor + 1).saturating_sub(visible);
    let rows = rows.iter().enumerate().skip(first).take(visible).map(|(at, row)| {
        let is_selected = at == controls.cursor;
        let style = if row.has_failed { bad() } else { Style::new() };
        let style = if is_selected { style.add_modifier(Modifier::REVERSED) } else { style };
        let mark = if is_selected { ">" } else { " " };
        let cells = vec![
            format!("{mark} {}", printable(&row.id)),
            time(row.time),
            printable(&row.part).into_owned(),
            row.part_time.map_or("-".to_owned(), time),
            row.ended.map_or("-".to_owned(), time_of_day),
            printable(&row.outcome).into_owned(),
        ];
        (style, cells)
    });
    table(columns.get(..shown).unwrap_or(&columns), rows)
}

fn bad() -> Style {
    Style::new().fg(Color::Red)
}

fn time(time: Millis) -> String {
    millis(time.as_f64())
}

pub(super) fn millis(time: f64) -> String {
    grouped(&format!("{time:.3}"))
}

pub(super) fn amount(count: u64) -> String {
    grouped(&count.to_string())
}

/// The time of day of a moment, in UTC, to the second.
fn time_of_day(micros: u64) -> String {
    let timestamp = Timestamp::from_unix_micros(micros).to_string();
    timestamp.get(11..19).unwrap_or_default().to_owned()
}
