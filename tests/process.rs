//! Faults that need a process of their own: a global default, where `tracing` has no guard against
//! recursion, a closed stderr, the end of threads and of the process.

mod support;

use std::{
    cell::RefCell,
    fmt, fs,
    io::{self, BufRead, BufReader, Read, Write},
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use omni_metrics::{OmniMetricsHandle, OmniMetricsLayer};
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use support::{Log, in_a_process_of_its_own, run_in_a_process};
use tracing::{
    Span, Subscriber,
    field::Empty,
    info, info_span,
    level_filters::LevelFilter,
    span::{Attributes, Id, Record},
    warn,
};
use tracing_subscriber::{Layer, fmt as text, layer::Context, prelude::*, registry::LookupSpan};

/// The layer beside `fmt`, as the global default.
fn install_globally() -> (Log, Log, OmniMetricsHandle) {
    let (log, printed) = (Log::default(), Log::default());
    let layer = OmniMetricsLayer::new().with_writer(log.clone());
    let handle = layer.handle();
    let fmt = text::layer().with_writer(printed.clone());
    tracing_subscriber::registry().with(layer).with(fmt).init();
    (log, printed, handle)
}

fn assert_healthy(log: &Log) {
    let before = log.lines().len();
    info_span!("request", request_id = "healthy")
        .in_scope(|| drop(info_span!("stage", stage_id = 0, num_tokens_out = 3)));
    let lines = log.lines();
    assert_eq!(lines.len(), before + 1);
    assert_eq!(lines[before]["stage_table"][0]["num_tokens_out"], 3);
}

/// A value whose `Debug` does as the program says.
struct Does<F>(F);

impl<F: Fn()> fmt::Debug for Does<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0();
        f.write_str("shown")
    }
}

#[test]
fn a_debug_that_logs_or_makes_our_spans_under_a_global_default() {
    if !in_a_process_of_its_own("a_debug_that_logs_or_makes_our_spans_under_a_global_default") {
        return;
    }
    // Without `fmt`, which holds a lock of its own while it formats the fields of a span.
    let (log, counted) = (Log::default(), Counted::default());
    let layer = OmniMetricsLayer::new().with_writer(log.clone());
    let handle = layer.handle();
    tracing_subscriber::registry().with(layer).with(counted.clone()).init();
    let nested = || {
        info!("from within Debug");
        Span::current().record("finish_reason", "from within");
        let _request = info_span!("request", request_id = "nested").entered();
        drop(info_span!("stage", stage_id = 7, request_id = "outer"));
    };
    let request = info_span!("request", request_id = "outer", finish_reason = Empty);
    request.in_scope(|| {
        let stage = info_span!("stage", stage_id = 0, note = ?Does(nested), num_tokens_out = Empty);
        stage.in_scope(|| {
            stage.record("num_tokens_out", tracing::field::debug(Does(nested)));
            stage.record("note", tracing::field::debug(Does(nested)));
        });
    });
    drop(request);
    let lines = log.lines();
    let of = |id: &str| lines.iter().filter(|line| line["request_id"] == id).collect::<Vec<_>>();
    // Once by this layer and once by the other one, each of the three times.
    assert_eq!((of("nested").len(), counted.0.load(Ordering::Relaxed)), (6, 6));
    let [outer] = &of("outer")[..] else { panic!("{lines:#?}") };
    assert_eq!(outer["stage_table"][1]["events"], 6, "{outer:#}");
    assert_eq!(outer["stage_table"][0]["fields"]["note"], "shown");
    assert_eq!(outer["e2e_table"]["finish_reason"], "from within");
    assert_eq!(support::warnings(outer).len(), 1, "`shown` is no count");
    assert_eq!(handle.snapshot().open_requests, 0);
    assert_healthy(&log);
}

