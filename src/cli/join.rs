//! `join`: the rows of worker processes, put into their requests.
//!
//! Lines are spread over parts by their request's id, so that only some of them are in memory at a time. The
//! others are in a temporary file. The parts are merged in the order in which the requests came.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    hash::BuildHasher,
    io::{self, BufWriter, Write},
    iter, mem,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use foldhash::fast::RandomState;

use super::{
    argument::time,
    blocks::Blocks,
    clock_report::ClockReport,
    clocks::{ClockRows, Clocks},
    doubles::Runs,
    failure::{Failure, Result},
    files::{Files, shown},
    groups::{GroupArgs, Percent, RequestGroups},
    help::Help,
    input::Inputs,
    joined_line::JoinedLine,
    joined_report::JoinedReport,
    joined_sample::JoinedSample,
    log_line::LogLine,
    matching::{Limits, clock_rows, match_rows},
    objectives::Objectives,
    oddities::Oddities,
    origins::{Origins, Siblings},
    output,
    run_correction::{RunCorrection, Step},
    run_numbers::RunNumbers,
    selection::{Selection, Sieve, Sifted},
    spool::Spool,
};
use crate::{Line, model::line_buffer::LineBuffer, write::lines::write_summary};

/// Over how many parts the lines are spread.
const PARTS: usize = 128;
/// How many of them are in memory at a time.
const AT_ONCE: usize = 4;
/// How far outside of its request a row may lie, if the user sets no limit.
const MAX_OFFSET: Duration = Duration::from_secs(60);
/// How much is written to standard output at a time, in bytes.
const BUFFER: usize = 1 << 16;

pub(super) const HELP: Help = Help {
    examples: &[
        (
            "Rows of workers, put into their requests",
            "omni-metrics join front.log worker-*.log -o joined.jsonl",
        ),
        (
            "A summary of the joined requests",
            "omni-metrics join front.log worker-*.log | omni-metrics summary",
        ),
        (
            "Of processes whose clocks differ",
            "omni-metrics join --align-clocks front.log worker-*.log -o joined.jsonl",
        ),
        (
            "With a table that has a row for each stage of each process",
            "omni-metrics join --by stage_name,file /var/log/pods -o joined.jsonl",
        ),
        (
            "With the rows that have no request, for `summary`, `check` and a later `join`",
            "omni-metrics join --keep-rows front.log worker-*.log -o joined.jsonl",
        ),
        (
            "How many rows have no request",
            "omni-metrics join --json /var/log/pods -o joined.jsonl | jq .rows_without_request.rows",
        ),
        ("Of all logs in a directory", "omni-metrics join --align-clocks /var/log/pods -o joined.jsonl"),
    ],
    note: Some(
        "A request lasts until its last row ends, also if its own process was done before, as with a request \
         that the client aborted. `e2e_before_join_ms` under `fields` is then the time until its own process \
         was done. If a stage or requests have several logs, the field `log_file` names the \
         one that a request or the row of a stage comes from. With --by or --every, the table of \
         `omni-metrics summary` of the joined requests is printed too: on standard output with -o, else on \
         stderr. With --json, the groups are in its line.",
    ),
    environment: &[("TMPDIR", "Where the temporary file is, which is as large as the log; /tmp by default.")],
    ..Help::NONE
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where the lines go; without it, to standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// How far before or after its request a row may lie, by the clocks of their processes
    ///
    /// A row that is farther from each line of its request is left out, and named on stderr: it is taken to
    /// belong to another request with the same id. Without this option, the limit is 1m, and rows of an
    /// attempt without a line are left out too: those of messages that were sent more than a second before or
    /// after each request with the id, and with --align-clocks those that ended more than a second before
    /// their request, if the clock of their log is known.
    #[arg(long, value_name = "TIME", value_parser = time)]
    max_offset: Option<Duration>,
    /// Move the rows of each log by an estimate of how much its clock differs from that of the requests
    ///
    /// The estimate is the move by which most rows of the log lie inside of their requests, and no message is
    /// received before it is sent. Rows are not moved if fewer than 95 % would fit, or if nearly as many do
    /// unmoved. A process that was started again has an estimate of its own if it wrote at least 8 rows. If
    /// several processes have requests, these are moved to the clock of the one with most requests, as far as
    /// the same workers serve them; such a request has `clock_moved_ms` under `fields`.
    #[arg(long)]
    align_clocks: bool,
    /// Write the rows of workers that go into no request, too, as lines of their own
    ///
    /// So `summary` and `check` of the output count them, and a later `join` of the output and the log with
    /// the line of the request puts them there. They stand at the place of the first row with their id, or
    /// after the request that they are too far from, and are not moved.
    #[arg(long)]
    keep_rows: bool,
    /// The report on the join as one line of JSON: to standard output with -o, else to stderr
    ///
    /// It has the counts of the sentences that are on stderr otherwise. Example:
    /// `omni-metrics join --json front.log worker-*.log -o joined.jsonl | jq .rows_without_request`
    #[arg(long)]
    json: bool,
    /// The table of --by or --every as comma-separated values, on standard output; -o takes the lines
    #[arg(long, conflicts_with = "json", requires_all = ["output", "GroupArgs"])]
    csv: bool,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    groups: GroupArgs,
}

