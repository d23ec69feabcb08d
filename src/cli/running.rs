//! How a service stood at the end of its log: its last report, and the requests that were still open.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
};

use serde::Serialize;

use super::place::Place;
use crate::{
    Line, Millis, OpenLine, SummaryLine, Timestamp,
    write::columns::{Cell, Columns, id},
};

/// How many open requests of a file are remembered, and how many requests that have just ended.
const OPEN_LIMIT: usize = 1_000;
const ENDED_LIMIT: usize = 4_096;
/// How many files and open requests are shown.
pub(super) const SHOWN: usize = 8;
pub(super) const SHOWN_OPEN: usize = 20;

/// What a line says of the state of its process.
pub(super) enum Sign {
    Nothing,
    /// A request has ended.
    Ended(RequestKey),
    Open(Box<OpenLine>),
    Report(Box<SummaryLine>),
}

/// A request: the hash of its id, and when it was created, in microseconds since the Unix epoch. The id alone
/// may be used again.
type RequestKey = (u64, u64);

/// Gives every id the same hash on all cores.
#[derive(Debug, Clone, Default)]
pub(super) struct Signs(RandomState);

impl Signs {
    pub(super) fn of(&self, line: &Line) -> Sign {
        match line {
            Line::Request(line) => {
                Sign::Ended(self.key(Some(&line.request_id), line.timestamp, line.e2e_table.e2e_total_ms))
            }
            Line::Open(line) => Sign::Open(Box::new(line.clone())),
            Line::Summary(line) if line.open_requests.is_some() => Sign::Report(Box::new(line.clone())),
            Line::Summary(_) | Line::Stage(_) | Line::Transfer(_) => Sign::Nothing,
        }
    }

    fn key(&self, request_id: Option<&str>, timestamp: Timestamp, age: Millis) -> RequestKey {
        (self.0.hash_one(request_id), created(timestamp, age))
    }
}

fn created(timestamp: Timestamp, age: Millis) -> u64 {
    timestamp.unix_micros().saturating_sub(age.as_nanos() / 1_000)
}

/// Whether both are one request. Each of the two times was rounded.
fn is_same(one: RequestKey, other: RequestKey) -> bool {
    one.0 == other.0 && one.1.abs_diff(other.1) <= 2
}

/// The state of the processes, one a log. Its size does not depend on how many lines there are.
#[derive(Debug, Default, Clone)]
pub(super) struct Running {
    files: Vec<OfFile>,
    index: HashMap<usize, usize>,
}

#[derive(Debug, Default, Clone)]
struct OfFile {
    name: String,
    /// The last one, with the last window.
    report: Option<Box<SummaryLine>>,
    open: Vec<(RequestKey, Box<OpenLine>)>,
    /// Old requests that no line has named, or that are not remembered.
    more: u64,
    /// The line of a request that ends during a report may come before its open line.
    ended: VecDeque<RequestKey>,
}

impl Running {
    /// Adds the sign of the next line.
    pub(super) fn add(&mut self, signs: &Signs, place: Place<'_>, sign: Sign) {
        if matches!(sign, Sign::Nothing) {
            return;
        }
        let files = &mut self.files;
        let at = *self.index.entry(place.log).or_insert_with(|| {
            files.push(OfFile { name: place.file.to_owned(), ..OfFile::default() });
            files.len() - 1
        });
        if let Some(file) = files.get_mut(at) {
            if file.name != place.file {
                place.file.clone_into(&mut file.name);
            }
            file.add(signs, sign);
        }
    }

    /// The last reports and the open requests, the oldest first.
    pub(super) fn figures(&self) -> Standing {
        let (mut reports, mut open, mut more, mut unnamed) = (Vec::new(), Vec::new(), 0, 0);
        for file in &self.files {
            let OfFile { name, report, open: of_file, more: of_more, .. } = file;
            unnamed += u64::from(file.has_unnamed());
            let last = report.as_ref().map(|report| report.timestamp);
            open.extend(of_file.iter().map(|(_, line)| StillOpen::of(line, name, last)));
            more += of_more;
            reports.extend(report.clone().map(|line| LastReport { file: name.clone(), line }));
        }
        open.sort_by(|one, other| (one.since, &one.request_id).cmp(&(other.since, &other.request_id)));
        Standing { reports, open, more, unnamed }
    }
}

