//! `omni-metrics export`, as its users run it.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::{Command, Output},
};

use serde_json::Value;

fn data(name: &str) -> String {
    format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn export(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_omni-metrics")).arg("export").args(arguments).output().unwrap()
}

fn stdout(arguments: &[&str]) -> String {
    let output = export(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn events(name: &str) -> Vec<Value> {
    let trace: Value = serde_json::from_str(&stdout(&["--format", "chrome", &data(name)])).unwrap();
    trace["traceEvents"].as_array().unwrap().clone()
}

fn requests(name: &str) -> Vec<Value> {
    let log = std::fs::read_to_string(data(name)).unwrap();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["type"] == "request").collect()
}

/// A time of the trace, in nanoseconds.
fn nanos(micros: &Value) -> i64 {
    (micros.as_f64().unwrap() * 1e3).round() as i64
}

#[test]
fn a_trace_has_each_request_and_stage_once_and_no_lane_has_two_at_once() {
    for name in ["pipeline.jsonl", "engine.jsonl"] {
        let (events, requests) = (events(name), requests(name));
        let mut lanes = BTreeMap::<(u64, u64), Vec<(i64, i64)>>::new();
        let mut of_requests = BTreeMap::new();
        let mut stages = 0;
        for event in events.iter().filter(|event| event["ph"] == "X") {
            let place = (event["pid"].as_u64().unwrap(), event["tid"].as_u64().unwrap());
            let (from, length) = (nanos(&event["ts"]), nanos(&event["dur"]));
            lanes.entry(place).or_default().push((from, from + length));
            if event["args"].get("e2e_total_ms").is_some() {
                of_requests.insert(event["name"].as_str().unwrap(), length);
            }
            stages += usize::from(
                event["args"].get("stage_id").is_some() || event["args"].get("num_tokens_out").is_some(),
            );
        }
        assert_eq!(of_requests.len(), requests.len());
        for request in &requests {
            let e2e = (request["e2e_table"]["e2e_total_ms"].as_f64().unwrap() * 1e6).round() as i64;
            assert_eq!(of_requests[request["request_id"].as_str().unwrap()], e2e);
        }
        let rows = requests.iter().flat_map(|request| request["stage_table"].as_array().unwrap());
        assert_eq!(stages, rows.filter(|row| !row["stage_gen_time_ms"].is_null()).count());
        for (place, mut times) in lanes {
            times.sort_unstable();
            assert!(times.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{name}: {place:?}");
        }
    }
}

#[test]
fn flows_follow_each_transfer_from_stage_to_stage_forward_in_time() {
    flows_follow_the_transfers("pipeline.jsonl");
}

#[test]
fn flows_follow_transfers_of_stages_that_stream_and_of_a_request_that_failed_before_its_last_stage() {
    flows_follow_the_transfers("engine.jsonl");
}

fn flows_follow_the_transfers(name: &str) {
    let events = events(name);
    let mut flows = BTreeMap::<u64, Vec<&Value>>::new();
    for event in events.iter().filter(|event| event.get("id").is_some()) {
        flows.entry(event["id"].as_u64().unwrap()).or_default().push(event);
    }
    let edges = requests(name).iter().map(edges_with_both_stages).sum::<usize>();
    assert_eq!(flows.len(), edges);
    let slices: Vec<_> = events.iter().filter(|event| event["ph"] == "X").collect();
    for steps in flows.values() {
        let phases: Vec<_> = steps.iter().map(|step| step["ph"].as_str().unwrap()).collect();
        assert_eq!(phases, ["s", "t", "f"]);
        assert!(steps.windows(2).all(|pair| nanos(&pair[0]["ts"]) <= nanos(&pair[1]["ts"])));
        for step in steps {
            let at = nanos(&step["ts"]);
            let is_around = |slice: &&&Value| {
                let from = nanos(&slice["ts"]);
                (&slice["pid"], &slice["tid"]) == (&step["pid"], &step["tid"])
                    && (from..=from + nanos(&slice["dur"])).contains(&at)
            };
            assert!(slices.iter().any(|slice| is_around(&slice)), "no slice around {step}");
        }
    }
}

fn edges_with_both_stages(line: &Value) -> usize {
    let [stages, edges] = ["stage_table", "transfer_table"].map(|table| line[table].as_array().unwrap());
    let has = |id: &Value| stages.iter().any(|row| row["stage_id"] == *id);
    edges.iter().filter(|edge| has(&edge["from_stage"]) && has(&edge["to_stage"])).count()
}

#[test]
fn every_process_and_lane_of_a_trace_has_a_name() {
    let events = events("engine.jsonl");
    let named = |name: &str| -> BTreeSet<_> {
        let names = events.iter().filter(|event| event["name"] == name && event["ph"] == "M");
        names.map(|event| (event["pid"].as_u64(), event["tid"].as_u64())).collect()
    };
    let (processes, lanes) = (named("process_name"), named("thread_name"));
    for event in events.iter().filter(|event| event["ph"] != "M") {
        assert!(processes.contains(&(event["pid"].as_u64(), Some(0))));
        assert!(lanes.contains(&(event["pid"].as_u64(), event["tid"].as_u64())));
    }
}

#[test]
fn a_table_has_a_column_for_every_number_and_its_rows_are_those_of_the_log() {
    let requests = requests("engine.jsonl");
    for (table, key) in
        [("requests", "e2e_table"), ("stages", "stage_table"), ("transfers", "transfer_table")]
    {
        let csv = stdout(&["--format", "csv", "--table", table, &data("engine.jsonl")]);
        let mut reader = csv::Reader::from_reader(csv.as_bytes());
        let heads = reader.headers().unwrap().clone();
        let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
        let expected: Vec<_> = requests
            .iter()
            .flat_map(|line| match &line[key] {
                Value::Array(rows) => rows.iter().map(|row| (line, row)).collect(),
                row => vec![(line, row)],
            })
            .collect();
        assert_eq!(rows.len(), expected.len());
        for (row, (line, values)) in rows.iter().zip(expected) {
            assert_eq!(row[0], *line["request_id"].as_str().unwrap());
            for (name, value) in values.as_object().unwrap().iter().filter(|(name, _)| *name != "fields") {
                let at =
                    heads.iter().position(|head| head == name).unwrap_or_else(|| panic!("no column {name}"));
                match value {
                    Value::Null => assert_eq!(&row[at], ""),
                    Value::String(text) => assert_eq!(&row[at], text),
                    number => assert_eq!(row[at].parse::<f64>().unwrap(), number.as_f64().unwrap(), "{name}"),
                }
            }
        }
    }
}

#[test]
fn a_text_from_the_log_is_quoted_and_has_no_raw_control_characters() {
    let line = r#"{"type":"stage","schema":1,"timestamp":"2026-01-31T12:00:00.123456Z","request_id":"a,\"b\u001b[31m","stage_id":2,"stage_gen_time_ms":1.5,"wall_time_ms":1.5,"events":1}"#;
    let path = std::env::temp_dir().join(format!("omni-export-{}.jsonl", std::process::id()));
    std::fs::write(&path, format!("{line}\n")).unwrap();
    let file = path.to_str().unwrap();
    let csv = stdout(&["--format", "csv", "--table", "stages", file]);
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let row = reader.records().next().unwrap().unwrap();
    assert!(!csv.contains('\u{1b}') && row[0].starts_with("a,\"b"), "{csv}");
    let trace = stdout(&["--format", "chrome", file]);
    let trace: Value = serde_json::from_str(&trace).unwrap();
    assert_eq!(trace["traceEvents"][0]["name"], "a,\"b\u{1b}[31m");
    assert_eq!(trace["traceEvents"][0]["dur"], 1500.0);
    std::fs::remove_file(path).unwrap();
}