/// A layer that formats every field of every span, and counts events.
#[derive(Clone, Default)]
struct Counted(Arc<AtomicU64>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Counted {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        attributes
            .record(&mut |_: &tracing::field::Field, value: &dyn fmt::Debug| drop(format!("{value:?}")));
    }

    fn on_record(&self, _: &Id, values: &Record<'_>, _: Context<'_, S>) {
        values.record(&mut |_: &tracing::field::Field, value: &dyn fmt::Debug| drop(format!("{value:?}")));
    }

    fn on_event(&self, _: &tracing::Event<'_>, _: Context<'_, S>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_debug_that_panics_is_as_if_not_recorded() {
    if !in_a_process_of_its_own("a_debug_that_panics_is_as_if_not_recorded") {
        return;
    }
    // Without `fmt`, which would let the panic through to the program.
    let log = Log::default();
    tracing_subscriber::registry().with(OmniMetricsLayer::new().with_writer(log.clone())).init();
    let panics = || panic!("a user's bug");
    {
        let _request = info_span!("request", request_id = "r").entered();
        let stage = info_span!("stage", stage_id = ?Does(panics), num_tokens_out = 4, note = %"kept");
        stage.record("num_tokens_out", tracing::field::debug(Does(panics)));
    }
    let line = &log.lines()[0];
    assert_eq!(line["stage_table"][0]["num_tokens_out"], 4);
    assert_eq!(line["stage_table"][0]["fields"]["note"], "kept");
    let warnings = support::warnings(line);
    assert_eq!(warnings.iter().filter(|warning| warning.contains("panicked")).count(), 2, "{warnings:?}");
    assert_healthy(&log);
}

#[test]
fn a_debug_that_logs_beside_a_filter_that_declines_the_span() {
    if !in_a_process_of_its_own("a_debug_that_logs_beside_a_filter_that_declines_the_span") {
        return;
    }
    // Ours is added last, so the other filter's say on the span is used up when `Debug` runs.
    let (log, printed) = (Log::default(), Log::default());
    let layer = OmniMetricsLayer::new().with_writer(log.clone());
    let fmt = text::layer().with_writer(printed.clone()).with_filter(LevelFilter::WARN);
    tracing_subscriber::registry().with(fmt).with(layer).init();
    let logs = || warn!("from within Debug");
    for _ in 0..3 {
        let _request =
            info_span!("request", request_id = "r", first = ?Does(logs), second = ?Does(logs)).entered();
        warn!("in the request");
    }
    let lines = log.lines();
    assert_eq!(lines.len(), 3, "{lines:#?}");
    assert_eq!(lines[0]["fields"], serde_json::json!({"first": "shown", "second": "shown"}));
    assert_eq!(printed.text().matches("in the request").count(), 3, "{}", printed.text());
    assert_eq!(printed.text().matches("from within").count(), 6, "{}", printed.text());
    assert_healthy(&log);
}

#[test]
fn a_debug_that_logs_beside_opentelemetry_and_behind_a_filtered_fmt() {
    if !in_a_process_of_its_own("a_debug_that_logs_beside_opentelemetry_and_behind_a_filtered_fmt") {
        return;
    }
    let (log, printed) = (Log::default(), Log::default());
    let layer = OmniMetricsLayer::new().with_writer(log.clone());
    // Any layer that formats the value, added before this one, would make it panic.
    let fmt = text::layer().with_writer(printed.clone()).with_filter(LevelFilter::WARN);
    let otel = tracing_opentelemetry::layer().with_tracer(SdkTracerProvider::default().tracer("test"));
    tracing_subscriber::registry().with(fmt).with(layer).with(otel).init();
    let logs = || warn!("from within Debug");
    drop(info_span!("request", request_id = "r", value = ?Does(logs)));
    assert_eq!(log.lines()[0]["fields"], serde_json::json!({"value": "shown"}));
    assert_eq!(printed.text().matches("from within").count(), 2, "once for each layer: {}", printed.text());
    assert_healthy(&log);
}

#[test]
fn debugs_that_log_on_many_threads_at_once() {
    if !in_a_process_of_its_own("debugs_that_log_on_many_threads_at_once") {
        return;
    }
    let log = Log::default();
    tracing_subscriber::registry().with(OmniMetricsLayer::new().with_writer(log.clone())).init();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..2_000 {
                    let value = Does(|| info!("from within Debug"));
                    let request = info_span!("request", request_id = "r", value = ?value, late = Empty);
                    request.record("late", tracing::field::debug(value));
                }
            });
        }
    });
    assert_eq!(log.lines().len(), 16_000);
    assert_healthy(&log);
}

