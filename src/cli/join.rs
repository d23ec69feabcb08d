//! `join`: the rows of worker processes, put into their requests.
//!
//! Lines are spread over temporary files by their request's id, so that only one of these parts is in memory
//! at a time. The parts are merged in the order in which the requests came.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap, HashSet},
    fs::File,
    hash::{BuildHasher, RandomState},
    io::{BufRead, BufReader, BufWriter, Seek, Write},
    process::ExitCode,
};

use super::{
    amount::amount,
    complete::{complete, extent, times},
    failure::{Failure, Result, complain},
    help::Help,
    input::Inputs,
    joined_sample::JoinedSample,
};
use crate::{
    Line, Millis, RequestLine,
    fold::{
        totals::{per_second, rounded_ratio},
        walls::WALL_LIMIT,
    },
    write::{
        lines::{RequestParts, write_request},
        text::printable,
    },
};

/// Over how many files the lines are spread.
const FILES: usize = 64;
/// A row that lies more than this outside of its request, in nanoseconds, is reported.
const FAR: u64 = 1_000_000_000;
/// How many ids without a request are named.
const NAMED: usize = 20;

pub(super) const HELP: Help = Help {
    examples: &[
        (
            "Rows of workers, put into their requests",
            "omni-metrics join front.log worker-*.log >joined.jsonl",
        ),
        (
            "A summary of the joined requests",
            "omni-metrics join front.log worker-*.log | omni-metrics summary",
        ),
    ],
    environment: &[(
        "TMPDIR",
        "Where the temporary files are, which are as large as the log; /tmp by default.",
    )],
    ..Help::NONE
};

pub(super) fn run(mut inputs: Inputs, out: &mut impl Write) -> Result<ExitCode> {
    let mut spread: Vec<BufWriter<File>> =
        (0..FILES).map(|_| tempfile::tempfile().map(BufWriter::new)).collect::<std::io::Result<_>>()?;
    let hasher = RandomState::new();
    let mut sequence = 0_u64;
    let mut nameless = 0_u64;
    let mut sample = JoinedSample::default();
    inputs.for_each(|_, line| {
        if matches!(line, Line::Summary(_) | Line::Open(_)) {
            return Ok(());
        }
        sequence += 1;
        sample.note(&line);
        match line.request_id() {
            Some(id) => {
                let at = hasher.hash_one(id) as usize % FILES;
                spread.get_mut(at).map_or(Ok(()), |file| write_record(file, sequence, &[&line]))
            }
            None => {
                nameless += 1;
                Ok(())
            }
        }
    })?;

    let mut oddities = Oddities { sample, ..Oddities::default() };
    let mut matched = Vec::new();
    for file in spread {
        matched.push(Records::of(match_rows(
            Records::of(file.into_inner().map_err(std::io::IntoInnerError::into_error)?)?,
            &mut oddities,
        )?)?);
    }
    merge(matched, out)?;
    if nameless > 0 {
        let rows = amount(nameless, "row names no request and is", "rows name no request and are");
        complain(&format!("{rows} left out"));
    }
    oddities.list();
    Ok(inputs.exit_code(0))
}

/// Oddities of the input, which are reported on stderr.
#[derive(Default)]
struct Oddities {
    /// Rows whose request is in none of the files, also by id.
    rows: u64,
    ids: BTreeMap<String, u64>,
    /// Lines that came twice.
    doubles: u64,
    /// Rows that lie far from their request.
    far_away: u64,
    sample: JoinedSample,
}

impl Oddities {
    fn add(&mut self, id: &str, rows: u64) {
        if self.sample.explains(id, rows) {
            return;
        }
        self.rows += rows;
        if self.ids.len() < NAMED || self.ids.contains_key(id) {
            *self.ids.entry(id.to_owned()).or_default() += rows;
        }
    }

    fn list(&self) {
        for (id, rows) in &self.ids {
            let rows = amount(*rows, "row", "rows");
            complain(&format!("request {}: {rows}, but no line of the request", printable(id)));
        }
        let named: u64 = self.ids.values().sum();
        if self.rows > named {
            complain(&amount(self.rows - named, "more row finds no request", "more rows find no request"));
        }
        self.sample.sentences().iter().for_each(|sentence| complain(sentence));
        if self.doubles > 0 {
            let doubles = amount(self.doubles, "line occurs twice and counts", "lines occur twice and count");
            complain(&format!("{doubles} once"));
        }
        if self.far_away > 0 {
            let rows = amount(self.far_away, "row lies", "rows lie");
            complain(&format!("{rows} more than a second outside of the request: do clocks differ?"));
        }
    }
}

