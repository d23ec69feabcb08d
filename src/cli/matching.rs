//! Finds the request of each row of a worker, among the lines of one part of the logs.

use std::cell::OnceCell;

use memchr::memmem;

use super::{
    aligned::{Senders, move_by, move_request},
    causes::{Cause, Causes, FAR, Sent},
    clocks::{ClockRows, Clocks},
    complete::{Completion, times},
    doubles::Doubles,
    failure::Result,
    fit::{fit, with_flight, with_queue},
    join::garbled,
    joined_line::{self, RequestReader, RowReader, is_row},
    joined_sample::JoinedSample,
    messages::Messages,
    oddities::Oddities,
    origins::Origins,
    run_correction::Step,
    spool::{Spool, records},
};
use crate::{Line, RequestLine, model::line_buffer::LineBuffer};

/// A row that begins more than this before its request, in nanoseconds, is reported: clocks that are kept in
/// step differ by less.
const EARLY: u64 = 1_000_000;

/// Which rows are those of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// How far a row may lie outside of its request at most, in nanoseconds.
    pub(super) outside: u64,
    /// How long before its request a row may end, if its clock is known.
    pub(super) before: u64,
    /// Whether messages tell too.
    by_messages: bool,
}

impl Limits {
    /// A limit that the user has set decides alone. Without one, it is `usual`.
    pub(super) fn new(set: Option<u64>, usual: u64) -> Self {
        let outside = set.unwrap_or(usual);
        Self { outside, before: if set.is_some() { outside } else { FAR }, by_messages: set.is_none() }
    }
}

/// A line of the part. Lines are sorted by request; equal ones are next to each other, in the order in which
/// they came.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Received<'a> {
    /// The hash of the id, which is compared faster.
    hash: u64,
    id: &'a [u8],
    pub(super) line: &'a [u8],
    sequence: u64,
    moment: u64,
    /// The run of a request, or the log of a row.
    source: u64,
    /// The step of a request, or the message that a row has received.
    step: &'a [u8],
}

/// A request, and the rows that are added to it.
struct Request<'a> {
    received: Received<'a>,
    rows: Vec<Received<'a>>,
    /// Rows of attempts with its id that have no line, and how far outside of each request the message was
    /// sent that led to them, in nanoseconds.
    lost: Vec<(Received<'a>, u64)>,
}