/// How the processes stood at the end of their logs.
pub(super) struct Standing {
    pub(super) reports: Vec<LastReport>,
    pub(super) open: Vec<StillOpen>,
    /// Old requests that reports counted and did not name.
    pub(super) more: u64,
    /// Old requests that are named in an earlier part of the log.
    pub(super) unnamed: u64,
}

impl OfFile {
    /// Whether the oldest open request was open during the whole last window, and no line names it: a report
    /// names a request once.
    fn has_unnamed(&self) -> bool {
        let Some(report) = self.report.as_ref().filter(|_| self.more == 0) else { return false };
        let Some((age, window)) = report.oldest_age_ms.zip(report.window.as_ref()) else { return false };
        let oldest = created(report.timestamp, age);
        let is_named = self.open.iter().any(|((_, created), _)| created.abs_diff(oldest) <= 2);
        age > window.time_ms && !is_named
    }

    fn add(&mut self, signs: &Signs, sign: Sign) {
        match sign {
            Sign::Nothing => {}
            Sign::Ended(key) => {
                self.open.retain(|(open, _)| !is_same(*open, key));
                self.ended.push_back(key);
                if self.ended.len() > ENDED_LIMIT {
                    self.ended.pop_front();
                }
            }
            Sign::Open(line) => {
                let key = signs.key(line.request.request_id.as_deref(), line.timestamp, line.request.age_ms);
                let has_ended = self.ended.iter().any(|ended| is_same(*ended, key));
                let is_known = self.open.iter().any(|(open, _)| is_same(*open, key));
                self.more += line.more.unwrap_or(0);
                if self.open.len() >= OPEN_LIMIT {
                    self.more += 1;
                } else if !has_ended && !is_known {
                    self.open.push((key, line));
                }
            }
            Sign::Report(mut report) => {
                self.forget_what_has_ended(&report);
                // The summary at the end of a run has no window.
                let last_window = self.report.take().and_then(|last| last.window);
                report.window = report.window.or(last_window);
                self.report = Some(report);
            }
        }
    }

    /// A request whose line was left out or lost has ended if it is older than the oldest open one.
    fn forget_what_has_ended(&mut self, report: &SummaryLine) {
        if report.lines_left_out.unwrap_or(0) + report.lines_lost.unwrap_or(0) > 0 {
            let oldest = report.oldest_age_ms.map(|age| created(report.timestamp, age));
            self.open.retain(|((_, created), _)| oldest.is_some_and(|oldest| *created + 2 >= oldest));
        }
        if report.open_requests == Some(0) {
            self.open.clear();
            self.more = 0;
        }
    }
}

/// The last report of a file.
#[derive(Debug, Serialize)]
pub(super) struct LastReport {
    pub(super) file: String,
    #[serde(flatten)]
    pub(super) line: Box<SummaryLine>,
}

/// A request whose line has not come.
#[derive(Debug, Serialize)]
pub(super) struct StillOpen {
    pub(super) request_id: Option<String>,
    file: String,
    /// When it was created.
    pub(super) since: Timestamp,
    /// Its age at the last report.
    pub(super) age_ms: Millis,
    pub(super) e2e_total_tokens: u64,
    /// The stage that it has been in for the longest, or for which it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stage: Option<String>,
    /// How long it had been there at the last report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stage_age_ms: Option<Millis>,
    /// Its last open line.
    #[serde(skip)]
    pub(super) line: OpenLine,
}

impl StillOpen {
    /// Where it was at the last report.
    pub(super) fn sentence(&self) -> String {
        let id = self.request_id.as_deref().unwrap_or("without an id");
        let place = self
            .stage
            .as_deref()
            .zip(self.stage_age_ms)
            .map(|(stage, age)| format!(", of which {} in stage {stage}", seconds(age)));
        let place = place.unwrap_or_default();
        format!("request {id} is still open: by the last report, for {}{place}", seconds(self.age_ms))
    }

