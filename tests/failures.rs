//! Section 8 of docs/numbers.md, failures: `ERROR` events inside of a request, and the reason of a request
//! that recorded none.

mod support;

use std::{
    fmt,
    future::pending,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Waker},
    time::Duration,
};

use serde_json::{Value, json};
use support::{Rig, in_a_process_of_its_own, layer, line, lines, warnings};
use tracing::{
    Dispatch, Event, Instrument, Span, debug_span, error, field::Empty, info, info_span, instrument, warn,
};
use tracing_subscriber::{Layer, filter::LevelFilter, layer, prelude::*};

fn request(id: &str) -> Span {
    info_span!("request", request_id = id, finish_reason = Empty)
}

/// `errors`, `error` and `finish_reason`, absent ones as null.
fn outcome(line: &Value) -> [Value; 3] {
    ["errors", "error", "finish_reason"].map(|name| line["e2e_table"].get(name).cloned().unwrap_or_default())
}

fn reason(line: &Value) -> &str {
    line["e2e_table"]["finish_reason"].as_str().unwrap_or("none")
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(future)
}

// Errors.

#[derive(Debug)]
struct Failure(&'static str);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Failure {}

/// The name of the function becomes the name of the span, unless the attribute gives one.
#[instrument(name = "request", skip_all, fields(request_id = "r", finish_reason = Empty), err)]
fn handle(outcome: Result<(), Failure>) -> Result<(), Failure> {
    step(outcome)?;
    Span::current().record("finish_reason", "stop");
    Ok(())
}

#[instrument(name = "stage", skip_all, fields(stage_id = 0))]
fn step(outcome: Result<(), Failure>) -> Result<(), Failure> {
    outcome
}

#[test]
fn a_returned_error_is_counted_with_its_text_and_is_the_reason() {
    let line = line(|_| assert!(handle(Err(Failure("out of memory"))).is_err()));
    assert_eq!(outcome(&line), [json!(1), json!("out of memory"), json!("error")]);
}

#[test]
fn a_request_that_ends_well_has_no_errors() {
    let line = line(|_| assert!(handle(Ok(())).is_ok()));
    assert_eq!(outcome(&line), [Value::Null, Value::Null, json!("stop")]);
}

#[test]
fn an_error_returned_through_several_instrumented_functions_is_counted_at_each() {
    #[instrument(err)]
    fn decode() -> Result<(), Failure> {
        Err(Failure("bad codec"))
    }
    #[instrument(name = "stage", fields(stage_id = 0), err(Debug))]
    fn stage() -> Result<(), Failure> {
        decode()
    }
    let line = line(|_| request("r").in_scope(|| assert!(stage().is_err())));
    assert_eq!(outcome(&line), [json!(2), json!("bad codec"), json!("error")], "the text is the first one's");
}

#[test]
fn an_error_that_an_async_function_returns_is_counted() {
    #[instrument(name = "request", skip_all, fields(request_id = "r", finish_reason = Empty), err)]
    async fn handle() -> Result<(), Failure> {
        tokio::time::sleep(Duration::from_millis(1)).await;
        Err(Failure("late"))
    }
    let line = line(|_| assert!(block_on(handle()).is_err()));
    assert_eq!(outcome(&line), [json!(1), json!("late"), json!("error")]);
}

#[test]
fn the_message_goes_before_the_error_field() {
    for (emit, text) in [
        (&|| error!(error = "field", "message {}", 1), Some("message 1")),
        (&|| error!(error = "field"), Some("field")),
        (&|| error!(error = %Failure("shown")), Some("shown")),
        (&|| error!(error = ?Failure("shown")), Some("Failure(\"shown\")")),
        (&|| error!(error = &Failure("shown") as &dyn std::error::Error), Some("shown")),
        (&|| error!(error = 7), Some("7")),
        (&|| error!(message = "as a field", error = true), Some("as a field")),
        (&|| error!(cause = "neither"), None),
        (&|| error!(""), Some("")),
    ] as [(&dyn Fn(), _); 9]
    {
        let line = line(|_| request("r").in_scope(emit));
        assert_eq!(outcome(&line), [json!(1), json!(text), json!("error")]);
        assert_eq!(line["e2e_table"].get("error").is_some(), text.is_some(), "absent, not null");
    }
}

#[test]
fn the_text_is_the_first_events_even_if_that_has_none() {
    let line = line(|_| {
        request("r").in_scope(|| {
            error!(cause = "neither");
            error!("second");
        });
    });
    assert_eq!(outcome(&line), [json!(2), Value::Null, json!("error")]);
}

#[test]
fn the_text_is_cut_at_1_kib_on_a_character_boundary() {
    let line = line(|_| {
        request("r").in_scope(|| error!("x{}", "é".repeat(10_000)));
    });
    let text = line["e2e_table"]["error"].as_str().unwrap();
    assert_eq!((text.len(), text.chars().count()), (1_023, 512));
    assert_eq!(warnings(&line), [""; 0], "as the contract says, it is cut");
}

#[test]
fn an_event_counts_inside_of_everything_that_belongs_to_the_request() {
    let line = line(|_| {
        let request = request("r");
        let inside = [
            info_span!(parent: &request, "stage", stage_id = 0),
            info_span!(parent: &request, "transfer", from_stage = 0, to_stage = 1),
            info_span!("stage", stage_id = 1, request_id = "r"),
            info_span!(parent: &request, "foreign"),
        ];
        let preprocess = info_span!(parent: &inside[0], "preprocess");
        let foreign = info_span!(parent: &preprocess, "tokenizer");
        let follows = info_span!("stage", stage_id = 2);
        follows.follows_from(&request);
        inside.iter().chain([&request, &preprocess, &foreign, &follows]).for_each(|span| {
            span.in_scope(|| error!("here"));
            error!(parent: span, "there");
        });
        // Through a span that is no lineage.
        foreign.in_scope(|| debug_span!("unseen").in_scope(|| error!("deep")));
    });
    assert_eq!(outcome(&line), [json!(2 * 8 + 1), json!("here"), json!("error")]);
}

#[test]
fn an_event_outside_of_requests_is_nobodys() {
    let lines = lines(|_| {
        error!("before");
        let request = request("r");
        error!("beside");
        info_span!("foreign").in_scope(|| error!("in a foreign span"));
        info_span!("stage", stage_id = 0).in_scope(|| error!("in a detached stage"));
        request.in_scope(|| error!(parent: None, "a root"));
        drop(request);
        error!("after");
    });
    let request = lines.iter().find(|line| line["type"] == "request").unwrap();
    assert_eq!(outcome(request), [Value::Null, Value::Null, json!("abort")]);
    assert_eq!(lines.len(), 2, "nothing is written for an event");
}

#[test]
fn an_event_in_a_batch_is_every_requests() {
    let lines = lines(|_| {
        let requests = ["a", "b"].map(request);
        let alone = request("c");
        let batch = info_span!("stage", stage_id = 0);
        requests.iter().for_each(|request| {
            batch.follows_from(request);
        });
        batch.in_scope(|| {
            error!("the device is lost");
            let part = info_span!("stage", stage_id = 0, request_id = "b");
            part.in_scope(|| error!("of one alone"));
        });
        drop((batch, requests, alone));
    });
    let outcomes: Vec<_> = lines.iter().map(outcome).collect();
    let lost = json!("the device is lost");
    assert_eq!(outcomes[0], [json!(1), lost.clone(), json!("error")]);
    assert_eq!(outcomes[1], [json!(2), lost, json!("error")]);
    assert_eq!(outcomes[2], [Value::Null, Value::Null, json!("abort")]);
}

#[test]
fn an_event_between_the_answer_and_the_line_counts() {
    let line = line(|_| {
        let request = request("r");
        let holder = info_span!("stage", stage_id = 0, request_id = "r");
        drop(request);
        holder.in_scope(|| error!("while it cleans up"));
    });
    assert_eq!(outcome(&line), [json!(1), json!("while it cleans up"), json!("error")]);
}

#[test]
fn an_inner_request_has_its_own_errors() {
    let lines = lines(|_| {
        let outer = request("outer").entered();
        drop(info_span!("stage", stage_id = 0));
        request("inner").in_scope(|| error!("inside"));
        drop(outer);
    });
    assert_eq!(outcome(&lines[0]), [json!(1), json!("inside"), json!("error")]);
    assert_eq!(outcome(&lines[1]), [Value::Null, Value::Null, json!("abort")]);
}

#[test]
fn a_wrapper_with_an_error_is_still_no_request() {
    let lines = lines(|_| {
        let wrapper = info_span!("request", finish_reason = Empty).entered();
        drop(request("r"));
        error!("response failed");
        drop(wrapper);
    });
    assert_eq!(lines.len(), 1);
    assert_eq!(outcome(&lines[0]), [Value::Null, Value::Null, json!("abort")]);
}

#[test]
fn errors_do_not_stay_for_the_next_request() {
    let lines = lines(|_| {
        request("a").in_scope(|| error!("once"));
        drop(request("b"));
        drop(info_span!("request", request_id = "c"));
    });
    assert_eq!(outcome(&lines[1]), [Value::Null, Value::Null, json!("abort")]);
    assert_eq!(outcome(&lines[2]), [const { Value::Null }; 3]);
}

struct Panics;

impl fmt::Debug for Panics {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        resume_unwind(Box::new("on purpose"))
    }
}