/// Adds the rows of a part to its requests. The numbers of its records are: which of all lines it is, the
/// stretch of equal timestamps that it stands in, the hash of its request's id, and the run of a request or
/// the log of a row; the texts are those of [`JoinedLine::parts`]. Each record of the result is which of all
/// lines the request is, and its run; a [`Step`]; and the request's line up to the totals of the run, and
/// after them. Rows that lie outside of each request with their id by more than the limits are left out, and
/// so are those of an attempt without a line. If there are several logs, requests and rows name theirs. Rows
/// that go into no request are among the records too, if they are to be kept: without a step, and with their
/// whole line before the totals.
///
/// [`JoinedLine::parts`]: joined_line::JoinedLine::parts
pub(super) fn match_rows(
    part: Spool<4, 3>,
    bytes: &mut Vec<u8>,
    sample: &JoinedSample,
    limits: Limits,
    clocks: &Clocks,
    origins: &Origins,
    keeps_rows: bool,
) -> Result<(Spool<2, 3>, Oddities)> {
    let blocks = part.read_into(bytes)?;
    let mut oddities = Oddities::of(sample);
    let mut lines = without_copies(bytes, &mut oddities);
    let (mut request_reader, mut row_reader) = (RequestReader::default(), RowReader::default());
    let mut completed = Spool::new(blocks);
    let (mut packed_step, mut line) = (Vec::new(), LineBuffer::new());
    let mut lone = Vec::new();
    for of_id in distribute(&mut lines, &mut oddities, clocks, limits, keeps_rows)? {
        let Request { received, mut rows, mut lost } = of_id;
        if is_row(received.line) {
            write_lone(&rows, &received, &mut line, origins, &mut completed)?;
            continue;
        }
        let log = origins.of_run(received.source);
        let mut request = request_reader.named(received.line, log).ok_or_else(garbled)?;
        if limits.by_messages && rows.iter().any(|row| row.is_of_another_attempt(request)) {
            let mut causes = causes(&[received], &rows).ok_or_else(garbled)?.into_iter();
            rows.retain(|row| match causes.next() {
                Some(Cause::Lost(outside)) => {
                    lost.push((*row, outside));
                    false
                }
                _ => true,
            });
        }
        if let Some(most) = lost.iter().map(|(_, outside)| *outside).max() {
            oddities.of_lost_attempts.add(utf8(received.id)?, lost.len() as u64, most);
            lone.extend(lost.iter().map(|(row, _)| *row));
        }
        let known_causes = OnceCell::new();
        let is_sent_by_request = |at: usize| {
            let causes = known_causes.get_or_init(|| causes(&[received], &rows).unwrap_or_default());
            limits.by_messages && causes.get(at) == Some(&Cause::Request(0))
        };
        let (mut step, mut far_off, mut left_out) = (received.step, 0, 0);
        if !rows.is_empty() {
            let all = rows.len() as u64;
            let senders = Senders::of(request, received.source, &rows, &mut row_reader, clocks);
            let senders = senders.ok_or_else(garbled)?;
            let (times, tokens) = (times(request), request.e2e_table.e2e_total_tokens);
            let mut of_request = Step::of(request);
            let mut completion = Completion::of(request, &senders);
            let (mut early, mut earliest) = (0, 0);
            let mut longest_before = 0;
            for (at, of_worker) in rows.iter().enumerate() {
                let by = of_worker.offset(clocks, received.source);
                let is_known = clocks.is_known(received.source, of_worker.source, of_worker.sequence);
                let log = origins.of_row(of_worker.source);
                let row = row_reader.read(of_worker.line).ok_or_else(garbled)?;
                senders.align(row, by);
                let (outside, ..) = fit(with_flight(row), times);
                if outside > limits.outside {
                    far_off += 1;
                    lone.push(*of_worker);
                    continue;
                }
                let before = times.0.saturating_sub(with_queue(row).1);
                if is_known && before > limits.before && !is_sent_by_request(at) {
                    (left_out, longest_before) = (left_out + 1, before.max(longest_before));
                    lone.push(*of_worker);
                    continue;
                }
                oddities.add_offset(by);
                oddities.far_away += u64::from(outside > FAR);
                let by = times.0.saturating_sub(with_queue(row).0);
                if by > EARLY {
                    (early, earliest) = (early + 1, by.max(earliest));
                }
                of_request.add(row);
                completion.add(row, log);
            }
            if early > 0 {
                oddities.early.add(utf8(received.id)?, early, earliest);
            }
            if left_out > 0 {
                oddities.of_earlier_attempts.add(utf8(received.id)?, left_out, longest_before);
            }
            if far_off + left_out < all {
                completion.finish();
                of_request.complete(request, tokens);
                packed_step.clear();
                of_request.pack(&mut packed_step);
                step = &packed_step;
            } else {
                // Its own rows may have been changed.
                request = request_reader.named(received.line, log).ok_or_else(garbled)?;
            }
        }
        if far_off > 0 {
            oddities.add_far_off(utf8(received.id)?, far_off);
        }
        move_request(request, clocks.of_requests(received.source));
        oddities.sample.add_request(&request.request_id, request.sample_rate.is_some());
        line.clear();
        joined_line::write(&mut line, request);
        let (before, after) = around_totals(line.line()).ok_or_else(garbled)?;
        completed.write([received.sequence, received.source], [step, before, after])?;
        if keeps_rows {
            write_lone(&lone, &received, &mut line, origins, &mut completed)?;
        }
        lone.clear();
    }
    Ok((completed, oddities))
}