#[test]
fn a_debug_that_makes_a_span_of_itself_comes_to_an_end() {
    if !in_a_process_of_its_own("a_debug_that_makes_a_span_of_itself_comes_to_an_end") {
        return;
    }
    struct Endless;
    impl fmt::Debug for Endless {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            info_span!("stage", stage_id = 0, me = ?self).in_scope(|| f.write_str("me"))
        }
    }
    let log = Log::default();
    tracing_subscriber::registry().with(OmniMetricsLayer::new().with_writer(log.clone())).init();
    drop(info_span!("request", me = ?Endless));
    assert_eq!(log.lines().last().unwrap()["fields"]["me"], "me");
    assert_healthy(&log);
}

#[test]
fn a_writer_that_logs_and_makes_requests_under_a_global_default() {
    if !in_a_process_of_its_own("a_writer_that_logs_and_makes_requests_under_a_global_default") {
        return;
    }
    struct Chatty(Log);
    impl Write for Chatty {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            info!("writing {} bytes", bytes.len());
            let _request = info_span!("request", request_id = "of the writer").entered();
            (&self.0).write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (log, printed) = (Log::default(), Log::default());
    let writer = log.clone();
    let layer = OmniMetricsLayer::new().with_writer(move || Chatty(writer.clone()));
    let handle = layer.handle();
    tracing_subscriber::registry().with(layer).with(text::layer().with_writer(printed.clone())).init();
    for _ in 0..10 {
        drop(info_span!("request", request_id = "of the program"));
    }
    let lines = log.lines();
    assert_eq!(lines.len(), 10);
    assert!(lines.iter().all(|line| line["request_id"] == "of the program"));
    let snapshot = handle.snapshot();
    assert_eq!((snapshot.lines_written, snapshot.lines_lost, snapshot.open_requests), (10, 10, 0));
    assert_eq!(printed.text().matches("writing").count(), 10);
}

thread_local! {
    static KEPT: RefCell<Vec<Span>> = const { RefCell::new(Vec::new()) };
}

#[test]
fn spans_that_close_from_thread_local_destructors() {
    if !in_a_process_of_its_own("spans_that_close_from_thread_local_destructors") {
        return;
    }
    let (log, _, handle) = install_globally();
    for id in 0..50 {
        let worker = thread::spawn(move || {
            // The spans are kept before the layer's own thread-locals are first used, and after.
            KEPT.with_borrow_mut(Vec::clear);
            if id % 2 == 0 {
                drop(info_span!("request", request_id = "early"));
            }
            let request = info_span!("request", request_id = id);
            let stage = info_span!(parent: &request, "stage", stage_id = 0);
            KEPT.with_borrow_mut(|kept| kept.extend([request, stage]));
        });
        worker.join().unwrap();
    }
    let snapshot = handle.snapshot();
    assert_eq!((snapshot.lines_written, snapshot.lines_lost, snapshot.open_requests), (75, 0, 0));
    assert_healthy(&log);
}

#[test]
fn a_second_global_default_is_refused_and_the_first_goes_on() {
    if !in_a_process_of_its_own("a_second_global_default_is_refused_and_the_first_goes_on") {
        return;
    }
    let (log, _, _) = install_globally();
    let second = OmniMetricsLayer::new().with_writer(io::sink);
    let handle = second.handle();
    assert!(tracing::subscriber::set_global_default(tracing_subscriber::registry().with(second)).is_err());
    assert_healthy(&log);
    assert_eq!(handle.snapshot().overall_summary.e2e_requests, 0);
}

#[test]
fn the_process_may_end_with_open_requests() {
    if !in_a_process_of_its_own("the_process_may_end_with_open_requests") {
        return;
    }
    let (_, _, handle) = install_globally();
    for _ in 0..10 {
        let open = info_span!("request");
        thread::spawn(move || {
            let _entered = open.entered();
            thread::park();
        });
    }
    static OPEN: std::sync::Mutex<Vec<Span>> = std::sync::Mutex::new(Vec::new());
    OPEN.lock().unwrap().push(info_span!("request"));
    assert_eq!(handle.snapshot().open_requests, 11);
    std::process::exit(0);
}

const CLOSED_STDERR: &str = "a_closed_stderr_loses_lines_and_nothing_else";

#[test]
fn a_closed_stderr_loses_lines_and_nothing_else() {
    if std::env::var("OMNI_METRICS_INSIDE").as_deref() == Ok(CLOSED_STDERR) {
        let layer = OmniMetricsLayer::new();
        let handle = layer.handle();
        tracing_subscriber::registry().with(layer).init();
        for _ in 0..100 {
            drop(info_span!("request"));
        }
        let snapshot = handle.snapshot();
        println!("{} lost, {} requests", snapshot.lines_lost, snapshot.overall_summary.e2e_requests);
        std::process::exit(0);
    }
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let output = run_in_a_process(CLOSED_STDERR, |command| {
        command.stderr(Stdio::from(writer));
    });
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains("100 lost, 100 requests"), "{printed}");
}