#[test]
fn an_event_whose_debug_panics_is_counted_and_the_program_goes_on() {
    let line = line(|_| {
        request("r").in_scope(|| {
            error!(error = ?Panics);
            error!("{:?}", Panics);
            error!(other = ?Panics, "fine");
        });
    });
    assert_eq!(outcome(&line), [json!(3), json!("…"), json!("error")]);
}

struct Logs;

impl fmt::Debug for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        error!("from inside");
        info_span!("stage", stage_id = 0).in_scope(|| error!("and from a stage"));
        f.write_str("logs")
    }
}

#[test]
fn an_event_whose_debug_emits_events_blocks_nothing() {
    let line = line(|_| request("r").in_scope(|| error!(error = ?Logs)));
    assert_eq!(reason(&line), "error");
    assert!(line["e2e_table"]["errors"].as_u64() >= Some(1), "{line:#}");
}

#[test]
fn control_characters_of_an_error_are_escaped() {
    let rig = Rig::new();
    rig.run_text(|_| request("r").in_scope(|| error!("\u{1b}[31m\n\"quoted\"")));
    let text = rig.log.text();
    assert_eq!(text.lines().count(), 1);
    assert!(text.contains(r#""error":"\u001b[31m\n\"quoted\"""#), "{text}");
}

#[test]
fn only_error_events_are_listened_to() {
    // Whether a callsite is enabled depends on all subscribers of the process.
    if !in_a_process_of_its_own("only_error_events_are_listened_to") {
        return;
    }
    let line = line(|_| {
        request("r").in_scope(|| {
            warn!("not yet");
            info!("no");
            assert!(
                !tracing::event_enabled!(tracing::Level::ERROR),
                "a question has no answer from the layer"
            );
            assert!(!tracing::event_enabled!(tracing::Level::WARN));
            assert!(!tracing::event_enabled!(tracing::Level::INFO));
            assert!(!tracing::event_enabled!(tracing::Level::TRACE));
        });
    });
    assert_eq!(outcome(&line), [Value::Null, Value::Null, json!("abort")]);
}

#[test]
fn a_foreign_event_below_error_never_evaluates_its_fields() {
    // Whether a callsite is enabled depends on all subscribers of the process.
    if !in_a_process_of_its_own("a_foreign_event_below_error_never_evaluates_its_fields") {
        return;
    }
    let count = AtomicUsize::new(0);
    let value = || count.fetch_add(1, Ordering::Relaxed);
    let line = line(|_| {
        request("r").in_scope(|| {
            warn!(field = value());
            info!(field = value(), "{}", value());
            tracing::debug!(field = value());
            tracing::trace!(field = value());
            assert_eq!(count.load(Ordering::Relaxed), 0);
            error!(field = value());
        });
    });
    assert_eq!(count.load(Ordering::Relaxed), 1);
    assert_eq!(outcome(&line)[0], 1);
}

/// A layer that counts.
#[derive(Clone, Default)]
struct Count(Arc<AtomicUsize>);

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Count {
    fn on_event(&self, _: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn on_new_span(
        &self,
        _: &tracing::span::Attributes<'_>,
        _: &tracing::span::Id,
        _: tracing_subscriber::layer::Context<'_, S>,
    ) {
        self.0.fetch_add(100, Ordering::Relaxed);
    }
}

#[test]
fn a_question_whether_errors_are_enabled_hides_nothing_from_other_layers() {
    if !in_a_process_of_its_own("a_question_whether_errors_are_enabled_hides_nothing_from_other_layers") {
        return;
    }
    let count = Count::default();
    let filter = tracing_subscriber::filter::Targets::new()
        .with_target("noisy", LevelFilter::OFF)
        .with_default(tracing::Level::INFO);
    let (layer, _rig) = support::layer();
    let subscriber = tracing_subscriber::registry().with(layer).with(count.clone().with_filter(filter));
    tracing::subscriber::with_default(subscriber, || {
        for _ in 0..10 {
            assert!(!tracing::enabled!(target: "noisy", tracing::Level::ERROR));
            assert!(!tracing::event_enabled!(target: "noisy", tracing::Level::ERROR));
            warn!("an event");
            assert!(!tracing::enabled!(target: "noisy", tracing::Level::ERROR));
            assert!(!tracing::event_enabled!(target: "noisy", tracing::Level::ERROR));
            drop(info_span!("foreign"));
            for name in ["foreign", "request"] {
                assert!(!tracing::span_enabled!(target: "noisy", tracing::Level::INFO));
                match name {
                    "request" => drop(request("r")),
                    _ => drop(info_span!("foreign")),
                }
            }
        }
    });
    assert_eq!(count.0.load(Ordering::Relaxed), 10 + 30 * 100);
}

/// An answer of a filter stays on the thread where nothing follows a question (tracing#2519).
#[test]
fn an_answer_that_a_question_left_on_the_thread_hides_no_span_and_no_error() {
    if !in_a_process_of_its_own("an_answer_that_a_question_left_on_the_thread_hides_no_span_and_no_error") {
        return;
    }
    let count = Count::default();
    // The layers' answers differ, so `tracing` asks both, and nothing takes the layer's no from the thread.
    let filter = tracing_subscriber::filter::Targets::new()
        .with_target("chatty", tracing::Level::DEBUG)
        .with_default(tracing::Level::INFO);
    let (layer, rig) = support::layer();
    let subscriber = tracing_subscriber::registry().with(layer).with(count.clone().with_filter(filter));
    tracing::subscriber::with_default(subscriber, || {
        let ask = || assert!(tracing::enabled!(target: "chatty", tracing::Level::DEBUG));
        for _ in 0..10 {
            ask();
            let request = request("r");
            ask();
            request.in_scope(|| error!("seen"));
            ask();
            request.in_scope(|| drop(info_span!("stage", stage_id = 0)));
        }
    });
    assert_eq!(count.0.load(Ordering::Relaxed), 10 + 20 * 100);
    let lines = rig.log.lines();
    assert_eq!(lines.len(), 10);
    for line in lines {
        assert_eq!((&outcome(&line)[0], line["stage_table"].as_array().map(Vec::len)), (&json!(1), Some(1)));
    }
}

#[test]
fn errors_are_enabled_also_where_the_level_is_lowered_and_not_when_it_is_off() {
    for (level, errors) in [(LevelFilter::ERROR, 1), (LevelFilter::OFF, 0)] {
        let rig = Rig::with(|layer| layer.with_max_level(level));
        let lines = rig.run(|_| {
            tracing::error_span!("request", request_id = "r").in_scope(|| error!("seen"));
        });
        let counted = lines.first().map_or(0, |line| outcome(line)[0].as_u64().unwrap());
        assert_eq!(counted, errors);
    }
}

#[test]
fn a_layer_that_is_off_listens_to_no_event() {
    // Whether a callsite is enabled depends on all subscribers of the process.
    if !in_a_process_of_its_own("a_layer_that_is_off_listens_to_no_event") {
        return;
    }
    let rig = Rig::with(|layer| layer.with_log_stats(false));
    rig.run(|rig| {
        assert!(!tracing::event_enabled!(tracing::Level::ERROR));
        rig.handle.set_log_stats(true);
        request("r").in_scope(|| error!("on"));
        rig.handle.set_log_stats(false);
        request("s").in_scope(|| error!("off"));
    });
    assert_eq!(rig.log.lines().len(), 1);
    assert_eq!(outcome(&rig.log.lines()[0])[0], 1);
}

/// Counts the events that it sees.
#[derive(Clone, Default)]
struct Events(Arc<AtomicUsize>);

impl<S: tracing::Subscriber> Layer<S> for Events {
    fn on_event(&self, _: &Event<'_>, _: layer::Context<'_, S>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn other_layers_see_the_events_that_they_saw_without_this_one() {
    for level in [LevelFilter::TRACE, LevelFilter::INFO, LevelFilter::ERROR, LevelFilter::OFF] {
        let emit = || {
            error!("1");
            warn!("2");
            info!("3");
            tracing::debug!("4");
            tracing::trace!("5");
        };
        let (alone, beside) = (Events::default(), Events::default());
        let (layer, rig) = layer();
        let without = Dispatch::new(tracing_subscriber::registry().with(alone.clone().with_filter(level)));
        let with =
            Dispatch::new(tracing_subscriber::registry().with(layer).with(beside.clone().with_filter(level)));
        tracing::dispatcher::with_default(&without, emit);
        tracing::dispatcher::with_default(&with, || request("r").in_scope(emit));
        assert_eq!(alone.0.load(Ordering::Relaxed), beside.0.load(Ordering::Relaxed), "{level}");
        assert_eq!(outcome(&rig.log.lines()[0])[0], 1, "{level}");
    }
}

#[test]
fn events_from_many_threads_are_all_counted() {
    let rig = Rig::new();
    let request = {
        let _default = rig.install();
        request("r")
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let _default = rig.install();
                (0..1_000).for_each(|_| request.in_scope(|| error!("at once")));
            });
        }
    });
    drop(request);
    assert_eq!(outcome(&rig.log.lines()[0]), [json!(4_000), json!("at once"), json!("error")]);
}

// The reason.

#[test]
fn a_recorded_reason_stands_whatever_happened() {
    let line = line(|_| {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let request = request("r").entered();
            error!("and it goes on");
            request.record("finish_reason", "length");
            resume_unwind(Box::new("on purpose"));
        }));
        assert!(outcome.is_err());
    });
    assert_eq!(outcome(&line), [json!(1), json!("and it goes on"), json!("length")]);
}

