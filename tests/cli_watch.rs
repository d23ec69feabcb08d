//! `omni-metrics watch --json`: figures for a pipe. The view on a terminal is tested in `tests/heavy`.

use std::{
    fs::{self, OpenOptions},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;

const PIPELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/pipeline.jsonl");

/// Runs the reader with a log on its standard input.
fn watch(args: &[&str], log: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_omni-metrics"))
        .arg("watch")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(log.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// The last line that it wrote.
fn last(output: &Output) -> Value {
    let text = str::from_utf8(&output.stdout).unwrap();
    serde_json::from_str(text.lines().last().unwrap_or_else(|| panic!("{output:?}"))).unwrap()
}

fn pipeline() -> String {
    fs::read_to_string(PIPELINE).unwrap()
}

/// A file of the test's own.
fn file(name: &str, text: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn at_the_end_of_a_pipe_the_figures_are_those_of_summary() {
    let output = watch(&["--json"], &pipeline());
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let line = last(&output);
    let summary = Command::new(env!("CARGO_BIN_EXE_omni-metrics"))
        .args(["summary", "--json", PIPELINE])
        .output()
        .unwrap();
    let summary: Value = serde_json::from_slice(&summary.stdout).unwrap();
    assert_eq!(
        (&line["type"], &line["has_ended"], &line["requests"]),
        (&"watch".into(), &true.into(), &40.into())
    );
    let (window, overall) = (&line["window"], &summary["overall_summary"]);
    assert_eq!(
        (&window["requests"], &window["tokens"]),
        (&overall["e2e_requests"], &overall["e2e_total_tokens"])
    );
    for (name, number) in summary["percentiles"]["e2e_total_ms"].as_object().unwrap() {
        let (found, expected) =
            (window["percentiles"]["e2e_total_ms"][name].as_f64().unwrap(), number.as_f64().unwrap());
        assert!((found - expected).abs() <= expected / 50.0, "{name}: {found} {expected}");
    }
    // The log lasts for a tenth of a second, and so do the rates.
    let wall = overall["e2e_wall_time_ms"].as_f64().unwrap();
    assert!((window["time_ms"].as_f64().unwrap() - wall).abs() < 0.01, "{window}");
    let whole = last(&watch(&["--json", "--window", "all"], &pipeline()));
    let rate = whole["window"]["requests_per_s"].as_f64().unwrap();
    assert!((rate - 40_000.0 / wall).abs() < 1e-5, "{rate}");
    // Without its first line, the log begins in the middle of the run.
    let rest = pipeline().split_once('\n').unwrap().1.to_owned();
    let path = file("watched-rest.jsonl", &rest);
    let summary = Command::new(env!("CARGO_BIN_EXE_omni-metrics"))
        .args(["summary", "--json", path.to_str().unwrap()])
        .output()
        .unwrap();
    let summary: Value = serde_json::from_slice(&summary.stdout).unwrap();
    let whole = last(&watch(&["--json", "--window", "all"], &rest));
    assert_eq!(whole["window"]["time_ms"], summary["overall_summary"]["e2e_wall_time_ms"]);
    assert_eq!(line["window"]["finish_reasons"]["stop"], 38);
}

#[test]
fn chosen_percentiles_are_those_of_summary() {
    let args = ["--json", "--percentiles", "25,99.99"];
    let summary = Command::new(env!("CARGO_BIN_EXE_omni-metrics"))
        .args([&["summary", PIPELINE], &args[..]].concat())
        .output()
        .unwrap();
    let summary: Value = serde_json::from_slice(&summary.stdout).unwrap();
    let line = last(&watch(&[&["--window", "all"], &args[..]].concat(), &pipeline()));
    let rows = line["chosen_percentiles"].as_array().unwrap();
    // Of each stage, `watch` keeps fewer numbers than `summary`.
    assert_eq!(rows.len(), 3 + 3 * 3);
    let of_summary = summary["chosen_percentiles"].as_array().unwrap();
    assert!(rows.iter().all(|row| of_summary.contains(row)), "{rows:?} {of_summary:?}");
    assert!(last(&watch(&["--json"], &pipeline())).get("chosen_percentiles").is_none());
    let groups =
        watch(&["--json", "--percentiles", "25", "--by", "finish_reason", "--window", "all"], &pipeline());
    assert!(last(&groups)["groups"][0]["e2e_total_ms"]["p25"].is_f64());
}

#[test]
fn objectives_failures_and_sampled_lines_are_in_the_line() {
    let failing = r#""finish_reason":"error","errors":1,"error":"out of memory""#;
    let mut log = pipeline().replacen(r#""finish_reason":"stop""#, failing, 1);
    log = log.replace(r#""errors":1,"error":"out of memory","#, "");
    log = log.replacen(r#""request_id":"req-0002","#, r#""request_id":"req-0002","sample_rate":100,"#, 1);
    let line = last(&watch(&["--json", "--slo", "e2e=20ms@99%"], &log));
    assert_eq!((&line["requests"], &line["failed_requests"]), (&139.into(), &1.into()), "{line}");
    assert_eq!(line["sampled"]["request_lines"], 40);
    assert_eq!(line["objectives"]["each"][0]["objective"], "e2e=20ms@99%");
    assert_eq!(line["objectives"]["judged"], 139);
    assert_eq!(line["failures"][0]["count"], 1);
}

#[test]
fn only_selected_lines_count() {
    let line = last(&watch(&["--json", "--where", "finish_reason == 'length'"], &pipeline()));
    assert_eq!((&line["requests"], &line["left_out_lines"]), (&2.into(), &39.into()));
    // A stream ends now, and this log ended long ago.
    let output = watch(&["--json", "--since", "-15m"], &pipeline());
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("no line is selected: 41 lines are left out by --since"), "{stderr}");
    let output = watch(&["--json", "--where", "fields.nothing == 1"], &pipeline());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && stderr.contains("no line has the field nothing"), "{stderr}");
    let output = watch(&["--json", "--where", "e2e_totl_ms > 1"], "");
    assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(2), true));
}

#[test]
fn damaged_and_foreign_lines_are_counted_and_an_input_without_a_usable_line_is_an_error() {
    let log = format!("hello\n{}{{\"type\":\"request\",\"schema\":1,\"cut\n", pipeline());
    let output = watch(&["--json"], &log);
    let line = last(&output);
    assert_eq!((&line["foreign_lines"], &line["broken_lines"]), (&1.into(), &1.into()));
    let stderr = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(stderr(&output), "omni-metrics: 1 broken line is left out\n");
    let output = watch(&["--json"], "hello\n");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("no line of omni-metrics in standard input"));
    let unknown = pipeline().replace("\"schema\":1,", "\"schema\":9,");
    let output = watch(&["--json"], &unknown);
    assert_eq!((output.status.code(), &last(&output)["unknown_schema_lines"]), (Some(2), &41.into()));
    assert!(stderr(&output).contains("cannot read 41 lines of an unknown schema"), "{output:?}");
}

#[test]
fn arguments_that_cannot_be_meant_are_refused() {
    for args in [
        &["--json", "--window", "10m"][..],
        &["--json", "--window", "1.5"],
        &["--json", "--every", "0s"],
        &["--every", "2s"],
        &["--json", "--slo", "e2e"],
    ] {
        let output = watch(args, "");
        assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(2), true), "{args:?}");
    }
    let output = watch(&[], "");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && stderr.contains("there is `--json`"), "{stderr}");
}