/// Writes a record: the sequence number of the first line, and the lines that belong together.
fn write_record(file: &mut impl Write, sequence: u64, lines: &[&Line]) -> Result<()> {
    write!(file, "{sequence}")?;
    for line in lines {
        write!(file, "\t")?;
        // JSON has tabs and line feeds in its texts as escapes only.
        serde_json::to_writer(&mut *file, line).map_err(std::io::Error::from)?;
    }
    Ok(writeln!(file)?)
}

fn garbled() -> Failure {
    Failure::Io("a temporary file was changed meanwhile".to_owned())
}

struct Records(BufReader<File>);

impl Records {
    fn of(mut file: File) -> Result<Self> {
        file.rewind()?;
        Ok(Self(BufReader::new(file)))
    }

    fn next(&mut self) -> Result<Option<(u64, Vec<Line>)>> {
        let Some((sequence, lines)) = self.next_text()? else { return Ok(None) };
        let lines =
            lines.split('\t').map(|line| line.parse().map_err(|_| garbled())).collect::<Result<_>>()?;
        Ok(Some((sequence, lines)))
    }

    fn next_text(&mut self) -> Result<Option<(u64, String)>> {
        let mut record = String::new();
        if self.0.read_line(&mut record)? == 0 {
            return Ok(None);
        }
        let (sequence, lines) = record.trim_end().split_once('\t').ok_or_else(garbled)?;
        Ok(Some((sequence.parse().map_err(|_| garbled())?, lines.to_owned())))
    }
}

/// Puts each request of a part together with its rows.
fn match_rows(mut records: Records, oddities: &mut Oddities) -> Result<File> {
    let mut requests = Vec::new();
    let mut rows = HashMap::<String, Vec<Line>>::new();
    let mut seen = HashSet::new();
    while let Some((sequence, text)) = records.next_text()? {
        let line = text.parse().map_err(|_| garbled())?;
        // A file may be given twice, or once as it is and once compressed.
        if !seen.insert(text) {
            oddities.doubles += 1;
            continue;
        }
        match line {
            Line::Request(line) => requests.push((sequence, line, Vec::new())),
            line => {
                let id = line.request_id().unwrap_or_default().to_owned();
                rows.entry(id).or_default().push(line);
            }
        }
    }
    let mut by_id = HashMap::<String, Vec<usize>>::new();
    for (at, (_, request, _)) in requests.iter().enumerate() {
        by_id.entry(request.request_id.clone()).or_default().push(at);
    }
    for (id, rows) in rows {
        let Some(candidates) = by_id.get(&id) else {
            oddities.add(&id, rows.len() as u64);
            continue;
        };
        for row in rows {
            let (start, end) = extent(&row).unwrap_or_default();
            // Several requests may have the same id. A row belongs to the one that it lies in or nearest to;
            // of several such requests, to the one that it overlaps most; of those, to the one whose ends are
            // nearest.
            let fit = |at: &usize| {
                let (created, ended) =
                    requests.get(*at).map(|(_, request, _)| times(request)).unwrap_or_default();
                let gap = start.saturating_sub(ended).max(created.saturating_sub(end));
                let overlap = ended.min(end).saturating_sub(created.max(start));
                (gap, Reverse(overlap), created.abs_diff(start).saturating_add(ended.abs_diff(end)))
            };
            let nearest = candidates.iter().copied().min_by_key(fit);
            if nearest.is_some_and(|at| fit(&at).0 > FAR) {
                oddities.far_away += 1;
            }
            if let Some((_, _, its_rows)) = nearest.and_then(|at| requests.get_mut(at)) {
                its_rows.push(row);
            }
        }
    }
    let mut file = BufWriter::new(tempfile::tempfile()?);
    for (sequence, request, rows) in requests {
        oddities.sample.add_request(&request);
        let request = Line::Request(request);
        let lines: Vec<_> = std::iter::once(&request).chain(&rows).collect();
        write_record(&mut file, sequence, &lines)?;
    }
    Ok(file.into_inner().map_err(std::io::IntoInnerError::into_error)?)
}

