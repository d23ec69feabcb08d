//! The lines that a command takes into account: of a stretch of time, or those that meet a condition.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::{
    amount::amount,
    failure::{Failure, Result},
    log_file::LogFile,
    sentence::listed,
};
use crate::{Line, RequestLine, Timestamp, write::columns::printable};

mod condition;
mod log_end;
mod moment;
mod names;
mod sieve;
mod values;

use condition::Condition;
use moment::{Moment, Resolver};
pub(in crate::cli) use names::{known, near};
pub(in crate::cli) use sieve::{Sieve, Sifted};

#[derive(Debug, Default, Clone, clap::Args)]
#[command(next_help_heading = "Selection")]
pub(in crate::cli) struct SelectionArgs {
    /// Only lines whose `timestamp`, the end of the request, is at this time or later
    ///
    /// A date and time (2026-01-31T12:03:00Z, with an offset, or without one for UTC); a time of day in UTC
    /// (12:03), the latest one before the end of the log, so possibly that of the day before; or a time
    /// before the end of the log (-15m, -90s, -2h, -1d). Standard input counts as if it ended now. Example:
    /// `omni-metrics summary --since -15m FILE`
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    since: Option<String>,
    /// Only lines whose `timestamp`, the end of the request, is before this time
    ///
    /// As for --since; together with it, a time of day is the first one after it.
    /// Example: `omni-metrics summary --since 12:03 --until 12:05 FILE`
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    until: Option<String>,
    /// Only lines for which the expression is true, in the Common Expression Language (CEL, cel.dev)
    ///
    /// Names: the numbers of the line's table (e2e_total_ms), finish_reason, failed, request_id, type,
    /// timestamp, trace_id, fields.NAME, warnings, the lists stages and transfers, and stage_name: of a row
    /// in stages, or of a line that is a row of a stage. If a line has no value for a number, `number != 5`
    /// selects the line, and neither `number < 5` nor `!(number < 5)` does. Lines of type summary and open
    /// are left out, unless the expression names the type. Rates remain per second of the log: --since and
    /// --until select time. Examples:
    /// `omni-metrics summary --where 'finish_reason == "error" && e2e_total_ms > 500' FILE`,
    /// `omni-metrics summary --where 'stages.exists(s, s.stage_name == "talker" && failed)' FILE`
    #[arg(long = "where", value_name = "EXPR")]
    condition: Option<String>,
}

/// A sentence names what is at least one in this many parts of the time.
const LEAST_NAMED: u64 = 20;

/// The lines that a command takes into account.
#[derive(Debug, Default)]
pub(in crate::cli) struct Selection {
    args: SelectionArgs,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    condition: Option<Condition>,
    /// What there is to say of the times.
    remark: Option<String>,
    /// The end of the log, if times count from it.
    end: Option<Timestamp>,
    /// The times of the lines that were left out.
    left_out: Option<Arc<LeftOutTimes>>,
}

#[derive(Debug, Default)]
struct LeftOutTimes {
    all: Span,
    /// Of the requests that `--where` has left out: from the creation of the first one if it is known that
    /// none ended before it, or else from its end.
    requests: Span,
    /// When requests ended that are not left out.
    selected: Span,
}

/// Why a line is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum LeftOut {
    ByTime,
    ByCondition,
}

/// In microseconds, from the first to the last.
#[derive(Debug)]
struct Span {
    first: AtomicU64,
    last: AtomicU64,
}