/// Writes rows that go into no request, at the place of a line.
fn write_lone(
    rows: &[Received<'_>],
    place: &Received<'_>,
    line: &mut LineBuffer,
    origins: &Origins,
    completed: &mut Spool<2, 3>,
) -> Result<()> {
    let mut reader = RowReader::default();
    for row in rows {
        let (id, log) = (utf8(row.id)?, origins.of_row(row.source));
        line.clear();
        joined_line::write_row(line, reader.read(row.line).ok_or_else(garbled)?, id, log);
        completed.write([place.sequence, place.source], [b"", line.line(), b""])?;
    }
    Ok(())
}

/// What stands before the totals of the run in a line, and after them.
fn around_totals(line: &[u8]) -> Option<(&[u8], &[u8])> {
    const KEY: &[u8] = b",\"overall_summary\":";
    const NEXT_KEY: &[u8] = b",\"e2e_table\":";
    // In a text, the quotes of such a key would be escaped.
    let (before, rest) = line.split_at_checked(memmem::find(line, KEY)? + KEY.len())?;
    Some((before, rest.get(memmem::find(rest, NEXT_KEY)?..)?))
}

fn utf8(id: &[u8]) -> Result<&str> {
    str::from_utf8(id).map_err(|_| garbled())
}

/// The lines of a part. A line that was copied counts once: a file may be given twice, or once as it is and
/// once compressed.
fn without_copies<'a>(bytes: &'a [u8], oddities: &mut Oddities) -> Vec<Received<'a>> {
    let received = |(numbers, texts)| {
        let ([sequence, moment, hash, source], [id, step, line]) = (numbers, texts);
        Received { hash, id, line, sequence, moment, source, step }
    };
    let mut lines: Vec<Received<'_>> = records::<4, 3>(bytes).map(received).collect();
    lines.sort_unstable();
    let (mut doubles, mut reader) = (Doubles::default(), RowReader::default());
    let all = lines.len();
    lines.retain(|Received { id, line, moment, .. }| {
        // A span has one row.
        let may_have_equals = || match reader.read(line) {
            Some(Line::Stage(line)) => line.span_id.is_none(),
            Some(Line::Transfer(line)) => line.span_id.is_none(),
            _ => false,
        };
        doubles.counts((*id, *line), *moment, may_have_equals)
    });
    oddities.doubles += (all - lines.len()) as u64;
    lines
}

/// The requests in their order, with their rows. Among them are the rows of each id without a line, if they
/// are to be kept, with the first of them in place of the request.
fn distribute<'a>(
    lines: &mut [Received<'a>],
    oddities: &mut Oddities,
    clocks: &Clocks,
    limits: Limits,
    keeps_rows: bool,
) -> Result<Vec<Request<'a>>> {
    let mut requests = Vec::new();
    for lines in lines.chunk_by_mut(|one, next| one.id == next.id) {
        lines.sort_unstable_by_key(|received| (is_row(received.line), received.sequence));
        let (of_id, rows) = lines.split_at(lines.partition_point(|received| !is_row(received.line)));
        let first = requests.len();
        requests.extend(of_id.iter().map(|received| Request::of(*received, Vec::new())));
        match requests.get_mut(first..).unwrap_or_default() {
            [] => {
                let Some(first) = lines.first() else { continue };
                if oddities.add(utf8(first.id)?, rows.len() as u64) && keeps_rows {
                    requests.push(Request::of(*first, rows.to_vec()));
                }
            }
            [request] => request.rows = rows.to_vec(),
            candidates if limits.by_messages => {
                let rows = to_senders(of_id, rows, candidates).ok_or_else(garbled)?;
                to_nearest(rows.into_iter(), candidates, clocks).ok_or_else(garbled)?;
            }
            candidates => to_nearest(rows.iter().copied(), candidates, clocks).ok_or_else(garbled)?,
        }
    }
    requests.sort_unstable_by_key(|request| request.received.sequence);
    Ok(requests)
}

