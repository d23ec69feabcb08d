//! Requests of every kind, from threads and tasks, that end well, fail, panic or are cancelled.

use std::{
    fmt,
    future::pending,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::{runtime::Runtime, task::yield_now};
use tracing::{Instrument, Span, field::Empty, info_span, instrument};

use crate::hanging::Hung;

/// How many async requests are in flight.
const TASKS: usize = 64;
/// How many requests share a batch.
const BATCH: usize = 4;

/// How much was asked of the layer.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Without those that hung.
    pub(crate) requests: u64,
    pub(crate) detached: u64,
    pub(crate) held: u64,
    pub(crate) hung: Hung,
}

#[derive(Debug, Default)]
struct Ids {
    requests: AtomicU64,
    detached: AtomicU64,
    held: AtomicU64,
}

impl Ids {
    fn next(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn next_detached(&self) -> u64 {
        self.detached.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// The traffic, until it is joined.
pub(crate) struct Traffic {
    ids: Arc<Ids>,
    threads: Vec<JoinHandle<()>>,
    hanging: JoinHandle<Hung>,
}

impl Traffic {
    /// `reported` has the lines of open requests as they reach the writer; requests that hang wait for theirs
    /// for at most as long as `patience`.
    pub(crate) fn start(
        threads: usize,
        running: Arc<AtomicBool>,
        reported: mpsc::Receiver<String>,
        patience: Duration,
    ) -> Self {
        let ids = Arc::new(Ids::default());
        let sync = (0..threads).map(|_| {
            let (ids, running) = (Arc::clone(&ids), Arc::clone(&running));
            thread::spawn(move || {
                let mut turn = 0_u64;
                while running.load(Ordering::Relaxed) {
                    turn += 1;
                    synchronous(turn, &ids);
                }
            })
        });
        let mut threads: Vec<_> = sync.collect();
        threads.push({
            let (ids, running) = (Arc::clone(&ids), Arc::clone(&running));
            thread::spawn(move || tasks(&ids, &running))
        });
        let hanging = thread::spawn(move || Hung::drive(&running, &reported, patience));
        Self { ids, threads, hanging }
    }

    /// `None` if the thread of those that hang panicked.
    pub(crate) fn join(self) -> Option<Counts> {
        for thread in self.threads {
            let _ = thread.join();
        }
        let hung = self.hanging.join().ok()?;
        let Ids { requests, detached, held } = &*self.ids;
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Some(Counts { requests: count(requests), detached: count(detached), held: count(held), hung })
    }
}

fn synchronous(turn: u64, ids: &Ids) {
    match turn % 16 {
        0 => batch(ids),
        1 => panicking(ids.next()),
        2 => hostile(ids.next()),
        3 => detached(ids),
        4 => wrapped(ids.next()),
        5 => handed_over(ids.next()),
        6 => held(ids),
        7 => held_batch(ids),
        _ => plain(ids.next()),
    }
}

/// Three stages and two transfers.
#[instrument(name = "request", skip_all, fields(request_id = id, finish_reason = Empty))]
fn plain(id: u64) {
    for stage_id in 0..3_u64 {
        stage(stage_id);
        if stage_id < 2 {
            let edge =
                info_span!("transfer", from_stage = stage_id, to_stage = stage_id + 1, size_bytes = 1_000);
            edge.in_scope(|| ());
            drop(edge);
            drop(
                info_span!("transfer", from_stage = stage_id, to_stage = stage_id + 1, phase = "rx")
                    .entered(),
            );
        }
    }
    Span::current().record("finish_reason", "stop");
}

#[instrument(name = "stage", fields(num_tokens_in = 100, num_tokens_out = Empty, first_output = Empty))]
fn stage(stage_id: u64) {
    info_span!("preprocess").in_scope(|| ());
    let span = Span::current();
    span.record("first_output", true);
    span.record("num_tokens_out", 20);
}

fn batch(ids: &Ids) {
    let requests: Vec<_> =
        (0..BATCH).map(|_| ids.next()).map(|id| (id, info_span!("request", request_id = id))).collect();
    let batch = info_span!("stage", stage_id = 0, batch_id = 1);
    for (_, request) in &requests {
        batch.follows_from(request);
    }
    batch.in_scope(|| {
        for (id, _) in &requests {
            drop(info_span!("stage", stage_id = 0, request_id = id, num_tokens_out = 5).entered());
        }
    });
}

fn panicking(id: u64) {
    let _ = catch_unwind(AssertUnwindSafe(|| {
        let _request = info_span!("request", request_id = id).entered();
        let _stage = info_span!("stage", stage_id = 1).entered();
        // Without the hook, which would fill the screen.
        resume_unwind(Box::new("on purpose"));
    }));
}

/// Everything wrong with one request's values, text for a terminal to choke on, and more stages
/// than there are rows.
fn hostile(id: u64) {
    struct Panics;
    impl fmt::Debug for Panics {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            resume_unwind(Box::new("in Debug"))
        }
    }
    static LONG: OnceLock<String> = OnceLock::new();
    let long = LONG.get_or_init(|| "\u{1b}[31m\u{9b}é".repeat(2_000));
    let _request = info_span!("request", request_id = id, long = long.as_str()).entered();
    drop(info_span!("stage", stage_id = -1, num_tokens_out = f64::NAN, note = ?Panics, long = ?long));
    drop(info_span!("stage", stage_id = u64::MAX, num_tokens_out = 3));
    drop(info_span!("transfer", from_stage = "?", size_bytes = -1, phase = "warp", sent_at_unix_ms = 1e18));
    if id.is_multiple_of(4_096) {
        for stage_id in 0..3_000_u64 {
            drop(info_span!("stage", stage_id, num_tokens_out = 1));
        }
    }
}

fn detached(ids: &Ids) {
    let far = format!("far-{}", ids.next_detached());
    drop(info_span!("stage", stage_id = 1, request_id = far).entered());
}

/// A wrapper of tower-http's kind around a request.
fn wrapped(id: u64) {
    let _http = info_span!("request", method = "POST", uri = "/v1/generate", version = "HTTP/1.1").entered();
    let _handler = info_span!("handler").entered();
    plain(id);
}

/// A request whose stage runs, and closes, on another thread.
fn handed_over(id: u64) {
    let request = info_span!("request", request_id = id);
    let stage = info_span!(parent: &request, "stage", stage_id = 0);
    thread::scope(|scope| {
        scope.spawn(|| stage.in_scope(|| drop(info_span!("transfer", from_stage = 0, to_stage = 1))));
    });
    drop(request);
    drop(stage);
}

/// A request whose handler ends before the step that serves it, on another thread.
fn held(ids: &Ids) {
    let id = ids.next();
    ids.held.fetch_add(1, Ordering::Relaxed);
    let request = info_span!("request", request_id = id);
    let step = info_span!("stage", stage_id = 0, request_id = id, num_tokens_out = 7);
    let next = info_span!("stage", stage_id = 1);
    next.follows_from(&step);
    thread::scope(|scope| {
        scope.spawn(|| drop(step.entered()));
        scope.spawn(|| drop(next.entered()));
        drop(request);
    });
}

/// A batch that ends after some of its requests have been answered.
fn held_batch(ids: &Ids) {
    let requests: Vec<_> = (0..BATCH).map(|_| info_span!("request", request_id = ids.next())).collect();
    ids.held.fetch_add(BATCH as u64, Ordering::Relaxed);
    let batch = info_span!("stage", stage_id = 2, batch_id = 2);
    requests.iter().for_each(|request| {
        batch.follows_from(request);
    });
    let batch = batch.entered();
    drop(requests);
    drop(batch);
}

fn tasks(ids: &Arc<Ids>, running: &Arc<AtomicBool>) {
    let Ok(runtime) = Runtime::new() else { return };
    runtime.block_on(async {
        let workers = (0..TASKS).map(|at| {
            let (ids, running) = (Arc::clone(ids), Arc::clone(running));
            tokio::spawn(async move {
                let mut turn = at as u64;
                while running.load(Ordering::Relaxed) {
                    turn += 1;
                    asynchronous(turn, ids.next()).await;
                }
            })
        });
        for worker in workers.collect::<Vec<_>>() {
            let _ = worker.await;
        }
    });
}

async fn asynchronous(turn: u64, id: u64) {
    let span = info_span!("request", request_id = id, finish_reason = Empty);
    let request = async move {
        for stage_id in 0..3_u64 {
            let work = async {
                yield_now().await;
                Span::current().record("first_output", true);
                if turn.is_multiple_of(8) && stage_id == 1 {
                    pending::<()>().await;
                }
                yield_now().await;
            };
            let stage = info_span!("stage", stage_id, num_tokens_out = 4, first_output = Empty);
            work.instrument(stage).await;
        }
        Span::current().record("finish_reason", "stop");
    }
    .instrument(span);
    match turn % 16 {
        0 => {
            let task = tokio::spawn(request);
            yield_now().await;
            task.abort();
            let _ = task.await;
        }
        8 => {
            let _ = tokio::time::timeout(Duration::from_micros(200), request).await;
        }
        1 => {
            let _ = tokio::spawn(request).await;
        }
        _ => request.await,
    }
}
