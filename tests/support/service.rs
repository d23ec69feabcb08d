//! A service in a process of its own. It makes requests when it is told to, and reports its counts of lines.
#![allow(dead_code, reason = "every test binary uses its own part of this")]

use std::{
    env,
    fs::{self, File},
    io::{self, BufRead, BufReader, Lines, Write},
    iter,
    path::{Path, PathBuf},
    process::{self, Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use omni_metrics::{Line, OmniMetricsHandle, OmniMetricsLayer, QueueGuard, RequestLine};
use tracing::info_span;
use tracing_subscriber::{Registry, prelude::*};

const INSIDE: &str = "OMNI_METRICS_INSIDE";
const SINK: &str = "OMNI_METRICS_SINK";
const QUEUE: usize = 1 << 20;

/// Where the service writes its lines.
#[derive(Debug, Clone, Copy)]
pub enum Sink<'a> {
    Stderr,
    /// `with_writer`, to a file that is opened for appending.
    File(&'a Path),
    /// The same with `with_queued_writer`.
    Queued(&'a Path),
}

/// How many lines the service has made, and its layer has counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub made: u64,
    pub written: u64,
    pub lost: u64,
}

impl Counts {
    /// Reads what a service has told.
    pub fn parse(line: &str) -> Option<Self> {
        if !line.starts_with("made=") {
            return None;
        }
        let numbers: Vec<u64> =
            line.split(' ').map(|word| word.split_once('=').unwrap().1.parse().unwrap()).collect();
        let [made, written, lost] = numbers[..] else { panic!("{line}") };
        Some(Self { made, written, lost })
    }

    /// How many lines wait.
    pub fn waiting(self) -> u64 {
        self.made - self.written - self.lost
    }
}

pub struct Service {
    pub process: Child,
    /// `None` when the service has been told to end.
    commands: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Service {
    /// Runs `test`, which must begin with [`is_service`], in a process of its own.
    pub fn start(test: &str, sink: Sink<'_>, prepare: impl FnOnce(&mut Command)) -> Self {
        Self::start_by(Command::new(env::current_exe().unwrap()), test, sink, prepare)
    }

    /// The same through a command that runs the program that it gets as arguments.
    pub fn start_by(
        mut command: Command,
        test: &str,
        sink: Sink<'_>,
        prepare: impl FnOnce(&mut Command),
    ) -> Self {
        command.args([test, "--exact", "--nocapture", "--test-threads=1"]).env(INSIDE, test);
        command.env(
            SINK,
            match sink {
                Sink::Stderr => "stderr:".to_owned(),
                Sink::File(path) => format!("file:{}", path.display()),
                Sink::Queued(path) => format!("queued:{}", path.display()),
            },
        );
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        prepare(&mut command);
        let mut process = command.spawn().unwrap();
        // The copies of the other ends, which `command` holds, must be closed.
        drop(command);
        let commands = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, commands, answers }
    }

    /// Makes `count` requests with lines of about `bytes` bytes, on one thread.
    pub fn requests(&mut self, count: u64, bytes: usize) -> Counts {
        self.requests_on(1, count, bytes)
    }

    /// Makes `count` requests on each of the threads.
    pub fn requests_on(&mut self, threads: usize, count: u64, bytes: usize) -> Counts {
        self.tell(&format!("{threads} {count} {bytes}"));
        self.answer()
    }

    pub fn counts(&mut self) -> Counts {
        self.requests(0, 0)
    }

    /// Waits until no line waits.
    pub fn settle(&mut self) -> Counts {
        loop {
            let counts = self.counts();
            if counts.waiting() == 0 {
                return counts;
            }
            thread::yield_now();
        }
    }

    /// Tells the service something that [`answer`](Self::answer) tells the result of.
    pub fn tell(&mut self, command: &str) {
        writeln!(self.commands.as_mut().unwrap(), "{command}").unwrap();
    }

    pub fn answer(&mut self) -> Counts {
        self.next_answer().expect("the service has ended")
    }

    /// `None` if the service has ended.
    fn next_answer(&mut self) -> Option<Counts> {
        self.answers.by_ref().map(Result::unwrap).find_map(|line| Counts::parse(&line))
    }

    /// Kills the service, and returns the last counts that it has told and that were not read.
    pub fn kill(mut self) -> Option<Counts> {
        self.process.kill().unwrap();
        iter::from_fn(|| self.next_answer()).last()
    }

    /// Lets the service end, and returns what it has counted by then.
    pub fn end(mut self) -> Counts {
        drop(self.commands.take());
        let counts = self.answer();
        assert!(self.process.wait().unwrap().success());
        counts
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Whether this process is the service of a test; it has served then.
pub fn is_service(test: &str) -> bool {
    let is_service = env::var(INSIDE).as_deref() == Ok(test);
    if is_service {
        serve();
    }
    is_service
}

/// The layer that the process was started with, and the guard of its queue.
pub fn layer() -> (OmniMetricsLayer<Registry>, Option<QueueGuard>) {
    let sink = env::var(SINK).unwrap();
    let (kind, path) = sink.split_once(':').unwrap();
    let open = || File::options().create(true).append(true).open(path).unwrap();
    match kind {
        "file" => (OmniMetricsLayer::new().with_writer(open()), None),
        "queued" => {
            let (layer, guard) = OmniMetricsLayer::new().with_queued_writer(open(), QUEUE);
            (layer, Some(guard))
        }
        _ => (OmniMetricsLayer::new(), None),
    }
}

fn serve() {
    let (layer, guard) = layer();
    let handle = layer.handle();
    tracing_subscriber::registry().with(layer).init();
    let made = AtomicU64::new(0);
    for command in io::stdin().lines() {
        let numbers: Vec<usize> = command.unwrap().split(' ').map(|word| word.parse().unwrap()).collect();
        let [threads, count, bytes] = numbers[..] else { panic!("{numbers:?}") };
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| (0..count).for_each(|_| request(&made, bytes)));
            }
        });
        tell_counts(&made, &handle);
    }
    drop(guard);
    tell_counts(&made, &handle);
}