impl Selection {
    /// Reads the arguments, and the ends of the files if times refer to them.
    pub(in crate::cli) fn of(args: &SelectionArgs, files: &[LogFile]) -> Result<Self> {
        let moment =
            |name: &str, text: &Option<String>| text.as_ref().map(|text| moment(name, text)).transpose();
        let (since, until) = (moment("--since", &args.since)?, moment("--until", &args.until)?);
        let condition = args.condition.as_deref().map(Condition::parse).transpose().map_err(Failure::Io)?;
        let resolver = Resolver::new([&since, &until], files)?;
        let end = [since, until].iter().flatten().any(Moment::is_before_end).then(|| resolver.end());
        let is_next_day = resolver.is_on_a_day_to_come(since, until);
        let since = since.map(|moment| resolver.resolve(moment, None));
        let until = until.map(|moment| resolver.resolve(moment, since));
        if let (Some(since), Some(until)) = (since, until)
            && until <= since
        {
            return Err(Failure::Io(format!("--until {until} is not after --since {since}")));
        }
        let remark = args.since.as_ref().zip(args.until.as_ref()).zip(until).filter(|_| is_next_day);
        let remark = remark.map(|((since, until), at)| {
            format!(
                "--until {until} is not after --since {since}, and so is the one of the next day, {at}: the \
                 log ends before that day"
            )
        });
        let is_used = since.is_some() || until.is_some() || condition.is_some();
        let left_out = is_used.then(Arc::default);
        Ok(Self { args: args.clone(), since, until, condition, remark, end, left_out })
    }

    /// Whether every line counts.
    pub(in crate::cli) fn is_everything(&self) -> bool {
        self.left_out.is_none()
    }

    /// Why the line is left out; `None` if it counts.
    pub(in crate::cli) fn leaves_out(&self, line: &Line) -> Option<LeftOut> {
        let left_out = self.left_out.as_ref()?;
        let timestamp = timestamp(line);
        let is_in_time = self.since.is_none_or(|since| timestamp >= since)
            && self.until.is_none_or(|until| timestamp < until);
        let reason = match &self.condition {
            _ if !is_in_time => LeftOut::ByTime,
            Some(condition) if !condition.is_met_by(line) => LeftOut::ByCondition,
            is_any => {
                if let (Some(_), Line::Request(line)) = (is_any, line) {
                    left_out.selected.add(line.timestamp);
                }
                return None;
            }
        };
        left_out.all.add(timestamp);
        if let (LeftOut::ByCondition, Line::Request(line)) = (reason, line) {
            left_out.requests.add(covered_from(line));
            left_out.requests.add(timestamp);
        }
        Some(reason)
    }

    /// The time that rates are divided by, from its start to its end in nanoseconds: that for which the
    /// selected lines are all that was selected of the log, where the selected requests alone cover `first`
    /// to `last`. It is the run, or as much of it as lies in the selected time.
    pub(in crate::cli) fn covered(&self, [first, last]: [u64; 2]) -> [u64; 2] {
        let Some(LeftOutTimes { all, requests, .. }) = self.left_out.as_deref() else { return [first, last] };
        let ((left_first, left_last), run) = (all.ends(), requests.ends());
        let since = self.since.map(Timestamp::unix_micros);
        let until = self.until.map(Timestamp::unix_micros).filter(|until| left_last >= *until);
        let nanos = |micros: u64| micros.saturating_mul(1_000);
        let start = match since {
            Some(since) if left_first < since => nanos(since),
            since => first.min(nanos(run.0)).max(since.map_or(0, nanos)),
        };
        [start, until.map_or_else(|| last.max(nanos(run.1)), nanos)]
    }

    /// That rates also count time in which only requests ended that `--where` leaves out, if that is a
    /// twentieth of the covered time or more.
    pub(in crate::cli) fn on_rates(&self, [start, end]: [u64; 2]) -> Option<String> {
        self.condition.as_ref()?;
        let LeftOutTimes { requests, selected, .. } = self.left_out.as_deref()?;
        let ((first, last), (begin, stop)) = (requests.ends(), selected.ends());
        // No request is selected.
        if begin > stop {
            return None;
        }
        let gaps = [(begin.saturating_sub(first), "first"), (last.saturating_sub(stop), "last")];
        let is_long = |micros: u64| micros.saturating_mul(1_000) >= end.saturating_sub(start) / LEAST_NAMED;
        let seconds = |micros: u64| format!("{:.3} s", micros as f64 / 1e6);
        let gaps = gaps.into_iter().filter(|(gap, _)| is_long(*gap));
        let gaps: Vec<_> = gaps.map(|(gap, at)| format!("in the {at} {}", seconds(gap))).collect();
        (!gaps.is_empty()).then(|| {
            format!(
                "--where selects requests, not time: rates a second are of all {}, but no selected request \
                 ended {} of them. --since and --until select time.",
                seconds(end.saturating_sub(start) / 1_000),
                listed(&gaps),
            )
        })
    }

