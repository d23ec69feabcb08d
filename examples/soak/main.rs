//! Drives many threads and tasks of mixed traffic and faults through the layer, and at the end
//! proves from its own log that nothing was lost, doubled or kept.
//!
//! `cargo run --release --example soak -- --seconds 600`

#![allow(clippy::print_stdout, reason = "it reports on stdout")]

mod hanging;
mod kept;
mod ledger;
mod log;
mod reports;
mod runs;
mod traffic;

use std::{
    fs,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use clap::Parser;
use omni_metrics::{OmniMetricsHandle, OmniMetricsLayer};
use tracing_subscriber::prelude::*;

use crate::{ledger::Ledger, log::SegmentedLog, runs::Runs, traffic::Traffic};

/// How much more memory than after the warm-up is taken for noise, in MiB: mostly pages of histograms, which are
/// touched when the first value falls into one of their buckets.
const MEMORY_NOISE_MIB: f64 = 8.0;

/// Runs mixed traffic and faults, and checks every line of the log.
#[derive(Debug, Parser)]
struct Args {
    /// How long to run
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Threads of synchronous traffic, beside two for tasks
    #[arg(long, value_name = "N", default_value_t = 4)]
    threads: usize,
    /// Put a queue in front of the log, which then stalls now and then, so that lines are dropped
    #[arg(long)]
    queued: bool,
    /// How often to begin a new run, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 5)]
    take_every: u64,
}

/// How much may wait in the queue, in bytes.
const QUEUE: usize = 1 << 20;
/// How long to wait for a line that must come, on a machine that may be busy.
const PATIENCE: Duration = Duration::from_secs(60);
/// The same for one that the queue may have dropped.
const PATIENCE_QUEUED: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let args = Args::parse();
    let (open, reported) = mpsc::channel();
    let (log, checker) = match SegmentedLog::start(args.queued, open) {
        Ok(started) => started,
        Err(error) => {
            println!("cannot open a log in the directory for temporary files: {error}");
            return ExitCode::FAILURE;
        }
    };
    let make_writer = {
        let log = log.clone();
        move || log.clone()
    };
    let layer = OmniMetricsLayer::new().with_keep(kept::keep());
    let (layer, queue) = if args.queued {
        let (layer, guard) = layer.with_queued_writer(make_writer, QUEUE);
        (layer, Some(guard))
    } else {
        (layer.with_writer(make_writer), None)
    };
    let handle = layer.handle();
    tracing_subscriber::registry().with(layer).init();

    let reports = handle.report_every(reports::INTERVAL, reports::OLD);

    let running = Arc::new(AtomicBool::new(true));
    let patience = if args.queued { PATIENCE_QUEUED } else { PATIENCE };
    let traffic = Traffic::start(args.threads, Arc::clone(&running), reported, patience);
    let taker = {
        let (handle, running) = (handle.clone(), Arc::clone(&running));
        thread::spawn(move || runs::take(&handle, &running, Duration::from_millis(args.take_every)))
    };
    let memory = watch(Duration::from_secs(args.seconds), &handle, &log);
    running.store(false, Ordering::Relaxed);
    let (Some(counts), Ok(mut runs)) = (traffic.join(), taker.join()) else {
        println!("the thread of requests that hang, or the one that begins new runs, panicked");
        return ExitCode::FAILURE;
    };
    runs.add(&handle.take());
    await_report(&log);
    drop(reports);
    drop(queue);
    log.finish();
    let ledger = match checker.join() {
        Ok(ledger) => ledger,
        Err(_) => {
            println!("the checker panicked");
            return ExitCode::FAILURE;
        }
    };
    report(&ledger, &counts, &runs, &handle, &memory)
}

/// Waits until a report that began after all requests had closed has reached the log: one may have been under
/// way. If none comes, the windows lack requests, which is checked.
fn await_report(log: &SegmentedLog) {
    let (before, since) = (log.reports(), Instant::now());
    while log.reports() < before + 2 && since.elapsed() < PATIENCE {
        thread::sleep(reports::INTERVAL);
    }
}

