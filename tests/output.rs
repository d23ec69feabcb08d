//! Sections 4 and 5 of docs/numbers.md: one line per request, as JSON, in one write.

mod support;

use std::{
    future::pending,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use omni_metrics::{Line, OmniMetricsLayer};
use serde_json::{Value, json};
use support::{Rig, line, lines};
use tracing::{Instrument, field::Empty, info_span, instrument};
use tracing_subscriber::prelude::*;

/// A request that has everything to say.
fn full_request(rig: &Rig) {
    let request = info_span!("request", request_id = "r1", finish_reason = Empty, user = "u");
    request.in_scope(|| {
        rig.wait_ms(1);
        let stage = info_span!(
            "stage",
            stage_id = 0,
            batch_id = 38,
            batch_size = 1,
            num_tokens_in = 4860,
            num_tokens_out = 3,
            stage_name = "thinker",
            first_output = Empty,
            gpu = 2
        );
        stage.in_scope(|| {
            info_span!("preprocess").in_scope(|| rig.wait_ms(2));
            stage.record("first_output", true);
            rig.time.advance(Duration::from_nanos(1_250_001));
        });
        info_span!("transfer", from_stage = 0, to_stage = 1, size_bytes = 10, link = "tcp")
            .in_scope(|| rig.wait_ms(1));
        rig.wait_ms(1);
        info_span!("transfer", from_stage = 0, to_stage = 1, phase = "rx", size_bytes = -1)
            .in_scope(|| rig.wait_ms(1));
    });
    request.record("finish_reason", "stop");
}

#[test]
fn a_request_line_is_exactly_this() {
    let rig = Rig::new();
    rig.run(full_request);
    let expected = concat!(
        r#"{"type":"request","schema":1,"timestamp":"2026-01-31T12:00:00.007250Z","request_id":"r1","#,
        r#""overall_summary":{"e2e_requests":1,"e2e_wall_time_ms":7.250001,"e2e_total_tokens":4863,"#,
        r#""e2e_avg_time_per_request_ms":7.250001,"e2e_avg_tokens_per_s":670758.528171,"#,
        r#""stage_wall_time_ms":[3.250001]},"#,
        r#""e2e_table":{"e2e_total_ms":7.250001,"e2e_total_tokens":4863,"transfers_total_time_ms":3.0,"#,
        r#""transfers_total_bytes":10,"queue_time_ms":1.0,"unattributed_time_ms":1.0,"finish_reason":"stop"},"#,
        r#""stage_table":[{"stage_id":0,"batch_id":38,"batch_size":1,"num_tokens_in":4860,"num_tokens_out":3,"#,
        r#""preprocess_time_ms":2.0,"stage_gen_time_ms":3.250001,"stage_name":"thinker","#,
        r#""busy_time_ms":3.250001,"queue_time_ms":0.0,"start_ms":1.0,"first_output_ms":3.0,"#,
        r#""time_per_output_token_ms":0.625,"events":1,"fields":{"gpu":2}}],"#,
        r#""transfer_table":[{"from_stage":0,"to_stage":1,"size_bytes":10,"tx_time_ms":1.0,"#,
        r#""rx_decode_time_ms":1.0,"in_flight_time_ms":1.0,"total_time_ms":3.0,"start_ms":4.250001,"#,
        r#""events":2,"fields":{"link":"tcp"}}],"#,
        r#""fields":{"user":"u"},"#,
        r#""warnings":["span `transfer`, field `size_bytes`, value `-1`: it is negative; treated as not recorded"]}"#,
        "\n"
    );
    assert_eq!(rig.log.text(), expected);
}

#[test]
fn detached_lines_are_exactly_these() {
    let rig = Rig::new();
    rig.run(|rig| {
        rig.wait_ms(1);
        info_span!("stage", stage_id = 1, request_id = "far").in_scope(|| rig.wait_ms(2));
        info_span!("transfer", from_stage = 0, to_stage = 1, size_bytes = 8, phase = "rx")
            .in_scope(|| rig.wait_ms(3));
    });
    let expected = concat!(
        r#"{"type":"stage","schema":1,"timestamp":"2026-01-31T12:00:00.003000Z","request_id":"far","#,
        r#""stage_id":1,"batch_id":null,"batch_size":null,"num_tokens_in":null,"num_tokens_out":null,"#,
        r#""preprocess_time_ms":null,"stage_gen_time_ms":2.0,"busy_time_ms":2.0,"queue_time_ms":0.0,"#,
        r#""start_ms":null,"wall_time_ms":2.0,"events":1}"#,
        "\n",
        r#"{"type":"transfer","schema":1,"timestamp":"2026-01-31T12:00:00.006000Z","request_id":null,"#,
        r#""from_stage":0,"to_stage":1,"size_bytes":8,"tx_time_ms":null,"rx_decode_time_ms":3.0,"#,
        r#""in_flight_time_ms":null,"total_time_ms":3.0,"start_ms":null,"wall_time_ms":3.0,"events":1}"#,
        "\n"
    );
    assert_eq!(rig.log.text(), expected);
}

#[test]
fn a_detached_stage_counts_its_first_output_from_its_start() {
    let rig = Rig::new();
    rig.run(|rig| {
        let stage = info_span!("stage", stage_id = 1, request_id = "far", first_output = Empty);
        rig.wait_ms(5);
        stage.in_scope(|| {
            rig.wait_ms(2);
            stage.record("first_output", true);
            rig.wait_ms(1);
        });
    });
    let row = r#""start_ms":null,"wall_time_ms":3.0,"first_output_after_ms":2.0,"events":1}"#;
    assert!(rig.log.text().trim_end().ends_with(row), "{}", rig.log.text());
}

#[test]
fn the_tables_written_by_serde_are_the_same_text() {
    let rig = Rig::new();
    rig.run(full_request);
    let text = rig.log.text();
    let read: Line = text.parse().unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), text.trim_end());
}

