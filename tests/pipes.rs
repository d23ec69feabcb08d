//! A reader of stderr's pipe that stops, is killed and comes back.
#![cfg(target_os = "linux")]

#[path = "support/service.rs"]
mod service;

use std::{
    env,
    fs::{self, File},
    io::{self, Read},
    os::{fd::AsRawFd, unix::fs::OpenOptionsExt},
    path::{Path, PathBuf},
    process::{self, Child, Command},
    sync::atomic::AtomicU64,
    thread,
    time::Duration,
};

use service::{Counts, Parts, Service, Sink, is_service, path};
use tracing::info_span;
use tracing_subscriber::prelude::*;

/// The length of a line.
const BYTES: usize = 1_000;
/// More lines than wait in memory and in any pipe.
const TOO_MANY: u64 = 3_000;

/// A named pipe that does not exist yet.
fn fifo(name: &str) -> PathBuf {
    let path = path(name);
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    path
}

/// Opens a named pipe for reading, whether or not it has a writer.
fn reader(fifo: &Path) -> File {
    File::options().read(true).custom_flags(libc::O_NONBLOCK).open(fifo).unwrap()
}

/// Opens a named pipe that has a reader for writing.
fn writer(fifo: &Path) -> File {
    File::options().write(true).open(fifo).unwrap()
}

