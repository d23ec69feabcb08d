//! Faults of the host and of the writer: the program goes on, the next request's line is right, and
//! the loss shows in the handle.

mod support;

use std::{
    future::pending,
    io::{self, Write},
    mem,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use omni_metrics::OmniMetricsLayer;
use serde_json::Value;
use support::{Log, Rig};
use tokio::task::JoinSet;
use tracing::{Dispatch, Instrument, info_span};
use tracing_subscriber::prelude::*;

/// The next request is timed and written as if nothing had happened.
fn assert_healthy(rig: &Rig) {
    let _default = rig.install();
    let before = rig.log.lines().len();
    info_span!("request", request_id = "healthy").in_scope(|| {
        info_span!("stage", stage_id = 0, num_tokens_out = 3).in_scope(|| rig.wait_ms(4));
        info_span!("transfer", from_stage = 0, to_stage = 1, size_bytes = 3).in_scope(|| rig.wait_ms(2));
    });
    let lines = rig.log.lines();
    assert_eq!(lines.len(), before + 1);
    let line = &lines[before];
    assert_eq!(line["request_id"], "healthy");
    assert_eq!(line["e2e_table"]["e2e_total_ms"], 6.0);
    assert_eq!(line["stage_table"][0]["stage_gen_time_ms"], 4.0);
    assert_eq!(line["transfer_table"][0]["total_time_ms"], 2.0);
    assert_eq!(line.get("warnings"), None);
}

/// Says how many of the bytes are taken, or fails.
type Fault = dyn Fn(&[u8]) -> io::Result<usize> + Send + Sync;

/// Writes like `Log`, but for what `fault` does first.
#[derive(Clone)]
struct Faulty {
    log: Log,
    fault: Arc<Fault>,
}

impl Write for Faulty {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = (self.fault)(bytes)?;
        (&self.log).write(&bytes[..taken])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A rig whose writer has `fault` while the switch is on.
fn faulty_rig(fault: impl Fn(&[u8]) -> io::Result<usize> + Send + Sync + 'static) -> (Rig, Arc<Mutex<bool>>) {
    let (layer, rig) = support::layer();
    let broken = Arc::new(Mutex::new(true));
    let switch = Arc::clone(&broken);
    let fault = move |bytes: &[u8]| {
        let is_broken = *switch.lock().unwrap();
        if is_broken { fault(bytes) } else { Ok(bytes.len()) }
    };
    let writer = Faulty { log: rig.log.clone(), fault: Arc::new(fault) };
    let dispatch =
        Dispatch::new(tracing_subscriber::registry().with(layer.with_writer(move || writer.clone())));
    (Rig { dispatch, ..rig }, broken)
}

#[test]
fn a_failing_or_panicking_writer_loses_its_line_and_counts_it() {
    /// A payload, or an error, whose drop panics.
    #[derive(Debug)]
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            if !thread::panicking() {
                resume_unwind(Box::new("in a drop"));
            }
        }
    }
    impl std::fmt::Display for Bomb {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("bomb")
        }
    }
    impl std::error::Error for Bomb {}
    let faults: [&'static Fault; 5] = [
        &|_| resume_unwind(Box::new(Bomb)),
        &|_| Err(io::Error::other(Bomb)),
        &|_| Err(io::ErrorKind::BrokenPipe.into()),
        &|_| Ok(0),
        &|_| resume_unwind(Box::new("the writer panicked")),
    ];
    for fault in faults {
        let (rig, broken) = faulty_rig(fault);
        rig.run(|_| {
            drop(info_span!("request"));
            drop(info_span!("stage", stage_id = 0));
        });
        let snapshot = rig.handle.snapshot();
        assert_eq!((snapshot.lines_lost, snapshot.lines_written), (2, 0));
        assert_eq!(snapshot.overall_summary.e2e_requests, 1, "the request counts all the same");
        *broken.lock().unwrap() = false;
        assert_healthy(&rig);
    }
}

#[test]
fn a_writer_that_writes_short_still_gets_the_whole_line() {
    let (rig, _) = faulty_rig(|bytes| Ok(bytes.len().min(7)));
    assert_healthy(&rig);
    assert_eq!(rig.handle.snapshot().lines_lost, 0);
}

