//! What the terminal shows of a log.

use std::{
    io,
    sync::mpsc::{self, TryRecvError},
};

use ratatui::{
    Frame,
    layout::{Constraint, Layout},
    style::{Color, Modifier, Style},
    text::Line as Text,
    widgets::{Block, Cell, Paragraph, Row, Sparkline, Table},
};

use super::{
    clock::now,
    follow::AHEAD,
    minute::{Minute, SECONDS, SLOWEST},
};
use crate::{
    Distribution, Line, Millis, Percentiles,
    cli::{amount::amount, line_counts::LineCounts, parsed::Parsed, summary::Summary},
    write::text::printable,
};

pub(super) struct View {
    source: String,
    read: LineCounts,
    requests: u64,
    has_ended: bool,
    run: Summary,
    minute: Minute,
}

impl View {
    pub(super) fn new(source: String) -> Self {
        Self {
            source,
            read: LineCounts::default(),
            requests: 0,
            has_ended: false,
            run: Summary::new(0),
            minute: Minute::default(),
        }
    }

    pub(super) fn take(&mut self, lines: &mpsc::Receiver<io::Result<Parsed<Line>>>) -> io::Result<()> {
        // Not all of an old log at once, so that the view is drawn in between.
        for _ in 0..AHEAD {
            match lines.try_recv() {
                Ok(Ok(Parsed::Line(line))) => self.add(&line, now()),
                Ok(Ok(Parsed::Foreign)) => self.read.foreign += 1,
                Ok(Ok(Parsed::Broken(_))) => self.read.broken += 1,
                Ok(Ok(Parsed::Unknown(_))) => self.read.unknown += 1,
                Ok(Err(error)) => return Err(error),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    self.has_ended = true;
                    break;
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, line: &Line, now: u64) {
        self.read.lines += 1;
        self.run.add(line);
        if let Line::Request(line) = line {
            self.requests += 1;
            self.minute.add(line, now);
        }
    }

    pub(super) fn draw(&mut self, frame: &mut Frame<'_>, now: u64) {
        self.minute.advance(now);
        let run = self.run.percentiles();
        let numbers = Percentiles::TIMES.len() as u16;
        let rows = numbers + run.stages.len().min(16) as u16;
        let areas = Layout::vertical([
            Constraint::Length(2),
            Constraint::Length(5),
            Constraint::Length(numbers + 3),
            Constraint::Length(SLOWEST as u16 + 3),
            Constraint::Length(rows + 3),
            Constraint::Min(0),
        ]);
        let [head, rates, times, slowest, stages, _] = areas.areas(frame.area());
        frame.render_widget(self.head(now), head);
        let per_second = self.minute.per_second(now);
        let busiest = per_second.iter().max().copied().unwrap_or(0);
        let title = format!(" requests a second, the last minute; at most {busiest} ");
        let sparkline = Sparkline::default().data(per_second).style(Style::new().fg(Color::Cyan));
        frame.render_widget(sparkline.block(Block::bordered().title(title)), rates);
        frame.render_widget(self.times(), times);
        frame.render_widget(self.slowest(), slowest);
        let all = run.named_times().map(|(name, times)| (label(name).to_owned(), times));
        let of_stages = run.stages.iter().map(|stage| {
            let times = stage.named_times().next().and_then(|(_, times)| times);
            (format!("stage {}", crate::write::text::id(stage.stage_id)), times)
        });
        let rows = all.chain(of_stages).filter_map(|(name, times)| Some(distribution(name, &times?)));
        frame
            .render_widget(table(" the whole log ", ["", "count", "p50", "p90", "p99", "max"], rows), stages);
    }

    fn head(&self, now: u64) -> Paragraph<'_> {
        let rates = self.minute.rates(now);
        let time = match rates.seconds.round() as u64 {
            seconds if seconds + 1 >= SECONDS => "minute".to_owned(),
            seconds => amount(seconds, "second", "seconds"),
        };
        let (requests, tokens) = (rates.requests(), rates.tokens());
        let LineCounts { foreign, broken, unknown, .. } = self.read;
        let mut counts = amount(self.requests, "request", "requests");
        for (count, one, many) in [
            (broken, "broken line", "broken lines"),
            (foreign, "foreign line", "foreign lines"),
            (unknown, "line of an unknown schema", "lines of an unknown schema"),
        ] {
            if count > 0 {
                counts.push_str(", ");
                counts.push_str(&amount(count, one, many));
            }
        }
        let ended = if self.has_ended { ", at its end" } else { "" };
        let bold = Style::new().add_modifier(Modifier::BOLD);
        Paragraph::new(vec![
            Text::styled(format!("{}{ended}: {counts}   q quits", self.source), bold),
            Text::from(format!("last {time}: {requests:.1} requests/s, {tokens:.1} tokens/s")),
        ])
    }

    fn times(&self) -> Table<'_> {
        let rows = self.minute.distributions();
        let rows = rows.into_iter().map(|(name, times)| distribution(label(name).to_owned(), &times));
        table(" the last minute ", ["", "count", "p50", "p90", "p99", "max"], rows)
    }

