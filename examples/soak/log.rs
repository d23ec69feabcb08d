//! A log in files, each checked and removed when it is full, with a writer that has its faults.

use std::{
    env,
    fs::{self, File},
    io::{self, BufRead, BufReader, Write},
    panic::resume_unwind,
    path::PathBuf,
    process,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::ledger::Ledger;

const SEGMENT_BYTES: u64 = 16 << 20;
/// How many full files may wait for the checker; past that, writers wait.
const SEGMENTS_WAITING: usize = 4;
/// One line in so many is refused with an error, or with a panic.
const ERROR_EVERY: u64 = 997;
const PANIC_EVERY: u64 = 4_999;
/// Behind a queue, the writer stalls once in so many lines, for so long.
const STALL_EVERY: u64 = 20_011;
const STALL: Duration = Duration::from_millis(250);

/// The writer. Clones write to the same log.
#[derive(Clone)]
pub(crate) struct SegmentedLog {
    current: Arc<Mutex<Segment>>,
    lines: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
    reports: Arc<AtomicU64>,
    /// Takes the lines of open requests.
    open: mpsc::Sender<String>,
    stalls: bool,
}

struct Segment {
    file: File,
    path: PathBuf,
    number: u64,
    bytes: u64,
    full: Option<mpsc::SyncSender<Job>>,
}

enum Job {
    Check(PathBuf),
    Refused(String),
}

impl SegmentedLog {
    /// A writer that `stalls` now and then belongs behind a queue. The lines of open requests also go to
    /// `open`, refused ones included.
    pub(crate) fn start(stalls: bool, open: mpsc::Sender<String>) -> io::Result<(Self, JoinHandle<Ledger>)> {
        let (full, jobs) = mpsc::sync_channel(SEGMENTS_WAITING);
        let path = path(0);
        let segment = Segment { file: File::create(&path)?, path, number: 0, bytes: 0, full: Some(full) };
        let current = Arc::new(Mutex::new(segment));
        let (lines, refused, reports) = (Arc::default(), Arc::default(), Arc::default());
        let log = Self { current, lines, refused, reports, open, stalls };
        Ok((log, thread::spawn(move || check(jobs))))
    }

    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// How many reports have reached the writer.
    pub(crate) fn reports(&self) -> u64 {
        self.reports.load(Ordering::Relaxed)
    }

    fn look_at(&self, line: &[u8]) {
        let line = line.trim_ascii();
        if line.starts_with(br#"{"type":"summary""#) {
            self.reports.fetch_add(1, Ordering::Relaxed);
        } else if line.starts_with(br#"{"type":"open""#) {
            // Nobody hangs any more at the end.
            let _ = self.open.send(String::from_utf8_lossy(line).into_owned());
        }
    }

    /// Hands the last file to the checker, which then ends.
    pub(crate) fn finish(&self) {
        let mut segment = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(full) = segment.full.take() {
            let _ = full.send(Job::Check(segment.path.clone()));
        }
    }
}

fn path(number: u64) -> PathBuf {
    env::temp_dir().join(format!("omni-soak-{}-{number}.jsonl", process::id()))
}

impl Write for SegmentedLog {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let number = self.lines.fetch_add(1, Ordering::Relaxed) + 1;
        if self.stalls && number.is_multiple_of(STALL_EVERY) {
            thread::sleep(STALL);
        }
        self.look_at(line);
        let is_refused = number.is_multiple_of(ERROR_EVERY) || number.is_multiple_of(PANIC_EVERY);
        let mut segment = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(full) = segment.full.clone() else { return Err(io::ErrorKind::BrokenPipe.into()) };
        if is_refused {
            drop(segment);
            self.refused.fetch_add(1, Ordering::Relaxed);
            let _ = full.send(Job::Refused(String::from_utf8_lossy(line).into_owned()));
            if number.is_multiple_of(PANIC_EVERY) {
                resume_unwind(Box::new("the writer panics"));
            }
            return Err(io::ErrorKind::StorageFull.into());
        }
        segment.file.write_all(line)?;
        segment.bytes += line.len() as u64;
        if segment.bytes >= SEGMENT_BYTES {
            let number = segment.number + 1;
            let next = path(number);
            let checked = std::mem::replace(&mut segment.path, next.clone());
            segment.file = File::create(next)?;
            segment.number = number;
            segment.bytes = 0;
            let _ = full.send(Job::Check(checked));
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn check(jobs: mpsc::Receiver<Job>) -> Ledger {
    let mut ledger = Ledger::default();
    for job in jobs {
        match job {
            Job::Refused(line) => ledger.enter(&line, false),
            Job::Check(path) => {
                match File::open(&path) {
                    Ok(file) => BufReader::new(file).lines().for_each(|line| match line {
                        Ok(line) => ledger.enter(&line, true),
                        Err(error) => ledger.faults.push(format!("{}: {error}", path.display())),
                    }),
                    Err(error) => ledger.faults.push(format!("{}: {error}", path.display())),
                }
                let _ = fs::remove_file(path);
            }
        }
    }
    ledger
}
