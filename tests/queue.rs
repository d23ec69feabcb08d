//! The queue in front of a writer, and the guard that ends it.

mod support;

use std::{
    io::{self, Write},
    panic::resume_unwind,
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use omni_metrics::{OmniMetricsHandle, OmniMetricsLayer, QueueGuard};
use support::Log;
use tracing::{Dispatch, info_span};
use tracing_subscriber::prelude::*;

/// Runs before each write, and may fail.
type Before = dyn Fn(&[u8]) -> io::Result<()> + Send + Sync;

/// Writes like `Log`, after `before` has returned.
#[derive(Clone)]
struct Slow {
    log: Log,
    before: Arc<Before>,
}

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (self.before)(bytes)?;
        (&self.log).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Rig {
    log: Log,
    handle: OmniMetricsHandle,
    dispatch: Dispatch,
}

/// A layer with a queue of `capacity_bytes` in front of a writer that runs `before` before each write.
fn rig(
    capacity_bytes: usize,
    before: impl Fn(&[u8]) -> io::Result<()> + Send + Sync + 'static,
) -> (Rig, QueueGuard) {
    let log = Log::default();
    let writer = Slow { log: log.clone(), before: Arc::new(before) };
    let (layer, guard) = OmniMetricsLayer::new().with_queued_writer(move || writer.clone(), capacity_bytes);
    let handle = layer.handle();
    let dispatch = Dispatch::new(tracing_subscriber::registry().with(layer));
    (Rig { log, handle, dispatch }, guard)
}

impl Rig {
    fn requests(&self, ids: impl Iterator<Item = usize>) {
        tracing::dispatcher::with_default(&self.dispatch, || {
            ids.for_each(|id| drop(info_span!("request", request_id = id)));
        });
    }

    fn ids(&self) -> Vec<usize> {
        let lines = self.log.lines();
        lines.iter().map(|line| line["request_id"].as_str().unwrap().parse().unwrap()).collect()
    }

    fn counts(&self) -> (u64, u64) {
        let snapshot = self.handle.snapshot();
        (snapshot.lines_written, snapshot.lines_lost)
    }
}

/// A writer that blocks.
struct Blocked<F> {
    /// Receives when a write has begun.
    has_started: mpsc::Receiver<()>,
    /// Dropped, it lets all writes go on.
    go_on: mpsc::Sender<()>,
    block: F,
}

fn blocked() -> Blocked<impl Fn(&[u8]) -> io::Result<()> + Send + Sync> {
    let (started, has_started) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let may_go_on = Mutex::new(may_go_on);
    let block = move |_: &[u8]| {
        let _ = started.send(());
        let _ = may_go_on.lock().unwrap().recv();
        Ok(())
    };
    Blocked { has_started, go_on, block }
}

#[test]
fn a_writer_that_blocks_holds_up_no_request_and_what_finds_no_room_is_lost() {
    const REQUESTS: usize = 2_000;
    let Blocked { has_started, go_on, block } = blocked();
    let (rig, guard) = rig(64 * 1024, block);
    rig.requests(0..REQUESTS);
    has_started.recv().unwrap();
    let (written, lost) = rig.counts();
    assert!(written == 0 && lost > 0 && lost < REQUESTS as u64, "{lost}");
    drop(go_on);
    drop(guard);
    let (written, lost_in_all) = rig.counts();
    assert_eq!(
        (written + lost_in_all, lost_in_all),
        (REQUESTS as u64, lost),
        "the guard has written the rest"
    );
    let ids = rig.ids();
    assert!(ids.is_sorted() && ids[0] == 0 && ids.len() as u64 == written, "{ids:?}");
    assert!(rig.log.writes().iter().all(|write| write.ends_with(b"}\n")), "each line is one write");
}

#[test]
fn lines_after_the_guard_are_lost_and_counted() {
    let (rig, guard) = rig(1 << 20, |_| Ok(()));
    rig.requests(0..3);
    drop(guard);
    assert_eq!(rig.ids(), [0, 1, 2]);
    rig.requests(3..5);
    assert_eq!(rig.counts(), (3, 2));
}

#[test]
fn threads_that_close_requests_at_once_lose_none_that_has_room() {
    let (rig, guard) = rig(64 << 20, |_| Ok(()));
    thread::scope(|scope| {
        for first in 0..4 {
            let rig = &rig;
            scope.spawn(move || rig.requests((0..500).map(|id| id * 4 + first)));
        }
    });
    drop(guard);
    assert_eq!(rig.counts(), (2_000, 0));
    let mut ids = rig.ids();
    ids.sort_unstable();
    assert_eq!(ids, (0..2_000).collect::<Vec<_>>());
}

#[test]
fn a_writer_that_fails_or_panics_loses_its_line_and_the_thread_goes_on() {
    let count = Mutex::new(0);
    let (rig, guard) = rig(1 << 20, move |_| {
        let mut count = count.lock().unwrap();
        *count += 1;
        let number = *count;
        drop(count);
        match number {
            1 => Err(io::ErrorKind::StorageFull.into()),
            2 => resume_unwind(Box::new("the writer panicked")),
            _ => Ok(()),
        }
    });
    rig.requests(0..5);
    drop(guard);
    assert_eq!(rig.counts(), (3, 2));
    assert_eq!(rig.ids(), [2, 3, 4]);
}

#[test]
fn a_writer_that_makes_requests_loses_those() {
    let dispatch = Arc::new(Mutex::new(Dispatch::none()));
    let of_writer = Arc::clone(&dispatch);
    let (rig, guard) = rig(1 << 20, move |_| {
        let dispatch = of_writer.lock().unwrap().clone();
        tracing::dispatcher::with_default(&dispatch, || drop(info_span!("request")));
        Ok(())
    });
    *dispatch.lock().unwrap() = rig.dispatch.clone();
    rig.requests(0..5);
    drop(guard);
    *dispatch.lock().unwrap() = Dispatch::none();
    assert_eq!(rig.counts(), (5, 5));
    assert_eq!(rig.ids(), [0, 1, 2, 3, 4]);
}

#[test]
fn a_guard_gives_up_on_a_writer_that_hangs_and_counts_what_is_left() {
    let Blocked { has_started, go_on, block } = blocked();
    let (rig, guard) = rig(1 << 20, block);
    rig.requests(0..10);
    has_started.recv().unwrap();
    drop(guard);
    assert_eq!(rig.counts(), (0, 10), "with the one that the writer has");
    // The writer returns later, which changes no count.
    drop(go_on);
    while rig.ids().is_empty() {
        thread::yield_now();
    }
    assert_eq!(rig.counts(), (0, 10));
}

#[test]
fn a_guard_that_is_closed_with_a_deadline_writes_what_fits_and_counts_the_rest() {
    // The writer takes three lines, and then one in a minute.
    let (taken, has_taken) = mpsc::channel();
    let count = Mutex::new(0);
    let (rig, guard) = rig(1 << 20, move |_| {
        let mut count = count.lock().unwrap();
        *count += 1;
        if *count > 3 {
            taken.send(()).unwrap();
            thread::sleep(Duration::from_secs(60));
        }
        Ok(())
    });
    rig.requests(0..10);
    has_taken.recv().unwrap();
    assert_eq!(guard.close(Duration::from_millis(50)), 7);
    assert_eq!(rig.counts(), (3, 7));
    assert_eq!(rig.ids(), [0, 1, 2]);
}

#[test]
fn a_guard_with_time_enough_writes_every_line() {
    let (rig, guard) = rig(1 << 20, |_| Ok(()));
    rig.requests(0..100);
    assert_eq!(guard.close(Duration::from_secs(3600)), 0);
    assert_eq!(rig.counts(), (100, 0));
}

#[test]
fn what_waits_has_at_most_the_capacity() {
    const CAPACITY: usize = 16 * 1024;
    let Blocked { has_started, go_on, block } = blocked();
    let (rig, guard) = rig(CAPACITY, block);
    rig.requests(0..1);
    has_started.recv().unwrap();
    rig.requests(1..1_000);
    drop(go_on);
    drop(guard);
    let writes = rig.log.writes();
    // The line feed that may stand before a line is stored with it.
    let stored = |write: &Vec<u8>| write.len() + 1;
    let waited: usize = writes[1..].iter().map(stored).sum();
    let longest = writes.iter().map(stored).max().unwrap();
    assert!(waited <= CAPACITY && waited + longest > CAPACITY, "{waited}");
    assert_eq!(rig.counts(), (writes.len() as u64, 1_000 - writes.len() as u64));
}

#[test]
fn a_guard_writes_and_drops_a_writer_with_a_buffer() {
    struct Buffered(io::BufWriter<LogWriter>);
    struct LogWriter(Log);
    impl Write for LogWriter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            (&self.0).write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    impl Write for Buffered {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            self.0.flush()
        }
    }
    let log = Log::default();
    let writer = Buffered(io::BufWriter::new(LogWriter(log.clone())));
    let (layer, guard) = OmniMetricsLayer::new().with_queued_writer(Mutex::new(writer), 1 << 20);
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::with_default(subscriber, || drop(info_span!("request")));
    drop(guard);
    assert_eq!(log.lines().len(), 1);
}
