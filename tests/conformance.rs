//! Replays the conformance cases through real spans and compares the tables.

mod support;

use omni_metrics::{Line, Millis};
use serde_json::Value;
use support::Rig;
use tracing::info_span;

const CASES: &str = include_str!("conformance/cases.json");

fn cases() -> Vec<Value> {
    serde_json::from_str(CASES).unwrap()
}

fn replay(case: &Value) -> Vec<Value> {
    Rig::new().run(|rig| {
        for request in case["requests"].as_array().unwrap() {
            let span = info_span!("request", request_id = request["request_id"].as_str().unwrap());
            let _request = span.enter();
            for stage in request["stages"].as_array().unwrap() {
                let count = |field: &str| stage[field].as_u64().unwrap();
                let time = |field: &str| stage[field].as_f64().unwrap();
                let _stage = info_span!(
                    "stage",
                    stage_id = count("stage_id"),
                    batch_id = count("batch_id"),
                    batch_size = count("batch_size"),
                    num_tokens_in = count("num_tokens_in"),
                    num_tokens_out = count("num_tokens_out"),
                    preprocess_time_ms = time("preprocess_time_ms"),
                    stage_gen_time_ms = time("stage_gen_time_ms"),
                )
                .entered();
                rig.wait_ms(1);
            }
            for transfer in request["transfers"].as_array().unwrap() {
                let count = |field: &str| transfer[field].as_u64().unwrap();
                let time = |field: &str| transfer[field].as_f64().unwrap();
                let _transfer = info_span!(
                    "transfer",
                    from_stage = count("from_stage"),
                    to_stage = count("to_stage"),
                    size_bytes = count("size_bytes"),
                    tx_time_ms = time("tx_time_ms"),
                    rx_decode_time_ms = time("rx_decode_time_ms"),
                    in_flight_time_ms = time("in_flight_time_ms"),
                )
                .entered();
                rig.wait_ms(1);
            }
        }
    })
}

/// Everything in `expected` must be in `actual`, counts to the digit and times to 1e-6 ms.
fn assert_carries(actual: &Value, expected: &Value, path: &str) {
    match expected {
        Value::Object(members) => {
            for (key, value) in members {
                assert_carries(&actual[key], value, &format!("{path}.{key}"));
            }
        }
        Value::Array(elements) => {
            assert_eq!(actual.as_array().map(Vec::len), Some(elements.len()), "{path}");
            for (at, value) in elements.iter().enumerate() {
                assert_carries(&actual[at], value, &format!("{path}[{at}]"));
            }
        }
        Value::Number(number) if number.is_f64() => {
            let difference = actual.as_f64().unwrap() - number.as_f64().unwrap();
            assert!(difference.abs() <= 1e-6, "{path}: {actual}, expected {expected}");
        }
        other => assert_eq!(actual, other, "{path}"),
    }
}

#[test]
fn every_case_gives_the_expected_tables() {
    let cases = cases();
    assert_eq!(cases.len(), 9);
    for case in &cases {
        let name = case["name"].as_str().unwrap();
        let (lines, expected) = (replay(case), case["expected"].as_array().unwrap());
        assert_eq!(lines.len(), expected.len(), "{name}");
        for (line, expected) in lines.iter().zip(expected) {
            assert_eq!(line["type"], "request");
            assert_carries(line, expected, name);
        }
    }
}

#[test]
fn every_line_reads_back_as_what_it_was_written_from() {
    for case in &cases() {
        for line in replay(case) {
            let Line::Request(read) = line.to_string().parse().unwrap() else { panic!("{line}") };
            let sum: u64 = read.transfer_table.iter().map(|row| row.total_time_ms.as_nanos()).sum();
            assert_eq!(read.e2e_table.transfers_total_time_ms, Millis::from_nanos(sum));
            assert_eq!(serde_json::to_value(Line::Request(read)).unwrap(), line);
        }
    }
}
