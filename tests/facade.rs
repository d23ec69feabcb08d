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
use omni_metrics::{Clock, Keep, MockClock, OmniMetricsLayer};
use tracing::{Span, error, field::Empty, info_span};
use tracing_subscriber::{Registry, layer::SubscriberExt, registry};

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

    /// The names, with labels, of a family's series.
    fn of<'a>(&'a self, family: &'a str) -> impl Iterator<Item = &'a str> {
        let is_its = move |name: &&str| name.split_once('{').is_some_and(|(name, _)| name == family);
        self.0.keys().map(String::as_str).filter(is_its)
    }
}

/// Runs `run` under a layer with a recorder, and hands it a way to see what was exported since the last look.
fn export(run: impl FnOnce(&dyn Fn() -> Exported, &MockClock)) {
    export_with(|layer| layer, run);
}

/// [`export`], of a layer with these labels.
fn export_labelled<const N: usize>(
    labels: [&'static str; N],
    run: impl FnOnce(&dyn Fn() -> Exported, &MockClock),
) {
    export_with(|layer| layer.with_labels(labels), run);
}

fn export_with(
    set: impl FnOnce(OmniMetricsLayer<Registry>) -> OmniMetricsLayer<Registry>,
    run: impl FnOnce(&dyn Fn() -> Exported, &MockClock),
) {
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
    let layer = set(OmniMetricsLayer::new().with_writer(io::sink).with_clock(clock));
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
        let sound = info_span!("stage", stage_id = 2, request_id = "far", output = Empty);
        sound.in_scope(|| {
            sound.record("output", 2);
            clock.advance(Duration::from_millis(10));
            sound.record("output", 3);
        });
        drop(sound);
        let exported = look();
        assert_eq!(exported.histogram("omni_stage_inter_output_seconds{stage=2}"), [0.010_027_007]);
        assert_eq!(exported.counter("omni_stage_generation_tokens_total{stage=2}"), 5);
        assert_eq!(exported.histogram("omni_stage_gen_seconds{stage=0}"), [0.002]);
        assert_eq!(exported.histogram("omni_transfer_tx_seconds{from_stage=0,to_stage=1}"), [0.004]);
        assert_eq!(exported.histogram("omni_transfer_size_bytes{from_stage=0,to_stage=1}"), [7.0]);
        assert_eq!(exported.counter("omni_prompt_tokens_total{}"), 3);
        assert_eq!(exported.counter("omni_generation_tokens_total{}"), 5 + 5);
    });
}

#[test]
fn outputs_media_waits_and_errors_are_exported() {
    export(|look, clock| {
        let wait_ms = |millis| clock.advance(Duration::from_millis(millis));
        info_span!("request", request_id = "r1").in_scope(|| {
            let text = info_span!(
                "stage",
                stage_id = 0,
                num_tokens_in = 7,
                num_tokens_cached = 4,
                num_tokens_reasoning = 2,
                output = Empty
            );
            wait_ms(1);
            text.in_scope(|| {
                for gap in [2, 10, 10, 30] {
                    wait_ms(gap);
                    text.record("output", true);
                }
            });
            drop(text);
            let sound = info_span!("stage", stage_id = 1, output = Empty, output_media_ms = Empty);
            sound.in_scope(|| {
                sound.record("output", 0).record("output_media_ms", 20);
                // It has played for 20 ms, and has nothing to play for 5.
                wait_ms(25);
                sound.record("output", 0).record("output_media_ms", 20);
                wait_ms(35);
            });
            error!("it broke");
            error!("it broke again");
        });
        let seen = look();
        // The middles of the buckets, 64 of which make an octave of nanoseconds.
        let gaps = [0.010_027_007, 0.010_027_007, 0.030_015_487];
        assert_eq!(seen.histogram("omni_stage_inter_output_seconds{stage=0}"), gaps);
        assert_eq!(seen.histogram("omni_stage_inter_output_seconds{stage=1}"), [0.025_034_751]);
        for (name, expected) in [
            ("omni_e2e_seconds{}", 0.113),
            ("omni_real_time_factor{}", 113.0 / 40.0),
            ("omni_waiting_seconds{}", 0.001),
            ("omni_stage_waiting_seconds{stage=0}", 0.001),
            ("omni_stage_gen_seconds{stage=0}", 0.052),
            ("omni_stage_first_output_seconds{stage=0}", 0.003),
            ("omni_stage_time_per_output_token_seconds{stage=0}", 0.016_666_666),
            ("omni_stage_gen_seconds{stage=1}", 0.06),
            ("omni_stage_media_seconds{stage=1}", 0.04),
            ("omni_stage_real_time_factor{stage=1}", 1.5),
            ("omni_stage_underrun_seconds{stage=1}", 0.005),
        ] {
            assert_eq!(seen.histogram(name), [expected], "{name}");
        }
        for (name, expected) in [
            ("omni_errors_total{}", 2),
            ("omni_stage_prompt_tokens_total{stage=0}", 7),
            ("omni_stage_generation_tokens_total{stage=0}", 4),
            ("omni_stage_cached_tokens_total{stage=0}", 4),
            ("omni_stage_reasoning_tokens_total{stage=0}", 2),
            ("omni_stage_underruns_total{stage=0}", 0),
            ("omni_stage_prompt_tokens_total{stage=1}", 0),
            ("omni_stage_underruns_total{stage=1}", 1),
            ("omni_prompt_tokens_total{}", 7),
            ("omni_generation_tokens_total{}", 4),
        ] {
            assert_eq!(seen.counter(name), expected, "{name}");
        }
    });
}

