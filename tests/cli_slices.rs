//! Selections of the reader (`--since`, `--until`, `--where`), groups (`--by`, `--every`) and percentiles.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use flate2::{Compression, write::GzEncoder};
use omni_metrics::{Line, RequestLine};
use serde_json::{Value, json};

const PIPELINE: &str = include_str!("data/pipeline.jsonl");

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
    let wall = e2e["e2e_total_ms"].as_f64().unwrap_or(1.0);
    let mut line = json!({
        "type": "request", "schema": 1, "timestamp": timestamp, "request_id": id, "overall_summary": {
            "e2e_requests": 1, "e2e_wall_time_ms": wall, "e2e_total_tokens": 7,
            "e2e_avg_time_per_request_ms": wall, "e2e_avg_tokens_per_s": 7000.0 / wall,
            "stage_wall_time_ms": [0.5],
        },
        "e2e_table": {
            "e2e_total_ms": 1.0, "e2e_total_tokens": 7, "transfers_total_time_ms": 0.0,
            "transfers_total_bytes": 0, "queue_time_ms": null, "unattributed_time_ms": 1.0,
        },
        "stage_table": [
            {
                "stage_id": 0, "stage_gen_time_ms": 0.5, "stage_name": "thinker", "num_tokens_out": 7,
                "busy_time_ms": 0.5, "events": 1,
            },
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
        ("failed", "bc"),
        ("!failed && e2e_total_ms > 500 || failed == true && errors > 1", "bd"),
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
fn an_end_before_the_beginning_is_said_to_be_of_the_next_day() {
    let log = file("slices_next_day.jsonl", log());
    let said = |args: &[&str]| text(&omni(&[&["summary"], args, &[&log]].concat()).stderr);
    let expected = "omni-metrics: --until 01:00 is not after --since 01:30, and so is the one of the next day, \
                    2026-02-02T01:00:00.000000Z: the log ends before that day\n";
    assert!(said(&["--since", "01:30", "--until", "01:00"]).starts_with(expected));
    // The log ends on the next day.
    assert!(!said(&["--since", "22:30", "--until", "02:00"]).contains("next day"));
}

#[test]
fn where_no_line_is_selected_the_last_line_is_named_if_it_is_not_the_latest_one() {
    let request = |id: &str, at: &str| request(id, at, json!({}), json!({}));
    let (late, early) =
        (request("a", "2026-02-01T02:00:00.000000Z"), request("b", "2026-02-01T01:00:00.000000Z"));
    // More than the part of the log in which its end is sought.
    let log = file("slices_last_line.jsonl", late + &"x".repeat(1 << 18) + "\n" + &early);
    let said = refused(&["--since", "-3m", "--where", "e2e_total_ms > 1e9"], &log);
    let expected = "the log has lines from 2026-02-01T01:00:00.000000Z to 2026-02-01T02:00:00.000000Z, and its \
                    last line is of 2026-02-01T01:00:00.000000Z, from which the times count";
    assert!(said.contains(expected), "{said}");
}

#[test]
fn standard_input_ends_now() {
    let old = omni_of(&["check", "--since", "-1d"], &log());
    let sentence = "omni-metrics: no line is selected: 4 lines are left out by --since (--since -1d); the log has \
                    lines from 2026-01-31T22:00:00.000000Z to 2026-02-01T02:00:00.000000Z\n";
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
fn a_page_and_a_summary_as_json_say_what_was_left_out() {
    let log = file("slices_page.jsonl", log());
    let page = stdout(&["report", "--where", "e2e_total_ms < 650", &log]);
    let said = "<li>2 lines are left out by --where (--where e2e_total_ms &lt; 650)";
    assert!(page.contains(said), "{page}");
    let summary = stdout(&["summary", "--json", "--where", "e2e_total_ms < 650", &log]);
    let summary: Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(summary["left_out_lines"], json!(2));
}

#[test]
fn check_says_that_the_numbers_of_a_selection_are_not_checked() {
    let pipeline = fs::read_to_string("tests/data/pipeline.jsonl").unwrap();
    let lines: Vec<_> = pipeline.lines().filter(|line| !line.contains("req-0007")).collect();
    let log = file("slices_check.jsonl", lines.join("\n"));
    assert_eq!(omni(&["check", &log]).status.code(), Some(1));
    let output = omni(&["check", "--where", "type != 'summary'", &log]);
    let said = "39 lines are sound, 0 foreign lines, e2e_requests not checked for gaps, nor logs against each \
                other, since lines are left out\n";
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), said.to_owned()));
}

#[test]
fn an_expression_that_cannot_be_used_is_refused_before_reading() {
    for (expression, why) in [
        ("finish_reson == 'x'", "there is no name finish_reson; did you mean finish_reason?"),
        ("FIELDS.v == 1", "there is no name FIELDS; did you mean fields?"),
        ("model == 'x'", "there is no name model; a field of the request is fields.NAME"),
        (
            "finish_reason == stop",
            "there is no name stop; a field of the request is fields.NAME, and a text has quotes",
        ),
        ("e2e_total_ms = 5", "at `= 5`: it is written =="),
        ("e2e_total_ms > 5 and errors > 1", "at `and errors > 1`: it is written &&"),
        (
            "e2e_total_ms > '5'",
            "`>` stands between a number and a text; a text has quotes, and a number has none",
        ),
        ("[1].exists(x, y == 1)", "there is no name y"),
        ("request_id.startWith('a')", "there is no function startWith; did you mean startsWith?"),
        ("e2e_total_ms / 1000 > 1", "do not mix whole numbers and decimals; write 1000.0 for 1000"),
        ("e2e_total_ms", "its value is a double; expected true or false"),
        (
            "error",
            "error alone is neither true nor false; expected a condition, such as error != null, or failed",
        ),
        (
            "status == 'failed'",
            "there is no name status; failed is true of a request that failed, and a field",
        ),
        ("fail", "there is no name fail; did you mean failed?"),
        ("e2e_total_ms >", "it ends too early"),
        ("", "it ends too early"),
    ] {
        let said = refused(&["--where", expression], "/nowhere/at/all");
        let expected = format!("omni-metrics: --where '{expression}': ");
        assert!(said.starts_with(&expected) && said.contains(why) && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn a_text_without_quotes_that_is_a_name_is_said_to_be_one_if_no_line_is_selected() {
    let line = request("a", "2026-02-01T00:00:00.000000Z", json!({"finish_reason": "error"}), json!({}));
    let log = file("slices_quotes.jsonl", line);
    let said = refused(&["--where", "finish_reason == error"], &log);
    let expected = "finish_reason and error are both names of what a line has; a text has quotes: \"error\"";
    assert!(said.contains(expected), "{said}");
    assert!(!text(&omni(&["summary", "--where", "finish_reason != error", &log]).stderr).contains("quotes"));
    let said = text(&omni(&["summary", "--where", "finish_reason > 5", &log]).stderr);
    assert!(said.contains("`>` stands between a text and a number"), "{said}");
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
        said.contains(
            "no line is selected: 4 lines are left out by --where (--where fields.modle == 'x'); the log has"
        ),
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
    let row = r#"{"type":"stage","schema":1,"timestamp":"2026-01-31T22:00:00.000000Z","request_id":"a","stage_id":2,"batch_id":null,"batch_size":null,"num_tokens_in":null,"num_tokens_out":9,"preprocess_time_ms":null,"stage_gen_time_ms":4.0,"busy_time_ms":4.0,"queue_time_ms":null,"start_ms":null,"events":1,"fields":{"gpu":3}}"#;
    let log = file("slices_detached.jsonl", log() + row + "\n");
    let output = omni(&["check", "--where", "stage_id == 2 && num_tokens_out > 8 && fields.gpu == 3", &log]);
    assert!(text(&output.stdout).starts_with("1 line is sound"), "{output:?}");
    let output = omni(&["check", "--where", "e2e_total_ms > 0", &log]);
    assert!(text(&output.stdout).starts_with("4 lines are sound"), "{output:?}");
}

fn stdout(args: &[&str]) -> String {
    let output = omni(args);
    assert!(output.status.success(), "{args:?}: {output:?}");
    text(&output.stdout)
}

fn groups(args: &[&str], log: &str) -> Vec<Value> {
    let table: Value =
        serde_json::from_str(&stdout(&[&["summary", "--json"][..], args, &[log]].concat())).unwrap();
    table["groups"].as_array().unwrap().clone()
}

#[test]
fn a_summary_has_a_row_for_each_value_of_a_key() {
    let log = file("slices_by.jsonl", log());
    let counts = |by: &str| {
        let groups = groups(&["--by", by], &log);
        let count = |group: &Value| (group["group"].as_str().unwrap().to_owned(), group["count"].clone());
        groups.iter().map(count).map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(counts("finish_reason"), "error 2, none 1, stop 1");
    assert_eq!(counts("fields.model"), "x 2, none 1, y 1");
    assert_eq!(counts("fields.tier"), "none 2, 2.5 1, 3 1");
    assert_eq!(counts("stage_name"), "thinker 4");
    assert_eq!(counts("stage_id"), "0 4");
    let errors = &groups(&["--by", "finish_reason", "--percentiles", "50,99.9"], &log)[0];
    let e2e = &errors["e2e_total_ms"];
    assert_eq!((&errors["failed_share"], &errors["tokens"]), (&json!(1.0), &json!(14)));
    assert_eq!((&e2e["mean"], &e2e["max"], e2e.get("p90")), (&json!(650.0), &json!(700.0), None));
    assert!((e2e["p50"].as_f64().unwrap() - 600.0).abs() < 6.0 && e2e["p99.9"].as_f64().unwrap() > 693.0);
    // From the creation of the first request to the end of the last one.
    let per_s = errors["per_s"].as_f64().unwrap();
    assert!((per_s - 2.0 / 14_400.1).abs() < 1e-6, "{per_s}");
    let table = stdout(&["summary", "--by", "finish_reason", &log]);
    assert!(table.contains("| error         |        2 |  0.00014 |  100 % |"), "{table}");
    // Of which stage `first` is; a row of a stage is of that stage.
    let of_stages = stdout(&["summary", "--by", "stage_name", &log]);
    assert!(table.contains("the first output of any stage") && !of_stages.contains("any stage"), "{table}");
    // Percentiles are shown to the digits that they have, in JSON to all.
    let p50 = e2e["p50"].as_f64().unwrap();
    assert!(table.contains(&format!(" {p50:.2} |")) && !table.contains(&format!(" {p50:.3} |")), "{table}");
}

#[test]
fn a_summary_has_a_row_for_each_stretch_of_time_also_where_nothing_ended() {
    let log = file("slices_every.jsonl", log());
    let of = |args: &[&str]| {
        let from = |group: &Value| group["from"].as_str().unwrap()[11..16].to_owned();
        let row = |group: &Value| format!("{} {}", from(group), group["count"]);
        groups(args, &log).iter().map(row).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(of(&["--every", "1h"]), "22:00 2, 23:00 1, 00:00 0, 01:00 0, 02:00 1");
    assert_eq!(of(&["--every", "1h", "--by", "fields.model"]), "22:00 2, 23:00 1, 02:00 1");
    let rate = groups(&["--every", "1h"], &log)[0]["per_s"].as_f64().unwrap();
    assert!((rate - 2.0 / 3600.0).abs() < 1e-6, "{rate}");
    let wide = omni(&["summary", "--every", "1s", "--json", &log]);
    let said = "omni-metrics: stretches of 1 s would be more than 1000 rows; these are of 16 s\n";
    assert_eq!(text(&wide.stderr), said);
    let table: Value = serde_json::from_slice(&wide.stdout).unwrap();
    let total: u64 =
        table["groups"].as_array().unwrap().iter().map(|row| row["count"].as_u64().unwrap()).sum();
    assert_eq!((total, &table["every_ms"]), (4, &json!(16_000.0)));
}

/// Ten requests, one a second: each began 0.5 s before it ended. The first ended at 12:00:06.
fn one_a_second(first_of_run: u64) -> String {
    let line = |n: u64| {
        let at = format!("2026-01-31T12:00:{:02}.000000Z", n + 6);
        let line = request(&format!("r{n}"), &at, json!({"e2e_total_ms": 500.0}), json!({}));
        line.replace("\"e2e_requests\":1,", &format!("\"e2e_requests\":{},", first_of_run + n))
    };
    (0..10).map(line).collect()
}

#[test]
fn rates_of_the_first_and_the_last_stretch_are_of_the_time_that_the_log_covers() {
    for (first_of_run, covered) in [(1, 4.5), (7, 4.0)] {
        let log = file(&format!("slices_covered_{first_of_run}.jsonl"), one_a_second(first_of_run));
        let rates: Vec<_> =
            groups(&["--every", "10s"], &log).iter().map(|row| row["per_s"].as_f64().unwrap()).collect();
        // Four requests ended in the first stretch, six in the second, of which the log covers five seconds.
        let expected = [4.0 / covered, 6.0 / 5.0];
        assert!(
            rates.iter().zip(expected).all(|(rate, expected)| (rate - expected).abs() < 1e-6),
            "{rates:?}"
        );
        assert_eq!(rates.len(), 2);
    }
}

#[test]
fn rates_of_a_selection_are_of_the_selected_time_that_the_log_covers() {
    // Requests end at 12:00:06, 07, … 15.
    let log = file("slices_selected.jsonl", one_a_second(1));
    let from_since_to_until = &["--since", "12:00:07.500", "--until", "12:00:10.500"];
    for (args, expected) in [
        // Of the last second, only the half before --until.
        (&from_since_to_until[..], &[1.0, 1.0, 2.0][..]),
        (&["--since", "12:00:05", "--until", "12:00:07"], &[1.0]),
        // The log ends before --until, at the moment of the last request.
        (&["--since", "12:00:13.500", "--until", "12:01"], &[1.0]),
        // Other requests ended before and after it.
        (&["--where", "request_id == 'r3'"], &[1.0]),
    ] {
        let groups = groups(&[&["--every", "1s", "--slo", "e2e=1s"][..], args].concat(), &log);
        let rates = || groups.iter().filter_map(|row| row["per_s"].as_f64());
        let goodput = groups.iter().map(|row| row["objectives"]["goodput_requests_per_s"].as_f64().unwrap());
        assert_eq!(rates().collect::<Vec<_>>(), expected, "{args:?}");
        assert!(rates().eq(goodput.take(expected.len())), "{args:?}");
    }
    let all = [&["summary", "--json", "--slo", "e2e=1s"][..], from_since_to_until, &[&log]].concat();
    let summary: Value = serde_json::from_str(&stdout(&all)).unwrap();
    assert_eq!(summary["objectives"]["goodput_requests_per_s"], 1.0, "{summary}");
}

/// Ten requests, one a second, and one that began ten minutes before and ended among them.
fn with_a_long_one() -> String {
    let at = "2026-01-31T12:00:10.250000Z";
    let long = request("long", at, json!({"e2e_total_ms": 600_000.0}), json!({}));
    let with_start = |line: &str| {
        let Line::Request(mut line) = serde_json::from_str(line).unwrap() else { panic!("a request") };
        line.stage_table[0].start_ms = Some(serde_json::from_value(json!(0.25)).unwrap());
        serde_json::to_string(&Line::Request(line)).unwrap() + "\n"
    };
    (one_a_second(7) + &long).lines().map(with_start).collect()
}

#[test]
fn every_command_divides_by_the_selected_time_also_if_a_request_began_long_before_it() {
    let log = file("slices_long.jsonl", with_a_long_one());
    let json = |args: &[&str]| -> Value { serde_json::from_str(&stdout(args)).unwrap() };
    let window = ["--since", "12:00:08", "--until", "12:00:13", log.as_str()];
    let of = |args: &[&str], window: &[&str]| json(&[args, window].concat());
    let rate = |value: &Value| value.as_f64().unwrap();
    // Requests that end at 12:00:08, 09, 10, 11, 12, and the long one, with seven tokens each.
    let (requests, tokens) = (6.0 / 5.0, 42.0 / 5.0);
    for summary in [
        of(&["summary", "--json", "--slo", "e2e=1h"], &window),
        of(&["report", "--json", "--slo", "e2e=1h"], &window)["summary"].clone(),
    ] {
        assert_eq!(summary["overall_summary"]["e2e_wall_time_ms"], 5000.0, "{summary}");
        assert_eq!(summary["overall_summary"]["e2e_avg_tokens_per_s"], tokens, "{summary}");
        assert_eq!(summary["objectives"]["goodput_requests_per_s"], requests, "{summary}");
        assert_eq!(summary["objectives"]["goodput_tokens_per_s"], tokens, "{summary}");
        let stage = rate(&summary["overall_summary"]["stage_wall_time_ms"][0]);
        assert!(stage <= 5000.0, "{summary}");
    }
    for by in [["--by", "finish_reason"], ["--every", "1m"]] {
        let row = &of(&["summary", "--json", by[0], by[1]], &window)["groups"][0];
        assert_eq!((rate(&row["per_s"]), rate(&row["tokens_per_s"])), (requests, tokens), "{row}");
    }
    let run = of(&["what-if", "--json"], &window);
    for run in ["logged", "replayed", "predicted"].map(|name| run[name].clone()) {
        assert_eq!(rate(&run["requests_per_s"]), requests, "{run}");
    }
    let figures = |compared: Value| {
        let figures = compared["figures"].as_array().unwrap().clone();
        let figure = |name: &str| figures.iter().find(|figure| figure["name"] == name).unwrap().clone();
        ["requests_per_s", "tokens_per_s", "goodput"].map(|name| {
            let figure = figure(name);
            [rate(&figure["before"]), rate(&figure["after"])]
        })
    };
    // Two logs, and the halves of one: two requests in two seconds, then four in three.
    let both = of(&["compare", "--json", "--slo", "e2e=1h", &log], &window);
    assert_eq!(figures(both), [[requests; 2], [tokens; 2], [requests; 2]]);
    let halves = of(&["compare", "--json", "--slo", "e2e=1h", "--split", "12:00:10"], &window);
    assert_eq!(figures(halves), [[1.0, 4.0 / 3.0], [7.0, 28.0 / 3.0], [1.0, 4.0 / 3.0]]);
    // Without limits the second half begins at the split all the same, and ends with the log.
    let [requests, ..] =
        figures(of(&["compare", "--json", "--slo", "e2e=1h", "--split", "12:00:10"], &[&log]));
    assert_eq!(requests[1], 7.0 / 5.0);
    // The log has no line before --since, but the long request was created before it.
    let since = of(&["summary", "--json"], &["--since", "12:00:05", &log]);
    assert_eq!(since["overall_summary"]["e2e_wall_time_ms"], 10_000.0);
    let whole = of(&["summary", "--json"], &[&log]);
    assert_eq!(whole["overall_summary"]["e2e_wall_time_ms"], 604_750.0);
}

#[test]
fn a_rate_that_counts_time_which_where_leaves_out_is_said_to() {
    // Requests end at 12:00:06, 07 and so on until 15; the first one was created half a second before.
    let log = file("slices_where.jsonl", one_a_second(1));
    let page = file("slices_where.html", "");
    let note = "--where selects requests, not time: rates a second are of all 9.500 s, but no selected request \
                ended in the first 4.500 s of them. --since and --until select time.";
    let said = |args: &[&str], condition: &str| {
        let output = omni_of(&[args, &["--where", condition, &log]].concat(), "");
        let page = fs::read_to_string(&page).unwrap();
        format!("{}{}{page}", text(&output.stdout), text(&output.stderr)).replace('\n', " ")
    };
    let late = "timestamp >= '2026-01-31T12:00:10'";
    for args in [
        &["summary"][..],
        &["summary", "--csv"],
        &["summary", "--by", "file"],
        &["report", "-o", &page],
        &["compare", &log],
        &["what-if"],
    ] {
        let said = said(args, late);
        assert!(said.contains(note), "{args:?}: {said}");
    }
    fs::write(&page, "").unwrap();
    assert!(!said(&["summary", "--every", "1s"], late).contains("selects requests"));
    let ends = "timestamp >= '2026-01-31T12:00:07' && timestamp < '2026-01-31T12:00:13'";
    let both = said(&["summary"], ends);
    assert!(both.contains("ended in the first 1.500 s and in the last 3.000 s of them."), "{both}");
    let spread = said(&["summary"], "timestamp < '2026-01-31T12:00:07' || timestamp > '2026-01-31T12:00:14'");
    assert!(!spread.contains("selects requests"), "{spread}");
    // Where only rows of workers are selected, no request is missed.
    let row = r#"{"type":"stage","schema":1,"timestamp":"2026-01-31T12:00:10.000000Z","request_id":"a","stage_id":2,"batch_id":null,"batch_size":null,"num_tokens_in":null,"num_tokens_out":9,"preprocess_time_ms":null,"stage_gen_time_ms":4.0,"busy_time_ms":4.0,"queue_time_ms":null,"start_ms":null,"events":1}"#;
    let with_row = file("slices_where_row.jsonl", one_a_second(1) + row + "\n");
    let by = ["summary", "--by", "stage_name,file", "--where", "type == 'stage'", &with_row];
    let rows = omni_of(&by, "");
    let rows = format!("{}{}", text(&rows.stdout), text(&rows.stderr));
    assert!(!rows.contains("selects requests") && rows.contains("| none, "), "{rows}");
    // Both select the same requests.
    let wall = |args: &[&str]| -> Value {
        let summary: Value = serde_json::from_str(&stdout(&[&["summary", "--json"], args].concat())).unwrap();
        summary["overall_summary"]["e2e_wall_time_ms"].clone()
    };
    assert_eq!(wall(&["--since", "12:00:10", &log]), 5_000.0);
    assert_eq!(wall(&["--where", late, &log]), 9_500.0);
}

#[test]
fn more_groups_than_the_limit_are_one_with_all_that_they_have() {
    let line = |n: u64| {
        let (at, id) = (format!("2026-01-31T22:00:00.{n:06}Z"), format!("r{n:04}"));
        request(&id, &at, json!({"e2e_total_ms": 2.0}), json!({"n": n}))
    };
    let log = file("slices_many.jsonl", (0..300).map(line).collect::<String>());
    let rows = groups(&["--by", "fields.n"], &log);
    assert_eq!(rows.len(), 257);
    let last = rows.last().unwrap();
    assert_eq!(
        (&last["group"], &last["count"], &last["tokens"]),
        (&json!("others"), &json!(44), &json!(308))
    );
    let rows = groups(&["--by", "request_id", "--every", "1s"], &log);
    assert_eq!((rows.len(), &rows[256]["count"]), (257, &json!(44)));
}

#[test]
fn sampled_lines_weigh_in_groups() {
    let mut lines: Vec<String> = log().lines().map(str::to_owned).collect();
    lines[1] = lines[1].replace("\"overall_summary\"", "\"sample_rate\":10,\"overall_summary\"");
    let log = file("slices_sampled.jsonl", lines.join("\n"));
    let rows = groups(&["--by", "fields.model"], &log);
    assert_eq!(
        (&rows[0]["count"], &rows[0]["failed"], &rows[0]["tokens"]),
        (&json!(11), &json!(10), &json!(77))
    );
    assert_eq!(rows[0]["e2e_total_ms"]["count"], json!(11));
    let mean = rows[0]["e2e_total_ms"]["mean"].as_f64().unwrap();
    assert!((mean - 6100.0 / 11.0).abs() < 1e-5, "{mean}");
}

#[test]
fn groups_as_csv_are_quoted_and_have_every_percentile() {
    let mut content = log();
    content += &request("e", "2026-02-01T02:00:00.000000Z", json!({}), json!({"model": "a \"b\", c"}));
    let log = file("slices_csv.jsonl", content);
    let csv = stdout(&["summary", "--by", "fields.model", "--percentiles", "95", "--csv", &log]);
    let mut lines = csv.lines();
    let heads = "fields.model,requests,per_s,failed,failed_share,tokens,tokens_per_s,e2e_total_ms_mean,\
                 e2e_total_ms_p95,e2e_total_ms_max,first_output_ms_mean,first_output_ms_p95,first_output_ms_max";
    assert_eq!(lines.next(), Some(heads));
    assert!(lines.next().unwrap().starts_with("x,2,"), "{csv}");
    assert!(csv.contains("\n\"a \"\"b\"\", c\",1,"), "{csv}");
    let output = omni(&["summary", "--by", "finishreason", &log]);
    let said = "there is no key 'finishreason'; did you mean finish_reason?";
    assert!(output.status.code() == Some(2) && text(&output.stderr).contains(said), "{output:?}");
}

#[test]
fn chosen_percentiles_take_the_place_of_the_usual_ones() {
    let log = "tests/data/pipeline.jsonl";
    let table = stdout(&["summary", "--percentiles", "25,99.99", log]);
    let heads = table.lines().find(|line| line.contains("| count")).unwrap();
    let heads: Vec<_> = heads.split('|').map(str::trim).collect();
    assert_eq!(heads, ["", "Field", "count", "mean", "p25", "p99.99", "max", ""]);
    let (_, of_stage) = table.split_once("| stage 2 code2wav ").unwrap();
    let (of_stage, of_edge) = of_stage.split_once("| transfer 0->1 ").unwrap();
    assert!(of_stage.contains("|   first_output_ms ") && of_edge.contains("|   tx_time_ms "), "{table}");
    // The same percentiles as the usual ones are the same figures.
    let usual: Value = serde_json::from_str(&stdout(&["summary", "--json", log])).unwrap();
    let chosen = stdout(&["summary", "--json", "--percentiles", "50,99", log]);
    let chosen: Value = serde_json::from_str(&chosen).unwrap();
    let row = |number: &str, stage: Value| {
        let rows = chosen["chosen_percentiles"].as_array().unwrap();
        rows.iter().find(|row| row["number"] == number && row["stage_id"] == stage).unwrap()
    };
    for (row, usual) in [
        (row("e2e_total_ms", Value::Null), &usual["percentiles"]["e2e_total_ms"]),
        (row("tokens_per_s", Value::Null), &usual["percentiles"]["tokens_per_s"]),
        (row("queue_time_ms", json!(1)), &usual["percentiles"]["stages"][1]["queue_time_ms"]),
    ] {
        for key in ["count", "p50", "p99", "max"] {
            assert_eq!(row[key].as_f64(), usual[key].as_f64(), "{row} {key}");
        }
    }
    assert!(!refused_by_clap(&["summary", "--percentiles", "50,101", log]).is_empty());
}

fn refused_by_clap(args: &[&str]) -> String {
    let output = omni(args);
    assert_eq!(output.status.code(), Some(2));
    text(&output.stderr)
}

#[test]
fn join_selects_requests_when_they_are_complete() {
    let row = r#"{"type":"stage","schema":1,"timestamp":"2026-01-31T22:30:00.000000Z","request_id":"b","stage_id":2,"batch_id":null,"batch_size":null,"num_tokens_in":null,"num_tokens_out":9,"preprocess_time_ms":null,"stage_gen_time_ms":4.0,"busy_time_ms":4.0,"queue_time_ms":null,"start_ms":null,"wall_time_ms":4.0,"events":1}"#;
    let log = file("slices_join.jsonl", log() + row + "\n");
    for expression in
        ["finish_reason == 'error' && e2e_total_tokens == 16", "stages.exists(s, s.stage_id == 2)"]
    {
        let output = omni(&["join", "--where", expression, &log]);
        let lines = text(&output.stdout);
        assert!(lines.lines().count() == 1 && lines.contains("\"num_tokens_out\":9"), "{output:?}");
        assert_eq!(text(&output.stderr), "omni-metrics: 3 lines are left out by --where\n");
    }
    // `join` selects the requests with their rows.
    for (command, lines) in [("join", 4), ("summary", 5)] {
        let output = omni(&[command, "--where", "e2e_total_ms > 9000", &log]);
        let said = format!(
            "no line is selected: {lines} lines are left out by --where (--where e2e_total_ms > 9000); the log \
             has lines from 2026-01-31T22:00"
        );
        assert!(output.status.code() == Some(2) && text(&output.stderr).contains(&said), "{output:?}");
    }
}

#[test]
fn tables_as_json_are_the_lines_that_are_selected() {
    let log = file("slices_tables.jsonl", log() + "not ours\n");
    let lines = stdout(&["tables", "--json", "--where", "errors > 0", &log]);
    let content = self::log();
    let expected: Vec<_> = content.lines().skip(1).take(2).collect();
    assert_eq!(lines.lines().collect::<Vec<_>>(), expected);
    assert_eq!(
        stdout(&["tables", "--json", "--last", "1", &log]).trim_end(),
        content.lines().last().unwrap()
    );
}

/// The log, in which the lines of the model `x` violate a rule.
fn unsound_log() -> String {
    let unsound = |line: &str| {
        let is_x = line.contains("\"model\":\"x\"");
        if is_x {
            line.replace("\"unattributed_time_ms\":1.0", "\"unattributed_time_ms\":999.0")
        } else {
            line.to_owned()
        }
    };
    log().lines().map(|line| unsound(line) + "\n").collect()
}

#[test]
fn check_counts_violations_by_group() {
    let log = file("slices_check_by.jsonl", unsound_log());
    let output = omni(&["check", "--by", "fields.model", &log]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for row in ["| x            |     2 |          2 |", "| y            |     1 |          0 |"] {
        assert!(said.contains(row), "{said}");
    }
    let said = text(&omni(&["check", "--every", "1h", "--by", "finish_reason", &log]).stdout);
    assert!(
        said.contains("| from, finish_reason         ") && said.contains("22:00:00Z, error |     1 |"),
        "{said}"
    );
}

#[test]
fn violations_between_lines_have_a_row_so_that_the_sum_is_whole() {
    let gap = PIPELINE.lines().enumerate().filter(|(at, _)| *at != 9).map(|(_, line)| format!("{line}\n"));
    let output = omni_of(&["check", "--by", "finish_reason"], &gap.collect::<String>());
    let table = text(&output.stdout);
    let rows: Vec<Vec<_>> = table
        .lines()
        .filter(|line| line.starts_with("| "))
        .skip(1)
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    let sum: u64 = rows.iter().map(|row| row[3].parse::<u64>().unwrap()).sum();
    let row = rows.iter().find(|row| row[1] == "(no group)").unwrap_or_else(|| panic!("{table}"));
    assert!(sum > 0 && row[3] == sum.to_string() && table.contains(&format!("\n{sum} violation")), "{table}");
    let none = text(&omni_of(&["check", "--by", "finish_reason"], PIPELINE).stdout);
    assert!(!none.contains("(no group)"), "{none}");
}

#[test]
fn check_as_json_is_a_line_for_each_finding_and_the_counts() {
    let log = file("slices_check_json.jsonl", unsound_log() + "{\"type\":\"request\",\"sch\n");
    let output = omni(&["check", "--json", "--by", "fields.model", &log]);
    let lines: Vec<Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(output.status.code(), Some(1));
    let violation = &lines[0];
    assert_eq!((&violation["type"], &violation["line"]), (&json!("violation"), &json!(1)));
    assert!(violation["text"].as_str().unwrap().contains("unattributed_time_ms"), "{violation}");
    let verdict = lines.last().unwrap();
    let found = lines.iter().filter(|line| line["type"] == "violation").count();
    let broken = lines.iter().find(|line| line["type"] == "broken_line").unwrap();
    assert_eq!((&broken["line"], &broken["file"]), (&json!(5), &json!(log)));
    assert_eq!(text(&output.stderr), "");
    let shown = omni(&["check", &log]);
    assert!(text(&shown.stdout).contains(":5: a broken line is left out: "), "{shown:?}");
    assert_eq!(text(&shown.stderr), "");
    for (key, expected) in [
        ("type", json!("check")),
        ("is_sound", json!(false)),
        ("lines", json!(4)),
        ("violations", json!(found)),
        ("broken_lines", json!(1)),
        ("numbers_checked", json!(true)),
    ] {
        assert_eq!(verdict[key], expected, "{key}: {verdict}");
    }
    let x = verdict["groups"].as_array().unwrap().iter().find(|group| group["group"] == "x").unwrap();
    assert_eq!((&x["lines"], &x["violations"]), (&json!(2), &json!(2)));
}
