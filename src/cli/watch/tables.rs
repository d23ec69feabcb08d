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
    period::Period,
    row::Row,
};
use crate::{
    Distribution, Millis, Timestamp,
    cli::attainment::percent,
    write::columns::{grouped, id, printable},
};

/// How wide a time is, and a count.
const TIME: u16 = 11;
const COUNT: u16 = 9;

/// A column: its head, how wide it is (`None` for the rest of the line), and whether it is of numbers.
type Column = (String, Option<u16>, bool);

fn number(head: &str, width: u16) -> Column {
    (head.to_owned(), Some(width), true)
}

fn text(head: &str, width: Option<u16>) -> Column {
    (head.to_owned(), width, false)
}

/// A table of these columns. A row may have a style of its own, and more cells than there are columns.
fn table(columns: &[Column], rows: impl Iterator<Item = (Style, Vec<String>)>) -> Table<'static> {
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

/// The distributions of the period: of the requests, then by stage.
pub(super) fn times_rows(figures: &Figures) -> Vec<(String, Distribution<Millis>)> {
    let percentiles = &figures.window.percentiles;
    let all = percentiles.named_times().map(|(name, times)| (label(name).to_owned(), times));
    let of_stage = |at: usize| {
        percentiles.stages.iter().filter_map(move |stage| {
            let (name, times) = match at {
                0 => ("gen", stage.stage_gen_time_ms),
                1 => ("queue", stage.queue_time_ms),
                _ => ("first_output", stage.first_output_ms),
            };
            Some((format!("stage {} {name}", id(stage.stage_id)), Some(times?)))
        })
    };
    let rows = all.chain((0..3).flat_map(of_stage));
    rows.filter_map(|(name, times)| Some((name, times?))).collect()
}

/// The name of a number without its unit, since there is little room.
fn label(name: &str) -> &str {
    ["_total_ms", "_time_ms", "_ms"].iter().find_map(|unit| name.strip_suffix(unit)).unwrap_or(name)
}

pub(super) fn times(rows: Vec<(String, Distribution<Millis>)>, period: Period, width: u16) -> Table<'static> {
    let first = text(&period.to_string(), None);
    let of_time = |head| number(head, TIME);
    let columns = match width {
        ..40 => vec![first, of_time("p99")],
        40..72 => vec![first, of_time("p50"), of_time("p99")],
        72.. => {
            let times = ["p50", "p90", "p99", "max"].map(of_time);
            [first, number("count", COUNT)].into_iter().chain(times).collect()
        }
    };
    let rows = rows.into_iter().map(|(name, times)| {
        let Distribution { count, p50, p90, p99, max, .. } = times;
        let cells = match width {
            ..40 => vec![name, time(p99)],
            40..72 => vec![name, time(p50), time(p99)],
            72.. => vec![name, amount(count), time(p50), time(p90), time(p99), time(max)],
        };
        (Style::new(), cells)
    });
    table(&columns, rows)
}

pub(super) fn objectives(figures: &Figures) -> Table<'static> {
    let columns = [text("objective", None), number("met", COUNT), number("broke", COUNT), number("share", 8)];
    let columns: Vec<_> = columns.into_iter().chain([number("wanted", 8)]).collect();
    let rows = figures.objectives.iter().flat_map(|objectives| &objectives.each).map(|row| {
        let style = if row.is_attained == Some(false) { bad() } else { Style::new() };
        let share = |share: Option<f64>| share.map_or("-".to_owned(), percent);
        let name = printable(&row.objective).into_owned();
        (style, vec![name, amount(row.met), amount(row.broke), share(row.share), share(row.wanted)])
    });
    table(&columns, rows)
}

pub(super) fn failures(figures: &Figures) -> Table<'static> {
    let columns = [text("failed by", None), number("requests", COUNT), number("share", 8)];
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
        text("mostly", Some(14)),
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
    grouped(&format!("{:.3}", time.as_f64()))
}

fn amount(count: u64) -> String {
    grouped(&count.to_string())
}

/// The time of day of a moment, in UTC, to the second.
fn time_of_day(micros: u64) -> String {
    let timestamp = Timestamp::from_unix_micros(micros).to_string();
    timestamp.get(11..19).unwrap_or_default().to_owned()
}