    fn slowest(&self) -> Table<'_> {
        let rows = self.minute.slowest().into_iter().map(|slow| {
            let id = printable(&slow.id).into_owned();
            let part = Cell::from(slow.part.as_str());
            Row::new([Cell::from(id), number(slow.e2e), part, number(slow.part_time)])
        });
        table(" slowest of the last minute ", ["request_id", "e2e_total_ms", "mostly", "time_ms"], rows)
    }
}

/// The name of a number without its unit, since there is little room.
fn label(name: &str) -> &str {
    ["_total_ms", "_time_ms", "_ms"].iter().find_map(|unit| name.strip_suffix(unit)).unwrap_or(name)
}

fn distribution(name: String, times: &Distribution<Millis>) -> Row<'static> {
    let Distribution { count, p50, p90, p99, max, .. } = times;
    let count = Cell::from(Text::from(count.to_string()).right_aligned());
    Row::new([Cell::from(name), count].into_iter().chain([p50, p90, p99, max].map(|time| number(*time))))
}

/// A time with three decimals, so that the decimal points of a column stand below each other.
fn number(time: Millis) -> Cell<'static> {
    Cell::from(Text::from(format!("{:.3}", time.as_f64())).right_aligned())
}

fn table<'a, const N: usize>(
    title: &'a str,
    heads: [&'a str; N],
    rows: impl Iterator<Item = Row<'a>>,
) -> Table<'a> {
    let widths =
        [Constraint::Fill(2)].into_iter().chain([Constraint::Fill(1)].into_iter().cycle().take(N - 1));
    let heads = heads.map(|head| match head {
        "request_id" | "mostly" => Text::from(head),
        number => Text::from(number).right_aligned(),
    });
    let head = Row::new(heads).style(Style::new().add_modifier(Modifier::DIM));
    Table::new(rows, widths).header(head).block(Block::bordered().title(title))
}

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend};

    use super::*;
    use crate::{RequestLine, Timestamp};

    fn shown(view: &mut View, now: u64) -> String {
        let mut terminal = Terminal::new(TestBackend::new(100, 40)).unwrap();
        terminal.draw(|frame| view.draw(frame, now)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn a_request_leaves_the_last_minute_after_a_minute_whatever_its_clock_says() {
        const NOW: u64 = 1_800_000_000_000_000;
        for ahead in [0, 1_000_000_000_000] {
            let mut view = View::new("log".to_owned());
            let timestamp = Timestamp::from_unix_micros(NOW + ahead);
            let line = RequestLine { timestamp, request_id: "late".to_owned(), ..RequestLine::default() };
            view.add(&Line::Request(line), NOW);
            for (later, is_there) in [(0, true), (59_000_000, true), (61_000_000, false)] {
                let shown = shown(&mut view, NOW + later);
                assert_eq!(shown.contains("late"), is_there, "{shown}");
                assert!(shown.contains("log: 1 request "), "{shown}");
            }
            assert!(shown(&mut view, NOW + 61_000_000).contains(": 0.0 requests/s, 0.0 tokens/s"));
        }
    }
}