/// A writer takes half of a line and then fails or panics; it works again for the next line.
fn text_after_a_cut(
    fail: impl Fn(&Log, &[u8]) -> io::Result<usize> + Send + Sync + 'static,
) -> (Rig, String) {
    let log = Log::default();
    let half = log.clone();
    let (layer, rig) = support::layer();
    let broken = Arc::new(Mutex::new(true));
    let switch = Arc::clone(&broken);
    let fault = move |bytes: &[u8]| {
        let is_broken = *switch.lock().unwrap();
        if is_broken { fail(&half, bytes) } else { Ok(bytes.len()) }
    };
    let writer = Faulty { log: log.clone(), fault: Arc::new(fault) };
    let layer = layer.with_writer(move || writer.clone());
    let rig = Rig { dispatch: Dispatch::new(tracing_subscriber::registry().with(layer)), log, ..rig };
    rig.run_text(|_| {
        drop(info_span!("request", request_id = "lost"));
        *broken.lock().unwrap() = false;
        drop(info_span!("request", request_id = "first"));
        drop(info_span!("request", request_id = "second"));
    });
    let snapshot = rig.handle.snapshot();
    assert_eq!((snapshot.lines_lost, snapshot.lines_written), (1, 2));
    let text = rig.log.text();
    (rig, text)
}

