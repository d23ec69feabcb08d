//! Logs that are rotated under load: renamed and opened anew, or copied and truncated.
#![cfg(unix)]

#[path = "support/service.rs"]
mod service;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{
        Arc, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use omni_metrics::{OmniMetricsHandle, OmniMetricsLayer};
use service::{Counts, Parts, Service, Sink, is_service, path, request};
use tracing::{Dispatch, dispatcher::with_default};
use tracing_subscriber::{Registry, fmt::MakeWriter, prelude::*};

const THREADS: u64 = 4;
const REQUESTS: u64 = 1_000;
const ROTATIONS: u64 = 10;
const BYTES: usize = 1_000;

/// Opens the log for appending, as `2>>log` does.
fn append(log: &Path) -> File {
    File::options().create(true).append(true).open(log).unwrap()
}

/// A log that is opened anew after it was renamed.
#[derive(Clone)]
struct Reopened {
    path: PathBuf,
    file: Arc<RwLock<Arc<File>>>,
}

impl Reopened {
    fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), file: Arc::new(RwLock::new(Arc::new(append(path)))) }
    }

    /// What logrotate does, and the service after the signal that logrotate sends.
    fn rotate(&self, to: &Path) {
        fs::rename(&self.path, to).unwrap();
        *self.file.write().unwrap() = Arc::new(append(&self.path));
    }
}

impl MakeWriter<'_> for Reopened {
    type Writer = Arc<File>;

    fn make_writer(&self) -> Arc<File> {
        Arc::clone(&self.file.read().unwrap())
    }
}

/// Makes requests on several threads. One of them rotates the log at every so many of its own requests.
fn rotate_under_load(layer: OmniMetricsLayer<Registry>, log: &Reopened) -> Vec<PathBuf> {
    let dispatch = Dispatch::new(tracing_subscriber::registry().with(layer));
    let made = AtomicU64::new(0);
    let requests = |count| with_default(&dispatch, || (0..count).for_each(|_| request(&made, BYTES)));
    let mut files = Vec::new();
    thread::scope(|scope| {
        for _ in 1..THREADS {
            scope.spawn(|| requests(REQUESTS));
        }
        for rotation in 0..ROTATIONS {
            requests(REQUESTS / ROTATIONS);
            files.push(log.path.with_extension(rotation.to_string()));
            log.rotate(files.last().unwrap());
        }
    });
    files.push(log.path.clone());
    files
}

/// The files have all lines once, whole.
fn assert_all(files: &[PathBuf], handle: &OmniMetricsHandle) {
    let mut ids = Vec::new();
    for file in files {
        let parts = Parts::of(&fs::read(file).unwrap());
        assert!(parts.broken.is_empty(), "{}: {:?}", file.display(), parts.broken);
        ids.extend(parts.ids);
        fs::remove_file(file).unwrap();
    }
    ids.sort_unstable();
    assert_eq!(ids, (0..THREADS * REQUESTS).collect::<Vec<_>>());
    let snapshot = handle.snapshot();
    assert_eq!((snapshot.lines_written, snapshot.lines_lost), (THREADS * REQUESTS, 0));
}

#[test]
fn a_log_that_is_renamed_and_opened_anew_loses_no_line() {
    let log = Reopened::new(&path("renamed"));
    let layer = OmniMetricsLayer::new().with_writer(log.clone());
    let handle = layer.handle();
    let files = rotate_under_load(layer, &log);
    assert!(files[1..ROTATIONS as usize].iter().all(|file| fs::metadata(file).unwrap().len() > 0));
    assert_all(&files, &handle);
}

#[test]
fn a_log_behind_a_queue_that_is_renamed_and_opened_anew_loses_no_line() {
    let log = Reopened::new(&path("renamed-queued"));
    let (layer, guard) = OmniMetricsLayer::new().with_queued_writer(log.clone(), 64 << 20);
    let handle = layer.handle();
    let files = rotate_under_load(layer, &log);
    drop(guard);
    assert_all(&files, &handle);
}

