//! What really happened, by the fleet's true clock.

use serde::{Deserialize, Serialize};

/// One attempt at a request. Moments are nanoseconds since the start of the simulation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Attempt {
    pub(crate) request_id: String,
    pub(crate) begin: u64,
    /// When the `request` span ended; `None` if it never did, or its process died: it has no line.
    pub(crate) end: Option<u64>,
    pub(crate) finish_reason: Option<String>,
    pub(crate) errors: u64,
    /// How far the wall clock of the front was ahead of the true one, in nanoseconds.
    pub(crate) offset: i64,
    pub(crate) stages: Vec<Stage>,
    pub(crate) transfers: Vec<Half>,
}

/// A span that closed in a process, with how far the process's wall clock was ahead.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Span {
    pub(crate) offset: i64,
    pub(crate) begin: u64,
    pub(crate) end: u64,
    /// Whether it is in the line of the request.
    pub(crate) is_own: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Stage {
    pub(crate) stage_id: u64,
    pub(crate) span: Span,
    pub(crate) created: u64,
    pub(crate) busy: u64,
    pub(crate) preprocess: Option<u64>,
    pub(crate) tokens_in: u64,
    pub(crate) tokens_out: Option<u64>,
    /// The moments at which outputs left the stage.
    pub(crate) outputs: Vec<u64>,
    pub(crate) media_ms: f64,
}

/// The sending or the receiving half of a transfer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Half {
    pub(crate) from_stage: u64,
    pub(crate) to_stage: u64,
    pub(crate) span: Span,
    pub(crate) bytes: Option<u64>,
    /// Of a receiving half: when the message was sent, and how far the sender's wall clock was ahead.
    pub(crate) sent: Option<(u64, i64)>,
}

impl Span {
    pub(crate) fn length(&self) -> u64 {
        self.end - self.begin
    }
}

impl Half {
    /// How long the message was really in flight.
    pub(crate) fn flight(&self) -> Option<u64> {
        self.sent.map(|(at, _)| self.span.begin - at)
    }

    /// How long it was in flight by the clocks of both processes.
    pub(crate) fn flight_seen(&self) -> u64 {
        let Some((at, offset)) = self.sent else { return 0 };
        moved(self.span.begin, self.span.offset).saturating_sub(moved(at, offset))
    }
}

/// A moment by a clock that is off. No moment of a simulation lies so early that it gets negative.
fn moved(moment: u64, by: i64) -> u64 {
    moment.saturating_add_signed(by)
}

impl Attempt {
    pub(crate) fn spans(&self) -> impl Iterator<Item = &Span> {
        let stages = self.stages.iter().map(|stage| &stage.span);
        stages.chain(self.transfers.iter().map(|half| &half.span))
    }

    /// A number as the clocks tell it: all moments of workers are moved by the difference between their clock
    /// and the front's, but not to before the request's beginning.
    pub(crate) fn by_clocks<T>(&self, number: impl Fn(&Self) -> T) -> T {
        let mut seen = self.clone();
        for stage in &mut seen.stages {
            let by = stage.span.offset - self.offset;
            stage.outputs.iter_mut().for_each(|output| *output -= stage.span.begin);
            stage.span.move_by(by, self.begin);
            stage.outputs.iter_mut().for_each(|output| *output += stage.span.begin);
        }
        for half in &mut seen.transfers {
            half.span.move_by(half.span.offset - self.offset, self.begin);
        }
        number(&seen)
    }

    /// From the request's beginning to its own end.
    pub(crate) fn own_e2e(&self) -> u64 {
        self.end.unwrap_or(self.begin) - self.begin
    }

    /// From the request's beginning to the end of its last row.
    pub(crate) fn e2e(&self) -> u64 {
        let ends = self.spans().map(|span| span.end.saturating_sub(self.begin));
        ends.fold(self.own_e2e(), u64::max)
    }

    /// From the request's beginning to the first one of a stage.
    pub(crate) fn queue(&self) -> Option<u64> {
        self.stages.iter().map(|stage| stage.span.begin - self.begin).min()
    }

    /// The part of the request's time that no row and no flight covers.
    pub(crate) fn unattributed(&self) -> u64 {
        let flights = self.transfers.iter().filter_map(|half| Some((half.sent?.0, half.span.begin)));
        let mut covered: Vec<_> = self.spans().map(|span| (span.begin, span.end)).chain(flights).collect();
        covered.sort_unstable();
        let (mut length, mut until) = (0, self.begin);
        for (begin, end) in covered {
            length += end.saturating_sub(begin.max(until));
            until = until.max(end);
        }
        self.e2e() - length
    }

    /// By how much the clocks move the rows of workers, and the flights before them, in total: no union of
    /// intervals changes by more.
    pub(crate) fn displaced(&self) -> u64 {
        let rows = self.spans().map(|span| span.offset);
        let flights = self.transfers.iter().filter_map(|half| Some(half.sent?.1));
        let moved = rows.chain(flights).map(|offset| offset.abs_diff(self.offset));
        let moved: Vec<_> = moved.collect();
        // The end of the request may move as well.
        moved.iter().sum::<u64>() + moved.iter().max().unwrap_or(&0)
    }
}

impl Span {
    fn move_by(&mut self, by: i64, earliest: u64) {
        let length = self.length();
        // The end of a row that begins before the request stays where its clock puts it.
        let end = moved(self.end, by);
        self.begin = end.saturating_sub(length).max(earliest);
        self.end = end.max(self.begin);
    }
}
