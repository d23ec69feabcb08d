//! A line on its way through the temporary files of `join`: a request as text, which is the result if it gets
//! no rows, and a row as packed values, which are read faster.

use super::{
    packed::{self, Packed},
    run_correction::Step,
    sample_check::State,
    verbatim,
};
use crate::{
    Detached, Line, RequestLine, Timestamp,
    model::line_buffer::LineBuffer,
    write::lines::{RequestParts, write_request},
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
    /// Where the id of its request begins, if it names one; of a request, a [`Step`]; and then the line
    /// itself; and where it ends.
    id: Option<usize>,
    step: usize,
    line: usize,
    end: usize,
}

impl JoinedLine {
    /// Appends a line to the bytes. `None` for a line without a request. The text is that of a line that is
    /// spelt as the layer spells it; any other spelling is replaced.
    pub(super) fn of(line: &Line, text: Option<&[u8]>, bytes: &mut Vec<u8>) -> Option<Self> {
        let id = line.request_id().map(|_| bytes.len());
        bytes.extend_from_slice(line.request_id().unwrap_or_default().as_bytes());
        let step = bytes.len();
        if let Line::Request(line) = line {
            Step::of(line).pack(bytes);
        }
        let start = bytes.len();
        let (sample_rate, timestamp) = match line {
            Line::Request(line) => {
                bytes.push(REQUEST);
                match text.filter(|text| is_plain(text)) {
                    Some(text) => {
                        bytes.extend_from_slice(text);
                        bytes.push(b'\n');
                    }
                    None => {
                        let mut respelt = LineBuffer::new();
                        write(&mut respelt, line);
                        bytes.extend_from_slice(respelt.line());
                    }
                }
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

    /// The id of its request, if it names one; its step; and the line itself. The same row has the same
    /// bytes, however it was spelt.
    pub(super) fn parts<'a>(&self, bytes: &'a [u8]) -> Option<[&'a [u8]; 3]> {
        let Self { id, step, line, end, .. } = *self;
        Some([bytes.get(id?..step)?, bytes.get(step..line)?, bytes.get(line..end)?])
    }
}

/// Whether the layer would escape no character of the text.
fn is_plain(text: &[u8]) -> bool {
    // Without a branch for each byte, so that many are compared at once.
    let is_plain = |bytes: &[u8]| bytes.iter().fold(true, |all, byte| all & matches!(byte, b' '..=b'~'));
    text.chunks(256).all(is_plain)
}

/// Appends the line of a request.
pub(super) fn write(out: &mut LineBuffer, request: &RequestLine) {
    let (stages, transfers) = (request.stage_table.iter(), request.transfer_table.iter());
    write_request(out, &RequestParts::of(request), stages, transfers);
}

/// Whether the bytes are those of a row.
pub(super) fn is_row(bytes: &[u8]) -> bool {
    bytes.first() != Some(&REQUEST)
}

/// The text of a request.
pub(super) fn text(bytes: &[u8]) -> Option<&[u8]> {
    bytes.strip_prefix(&[REQUEST])
}

/// Reads the bytes of requests, each in place of the one before.
pub(super) struct RequestReader(Line);

impl Default for RequestReader {
    fn default() -> Self {
        Self(Line::Request(RequestLine::default()))
    }
}

impl RequestReader {
    pub(super) fn read(&mut self, bytes: &[u8]) -> Option<&mut RequestLine> {
        let text = text(bytes)?.trim_ascii_end();
        if verbatim::read(text, &mut self.0).is_none() {
            self.0 = str::from_utf8(text).ok()?.parse().ok()?;
        }
        match &mut self.0 {
            Line::Request(line) => Some(line),
            _ => None,
        }
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
