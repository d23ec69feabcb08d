//! Drives many threads and tasks of mixed traffic and faults through the layer, and at the end
//! proves from its own log that nothing was lost, doubled or kept.
//!
//! `cargo run --release --example soak -- --seconds 600`

#![allow(clippy::print_stdout, reason = "it reports on stdout")]

mod ledger;
mod log;
mod traffic;

use std::{
    collections::BTreeMap,
    fs,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use clap::Parser;
use omni_metrics::{OmniMetricsHandle, OmniMetricsLayer, Snapshot};
use tracing_subscriber::prelude::*;

use crate::{ledger::Ledger, log::SegmentedLog, traffic::Traffic};

/// How much more memory than after the warm-up is taken for noise, in MiB: eight histograms of 4 MiB each, of the run
/// that ends and of the one that begins.
const MEMORY_NOISE_MIB: f64 = 64.0;

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

fn main() -> ExitCode {
    let args = Args::parse();
    let (log, checker) = match SegmentedLog::start(args.queued) {
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
    let (layer, queue) = if args.queued {
        let (layer, guard) = OmniMetricsLayer::new().with_queued_writer(make_writer, QUEUE);
        (layer, Some(guard))
    } else {
        (OmniMetricsLayer::new().with_writer(make_writer), None)
    };
    let handle = layer.handle();
    tracing_subscriber::registry().with(layer).init();

    let running = Arc::new(AtomicBool::new(true));
    let traffic = Traffic::start(args.threads, Arc::clone(&running));
    let taker = {
        let (handle, running) = (handle.clone(), Arc::clone(&running));
        thread::spawn(move || take(&handle, &running, Duration::from_millis(args.take_every)))
    };
    let memory = watch(Duration::from_secs(args.seconds), &handle, &log);
    running.store(false, Ordering::Relaxed);
    let counts = traffic.join();
    let Ok(mut runs) = taker.join() else {
        println!("the thread that begins new runs panicked");
        return ExitCode::FAILURE;
    };
    runs.add(&handle.take());
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

/// All runs so far.
#[derive(Debug, Default)]
struct Runs {
    requests: u64,
    /// How many runs had so many requests.
    sizes: BTreeMap<u64, u64>,
    /// How many runs had other totals than percentiles.
    torn: u64,
}

impl Runs {
    fn add(&mut self, run: &Snapshot) {
        let requests = run.overall_summary.e2e_requests;
        let distributed = run.percentiles.e2e_total_ms.map_or(0, |distribution| distribution.count);
        self.requests += requests;
        *self.sizes.entry(requests).or_default() += 1;
        self.torn += u64::from(requests != distributed);
    }

    /// Whether as many lines had each number as there were runs of so many requests and more, but for those
    /// that were lost.
    fn agree_with(&self, numbers: &BTreeMap<u64, u64>, mut lost: u64) -> bool {
        let last = self.sizes.last_key_value().map_or(0, |(size, _)| *size);
        let none_is_too_large = numbers.range(last + 1..).next().is_none();
        none_is_too_large
            && (1..=last).all(|number| {
                let runs: u64 = self.sizes.range(number..).map(|(_, runs)| runs).sum();
                let missing = runs.checked_sub(numbers.get(&number).copied().unwrap_or(0));
                missing.and_then(|missing| lost.checked_sub(missing)).is_some_and(|rest| {
                    lost = rest;
                    true
                })
            })
    }
}

/// Begins a new run again and again.
fn take(handle: &OmniMetricsHandle, running: &AtomicBool, every: Duration) -> Runs {
    let mut runs = Runs::default();
    while running.load(Ordering::Relaxed) {
        thread::sleep(every);
        runs.add(&handle.take());
    }
    runs
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
    let requests = counts.requests;
    let lines = requests + counts.detached;
    // Dropped by the queue, so that the ledger never saw them.
    let dropped = snapshot.lines_lost.saturating_sub(ledger.refused);
    let missing_requests = ledger.ids.missing(requests);
    let missing_detached = counts.detached.saturating_sub(ledger.detached);
    let warm = memory.get(memory.len() / 4).copied().unwrap_or_default();
    let last = memory.iter().skip(memory.len() * 3 / 4).copied().fold(0.0, f64::max);
    let checks = [
        ("every request was counted in exactly one run", runs.requests == requests),
        ("the totals of every run agree with its percentiles", runs.torn == 0),
        ("every line was written, refused by the writer, or counted as dropped", {
            missing_requests + missing_detached == dropped
        }),
        ("in every run, e2e_requests took every value once", {
            runs.agree_with(&ledger.numbers, missing_requests)
        }),
        ("every line parsed and kept the invariants", ledger.faults.is_empty()),
        ("the handle counted every line", snapshot.lines_lost + snapshot.lines_written == lines),
        ("and every written one as such", snapshot.lines_written == ledger.written),
        ("nothing is open", snapshot.open_requests == 0),
        ("memory stayed flat", last <= warm + MEMORY_NOISE_MIB),
    ];
    println!(
        "{requests} requests in {} runs, {} of them held, {} lines written, {} refused, {dropped} dropped, {} detached; {warm:.1} MiB after the warm-up, \
         at most {last:.1} MiB in the last quarter",
        runs.sizes.values().sum::<u64>(),
        counts.held,
        ledger.written,
        ledger.refused,
        ledger.detached
    );
    for fault in &ledger.faults {
        println!("fault: {fault}");
    }
    for (what, holds) in checks {
        println!("{} {what}", if holds { "ok    " } else { "FAILED" });
    }
    if checks.iter().all(|(_, holds)| *holds) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
