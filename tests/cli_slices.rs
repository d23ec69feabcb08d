//! Selections of the reader: `--since`, `--until`, `--where`, and what is said of the lines that they leave out.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use flate2::{Compression, write::GzEncoder};
use omni_metrics::{Line, RequestLine};
use serde_json::{Value, json};

fn omni(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_omni-metrics")).args(args).stdin(Stdio::null()).output().unwrap()
}

fn omni_of(args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_omni-metrics"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn file(name: &str, content: impl AsRef<[u8]>) -> String {
    let path: PathBuf = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, content).unwrap();
    path.display().to_string()
}

/// The line of a request that ends at this time, with members of its own in `e2e_table` and `fields`.
fn request(id: &str, timestamp: &str, e2e: Value, fields: Value) -> String {
    let mut line = json!({
        "type": "request", "schema": 1, "timestamp": timestamp, "request_id": id, "overall_summary": {
            "e2e_requests": 1, "e2e_wall_time_ms": 1.0, "e2e_total_tokens": 7,
            "e2e_avg_time_per_request_ms": 1.0, "e2e_avg_tokens_per_s": 7000.0, "stage_wall_time_ms": [],
        },
        "e2e_table": {
            "e2e_total_ms": 1.0, "e2e_total_tokens": 7, "transfers_total_time_ms": 0.0,
            "transfers_total_bytes": 0, "queue_time_ms": null, "unattributed_time_ms": 1.0,
        },
        "stage_table": [
            {"stage_id": 0, "stage_gen_time_ms": 0.5, "stage_name": "thinker", "num_tokens_out": 7, "events": 1},
        ],
        "transfer_table": [], "fields": fields,
    });
    line["e2e_table"].as_object_mut().unwrap().extend(e2e.as_object().unwrap().clone());
    // The members of a line have an order, which a JSON object has not.
    let line: Line = serde_json::from_value(line).unwrap();
    serde_json::to_string(&line).unwrap() + "\n"
}

/// Four requests, of 22:00, 22:30, 23:59 and, on the next day, 02:00.
fn log() -> String {
    [
        request(
            "a",
            "2026-01-31T22:00:00.000000Z",
            json!({"e2e_total_ms": 100.0, "finish_reason": "stop"}),
            json!({"model": "x"}),
        ),
        request(
            "b",
            "2026-01-31T22:30:00.000000Z",
            json!({"e2e_total_ms": 600.0, "finish_reason": "error", "errors": 2}),
            json!({"model": "x", "tier": 3}),
        ),
        request(
            "c",
            "2026-01-31T23:59:00.000000Z",
            json!({"e2e_total_ms": 700.0, "finish_reason": "error", "errors": 1}),
            json!({"model": "y", "tier": 2.5}),
        ),
        request("d", "2026-02-01T02:00:00.000000Z", json!({"e2e_total_ms": 800.0}), json!({})),
    ]
    .concat()
}

/// The ids of the requests that are selected, in order.
fn selected(args: &[&str], log: &str) -> String {
    let args: Vec<_> = ["join"].iter().chain(args).chain(&[log]).copied().collect();
    let output = omni(&args);
    assert!(output.status.success(), "{args:?}: {output:?}");
    let ids = text(&output.stdout);
    let ids = ids.lines().map(|line| serde_json::from_str::<RequestLine>(line).unwrap().request_id);
    ids.collect()
}

fn refused(args: &[&str], log: &str) -> String {
    let args: Vec<_> = ["summary"].iter().chain(args).chain(&[log]).copied().collect();
    let output = omni(&args);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), String::new()), "{args:?}");
    text(&output.stderr)
}

