//! Beside other layers, in every position: each of them sees the same as without this layer, and the lines
//! are the same.

mod support;

use std::sync::{Arc, Mutex};

use omni_metrics::{Clock, MockClock, OmniMetricsHandle, OmniMetricsLayer};
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{SdkTracerProvider, SpanData, SpanExporter},
};
use serde_json::Value;
use support::Log;
use tracing::{
    Dispatch, Event, Metadata, Subscriber, debug, debug_span, info, info_span,
    level_filters::LevelFilter,
    span::{Attributes, Id, Record},
    trace, trace_span,
};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::filter_fn,
    fmt::{self, format::FmtSpan},
    layer::Context,
    prelude::*,
    registry::LookupSpan,
    reload,
};

/// A layer that writes down each callback it gets.
#[derive(Clone, Default)]
struct Witness(Arc<Mutex<Vec<String>>>);

impl Witness {
    fn says(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    fn said(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

fn name<S: Subscriber + for<'a> LookupSpan<'a>>(id: &Id, ctx: &Context<'_, S>) -> String {
    let lineage: Vec<_> = ctx.span_scope(id).into_iter().flatten().map(|span| span.name()).collect();
    lineage.join("<")
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Witness {
    fn on_new_span(&self, _: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        self.says(format!("new {}", name(id, &ctx)));
    }

    fn on_record(&self, id: &Id, _: &Record<'_>, ctx: Context<'_, S>) {
        self.says(format!("record {}", name(id, &ctx)));
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, ctx: Context<'_, S>) {
        self.says(format!("follow {} {}", name(id, &ctx), name(follows, &ctx)));
    }

    fn on_enter(&self, id: &Id, ctx: Context<'_, S>) {
        self.says(format!("enter {}", name(id, &ctx)));
    }

    fn on_exit(&self, id: &Id, ctx: Context<'_, S>) {
        self.says(format!("exit {}", name(id, &ctx)));
    }

    fn on_close(&self, id: Id, ctx: Context<'_, S>) {
        self.says(format!("close {}", name(&id, &ctx)));
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        let around: Vec<_> = ctx.event_scope(event).into_iter().flatten().map(|span| span.name()).collect();
        self.says(format!("event {} in {}", event.metadata().level(), around.join("<")));
    }
}

/// A request in a handler, with foreign spans and events of every level around and inside.
fn program(time: &MockClock) {
    let wait = |millis| time.advance(std::time::Duration::from_millis(millis));
    let _handler = info_span!("handler").entered();
    debug!("accepted");
    let request = info_span!("request", request_id = "r1", method = "POST");
    let entered = request.enter();
    let _route = info_span!("route").entered();
    let _detail = trace_span!("detail").entered();
    info!("routed");
    {
        let stage = debug_span!("stage", stage_id = 0, num_tokens_out = tracing::field::Empty);
        let _stage = stage.enter();
        let _kernel = debug_span!("kernel").entered();
        trace!("launched");
        wait(5);
        stage.record("num_tokens_out", 12);
    }
    let batch = info_span!(parent: None, "stage", stage_id = 1);
    batch.follows_from(&request);
    batch.in_scope(|| wait(3));
    drop(batch);
    trace_span!("transfer", from_stage = 0, to_stage = 1, size_bytes = 7).in_scope(|| wait(2));
    info!("done");
    drop(entered);
}

/// The layer with a clock of its own at the same time as all others.
fn omni<S>() -> (OmniMetricsLayer<S>, MockClock, Log, OmniMetricsHandle)
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let ((clock, time), log) = (Clock::mock(), Log::default());
    let layer = OmniMetricsLayer::new().with_clock(clock).with_writer(log.clone());
    let handle = layer.handle();
    (layer, time, log, handle)
}

fn run(dispatch: &Dispatch, time: &MockClock) {
    tracing::dispatcher::with_default(dispatch, || program(time));
}

/// What the layer alone writes.
fn alone() -> Vec<Value> {
    let (layer, time, log, _) = omni();
    run(&Dispatch::new(tracing_subscriber::registry().with(layer)), &time);
    let lines = log.lines();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["stage_table"].as_array().unwrap().len(), 2);
    lines
}

/// Runs the program with `with` (the stack that has the layer) and `without` it, each beside a
/// witness, and asks that the witnesses agree and that the lines are those of the layer alone.
fn assert_neighbourly(
    case: &str,
    without: impl FnOnce(Witness) -> Dispatch,
    with: impl FnOnce(Witness, OmniStack) -> Dispatch,
) {
    let (before, after) = (Witness::default(), Witness::default());
    let (_, time) = Clock::mock();
    run(&without(before.clone()), &time);

    let stack = OmniStack::default();
    let dispatch = with(after.clone(), stack.clone());
    let ((time, log), handle) = stack.parts();
    run(&dispatch, &time);
    assert!(!before.said().is_empty(), "{case}: the witness saw something");
    assert_eq!(after.said(), before.said(), "{case}: the witness");
    assert_eq!(log.lines(), alone(), "{case}: the lines");
    assert_eq!(handle.snapshot().open_requests, 0, "{case}");
}

/// Hands out the layer for whichever stack of layers asks, and keeps its other parts.
#[derive(Clone, Default)]
struct OmniStack(Arc<Mutex<Option<(MockClock, Log, OmniMetricsHandle)>>>);

impl OmniStack {
    fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(&self) -> OmniMetricsLayer<S> {
        let (layer, time, log, handle) = omni();
        *self.0.lock().unwrap() = Some((time, log, handle));
        layer
    }

    fn parts(&self) -> ((MockClock, Log), OmniMetricsHandle) {
        let (time, log, handle) = self.0.lock().unwrap().clone().unwrap();
        ((time, log), handle)
    }
}

fn at(level: LevelFilter) -> impl tracing_subscriber::layer::Filter<Registry> {
    // A closure, whose interest `tracing` can't know beforehand.
    filter_fn(move |metadata: &Metadata<'_>| *metadata.level() <= level)
}

#[test]
fn above_and_below_a_layer_that_sees_everything() {
    assert_neighbourly(
        "above",
        |witness| Dispatch::new(tracing_subscriber::registry().with(witness)),
        |witness, omni| Dispatch::new(tracing_subscriber::registry().with(witness).with(omni.layer())),
    );
    assert_neighbourly(
        "below",
        |witness| Dispatch::new(tracing_subscriber::registry().with(witness)),
        |witness, omni| Dispatch::new(tracing_subscriber::registry().with(omni.layer()).with(witness)),
    );
}

#[test]
fn above_and_below_a_layer_with_its_own_filter() {
    for level in [LevelFilter::INFO, LevelFilter::DEBUG, LevelFilter::TRACE] {
        assert_neighbourly(
            &format!("above {level}"),
            |witness| Dispatch::new(tracing_subscriber::registry().with(witness.with_filter(level))),
            |witness, omni| {
                Dispatch::new(
                    tracing_subscriber::registry().with(witness.with_filter(level)).with(omni.layer()),
                )
            },
        );
        assert_neighbourly(
            &format!("below {level}"),
            |witness| Dispatch::new(tracing_subscriber::registry().with(witness.with_filter(level))),
            |witness, omni| {
                Dispatch::new(
                    tracing_subscriber::registry().with(omni.layer()).with(witness.with_filter(level)),
                )
            },
        );
        assert_neighbourly(
            &format!("beside a dynamic {level}"),
            |witness| Dispatch::new(tracing_subscriber::registry().with(witness.with_filter(at(level)))),
            |witness, omni| {
                Dispatch::new(
                    tracing_subscriber::registry().with(witness.with_filter(at(level))).with(omni.layer()),
                )
            },
        );
    }
}

#[test]
fn beside_a_layer_whose_filter_wants_nothing_of_ours() {
    let others =
        || filter_fn(|metadata: &Metadata<'_>| !["request", "stage", "transfer"].contains(&metadata.name()));
    assert_neighbourly(
        "a filter without our spans",
        |witness| Dispatch::new(tracing_subscriber::registry().with(witness.with_filter(others()))),
        |witness, omni| {
            Dispatch::new(
                tracing_subscriber::registry().with(omni.layer()).with(witness.with_filter(others())),
            )
        },
    );
}

#[test]
fn in_an_option_a_box_a_vec_and_a_reload() {
    assert_neighbourly(
        "Option",
        |witness| Dispatch::new(tracing_subscriber::registry().with(witness)),
        |witness, omni| Dispatch::new(tracing_subscriber::registry().with(Some(omni.layer())).with(witness)),
    );
    assert_neighbourly(
        "Box",
        |witness| Dispatch::new(tracing_subscriber::registry().with(witness)),
        |witness, omni| {
            Dispatch::new(tracing_subscriber::registry().with(witness).with(omni.layer().boxed()))
        },
    );
    assert_neighbourly(
        "Vec",
        |witness| Dispatch::new(tracing_subscriber::registry().with(witness)),
        |witness, omni| {
            let layers: Vec<Box<dyn Layer<Registry> + Send + Sync>> =
                vec![omni.layer().boxed(), witness.boxed()];
            Dispatch::new(tracing_subscriber::registry().with(layers))
        },
    );
    assert_neighbourly(
        "reload",
        |witness| Dispatch::new(tracing_subscriber::registry().with(witness)),
        |witness, omni| {
            let (reloadable, _) = reload::Layer::new(omni.layer());
            Dispatch::new(tracing_subscriber::registry().with(reloadable).with(witness))
        },
    );
}

#[test]
fn the_layer_is_found_by_its_type_in_a_stack_and_no_other_is() {
    let (layer, ..) = omni();
    let dispatch = Dispatch::new(tracing_subscriber::registry().with(layer).with(Witness::default()));
    assert!(dispatch.downcast_ref::<OmniMetricsLayer<Registry>>().is_some());
    assert!(dispatch.downcast_ref::<Witness>().is_some());
    assert!(dispatch.downcast_ref::<OmniMetricsLayer<OtherStack>>().is_none());
    assert!(dispatch.downcast_ref::<fmt::Layer<Registry>>().is_none());
}

/// Another stack of layers than the one in use.
type OtherStack = tracing_subscriber::layer::Layered<Witness, Registry>;

#[test]
fn under_a_filter_of_the_users() {
    assert_neighbourly(
        "Filtered",
        |witness| Dispatch::new(tracing_subscriber::registry().with(witness)),
        |witness, omni| {
            let filtered = omni.layer().with_filter(LevelFilter::TRACE);
            Dispatch::new(tracing_subscriber::registry().with(filtered).with(witness))
        },
    );
}

#[test]
fn under_a_filter_that_drops_stages_only_those_are_missing() {
    let (layer, time, log, _) = omni();
    let filtered = layer.with_filter(LevelFilter::INFO);
    run(&Dispatch::new(tracing_subscriber::registry().with(filtered)), &time);
    let line = &log.lines()[0];
    assert_eq!(line["stage_table"][0]["stage_id"], 1, "the one of level debug is gone");
    assert_eq!(line["transfer_table"].as_array().unwrap().len(), 0);
}

#[test]
fn beside_an_env_filter_for_all_layers() {
    assert_neighbourly(
        "a global EnvFilter",
        |witness| Dispatch::new(tracing_subscriber::registry().with(witness).with(EnvFilter::new("trace"))),
        |witness, omni| {
            Dispatch::new(
                tracing_subscriber::registry().with(witness).with(omni.layer()).with(EnvFilter::new("trace")),
            )
        },
    );
    let directives = "warn,[stage]=debug,[request]=info,[transfer]=trace";
    assert_neighbourly(
        "an EnvFilter for one layer",
        |witness| {
            Dispatch::new(
                tracing_subscriber::registry().with(witness.with_filter(EnvFilter::new(directives))),
            )
        },
        |witness, omni| {
            let witness = witness.with_filter(EnvFilter::new(directives));
            Dispatch::new(tracing_subscriber::registry().with(omni.layer()).with(witness))
        },
    );
}

#[test]
fn two_instances_are_each_whole() {
    let first = omni();
    let second = omni();
    let dispatch = Dispatch::new(tracing_subscriber::registry().with(first.0).with(second.0));
    let _default = tracing::dispatcher::set_default(&dispatch);
    // Their clocks are moved in turn, so that both see the time of the program.
    program(&first.1);
    assert_eq!(first.2.lines(), alone());
    assert_eq!(second.2.lines().len(), 1);
    assert_eq!(second.2.lines()[0]["stage_table"].as_array().unwrap().len(), 2);
    assert_eq!(second.2.lines()[0]["e2e_table"]["e2e_total_ms"], 0.0, "its own clock stood still");
    first.3.reset();
    assert_eq!(second.3.snapshot().overall_summary.e2e_requests, 1, "its own run");
}

#[test]
fn sixty_instances_share_a_registry() {
    // A registry has room for 64 filters, and each layer takes one.
    let log = Log::default();
    let layers: Vec<_> = (0..60).map(|_| OmniMetricsLayer::new().with_writer(log.clone())).collect();
    let (_, time) = Clock::mock();
    run(&Dispatch::new(tracing_subscriber::registry().with(layers)), &time);
    assert_eq!(log.lines().len(), 60);
}

#[test]
fn fmt_prints_the_same_with_and_without_the_layer() {
    let print = |with_omni: bool| {
        let printed = Log::default();
        let fmt = fmt::layer()
            .json()
            .without_time()
            .with_span_events(FmtSpan::NEW | FmtSpan::CLOSE)
            .with_writer(printed.clone())
            .with_filter(LevelFilter::DEBUG);
        let (layer, time, log, _) = omni();
        let layer = with_omni.then_some(layer);
        run(&Dispatch::new(tracing_subscriber::registry().with(layer).with(fmt)), &time);
        // `time.busy` and `time.idle` are real times.
        let lines = printed.lines().into_iter().map(|mut line| {
            line["fields"].as_object_mut().unwrap().retain(|name, _| !name.starts_with("time."));
            line
        });
        (lines.collect::<Vec<_>>(), log.lines())
    };
    let ((without, nothing), (with, lines)) = (print(false), print(true));
    assert!(nothing.is_empty() && without.len() > 10);
    assert_eq!(with, without);
    assert_eq!(lines, alone());
}

/// The spans that were exported.
#[derive(Debug, Clone, Default)]
struct Exported(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Exported {
    async fn export(&self, spans: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap().extend(spans);
        Ok(())
    }
}

#[test]
fn opentelemetry_exports_the_same_spans_with_and_without_the_layer() {
    let export = |with_omni: bool| {
        let exporter = Exported::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
        let otel = tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("test"))
            .with_filter(LevelFilter::DEBUG);
        let (layer, time, log, _) = omni();
        let layer = with_omni.then_some(layer);
        run(&Dispatch::new(tracing_subscriber::registry().with(otel).with(layer)), &time);
        let spans = exporter.0.lock().unwrap();
        let seen = spans.iter().map(|span| (span.name.to_string(), span.links.len(), span.events.len()));
        (seen.collect::<Vec<_>>(), log.lines())
    };
    let ((without, _), (with, lines)) = (export(false), export(true));
    assert!(without.len() >= 5, "{without:?}");
    assert_eq!(with, without);
    assert_eq!(lines, alone());
}
