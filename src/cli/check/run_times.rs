//! The timestamps of a run against its wall time. All are readings of one clock, so the numbers of a line fix
//! between which times it may have ended.

use std::mem;

use crate::{
    Millis, Timestamp,
    cli::{
        place::Place,
        sample_check::{Request, Witness},
    },
};

/// Timestamps are rounded, and `join` moves the ends of requests by what the clocks of workers are off.
const TOLERANCE: u64 = 100_000_000;
/// How many jumps of a run are named; more are counted.
const JUMPS: usize = 64;

/// The runs of a log.
#[derive(Debug, Default)]
pub(super) struct RunTimes {
    run: RunTime,
    /// The jumps of the runs before it, and how many more there are.
    jumps: Vec<String>,
    more: u64,
}

/// The run that began last.
#[derive(Debug, Default)]
struct RunTime {
    lines: u64,
    /// Of all lines.
    tokens: u64,
    /// The lines with the smallest and the greatest number: the number, the tokens of the run up to it, and
    /// those of the request.
    ends: Option<[(u64, u64, u64); 2]>,
    /// The number and the creation of the line with the smallest number since the last jump.
    first: Option<(u64, u64)>,
    /// The number and the end of the line that ended last since then.
    latest: Option<(u64, u64)>,
    jumps: Vec<String>,
    more: u64,
}

impl RunTimes {
    pub(super) fn add(&mut self, place: Place<'_>, witness: &Witness) {
        let Witness::Request(request) = witness else { return };
        if request.run.requests == 1 && self.run.lines > 0 {
            self.end_run();
        }
        self.run.add(place, request);
    }

    /// The jumps of all runs, and how many more there are.
    pub(super) fn finish(mut self) -> (Vec<String>, u64) {
        self.end_run();
        (self.jumps, self.more)
    }

    /// Keeps the jumps of a run if its lines are certainly of one.
    fn end_run(&mut self) {
        let run = mem::take(&mut self.run);
        if run.is_whole() {
            self.more += run.more;
            for jump in run.jumps {
                if self.jumps.len() < JUMPS { self.jumps.push(jump) } else { self.more += 1 }
            }
        }
    }
}

impl RunTime {
    fn add(&mut self, place: Place<'_>, request: &Request) {
        let number = request.run.requests;
        self.lines += 1;
        self.tokens = self.tokens.saturating_add(request.tokens);
        let this = (number, request.run.tokens, request.tokens);
        let [least, most] = self.ends.unwrap_or([this; 2]);
        self.ends = Some([least.min(this), most.max(this)]);
        if let Some(jump) = self.jump(request) {
            (self.first, self.latest) = (None, None);
            if self.jumps.len() < JUMPS {
                self.jumps.push(format!("{place}: {jump}"));
            } else {
                self.more += 1;
            }
        }
        if self.first.is_none_or(|(first, _)| number < first) {
            self.first = Some((number, created(request)));
        }
        if self.latest.is_none_or(|(_, end)| end < request.end) {
            self.latest = Some((number, request.end));
        }
    }

    /// A request ends within the wall time of the run after the creation of each request with a smaller
    /// number, and such a request ends within the wall time after the creation of this one.
    fn jump(&self, request: &Request) -> Option<String> {
        let (number, wall, end) = (request.run.requests, request.run.wall, request.end);
        let shown = |nanos: u64| Timestamp::from_unix_micros(nanos / 1_000);
        let most = self.first.filter(|(first, _)| *first < number);
        let most = most.map(|(_, created)| created.saturating_add(wall));
        let least = self.latest.filter(|(last, _)| *last < number);
        let least = least.map(|(_, latest)| latest.saturating_sub(wall).saturating_add(request.e2e));
        let (bound, expected) = match (most, least) {
            (Some(most), _) if end > most.saturating_add(TOLERANCE) => ("at most", most),
            (_, Some(least)) if end < least.saturating_sub(TOLERANCE) => ("at least", least),
            _ => return None,
        };
        Some(format!(
            "timestamp does not fit those before it in the run, whose e2e_wall_time_ms is {}: expected \
             {bound} {}, found {}",
            Millis::from_nanos(wall),
            shown(expected),
            shown(end)
        ))
    }

    /// Whether the lines are certainly of one run: they have as many numbers and tokens as lie between the
    /// smallest and the greatest number.
    fn is_whole(&self) -> bool {
        let Some([(least, before, own), (most, all, _)]) = self.ends else { return false };
        let tokens = all.checked_sub(before).and_then(|tokens| tokens.checked_add(own));
        (most - least).checked_add(1) == Some(self.lines) && tokens == Some(self.tokens)
    }
}

fn created(request: &Request) -> u64 {
    request.end.saturating_sub(request.e2e)
}