pub(super) fn run(args: &Args, out: &mut impl Write) -> Result<ExitCode> {
    let mut inputs = Inputs::new(&args.files)?;
    let selection = mem::take(&mut inputs.selection);
    let Spread { mut parts, sample, origins, are_several, nameless } = spread(&mut inputs)?;
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let limits = Limits::new(args.max_offset.map(nanos), nanos(MAX_OFFSET));
    let mut clocks = Clocks::default();
    if args.align_clocks {
        (parts, clocks) = estimate_clocks(parts)?;
    }
    let (mut completed, mut oddities) = (Vec::new(), Oddities::of(&sample));
    (oddities.nameless, oddities.keeps_rows) = (nameless, args.keep_rows);
    let unnamed = Origins::default();
    let named = if are_several { &origins } else { &unnamed };
    for (part, of_part) in on_all_cores(parts, |part, bytes| {
        match_rows(part, bytes, &sample, limits, &clocks, named, args.keep_rows)
    })? {
        completed.push(part);
        oddities.merge(of_part);
    }
    let grouping = args.groups.grouping();
    let mut groups =
        grouping.as_ref().map(|grouping| RequestGroups::new(grouping.clone(), &Objectives::default()));
    let log_name = args.output.as_deref().and_then(Path::file_name).map(|name| shown(Path::new(name)));
    let log_name = log_name.as_deref().unwrap_or("standard output").into();
    let written = {
        let of_written = (Arc::clone(&selection), groups.as_mut(), &log_name);
        match &args.output {
            // The lines have no colours to take out.
            None => write(completed, of_written, &mut BufWriter::with_capacity(BUFFER, io::stdout()))?,
            // All inputs have been read: a pattern such as `*.jsonl` may also name this file.
            Some(path) => output::write(path, |file| write(completed, of_written, file))?,
        }
    };
    let groups = groups.map(|groups| groups.into_table(&Percent::USUAL, &selection));
    let report = JoinedReport::new(inputs.read, written, args.max_offset.unwrap_or(MAX_OFFSET), oddities)
        .with_groups(groups);
    let report =
        if args.align_clocks { report.with_clocks(ClockReport::of(&clocks, &origins)) } else { report };
    match &args.output {
        Some(_) if args.csv => report.print_csv(out)?,
        Some(_) => report.print(args.json, grouping.as_ref(), out)?,
        // If stderr is closed, the report is lost, as sentences are.
        None => drop(report.print(args.json, grouping.as_ref(), &mut anstream::stderr())),
    }
    Ok(inputs.exit_code(0))
}

/// Writes the complete requests that are selected, and adds them to the groups.
fn write(
    completed: Vec<Spool<2, 3>>,
    (selection, groups, log_name): (Arc<Selection>, Option<&mut RequestGroups>, &Arc<str>),
    out: &mut impl Write,
) -> Result<Sifted> {
    let written = match groups {
        None if selection.is_everything() => Sifted { kept: merge(completed, out)?, left_out: 0 },
        mut groups => {
            let mut rows = 0;
            let add = |line: &LogLine| {
                rows += u64::from(!matches!(line.line, Line::Request(_)));
                groups.iter_mut().for_each(|groups| groups.add(line));
            };
            let mut sieve = Sieve::new(selection, log_name, &mut *out, add);
            merge(completed, &mut sieve)?;
            let Sifted { kept, left_out } = sieve.finish()?;
            Sifted { kept: kept - rows, left_out }
        }
    };
    out.flush()?;
    Ok(written)
}

/// The lines of the logs.
struct Spread {
    /// The parts over which they are spread, as [`match_rows`] reads them.
    parts: Vec<Spool<4, 3>>,
    /// Their rates.
    sample: JoinedSample,
    origins: Origins,
    /// Whether a stage or requests have several logs.
    are_several: bool,
    /// How many rows name no request.
    nameless: u64,
}