/// Writes the requests, complete, in the order in which they came.
fn merge(mut parts: Vec<Records>, out: &mut impl Write) -> Result<()> {
    let mut next = BinaryHeap::new();
    let mut waiting = HashMap::new();
    for (part, records) in parts.iter_mut().enumerate() {
        if let Some((sequence, lines)) = records.next()? {
            next.push(Reverse((sequence, part)));
            waiting.insert(part, lines);
        }
    }
    let mut correction = RunCorrection::default();
    let mut buffer = Vec::new();
    while let Some(Reverse((_, part))) = next.pop() {
        let mut lines = waiting.remove(&part).unwrap_or_default().into_iter();
        if let Some(Line::Request(mut request)) = lines.next() {
            let (tokens, (_, end)) = (request.e2e_table.e2e_total_tokens, times(&request));
            let rows: Vec<_> = lines.collect();
            correction.add_own(&request);
            if !rows.is_empty() {
                complete(&mut request, &rows);
            }
            correction.apply(&mut request, tokens, end, &rows);
            buffer.clear();
            write_request(
                &mut buffer,
                &RequestParts::of(&request),
                request.stage_table.iter(),
                request.transfer_table.iter(),
            );
            out.write_all(&buffer)?;
        }
        if let Some(records) = parts.get_mut(part)
            && let Some((sequence, lines)) = records.next()?
        {
            next.push(Reverse((sequence, part)));
            waiting.insert(part, lines);
        }
    }
    Ok(())
}

/// What the rows of workers add to the totals of the run, request by request.
#[derive(Default)]
struct RunCorrection {
    last: u64,
    tokens: u64,
    /// The latest end without the rows, and with them.
    end: u64,
    late_end: u64,
    /// First start and last end of the workers' rows of each stage, and of the requests' own rows.
    walls: BTreeMap<usize, (u64, u64)>,
    own_walls: BTreeMap<usize, (u64, u64)>,
}

/// Extends the wall of a stage, if there is room for its id.
fn extend(walls: &mut BTreeMap<usize, (u64, u64)>, stage_id: Option<u64>, (start, end): (u64, u64)) {
    if let Some(id) = stage_id.filter(|id| *id < WALL_LIMIT) {
        let wall = walls.entry(id as usize).or_insert((start, end));
        *wall = (wall.0.min(start), wall.1.max(end));
    }
}

impl RunCorrection {
    /// Takes the rows of a request into account to which none of a worker has been added yet.
    fn add_own(&mut self, request: &RequestLine) {
        let number = request.overall_summary.e2e_requests;
        if number < self.last && number == 1 {
            *self = Self::default();
        }
        self.last = number;
        let (created, _) = times(request);
        for row in &request.stage_table {
            if let Some((start, end)) = row.extent() {
                let extent = (created.saturating_add(start), created.saturating_add(end));
                extend(&mut self.own_walls, row.stage_id, extent);
            }
        }
    }

    /// Corrects the totals in a request's line. `tokens` and `end` are the request's without the rows.
    fn apply(&mut self, request: &mut RequestLine, tokens: u64, end: u64, rows: &[Line]) {
        let (_, late_end) = times(request);
        // Those of all requests that the line stands for.
        let more = request.e2e_table.e2e_total_tokens.saturating_sub(tokens).saturating_mul(request.weight());
        self.tokens = self.tokens.saturating_add(more);
        let summary = &mut request.overall_summary;
        for row in rows {
            if let (Line::Stage(line), Some(extent)) = (row, extent(row)) {
                extend(&mut self.walls, line.row.stage_id, extent);
            }
        }
        (self.end, self.late_end) = (self.end.max(end), self.late_end.max(late_end));
        let late = self.late_end.saturating_sub(self.end);
        if self.tokens > 0 || late > 0 {
            let wall = summary.e2e_wall_time_ms.as_nanos().saturating_add(late);
            summary.e2e_wall_time_ms = Millis::from_nanos(wall);
            summary.e2e_total_tokens = summary.e2e_total_tokens.saturating_add(self.tokens);
            summary.e2e_avg_time_per_request_ms =
                Millis::from_nanos(rounded_ratio(wall, summary.e2e_requests));
            summary.e2e_avg_tokens_per_s = per_second(summary.e2e_total_tokens, wall);
        }
        for (id, (start, end)) in &self.walls {
            let (own_start, own_end) = self.own_walls.get(id).copied().unwrap_or((*start, *end));
            let (start, end) = (own_start.min(*start), own_end.max(*end));
            if summary.stage_wall_time_ms.len() <= *id {
                summary.stage_wall_time_ms.resize(id + 1, Millis::ZERO);
            }
            if let Some(wall) = summary.stage_wall_time_ms.get_mut(*id) {
                *wall = (*wall).max(Millis::from_nanos(end - start));
            }
        }
    }
}