#[test]
fn a_request_that_does_not_declare_a_reason_has_none() {
    let line = line(|_| {
        info_span!("request", request_id = "r").in_scope(|| error!("yet it fails"));
    });
    assert_eq!(outcome(&line), [json!(1), json!("yet it fails"), Value::Null]);
}

#[test]
fn a_request_that_closes_without_a_reason_was_dropped() {
    let line = line(|_| drop(request("r")));
    assert_eq!(outcome(&line), [Value::Null, Value::Null, json!("abort")]);
}

#[test]
fn an_absent_value_is_no_reason() {
    let line = line(|_| {
        let request = info_span!("request", request_id = "r", finish_reason = None::<&str>);
        request.record("finish_reason", tracing::field::debug(None::<&str>));
    });
    assert_eq!(reason(&line), "abort");
}

#[test]
fn a_panic_that_unwinds_through_the_request_is_an_error() {
    let line = line(|_| {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let _request = request("r").entered();
            let _stage = info_span!("stage", stage_id = 0).entered();
            resume_unwind(Box::new("on purpose"));
        }));
        assert!(outcome.is_err());
    });
    assert_eq!(outcome(&line), [Value::Null, Value::Null, json!("error")]);
}

#[test]
fn a_panic_that_was_caught_inside_of_the_request_is_none() {
    let line = line(|_| {
        let request = request("r").entered();
        let caught = catch_unwind(|| resume_unwind(Box::new("on purpose")));
        assert!(caught.is_err());
        drop(request);
    });
    assert_eq!(reason(&line), "abort");
}