    /// How many lines each argument has left out; `None` if all count.
    pub(in crate::cli) fn sentence(&self, outside: u64, unmatched: u64) -> Option<String> {
        let times = match (self.since, self.until) {
            (Some(_), Some(_)) => "--since and --until",
            (None, Some(_)) => "--until",
            _ => "--since",
        };
        let by = |count, argument| {
            let lines = amount(count, "line is", "lines are");
            (count > 0).then(|| format!("{lines} left out by {argument}"))
        };
        let left_out: Vec<_> = [by(outside, times), by(unmatched, "--where")].into_iter().flatten().collect();
        (!left_out.is_empty()).then(|| left_out.join(", and "))
    }

    /// The same, with the arguments as they were given.
    pub(in crate::cli) fn remark(&self, outside: u64, unmatched: u64) -> Option<String> {
        let SelectionArgs { since, until, condition } = &self.args;
        let given = [("--since", since), ("--until", until), ("--where", condition)];
        let given = given.iter().filter_map(|(name, value)| Some(format!("{name} {}", value.as_ref()?)));
        let given = given.collect::<Vec<_>>().join(", ");
        self.sentence(outside, unmatched).map(|left_out| format!("{left_out} ({})", printable(&given)))
    }

    /// Why nothing is selected, if all lines were left out.
    pub(in crate::cli) fn nothing(&self, outside: u64, unmatched: u64) -> Option<String> {
        let (left_out, (first, last)) =
            (self.remark(outside, unmatched)?, self.left_out.as_ref()?.all.ends());
        let [first, last] = [first, last].map(Timestamp::from_unix_micros);
        let end = self.end.filter(|end| *end < last);
        let end = end.map(|end| format!(", and its last line is of {end}, from which the times count"));
        let end = end.unwrap_or_default();
        Some(format!("no line is selected: {left_out}; the log has lines from {first} to {last}{end}"))
    }

    /// What there is to say of the times and the condition after the last line.
    pub(in crate::cli) fn remarks(&self) -> Vec<String> {
        let of_condition = self.condition.as_ref().map(Condition::remarks).unwrap_or_default();
        self.remark.iter().cloned().chain(of_condition).collect()
    }
}

/// A time as an argument has it.
fn moment(name: &str, text: &str) -> Result<Moment> {
    Moment::parse(text).map_err(|why| Failure::Io(format!("{name} {text}: {why}")))
}

/// The moment that an argument names. It is read as that of `--since`.
pub(in crate::cli) fn moment_of(name: &str, text: &str, files: &[LogFile]) -> Result<Timestamp> {
    let moment = moment(name, text)?;
    Ok(Resolver::new([&Some(moment), &None], files)?.resolve(moment, None))
}

impl Default for Span {
    fn default() -> Self {
        Self { first: AtomicU64::new(u64::MAX), last: AtomicU64::new(0) }
    }
}

impl Span {
    fn add(&self, timestamp: Timestamp) {
        self.first.fetch_min(timestamp.unix_micros(), Ordering::Relaxed);
        self.last.fetch_max(timestamp.unix_micros(), Ordering::Relaxed);
    }

    fn ends(&self) -> (u64, u64) {
        (self.first.load(Ordering::Relaxed), self.last.load(Ordering::Relaxed))
    }
}

/// From when on a log that begins with this request has every request that ended: the creation of the first
/// request of a run, before which no other one ended, or else the end of this one.
pub(in crate::cli) fn covered_from(line: &RequestLine) -> Timestamp {
    let end = line.timestamp.unix_micros();
    match line.overall_summary.e2e_requests {
        1 => Timestamp::from_unix_micros(end.saturating_sub(line.e2e_table.e2e_total_ms.as_nanos() / 1_000)),
        _ => line.timestamp,
    }
}

pub(in crate::cli) fn timestamp(line: &Line) -> Timestamp {
    match line {
        Line::Request(line) => line.timestamp,
        Line::Stage(line) => line.timestamp,
        Line::Transfer(line) => line.timestamp,
        Line::Summary(line) => line.timestamp,
        Line::Open(line) => line.timestamp,
    }
}
