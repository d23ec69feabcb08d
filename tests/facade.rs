//! The numbers of requests as an exporter of the `metrics` facade sees them.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit, with_local_recorder,
};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use omni_metrics::{Clock, OmniMetricsLayer};
use tracing::{field::Empty, info_span};
use tracing_subscriber::{layer::SubscriberExt, registry};

/// What was recorded, by name and labels.
#[derive(Debug)]
struct Exported(BTreeMap<String, DebugValue>);

impl Exported {
    fn counter(&self, name: &str) -> u64 {
        match self.0.get(name) {
            Some(DebugValue::Counter(count)) => *count,
            other => panic!("{name}: {other:?} in {:?}", self.0.keys()),
        }
    }

    fn gauge(&self, name: &str) -> f64 {
        match self.0.get(name) {
            Some(DebugValue::Gauge(value)) => value.0,
            other => panic!("{name}: {other:?}"),
        }
    }

    fn histogram(&self, name: &str) -> Vec<f64> {
        match self.0.get(name) {
            Some(DebugValue::Histogram(values)) => values.iter().map(|value| value.0).collect(),
            other => panic!("{name}: {other:?} in {:?}", self.0.keys()),
        }
    }
}

/// Runs `run` under a layer with a recorder, and hands it a way to see what was exported since the last look.
fn export(run: impl FnOnce(&dyn Fn() -> Exported, &omni_metrics::MockClock)) {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let look = || {
        let metrics = snapshotter.snapshot().into_vec().into_iter().map(|(key, _, _, value)| {
            let labels: Vec<_> =
                key.key().labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
            (format!("{}{{{}}}", key.key().name(), labels.join(",")), value)
        });
        Exported(metrics.collect())
    };
    let (clock, mock) = Clock::mock();
    let layer = OmniMetricsLayer::new().with_writer(io::sink).with_clock(clock);
    with_local_recorder(&recorder, || {
        tracing::subscriber::with_default(registry().with(layer), || run(&look, &mock));
    });
}

#[test]
fn a_closed_request_is_exported_with_every_number_that_it_has() {
    export(|look, clock| {
        let request = info_span!("request", request_id = "r1", finish_reason = "length");
        request.in_scope(|| {
            let stage = info_span!(
                "stage",
                stage_id = 0,
                num_tokens_in = 7,
                num_tokens_out = 3,
                preprocess_time_ms = 0.0,
                first_output = Empty
            );
            clock.advance(Duration::from_millis(1));
            stage.in_scope(|| {
                clock.advance(Duration::from_millis(2));
                stage.record("first_output", true);
                clock.advance(Duration::from_millis(4));
            });
            drop(stage);
            info_span!("transfer", from_stage = 0, to_stage = 1, size_bytes = 100, in_flight_time_ms = 0.25)
                .in_scope(|| clock.advance(Duration::from_millis(8)));
            info_span!("stage", stage_id = 1, num_tokens_out = 5).in_scope(|| ());
        });
        assert_eq!(look().gauge("omni_requests_in_flight{}"), 1.0);
        drop(request);
        let seen = look();
        assert_eq!(seen.gauge("omni_requests_in_flight{}"), -1.0);
        assert_eq!(seen.counter("omni_requests_total{finish_reason=length}"), 1);
        assert_eq!(seen.counter("omni_requests_total{finish_reason=stop}"), 0);
        assert_eq!(seen.counter("omni_prompt_tokens_total{}"), 7);
        assert_eq!(seen.counter("omni_generation_tokens_total{}"), 8);
        for (name, expected) in [
            ("omni_e2e_seconds{}", 0.015),
            ("omni_unattributed_seconds{}", 0.001),
            ("omni_stage_gen_seconds{stage=0}", 0.006),
            ("omni_stage_gen_seconds{stage=1}", 0.0),
            ("omni_stage_queue_seconds{stage=0}", 0.001),
            ("omni_stage_preprocess_seconds{stage=0}", 0.0),
            ("omni_stage_first_output_seconds{stage=0}", 0.003),
            ("omni_stage_time_per_output_token_seconds{stage=0}", 0.002),
            ("omni_transfer_tx_seconds{from_stage=0,to_stage=1}", 0.008),
            ("omni_transfer_in_flight_seconds{from_stage=0,to_stage=1}", 0.00025),
            ("omni_transfer_size_bytes{from_stage=0,to_stage=1}", 100.0),
        ] {
            assert_eq!(seen.histogram(name), [expected], "{name}");
        }
        for absent in [
            "omni_stage_preprocess_seconds{stage=1}",
            "omni_stage_first_output_seconds{stage=1}",
            "omni_transfer_rx_decode_seconds{from_stage=0,to_stage=1}",
        ] {
            assert!(seen.histogram(absent).is_empty(), "{absent}");
        }
        let text = format!("{:?}", seen.0.keys());
        assert!(!text.contains("r1"), "no request id is a label: {text}");
    });
}