/// Gives rows to that one of several requests with the same id which has sent the messages that led to them.
/// Returns those of which no message tells.
fn to_senders<'a>(
    of_id: &[Received<'a>],
    rows: &[Received<'a>],
    requests: &mut [Request<'a>],
) -> Option<Vec<Received<'a>>> {
    let mut others = Vec::new();
    for (row, cause) in rows.iter().zip(causes(of_id, rows)?) {
        match cause {
            Cause::Request(at) => requests.get_mut(at)?.rows.push(*row),
            Cause::Lost(outside) => requests.first_mut()?.lost.push((*row, outside)),
            Cause::Unknown => others.push(*row),
        }
    }
    Some(others)
}

/// What has caused each of the rows, which have the id of these requests.
fn causes(requests: &[Received<'_>], rows: &[Received<'_>]) -> Option<Vec<Cause>> {
    let (mut request_reader, mut row_reader) = (RequestReader::default(), RowReader::default());
    let mut causes = Causes::default();
    for request in requests {
        causes.add_request(request_reader.read(request.line)?);
    }
    for row in rows {
        causes.add_row(row_reader.read(row.line)?, row.source);
    }
    Some(causes.find())
}

/// Gives each row to one of several requests that have the same id: the one that it lies in or nearest to; of
/// several such requests, the one that it overlaps most; of those, the one whose ends are nearest. It may
/// still be too far away.
///
/// A row begins with its queue, or with the flight of its message. Where clocks differ, the flight is wrong
/// until the sender is known, which depends on the attempt. So it does not count if clocks are aligned.
fn to_nearest<'a>(
    rows: impl Iterator<Item = Received<'a>>,
    requests: &mut [Request<'a>],
    clocks: &Clocks,
) -> Option<()> {
    let (mut request_reader, mut row_reader) = (RequestReader::default(), RowReader::default());
    let times_of = |request: &Request<'_>| Some(times(request_reader.read(request.received.line)?));
    let times: Vec<_> = requests.iter().map(times_of).collect::<Option<_>>()?;
    for received in rows {
        let row = row_reader.read(received.line)?;
        let mut moved = 0;
        let fits = requests.iter_mut().zip(&times).map(|(request, times)| {
            let by = received.offset(clocks, request.received.source);
            move_by(row, by - moved);
            moved = by;
            let row = if clocks.is_empty() { with_flight(row) } else { with_queue(row) };
            (fit(row, *times), request)
        });
        let (_, nearest) = fits.min_by_key(|(fit, _)| *fit)?;
        nearest.rows.push(received);
    }
    Some(())
}

/// The rows of a part whose requests have an id of their own, for an estimate of the clocks.
pub(super) fn clock_rows(part: &Spool<4, 3>, bytes: &mut Vec<u8>) -> Result<ClockRows> {
    part.copy_into(bytes)?;
    let mut lines = without_copies(bytes, &mut Oddities::default());
    let (mut request_reader, mut row_reader) = (RequestReader::default(), RowReader::default());
    let mut clock_rows = ClockRows::default();
    for lines in lines.chunk_by_mut(|one, next| one.id == next.id) {
        lines.sort_unstable_by_key(|received| is_row(received.line));
        let [request, rows @ ..] = &*lines else { continue };
        if is_row(request.line) || rows.first().is_some_and(|row| !is_row(row.line)) {
            continue;
        }
        let run = request.source;
        clock_rows.add_request(run);
        let request = request_reader.read(request.line).ok_or_else(garbled)?;
        // Of a lost attempt, the rows that are left may agree on a time of another attempt.
        if rows.iter().any(|row| row.is_of_another_attempt(request)) {
            continue;
        }
        let (times, mut messages, mut extents) = (times(request), Messages::default(), Vec::new());
        request.transfer_table.iter().for_each(|row| messages.add(row, &request.warnings, None));
        for Received { line, source, .. } in rows {
            let row = row_reader.read(line).ok_or_else(garbled)?;
            if let Line::Transfer(line) = &*row {
                messages.add(&line.row, &line.warnings, Some(*source));
            }
            extents.push(with_queue(row));
        }
        let paths = messages.paths();
        for (Received { sequence, source, .. }, extent) in rows.iter().zip(&extents) {
            clock_rows.add((run, *source), *sequence, *extent, times, paths.of(*source));
        }
    }
    Ok(clock_rows)
}

impl<'a> Request<'a> {
    fn of(received: Received<'a>, rows: Vec<Received<'a>>) -> Self {
        Self { received, rows, lost: Vec::new() }
    }
}

impl Received<'_> {
    /// Whether this row of a worker has received a message of an attempt that is not this request.
    fn is_of_another_attempt(&self, request: &RequestLine) -> bool {
        Sent::unpack(self.step).is_some_and(|sent| sent.is_of_another_attempt(request))
    }

    /// By how much this row is moved in a request of this run, in microseconds.
    pub(super) fn offset(&self, clocks: &Clocks, run: u64) -> i64 {
        clocks.offset(run, self.source, self.sequence)
    }
}
