//! Beside OpenTelemetry: the real SDK, its exporter, and a receiver on a socket.

#[path = "../support/collector.rs"]
mod collector;
#[path = "../../support/mod.rs"]
mod support;

use std::{collections::HashMap, sync::mpsc, time::Duration};

use omni_metrics::OmniMetricsLayer;
use opentelemetry::{
    Context,
    propagation::TextMapPropagator,
    trace::{TraceContextExt, TracerProvider},
};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::{
    propagation::TraceContextPropagator,
    trace::{InMemorySpanExporter, Sampler, SdkTracerProvider, SpanData},
};
use serde_json::Value;
use tracing::{Dispatch, Span, Subscriber, dispatcher::with_default, field::Empty, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{Layer, Registry, filter::filter_fn, prelude::*};

use crate::{
    collector::{Attribute, hex},
    support::{Rig, layer},
};

/// What an incoming `traceparent` names.
fn remote_parent() -> Context {
    let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers = HashMap::from([("traceparent".to_owned(), header.to_owned())]);
    TraceContextPropagator::new().extract(&headers)
}

fn one_request(rig: &Rig, parent: Option<Context>) {
    let request = info_span!("request", request_id = "r1", finish_reason = Empty);
    if let Some(parent) = parent {
        request.set_parent(parent).unwrap();
    }
    rig.wait_ms(1);
    request.in_scope(|| {
        let stage =
            info_span!("stage", stage_id = 0, num_tokens_in = 7, num_tokens_out = 3, first_output = Empty);
        rig.wait_ms(2);
        stage.in_scope(|| {
            rig.wait_ms(4);
            Span::current().record("first_output", true);
            rig.wait_ms(8);
        });
        info_span!("transfer", from_stage = 0, to_stage = 1, size_bytes = 9).in_scope(|| rig.wait_ms(16));
        rig.wait_ms(32);
        Span::current().record("finish_reason", "stop");
    });
}

/// This layer, then that of OpenTelemetry: the order in which both have everything.
fn beside(provider: &SdkTracerProvider) -> Rig {
    let (omni, rig) = layer();
    let otel = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    Rig { dispatch: Dispatch::new(tracing_subscriber::registry().with(omni).with(otel)), ..rig }
}

fn provider() -> (SdkTracerProvider, InMemorySpanExporter) {
    let exporter = InMemorySpanExporter::default();
    (SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build(), exporter)
}

#[test]
fn a_request_arrives_at_a_collector_with_its_numbers_and_the_line_names_it() {
    let (endpoint, spans) = collector::start();
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(endpoint)
        .with_timeout(Duration::from_secs(24 * 60 * 60))
        .build()
        .unwrap();
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).build();
    let rig = beside(&provider);
    let parent = remote_parent();
    let lines = rig.run(|rig| one_request(rig, Some(parent)));
    // Does not wait for long. The spans arrive all the same.
    let _ = provider.force_flush();

    let exported: Vec<_> = spans.iter().take(3).collect();
    let request = exported.iter().find(|span| span.name == "request").unwrap();
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!(line["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736", "the trace goes on");
    assert_eq!(hex(&request.trace_id), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(hex(&request.parent_span_id), "00f067aa0ba902b7");
    assert_eq!(line["span_id"], hex(&request.span_id));

    let attributes = collector::attributes(request);
    let time = |name: &str| match attributes.get(name) {
        Some(Attribute::DoubleValue(time)) => *time,
        other => panic!("{name}: {other:?} in {attributes:?}"),
    };
    let count = |name: &str| match attributes.get(name) {
        Some(Attribute::IntValue(count)) => *count,
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(time("omni.e2e_total_ms"), 63.0);
    assert_eq!(time("omni.queue_time_ms"), 3.0);
    assert_eq!(time("omni.unattributed_time_ms"), 35.0);
    assert_eq!(time("omni.transfers_total_time_ms"), 16.0);
    assert_eq!(count("omni.transfers_total_bytes"), 9);
    assert_eq!(count("omni.e2e_total_tokens"), 10);
    assert_eq!(time("omni.stage.0.stage_gen_time_ms"), 12.0);
    assert_eq!(time("omni.stage.0.busy_time_ms"), 12.0);
    assert_eq!(time("omni.stage.0.queue_time_ms"), 2.0);
    assert_eq!(time("omni.stage.0.first_output_ms"), 7.0);
    assert_eq!((count("omni.stage.0.num_tokens_in"), count("omni.stage.0.num_tokens_out")), (7, 3));
    assert!(exported.iter().all(|span| span.trace_id == request.trace_id));
}

/// The attributes of the only `request` span.
fn attributes(exporter: &InMemorySpanExporter) -> HashMap<String, opentelemetry::Value> {
    let spans = exporter.get_finished_spans().unwrap();
    let request = spans.into_iter().find(|span| span.name == "request").unwrap();
    request.attributes.into_iter().map(|attribute| (attribute.key.to_string(), attribute.value)).collect()
}

#[test]
fn a_request_has_the_attributes_that_other_inference_servers_send() {
    let (provider, exporter) = provider();
    let rig = beside(&provider);
    rig.run(|rig| {
        info_span!("request", request_id = "r1", finish_reason = "length").in_scope(|| {
            let text = info_span!("stage", stage_id = 0, num_tokens_in = 7, output = Empty);
            rig.wait_ms(10);
            text.in_scope(|| {
                for gap in [20, 40, 80] {
                    rig.wait_ms(gap);
                    text.record("output", true);
                }
                rig.wait_ms(160);
            });
            let sound =
                info_span!("stage", stage_id = 1, num_tokens_in = 3, num_tokens_out = 4, output = Empty);
            sound.in_scope(|| {
                rig.wait_ms(320);
                sound.record("output", 4);
            });
        });
    });
    let attributes = attributes(&exporter);
    let latencies = [
        ("e2e", 0.63),
        ("time_in_queue", 0.01),
        ("time_to_first_token", 0.03),
        ("time_in_model_prefill", 0.02),
        ("time_in_model_decode", 0.12),
        ("time_in_model_inference", 0.62),
    ];
    for (name, seconds) in latencies {
        let name = format!("gen_ai.latency.{name}");
        assert_eq!(attributes[&name], opentelemetry::Value::F64(seconds), "{name}");
    }
    assert_eq!(attributes["gen_ai.usage.input_tokens"], opentelemetry::Value::I64(7));
    assert_eq!(attributes["gen_ai.usage.output_tokens"], opentelemetry::Value::I64(3 + 4));
    let reasons = opentelemetry::Array::String(vec!["length".into()]);
    assert_eq!(attributes["gen_ai.response.finish_reasons"], opentelemetry::Value::Array(reasons));
    assert_eq!(attributes["omni.stage.0.inter_output_max_ms"], opentelemetry::Value::F64(80.0));
    assert_eq!(attributes["omni.waiting_time_ms"], opentelemetry::Value::F64(10.0));
    let shared = attributes.keys().filter(|name| name.starts_with("gen_ai.")).count();
    assert_eq!(shared, latencies.len() + 3);
}

#[test]
fn a_number_that_a_request_does_not_have_is_no_attribute() {
    let (provider, exporter) = provider();
    let rig = beside(&provider);
    rig.run(|_| {
        info_span!("request", request_id = "r1")
            .in_scope(|| drop(info_span!("stage", stage_id = 1, num_tokens_in = 3)));
    });
    let attributes = attributes(&exporter);
    let mut shared: Vec<_> = attributes.keys().filter(|name| name.starts_with("gen_ai.")).collect();
    shared.sort();
    // The stage was never entered, so neither is known when it began, nor what it waited.
    assert_eq!(shared, ["gen_ai.latency.e2e", "gen_ai.latency.time_in_model_inference"]);
}

#[test]
fn the_attributes_of_a_request_are_not_lost_to_those_of_many_stages() {
    let (provider, exporter) = provider();
    let rig = beside(&provider);
    rig.run(|_| {
        info_span!("request", request_id = "r1", finish_reason = "stop").in_scope(|| {
            for stage_id in 0..40_u64 {
                let stage = info_span!(
                    "stage",
                    stage_id,
                    num_tokens_in = 1,
                    num_tokens_out = 1,
                    output = Empty,
                    output_media_ms = Empty
                );
                stage.in_scope(|| {
                    for _ in 0..2 {
                        stage.record("output", 1).record("output_media_ms", 1);
                    }
                });
            }
        });
    });
    let attributes = attributes(&exporter);
    assert_eq!(attributes["gen_ai.usage.output_tokens"], opentelemetry::Value::I64(40));
    for name in ["omni.e2e_total_ms", "gen_ai.latency.e2e", "omni.stage.0.underruns"] {
        assert!(attributes.contains_key(name), "{name}");
    }
}

#[test]
fn the_ids_stand_behind_the_tables_and_before_what_is_recorded() {
    let (provider, _) = provider();
    let rig = beside(&provider);
    let lines = rig.run(|_| {
        info_span!("request", request_id = "r1", model = "m")
            .in_scope(|| info_span!("stage", stage_id = 0, num_tokens_in = -1));
    });
    let keys: Vec<_> = lines[0].as_object().unwrap().keys().collect();
    let last = ["transfer_table", "trace_id", "span_id", "fields", "warnings"];
    let places = last.map(|key| rig.log.text().find(&format!(",\"{key}\":")).unwrap());
    assert!(places.is_sorted(), "{keys:?}");
    let line: omni_metrics::Line = rig.log.text().parse().unwrap();
    assert_eq!(serde_json::to_value(&line).unwrap(), lines[0], "it reads back");
}

#[test]
fn a_detached_row_names_its_own_span() {
    let (provider, exporter) = provider();
    let rig = beside(&provider);
    let lines = rig.run(|_| {
        info_span!("stage", stage_id = 1, request_id = "elsewhere").in_scope(|| {});
        info_span!("transfer", from_stage = 0, to_stage = 1, request_id = "elsewhere").in_scope(|| {});
    });
    let spans = exporter.get_finished_spans().unwrap();
    for (line, span) in lines.iter().zip(&spans) {
        assert_eq!(line["type"], *span.name);
        assert_eq!(line["trace_id"], span.span_context.trace_id().to_string());
        assert_eq!(line["span_id"], span.span_context.span_id().to_string());
    }
    assert_eq!((lines.len(), spans.len()), (2, 2));
}

#[test]
fn a_request_that_was_never_entered_is_named_as_well() {
    let (provider, exporter) = provider();
    let rig = beside(&provider);
    let lines = rig.run(|_| drop(info_span!("request", request_id = "r1")));
    let spans = exporter.get_finished_spans().unwrap();
    assert_eq!(lines[0]["span_id"], spans[0].span_context.span_id().to_string());
}

#[test]
fn without_that_layer_a_line_is_as_ever() {
    let lines = support::lines(|rig| one_request(rig, None));
    assert_eq!((lines[0].get("trace_id"), lines[0].get("warnings")), (None, None));
}

#[test]
fn a_tracer_that_makes_no_ids_leaves_the_line_as_ever() {
    let (omni, rig) = layer();
    let otel = tracing_opentelemetry::layer(); // which has none
    let rig = Rig { dispatch: Dispatch::new(tracing_subscriber::registry().with(omni).with(otel)), ..rig };
    let lines = rig.run(|rig| one_request(rig, None));
    assert_eq!((lines[0].get("trace_id"), lines[0].get("warnings")), (None, None));
}

#[test]
fn a_count_beyond_what_opentelemetry_has_stays_at_its_largest() {
    let (provider, exporter) = provider();
    let rig = beside(&provider);
    rig.run(|_| {
        let request = info_span!("request", request_id = "r1");
        request.in_scope(|| info_span!("stage", stage_id = 0, num_tokens_out = u64::MAX).in_scope(|| {}));
    });
    let spans = exporter.get_finished_spans().unwrap();
    let request = spans.iter().find(|span| span.name == "request").unwrap();
    let total = request.attributes.iter().find(|a| a.key.as_str() == "omni.e2e_total_tokens").unwrap();
    assert_eq!(total.value, opentelemetry::Value::I64(i64::MAX));
}

#[test]
fn the_wrong_order_costs_the_attributes_and_lines_say_so_once_that_is_known() {
    let (provider, exporter) = provider();
    let (omni, rig) = layer();
    let otel = tracing_opentelemetry::layer::<Registry>().with_tracer(provider.tracer("test"));
    let rig = Rig { dispatch: Dispatch::new(tracing_subscriber::registry().with(otel).with(omni)), ..rig };
    let lines = rig.run(|rig| {
        one_request(rig, None);
        one_request(rig, None);
    });
    let spans = exporter.get_finished_spans().unwrap();
    let requests: Vec<_> = spans.iter().filter(|span| span.name == "request").collect();
    let has_numbers = |span: &SpanData| span.attributes.iter().any(|a| a.key.as_str().starts_with("omni."));
    assert!(!requests.iter().any(|span| has_numbers(span)));
    assert_eq!((lines[0].get("span_id"), lines[0].get("warnings")), (None, None), "not known yet");
    let id = requests[1].span_context.span_id().to_string();
    assert_eq!(lines[1]["span_id"], id);
    let warning = lines[1]["warnings"][0].as_str().unwrap();
    assert!(
        warning.contains("span_id") && warning.contains(&id) && warning.contains("after this one"),
        "{warning}"
    );
}

#[test]
fn a_layer_that_is_wrapped_finds_its_subscriber() {
    type Boxed = Box<dyn Layer<Registry> + Send + Sync>;
    let wraps: [fn(OmniMetricsLayer<Registry>) -> Boxed; 4] = [
        |layer| Box::new(layer),
        |layer| Box::new(Some(layer)),
        |layer| Box::new(vec![layer]),
        |layer| Box::new(tracing_subscriber::reload::Layer::new(layer).0),
    ];
    for (number, wrap) in wraps.into_iter().chain(wraps).enumerate() {
        let (provider, exporter) = provider();
        let (omni, rig) = layer();
        let otel = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let subscriber = tracing_subscriber::registry().with(wrap(omni)).with(otel);
        let dispatch = match number {
            // A box of a subscriber says nothing either. Then `reload`, which hides what it holds, is too much.
            0..3 => Dispatch::new(Box::new(subscriber) as Box<dyn Subscriber + Send + Sync>),
            3 => continue,
            _ => Dispatch::new(subscriber),
        };
        let rig = Rig { dispatch, ..rig };
        let lines = rig.run(|rig| one_request(rig, None));
        let spans = exporter.get_finished_spans().unwrap();
        let request = spans.iter().find(|span| span.name == "request").unwrap();
        assert_eq!(lines[0]["span_id"], request.span_context.span_id().to_string(), "{number}");
        assert!(request.attributes.iter().any(|a| a.key.as_str() == "omni.e2e_total_ms"), "{number}");
    }
}

#[test]
fn a_parent_may_be_set_until_the_request_closes() {
    let (provider, exporter) = provider();
    let (omni, rig) = layer();
    // Without it, the layer starts its span when it must, not on enter.
    let otel =
        tracing_opentelemetry::layer().with_tracer(provider.tracer("test")).with_context_activation(false);
    let rig = Rig { dispatch: Dispatch::new(tracing_subscriber::registry().with(omni).with(otel)), ..rig };
    let parent = remote_parent();
    let lines = rig.run(|_| {
        let request = info_span!("request", request_id = "r1");
        request.in_scope(|| {});
        request.set_parent(parent).unwrap();
    });
    assert_eq!(lines[0]["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(exporter.get_finished_spans().unwrap()[0].parent_span_id.to_string(), "00f067aa0ba902b7");
}

#[test]
fn a_request_that_opentelemetry_does_not_see_says_nothing_of_the_order() {
    let (provider, exporter) = provider();
    let (omni, rig) = layer();
    let otel = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("test"))
        .with_context_activation(false)
        .with_filter(filter_fn(|metadata| metadata.target() != "unseen"));
    let rig = Rig { dispatch: Dispatch::new(tracing_subscriber::registry().with(omni).with(otel)), ..rig };
    let parent = remote_parent();
    let lines = rig.run(|_| {
        info_span!(target: "unseen", "request", request_id = "r1").in_scope(|| {});
        info_span!("request", request_id = "r2").in_scope(|| {});
        let request = info_span!("request", request_id = "r3");
        request.in_scope(|| {});
        request.set_parent(parent).unwrap();
    });
    assert_eq!(lines[0].get("trace_id"), None);
    let spans = exporter.get_finished_spans().unwrap();
    assert_eq!(lines[1]["span_id"], spans[0].span_context.span_id().to_string());
    assert_eq!(lines[2]["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert!(lines.iter().all(|line| line.get("warnings").is_none()));
}

#[test]
fn a_span_of_somebody_else_is_not_taken_for_the_requests() {
    let (omni, rig) = layer();
    let otel = tracing_opentelemetry::layer(); // whose tracer makes no spans, and hands on the parent's
    let rig = Rig { dispatch: Dispatch::new(tracing_subscriber::registry().with(omni).with(otel)), ..rig };
    let parent = remote_parent();
    let lines = rig.run(|rig| one_request(rig, Some(parent)));
    assert_eq!((lines[0].get("span_id"), lines[0].get("warnings")), (None, None));
}

#[test]
fn a_trace_that_is_not_sampled_has_ids_and_no_warning() {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder()
        .with_sampler(Sampler::AlwaysOff)
        .with_simple_exporter(exporter.clone())
        .build();
    let rig = beside(&provider);
    let lines = rig.run(|rig| one_request(rig, None));
    assert_eq!(lines[0]["trace_id"].as_str().unwrap().len(), 32);
    assert_eq!(lines[0].get("warnings"), None);
    assert!(exporter.get_finished_spans().unwrap().is_empty());
}

#[test]
fn stages_without_number_leave_room_for_other_attributes() {
    let (provider, exporter) = provider();
    let rig = beside(&provider);
    rig.run(|_| {
        let fields = info_span!("request", request_id = "r1", model = "kept");
        fields.in_scope(|| (0..200_u64).for_each(|id| info_span!("stage", stage_id = id).in_scope(|| {})));
    });
    let spans = exporter.get_finished_spans().unwrap();
    let request = spans.iter().find(|span| span.name == "request").unwrap();
    let has = |name: &str| request.attributes.iter().any(|attribute| attribute.key.as_str() == name);
    assert!(has("model") && has("omni.e2e_total_ms") && has("omni.stage.15.busy_time_ms"));
    assert!(!has("omni.stage.16.busy_time_ms"));
    assert_eq!(request.dropped_attributes_count, 0);
}

#[test]
fn a_sampler_that_makes_spans_of_ours_harms_nobody() {
    #[derive(Debug, Clone)]
    struct Rude;
    impl opentelemetry_sdk::trace::ShouldSample for Rude {
        fn should_sample(
            &self,
            parent: Option<&Context>,
            id: opentelemetry::TraceId,
            name: &str,
            kind: &opentelemetry::trace::SpanKind,
            attributes: &[opentelemetry::KeyValue],
            links: &[opentelemetry::trace::Link],
        ) -> opentelemetry_sdk::trace::SamplingResult {
            if name == "request" {
                drop(info_span!("transfer", from_stage = 0, to_stage = 1));
            }
            Sampler::AlwaysOn.should_sample(parent, id, name, kind, attributes, links)
        }
    }
    let provider = SdkTracerProvider::builder().with_sampler(Rude).build();
    let (omni, rig) = layer();
    let otel =
        tracing_opentelemetry::layer().with_tracer(provider.tracer("test")).with_context_activation(false);
    let rig = Rig { dispatch: Dispatch::new(tracing_subscriber::registry().with(omni).with(otel)), ..rig };
    let (sender, done) = mpsc::channel();
    let dispatch = rig.dispatch.clone();
    std::thread::spawn(move || {
        with_default(&dispatch, || info_span!("request", request_id = "r1").in_scope(|| {}));
        sender.send(()).unwrap();
    });
    done.recv().expect("the request was made");
    let requests = rig.log.lines().into_iter().filter(|line| line["type"] == "request");
    assert_eq!(requests.map(|line| line["request_id"].clone()).collect::<Vec<Value>>(), ["r1"]);
}

#[test]
fn the_context_is_that_of_the_span_itself() {
    let (provider, _) = provider();
    let rig = beside(&provider);
    let mut seen = String::new();
    let lines = rig.run(|_| {
        let request = info_span!("request", request_id = "r1");
        seen = request.context().span().span_context().span_id().to_string();
    });
    assert_eq!(lines[0]["span_id"], seen);
}