#[test]
fn histograms_that_most_stages_never_need_appear_with_their_first_value() {
    export(|look, _| {
        info_span!("request").in_scope(|| info_span!("stage", stage_id = 0).in_scope(|| ()));
        let seen = look();
        for family in [
            "omni_real_time_factor",
            "omni_stage_inter_output_seconds",
            "omni_stage_media_seconds",
            "omni_stage_real_time_factor",
            "omni_stage_underrun_seconds",
            "omni_stage_share_seconds",
        ] {
            assert_eq!(seen.of(family).count(), 0, "{family}");
        }
        assert_eq!(seen.of("omni_stage_waiting_seconds").count(), 1);
    });
}

#[test]
fn each_request_of_a_batch_has_its_share_of_the_stage() {
    export(|look, clock| {
        let requests = [info_span!("request", request_id = "r1"), info_span!("request", request_id = "r2")];
        let batch = info_span!(parent: None, "stage", stage_id = 0);
        requests.iter().for_each(|request| {
            batch.follows_from(request);
        });
        batch.in_scope(|| clock.advance(Duration::from_millis(10)));
        drop(batch);
        drop(requests);
        let seen = look();
        assert_eq!(seen.histogram("omni_stage_gen_seconds{stage=0}"), [0.01, 0.01]);
        assert_eq!(seen.histogram("omni_stage_share_seconds{stage=0}"), [0.005, 0.005]);
    });
}

#[test]
fn every_histogram_that_is_exported_has_recommended_buckets() {
    export(|look, clock| {
        let wait = || clock.advance(Duration::from_millis(1));
        info_span!("request").in_scope(|| {
            let stage = info_span!("stage", stage_id = 0, output = Empty, output_media_ms = Empty);
            stage.in_scope(|| {
                for _ in 0..2 {
                    wait();
                    stage.record("output", 1).record("output_media_ms", 1);
                }
            });
            info_span!("transfer", from_stage = 0, to_stage = 1, size_bytes = 1).in_scope(wait);
        });
        let exported = look();
        let families: Vec<_> = omni_metrics::buckets::families().map(|(family, _)| family).collect();
        let is_histogram = |value: &DebugValue| matches!(value, DebugValue::Histogram(_));
        for (name, _) in exported.0.iter().filter(|(_, value)| is_histogram(value)) {
            let (family, _) = name.split_once('{').unwrap();
            assert!(families.contains(&family), "{family}");
        }
        // Nothing was batched.
        let absent = families.iter().filter(|family| exported.of(family).count() == 0);
        assert!(absent.eq(["omni_stage_share_seconds"].iter()), "{:?}", exported.0.keys());
    });
}

#[test]
fn fields_of_a_request_are_labels_of_its_metrics_and_of_those_of_its_rows() {
    export_labelled(["model", "tenant"], |look, clock| {
        let request = info_span!("request", model = "small", tenant = Empty, finish_reason = "stop");
        request.in_scope(|| {
            // Recorded late, and as a number.
            Span::current().record("tenant", 7);
            info_span!("stage", stage_id = 0, num_tokens_in = 3, num_tokens_out = 2)
                .in_scope(|| clock.advance(Duration::from_millis(2)));
            info_span!("transfer", from_stage = 0, to_stage = 1, size_bytes = 9).in_scope(|| ());
            error!("it broke");
        });
        drop(request);
        let seen = look();
        let its = "model=small,tenant=7";
        for (name, expected) in [
            (format!("omni_requests_total{{{its},finish_reason=stop}}"), 1),
            (format!("omni_requests_total{{{its},finish_reason=abort}}"), 0),
            (format!("omni_prompt_tokens_total{{{its}}}"), 3),
            (format!("omni_generation_tokens_total{{{its}}}"), 2),
            (format!("omni_errors_total{{{its}}}"), 1),
            (format!("omni_stage_prompt_tokens_total{{{its},stage=0}}"), 3),
            ("omni_lines_lost_total{}".to_owned(), 0),
        ] {
            assert_eq!(seen.counter(&name), expected, "{name}");
        }
        for (name, expected) in [
            (format!("omni_e2e_seconds{{{its}}}"), 0.002),
            (format!("omni_stage_gen_seconds{{{its},stage=0}}"), 0.002),
            (format!("omni_transfer_size_bytes{{{its},from_stage=0,to_stage=1}}"), 9.0),
        ] {
            assert_eq!(seen.histogram(&name), [expected], "{name}");
        }
        assert_eq!(seen.gauge("omni_requests_in_flight{}"), 0.0);
        assert_eq!(seen.of("omni_e2e_seconds").count(), 1, "only with labels");
    });
}

