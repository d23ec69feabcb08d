//! A line on its way through the temporary files of `join`, as packed values.

use super::{
    causes::Sent,
    origins,
    packed::{self, Packed},
    run_correction::Step,
    sample_check::State,
};
use crate::{
    Detached, Line, RequestLine, Timestamp,
    model::line_buffer::LineBuffer,
    write::lines::{RequestParts, write_request, write_stage, write_transfer},
};

const REQUEST: u8 = b'r';
const STAGE: u8 = b's';
const TRANSFER: u8 = b't';
/// A request or a row among the bytes of several ones.
pub(super) struct JoinedLine {
    /// What a request says of its run; `None` for a row.
    pub(super) run: Option<State>,
    pub(super) sample_rate: Option<u32>,
    pub(super) timestamp: Timestamp,
    /// Where the id of its request begins, if it names one; then a [`Step`] of a request, or the message that
    /// a row has [received](Sent); and then the line itself; and where it ends.
    id: Option<usize>,
    step: usize,
    line: usize,
    end: usize,
}

impl JoinedLine {
    /// Appends a line to the bytes. `None` for a line that is neither a request nor a row.
    pub(super) fn of(line: &Line, bytes: &mut Vec<u8>) -> Option<Self> {
        let id = line.request_id().map(|_| bytes.len());
        bytes.extend_from_slice(line.request_id().unwrap_or_default().as_bytes());
        let step = bytes.len();
        match line {
            Line::Request(line) => Step::of(line).pack(bytes),
            _ => Sent::of(line).into_iter().for_each(|sent| sent.pack(bytes)),
        }
        let start = bytes.len();
        let (sample_rate, timestamp) = match line {
            Line::Request(line) => {
                bytes.push(REQUEST);
                packed::request(bytes, line);
                (line.sample_rate, line.timestamp)
            }
            Line::Stage(line) => {
                bytes.push(STAGE);
                packed::detached(bytes, line);
                (line.sample_rate, line.timestamp)
            }
            Line::Transfer(line) => {
                bytes.push(TRANSFER);
                packed::detached(bytes, line);
                (line.sample_rate, line.timestamp)
            }
            Line::Summary(_) | Line::Open(_) => return None,
        };
        let run = match line {
            Line::Request(line) => Some(State::of(&line.overall_summary)),
            _ => None,
        };
        Some(Self { run, sample_rate, timestamp, id, step, line: start, end: bytes.len() })
    }

    /// The id of its request, if it names one; its step or message; and the line itself. The same line has
    /// the same bytes, however it was spelt.
    pub(super) fn parts<'a>(&self, bytes: &'a [u8]) -> Option<[&'a [u8]; 3]> {
        let Self { id, step, line, end, .. } = *self;
        Some([bytes.get(id?..step)?, bytes.get(step..line)?, bytes.get(line..end)?])
    }
}

/// Appends the line of a request.
pub(super) fn write(out: &mut LineBuffer, request: &RequestLine) {
    let (stages, transfers) = (request.stage_table.iter(), request.transfer_table.iter());
    write_request(out, &RequestParts::of(request), stages, transfers);
}

/// Appends the line of a row of a request with this id, which has no line, from this log.
pub(super) fn write_row(out: &mut LineBuffer, row: &mut Line, id: &str, log: Option<&str>) {
    match row {
        Line::Stage(line) => {
            line.request_id = Some(id.to_owned());
            origins::name(&mut line.row.fields, log);
            write_stage(out, line);
        }
        Line::Transfer(line) => {
            line.request_id = Some(id.to_owned());
            write_transfer(out, line);
        }
        Line::Request(_) | Line::Summary(_) | Line::Open(_) => {}
    }
}

/// Whether the bytes are those of a row.
pub(super) fn is_row(bytes: &[u8]) -> bool {
    bytes.first() != Some(&REQUEST)
}

/// Reads the bytes of requests, each in place of the one before.
#[derive(Default)]
pub(super) struct RequestReader(RequestLine);

impl RequestReader {
    pub(super) fn read(&mut self, bytes: &[u8]) -> Option<&mut RequestLine> {
        Packed::of(bytes.strip_prefix(&[REQUEST])?).request(&mut self.0)?;
        Some(&mut self.0)
    }

    /// The same, with the name of its log, if it has one.
    pub(super) fn named(&mut self, bytes: &[u8], log: Option<&str>) -> Option<&mut RequestLine> {
        let request = self.read(bytes)?;
        origins::name(&mut request.fields, log);
        Some(request)
    }
}

/// Reads the bytes of rows, each in place of the one before. They are without their ids.
pub(super) struct RowReader {
    stage: Line,
    transfer: Line,
}

impl Default for RowReader {
    fn default() -> Self {
        Self { stage: Line::Stage(Detached::default()), transfer: Line::Transfer(Detached::default()) }
    }
}

impl RowReader {
    pub(super) fn read(&mut self, bytes: &[u8]) -> Option<&mut Line> {
        let (kind, rest) = bytes.split_first()?;
        let (mut packed, line) = match *kind {
            STAGE => (Packed::of(rest), &mut self.stage),
            TRANSFER => (Packed::of(rest), &mut self.transfer),
            _ => return None,
        };
        match line {
            Line::Stage(line) => packed.detached(line)?,
            Line::Transfer(line) => packed.detached(line)?,
            Line::Request(_) | Line::Summary(_) | Line::Open(_) => return None,
        }
        Some(line)
    }
}