fn spread(inputs: &mut Inputs) -> Result<Spread> {
    let names = inputs.log_names();
    let blocks = Blocks::default();
    let mut parts: Vec<_> = (0..PARTS).map(|_| Spool::new(blocks.clone())).collect();
    let (hasher, mut sequence, mut nameless) = (RandomState::default(), 0, 0);
    let (mut sample, mut runs, mut run_numbers) =
        (JoinedSample::default(), Runs::default(), RunNumbers::default());
    let mut siblings = Vec::new();
    let mapper = || {
        let of_core = Arc::new(Mutex::new(Siblings::default()));
        siblings.push(Arc::clone(&of_core));
        move |line: &mut LogLine, bytes: &mut Vec<u8>| {
            of_core.lock().unwrap_or_else(PoisonError::into_inner).note(line);
            JoinedLine::of(line, bytes)
        }
    };
    inputs.map_bytes(mapper, |place, line, bytes| {
        sequence += 1;
        let Some(line) = line else { return Ok(()) };
        sample.note(line.run.is_none(), line.sample_rate);
        let moment = runs.number(place.index, line.timestamp);
        let run = line.run.map(|state| run_numbers.number(place.log, state, line.timestamp));
        let source = run.unwrap_or(place.log as u64);
        let Some(texts) = line.parts(bytes) else {
            nameless += 1;
            return Ok(());
        };
        let hash = hasher.hash_one(texts[0]);
        let part = parts.get_mut(hash as usize % PARTS);
        Ok(part.map_or(Ok(()), |part| part.write([sequence, moment, hash, source], texts))?)
    })?;
    let mut all = Siblings::default();
    siblings.iter().for_each(|of_core| all.merge(&of_core.lock().unwrap_or_else(PoisonError::into_inner)));
    let origins = Origins::new(names, run_numbers.logs);
    Ok(Spread { parts, sample, origins, are_several: all.are_there(), nameless })
}

/// By how much the clocks differ, from the rows of all parts.
fn estimate_clocks(parts: Vec<Spool<4, 3>>) -> Result<(Vec<Spool<4, 3>>, Clocks)> {
    let rows = Mutex::new(ClockRows::default());
    let parts = on_all_cores(parts, |part, bytes| {
        let of_part = clock_rows(&part, bytes)?;
        rows.lock().unwrap_or_else(PoisonError::into_inner).merge(of_part);
        Ok(part)
    })?;
    Ok((parts, rows.into_inner().unwrap_or_else(PoisonError::into_inner).estimate()))
}

/// Does the work on each part, on all cores. A core reads its parts into the same memory.
fn on_all_cores<T: Send>(
    parts: Vec<Spool<4, 3>>,
    work: impl Fn(Spool<4, 3>, &mut Vec<u8>) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let waiting = Mutex::new(parts.into_iter());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
    let threads = thread::available_parallelism().map_or(1, usize::from).min(AT_ONCE);
    let of_thread = || {
        let mut bytes = Vec::new();
        iter::from_fn(next).map(|part| work(part, &mut bytes)).collect::<Result<Vec<_>>>()
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(of_thread)).collect();
        let died = |_| Failure::Io("a thread that matches rows broke down".to_owned());
        let parts = threads.into_iter().map(|thread| thread.join().map_err(died)?);
        Ok(parts.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    })
}

/// Writes the requests in the order in which they came, with the totals of their run corrected. The rest
/// stays as it is, and so do rows. Returns how many requests there are.
fn merge(parts: Vec<Spool<2, 3>>, out: &mut impl Write) -> Result<u64> {
    let mut parts: Vec<_> = parts.into_iter().map(Spool::into_records).collect();
    let mut next = BinaryHeap::new();
    for (at, records) in parts.iter_mut().enumerate() {
        next.extend(records.next()?.map(|numbers| Reverse((numbers, at))));
    }
    let (mut corrections, mut totals) = (BTreeMap::<u64, RunCorrection>::new(), LineBuffer::new());
    let mut requests = 0;
    while let Some(Reverse(([_, run], at))) = next.pop() {
        let Some(records) = parts.get_mut(at) else { continue };
        let [step, before, after] = &records.texts;
        if step.is_empty() {
            // A row that is kept.
            out.write_all(before)?;
            next.extend(records.next()?.map(|numbers| Reverse((numbers, at))));
            continue;
        }
        let step = Step::unpack(step).ok_or_else(garbled)?;
        totals.clear();
        write_summary(&mut totals, &corrections.entry(run).or_default().apply(step));
        [before, totals.line(), after].into_iter().try_for_each(|text| out.write_all(text))?;
        next.extend(records.next()?.map(|numbers| Reverse((numbers, at))));
        requests += 1;
    }
    Ok(requests)
}

pub(super) fn garbled() -> Failure {
    Failure::Io("a temporary file was changed meanwhile".to_owned())
}
