//! Finds the request of each row of a worker, among the lines of one part of the logs.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet},
    hash::{Hash, Hasher},
};

use super::{
    amount::amount,
    complete::{complete, extent, times},
    failure::{Failure, Result, complain},
    joined_sample::JoinedSample,
    run_correction::Step,
    spool::{Record, Spool, records},
    verbatim,
};
use crate::{
    Line, RequestLine,
    write::{
        lines::{RequestParts, write_request},
        text::printable,
    },
};

/// A row that lies more than this outside of its request, in nanoseconds, is reported.
const FAR: u64 = 1_000_000_000;
/// How many ids without a request are named.
const NAMED: usize = 20;

/// Oddities of the input, which are reported on stderr.
#[derive(Debug, Default)]
pub(super) struct Oddities {
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

    /// Adds those of another part, which has other ids.
    pub(super) fn merge(&mut self, other: Self) {
        self.rows += other.rows;
        self.doubles += other.doubles;
        self.far_away += other.far_away;
        self.sample.merge(&other.sample);
        let room = NAMED.saturating_sub(self.ids.len());
        self.ids.extend(other.ids.into_iter().take(room));
    }

    pub(super) fn list(&self) {
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

/// Rows by request id.
type Rows = HashMap<String, Vec<Line>>;

/// A request, the line that it was read from, and its rows.
struct Request<'a> {
    sequence: u64,
    line: RequestLine,
    text: &'a str,
    rows: Vec<Line>,
}

/// The text of a line. Its beginning, which has the time and the id, is enough to hash.
#[derive(PartialEq, Eq)]
struct Text<'a>(&'a str);

impl Hash for Text<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let bytes = self.0.as_bytes();
        (bytes.len(), bytes.get(..128).unwrap_or(bytes)).hash(state);
    }
}

/// Adds the rows of a part to its requests. Each record of the result is a [`Step`] and a request's line.
pub(super) fn match_rows(part: Spool, sample: &JoinedSample) -> Result<(Spool, Oddities)> {
    let bytes = part.into_bytes()?;
    let mut oddities = Oddities { sample: sample.clone(), ..Oddities::default() };
    let (mut requests, rows) = read(&bytes, &mut oddities)?;
    distribute(rows, &mut requests, &mut oddities);
    let (mut completed, mut buffer) = (Spool::new()?, Vec::new());
    for Request { sequence, line: mut request, text, rows } in requests {
        oddities.sample.add_request(&request);
        let mut step = Step::of(&request);
        buffer.clear();
        if rows.is_empty() {
            buffer.extend_from_slice(text.as_bytes());
        } else {
            let tokens = request.e2e_table.e2e_total_tokens;
            complete(&mut request, &rows);
            step.add_rows(&request, &rows, tokens);
            let (stages, transfers) = (request.stage_table.iter(), request.transfer_table.iter());
            write_request(&mut buffer, &RequestParts::of(&request), stages, transfers);
        }
        let step = serde_json::to_vec(&step).map_err(std::io::Error::from)?;
        completed.write(sequence, [&step, &buffer])?;
    }
    Ok((completed, oddities))
}

/// The requests, in their order, and the rows by request id. A line that occurs twice counts once: a file may
/// be given twice, or once as it is and once compressed.
fn read<'a>(bytes: &'a [u8], oddities: &mut Oddities) -> Result<(Vec<Request<'a>>, Rows)> {
    let garbled = || Failure::Io("a temporary file was changed meanwhile".to_owned());
    let (mut requests, mut rows, mut seen) = (Vec::new(), Rows::new(), HashSet::new());
    for Record { sequence, texts: [_, text] } in records(bytes) {
        let text = str::from_utf8(text).map_err(|_| garbled())?;
        if !seen.insert(Text(text)) {
            oddities.doubles += 1;
            continue;
        }
        let line = verbatim::line(text.trim_end()).map_or_else(|| text.parse().map_err(|_| garbled()), Ok)?;
        match line {
            Line::Request(line) => requests.push(Request { sequence, line, text, rows: Vec::new() }),
            line => {
                let id = line.request_id().unwrap_or_default().to_owned();
                rows.entry(id).or_default().push(line);
            }
        }
    }
    Ok((requests, rows))
}

/// Gives each row to its request.
fn distribute(rows: Rows, requests: &mut [Request<'_>], oddities: &mut Oddities) {
    let mut by_id = HashMap::<String, Vec<usize>>::new();
    for (at, request) in requests.iter().enumerate() {
        by_id.entry(request.line.request_id.clone()).or_default().push(at);
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
                    requests.get(*at).map(|request| times(&request.line)).unwrap_or_default();
                let gap = start.saturating_sub(ended).max(created.saturating_sub(end));
                let overlap = ended.min(end).saturating_sub(created.max(start));
                (gap, Reverse(overlap), created.abs_diff(start).saturating_add(ended.abs_diff(end)))
            };
            let nearest = candidates.iter().copied().min_by_key(fit);
            if nearest.is_some_and(|at| fit(&at).0 > FAR) {
                oddities.far_away += 1;
            }
            if let Some(request) = nearest.and_then(|at| requests.get_mut(at)) {
                request.rows.push(row);
            }
        }
    }
}
