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
    Distribution, Line, Millis, Percentiles, SummaryLine,
    cli::{
        amount::amount,
        line_counts::LineCounts,
        parsed::Parsed,
        place::Place,
        running::{Running, Signs, StillOpen},
        selection::{LeftOut, Selection},
        summary::Summary,
    },
    write::text::printable,
};

/// How many open requests are shown.
const OPEN: usize = 5;

pub(super) struct View {
    source: String,
    selection: Selection,
    read: LineCounts,
    requests: u64,
    has_ended: bool,
    run: Summary,
    minute: Minute,
    signs: Signs,
    running: Running,
}

impl View {
    pub(super) fn new(source: String, selection: Selection) -> Self {
        Self {
            source,
            selection,
            read: LineCounts::default(),
            requests: 0,
            has_ended: false,
            run: Summary::new(0),
            minute: Minute::default(),
            signs: Signs::default(),
            running: Running::default(),
        }
    }

    pub(super) fn take(&mut self, lines: &mpsc::Receiver<io::Result<Parsed<Line>>>) -> io::Result<()> {
        // Not all of an old log at once, so that the view is drawn in between.
        for _ in 0..AHEAD {
            match lines.try_recv() {
                Ok(Ok(Parsed::Line(line))) => match self.selection.leaves_out(&line) {
                    None => self.add(&line, now()),
                    Some(LeftOut::ByTime) => self.read.outside += 1,
                    Some(LeftOut::ByCondition) => self.read.unmatched += 1,
                },
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
        let place = Place { file: &self.source, number: self.read.lines, index: 0, log: 0, twin: None };
        self.running.add(&self.signs, place, self.signs.of(line));
        if let Line::Request(line) = line {
            self.requests += line.weight();
            self.minute.add(line, now);
        }
    }

    pub(super) fn draw(&mut self, frame: &mut Frame<'_>, now: u64) {
        self.minute.advance(now);
        let run = self.run.percentiles();
        let (reports, open, _) = self.running.figures();
        let open_rows = if open.is_empty() { 0 } else { open.len().min(OPEN) as u16 + 3 };
        let numbers = Percentiles::TIMES.len() as u16;
        let rows = numbers + run.stages.len().min(16) as u16;
        let areas = Layout::vertical([
            Constraint::Length(if reports.is_empty() { 2 } else { 3 }),
            Constraint::Length(open_rows),
            Constraint::Length(5),
            Constraint::Length(numbers + 3),
            Constraint::Length(SLOWEST as u16 + 3),
            Constraint::Length(rows + 3),
            Constraint::Min(0),
        ]);
        let [head, hanging, rates, times, slowest, stages, _] = areas.areas(frame.area());
        let of_report = reports.first().map(|report| last_report(&report.line));
        frame.render_widget(self.head(now, of_report), head);
        if !open.is_empty() {
            frame.render_widget(still_open(&open), hanging);
        }
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

    fn head(&self, now: u64, of_report: Option<String>) -> Paragraph<'_> {
        let rates = self.minute.rates(now);
        let time = match rates.seconds.round() as u64 {
            seconds if seconds + 1 >= SECONDS => "minute".to_owned(),
            seconds => amount(seconds, "second", "seconds"),
        };
        let (requests, tokens) = (rates.requests(), rates.tokens());
        let LineCounts { foreign, broken, unknown, outside, unmatched, .. } = self.read;
        let mut counts = amount(self.requests, "request", "requests");
        for (count, one, many) in [
            (broken, "broken line", "broken lines"),
            (foreign, "foreign line", "foreign lines"),
            (outside + unmatched, "line left out", "lines left out"),
            (unknown, "line of an unknown schema", "lines of an unknown schema"),
        ] {
            if count > 0 {
                counts.push_str(", ");
                counts.push_str(&amount(count, one, many));
            }
        }
        let ended = if self.has_ended { ", at its end" } else { "" };
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let mut lines = vec![
            Text::styled(format!("{}{ended}: {counts}   q quits", self.source), bold),
            Text::from(format!("last {time}: {requests:.1} requests/s, {tokens:.1} tokens/s")),
        ];
        lines.extend(of_report.map(Text::from));
        Paragraph::new(lines)
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

/// The numbers of the last report, in a sentence.
fn last_report(line: &SummaryLine) -> String {
    let open = amount(line.open_requests.unwrap_or(0), "open request", "open requests");
    let oldest = line.oldest_age_ms.map(|age| format!(", the oldest for {:.1} s", age.as_f64() / 1e3));
    let lost = line.lines_lost.filter(|lost| *lost > 0);
    let lost = lost.map(|lost| format!(", {} lost", amount(lost, "line", "lines")));
    format!("last report: {open}{}{}", oldest.unwrap_or_default(), lost.unwrap_or_default())
}

fn still_open(open: &[StillOpen]) -> Table<'static> {
    let rows = open.iter().take(OPEN).map(|open| {
        let shown = |text: Option<&str>| Cell::from(printable(text.unwrap_or("-")).into_owned());
        let stage_age = open.stage_age_ms.map_or_else(Cell::default, number);
        Row::new([
            shown(open.request_id.as_deref()),
            number(open.age_ms),
            shown(open.stage.as_deref()),
            stage_age,
        ])
    });
    table(" open for long ", ["request_id", "age_ms", "stage", "stage_age_ms"], rows)
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
        "request_id" | "mostly" | "stage" => Text::from(head),
        number => Text::from(number).right_aligned(),
    });
    let head = Row::new(heads).style(Style::new().add_modifier(Modifier::DIM));
    Table::new(rows, widths).header(head).block(Block::bordered().title(title))
}

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend};

    use super::*;
    use crate::{OpenLine, OpenRequest, OpenStage, RequestLine, Timestamp};

    fn shown(view: &mut View, now: u64) -> String {
        let mut terminal = Terminal::new(TestBackend::new(100, 40)).unwrap();
        terminal.draw(|frame| view.draw(frame, now)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn a_request_leaves_the_last_minute_after_a_minute_whatever_its_clock_says() {
        const NOW: u64 = 1_800_000_000_000_000;
        for ahead in [0, 1_000_000_000_000] {
            let mut view = View::new("log".to_owned(), Selection::default());
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

    #[test]
    fn a_request_that_is_open_for_long_is_shown_until_it_ends() {
        let mut view = View::new("log".to_owned(), Selection::default());
        let age_ms = Millis::from_nanos(12_000_000_000);
        let stage = OpenStage { stage_id: Some(1), age_ms, ..OpenStage::default() };
        let request_id = "hangs".to_owned();
        let request = OpenRequest {
            request_id: Some(request_id.clone()),
            age_ms,
            open_stages: vec![stage],
            ..OpenRequest::default()
        };
        let report = SummaryLine {
            open_requests: Some(1),
            oldest_age_ms: Some(age_ms),
            lines_lost: Some(2),
            ..SummaryLine::default()
        };
        view.add(&Line::Summary(report), 0);
        view.add(&Line::Open(OpenLine { request, ..OpenLine::default() }), 0);
        let text = shown(&mut view, 0);
        let report = "last report: 1 open request, the oldest for 12.0 s, 2 lines lost";
        assert!(text.contains(report) && text.contains("hangs") && text.contains("12000.000"), "{text}");
        let e2e_table = crate::E2eTable { e2e_total_ms: age_ms, ..Default::default() };
        view.add(&Line::Request(RequestLine { request_id, e2e_table, ..RequestLine::default() }), 0);
        assert!(!shown(&mut view, 0).contains("open for long"));
    }
}