/// The last number of each name in what a process has printed: `lost=3`.
fn printed(output: &[u8], name: &str) -> usize {
    let text = String::from_utf8_lossy(output);
    let number = text.split_whitespace().rev().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    number.unwrap_or_else(|| panic!("no {name}: {text}")).parse().unwrap()
}

/// Whole lines of the layer, and whether a part of one follows.
fn whole_lines(text: &str) -> (usize, bool) {
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    let requests = text[..whole].lines().map(|line| match line.parse() {
        Ok(omni_metrics::Line::Request(_)) => 1,
        other => panic!("{line}: {other:?}"),
    });
    (requests.sum(), whole < text.len())
}

const UNREAD_STDERR: &str = "a_stderr_that_nobody_reads_makes_no_thread_wait";
/// Lines of more than 1 KiB each: more than what waits, and what any pipe or socket takes, in all.
const UNREAD_REQUESTS: usize = 4_000;

/// What the process does whose stderr nobody reads.
fn fill_stderr() -> OmniMetricsHandle {
    let layer = OmniMetricsLayer::new();
    let handle = layer.handle();
    tracing_subscriber::registry().with(layer).init();
    let note = "x".repeat(800);
    for _ in 0..UNREAD_REQUESTS {
        drop(info_span!("request", note));
    }
    handle
}

#[cfg(unix)]
#[test]
fn a_stderr_that_nobody_reads_makes_no_thread_wait() {
    use std::os::{fd::OwnedFd, unix::net::UnixStream};

    if std::env::var("OMNI_METRICS_INSIDE").as_deref() == Ok(UNREAD_STDERR) {
        let snapshot = fill_stderr().snapshot();
        println!("written={} lost={}", snapshot.lines_written, snapshot.lines_lost);
        std::process::exit(0);
    }
    let (pipe, to_pipe) = io::pipe().unwrap();
    let (socket, to_socket) = UnixStream::pair().unwrap();
    let unread: [(Box<dyn Read>, OwnedFd); 2] =
        [(Box::new(pipe), to_pipe.into()), (Box::new(socket), to_socket.into())];
    for (reader, writer) in unread {
        let output = run_in_a_process(UNREAD_STDERR, |command| {
            command.stderr(Stdio::from(writer));
        });
        assert_unread(&output, reader);
    }
}

#[cfg(unix)]
#[test]
fn a_pipe_of_another_user_that_nobody_reads_makes_no_thread_wait() {
    use std::os::unix::process::CommandExt;

    // The process may not open the pipe anew. Only root can start it.
    const NOBODY: u32 = 65_534;
    let (reader, writer) = io::pipe().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([UNREAD_STDERR, "--exact", "--nocapture", "--test-threads=1"]);
    command.env("OMNI_METRICS_INSIDE", UNREAD_STDERR).stderr(Stdio::from(writer)).uid(NOBODY);
    match command.output() {
        Ok(output) => {
            drop(command);
            assert_unread(&output, reader);
        }
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied),
    }
}