/// Prints a line a second. Returns the memory, in MiB, at each of them.
fn watch(time: Duration, handle: &OmniMetricsHandle, log: &SegmentedLog) -> Vec<f64> {
    let started = Instant::now();
    let mut memory = Vec::with_capacity(time.as_secs() as usize + 1);
    while started.elapsed() < time {
        thread::sleep(Duration::from_secs(1));
        let snapshot = handle.snapshot();
        memory.push(resident_mib());
        println!(
            "{:5.0} s  {:9} lines  {:6.1} MiB  {:4} open  {:6} lost  {:8} warnings  {:5} refused",
            started.elapsed().as_secs_f64(),
            snapshot.lines_written,
            memory.last().copied().unwrap_or_default(),
            snapshot.open_requests,
            snapshot.lines_lost,
            snapshot.warnings,
            log.refused(),
        );
    }
    memory
}

/// Resident memory. Zero where the system has no `/proc`; the check of memory then says nothing.
fn resident_mib() -> f64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: f64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or_default();
    pages * 4096.0 / (1 << 20) as f64
}

fn report(
    ledger: &Ledger,
    counts: &traffic::Counts,
    runs: &Runs,
    handle: &OmniMetricsHandle,
    memory: &[f64],
) -> ExitCode {
    let snapshot = handle.snapshot();
    let hung = &counts.hung;
    let requests = counts.requests + hung.requests;
    let reports = &ledger.reports;
    // Dropped by the queue, so that the ledger never saw them.
    let dropped = snapshot.lines_lost.saturating_sub(ledger.refused);
    let missing_requests = ledger.ids.missing(counts.requests) + ledger.hung.missing(hung.requests);
    let missing = missing_requests + counts.detached.saturating_sub(ledger.detached);
    // Lines of reports are numbered nowhere, so those that were dropped are the rest.
    let missing_reports = (snapshot.lines_left_out + dropped).checked_sub(missing);
    let is_sampled = |id: &String| kept::is_sampled(id);
    let sampled = (1..=counts.requests).map(|id| id.to_string()).filter(is_sampled).count()
        + (1..=hung.requests).map(hanging::id).filter(is_sampled).count()
        + (1..=counts.detached).map(|id| format!("far-{id}")).filter(is_sampled).count();
    let missing_sampled = (sampled as u64).checked_sub(ledger.sampled);
    let warm = memory.get(memory.len() / 4).copied().unwrap_or_default();
    let last = memory.iter().skip(memory.len() * 3 / 4).copied().fold(0.0, f64::max);
    let checks = [
        ("every request was counted in exactly one run", runs.requests == requests),
        ("the totals of every run agree with its percentiles", runs.torn == 0),
        ("every line was written, refused by the writer, left out, or counted as dropped", {
            missing_reports.is_some_and(|lines| lines <= dropped)
        }),
        ("every request and row that the hash chooses has a line", {
            missing_sampled.is_some_and(|lines| lines <= dropped)
        }),
        ("in every run, no value of e2e_requests occurred twice", {
            runs.agree_with(&ledger.numbers, missing_requests)
        }),
        ("every line parsed and kept the invariants", ledger.faults.is_empty()),
        ("the handle counted every written line as such", snapshot.lines_written == ledger.written),
        ("the windows of the reports have every request once, but for reports that were dropped", {
            let are_dropped = dropped > 0 && reports.have_gap() && reports.requests < requests;
            reports.requests == requests || are_dropped
        }),
        ("requests that hung were named or counted by a report, while they were open", {
            let may_be_unreported = dropped + reports.unnamed;
            hung.requests > 0 && hung.unreported <= may_be_unreported && hung.faults.is_empty()
        }),
        ("open requests were listed by age", runs.disordered == 0),
        ("open requests were found by their ids", runs.asked > 0 && runs.mistaken == 0),
        ("nothing is open", snapshot.open_requests == 0),
        ("memory stayed flat", last <= warm + MEMORY_NOISE_MIB),
    ];
    println!(
        "{requests} requests in {} runs, {} of them held, {} lines written, {} refused, {dropped} dropped, {} left out, \
         {} detached; {} reports with {} open lines, {} too many to be named, {} requests hung, {} of them unreported; \
         {warm:.1} MiB after the warm-up, at most {last:.1} MiB in the last quarter",
        runs.count(),
        counts.held,
        ledger.written,
        ledger.refused,
        snapshot.lines_left_out,
        ledger.detached,
        reports.lines - reports.open_lines,
        reports.open_lines,
        reports.unnamed,
        hung.requests,
        hung.unreported,
    );
    for fault in ledger.faults.iter().chain(&hung.faults) {
        println!("fault: {fault}");
    }
    for (what, holds) in checks {
        println!("{} {what}", if holds { "ok    " } else { "FAILED" });
    }
    if checks.iter().all(|(_, holds)| *holds) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