#[test]
fn an_expression_selects_requests_by_numbers_texts_and_fields() {
    let log = file("slices_where.jsonl", log());
    for (expression, ids) in [
        ("finish_reason == \"error\" && fields.model == \"x\" && e2e_total_ms > 500", "b"),
        ("e2e_total_ms > 500", "bcd"),
        ("e2e_total_ms >= 600.0 && 700 >= e2e_total_ms", "bc"),
        ("errors > 1.5", "b"),
        ("fields.tier >= 2.5", "bc"),
        ("fields['tier'] < 3", "c"),
        ("fields.model in ['x', 'z']", "ab"),
        ("request_id == 'c' || fields.model.startsWith('x')", "abc"),
        ("timestamp < '2026-01-31T23'", "ab"),
        ("stages.exists(s, s.stage_name == 'thinker' && s.num_tokens_out == 7) && size(stages) == 1", "abcd"),
        ("size(transfers) > 0 || e2e_total_ms / 1000.0 > 0.65", "cd"),
        ("type == 'request' && double(errors) * 400.0 > e2e_total_ms", "b"),
        // Of what is absent only equality is known; the rest of the expression may still decide.
        ("has(fields.model)", "abc"),
        ("!has(fields.model)", "d"),
        ("'model' in fields", "abc"),
        ("finish_reason == null", "d"),
        ("finish_reason != 'error'", "ad"),
        ("!(errors > 1)", "c"),
        ("errors > 1 || e2e_total_ms > 750", "bd"),
        ("stages[3].events > 0 || request_id == 'a'", "a"),
    ] {
        assert_eq!(selected(&["--where", expression], &log), ids, "{expression}");
    }
}

#[test]
fn a_time_is_a_moment_a_time_of_day_or_a_span_before_the_end() {
    let content = log();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(content.as_bytes()).unwrap();
    let pod: String =
        content.lines().map(|line| format!("2026-02-01T02:00:01.5Z stderr F {line}\n")).collect();
    let logs = [
        file("slices_time.jsonl", &content),
        file("slices_time.gz", gzip.finish().unwrap()),
        file("slices_time_of_a_pod.log", pod),
    ];
    for log in &logs {
        for (args, ids) in [
            (&["--since", "2026-01-31T22:30:00Z"][..], "bcd"),
            (&["--until", "2026-01-31T22:30:00Z"], "a"),
            (&["--since", "2026-02-01T00:30:00+02:00", "--until", "2026-02-01"], "bc"),
            (&["--since", "-3h"], "cd"),
            (&["--since", "-4h", "--until", "-2h1m"], "ab"),
            (&["--since", "-1d", "--until", "-10s"], "abc"),
            (&["--since", "22:30"], "bcd"),
            (&["--since", "22:30:00.5", "--until", "02:00"], "c"),
            (&["--since", "22:00", "--until", "22:30"], "a"),
            (&["--since", "-4h", "--where", "e2e_total_ms < 650"], "ab"),
        ] {
            assert_eq!(selected(args, log), ids, "{args:?} {log}");
        }
    }
}

#[test]
fn standard_input_ends_now() {
    let old = omni_of(&["check", "--since", "-1d"], &log());
    let sentence = "omni-metrics: no line is selected: 4 lines are left out by --since; the log has lines from \
                    2026-01-31T22:00:00.000000Z to 2026-02-01T02:00:00.000000Z\n";
    assert_eq!((old.status.code(), text(&old.stderr)), (Some(2), sentence.to_owned()));
    assert!(omni_of(&["check", "--until", "-1s"], &log()).status.success());
}

#[test]
fn every_command_says_how_many_lines_it_leaves_out() {
    let log = file("slices_counts.jsonl", log() + "not ours\n");
    for command in ["tables", "summary", "check", "join", "report"] {
        let output = omni(&[command, "--since", "22:30", "--where", "e2e_total_ms < 650", &log]);
        assert!(output.status.success(), "{output:?}");
        let said = "omni-metrics: 1 line is left out by --since, and 2 lines are left out by --where\n";
        assert_eq!(text(&output.stderr), said, "{command}");
    }
}

#[test]
fn check_says_that_the_numbers_of_a_selection_are_not_checked() {
    let pipeline = fs::read_to_string("tests/data/pipeline.jsonl").unwrap();
    let lines: Vec<_> = pipeline.lines().filter(|line| !line.contains("req-0007")).collect();
    let log = file("slices_check.jsonl", lines.join("\n"));
    assert_eq!(omni(&["check", &log]).status.code(), Some(1));
    let output = omni(&["check", "--where", "type != 'summary'", &log]);
    let said =
        "39 lines are sound, 0 foreign lines, e2e_requests not checked for gaps, since lines are left out\n";
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), said.to_owned()));
}

