//! Drives many threads and tasks of mixed traffic and faults through the layer, and at the end
//! proves from its own log that nothing was lost, doubled or kept.
//!
//! `cargo run --release --example soak -- --seconds 600`

#![allow(clippy::print_stdout, reason = "it reports on stdout")]

mod ledger;
mod log;
mod traffic;

use std::{
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
use omni_metrics::{OmniMetricsHandle, OmniMetricsLayer};
use tracing_subscriber::prelude::*;

use crate::{ledger::Ledger, log::SegmentedLog, traffic::Traffic};

/// How much more memory than after the warm-up is taken for noise of the allocator, in MiB.
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
}

fn main() -> ExitCode {
    let args = Args::parse();
    let (log, checker) = match SegmentedLog::start() {
        Ok(started) => started,
        Err(error) => {
            println!("cannot open a log in the directory for temporary files: {error}");
            return ExitCode::FAILURE;
        }
    };
    let layer = OmniMetricsLayer::new().with_writer({
        let log = log.clone();
        move || log.clone()
    });
    let handle = layer.handle();
    tracing_subscriber::registry().with(layer).init();

    let running = Arc::new(AtomicBool::new(true));
    let traffic = Traffic::start(args.threads, Arc::clone(&running));
    let memory = watch(Duration::from_secs(args.seconds), &handle, &log);
    running.store(false, Ordering::Relaxed);
    let counts = traffic.join();
    log.finish();
    let ledger = match checker.join() {
        Ok(ledger) => ledger,
        Err(_) => {
            println!("the checker panicked");
            return ExitCode::FAILURE;
        }
    };
    report(&ledger, &counts, &handle, &memory)
}

/// Prints a line a second. Returns the memory, in MiB, at each of them.
fn watch(time: Duration, handle: &OmniMetricsHandle, log: &SegmentedLog) -> Vec<f64> {
    let started = Instant::now();
    let mut memory = Vec::with_capacity(time.as_secs() as usize + 1);
    let mut before = 0;
    while started.elapsed() < time {
        thread::sleep(Duration::from_secs(1));
        let snapshot = handle.snapshot();
        let requests = snapshot.overall_summary.e2e_requests;
        memory.push(resident_mib());
        println!(
            "{:5.0} s  {:7} requests/s  {:6.1} MiB  {:4} open  {:6} lost  {:8} warnings  {:5} refused",
            started.elapsed().as_secs_f64(),
            requests - before,
            memory.last().copied().unwrap_or_default(),
            snapshot.open_requests,
            snapshot.lines_lost,
            snapshot.warnings,
            log.refused(),
        );
        before = requests;
    }
    memory
}

/// Resident memory. Zero where the system has no `/proc`; the check of memory then says nothing.
fn resident_mib() -> f64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: f64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or_default();
    pages * 4096.0 / (1 << 20) as f64
}

fn report(ledger: &Ledger, counts: &traffic::Counts, handle: &OmniMetricsHandle, memory: &[f64]) -> ExitCode {
    let snapshot = handle.snapshot();
    let requests = counts.requests;
    let warm = memory.get(memory.len() / 4).copied().unwrap_or_default();
    let last = memory.iter().skip(memory.len() * 3 / 4).copied().fold(0.0, f64::max);
    let checks = [
        ("every request was counted", snapshot.overall_summary.e2e_requests == requests),
        ("every request has one line, written or refused by the writer", ledger.ids.is_complete(requests)),
        ("e2e_requests took every value once", ledger.numbers.is_complete(requests)),
        ("every detached row is there", ledger.detached == counts.detached),
        ("every line parsed and kept the invariants", ledger.faults.is_empty()),
        ("the handle counted every refused line", snapshot.lines_lost == ledger.refused),
        ("and every written one", snapshot.lines_written == ledger.written),
        ("nothing is open", snapshot.open_requests == 0),
        ("memory stayed flat", last <= warm + MEMORY_NOISE_MIB),
    ];
    println!(
        "{requests} requests, {} lines written, {} refused, {} detached; {warm:.1} MiB after the warm-up, \
         at most {last:.1} MiB in the last quarter",
        ledger.written, ledger.refused, ledger.detached
    );
    for fault in &ledger.faults {
        println!("fault: {fault}");
    }
    for (what, holds) in checks {
        println!("{} {what}", if holds { "ok    " } else { "FAILED" });
    }
    if checks.iter().all(|(_, holds)| *holds) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