#[test]
fn a_line_is_one_write_that_ends_in_its_only_line_feed() {
    let rig = Rig::new();
    rig.run(|rig| {
        full_request(rig);
        let _request = info_span!(
            "request",
            request_id = "multi\nline\r\n",
            note = "\u{1b}[31mred\u{9b}0m\u{7f}\u{2028}"
        );
    });
    let writes = rig.log.writes();
    assert_eq!(writes.len(), 2);
    for write in &writes {
        let text = std::str::from_utf8(write).unwrap();
        assert_eq!(text.find('\n'), Some(text.len() - 1));
        assert!(!text.trim_end_matches('\n').chars().any(|c| c.is_control() || c == '\u{2028}'), "{text:?}");
    }
    let line: Value = serde_json::from_slice(&writes[1]).unwrap();
    assert_eq!(line["request_id"], "multi\nline\r\n");
    assert_eq!(line["fields"]["note"], "\u{1b}[31mred\u{9b}0m\u{7f}\u{2028}");
}

#[test]
fn the_timestamp_less_the_total_is_when_the_request_began() {
    let line = line(|rig| {
        rig.wait_ms(86_400_000);
        info_span!("request", request_id = "r").in_scope(|| rig.wait_ms(1_500));
    });
    assert_eq!(line["timestamp"], "2026-02-01T12:00:01.500000Z");
    assert_eq!(line["e2e_table"]["e2e_total_ms"], json!(1_500.0));
}

#[test]
fn warnings_end_at_16() {
    let line = line(|_| {
        let _request = info_span!("request", request_id = "r").entered();
        for n in 0..40 {
            drop(info_span!("stage", stage_id = 0, num_tokens_out = -n - 1));
        }
    });
    assert_eq!(line["warnings"].as_array().unwrap().len(), 16);
}

#[test]
fn success_error_and_panic_give_one_line_each() {
    #[instrument(name = "request", err, fields(request_id = id))]
    fn request(id: &str) -> Result<(), String> {
        let _stage = info_span!("stage", stage_id = 0).entered();
        match id {
            "error" => Err("failed".into()),
            "panic" => panic!("on purpose"),
            _ => Ok(()),
        }
    }
    let lines = lines(|_| {
        for id in ["success", "error", "panic"] {
            let _ = catch_unwind(AssertUnwindSafe(|| request(id)));
        }
    });
    let ids: Vec<_> = lines.iter().map(|line| line["request_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["success", "error", "panic"]);
    assert!(lines.iter().all(|line| line["stage_table"][0]["events"] == 1));
}

#[test]
fn a_cancelled_request_has_one_line_that_says_so() {
    let rig = Rig::new();
    let lines = rig.run(|_| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let request = async {
                pending::<()>().instrument(info_span!("stage", stage_id = 0, request_id = "r")).await;
            };
            let span = info_span!("request", request_id = "r", finish_reason = Empty);
            let cancelled = tokio::time::timeout(Duration::from_millis(1), request.instrument(span)).await;
            assert!(cancelled.is_err());
        });
    });
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["e2e_table"]["finish_reason"], "abort");
    assert_eq!(lines[0]["stage_table"][0]["events"], 1);
    assert_eq!(rig.handle.snapshot().open_requests, 0);
}

#[test]
fn concurrent_requests_take_every_number_once() {
    let rig = Rig::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let _default = rig.install();
                for _ in 0..250 {
                    let _request = info_span!("request").entered();
                    let _stage = info_span!("stage", stage_id = 0, num_tokens_out = 1).entered();
                }
            });
        }
    });
    let lines = rig.log.lines();
    let mut numbers: Vec<_> =
        lines.iter().map(|line| line["overall_summary"]["e2e_requests"].as_u64().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=1_000).collect::<Vec<_>>());
    let snapshot = rig.handle.snapshot();
    assert_eq!((snapshot.overall_summary.e2e_total_tokens, snapshot.lines_written), (1_000, 1_000));
}

#[test]
fn off_writes_nothing_and_on_works_at_run_time() {
    let rig = Rig::with(|layer| layer.with_log_stats(false));
    let lines = rig.run(|rig| {
        let before = info_span!("request", request_id = "before");
        assert!(!rig.handle.snapshot().log_stats);
        drop(before);
        rig.handle.set_log_stats(true);
        let open = info_span!("request", request_id = "open");
        rig.handle.set_log_stats(false);
        drop(info_span!("request", request_id = "off"));
        drop(open);
    });
    let ids: Vec<_> = lines.iter().map(|line| &line["request_id"]).collect();
    assert_eq!(ids, ["open"], "what was begun ends with its line");
}

#[test]
fn the_layer_compiles_in_every_position() {
    let _ = tracing_subscriber::registry().with(OmniMetricsLayer::new());
    let _ = tracing_subscriber::registry().with(OmniMetricsLayer::new().with_writer(std::io::sink));
    let _ = tracing_subscriber::registry().with(OmniMetricsLayer::default().with_log_stats(true).boxed());
    let layer = OmniMetricsLayer::new();
    let _ = layer.handle();
    let _ = tracing_subscriber::registry().with(tracing_subscriber::fmt::layer()).with(Some(layer));
}

#[test]
fn the_handle_outlives_the_subscriber() {
    let rig = Rig::new();
    rig.run(|_| drop(info_span!("request")));
    let handle = rig.handle.clone();
    drop(rig);
    assert_eq!(handle.snapshot().overall_summary.e2e_requests, 1);
    handle.reset();
    handle.set_log_stats(false);
    assert_eq!(handle.snapshot().overall_summary.e2e_requests, 0);
}
