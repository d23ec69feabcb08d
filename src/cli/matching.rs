//! Finds the request of each row of a worker, among the lines of one part of the logs.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};

use super::{
    amount::amount,
    complete::{complete, extent, times},
    doubles::{Doubles, Whole},
    failure::{Result, complain},
    join::garbled,
    joined_line,
    joined_sample::JoinedSample,
    packed,
    run_correction::Step,
    spool::{Record, Spool, records},
};
use crate::{Line, RequestLine, write::text::printable};

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
type Rows<'a> = HashMap<&'a str, Vec<Line>>;

/// A request, the text that it was read from, and its rows.
struct Request<'a> {
    sequence: u64,
    id: &'a str,
    line: RequestLine,
    text: &'a str,
    rows: Vec<Line>,
}

/// Adds the rows of a part to its requests. Each record of the result is a [`Step`], and a request's line in
/// three parts: up to the totals of the run, these totals, and the rest.
pub(super) fn match_rows(part: Spool<3>, sample: &JoinedSample) -> Result<(Spool<4>, Oddities)> {
    let bytes = part.into_bytes()?;
    let mut oddities = Oddities { sample: sample.clone(), ..Oddities::default() };
    let (mut requests, rows) = read(&bytes, &mut oddities)?;
    distribute(rows, &mut requests, &mut oddities);
    let mut completed = Spool::new()?;
    let (mut step, mut line, mut totals) = (Vec::new(), Vec::new(), Vec::new());
    for Request { sequence, line: mut request, text, rows, .. } in requests {
        oddities.sample.add_request(&request);
        [&mut step, &mut line, &mut totals].into_iter().for_each(Vec::clear);
        packed::summary(&mut totals, &request.overall_summary);
        let mut of_request = Step::of(&request);
        let text = if rows.is_empty() {
            text
        } else {
            let tokens = request.e2e_table.e2e_total_tokens;
            complete(&mut request, &rows);
            of_request.add_rows(&request, &rows, tokens);
            joined_line::write(&mut line, &request);
            str::from_utf8(&line).map_err(|_| garbled())?
        };
        of_request.pack(&mut step);
        let (before, after) = around_totals(text).ok_or_else(garbled)?;
        completed.write(sequence, [&step, before.as_bytes(), &totals, after.as_bytes()])?;
    }
    Ok((completed, oddities))
}

/// What stands before the totals of the run in a line, and after them.
fn around_totals(line: &str) -> Option<(&str, &str)> {
    const KEY: &str = ",\"overall_summary\":";
    const NEXT_KEY: &str = ",\"e2e_table\":";
    // In a text, the quotes of such a key would be escaped.
    let (before, rest) = line.split_at_checked(line.find(KEY)? + KEY.len())?;
    Some((before, rest.get(rest.find(NEXT_KEY)?..)?))
}

/// The requests, in their order, and the rows by request id. A line that was copied counts once: a file may
/// be given twice, or once as it is and once compressed.
fn read<'a>(bytes: &'a [u8], oddities: &mut Oddities) -> Result<(Vec<Request<'a>>, Rows<'a>)> {
    let (mut requests, mut rows, mut doubles) = (Vec::new(), Rows::new(), Doubles::default());
    for Record { sequence, texts: [run, id, bytes] } in records(bytes) {
        let run = run.try_into().map(u64::from_le_bytes).map_err(|_| garbled())?;
        let id = str::from_utf8(id).map_err(|_| garbled())?;
        let line = joined_line::read(bytes).ok_or_else(garbled)?;
        // A span has one row.
        let may_have_equals = match &line {
            Line::Stage(line) => line.span_id.is_none(),
            Line::Transfer(line) => line.span_id.is_none(),
            Line::Request(_) | Line::Summary(_) | Line::Open(_) => false,
        };
        if !doubles.counts(Whole::of(id, bytes), run, may_have_equals) {
            oddities.doubles += 1;
            continue;
        }
        match line {
            Line::Request(line) => {
                let text = joined_line::text(bytes).ok_or_else(garbled)?;
                requests.push(Request { sequence, id, line, text, rows: Vec::new() });
            }
            line => rows.entry(id).or_default().push(line),
        }
    }
    Ok((requests, rows))
}

/// Gives each row to its request.
fn distribute(rows: Rows<'_>, requests: &mut [Request<'_>], oddities: &mut Oddities) {
    let mut by_id = HashMap::<_, Vec<usize>>::new();
    for (at, request) in requests.iter().enumerate() {
        by_id.entry(request.id).or_default().push(at);
    }
    for (id, rows) in rows {
        let Some(candidates) = by_id.get(id) else {
            oddities.add(id, rows.len() as u64);
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
