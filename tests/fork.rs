//! Processes that are forked while lines wait, and run no other program.
#![cfg(unix)]
#![allow(unsafe_code, reason = "only `fork` has the effects that are tested")]

#[path = "support/service.rs"]
mod service;

use std::{
    env,
    fs::{self, File},
    io::{self, BufRead, BufReader, Read, Write},
    process::{self, Command, Stdio},
    ptr,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

use omni_metrics::OmniMetricsLayer;
use service::{Parts, path};
use tracing::info_span;
use tracing_subscriber::prelude::*;

const INSIDE: &str = "OMNI_METRICS_INSIDE";
/// How many lines the parent makes, and the forked process. The parent's are more than a pipe holds.
const LINES: u64 = 300;
const OWN_LINES: u64 = 5;

fn request(id: u64) {
    drop(info_span!("request", request_id = id, note = "x".repeat(800)));
}

/// Runs `run` in a forked process, and `meanwhile` in this one until that has ended well.
fn fork(run: impl FnOnce() -> bool, meanwhile: impl FnOnce()) {
    // SAFETY: all other threads of the process wait: libtest's for this one, the layer's for its writer.
    let process = unsafe { libc::fork() };
    if process == 0 {
        process::exit(i32::from(!run()));
    }
    meanwhile();
    let mut status = -1;
    // SAFETY: the pointer is to an integer that lives until the call returns.
    assert_eq!(unsafe { libc::waitpid(process, ptr::from_mut(&mut status), 0) }, process);
    assert_eq!(status, 0);
}

const STDERR: &str = "a_process_that_is_forked_while_lines_wait_for_stderr_writes_its_own_and_no_line_twice";

fn fork_while_lines_wait_for_stderr() {
    let layer = OmniMetricsLayer::new();
    let handle = layer.handle();
    tracing_subscriber::registry().with(layer).init();
    let counted = || handle.snapshot().lines_written + handle.snapshot().lines_lost;
    (0..LINES).for_each(request);
    let before = counted();
    assert!(before < LINES);
    let in_fork = || {
        (LINES..LINES + OWN_LINES).for_each(request);
        while counted() < before + OWN_LINES {
            thread::yield_now();
        }
        true
    };
    fork(in_fork, || println!("\nforked"));
    while counted() < LINES {
        thread::yield_now();
    }
    assert_eq!(handle.snapshot().lines_lost, 0);
    process::exit(0);
}

#[test]
fn a_process_that_is_forked_while_lines_wait_for_stderr_writes_its_own_and_no_line_twice() {
    if env::var(INSIDE).as_deref() == Ok(STDERR) {
        fork_while_lines_wait_for_stderr();
    }
    let (mut pipe, stderr) = io::pipe().unwrap();
    let mut command = Command::new(env::current_exe().unwrap());
    command.args([STDERR, "--exact", "--nocapture", "--test-threads=1"]).env(INSIDE, STDERR);
    command.stdout(Stdio::piped()).stderr(stderr);
    let mut process = command.spawn().unwrap();
    drop(command);
    let mut stdout = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(stdout.any(|line| line == "forked"));
    let mut text = Vec::new();
    pipe.read_to_end(&mut text).unwrap();
    assert!(process.wait().unwrap().success());
    let mut parts = Parts::of(&text);
    parts.ids.sort_unstable();
    assert_eq!(parts.ids, (0..LINES + OWN_LINES).collect::<Vec<_>>());
    assert!(parts.broken.is_empty(), "{:?}", parts.broken);
}

/// A file whose writes wait until they may go on.
#[derive(Clone)]
struct Gated {
    file: Arc<File>,
    has_started: mpsc::Sender<()>,
    may_go_on: Arc<Mutex<mpsc::Receiver<()>>>,
}

impl Write for Gated {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.has_started.send(());
        // Fails when all writes may go on.
        let _ = self.may_go_on.lock().unwrap_or_else(PoisonError::into_inner).recv();
        (&*self.file).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const QUEUE: &str =
    "a_process_that_is_forked_while_lines_wait_in_a_queue_loses_its_own_and_writes_no_line_twice";

fn fork_while_lines_wait_in_a_queue() {
    let log = path("forked");
    let (has_started, started) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel();
    let file = Arc::new(File::options().create(true).append(true).open(&log).unwrap());
    let writer = Gated { file, has_started, may_go_on: Arc::new(Mutex::new(may_go_on)) };
    let (layer, guard) = OmniMetricsLayer::new().with_queued_writer(move || writer.clone(), 1 << 20);
    let handle = layer.handle();
    tracing_subscriber::registry().with(layer).init();
    (0..LINES).for_each(request);
    started.recv().unwrap();
    let guard = Mutex::new(Some(guard));
    let in_fork = || {
        (LINES..LINES + OWN_LINES).for_each(request);
        let lost = guard.lock().unwrap().take().unwrap().close(Duration::ZERO);
        // Among them are the parent's lines, of which it has a copy.
        lost == LINES + OWN_LINES && handle.snapshot().lines_lost == lost
    };
    fork(in_fork, || {});
    drop(go_on);
    drop(guard);
    assert_eq!((handle.snapshot().lines_written, handle.snapshot().lines_lost), (LINES, 0));
    let parts = Parts::of(&fs::read(&log).unwrap());
    assert_eq!((parts.ids, parts.broken), ((0..LINES).collect::<Vec<_>>(), Vec::new()));
    fs::remove_file(log).unwrap();
    process::exit(0);
}

#[test]
fn a_process_that_is_forked_while_lines_wait_in_a_queue_loses_its_own_and_writes_no_line_twice() {
    if env::var(INSIDE).as_deref() == Ok(QUEUE) {
        fork_while_lines_wait_in_a_queue();
    }
    let mut command = Command::new(env::current_exe().unwrap());
    command.args([QUEUE, "--exact", "--nocapture", "--test-threads=1"]).env(INSIDE, QUEUE);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
