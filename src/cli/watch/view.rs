//! What the terminal shows of a log.

use std::{
    collections::VecDeque,
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

use super::{AHEAD, now};
use crate::{
    Distribution, Line, Millis, RequestLine,
    cli::{
        amount::amount,
        input::{Counts, Parsed},
        parts::dominating,
        summary::Summary,
    },
    text::printable,
};

/// What counts as now, in seconds.
const NOW: u64 = 60;
/// How many requests of now are kept; of a service that is faster than that, the last.
const RECENT: usize = 100_000;
/// How many of the slowest requests are shown.
const SLOWEST: usize = 10;

/// A request of the last minute.
struct Recent {
    ended: u64,
    e2e: Millis,
    queue: Option<Millis>,
    unattributed: Millis,
    tokens: u64,
    id: String,
    part: String,
    part_time: Millis,
}

impl Recent {
    /// A service whose clock is ahead ends its requests now.
    fn of(line: &RequestLine, now: u64) -> Self {
        let e2e = &line.e2e_table;
        let (part, part_time) = dominating(line);
        Self {
            ended: line.timestamp.unix_micros().min(now),
            e2e: e2e.e2e_total_ms,
            queue: e2e.queue_time_ms,
            unattributed: e2e.unattributed_time_ms,
            tokens: e2e.e2e_total_tokens,
            id: line.request_id.clone(),
            part: part.to_string(),
            part_time,
        }
    }
}

pub(super) struct View {
    source: String,
    read: Counts,
    requests: u64,
    has_ended: bool,
    run: Summary,
    recent: VecDeque<Recent>,
}

impl View {
    pub(super) fn new(source: String) -> Self {
        Self {
            source,
            read: Counts::default(),
            requests: 0,
            has_ended: false,
            run: Summary::new(0),
            recent: VecDeque::new(),
        }
    }

    pub(super) fn take(&mut self, lines: &mpsc::Receiver<io::Result<Parsed<Line>>>) -> io::Result<()> {
        // Not all of an old log at once, so that the view stays alive meanwhile.
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
            self.recent.push_back(Recent::of(line, now));
            if self.recent.len() > RECENT {
                self.recent.pop_front();
            }
        }
    }

    pub(super) fn draw(&mut self, frame: &mut Frame<'_>, now: u64) {
        let since = now.saturating_sub(NOW * 1_000_000);
        self.recent.retain(|request| request.ended >= since);
        let run = self.run.percentiles();
        let rows = 3 + run.stages.len().min(16) as u16;
        let areas = Layout::vertical([
            Constraint::Length(2),
            Constraint::Length(5),
            Constraint::Length(6),
            Constraint::Length(SLOWEST as u16 + 3),
            Constraint::Length(rows + 3),
            Constraint::Min(0),
        ]);
        let [head, rates, times, slowest, stages, _] = areas.areas(frame.area());
        frame.render_widget(self.head(), head);
        let per_second = self.per_second(now);
        let busiest = per_second.iter().max().copied().unwrap_or(0);
        let title = format!(" requests a second, the last minute; at most {busiest} ");
        let sparkline = Sparkline::default().data(per_second).style(Style::new().fg(Color::Cyan));
        frame.render_widget(sparkline.block(Block::bordered().title(title)), rates);
        frame.render_widget(self.times(), times);
        frame.render_widget(self.slowest(), slowest);
        let all = [
            ("e2e", run.e2e_total_ms),
            ("queue", run.queue_time_ms),
            ("unattributed", run.unattributed_time_ms),
        ];
        let all = all.into_iter().map(|(name, times)| (name.to_owned(), times));
        let of_stages = run
            .stages
            .iter()
            .map(|stage| (format!("stage {}", crate::text::id(stage.stage_id)), stage.stage_gen_time_ms));
        let rows = all.chain(of_stages).filter_map(|(name, times)| Some(distribution(name, &times?)));
        frame
            .render_widget(table(" the whole log ", ["", "count", "p50", "p90", "p99", "max"], rows), stages);
    }

    fn head(&self) -> Paragraph<'_> {
        let (requests, tokens) = self.rates();
        let Counts { foreign, broken, unknown, .. } = self.read;
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
            Text::from(format!("last minute: {requests:.1} requests/s, {tokens:.1} tokens/s")),
        ])
    }

    /// Requests and tokens a second, over the last minute.
    fn rates(&self) -> (f64, f64) {
        let tokens = self.recent.iter().fold(0, |sum: u64, request| sum.saturating_add(request.tokens));
        (self.recent.len() as f64 / NOW as f64, tokens as f64 / NOW as f64)
    }

    fn per_second(&self, now: u64) -> Vec<u64> {
        let mut counts = vec![0; NOW as usize];
        for request in &self.recent {
            let ago = (now.saturating_sub(request.ended) / 1_000_000) as usize;
            if let Some(count) = counts.iter_mut().rev().nth(ago) {
                *count += 1;
            }
        }
        counts
    }

    fn times(&self) -> Table<'_> {
        let e2e = self.recent.iter().map(|request| request.e2e).collect();
        let queue = self.recent.iter().filter_map(|request| request.queue).collect();
        let unattributed = self.recent.iter().map(|request| request.unattributed).collect();
        let rows = [("e2e", e2e), ("queue", queue), ("unattributed", unattributed)]
            .into_iter()
            .filter_map(|(name, times)| Some(distribution(name.to_owned(), &exact(times)?)));
        table(" the last minute ", ["", "count", "p50", "p90", "p99", "max"], rows)
    }

    fn slowest(&self) -> Table<'_> {
        let mut slowest: Vec<_> = self.recent.iter().collect();
        slowest.sort_by_key(|request| std::cmp::Reverse(request.e2e));
        let rows = slowest.into_iter().take(SLOWEST).map(|request| {
            let id = printable(&request.id).into_owned();
            let part = Cell::from(request.part.clone());
            Row::new([Cell::from(id), number(request.e2e), part, number(request.part_time)])
        });
        table(" slowest of the last minute ", ["request_id", "e2e_total_ms", "mostly", "time_ms"], rows)
    }
}

/// The distribution of a few times, exactly.
fn exact(mut times: Vec<Millis>) -> Option<Distribution<Millis>> {
    times.sort_unstable();
    let sum: u128 = times.iter().map(|time| u128::from(time.as_nanos())).sum();
    let at = |permille: usize| times.get((times.len() * permille).div_ceil(1000).max(1) - 1).copied();
    Some(Distribution {
        count: times.len() as u64,
        mean: Millis::from_nanos(sum.checked_div(times.len() as u128)? as u64),
        p50: at(500)?,
        p90: at(900)?,
        p99: at(990)?,
        p999: at(999)?,
        max: at(1000)?,
    })
}

fn distribution(name: String, times: &Distribution<Millis>) -> Row<'static> {
    let Distribution { count, p50, p90, p99, max, .. } = times;
    let count = Cell::from(Text::from(count.to_string()).right_aligned());
    Row::new([Cell::from(name), count].into_iter().chain([p50, p90, p99, max].map(|time| number(*time))))
}

/// A time, with its decimals below those of the others.
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
    use crate::Timestamp;

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
            assert!(shown(&mut view, NOW + 61_000_000).contains("last minute: 0.0 requests/s, 0.0 tokens/s"));
        }
    }
}
