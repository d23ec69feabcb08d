//! The end of a service that is told to stop while its queue is full, and of one that is killed under load.
#![cfg(unix)]

#[path = "support/service.rs"]
mod service;

use std::{
    env,
    fs::{self, File},
    io::{self, BufRead, BufReader, Read, Write},
    process::{Command, Stdio},
    sync::atomic::AtomicU64,
    thread,
    time::Duration,
};

use omni_metrics::OmniMetricsLayer;
use service::{Counts, Parts, Service, Sink, layer, path, request, tell_counts};
use signal_hook::{consts::SIGTERM, iterator::Signals};
use tracing_subscriber::prelude::*;

const INSIDE: &str = "OMNI_METRICS_INSIDE";

/// A file on a disk that needs 200 ms for a write.
struct SlowFile(File);

impl Write for SlowFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        thread::sleep(Duration::from_millis(200));
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

const TERMINATED: &str = "a_service_that_is_told_to_stop_writes_what_fits_its_deadline_and_counts_the_rest";
const REQUESTS: u64 = 500;

/// Fills its queue, waits for SIGTERM, and stops within a second.
fn be_terminated() {
    let mut signals = Signals::new([SIGTERM]).unwrap();
    let log = File::create(env::var("OMNI_METRICS_LOG").unwrap()).unwrap();
    let open = move || SlowFile(log.try_clone().unwrap());
    let (layer, queue) = OmniMetricsLayer::new().with_queued_writer(open, 64 * 1024);
    let handle = layer.handle();
    let summary = handle.summary_guard();
    tracing_subscriber::registry().with(layer).init();
    let made = AtomicU64::new(0);
    (0..REQUESTS).for_each(|_| request(&made, 1_000));
    while handle.snapshot().lines_written == 0 {
        thread::yield_now();
    }
    println!("\nready");
    assert_eq!(signals.forever().next(), Some(SIGTERM));
    drop(summary);
    assert!(queue.close(Duration::from_secs(1)) > 0);
    // The log has lost lines, so the counts go to another place.
    tell_counts(&made, &handle);
}

#[test]
fn a_service_that_is_told_to_stop_writes_what_fits_its_deadline_and_counts_the_rest() {
    if env::var(INSIDE).as_deref() == Ok(TERMINATED) {
        return be_terminated();
    }
    let log = path("terminated");
    let mut process = Command::new(env::current_exe().unwrap())
        .args([TERMINATED, "--exact", "--nocapture", "--test-threads=1"])
        .env(INSIDE, TERMINATED)
        .env("OMNI_METRICS_LOG", &log)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut answers = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(answers.any(|line| line == "ready"));
    assert!(Command::new("kill").arg(process.id().to_string()).status().unwrap().success());
    let counts = answers.find_map(|line| Counts::parse(&line)).unwrap();
    assert!(process.wait().unwrap().success());
    // The summary is a line as well.
    assert_eq!(counts.written + counts.lost, REQUESTS + 1, "{counts:?}");
    assert!(counts.written > 0, "{counts:?}");
    let parts = Parts::of(&fs::read(&log).unwrap());
    // The line that the writer had at the deadline counts as lost, and may have been written after that.
    assert!((counts.written..=counts.written + 1).contains(&parts.whole()), "{counts:?}, {parts:?}");
    assert!(parts.broken.is_empty(), "{:?}", parts.broken);
    fs::remove_file(log).unwrap();
}

/// Makes requests on four threads, and tells its counts, until it is killed.
fn be_killed() {
    let (layer, _guard) = layer();
    let handle = layer.handle();
    tracing_subscriber::registry().with(layer).init();
    let made = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    request(&made, 1_000);
                }
            });
        }
        loop {
            tell_counts(&made, &handle);
        }
    });
}

/// Kills a service under load. Returns the lines that it had counted as written.
fn killed_under_load(test: &str, sink: Sink<'_>, prepare: impl FnOnce(&mut Command)) -> u64 {
    let mut service = Service::start(test, sink, prepare);
    let mut counts = service.answer();
    while counts.written < 2_000 {
        counts = service.answer();
    }
    service.kill().unwrap_or(counts).written
}

/// All lines that counted as written are there and whole; at most the last line is cut.
fn assert_whole(text: &[u8], written: u64) {
    let mut parts = Parts::of(text);
    assert!(parts.whole() >= written, "{} of {written}", parts.whole());
    assert!(parts.broken.len() <= usize::from(!text.ends_with(b"\n")), "{:?}", parts.broken);
    parts.ids.sort_unstable();
    let lines = parts.ids.len();
    parts.ids.dedup();
    assert_eq!(parts.ids.len(), lines, "no line is written twice");
}

const KILLED: &str = "lines_that_counted_as_written_are_whole_in_the_file_of_a_service_that_is_killed";

#[test]
fn lines_that_counted_as_written_are_whole_in_the_file_of_a_service_that_is_killed() {
    if env::var(INSIDE).as_deref() == Ok(KILLED) {
        return be_killed();
    }
    let log = path("killed");
    for sink in [Sink::File(&log), Sink::Queued(&log), Sink::Stderr] {
        let written = killed_under_load(KILLED, sink, |command| {
            command.stderr(File::options().create(true).append(true).open(&log).unwrap());
        });
        assert_whole(&fs::read(&log).unwrap(), written);
        fs::remove_file(&log).unwrap();
    }
}

const KILLED_WRITER: &str = "lines_that_counted_as_written_come_out_of_the_pipe_of_a_service_that_is_killed";

#[test]
fn lines_that_counted_as_written_come_out_of_the_pipe_of_a_service_that_is_killed() {
    if env::var(INSIDE).as_deref() == Ok(KILLED_WRITER) {
        return be_killed();
    }
    let (mut pipe, stderr) = io::pipe().unwrap();
    let reader = thread::spawn(move || {
        let mut text = Vec::new();
        pipe.read_to_end(&mut text).unwrap();
        text
    });
    let written = killed_under_load(KILLED_WRITER, Sink::Stderr, |command| {
        command.stderr(stderr);
    });
    assert_whole(&reader.join().unwrap(), written);
}
