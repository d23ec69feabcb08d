//! `join`: the rows of worker processes, put into their requests.
//!
//! Lines are spread over files by their request's id, so that only one part of them is in memory at a
//! time, and merged again in the order in which the requests came.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap},
    fs::File,
    hash::{BuildHasher, RandomState},
    io::{BufRead, BufReader, BufWriter, Seek, Write},
    process::ExitCode,
};

use super::{Failure, Result, complain, input::Inputs};
use crate::{
    Line, Millis, RequestLine,
    json::{RequestParts, write_request},
    run::WALL_LIMIT,
    tables::{StageRow, TransferRow},
    text::printable,
};

/// Over how many files the lines are spread.
const FILES: usize = 64;
/// How many ids without a request are named.
const NAMED: usize = 20;

pub(super) fn run(mut inputs: Inputs, out: &mut impl Write) -> Result<ExitCode> {
    let mut spread: Vec<BufWriter<File>> =
        (0..FILES).map(|_| tempfile::tempfile().map(BufWriter::new)).collect::<std::io::Result<_>>()?;
    let hasher = RandomState::new();
    let mut sequence = 0_u64;
    let mut nameless = 0_u64;
    inputs.for_each(|_, line| {
        sequence += 1;
        match line.request_id() {
            Some(id) => {
                let at = hasher.hash_one(id) as usize % FILES;
                spread.get_mut(at).map_or(Ok(()), |file| write_record(file, sequence, &[&line]))
            }
            None if matches!(line, Line::Summary(_)) => Ok(()),
            None => {
                nameless += 1;
                Ok(())
            }
        }
    })?;

    let mut lost = Lost::default();
    let mut matched = Vec::new();
    for file in spread {
        matched.push(Records::of(match_rows(
            Records::of(file.into_inner().map_err(std::io::IntoInnerError::into_error)?)?,
            &mut lost,
        )?)?);
    }
    merge(matched, out)?;
    if nameless > 0 {
        complain(&format!("{nameless} rows name no request and are left out"));
    }
    lost.list();
    Ok(ExitCode::SUCCESS)
}

/// Rows whose request is in none of the files.
#[derive(Default)]
struct Lost {
    rows: u64,
    ids: BTreeMap<String, u64>,
}

impl Lost {
    fn add(&mut self, id: &str, rows: u64) {
        self.rows += rows;
        if self.ids.len() < NAMED || self.ids.contains_key(id) {
            *self.ids.entry(id.to_owned()).or_default() += rows;
        }
    }

    fn list(&self) {
        for (id, rows) in &self.ids {
            complain(&format!("request {}: {rows} rows, but no line of the request", printable(id)));
        }
        let named: u64 = self.ids.values().sum();
        if self.rows > named {
            complain(&format!("{} more rows find no request", self.rows - named));
        }
    }
}

/// Lines that belong together, behind the number of the first.
fn write_record(file: &mut impl Write, sequence: u64, lines: &[&Line]) -> Result<()> {
    write!(file, "{sequence}")?;
    for line in lines {
        write!(file, "\t")?;
        // JSON has no tab and no line feed but in escapes.
        serde_json::to_writer(&mut *file, line).map_err(std::io::Error::from)?;
    }
    Ok(writeln!(file)?)
}

struct Records(BufReader<File>);

impl Records {
    fn of(mut file: File) -> Result<Self> {
        file.rewind()?;
        Ok(Self(BufReader::new(file)))
    }

    fn next(&mut self) -> Result<Option<(u64, Vec<Line>)>> {
        let mut record = String::new();
        if self.0.read_line(&mut record)? == 0 {
            return Ok(None);
        }
        let garbled = || Failure::Io("a temporary file was changed meanwhile".to_owned());
        let mut fields = record.trim_end().split('\t');
        let sequence = fields.next().and_then(|number| number.parse().ok()).ok_or_else(garbled)?;
        let lines = fields.map(|line| line.parse().map_err(|_| garbled())).collect::<Result<_>>()?;
        Ok(Some((sequence, lines)))
    }
}