#[test]
fn a_file_is_followed_with_a_line_at_each_interval_until_the_pipe_closes() {
    let path = file("watched-as-json.jsonl", "");
    let mut child = Command::new(env!("CARGO_BIN_EXE_omni-metrics"))
        .args(["watch", "--json", "--every", "100ms", path.to_str().unwrap()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!((&next()["requests"], &next()["has_ended"]), (&0.into(), &false.into()));
    let first = pipeline().lines().next().unwrap().to_owned();
    // The log's own times are long ago: these count for the whole log only.
    writeln!(OpenOptions::new().append(true).open(&path).unwrap(), "{first}").unwrap();
    let line = loop {
        let line = next();
        if line["requests"] == 1 {
            break line;
        }
    };
    assert_eq!((&line["window"]["requests"], &line["window"]["requests_per_s"]), (&0.into(), &0.0.into()));
    drop(lines);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_log_of_the_past_has_the_rates_of_its_own_time_or_a_hint_how_to_see_them() {
    let path = file("watched-long-ago.jsonl", &pipeline());
    let last_line = |window: &str| {
        let args = ["watch", "--json", "--every", "100ms", "--window", window, path.to_str().unwrap()];
        let mut child = Command::new(env!("CARGO_BIN_EXE_omni-metrics"))
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut lines = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
        let line = lines.find(|line| line["requests"] == 40).unwrap();
        drop(lines);
        let output = child.wait_with_output().unwrap();
        (line, String::from_utf8(output.stderr).unwrap())
    };
    let (line, stderr) = last_line("all");
    let window = &line["window"];
    let seconds = window["time_ms"].as_f64().unwrap() / 1e3;
    let rate = window["requests_per_s"].as_f64().unwrap();
    assert!(seconds < 1.0 && (rate - 40.0 / seconds).abs() < 0.1, "{line}");
    assert!(!stderr.contains("--window all"), "{stderr}");
    let (line, stderr) = last_line("5m");
    assert_eq!(line["window"]["requests"], 0);
    assert_eq!(stderr.matches("no request ended in the last 5m; --window all").count(), 1, "{stderr}");
}

/// The log with a field in each request, which has this many values.
fn with_models(models: usize) -> String {
    let log = pipeline();
    let lines = log.lines().enumerate().map(|(at, line)| {
        let field = format!(r#""fields":{{"model":"m{:03}"}},"overall_summary""#, at % models);
        line.replacen(r#""overall_summary""#, &field, usize::from(line.contains(r#""type":"request""#)))
            + "\n"
    });
    lines.collect()
}

#[test]
fn groups_are_those_of_summary() {
    let path = file("watched-groups.jsonl", &with_models(3));
    let log = fs::read_to_string(&path).unwrap();
    for keys in ["finish_reason", "fields.model", "stage_name", "stage_id,finish_reason", "file"] {
        let summary = Command::new(env!("CARGO_BIN_EXE_omni-metrics"))
            .args(["summary", "--json", "--by", keys, path.to_str().unwrap()])
            .output()
            .unwrap();
        let summary: Value = serde_json::from_slice(&summary.stdout).unwrap();
        let output = watch(&["--json", "--window", "all", "--by", keys], &log);
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        let line = last(&output);
        assert_eq!((&line["by"], &line["counted"]), (&summary["by"], &summary["counted"]));
        let rows = [&line, &summary].map(|table| table["groups"].as_array().unwrap().clone());
        assert_eq!(rows[0].len(), rows[1].len(), "{line}");
        for (mut found, mut expected) in rows[0].iter().cloned().zip(rows[1].clone()) {
            for rate in ["per_s", "tokens_per_s"] {
                let [found, expected] =
                    [&mut found, &mut expected].map(|row| row[rate].take().as_f64().unwrap());
                assert!((found - expected).abs() <= expected / 1e3, "{found} {expected}");
            }
            if keys == "file" {
                assert_eq!(found["group"].take(), "standard input");
                assert_eq!(expected["group"].take(), "watched-groups.jsonl");
            }
            assert_eq!(found, expected, "{keys}");
        }
    }
    assert_eq!(last(&watch(&["--json"], &log)).get("groups"), None);
}

#[test]
fn groups_are_bounded_and_the_others_are_counted_in_one() {
    let of_40 = |n: usize| with_models(40).replace(r#""model":"m"#, &format!(r#""model":"{n}m"#));
    let log: String = (0..8).map(of_40).collect();
    let groups = |args: &[&str]| {
        let line = last(&watch(&[&["--json", "--by", "fields.model"], args].concat(), &log));
        let groups = line["groups"].as_array().unwrap().clone();
        groups.iter().map(|row| (row["group"].as_str().unwrap().to_owned(), row["count"].clone())).collect()
    };
    let of_minute: Vec<(String, Value)> = groups(&[]);
    let names: Vec<_> = (0..256).map(|at| (format!("{}m{:03}", at / 40, at % 40), 1.into())).collect();
    assert_eq!(of_minute, [&names[..], &[("others".to_owned(), 64.into())]].concat());
    assert_eq!(groups(&["--window", "all"]), of_minute);
}

#[test]
fn groups_have_objectives_and_a_key_that_no_line_has_is_named() {
    let line = last(&watch(&["--json", "--by", "finish_reason", "--slo", "e2e=20ms"], &pipeline()));
    let groups = line["groups"].as_array().unwrap();
    let judged: Vec<_> = groups.iter().map(|row| row["objectives"]["judged"].as_u64()).collect();
    assert_eq!(judged, [Some(38), Some(2)]);
    let output = watch(&["--json", "--by", "stage_name", "--slo", "e2e=20ms"], "");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && output.stdout.is_empty(), "{output:?}");
    assert!(stderr.contains("the rows of --by stage_name are of stages"), "{stderr}");
    let output = watch(&["--json", "--by", "fields.nothing"], &with_models(3));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(stderr, "omni-metrics: --by: no request has the field nothing; fields are model\n");
    assert_eq!(last(&output)["groups"][0]["group"], "none");
    assert_eq!(watch(&["--json", "--by", "model"], "").status.code(), Some(2));
}
