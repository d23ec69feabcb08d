//! How much processor time a line costs, by where it goes, and so how many lines a core writes in a second.
//! `cargo bench --bench planning`; `.ci/planning` makes the tables of docs/scale.md from it.
//!
//! Each run is a process of its own, and the set-ups take turns, so that a busy machine disturbs all of them.
//! Processor time is that of the whole process: of the threads that make requests, and of a queue's thread.
#![allow(clippy::print_stdout, reason = "it reports on stdout")]

#[allow(dead_code, reason = "nothing here is written by hand")]
mod workload;

use std::{
    env,
    fs::{self, File},
    io::{self, Write},
    ops::Range,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use omni_metrics::{Keep, OmniMetricsHandle, OmniMetricsLayer, QueueGuard};
use tracing::Subscriber;
use tracing_subscriber::{Layer, prelude::*};

/// Each name, and how many threads make requests.
const SET_UPS: [(&str, u64); 9] = [
    ("no layer", 1),
    ("null writer", 1),
    ("file", 1),
    ("queue, in bursts", 1),
    ("queue, one by one", 1),
    ("left out", 1),
    ("one in 100, file", 1),
    ("file", 2),
    ("left out", 2),
];
const ROUNDS: usize = 7;
/// Requests of one run, over all threads; those that are waited for one by one are fewer.
const REQUESTS: u64 = 100_000;
const REQUESTS_ONE_BY_ONE: u64 = 20_000;
/// How many lines are put into the queue before it is waited for.
const BURST: u64 = 64;
/// Nothing is lost: so much is never in the queue.
const QUEUE: usize = 64 << 20;
const POLL: Duration = Duration::from_micros(20);

/// What one run measured.
struct Run {
    cpu_us: f64,
    wall_us: f64,
    bytes: f64,
}

/// A layer that does nothing, and so enables the spans.
struct Noop;

impl<S: Subscriber> Layer<S> for Noop {}

fn main() -> io::Result<()> {
    let option = |name: &str| env::args().skip_while(|argument| argument != name).nth(1);
    match option("--set-up") {
        Some(name) => run(&name, option("--threads").and_then(|count| count.parse().ok()).unwrap_or(1)),
        None => compare(option("--rounds").and_then(|count| count.parse().ok()).unwrap_or(ROUNDS)),
    }
}

/// Runs every set-up in turn, and prints a row for each.
fn compare(rounds: usize) -> io::Result<()> {
    let mut runs: Vec<Vec<Run>> = SET_UPS.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for ((name, threads), runs) in SET_UPS.iter().zip(&mut runs) {
            let output = Command::new(env::current_exe()?)
                .args(["--set-up", name, "--threads", &threads.to_string()])
                .output()?;
            let text = String::from_utf8_lossy(&output.stdout);
            let mut figures = text.split_whitespace().filter_map(|figure| figure.parse().ok());
            match (figures.next(), figures.next(), figures.next()) {
                (Some(cpu_us), Some(wall_us), Some(bytes)) => runs.push(Run { cpu_us, wall_us, bytes }),
                _ => return Err(io::Error::other(format!("{name}: {output:?}"))),
            }
        }
    }
    println!(
        "| set-up | threads | µs of a core, a request | requests a second, a core | µs of wall clock | bytes |"
    );
    println!("|---|---|---|---|---|---|");
    for ((name, threads), runs) in SET_UPS.iter().zip(&runs) {
        let (cpu, spread) = median(runs, |run| run.cpu_us);
        let (wall, wall_spread) = median(runs, |run| run.wall_us);
        let (bytes, _) = median(runs, |run| run.bytes);
        println!(
            "| {name} | {threads} | {cpu:.2} ± {spread:.2} | {:.0} | {wall:.2} ± {wall_spread:.2} | {bytes:.0} |",
            1e6 / cpu
        );
    }
    Ok(())
}

/// The median, and half the distance between the quartiles.
fn median(runs: &[Run], figure: impl Fn(&Run) -> f64) -> (f64, f64) {
    let mut values: Vec<_> = runs.iter().map(figure).collect();
    values.sort_by(f64::total_cmp);
    let at = |quarters: usize| values.get((values.len() - 1) * quarters / 4).copied().unwrap_or_default();
    (at(2), (at(3) - at(1)) / 2.0)
}