/// Puts each request of a part together with its rows.
fn match_rows(mut records: Records, lost: &mut Lost) -> Result<File> {
    let mut requests = Vec::new();
    let mut rows = HashMap::<String, Vec<Line>>::new();
    while let Some((sequence, lines)) = records.next()? {
        for line in lines {
            match line {
                Line::Request(line) => requests.push((sequence, line, Vec::new())),
                line => {
                    let id = line.request_id().unwrap_or_default().to_owned();
                    rows.entry(id).or_default().push(line);
                }
            }
        }
    }
    let mut by_id = HashMap::<String, Vec<usize>>::new();
    for (at, (_, request, _)) in requests.iter().enumerate() {
        by_id.entry(request.request_id.clone()).or_default().push(at);
    }
    for (id, rows) in rows {
        let Some(candidates) = by_id.get(&id) else {
            lost.add(&id, rows.len() as u64);
            continue;
        };
        for row in rows {
            let (start, end) = extent(&row).unwrap_or_default();
            // An id may come back: the request that the row overlaps most, or is nearest to.
            let distance = |at: &usize| {
                let (created, ended) =
                    requests.get(*at).map(|(_, request, _)| times(request)).unwrap_or_default();
                created.abs_diff(start).saturating_add(ended.abs_diff(end))
            };
            let nearest = candidates.iter().copied().min_by_key(distance);
            if let Some((_, _, its_rows)) = nearest.and_then(|at| requests.get_mut(at)) {
                its_rows.push(row);
            }
        }
    }
    let mut file = BufWriter::new(tempfile::tempfile()?);
    for (sequence, request, rows) in requests {
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
    let mut run = Run::default();
    let mut buffer = Vec::new();
    while let Some(Reverse((_, part))) = next.pop() {
        let mut lines = waiting.remove(&part).unwrap_or_default().into_iter();
        if let Some(Line::Request(mut request)) = lines.next() {
            let tokens = request.e2e_table.e2e_total_tokens;
            let rows: Vec<_> = lines.collect();
            if !rows.is_empty() {
                complete(&mut request, &rows);
            }
            run.correct(&mut request, tokens, &rows);
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

/// What the rows add to the run, line by line.
#[derive(Default)]
struct Run {
    last: u64,
    tokens: u64,
    /// First start and last end of the workers' rows of each stage.
    walls: BTreeMap<usize, (u64, u64)>,
}

impl Run {
    fn correct(&mut self, request: &mut RequestLine, tokens: u64, rows: &[Line]) {
        let summary = &mut request.overall_summary;
        if summary.e2e_requests < self.last && summary.e2e_requests == 1 {
            *self = Self::default();
        }
        self.last = summary.e2e_requests;
        self.tokens = self.tokens.saturating_add(request.e2e_table.e2e_total_tokens.saturating_sub(tokens));
        for row in rows {
            if let (Line::Stage(line), Some((start, end))) = (row, extent(row))
                && let Some(id) = line.row.stage_id.filter(|id| *id < WALL_LIMIT)
            {
                let wall = self.walls.entry(id as usize).or_insert((start, end));
                *wall = (wall.0.min(start), wall.1.max(end));
            }
        }
        if self.tokens > 0 {
            summary.e2e_total_tokens = summary.e2e_total_tokens.saturating_add(self.tokens);
            let seconds = summary.e2e_wall_time_ms.as_nanos() as f64 / 1e9;
            summary.e2e_avg_tokens_per_s = if seconds > 0.0 {
                (summary.e2e_total_tokens as f64 / seconds * 1e6).round() / 1e6
            } else {
                0.0
            };
        }
        for (id, (start, end)) in &self.walls {
            if summary.stage_wall_time_ms.len() <= *id {
                summary.stage_wall_time_ms.resize(id + 1, Millis::ZERO);
            }
            if let Some(wall) = summary.stage_wall_time_ms.get_mut(*id) {
                *wall = (*wall).max(Millis::from_nanos(end - start));
            }
        }
    }
}

/// When a request was created and ended, in nanoseconds since the Unix epoch.
fn times(request: &RequestLine) -> (u64, u64) {
    let end = request.timestamp.unix_micros().saturating_mul(1_000);
    (end.saturating_sub(request.e2e_table.e2e_total_ms.as_nanos()), end)
}

/// When a detached row began and ended.
fn extent(line: &Line) -> Option<(u64, u64)> {
    let (timestamp, wall) = match line {
        Line::Stage(line) => (line.timestamp, line.row.wall_time_ms),
        Line::Transfer(line) => (line.timestamp, line.row.wall_time_ms),
        Line::Request(_) | Line::Summary(_) => return None,
    };
    let end = timestamp.unix_micros().saturating_mul(1_000);
    Some((end.saturating_sub(wall.unwrap_or_default().as_nanos()), end))
}

/// Adds the rows to the request's, and computes its totals anew.
fn complete(request: &mut RequestLine, rows: &[Line]) {
    let (created, end) = times(request);
    let mut end = end;
    let mut known = Stretches::of(request);
    let before = known.length();
    let old_e2e = request.e2e_table.e2e_total_ms;
    for row in rows {
        let Some((start, ended)) = extent(row) else { continue };
        end = end.max(ended);
        known.add(start.saturating_sub(created), ended.saturating_sub(created));
        let start = Millis::from_nanos(start.saturating_sub(created));
        match row {
            Line::Stage(line) => {
                add_stage(&mut request.stage_table, &line.row, start);
                let queue = &mut request.e2e_table.queue_time_ms;
                *queue = Some(queue.map_or(start, |queue| queue.min(start)));
                request.warnings.extend(line.warnings.iter().cloned());
            }
            Line::Transfer(line) => {
                add_transfer(&mut request.transfer_table, &line.row, start);
                request.warnings.extend(line.warnings.iter().cloned());
            }
            Line::Request(_) | Line::Summary(_) => {}
        }
    }
    request.warnings.truncate(16);
    let e2e_total = Millis::from_nanos(end.saturating_sub(created)).max(old_e2e);
    let grown = e2e_total.saturating_sub(old_e2e);
    let tokens = request.tokens();
    let e2e = &mut request.e2e_table;
    e2e.e2e_total_ms = e2e_total;
    e2e.e2e_total_tokens = tokens;
    e2e.transfers_total_bytes =
        request.transfer_table.iter().filter_map(|row| row.size_bytes).fold(0, u64::saturating_add);
    let transfers = request.transfer_table.iter().map(|row| row.total_time_ms.as_nanos());
    e2e.transfers_total_time_ms = Millis::from_nanos(transfers.fold(0, u64::saturating_add));
    // What the rows cover that nothing covered before. The request's own stretches are known by their
    // rows' start and time only, so for rows of several spans this is an estimate.
    let covered = Millis::from_nanos(known.length().saturating_sub(before));
    let unattributed =
        Millis::from_nanos(e2e.unattributed_time_ms.as_nanos().saturating_add(grown.as_nanos()));
    e2e.unattributed_time_ms = unattributed.saturating_sub(covered);
}

/// Stretches of a request's time, in nanoseconds since its creation, that rows account for.
struct Stretches(Vec<(u64, u64)>);

impl Stretches {
    fn of(request: &RequestLine) -> Self {
        let mut stretches = Self(Vec::new());
        let stages = request.stage_table.iter().map(|row| (row.start_ms, row.stage_gen_time_ms));
        let transfers = request.transfer_table.iter().map(|row| (row.start_ms, Some(row.total_time_ms)));
        for (start, time) in stages.chain(transfers) {
            if let (Some(start), Some(time)) = (start, time) {
                stretches.add(start.as_nanos(), start.as_nanos().saturating_add(time.as_nanos()));
            }
        }
        stretches
    }

    fn add(&mut self, start: u64, end: u64) {
        self.0.push((start, end));
    }

    /// Of their union.
    fn length(&self) -> u64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let (mut length, mut until) = (0, 0);
        for (start, end) in sorted {
            length += end.saturating_sub(start.max(until));
            until = until.max(end);
        }
        length
    }
}

fn add_stage(rows: &mut Vec<StageRow>, added: &StageRow, start: Millis) {
    let order = |row: &StageRow| (row.stage_id.is_none(), row.stage_id);
    let at = rows.binary_search_by_key(&order(added), order).unwrap_or_else(|at| {
        rows.insert(at, StageRow { stage_id: added.stage_id, ..StageRow::default() });
        at
    });
    let Some(row) = rows.get_mut(at) else { return };
    row.batch_id = added.batch_id.or(row.batch_id);
    row.batch_size = added.batch_size.or(row.batch_size);
    if added.stage_name.is_some() {
        row.stage_name.clone_from(&added.stage_name);
    }
    add_count(&mut row.num_tokens_in, added.num_tokens_in);
    add_count(&mut row.num_tokens_out, added.num_tokens_out);
    add_time(&mut row.preprocess_time_ms, added.preprocess_time_ms);
    add_time(&mut row.stage_gen_time_ms, added.stage_gen_time_ms);
    add_time(&mut row.busy_time_ms, added.busy_time_ms);
    add_time(&mut row.queue_time_ms, added.queue_time_ms);
    row.start_ms = Some(row.start_ms.map_or(start, |known| known.min(start)));
    row.time_per_output_token_ms = row.time_per_output_token_ms.or(added.time_per_output_token_ms);
    row.events += added.events;
    row.fields.extend(added.fields.clone());
}

fn add_transfer(rows: &mut Vec<TransferRow>, added: &TransferRow, start: Millis) {
    let at = rows.binary_search_by_key(&added.order(), TransferRow::order).unwrap_or_else(|at| {
        let (from_stage, to_stage) = (added.from_stage, added.to_stage);
        rows.insert(at, TransferRow { from_stage, to_stage, ..TransferRow::default() });
        at
    });
    let Some(row) = rows.get_mut(at) else { return };
    add_count(&mut row.size_bytes, added.size_bytes);
    add_time(&mut row.tx_time_ms, added.tx_time_ms);
    add_time(&mut row.rx_decode_time_ms, added.rx_decode_time_ms);
    add_time(&mut row.in_flight_time_ms, added.in_flight_time_ms);
    row.total_time_ms = row.parts();
    row.start_ms = Some(row.start_ms.map_or(start, |known| known.min(start)));
    row.events += added.events;
    row.fields.extend(added.fields.clone());
}

fn add_count(sum: &mut Option<u64>, added: Option<u64>) {
    if let Some(added) = added {
        *sum = Some(sum.unwrap_or(0).saturating_add(added));
    }
}

fn add_time(sum: &mut Option<Millis>, added: Option<Millis>) {
    let mut nanos = sum.map(Millis::as_nanos);
    add_count(&mut nanos, added.map(Millis::as_nanos));
    *sum = nanos.map(Millis::from_nanos);
}