#[test]
fn a_panic_in_an_async_handler_is_an_error() {
    let line = line(|_| {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            block_on(async { resume_unwind(Box::new("on purpose")) }.instrument(request("r")))
        }));
        assert!(outcome.is_err());
    });
    assert_eq!(reason(&line), "error");
}

#[test]
fn a_future_that_is_dropped_before_it_is_done_aborts_its_request() {
    let line = line(|rig| {
        let mut future = Box::pin(pending::<()>().instrument(request("r")));
        assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        rig.wait_ms(3);
        drop(future);
    });
    assert_eq!(outcome(&line), [Value::Null, Value::Null, json!("abort")]);
    assert_eq!(line["e2e_table"]["e2e_total_ms"], json!(3.0));
}

#[test]
fn a_future_that_is_never_polled_aborts_its_request() {
    let line = line(|_| drop(pending::<()>().instrument(request("r"))));
    assert_eq!(reason(&line), "abort");
}

#[test]
fn the_branch_that_select_drops_is_aborted_and_the_other_is_not() {
    let lines = lines(|_| {
        block_on(async {
            let slow = pending::<()>().instrument(request("slow"));
            let fast = async {
                Span::current().record("finish_reason", "stop");
            };
            let fast = fast.instrument(request("fast"));
            tokio::select! {
                () = slow => unreachable!("it is never ready"),
                () = fast => {}
            }
        });
    });
    let of = |id: &str| lines.iter().find(|line| line["request_id"] == id).map(reason);
    assert_eq!((of("slow"), of("fast")), (Some("abort"), Some("stop")));
}