/// What logrotate's `copytruncate` does. Lines that are written between the two steps are lost.
fn copy_and_truncate(log: &Path, copy: &Path) {
    fs::copy(log, copy).unwrap();
    append(log).set_len(0).unwrap();
}

const COPIED: &str = "a_log_that_is_copied_and_truncated_between_two_lines_loses_none";

#[test]
fn a_log_that_is_copied_and_truncated_between_two_lines_loses_none() {
    if is_service(COPIED) {
        return;
    }
    let log = path("copied");
    let copy = log.with_extension("1");
    for sink in [Sink::Stderr, Sink::File(&log), Sink::Queued(&log)] {
        let mut service = Service::start(COPIED, sink, |command| {
            command.stderr(append(&log));
        });
        service.requests(100, BYTES);
        service.settle();
        copy_and_truncate(&log, &copy);
        service.requests(100, BYTES);
        assert_eq!(service.end(), Counts { made: 200, written: 200, lost: 0 }, "{sink:?}");
        let mut text = fs::read(&copy).unwrap();
        text.extend(fs::read(&log).unwrap());
        let parts = Parts::of(&text);
        assert!(parts.broken.is_empty(), "{sink:?}: {:?}", parts.broken);
        assert_eq!(parts.ids, (0..200).collect::<Vec<_>>(), "{sink:?}");
        fs::remove_file(&log).unwrap();
        fs::remove_file(&copy).unwrap();
    }
}

const COPIED_UNDER_LOAD: &str = "a_log_that_is_copied_and_truncated_under_load_has_no_cut_line";

#[test]
fn a_log_that_is_copied_and_truncated_under_load_has_no_cut_line() {
    if is_service(COPIED_UNDER_LOAD) {
        return;
    }
    let log = path("copied-under-load");
    let copy = log.with_extension("1");
    for sink in [Sink::Stderr, Sink::File(&log), Sink::Queued(&log)] {
        let mut service = Service::start(COPIED_UNDER_LOAD, sink, |command| {
            command.stderr(append(&log));
        });
        // The log is there when the first line is.
        service.requests(1, BYTES);
        service.settle();
        service.tell(&format!("{THREADS} {REQUESTS} {BYTES}"));
        let has_answered = AtomicBool::new(false);
        let mut ids = Vec::new();
        thread::scope(|scope| {
            scope.spawn(|| {
                service.answer();
                has_answered.store(true, Ordering::Relaxed);
            });
            loop {
                let is_last = has_answered.load(Ordering::Relaxed);
                copy_and_truncate(&log, &copy);
                let text = fs::read(&copy).unwrap();
                let parts = Parts::of(&text);
                // The copy may end in a line that is just being written.
                let at_end = usize::from(!text.is_empty() && !text.ends_with(b"\n"));
                assert_eq!(parts.broken.len(), at_end, "{sink:?}: {:?}", parts.broken);
                ids.extend(parts.ids);
                if is_last {
                    break;
                }
            }
        });
        service.requests(1, BYTES);
        let ended = service.end();
        let parts = Parts::of(&fs::read(&log).unwrap());
        assert!(parts.broken.is_empty(), "{sink:?}: {:?}", parts.broken);
        ids.extend(parts.ids);
        assert_eq!(ids.iter().max(), Some(&(ended.made - 1)), "{sink:?}");
        ids.sort_unstable();
        let lines = ids.len();
        ids.dedup();
        assert_eq!(ids.len(), lines, "{sink:?}: no line is there twice");
        // The layer does not see the lines that the rotation loses.
        if !matches!(sink, Sink::Queued(_)) {
            assert_eq!((ended.written, ended.lost), (ended.made, 0), "{sink:?}");
        }
        fs::remove_file(&log).unwrap();
        fs::remove_file(&copy).unwrap();
    }
}