/// Reads what is in the pipe.
fn drain(mut reader: &File, text: &mut Vec<u8>) {
    if let Err(error) = reader.read_to_end(text) {
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}

/// Reads until no line waits.
fn settle(service: &mut Service, reader: &File, text: &mut Vec<u8>) -> Counts {
    loop {
        let counts = service.counts();
        drain(reader, text);
        if counts.waiting() == 0 {
            return counts;
        }
    }
}

const KILLED_READER: &str = "a_reader_that_stops_is_killed_and_comes_back_gets_whole_lines";

#[test]
fn a_reader_that_stops_is_killed_and_comes_back_gets_whole_lines() {
    if is_service(KILLED_READER) {
        return;
    }
    let (fifo, mut text) = (fifo("killed"), Vec::new());
    let first = reader(&fifo);
    let mut service = Service::start(KILLED_READER, Sink::Stderr, |command| {
        command.stderr(writer(&fifo));
    });
    service.requests(100, BYTES);
    assert_eq!(settle(&mut service, &first, &mut text), Counts { made: 100, written: 100, lost: 0 });

    // It stops: lines wait, and those that find no room are lost.
    let stopped = service.requests(TOO_MANY, BYTES);
    assert!(stopped.lost > 0 && stopped.waiting() > 0, "{stopped:?}");

    // It is killed: the waiting lines are lost, and so are new ones.
    drop(first);
    let killed = service.settle();
    assert_eq!(killed.written, stopped.written);
    assert_eq!(
        service.requests(50, BYTES),
        Counts { made: killed.made + 50, lost: killed.lost + 50, ..killed }
    );

    // Another one comes: lines go on. The first line that it reads may be one that was cut.
    let second = reader(&fifo);
    service.requests(100, BYTES);
    let back = settle(&mut service, &second, &mut text);
    assert_eq!((back.written, back.lost), (killed.written + 100, killed.lost + 50));
    assert_eq!(service.end(), back);
    drain(&second, &mut text);
    let parts = Parts::of(&text);
    assert_eq!(parts.whole(), back.written);
    assert!(parts.ids.is_sorted() && parts.ids.ends_with(&(back.made - 100..back.made).collect::<Vec<_>>()));
    assert!(parts.broken.len() <= 1, "at most the line that was being written: {:?}", parts.broken);
    fs::remove_file(fifo).unwrap();
}

const LATE_READER: &str = "a_reader_that_comes_after_the_first_line_is_not_waited_for";

#[test]
fn a_reader_that_comes_after_the_first_line_is_not_waited_for() {
    if is_service(LATE_READER) {
        return;
    }
    let fifo = fifo("late");
    // The other end is opened while there is a reader, which is gone by the first line.
    let none = reader(&fifo);
    let stderr = writer(&fifo);
    drop(none);
    let mut service = Service::start(LATE_READER, Sink::Stderr, |command| {
        command.stderr(stderr);
    });
    assert_eq!(service.requests(10, BYTES), Counts { made: 10, written: 0, lost: 10 });
    let reader = reader(&fifo);
    service.requests(10, BYTES);
    let mut text = Vec::new();
    assert_eq!(settle(&mut service, &reader, &mut text), Counts { made: 20, written: 10, lost: 10 });
    assert_eq!(Parts::of(&text).ids, (10..20).collect::<Vec<_>>());
    // It writes to an open file of its own, which does not wait even if another process fills the pipe.
    let directory = format!("/proc/{}/fdinfo", service.process.id());
    let does_not_wait = |name: &str| {
        let info = fs::read_to_string(format!("{directory}/{name}")).unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap_or("0");
        let is_same = fs::canonicalize(format!("/proc/{}/fd/{name}", service.process.id()))
            .is_ok_and(|path| path == fs::canonicalize(&fifo).unwrap());
        is_same && i32::from_str_radix(flags.trim(), 8).unwrap() & libc::O_NONBLOCK != 0
    };
    let files = fs::read_dir(&directory).unwrap();
    assert!(files.map(|file| file.unwrap().file_name()).any(|name| does_not_wait(name.to_str().unwrap())));
    service.end();
    fs::remove_file(fifo).unwrap();
}

const COLLECTOR: &str = "a_collector_that_its_supervisor_starts_again_loses_no_line";

/// A collector: copies what it reads to a file.
fn collector(stdin: &io::PipeReader, log: &Path) -> Child {
    let log = File::options().create(true).append(true).open(log).unwrap();
    Command::new("cat").stdin(stdin.try_clone().unwrap()).stdout(log).spawn().unwrap()
}

/// Waits until the log has so many whole lines.
fn wait_for(log: &Path, lines: u64) {
    while Parts::of(&fs::read(log).unwrap()).whole() < lines {
        thread::yield_now();
    }
}

#[test]
fn a_collector_that_its_supervisor_starts_again_loses_no_line() {
    if is_service(COLLECTOR) {
        return;
    }
    // The supervisor, which is this process, keeps the pipe open.
    let (pipe, stderr) = io::pipe().unwrap();
    let log = path("collected");
    let mut first = collector(&pipe, &log);
    let mut service = Service::start(COLLECTOR, Sink::Stderr, |command| {
        command.stderr(stderr);
    });
    service.requests(100, BYTES);
    assert_eq!(service.settle(), Counts { made: 100, written: 100, lost: 0 });
    wait_for(&log, 100);
    let id = first.id();
    assert!(Command::new("kill").args(["-s", "STOP", &id.to_string()]).status().unwrap().success());
    while !fs::read_to_string(format!("/proc/{id}/stat")).unwrap().contains(") T ") {
        thread::yield_now();
    }
    let stopped = service.requests(TOO_MANY, BYTES);
    assert!(stopped.lost > 0 && stopped.waiting() > 0, "{stopped:?}");
    first.kill().unwrap();
    first.wait().unwrap();
    let mut second = collector(&pipe, &log);
    drop(pipe);
    let settled = service.settle();
    assert_eq!((settled.made, settled.lost), (stopped.made, stopped.lost), "what had waited is written");
    let ended = service.end();
    assert!(second.wait().unwrap().success());
    let parts = Parts::of(&fs::read(&log).unwrap());
    assert_eq!((parts.whole(), parts.broken.len()), (ended.written, 0), "{:?}", parts.broken);
    assert!(parts.ids.is_sorted());
    fs::remove_file(log).unwrap();
}

const ENDS_AMID_REQUESTS: &str = "a_process_ends_though_its_threads_make_lines_faster_than_they_are_read";

/// Ends while other threads go on, when more lines wait than fit.
fn end_amid_requests() {
    let (layer, _) = service::layer();
    let handle = layer.handle();
    tracing_subscriber::registry().with(layer).init();
    static MADE: AtomicU64 = AtomicU64::new(0);
    for _ in 0..2 {
        thread::spawn(|| {
            loop {
                service::request(&MADE, BYTES);
            }
        });
    }
    while handle.snapshot().lines_lost == 0 {
        thread::yield_now();
    }
    process::exit(0);
}

#[test]
fn a_process_ends_though_its_threads_make_lines_faster_than_they_are_read() {
    if env::var("OMNI_METRICS_INSIDE").as_deref() == Ok(ENDS_AMID_REQUESTS) {
        return end_amid_requests();
    }
    let (mut pipe, stderr) = io::pipe().unwrap();
    let mut service = Service::start(ENDS_AMID_REQUESTS, Sink::Stderr, |command| {
        command.stderr(stderr);
    });
    let (mut text, mut part) = (Vec::new(), [0; 4096]);
    loop {
        let read = pipe.read(&mut part).unwrap();
        if read == 0 {
            break;
        }
        text.extend_from_slice(&part[..read]);
        assert!(text.len() < 8 << 20, "more than waited and fits into the pipe");
        thread::sleep(Duration::from_millis(1));
    }
    assert!(service.process.wait().unwrap().success());
    let parts = Parts::of(&text);
    assert!(parts.broken.is_empty() && parts.whole() > 0, "{:?}", parts.broken);
}

const SLOWLY_READ: &str = "a_pipe_that_is_read_without_room_for_a_line_is_waited_for_at_the_exit";

#[test]
fn a_pipe_that_is_read_without_room_for_a_line_is_waited_for_at_the_exit() {
    const LINES: u64 = 500;
    if is_service(SLOWLY_READ) {
        return;
    }
    let (mut pipe, stderr) = io::pipe().unwrap();
    let mut service = Service::start(SLOWLY_READ, Sink::Stderr, |command| {
        command.stderr(stderr);
    });
    let counts = service.requests(LINES, BYTES);
    assert!(counts.waiting() > 0 && counts.lost == 0, "{counts:?}");
    let end = thread::spawn(move || service.end());
    // As when other processes fill the pipe as fast as it is read: a page of it has room when it is empty.
    let mut text = Vec::new();
    for _ in 0..250 {
        let mut byte = [0];
        pipe.read_exact(&mut byte).unwrap();
        text.extend(byte);
        thread::sleep(Duration::from_millis(10));
    }
    pipe.read_to_end(&mut text).unwrap();
    end.join().unwrap();
    assert_eq!(Parts::of(&text).ids, (0..LINES).collect::<Vec<_>>());
}

const REDIRECTED: &str = "a_line_that_has_begun_when_stderr_is_redirected_is_written_whole_to_the_new_file";

#[allow(unsafe_code, reason = "only `dup2` has the effect that is tested")]
fn redirect_amid_a_line() {
    let (layer, _) = service::layer();
    let handle = layer.handle();
    tracing_subscriber::registry().with(layer).init();
    // Longer than what a pipe takes as a whole, so that a part of one of them is in it.
    let text = "x".repeat(1_000);
    for id in 0..20 {
        let request =
            info_span!("request", request_id = id, a = text, b = text, c = text, d = text, e = text);
        drop(request);
    }
    let log = File::create(env::var("OMNI_METRICS_LOG").unwrap()).unwrap();
    // SAFETY: both descriptors are open.
    unsafe { libc::dup2(log.as_raw_fd(), libc::STDERR_FILENO) };
    while handle.snapshot().lines_written < 20 {
        thread::yield_now();
    }
}

#[test]
fn a_line_that_has_begun_when_stderr_is_redirected_is_written_whole_to_the_new_file() {
    if env::var("OMNI_METRICS_INSIDE").as_deref() == Ok(REDIRECTED) {
        return redirect_amid_a_line();
    }
    let (log, (pipe, stderr)) = (path("redirected"), io::pipe().unwrap());
    let mut service = Service::start(REDIRECTED, Sink::Stderr, |command| {
        command.stderr(stderr).env("OMNI_METRICS_LOG", &log);
    });
    assert!(service.process.wait().unwrap().success());
    let (before, after) = (io::read_to_string(pipe).unwrap(), fs::read(&log).unwrap());
    let (before, after) = (Parts::of(before.as_bytes()), Parts::of(&after));
    assert_eq!((before.broken.len(), after.broken.len()), (1, 0));
    assert_eq!([before.ids, after.ids].concat(), (0..20).collect::<Vec<_>>());
    fs::remove_file(log).unwrap();
}

const FORKED: &str = "a_forked_process_that_redirects_its_stderr_lets_the_pipe_go";

#[allow(unsafe_code, reason = "only `fork` and `dup2` have the effect that is tested")]
fn fork_and_redirect() {
    let (layer, _) = service::layer();
    tracing_subscriber::registry().with(layer).init();
    service::request(&AtomicU64::new(0), BYTES);
    let null = File::options().write(true).open("/dev/null").unwrap();
    // SAFETY: the new process calls only functions that a forked process may call. Its `pause` ends when its
    // parent has gone.
    unsafe {
        if libc::fork() == 0 {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            libc::dup2(null.as_raw_fd(), libc::STDERR_FILENO);
            libc::dup2(null.as_raw_fd(), libc::STDOUT_FILENO);
            libc::pause();
        }
        libc::dup2(null.as_raw_fd(), libc::STDERR_FILENO);
    }
    service::request(&AtomicU64::new(1), BYTES);
    io::stdin().lines().for_each(drop);
}

#[test]
fn a_forked_process_that_redirects_its_stderr_lets_the_pipe_go() {
    if env::var("OMNI_METRICS_INSIDE").as_deref() == Ok(FORKED) {
        return fork_and_redirect();
    }
    let (pipe, stderr) = io::pipe().unwrap();
    let mut service = Service::start(FORKED, Sink::Stderr, |command| {
        command.stderr(stderr);
    });
    // Both processes have redirected their stderr, and run on.
    let text = io::read_to_string(pipe).unwrap();
    assert_eq!(Parts::of(text.as_bytes()).ids, [0]);
    assert!(service.process.try_wait().unwrap().is_none());
}