/// All requests were served, and stderr has the lines that count as written.
#[cfg(unix)]
fn assert_unread(output: &Output, mut reader: impl Read) {
    assert!(output.status.success(), "{output:?}");
    let (written, lost) = (printed(&output.stdout, "written"), printed(&output.stdout, "lost"));
    assert!(written > 0 && lost > 0 && written + lost < UNREAD_REQUESTS, "{written}, {lost}");
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(whole_lines(&text).0, written);
}

const LATE_READER: &str = "what_waits_for_stderr_is_written_in_order_before_the_process_ends";

#[test]
fn what_waits_for_stderr_is_written_in_order_before_the_process_ends() {
    const REQUESTS: usize = 1_500;
    if std::env::var("OMNI_METRICS_INSIDE").as_deref() == Ok(LATE_READER) {
        let layer = OmniMetricsLayer::new();
        let handle = layer.handle();
        tracing_subscriber::registry().with(layer).init();
        for id in 0..REQUESTS {
            drop(info_span!("request", request_id = id));
        }
        let lost = handle.snapshot().lines_lost;
        println!("\nmade={REQUESTS} lost={lost}");
        // The reader reads by now; what it has not read yet is the exit's.
        io::stdin().read_line(&mut String::new()).unwrap();
        std::process::exit(0);
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([LATE_READER, "--exact", "--nocapture", "--test-threads=1"]);
    command.env("OMNI_METRICS_INSIDE", LATE_READER);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    let made = BufReader::new(process.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap)
        .find(|line| line.starts_with("made="))
        .unwrap();
    assert_eq!(printed(made.as_bytes(), "lost"), 0);
    let (mut stderr, mut text) = (process.stderr.take().unwrap(), vec![0]);
    stderr.read_exact(&mut text).unwrap();
    process.stdin.take().unwrap().write_all(b"\n").unwrap();
    stderr.read_to_end(&mut text).unwrap();
    assert!(process.wait().unwrap().success());
    let text = String::from_utf8(text).unwrap();
    assert_eq!(whole_lines(&text), (REQUESTS, false));
    let ids: Vec<usize> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|line| line["request_id"].as_str().unwrap().parse().unwrap())
        .collect();
    assert!(ids.is_sorted(), "{ids:?}");
}

const HELD_STDERR: &str = "a_thread_that_holds_the_lock_of_stderr_holds_up_no_line";

#[cfg(unix)]
#[test]
fn a_thread_that_holds_the_lock_of_stderr_holds_up_no_line() {
    if std::env::var("OMNI_METRICS_INSIDE").as_deref() == Ok(HELD_STDERR) {
        let _held = io::stderr().lock();
        // On another thread, since the lock may be taken twice by the same one.
        let requests = thread::spawn(|| {
            tracing_subscriber::registry().with(OmniMetricsLayer::new()).init();
            (0..10).for_each(|_| drop(info_span!("request")));
        });
        requests.join().unwrap();
        std::process::exit(0);
    }
    let output = run_in_a_process(HELD_STDERR, |_| {});
    assert!(output.status.success(), "{output:?}");
    assert_eq!(whole_lines(&String::from_utf8(output.stderr).unwrap()), (10, false));
}

const FILE_STDERR: &str = "threads_that_share_a_file_write_whole_lines";

#[test]
fn threads_that_share_a_file_write_whole_lines() {
    if std::env::var("OMNI_METRICS_INSIDE").as_deref() == Ok(FILE_STDERR) {
        // Two layers, one stderr.
        let subscriber = tracing_subscriber::registry().with(OmniMetricsLayer::new());
        subscriber.with(OmniMetricsLayer::new()).init();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..500).for_each(|_| drop(info_span!("request", note = "x".repeat(900)))));
            }
        });
        std::process::exit(0);
    }
    let path =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("stderr-{}.jsonl", std::process::id()));
    let output = run_in_a_process(FILE_STDERR, |command| {
        command.stderr(fs::File::create(&path).unwrap());
    });
    assert!(output.status.success(), "{output:?}");
    let text = fs::read_to_string(&path).unwrap();
    fs::remove_file(path).unwrap();
    assert_eq!(whole_lines(&text), (4_000, false));
}
