//! `--json`: the figures as lines of JSON, for a pipe.

use std::{
    io::{self, Write},
    process::ExitCode,
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use super::{clock::now, figures::Figures, follow::Read, log::Log, period::Period, unreadable};
use crate::{
    SCHEMA,
    cli::{
        amount::amount,
        failure::{Failure, Result, complain},
        json,
        selection::Selection,
    },
};

/// Writes a line at each interval, and the last one where the input ends.
pub(super) fn write(
    lines: &Receiver<io::Result<Read>>,
    mut log: Log,
    period: Period,
    every: Duration,
    selection: &Selection,
    out: &mut impl Write,
) -> Result<ExitCode> {
    let (mut next, mut is_told) = (Instant::now() + every, false);
    loop {
        match lines.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(Ok(read)) => log.add(read, now()),
            Ok(Err(error)) => return Err(unreadable(&log.source, &error)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                log.has_ended = true;
                write_line(&log, period, &mut is_told, out)?;
                return at_the_end(&log, selection);
            }
        }
        // Lines that come without a pause must not put it off.
        if Instant::now() >= next {
            write_line(&log, period, &mut is_told, out)?;
            next = Instant::now().max(next + every);
        }
    }
}

fn write_line(log: &Log, period: Period, is_told: &mut bool, out: &mut impl Write) -> Result<()> {
    let figures = Figures::of(log, period, now());
    if figures.is_past() && !std::mem::replace(is_told, true) {
        complain(&format!("no request ended in the {period}; --window all is for the whole log"));
    }
    json::write(out, &figures.line())?;
    Ok(out.flush()?)
}

/// Says what the lines do not. An input without a line that can be used is an error, and so is an objective
/// for which no request has a value, as for the other commands.
fn at_the_end(log: &Log, selection: &Selection) -> Result<ExitCode> {
    let read = log.read;
    if read.broken > 0 {
        complain(&format!("{} left out", amount(read.broken, "broken line is", "broken lines are")));
    }
    if read.unknown > 0 {
        let unknown = amount(read.unknown, "line of an unknown schema", "lines of an unknown schema");
        complain(&format!("cannot read {unknown} (this reader knows schema {SCHEMA})"));
        return Ok(ExitCode::from(2));
    }
    log.remarks().iter().for_each(|remark| complain(remark));
    if read.lines > 0 {
        let missing = log.missing();
        missing.iter().for_each(|sentence| complain(sentence));
        return Ok(if missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(2) });
    }
    let nothing = selection.nothing(read.outside, read.unmatched);
    Err(Failure::Io(nothing.unwrap_or_else(|| format!("no line of omni-metrics in {}", log.source))))
}