    fn of(line: &OpenLine, file: &str, last_report: Option<Timestamp>) -> Self {
        let OpenLine { timestamp, request, .. } = line;
        let last = last_report.unwrap_or(*timestamp).max(*timestamp);
        let later = Millis::from_nanos((last.unix_micros() - timestamp.unix_micros()).saturating_mul(1_000));
        let then = |age: Millis| age.saturating_add(later);
        let entered = request.open_stages.iter().find(|stage| !stage.is_waiting);
        let stage = entered.or(request.open_stages.first());
        let named = stage.map(|stage| {
            let name = stage.stage_name.as_deref().map(|name| format!(" {name}")).unwrap_or_default();
            let waits = if stage.is_waiting { ", waiting" } else { "" };
            format!("{}{name}{waits}", id(stage.stage_id))
        });
        Self {
            request_id: request.request_id.clone(),
            file: file.to_owned(),
            since: Timestamp::from_unix_micros(created(*timestamp, request.age_ms)),
            age_ms: then(request.age_ms),
            e2e_total_tokens: request.e2e_total_tokens,
            stage: named,
            stage_age_ms: stage.map(|stage| then(stage.age_ms)),
            line: line.clone(),
        }
    }
}

fn seconds(time: Millis) -> String {
    format!("{:.1} s", time.as_f64() / 1e3)
}

/// A column for each file, and a row for each number of its last report.
pub(super) fn last_reports(reports: &[LastReport]) -> Columns {
    let heads = reports.iter().take(SHOWN).map(|report| report.file.clone());
    let mut table = Columns::titled("Last report", heads);
    let lines = || reports.iter().take(SHOWN).map(|report| &*report.line);
    let count = |count: Option<u64>| count.map_or(Cell::Absent, Cell::Count);
    let time = |time: Option<Millis>| time.map_or(Cell::Absent, Cell::Time);
    let at: Vec<_> = lines().map(|line| line.timestamp.to_string()).collect();
    table.row("at", at.iter().map(|at| Cell::Text(at)));
    let windows = || lines().map(|line| line.window.as_deref());
    table.row("requests of the run", lines().map(|line| Cell::Count(line.overall_summary.e2e_requests)));
    table.row("window_ms", windows().map(|window| time(window.map(|window| window.time_ms))));
    let decimal = |number: Option<f64>| number.map_or(Cell::Absent, Cell::Decimal);
    table.row(
        "window: requests_per_s",
        windows().map(|window| decimal(window.map(|window| window.requests_per_s))),
    );
    table.row(
        "window: tokens_per_s",
        windows().map(|window| decimal(window.map(|window| window.tokens_per_s))),
    );
    let e2e = || windows().map(|window| window.and_then(|window| window.percentiles.e2e_total_ms));
    table.row("window: e2e_total_ms, p50", e2e().map(|e2e| time(e2e.map(|e2e| e2e.p50))));
    table.row("window: e2e_total_ms, p99", e2e().map(|e2e| time(e2e.map(|e2e| e2e.p99))));
    table.row("open_requests", lines().map(|line| count(line.open_requests)));
    table.row("oldest_age_ms", lines().map(|line| time(line.oldest_age_ms)));
    table.row("lines_written", lines().map(|line| count(line.lines_written)));
    table.row("lines_left_out", lines().map(|line| count(line.lines_left_out)));
    table.row("lines_lost", lines().map(|line| count(line.lines_lost)));
    table
}

/// A row for each open request.
pub(super) fn still_open(open: &[StillOpen]) -> Columns {
    let mut table =
        Columns::named("Requests still open", ["age_ms", "stage", "stage_age_ms", "tokens", "open since"]);
    for request in open.iter().take(SHOWN_OPEN) {
        let since = month_to_second(request.since);
        let cells = [
            Cell::Time(request.age_ms),
            request.stage.as_deref().map_or(Cell::Absent, Cell::Text),
            request.stage_age_ms.map_or(Cell::Absent, Cell::Time),
            Cell::Count(request.e2e_total_tokens),
            Cell::Text(&since),
        ];
        table.row(request.request_id.as_deref().unwrap_or("-"), cells.into_iter());
    }
    table
}

/// Month, day and time, which leaves room for a long request id.
pub(super) fn month_to_second(timestamp: Timestamp) -> String {
    let text = timestamp.to_string();
    let (date, time) = text.split_once('T').unwrap_or((&text, ""));
    format!("{} {}", date.get(5..).unwrap_or(date), time.get(..8).unwrap_or(time))
}

/// How many files and requests the tables leave out.
pub(super) fn left_out(reports: &[LastReport], open: &[StillOpen]) -> (u64, u64) {
    (reports.len().saturating_sub(SHOWN) as u64, open.len().saturating_sub(SHOWN_OPEN) as u64)
}