/// Makes a request whose id is the number of those before it.
pub fn request(made: &AtomicU64, bytes: usize) {
    let id = made.fetch_add(1, Ordering::Relaxed);
    drop(info_span!("request", request_id = id, note = "x".repeat(bytes.saturating_sub(400)).as_str()));
}

pub fn tell_counts(made: &AtomicU64, handle: &OmniMetricsHandle) {
    let snapshot = handle.snapshot();
    let (written, lost) = (snapshot.lines_written, snapshot.lines_lost);
    println!("\nmade={} written={written} lost={lost}", made.load(Ordering::Relaxed));
}

/// The parts of a log between its line feeds.
#[derive(Debug, Default)]
pub struct Parts {
    /// The ids of the whole lines.
    pub ids: Vec<u64>,
    /// Lines that are neither whole nor blank, and what follows the last line feed.
    pub broken: Vec<String>,
}

impl Parts {
    pub fn of(text: &[u8]) -> Self {
        let mut parts = Self::default();
        for part in text.split_inclusive(|byte| *byte == b'\n') {
            let text = String::from_utf8_lossy(part);
            match text.parse() {
                Ok(Line::Request(RequestLine { request_id, .. })) if text.ends_with('\n') => {
                    parts.ids.push(request_id.parse().unwrap());
                }
                _ if text == "\n" => {}
                _ => parts.broken.push(text.into_owned()),
            }
        }
        parts
    }

    /// The number of whole lines.
    pub fn whole(&self) -> u64 {
        self.ids.len() as u64
    }
}

/// A path for a test's file that does not exist yet.
pub fn path(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", process::id()));
    let _ = fs::remove_file(&path);
    path
}