#[test]
fn an_expression_that_cannot_be_used_is_refused_before_reading() {
    for (expression, why) in [
        ("finish_reson == 'x'", "there is no name finish_reson; did you mean finish_reason?"),
        ("model == 'x'", "there is no name model; a field of the request is fields.NAME"),
        ("[1].exists(x, y == 1)", "there is no name y"),
        ("request_id.startWith('a')", "there is no function startWith; did you mean startsWith?"),
        ("e2e_total_ms / 1000 > 1", "do not mix whole numbers and decimals; write 1000.0 for 1000"),
        ("e2e_total_ms", "its value is a double; expected true or false"),
        ("e2e_total_ms >", "it ends too early"),
        ("e2e_total_ms = 5", "at `= 5`: "),
        ("", "it ends too early"),
    ] {
        let said = refused(&["--where", expression], "/nowhere/at/all");
        let expected = format!("omni-metrics: --where '{expression}': ");
        assert!(said.starts_with(&expected) && said.contains(why) && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn a_time_that_cannot_be_used_is_refused() {
    let log = file("slices_refused.jsonl", log());
    assert!(refused(&["--since", "noon"], &log).contains("--since noon: expected a date and time"));
    let said = refused(&["--since", "2026-02-02", "--until", "-1m"], &log);
    assert!(
        said.contains("--until 2026-02-01T01:59:00.000000Z is not after --since 2026-02-02T00"),
        "{said}"
    );
    let said = refused(&["--since", "-1m"], "/nowhere/at/all");
    assert!(said.contains("/nowhere/at/all"), "{said}");
}

#[test]
fn a_field_that_no_line_has_and_an_expression_without_an_answer_are_named_at_the_end() {
    let log = file("slices_remarks.jsonl", log());
    let said = refused(&["--where", "fields.modle == 'x'"], &log);
    assert!(said.contains("--where: no line has the field modle; did you mean fields.model?\n"), "{said}");
    assert!(
        said.contains("no line is selected: 4 lines are left out by --where; the log has lines from"),
        "{said}"
    );
    let output = omni(&["join", "--where", "fields.tier > 'a' || request_id == 'a'", &log]);
    let said = "--where cannot be decided for 2 lines, which count as left out: ";
    assert!(output.status.success() && text(&output.stderr).contains(said), "{output:?}");
}

#[test]
fn summaries_are_selected_by_time_and_by_an_expression_that_names_the_type() {
    let log = "tests/data/pipeline.jsonl";
    let count = |args: &[&str]| {
        let output = omni(&[&["tables"][..], args, &[log]].concat());
        text(&output.stdout).matches("Overall Summary").count()
    };
    let requests = count(&["--where", "true"]);
    assert_eq!(count(&["--since", "-1h"]), requests + 1);
    assert_eq!(count(&["--where", "type == 'summary'"]), 1);
    assert_eq!(count(&["--where", "type != 'request'"]), 1);
}

#[test]
fn detached_rows_have_the_numbers_of_their_row() {
    let row = r#"{"type":"stage","schema":1,"timestamp":"2026-01-31T22:00:00.000000Z","request_id":"a","stage_id":2,"batch_id":null,"batch_size":null,"num_tokens_in":null,"num_tokens_out":9,"preprocess_time_ms":null,"stage_gen_time_ms":4.0,"busy_time_ms":null,"queue_time_ms":null,"start_ms":null,"events":1,"fields":{"gpu":3}}"#;
    let log = file("slices_detached.jsonl", log() + row + "\n");
    let output = omni(&["check", "--where", "stage_id == 2 && num_tokens_out > 8 && fields.gpu == 3", &log]);
    assert!(text(&output.stdout).starts_with("1 line is sound"), "{output:?}");
    let output = omni(&["check", "--where", "e2e_total_ms > 0", &log]);
    assert!(text(&output.stdout).starts_with("4 lines are sound"), "{output:?}");
}
