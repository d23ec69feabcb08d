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
    Distribution, Millis, StagePercentiles, Timestamp,
    cli::attainment::percent,
    model::id::ordered,
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

/// A row of the table of times.
pub(super) struct Times {
    name: String,
    times: Distribution<Millis>,
    /// The 99th percentile of the queue time.
    queue: Option<Millis>,
    /// It is the one of a stage that is always shown.
    pub(super) is_stage: bool,
}

/// The distributions of the period: of the requests, of each stage, and then the rest.
pub(super) fn times_rows(figures: &Figures) -> Vec<Times> {
    let percentiles = &figures.window.percentiles;
    let stage_name = |stage: &StagePercentiles| figures.names.of(ordered(stage.stage_id));
    let row = |name: String, times: Option<_>, queue: Option<Distribution<Millis>>| {
        Some(Times { name, times: times?, queue: queue.map(|queue| queue.p99), is_stage: false })
    };
    let e2e = row("e2e".to_owned(), percentiles.e2e_total_ms, percentiles.queue_time_ms);
    let of_stages = percentiles
        .stages
        .iter()
        .filter_map(|stage| row(stage_name(stage), stage.stage_gen_time_ms, stage.queue_time_ms))
        .map(|times| Times { is_stage: true, ..times });
    let rest = percentiles.named_times().filter(|(name, _)| *name != "e2e_total_ms");
    let rest = rest.filter_map(|(name, times)| row(label(name).to_owned(), times, None));
    let more = [
        ("queue", (|stage| stage.queue_time_ms) as fn(&StagePercentiles) -> Option<_>),
        ("first_output", |stage| stage.first_output_ms),
    ];
    let more = more.into_iter().flat_map(|(label, times)| {
        let stages = percentiles.stages.iter();
        stages.filter_map(move |stage| row(format!("{} {label}", stage_name(stage)), times(stage), None))
    });
    e2e.into_iter().chain(of_stages).chain(rest).chain(more).collect()
}

/// A head, and how many of the rows are shown if there is no room for all.
pub(super) fn head_of(name: &str, shown: usize, all: usize) -> String {
    if shown < all { format!("{name}: {shown} of {all}") } else { name.to_owned() }
}

/// How many rows an area has room for below the head.
pub(super) fn room(area: Rect) -> usize {
    usize::from(area.height.saturating_sub(1))
}

/// The name of a number without its unit, since there is little room.
fn label(name: &str) -> &str {
    ["_total_ms", "_time_ms", "_ms"].iter().find_map(|unit| name.strip_suffix(unit)).unwrap_or(name)
}

pub(super) fn times(rows: Vec<Times>, period: Period, area: Rect) -> Table<'static> {
    let stages = |shown: usize| rows.iter().take(shown).filter(|row| row.is_stage).count();
    let first = match (stages(room(area)), stages(rows.len())) {
        (shown, all) if shown < all => format!("{shown} of {all} stages"),
        _ => period.to_string(),
    };
    let first = text(&first, None);
    let of_time = |head| number(head, TIME);
    let heads: &[&str] = match area.width {
        ..40 => &["p99"],
        40..72 => &["p50", "p99"],
        72..96 => &["p50", "p90", "p99", "queue p99"],
        96.. => &["p50", "p90", "p99", "max", "queue p99"],
    };
    let has_count = area.width >= 72;
    let count = has_count.then(|| number("count", COUNT));
    let columns: Vec<_> =
        [first].into_iter().chain(count).chain(heads.iter().copied().map(of_time)).collect();
    let rows = rows.into_iter().map(|Times { name, times, queue, .. }| {
        let Distribution { count, p50, p90, p99, max, .. } = times;
        let cell = |head: &&str| match *head {
            "p50" => time(p50),
            "p90" => time(p90),
            "p99" => time(p99),
            "max" => time(max),
            _ => queue.map(time).unwrap_or_default(),
        };
        let count = has_count.then(|| amount(count));
        let cells = [printable(&name).into_owned()].into_iter().chain(count).chain(heads.iter().map(cell));
        (Style::new(), cells.collect())
    });
    table(&columns, rows)
}

pub(super) fn objectives(figures: &Figures, area: Rect) -> Table<'static> {
    let all = figures.objectives.as_ref().map_or(0, |objectives| objectives.each.len());
    let head = head_of("objective", room(area), all);
    let columns = [text(&head, None), number("met", COUNT), number("broke", COUNT), number("share", 8)];
    let columns: Vec<_> = columns.into_iter().chain([number("wanted", 8)]).collect();
    let rows = figures.objectives.iter().flat_map(|objectives| &objectives.each).map(|row| {
        let style = if row.is_attained == Some(false) { bad() } else { Style::new() };
        let share = |share: Option<f64>| share.map_or("-".to_owned(), percent);
        let name = printable(&row.objective).into_owned();
        (style, vec![name, amount(row.met), amount(row.broke), share(row.share), share(row.wanted)])
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
    grouped(&format!("{:.3}", time.as_f64()))
}

pub(super) fn amount(count: u64) -> String {
    grouped(&count.to_string())
}

/// The time of day of a moment, in UTC, to the second.
fn time_of_day(micros: u64) -> String {
    let timestamp = Timestamp::from_unix_micros(micros).to_string();
    timestamp.get(11..19).unwrap_or_default().to_owned()
}
