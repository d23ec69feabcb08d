//! `omni-metrics export`, as its users run it.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::{Command, Output},
};

use serde_json::{Value, json};

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
    events_of(&data(name))
}

fn events_of(path: &str) -> Vec<Value> {
    let trace: Value = serde_json::from_str(&stdout(&["--format", "chrome", path])).unwrap();
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
    for steps in flows.values() {
        let phases: Vec<_> = steps.iter().map(|step| step["ph"].as_str().unwrap()).collect();
        assert_eq!(phases, ["s", "t", "f"]);
        assert_steps_are_in_slices_and_go_forward(steps, &events);
    }
}

fn assert_steps_are_in_slices_and_go_forward(steps: &[&Value], events: &[Value]) {
    assert!(steps.windows(2).all(|pair| nanos(&pair[0]["ts"]) <= nanos(&pair[1]["ts"])), "{steps:?}");
    for step in steps {
        let at = nanos(&step["ts"]);
        let is_around = |slice: &&Value| {
            let from = nanos(&slice["ts"]);
            (&slice["pid"], &slice["tid"]) == (&step["pid"], &step["tid"])
                && (from..from + nanos(&slice["dur"])).contains(&at)
        };
        let mut slices = events.iter().filter(|event| event["ph"] == "X");
        assert!(slices.any(|slice| is_around(&slice)), "no slice around {step}");
    }
}

#[test]
fn flows_of_joined_logs_are_in_slices_also_of_answers_and_where_clocks_differ() {
    // The last stage answers through the first one, which has long ended.
    let stage = |id: u64, start: f64, time: f64| {
        json!({"stage_id": id, "num_tokens_in": null, "num_tokens_out": null, "stage_gen_time_ms": time,
            "busy_time_ms": time, "queue_time_ms": 0.0, "start_ms": start, "events": 1})
    };
    let transfer = |from: u64, to: u64, start: f64, rx: Option<f64>| {
        json!({"from_stage": from, "to_stage": to, "tx_time_ms": 0.5, "rx_decode_time_ms": rx,
            "in_flight_time_ms": rx.map(|_| 0.0), "total_time_ms": 0.5 + rx.unwrap_or(0.0), "start_ms": start,
            "events": 1 + u64::from(rx.is_some())})
    };
    let rows = [
        // In order of time, except the answer.
        [transfer(0, 1, 1.0, Some(0.5)), transfer(1, 2, 60.0, Some(0.5)), transfer(2, 0, 99.0, None)],
        // The clock of stage 2 is behind, and that of stage 1 ahead.
        [transfer(0, 1, 9.0, Some(0.5)), transfer(1, 2, 4.0, Some(7.0)), transfer(2, 0, 40.0, None)],
    ];
    let line = |(at, rows): (usize, [Value; 3])| {
        let stages = [stage(0, 0.0, 2.0), stage(1, 10.0, 50.0), stage(2, 55.0, 44.0)];
        json!({"type": "request", "schema": 1, "timestamp": format!("2026-01-31T12:00:0{at}.123456Z"),
            "request_id": format!("r{at}"), "overall_summary": {"e2e_requests": at + 1,
            "e2e_wall_time_ms": 100.0, "e2e_total_tokens": 0, "e2e_avg_time_per_request_ms": 100.0,
            "e2e_avg_tokens_per_s": 0.0, "stage_wall_time_ms": []}, "e2e_table": {"e2e_total_ms": 100.0,
            "e2e_total_tokens": 0, "transfers_total_time_ms": 0.0, "transfers_total_bytes": 0,
            "queue_time_ms": 0.0, "unattributed_time_ms": 0.0}, "stage_table": stages,
            "transfer_table": rows})
        .to_string()
    };
    let lines: Vec<_> = rows.into_iter().enumerate().map(line).collect();
    let path = std::env::temp_dir().join(format!("omni-flows-{}.jsonl", std::process::id()));
    std::fs::write(&path, lines.join("\n") + "\n").unwrap();
    let events = events_of(path.to_str().unwrap());
    std::fs::remove_file(path).unwrap();
    let processes: BTreeMap<_, _> = events
        .iter()
        .filter(|event| event["name"] == "process_name")
        .map(|event| (event["pid"].as_u64(), event["args"]["name"].as_str().unwrap()))
        .collect();
    let mut flows = BTreeMap::<u64, Vec<&Value>>::new();
    for event in events.iter().filter(|event| event.get("id").is_some()) {
        flows.entry(event["id"].as_u64().unwrap()).or_default().push(event);
    }
    let ways: Vec<_> = flows
        .values()
        .map(|steps| {
            assert_steps_are_in_slices_and_go_forward(steps, &events);
            assert!(steps[0]["ph"] == "s" && steps[steps.len() - 1]["ph"] == "f", "{steps:?}");
            steps.iter().map(|step| processes[&step["pid"].as_u64()]).collect::<Vec<_>>()
        })
        .collect();
    let first = ["stage 0", "transfers 0 → 1", "stage 1"];
    let second = ["stage 1", "transfers 1 → 2", "stage 2"];
    let both = [&first[..], &second[..], &["stage 2", "transfers 2 → 0"]];
    assert_eq!(ways, [&both[..], &[&first[..], &second[..]]].concat(), "{ways:?}");
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

#[test]
fn json_says_what_was_written() {
    let log = data("pipeline.jsonl");
    let output = format!("{}/exported", env!("CARGO_TARGET_TMPDIR"));
    let exported = |arguments: &[&str]| -> (Value, String) {
        let plain = stdout(&[arguments, &[&log]].concat());
        // Without a file for the output, the line of JSON is the last one on stderr.
        let json = export(&[arguments, &["--json", &log]].concat());
        assert_eq!(String::from_utf8(json.stdout).unwrap(), plain);
        let stderr = String::from_utf8(json.stderr).unwrap();
        let of_file = stdout(&[arguments, &["--json", "-o", &output, &log]].concat());
        assert_eq!(stderr.lines().last(), of_file.lines().last());
        assert_eq!(of_file.lines().count(), 1);
        assert_eq!(std::fs::read_to_string(&output).unwrap(), plain);
        (serde_json::from_str(&of_file).unwrap(), plain)
    };
    for (table, rows) in [("requests", 17), ("stages", 51), ("transfers", 34)] {
        let csv = ["--format", "csv", "--table", table, "--where", "e2e_total_ms > 20.0"];
        let (json, text) = exported(&csv);
        let expected = json!({
            "type": "export", "format": "csv", "table": table, "rows": rows, "bytes": text.len(),
            "lines": 17, "broken_lines": 0, "foreign_lines": 0, "unknown_schema_lines": 0,
            "doubled_lines": 0, "left_out_lines": 24,
        });
        assert_eq!(json, expected);
        assert_eq!(text.lines().count(), rows + 1);
    }
    let (json, text) = exported(&["--format", "chrome"]);
    let events = events("pipeline.jsonl");
    let count = |ph: &str| events.iter().filter(|event| event["ph"] == ph).count();
    assert_eq!([&json["format"], &json["bytes"]], [&json!("chrome"), &json!(text.len())]);
    assert_eq!([&json["slices"], &json["flows"]], [&json!(count("X")), &json!(count("s"))]);
    assert!(count("X") > 40 && count("s") > 40, "{json}");
}
