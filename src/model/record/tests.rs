//! Whether lines are read and written as serde's derive macros would.

use std::array;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{E2eTable, Line, StageRow, TransferRow, model::numbers::tests::full};

mod derived;

const LOG: &str = include_str!("../../../tests/data/pipeline.jsonl");

/// The keys without which a line is not read.
const REQUIRED: [&str; 29] = [
    "type",
    "schema",
    "timestamp",
    "request_id",
    "overall_summary",
    "e2e_table",
    "stage_table",
    "transfer_table",
    "percentiles",
    "stages",
    "transfers",
    "e2e_requests",
    "e2e_wall_time_ms",
    "e2e_total_ms",
    "e2e_total_tokens",
    "e2e_avg_time_per_request_ms",
    "e2e_avg_tokens_per_s",
    "stage_wall_time_ms",
    "transfers_total_time_ms",
    "transfers_total_bytes",
    "unattributed_time_ms",
    "total_time_ms",
    "count",
    "mean",
    "p50",
    "p90",
    "p99",
    "p999",
    "max",
];

/// One line of each type, with every key that it can have but those of the summary.
fn lines() -> [Value; 4] {
    let further = json!({"text": "t", "count": 3, "below": -3, "ratio": 1.5, "whole": 2.0, "is_hit": true});
    let common = json!({
        "schema": 1, "timestamp": "2026-01-31T12:00:00.123456Z", "request_id": "r1", "trace_id": "t",
        "span_id": "s", "fields": further, "warnings": ["a", "b"],
    });
    let with = |parts: &[Value]| {
        let members = parts.iter().chain([&common]).flat_map(|part| part.as_object().unwrap().clone());
        Value::Object(members.collect())
    };
    let value = |row: &dyn Fn() -> serde_json::Result<Value>| row().unwrap();
    let e2e = value(&|| serde_json::to_value(full::<E2eTable>()));
    let stage = value(&|| serde_json::to_value(full::<StageRow>()));
    let transfer = value(&|| serde_json::to_value(full::<TransferRow>()));
    let summary: Value = LOG.lines().last().unwrap().parse().unwrap();
    let tables = json!({
        "type": "request", "overall_summary": summary["overall_summary"], "e2e_table": e2e,
        "stage_table": [stage, {"fields": further}], "transfer_table": [transfer, {"total_time_ms": 1.5}],
    });
    [
        with(&[tables]),
        with(&[json!({"type": "stage"}), stage]),
        with(&[json!({"type": "transfer"}), transfer]),
        summary,
    ]
}

/// Writes JSON with what another program may do to it, as the numbers of `tape` choose, and counts the
/// faults.
fn changed(value: &Value, tape: &mut impl Iterator<Item = u16>, faults: &mut usize) -> String {
    let members = match value {
        Value::Object(members) => members,
        Value::Array(elements) => {
            let elements: Vec<_> = elements.iter().map(|element| changed(element, tape, faults)).collect();
            return format!("[{}]", elements.join(","));
        }
        value => return value.to_string(),
    };
    let mut written = Vec::new();
    for (key, value) in members {
        let [choice, order, second, fault] = array::from_fn(|_| tape.next().unwrap_or(u16::MAX));
        if choice % 4 == 0 && !REQUIRED.contains(&key.as_str()) {
            continue;
        }
        let mut text = changed(value, tape, faults);
        *faults += usize::from(fault < 500);
        match fault {
            0..100 => continue,
            100..200 => text = "null".to_owned(),
            200..300 => text = "\"other\"".to_owned(),
            300..400 => text = "{\"a\":[1]}".to_owned(),
            400..500 => written.push((second, format!("\"{key}\":{text}"))),
            _ => {}
        }
        // A key may be escaped, too.
        let key = if choice % 8 == 1 { key.replace('s', "\\u0073") } else { key.clone() };
        written.push((if key == "type" && choice % 4 < 2 { 0 } else { order }, format!("\"{key}\":{text}")));
        if choice % 8 == 2 {
            written.push((second, format!("\"unknown_{order}\":-1e3")));
        }
    }
    written.sort();
    let members: Vec<_> = written.into_iter().map(|(_, member)| member).collect();
    format!("{{{}}}", members.join(","))
}

/// An error without its place, which derived code has lost, and without what was expected, which it words in
/// its own terms.
fn reason(error: serde_json::Error) -> String {
    let reason = error.to_string();
    let end = [" at line ", ", expected "].iter().filter_map(|end| reason.find(end)).min();
    reason[..end.unwrap_or(reason.len())].to_owned()
}

fn both(text: &str) -> [Result<String, String>; 2] {
    [
        serde_json::from_str::<Line>(text).map(|line| serde_json::to_string(&line).unwrap()).map_err(reason),
        serde_json::from_str::<derived::Line>(text)
            .map(|line| serde_json::to_string(&line).unwrap())
            .map_err(reason),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn any_line_is_read_as_derived_code_reads_it(
        which in 0..4_usize,
        tape in prop::collection::vec(any::<u16>(), 400),
    ) {
        let mut faults = 0;
        let text = changed(&lines()[which], &mut tape.into_iter(), &mut faults);
        let [ours, theirs] = both(&text);
        prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{:?} {:?} {}", ours, theirs, text);
        // Of several faults, any may be the one that is named. Of no field value, derived code says less.
        let says_less = theirs.as_ref().is_err_and(|reason| reason.ends_with("untagged enum FieldValue"));
        if ours.is_ok() || faults < 2 && !says_less {
            prop_assert_eq!(ours, theirs, "{}", text);
        }
    }
}

#[test]
fn the_log_of_a_service_is_read_and_written_as_by_derived_code() {
    for line in LOG.lines() {
        let [ours, theirs] = both(line);
        assert_eq!(ours, theirs);
        assert!(ours.is_ok());
    }
}

#[test]
fn unknown_keys_are_ignored_with_all_that_they_hold() {
    for text in [
        r#"{"type":"stage","schema":1,"other":[{"type":null}],"timestamp":"2026-01-31T12:00:00.123456Z"}"#,
        r#"{"other":{"a":[{"type":1}]},"timestamp":"2026-01-31T12:00:00.123456Z","schema":1,"type":"stage"}"#,
    ] {
        let [ours, theirs] = both(text);
        assert_eq!(ours, theirs);
        assert!(ours.is_ok());
    }
}

#[test]
fn what_is_no_line_is_refused() {
    for (text, reason) in [
        ("{}", "missing field `type`"),
        (r#"{"type":"request"}"#, "missing field `schema`"),
        (r#"{"type":"other"}"#, "unknown variant `other`"),
        (r#"{"type":"stage","type":"stage"}"#, "duplicate field `type`"),
        (r#"{"schema":1,"type":"stage","schema":1}"#, "duplicate field `schema`"),
        (r#"{"events":1,"type":"stage","events":1}"#, "duplicate field `events`"),
        ("[]", "invalid type: sequence"),
    ] {
        let error = serde_json::from_str::<Line>(text).unwrap_err().to_string();
        assert!(error.starts_with(reason), "{error}");
    }
}