#[test]
fn a_label_without_a_value_is_none() {
    export_labelled(["model"], |look, _| {
        drop(info_span!("request"));
        drop(info_span!("request", model = Empty));
        drop(info_span!("request", model = ""));
        // A worker does not know the request.
        drop(info_span!("stage", stage_id = 0, request_id = "far", model = "small", num_tokens_out = 5));
        let seen = look();
        assert_eq!(seen.counter("omni_requests_total{model=none,finish_reason=none}"), 3);
        assert_eq!(seen.counter("omni_stage_generation_tokens_total{model=none,stage=0}"), 5);
        assert_eq!(seen.histogram("omni_e2e_seconds{model=none}").len(), 3);
    });
}

#[test]
fn a_request_that_open_spans_hold_keeps_its_labels() {
    export_labelled(["model"], |look, _| {
        let request = info_span!("request", request_id = "r1", model = "small");
        let stage = info_span!(parent: None, "stage", stage_id = 0, request_id = "r1");
        drop(request);
        drop(stage);
        let seen = look();
        assert_eq!(seen.counter("omni_requests_total{model=small,finish_reason=none}"), 1);
        assert_eq!(
            seen.of("omni_stage_gen_seconds").collect::<Vec<_>>(),
            ["omni_stage_gen_seconds{model=small,stage=0}"]
        );
    });
}

#[test]
fn a_label_has_64_values_and_further_ones_are_other() {
    export_labelled(["model"], |look, _| {
        for model in 0..70 {
            drop(info_span!("request", model));
        }
        drop(info_span!("request", model = 3));
        drop(info_span!("request"));
        let seen = look();
        assert_eq!(seen.of("omni_e2e_seconds").count(), 64 + 2, "and `other`, and `none`");
        assert_eq!(seen.histogram("omni_e2e_seconds{model=63}").len(), 1);
        assert_eq!(seen.histogram("omni_e2e_seconds{model=3}").len(), 2);
        assert_eq!(seen.histogram("omni_e2e_seconds{model=other}").len(), 6);
        assert_eq!(seen.histogram("omni_e2e_seconds{model=none}").len(), 1);
    });
}

#[test]
fn past_256_combinations_every_label_is_other() {
    export_labelled(["model", "tenant"], |look, _| {
        for model in 0..20 {
            for tenant in 0..20 {
                drop(info_span!("request", model, tenant));
            }
        }
        let seen = look();
        assert_eq!(seen.of("omni_e2e_seconds").count(), 256 + 1);
        assert_eq!(seen.histogram("omni_e2e_seconds{model=12,tenant=15}").len(), 1);
        assert_eq!(seen.histogram("omni_e2e_seconds{model=other,tenant=other}").len(), 400 - 256);
    });
}

#[test]
fn a_label_is_named_once_and_not_as_another_of_the_families() {
    let names = ["stage", "model", "finish_reason", "model", "le", "quantile", "from_stage", "to_stage"];
    export_labelled(names, |look, _| {
        info_span!("request", model = "small", stage = "text", finish_reason = "stop")
            .in_scope(|| info_span!("stage", stage_id = 0).in_scope(|| ()));
        let seen = look();
        assert_eq!(seen.counter("omni_requests_total{model=small,finish_reason=stop}"), 1);
        assert_eq!(seen.histogram("omni_stage_gen_seconds{model=small,stage=0}"), [0.0]);
    });
    export_with(
        |layer| layer.with_labels(["model"]).with_labels([]),
        |look, _| {
            drop(info_span!("request", model = "small"));
            assert_eq!(look().histogram("omni_e2e_seconds{}").len(), 1);
        },
    );
}

#[test]
fn a_request_whose_line_is_left_out_is_exported_all_the_same() {
    let keep =
        |layer: OmniMetricsLayer<Registry>| layer.with_keep(Keep::one_in(u32::MAX)).with_labels(["model"]);
    export_with(keep, |look, _| {
        for number in 0..100 {
            info_span!("request", request_id = number, model = "small", finish_reason = "stop").in_scope(
                || {
                    info_span!("stage", stage_id = 0, num_tokens_out = 2).in_scope(|| ());
                },
            );
        }
        let seen = look();
        assert_eq!(seen.counter("omni_requests_total{model=small,finish_reason=stop}"), 100);
        assert_eq!(seen.counter("omni_stage_generation_tokens_total{model=small,stage=0}"), 200);
    });
}