#[test]
fn reasons_and_labels_are_bounded() {
    export(|look, _| {
        for reason in ["stop", "weird", "none"] {
            info_span!("request", finish_reason = reason).in_scope(|| ());
        }
        info_span!("request").in_scope(|| {
            for stage_id in 0..100_u64 {
                info_span!("stage", stage_id).in_scope(|| ());
                info_span!("transfer", from_stage = stage_id, to_stage = 7).in_scope(|| ());
            }
            info_span!("stage", num_tokens_out = 1).in_scope(|| ());
        });
        let seen = look();
        for (reason, count) in [("stop", 1), ("other", 2), ("none", 1), ("abort", 0)] {
            let name = format!("omni_requests_total{{finish_reason={reason}}}");
            assert_eq!(seen.counter(&name), count, "{reason}");
        }
        let of = |family: &str| seen.0.keys().filter(|name| name.starts_with(family)).count();
        assert_eq!((of("omni_stage_gen_seconds"), of("omni_transfer_tx_seconds")), (65, 65));
        assert_eq!(seen.histogram("omni_stage_gen_seconds{stage=other}").len(), 37);
    });
}

#[test]
fn a_wrapper_is_not_in_flight_and_losses_are_counted() {
    export(|look, _| {
        let wrapper = info_span!("request");
        assert_eq!(look().gauge("omni_requests_in_flight{}"), 1.0);
        let (first, second) =
            wrapper.in_scope(|| (info_span!("request"), info_span!("request", finish_reason = "abort")));
        assert_eq!(look().gauge("omni_requests_in_flight{}"), 1.0, "two more, and the wrapper less");
        drop((first, second, wrapper));
        let seen = look();
        assert_eq!(seen.gauge("omni_requests_in_flight{}"), -2.0);
        assert_eq!(seen.histogram("omni_e2e_seconds{}").len(), 2);
        info_span!("request").in_scope(|| info_span!("stage", stage_id = -1).in_scope(|| ()));
        assert_eq!(look().counter("omni_warnings_total{}"), 1);
    });
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let broken = || -> Box<dyn io::Write> { Box::new(writers::Broken) };
    let subscriber = registry().with(OmniMetricsLayer::new().with_writer(broken));
    with_local_recorder(&recorder, || {
        tracing::subscriber::with_default(subscriber, || drop(info_span!("request")));
    });
    let lost = snapshotter
        .snapshot()
        .into_vec()
        .into_iter()
        .find(|(key, ..)| key.key().name() == "omni_lines_lost_total");
    assert!(matches!(lost, Some((_, _, _, DebugValue::Counter(1)))), "{lost:?}");
}

/// A recorder whose every call panics.
struct Panics;

impl Recorder for Panics {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {
        panic!("an exporter broke");
    }
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }
    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[test]
fn an_exporter_that_panics_costs_its_numbers_and_no_line() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let written = Arc::clone(&lines);
    let writer = move || writers::Kept(Arc::clone(&written));
    let subscriber = registry().with(OmniMetricsLayer::new().with_writer(writer));
    with_local_recorder(&Panics, || {
        tracing::subscriber::with_default(subscriber, || drop(info_span!("request")));
    });
    assert!(lines.lock().unwrap().ends_with(b"}\n"));
}

mod writers {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    pub struct Broken;

    impl io::Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    pub struct Kept(pub Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}

#[test]
fn detached_rows_count_in_the_stage_and_transfer_families_of_their_process() {
    export(|look, clock| {
        let stage =
            info_span!("stage", stage_id = 0, request_id = "far", num_tokens_in = 3, num_tokens_out = 5);
        stage.in_scope(|| clock.advance(Duration::from_millis(2)));
        drop(stage);
        drop(info_span!("transfer", from_stage = 0, to_stage = 1, size_bytes = 7, tx_time_ms = 4));
        let exported = look();
        assert_eq!(exported.histogram("omni_stage_gen_seconds{stage=0}"), [0.002]);
        assert_eq!(exported.histogram("omni_transfer_tx_seconds{from_stage=0,to_stage=1}"), [0.004]);
        assert_eq!(exported.histogram("omni_transfer_size_bytes{from_stage=0,to_stage=1}"), [7.0]);
        assert_eq!(exported.counter("omni_prompt_tokens_total{}"), 3);
        assert_eq!(exported.counter("omni_generation_tokens_total{}"), 5);
    });
}