fn ids_of_whole_lines(text: &str) -> Vec<String> {
    let parsed = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    parsed.map(|line| line["request_id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_line_after_a_cut_one_stands_on_a_line_of_its_own() {
    // Takes half, and fails at the rest.
    let full = |_: &Log, bytes: &[u8]| {
        if bytes.starts_with(b"{") { Ok(bytes.len() / 2) } else { Err(io::ErrorKind::StorageFull.into()) }
    };
    // Takes half, and panics before it can say so.
    let panics = |log: &Log, bytes: &[u8]| {
        let mut log = log;
        log.write_all(&bytes[..bytes.len() / 2]).unwrap();
        resume_unwind(Box::new("the writer panicked"))
    };
    for (rig, text) in [text_after_a_cut(full), text_after_a_cut(panics)] {
        assert_eq!(ids_of_whole_lines(&text), ["first", "second"], "{text}");
        assert_eq!(text.lines().count(), 3, "{text}");
        let writes = rig.log.writes();
        assert_eq!(writes.len(), 3, "the line feed is no write of its own");
        assert!(writes[1].starts_with(b"\n{") && writes[2].starts_with(b"{"), "{text}");
    }
}

#[test]
fn a_line_after_a_cut_one_stands_on_its_own_whatever_another_thread_writes() {
    let (started, has_started) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let may_go_on = Mutex::new(may_go_on);
    let (rig, _) = faulty_rig(move |bytes| {
        let is_of = |id: &str| String::from_utf8_lossy(bytes).contains(id);
        if is_of("cut") && bytes.starts_with(b"{") {
            return Ok(bytes.len() / 2);
        }
        if is_of("meanwhile") {
            started.send(()).unwrap();
            may_go_on.lock().unwrap().recv().unwrap();
        }
        if is_of("after") { Ok(bytes.len()) } else { Err(io::ErrorKind::StorageFull.into()) }
    });
    rig.run_text(|_| drop(info_span!("request", request_id = "cut")));
    thread::scope(|scope| {
        scope.spawn(|| rig.run_text(|_| drop(info_span!("request", request_id = "meanwhile"))));
        has_started.recv().unwrap();
        rig.run_text(|_| drop(info_span!("request", request_id = "first after")));
        go_on.send(()).unwrap();
    });
    rig.run_text(|_| drop(info_span!("request", request_id = "second after")));
    let (snapshot, text) = (rig.handle.snapshot(), rig.log.text());
    assert_eq!((snapshot.lines_lost, snapshot.lines_written), (2, 2));
    assert_eq!(ids_of_whole_lines(&text), ["first after", "second after"], "{text}");
    assert_eq!(text.lines().count(), 3, "{text}");
}

#[test]
fn a_line_is_written_if_the_writer_took_it_and_panics_when_it_is_dropped() {
    struct PanicsInDrop(Log);
    impl Write for PanicsInDrop {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            (&self.0).write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    impl Drop for PanicsInDrop {
        fn drop(&mut self) {
            resume_unwind(Box::new("in a drop"));
        }
    }
    let (layer, rig) = support::layer();
    let log = rig.log.clone();
    let layer = layer.with_writer(move || PanicsInDrop(log.clone()));
    let rig = Rig { dispatch: Dispatch::new(tracing_subscriber::registry().with(layer)), ..rig };
    assert_healthy(&rig);
    assert_healthy(&rig);
    let snapshot = rig.handle.snapshot();
    assert_eq!((snapshot.lines_lost, snapshot.lines_written), (0, 2));
}

#[test]
fn a_line_after_one_that_failed_at_its_first_byte_follows_no_blank_line() {
    let (rig, text) = text_after_a_cut(|_, _| Err(io::ErrorKind::StorageFull.into()));
    assert_eq!(rig.log.lines().len(), 2);
    assert!(text.starts_with('{') && text.lines().count() == 2, "{text}");
}

#[test]
fn a_slow_writer_holds_up_nobody_else() {
    let (started, has_started) = mpsc::channel::<()>();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let first = Mutex::new(Some((started, may_go_on)));
    let (rig, _) = faulty_rig(move |bytes| {
        if let Some((started, may_go_on)) = first.lock().unwrap().take() {
            started.send(()).unwrap();
            may_go_on.recv().unwrap();
        }
        Ok(bytes.len())
    });
    // The writer's own lock is held for its first write only, while it hands over its channels.
    let rig = Arc::new(rig);
    let slow = {
        let rig = Arc::clone(&rig);
        thread::spawn(move || rig.run(|_| drop(info_span!("request", request_id = "slow"))))
    };
    has_started.recv().unwrap();
    rig.run(|rig| {
        // All but the write goes on: spans, the summary, the handle.
        let open = info_span!("request", request_id = "open");
        info_span!(parent: &open, "stage", stage_id = 0).in_scope(|| rig.wait_ms(1));
        assert_eq!(rig.handle.snapshot().overall_summary.e2e_requests, 1);
        rig.handle.reset();
        go_on.send(()).unwrap();
    });
    slow.join().unwrap();
    assert_eq!(rig.log.lines().len(), 2);
    assert_healthy(&rig);
}

#[test]
fn a_writer_that_makes_requests_loses_those_and_no_other() {
    let (rig, broken) = faulty_rig(|bytes| {
        drop(info_span!("request", request_id = "of the writer"));
        Ok(bytes.len())
    });
    // A scoped default has a guard against this; the dispatcher of a live span has none.
    let outer = rig.run(|rig| {
        let dispatch = rig.dispatch.clone();
        drop(info_span!("request", request_id = "of the program"));
        drop(dispatch);
    });
    assert!(outer.iter().all(|line| line["request_id"] == "of the program"), "{outer:?}");
    *broken.lock().unwrap() = false;
    assert_healthy(&rig);
}

#[test]
fn unwinding_through_every_kind_of_span_closes_them_all() {
    let rig = Rig::new();
    let lines = rig.run(|rig| {
        for depth in 1..=4 {
            let unwound = catch_unwind(AssertUnwindSafe(|| {
                let _request = info_span!("request", request_id = depth).entered();
                rig.wait_ms(1);
                let _stage = (depth > 1).then(|| info_span!("stage", stage_id = 0).entered());
                let _preprocess = (depth > 2).then(|| info_span!("preprocess").entered());
                let _transfer =
                    (depth > 3).then(|| info_span!("transfer", from_stage = 0, to_stage = 1).entered());
                rig.wait_ms(1);
                resume_unwind(Box::new("on purpose"));
            }));
            assert!(unwound.is_err());
        }
    });
    assert_eq!(lines.len(), 4);
    assert!(lines.iter().all(|line| line["e2e_table"]["e2e_total_ms"] == 2.0), "{lines:?}");
    assert_eq!(lines[3]["stage_table"][0]["preprocess_time_ms"], 1.0);
    assert_eq!(rig.handle.snapshot().open_requests, 0);
    assert_healthy(&rig);
}

#[test]
fn spans_that_close_while_their_thread_panics_are_folded() {
    let rig = Arc::new(Rig::new());
    let inner = Arc::clone(&rig);
    let outcome = thread::spawn(move || {
        let _default = inner.install();
        let _request = info_span!("request", request_id = "r").entered();
        let _stage = info_span!("stage", stage_id = 0, num_tokens_out = -1).entered();
        resume_unwind(Box::new("on purpose"));
    })
    .join();
    assert!(outcome.is_err());
    assert_eq!(support::warnings(&rig.log.lines()[0]).len(), 1);
    assert_healthy(&rig);
}

#[test]
fn forgotten_guards_and_spans_stay_visible_and_hurt_nobody() {
    let rig = Rig::new();
    rig.run(|_| {
        mem::forget(info_span!("request", request_id = "span"));
        mem::forget(info_span!("request", request_id = "guard").entered());
        mem::forget(info_span!("stage", stage_id = 0).entered());
    });
    assert_eq!(rig.handle.snapshot().open_requests, 2);
    // The forgotten guards are still on this thread's stack of entered spans: a fresh thread.
    thread::scope(|scope| {
        scope.spawn(|| assert_healthy(&rig));
    });
    assert_eq!(rig.handle.snapshot().open_requests, 2);
}

#[test]
fn a_request_that_a_forgotten_span_holds_is_not_lost() {
    let rig = Rig::new();
    let lines = rig.run(|_| {
        let request = info_span!("request", request_id = "r");
        let elsewhere = info_span!("stage", stage_id = 0, request_id = "r");
        mem::forget(info_span!("stage", stage_id = 1, request_id = "r"));
        drop(request);
        drop(elsewhere);
    });
    assert_eq!((lines.len(), rig.handle.snapshot().open_requests), (0, 1));
    drop(rig.handle.summary_guard());
    assert_eq!(
        (rig.log.lines().len(), rig.handle.snapshot().open_requests),
        (2, 0),
        "the request and the summary"
    );
    assert_healthy(&rig);
}

#[test]
fn spans_cross_dispatchers_without_a_hang_or_a_mixed_line() {
    let (a, b) = (Rig::new(), Rig::new());
    let of_a = {
        let _default = a.install();
        info_span!("request", request_id = "of a")
    };
    b.run(|_| {
        // Used under another default: its own subscriber gets the callbacks.
        let entered = of_a.enter();
        let inside = info_span!("stage", stage_id = 0, request_id = "of a");
        let explicit = info_span!(parent: &of_a, "stage", stage_id = 1);
        drop((inside, explicit));
        drop(entered);
        drop(of_a);
    });
    // Leaving a span under another default gives the span's reference back there (tracing#1656), so
    // the request may stay open. It is visible, and nothing waits for it.
    let open = a.handle.snapshot().open_requests;
    assert_eq!(a.log.lines().len() as u64 + open, 1);
    assert_eq!(b.log.lines().iter().filter(|line| line["type"] == "stage").count(), 2);
    assert_healthy(&b);
    thread::scope(|scope| {
        scope.spawn(|| assert_healthy(&a));
    });
}

#[test]
fn a_child_that_closes_under_no_default_leaves_a_counter_not_a_hang() {
    let rig = Rig::new();
    let child = {
        let _default = rig.install();
        let request = info_span!("request", request_id = "parent");
        info_span!(parent: &request, "stage", stage_id = 0)
    };
    // The registry gives the parent's reference back to whatever is the default by then.
    drop(child);
    assert_eq!((rig.log.lines().len(), rig.handle.snapshot().open_requests), (0, 1));
    assert_healthy(&rig);
}

fn finish_reasons(lines: &[Value]) -> usize {
    lines.iter().filter(|line| line["e2e_table"].get("finish_reason").is_some()).count()
}

#[test]
fn cancellation_storms_give_one_line_a_request() {
    const REQUESTS: usize = 400;
    let log = Log::default();
    let layer = OmniMetricsLayer::new().with_writer(log.clone());
    let handle = layer.handle();
    let dispatch = Dispatch::new(tracing_subscriber::registry().with(layer));
    let runtime = {
        let dispatch = dispatch.clone();
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder
            .worker_threads(4)
            .enable_all()
            .on_thread_start(move || mem::forget(tracing::dispatcher::set_default(&dispatch)));
        builder.build().unwrap()
    };
    let request = |id: usize| {
        let work = async move {
            let stage = async {
                tokio::task::yield_now().await;
                if id.is_multiple_of(2) {
                    pending::<()>().await;
                }
            };
            stage.instrument(info_span!("stage", stage_id = 0, num_tokens_out = 1)).await;
            tracing::Span::current().record("finish_reason", "stop");
        };
        work.instrument(info_span!("request", request_id = id, finish_reason = tracing::field::Empty))
    };
    let _default = tracing::dispatcher::set_default(&dispatch);
    runtime.block_on(async {
        let mut dropped = JoinSet::new();
        let mut aborted = Vec::new();
        for id in 0..REQUESTS {
            match id % 4 {
                0 | 1 => drop(dropped.spawn(request(id))),
                2 => aborted.push(tokio::spawn(request(id))),
                _ => {
                    let _ = tokio::time::timeout(Duration::from_millis(1), request(id)).await;
                }
            }
            tokio::select! {
                biased;
                () = tokio::task::yield_now() => {}
                () = request(REQUESTS + id) => {}
            }
        }
        for task in &aborted {
            task.abort();
        }
        for task in aborted {
            let _ = task.await;
        }
        drop(dropped);
    });
    drop(runtime);
    let lines = log.lines();
    let mut ids: Vec<usize> =
        lines.iter().map(|line| line["request_id"].as_str().unwrap().parse().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..2 * REQUESTS).collect::<Vec<_>>());
    assert_eq!(finish_reasons(&lines), lines.len());
    let aborted = lines.iter().filter(|line| line["e2e_table"]["finish_reason"] == "abort").count();
    assert!(0 < aborted && aborted < lines.len(), "some were cancelled: {aborted}");
    assert_eq!(handle.snapshot().open_requests, 0);
}