#[test]
fn a_timeout_aborts_its_request() {
    let line = line(|_| {
        block_on(async {
            let work = pending::<()>().instrument(request("r"));
            assert!(tokio::time::timeout(Duration::from_millis(1), work).await.is_err());
        });
    });
    assert_eq!(reason(&line), "abort");
}

#[test]
fn an_aborted_task_aborts_its_request() {
    let line = line(|_| {
        block_on(async {
            let task = tokio::spawn(pending::<()>().instrument(request("r")));
            tokio::task::yield_now().await;
            task.abort();
            assert!(task.await.unwrap_err().is_cancelled());
        });
    });
    assert_eq!(reason(&line), "abort");
}

#[test]
fn a_task_that_panics_has_an_error() {
    let line = line(|_| {
        block_on(async {
            let work = async { resume_unwind(Box::new("on purpose")) };
            let task = tokio::spawn(Instrument::instrument(work, request("r")));
            assert!(task.await.unwrap_err().is_panic());
        });
    });
    assert_eq!(reason(&line), "error");
}

#[test]
fn a_cancelled_future_inside_of_a_request_that_goes_on_aborts_nothing() {
    let line = line(|_| {
        let request = request("r").entered();
        let mut step = pin!(pending::<()>().instrument(info_span!("stage", stage_id = 0)));
        assert!(step.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        request.record("finish_reason", "stop");
    });
    assert_eq!(reason(&line), "stop");
}

#[test]
fn a_held_request_keeps_the_reason_of_the_moment_at_which_its_span_closed() {
    let line = line(|_| {
        let holder = catch_unwind(AssertUnwindSafe(|| {
            let request = request("r");
            let holder = info_span!("stage", stage_id = 0, request_id = "r");
            let unwinding = catch_unwind(AssertUnwindSafe(|| {
                let _request = request;
                resume_unwind(Box::new("on purpose"));
            }));
            assert!(unwinding.is_err());
            holder
        }));
        drop(holder);
    });
    assert_eq!(reason(&line), "error");
}

#[test]
fn a_request_of_another_thread_that_does_not_panic_is_not_unwinding() {
    let rig = Rig::new();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let _default = rig.install();
        let request = request("r");
        struct DropElsewhere(Option<Span>);
        impl Drop for DropElsewhere {
            fn drop(&mut self) {
                let span = self.0.take();
                std::thread::scope(|scope| scope.spawn(|| drop(span)).join().unwrap());
            }
        }
        let _elsewhere = DropElsewhere(Some(request));
        resume_unwind(Box::new("on purpose"));
    }));
    assert!(outcome.is_err());
    assert_eq!(reason(&rig.log.lines()[0]), "abort", "its own thread is not unwinding");
}
