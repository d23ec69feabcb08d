//! What the terminal shows.

use std::sync::Arc;

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::Line as Text,
    widgets::{Block, Paragraph, Sparkline},
};

use super::{
    controls::{Controls, Opened, Screen},
    figures::Figures,
    groups,
    guide::{GUIDE, footer},
    head::head,
    plan::{Need, divide},
    row::Row,
    tables::{failures, list, objectives},
    times::{percentiles_shown, times, times_rows},
};

/// The chart is drawn where the other sections leave room for it.
const CHART: Need = Need { least: 3, good: 4, all: 8 };
const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);

/// Draws the screen. The rows are those of the list, in order.
pub(super) fn draw(frame: &mut Frame<'_>, figures: &Figures, controls: &Controls, rows: &[Arc<Row>]) {
    let area = frame.area();
    match &controls.screen {
        Screen::List => draw_list(frame, area, figures, controls, rows),
        Screen::Help => {
            let [text, keys] = with_footer(area);
            let lines = GUIDE.lines().map(Text::from);
            frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()), text);
            frame.render_widget(Paragraph::new("any key: back   q quit"), keys);
        }
        Screen::Request(opened) => draw_request(frame, area, opened, controls),
    }
}

fn with_footer(area: Rect) -> [Rect; 2] {
    Layout::vertical([Constraint::Fill(1), Constraint::Length(1)]).areas(area)
}

fn draw_request(frame: &mut Frame<'_>, area: Rect, opened: &Opened, controls: &Controls) {
    let [text, keys] = with_footer(area);
    let shown = opened.lines.iter().skip(opened.down).take(text.height.into());
    // Scrolled here, since the widget counts lines in 16 bits only.
    let lines = shown.map(|line| {
        let from = line.char_indices().nth(opened.right).map_or(line.len(), |(at, _)| at);
        Text::from(line.get(from..).unwrap_or_default())
    });
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()), text);
    let paused = if controls.is_paused { "PAUSED   " } else { "" };
    let keys_of_request = format!("{paused}Esc back   jk hl scroll   g top   q quit");
    frame.render_widget(Paragraph::new(keys_of_request), keys);
}

fn draw_list(frame: &mut Frame<'_>, area: Rect, figures: &Figures, controls: &Controls, rows: &[Arc<Row>]) {
    let groups = figures.groups.as_ref().filter(|_| controls.shows_groups);
    let mut head = head(figures, controls.is_paused);
    head.extend(percentiles_left_out(figures, groups.is_some(), area.width));
    let all_of_head = u16::try_from(head.len()).unwrap_or(u16::MAX);
    let times_rows = times_rows(figures);
    let stages = times_rows.iter().filter(|row| row.is_stage).count();
    let number_of_objectives = figures.objectives.as_ref().map_or(0, |objectives| objectives.each.len());
    // Past `most`, more rows are worth less than a longer list.
    let table = |rows: usize, good, most| match rows.min(most) {
        0 => Need::NONE,
        rows => Need::table(rows, good),
    };
    let of_list = if controls.only_tables { Need::NONE } else { Need::table(rows.len().min(10), 4) };
    // By weight. What is left in the end is the list's.
    let mut needs = [
        Need { least: 1, good: all_of_head, all: all_of_head },
        of_list,
        Need::exactly(1),
        table(number_of_objectives, 3, 16),
        match groups {
            Some(groups) => {
                let most = if controls.only_tables { usize::MAX } else { 16 };
                table(groups.busiest_first().len(), 5, most)
            }
            None => table(times_rows.len(), u16::try_from(1 + stages).unwrap_or(u16::MAX), 2 * stages + 16),
        },
        table(figures.failures.len(), if controls.only_tables { 8 } else { 2 }, 8),
        Need::NONE,
    ];
    let good = needs.iter().fold(CHART.least, |sum, need| sum.saturating_add(need.good));
    if let Some(chart) = needs.last_mut().filter(|_| !controls.only_tables && good <= area.height) {
        *chart = CHART;
    }
    let lines = divide(area.height, needs);
    let [head_lines, list_lines, keys, objectives_lines, times_lines, failures_lines, chart] = lines;
    let in_order = [head_lines, chart, times_lines, objectives_lines, failures_lines];
    let [head_area, chart, times_area, objectives_area, failures_area, list_area, keys] = Layout::vertical(
        in_order
            .map(Constraint::Length)
            .into_iter()
            .chain([Constraint::Min(list_lines), Constraint::Length(keys)]),
    )
    .areas(area);
    let mut bold = BOLD;
    let head = head.into_iter().map(|line| Text::styled(line, std::mem::take(&mut bold)));
    frame.render_widget(Paragraph::new(head.collect::<Vec<_>>()), head_area);
    draw_chart(frame, chart, figures);
    let table_of_times = match groups {
        Some(table) => groups::groups(table, figures.percents_or_usual(), times_area),
        None => times(&times_rows, figures, times_area),
    };
    frame.render_widget(table_of_times, times_area);
    frame.render_widget(objectives(figures, objectives_area), objectives_area);
    frame.render_widget(failures(figures, failures_area), failures_area);
    if !controls.only_tables {
        frame.render_widget(list(rows, controls, list_area), list_area);
    }
    frame.render_widget(Paragraph::new(footer(area.width, figures.groups.is_some())), keys);
}

/// Says so if the table of times or of groups has no room for all percentiles that were asked for.
fn percentiles_left_out(figures: &Figures, has_groups: bool, width: u16) -> Option<String> {
    let (asked, shown) = match has_groups {
        true => (figures.percents.len(), groups::percentiles(&figures.percents, width).len()),
        false => (figures.percents.len(), percentiles_shown(&figures.percents, width)),
    };
    (shown < asked).then(|| format!("{shown} of {asked} percentiles have room; --json has all"))
}

/// Requests by second. If there is room, a second is several columns wide, or else a column several seconds.
fn draw_chart(frame: &mut Frame<'_>, area: Rect, figures: &Figures) {
    let (width, length) = (usize::from(area.width).max(1), figures.per_second.len().max(1));
    let seconds = length.div_ceil(width);
    let busiest = figures.per_second.iter().max().copied().unwrap_or(0);
    let of_column = if seconds > 1 { format!("; a column is {seconds} s") } else { String::new() };
    let title = format!("requests a second, at most {busiest}{of_column}");
    let columns = figures.per_second.chunks(seconds).map(|chunk| chunk.iter().sum::<u64>());
    let repeated = columns.flat_map(|requests| std::iter::repeat_n(requests, (width / length).max(1)));
    let chart = Sparkline::default().data(repeated.collect::<Vec<_>>());
    let title = Text::styled(title, Style::new().add_modifier(Modifier::DIM));
    let chart = chart.style(Style::new().fg(Color::Cyan)).block(Block::new().title(title));
    frame.render_widget(chart, area);
}