/// Makes all requests, and prints what each of them took and wrote.
fn run(name: &str, threads: u64) -> io::Result<()> {
    let log = Log::create()?;
    let set_up = install(name, &log);
    let burst = match name {
        "queue, in bursts" => Some(BURST),
        "queue, one by one" => Some(1),
        _ => None,
    };
    requests(0..REQUESTS / 100, burst, &log);
    let (written, cpu, since) = (log.0.bytes.load(Ordering::Relaxed), cpu_us(), Instant::now());
    let each = if burst == Some(1) { REQUESTS_ONE_BY_ONE } else { REQUESTS / threads };
    thread::scope(|scope| {
        for thread in 1..=threads {
            let log = &log;
            scope.spawn(move || requests(thread * REQUESTS..thread * REQUESTS + each, burst, log));
        }
    });
    let (wall, cpu) = (since.elapsed().as_secs_f64() * 1e6, cpu_us() - cpu);
    let written = log.0.bytes.load(Ordering::Relaxed) - written;
    let requests = (each * threads) as f64;
    println!("{} {} {}", cpu / requests, wall / requests, written as f64 / requests);
    let lost = set_up.map_or(0, |(handle, _)| handle.snapshot().lines_lost);
    if lost == 0 { Ok(()) } else { Err(io::Error::other(format!("{lost} lines were lost"))) }
}

/// Makes requests. With `burst`, waits for the queue after so many of them, and at the end.
fn requests(ids: Range<u64>, burst: Option<u64>, log: &Log) {
    let (before, last) = (log.0.lines.load(Ordering::Relaxed), ids.end - ids.start);
    for (made, id) in (1_u64..).zip(ids) {
        workload::spans(&format!("req-{id:08}"));
        if burst.is_some_and(|burst| made.is_multiple_of(burst) || made == last) {
            while log.0.lines.load(Ordering::Relaxed) < before + made {
                thread::sleep(POLL);
            }
        }
    }
}

fn install(name: &str, log: &Log) -> Option<(OmniMetricsHandle, Option<QueueGuard>)> {
    let layer = OmniMetricsLayer::new();
    // Chooses none of these requests for anything but their hash, after all questions have been asked.
    let keep = |n| Keep::one_in(n).failed().slower_than(Duration::from_secs(1));
    let (layer, guard) = match name {
        "no layer" => {
            tracing_subscriber::registry().with(Noop).init();
            return None;
        }
        "null writer" => (layer.with_writer(io::sink), None),
        "left out" => (layer.with_writer(io::sink).with_keep(keep(u32::MAX)), None),
        "one in 100, file" => (layer.with_writer(Arc::clone(&log.0)).with_keep(keep(100)), None),
        "file" => (layer.with_writer(Arc::clone(&log.0)), None),
        _ => {
            let (layer, guard) = layer.with_queued_writer(Arc::clone(&log.0), QUEUE);
            (layer, Some(guard))
        }
    };
    let handle = layer.handle();
    tracing_subscriber::registry().with(layer).init();
    Some((handle, guard))
}

/// A file that is removed at the end.
struct Log(Arc<Counting>);

struct Counting {
    file: File,
    path: PathBuf,
    lines: AtomicU64,
    bytes: AtomicU64,
}

impl Log {
    fn create() -> io::Result<Self> {
        let path = env::temp_dir().join(format!("omni-planning-{}.jsonl", process::id()));
        let file = File::create(&path)?;
        Ok(Self(Arc::new(Counting { file, path, lines: AtomicU64::new(0), bytes: AtomicU64::new(0) })))
    }

    fn path(&self) -> &Path {
        &self.0.path
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // It is only litter.
        let _ = fs::remove_file(self.path());
    }
}

impl Write for &Counting {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let written = (&self.file).write(line)?;
        self.bytes.fetch_add(written as u64, Ordering::Relaxed);
        self.lines.fetch_add(1, Ordering::Relaxed);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Processor time of the process so far, in the ticks of `/proc`, which are 10 ms.
fn cpu_us() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    let ticks: f64 = fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    ticks * 1e4
}
