//! The table of the times of the period.

use ratatui::{layout::Rect, style::Style, widgets::Table};

use super::{
    figures::Figures,
    tables::{COUNT, TIME, amount, millis, number, room, table, text},
};
use crate::{
    cli::{chosen::Chosen, groups::Percent},
    fold::histograms::Whose,
    model::id::ordered,
    write::columns::printable,
};

/// A row of the table.
pub(super) struct Times<'a> {
    name: String,
    times: &'a Chosen,
    queue: Option<&'a Chosen>,
    /// It is the one of a stage that is always shown.
    pub(super) is_stage: bool,
}

/// The numbers in the order of the rows, each with whether it is one of stages.
const NUMBERS: [(&str, bool); 6] = [
    ("e2e_total_ms", false),
    ("stage_gen_time_ms", true),
    ("queue_time_ms", false),
    ("unattributed_time_ms", false),
    ("queue_time_ms", true),
    ("first_output_ms", true),
];

/// The times of the period: of the requests, of each stage, and then the rest.
pub(super) fn times_rows(figures: &Figures) -> Vec<Times<'_>> {
    let rows = NUMBERS.into_iter().flat_map(|(number, is_of_stage)| {
        let is_its = move |of: &&Chosen| of.number == number && (of.whose != Whose::Request) == is_of_stage;
        figures.times.iter().filter(is_its)
    });
    rows.map(|times| {
        let is_main = matches!(times.number, "e2e_total_ms" | "stage_gen_time_ms");
        let is_its_queue = |of: &&Chosen| of.whose == times.whose && of.number == "queue_time_ms";
        let queue = figures.times.iter().find(is_its_queue).filter(|_| is_main);
        let name = match times.whose {
            Whose::Stage(stage) if is_main => figures.names.of(ordered(stage)),
            Whose::Stage(stage) => format!("{} {}", figures.names.of(ordered(stage)), label(times.number)),
            Whose::Request | Whose::Edge(..) => label(times.number).to_owned(),
        };
        Times { name, times, queue, is_stage: is_main && times.whose != Whose::Request }
    })
    .collect()
}

/// The name of a number without its unit, since there is little room.
fn label(name: &str) -> &str {
    ["_total_ms", "_time_ms", "_ms"].iter().find_map(|unit| name.strip_suffix(unit)).unwrap_or(name)
}

/// The columns that the table has room for.
struct Columns {
    percents: Vec<Percent>,
    has_max: bool,
    has_queue: bool,
}

impl Columns {
    fn of(percents: &[Percent], width: u16) -> Self {
        let times = match width {
            ..40 => 1,
            40..72 => 2,
            72..96 => 4,
            96.. => 5 + usize::from((width - 96) / (TIME + 1)),
        };
        let has_queue = times >= 4;
        let percentiles = times - usize::from(has_queue);
        let has_max = has_queue && percents.len() < percentiles;
        Self { percents: fitting(percents, percentiles), has_max, has_queue }
    }
}

/// The percentiles that there is room for: all, or the first ones and the last.
pub(super) fn fitting(percents: &[Percent], room: usize) -> Vec<Percent> {
    let left_out = percents.len().saturating_sub(room.max(1));
    let first = percents.len().saturating_sub(left_out + 1);
    let shown = percents.iter().take(first).chain(percents.last());
    shown.copied().collect()
}

/// How many of the percentiles the table shows.
pub(super) fn percentiles_shown(percents: &[Percent], width: u16) -> usize {
    Columns::of(percents, width).percents.len()
}

pub(super) fn times(rows: &[Times<'_>], figures: &Figures, area: Rect) -> Table<'static> {
    let stages = |shown: usize| rows.iter().take(shown).filter(|row| row.is_stage).count();
    let first = match (stages(room(area)), stages(rows.len())) {
        (shown, all) if shown < all => format!("{shown} of {all} stages"),
        _ => figures.period.to_string(),
    };
    let percents = figures.percents_or_usual();
    let Columns { percents: shown, has_max, has_queue } = Columns::of(percents, area.width);
    let has_count = area.width >= 72;
    let last = percents.last().map(ToString::to_string).unwrap_or_default();
    let names: Vec<_> = shown.iter().map(ToString::to_string).collect();
    let max = has_max.then(|| "max".to_owned());
    let heads = names.iter().cloned().chain(max).chain(has_queue.then(|| format!("queue {last}")));
    let columns = [text(&first, None)].into_iter().chain(has_count.then(|| number("count", COUNT)));
    let columns: Vec<_> = columns.chain(heads.map(|head| number(&head, TIME))).collect();
    let rows = rows.iter().map(|Times { name, times, queue, .. }| {
        let value = |of: &Chosen, name: &String| of.values.get(name).copied().map(millis).unwrap_or_default();
        let count = has_count.then(|| amount(times.count));
        let cells = [printable(name).into_owned()].into_iter().chain(count);
        let cells = cells.chain(names.iter().map(|name| value(times, name)));
        let queue = has_queue.then(|| queue.map(|queue| value(queue, &last)).unwrap_or_default());
        (Style::new(), cells.chain(has_max.then(|| millis(times.max))).chain(queue).collect())
    });
    table(&columns, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_room_is_little_the_first_percentiles_and_the_last_are_shown() {
        let percents = ["10", "50", "90", "99", "99.9"].map(|percent| percent.parse().unwrap());
        for (room, expected) in [
            (0, &["p99.9"][..]),
            (1, &["p99.9"]),
            (3, &["p10", "p50", "p99.9"]),
            (5, &["p10", "p50", "p90", "p99", "p99.9"]),
            (9, &["p10", "p50", "p90", "p99", "p99.9"]),
        ] {
            let shown: Vec<_> = fitting(&percents, room).iter().map(Percent::to_string).collect();
            assert_eq!(shown, expected, "{room}");
        }
        assert_eq!(fitting(&[], 3), []);
    }
}
