//! The reader, `omni-metrics`, as a user runs it.

mod support;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use omni_metrics::{Line, Millis, RequestLine};
use serde_json::Value;
use support::Rig;
use tracing::{field::Empty, info_span};

/// A log that the example `omni_pipeline` wrote: 40 requests and the summary.
const PIPELINE: &str = "tests/data/pipeline.jsonl";

fn omni(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_omni-metrics")).args(args).stdin(Stdio::null()).output().unwrap()
}

fn omni_of(args: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_omni-metrics"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    text(&output.stdout)
}

/// A file of this test's own.
fn file(name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let path = directory.join(name);
    fs::write(&path, content).unwrap();
    path
}

fn pipeline_lines() -> Vec<String> {
    fs::read_to_string(PIPELINE).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn the_output_on_a_log_of_the_example_is_this() {
    for (args, golden) in [
        (&["summary", PIPELINE][..], "tests/data/summary.txt"),
        (&["summary", "--json", "--slowest", "2", PIPELINE], "tests/data/summary.json"),
        (&["tables", "--request", "req-0004", PIPELINE], "tests/data/request.txt"),
        (&["check", PIPELINE], "tests/data/check.txt"),
    ] {
        let found = stdout(&omni(args));
        if std::env::var_os("OMNI_GOLDEN").is_some() {
            fs::write(golden, &found).unwrap();
        }
        assert_eq!(found, fs::read_to_string(golden).unwrap(), "{args:?}; OMNI_GOLDEN=1 writes it anew");
    }
}

#[test]
fn a_summary_says_what_the_lines_say() {
    let summary: Value = serde_json::from_str(&stdout(&omni(&["summary", "--json", PIPELINE]))).unwrap();
    let requests: Vec<RequestLine> = pipeline_lines()
        .iter()
        .filter_map(|line| match line.parse() {
            Ok(Line::Request(line)) => Some(line),
            _ => None,
        })
        .collect();
    let tokens: u64 = requests.iter().map(|request| request.e2e_table.e2e_total_tokens).sum();
    assert_eq!(summary["overall_summary"]["e2e_requests"], 40);
    assert_eq!(summary["overall_summary"]["e2e_total_tokens"], tokens);
    let mut e2e: Vec<f64> = requests.iter().map(|request| request.e2e_table.e2e_total_ms.as_f64()).collect();
    e2e.sort_by(f64::total_cmp);
    for (key, exact) in [("p50", e2e[19]), ("p90", e2e[35]), ("p99", e2e[39]), ("max", e2e[39])] {
        let found = summary["percentiles"]["e2e_total_ms"][key].as_f64().unwrap();
        assert!((found - exact).abs() <= exact / 100.0, "{key}: {found} {exact}");
    }
    let slowest = summary["slowest"].as_array().unwrap();
    assert_eq!(slowest.len(), 5);
    assert_eq!(slowest[0]["e2e_total_ms"], e2e[39]);
    let whole: f64 = e2e.iter().sum();
    // The queue is a part of its own.
    let unattributed: f64 = requests
        .iter()
        .map(|request| {
            let e2e = &request.e2e_table;
            e2e.unattributed_time_ms.saturating_sub(e2e.queue_time_ms.unwrap_or_default()).as_f64()
        })
        .sum();
    let share = summary["shares_of_e2e"].as_array().unwrap().iter().find(|row| row["part"] == "unattributed");
    assert!((share.unwrap()["share"].as_f64().unwrap() - unattributed / whole).abs() < 1e-9);
}

#[test]
fn other_lines_are_passed_over_and_broken_ones_named() {
    let lines = pipeline_lines();
    let cut = &lines[1][..lines[1].len() / 2];
    let log = format!(
        "starting up\n{}\n{{\"level\":\"info\",\"type\":\"request\",\"msg\":\"hi\"}}\n{cut}\n\u{1b}[31mred\u{1b}[0m\n{}",
        lines[0], lines[2]
    );
    let path = file("mixed.log", &log);
    let output = omni(&["summary", "--json", path.to_str().unwrap()]);
    let summary: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(summary["overall_summary"]["e2e_requests"], 2);
    assert_eq!((&summary["foreign_lines"], &summary["broken_lines"]), (&Value::from(3), &Value::from(1)));
    let complaint = text(&output.stderr);
    assert!(complaint.contains("mixed.log:4: a broken line is left out"), "{complaint}");
}

#[test]
fn standard_input_and_gzip_are_read_as_well() {
    let log = fs::read(PIPELINE).unwrap();
    let plain = stdout(&omni(&["summary", PIPELINE]));
    assert_eq!(stdout(&omni_of(&["summary"], &log)), plain);
    assert_eq!(stdout(&omni_of(&["summary", "-"], &log)), plain);
    // Two members, as a rotation that appends makes them.
    let (first, second) = log.split_at(log.len() / 3);
    let mut compressed = Vec::new();
    for part in [first, second] {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(part).unwrap();
        compressed.extend(encoder.finish().unwrap());
    }
    let path = file("log.gz", compressed);
    assert_eq!(stdout(&omni(&["summary", path.to_str().unwrap()])), plain);
}

#[test]
fn tables_shows_one_request_or_the_last_ones() {
    let one = stdout(&omni(&["tables", "--request", "req-0007", PIPELINE]));
    assert_eq!(one.matches("RequestE2EStats of ").count(), 1);
    assert!(one.contains("RequestE2EStats of req-0007,"), "{one}");
    let last = stdout(&omni(&["tables", "--last", "3", PIPELINE]));
    assert_eq!(last.matches("RequestE2EStats of ").count(), 3);
    assert!(
        last.contains("req-0040") && !last.contains("Percentiles until"),
        "requests, not the run: {last}"
    );
    let none = omni(&["tables", "--request", "nobody", PIPELINE]);
    assert_eq!(
        (none.status.code(), &*text(&none.stderr)),
        (Some(1), "omni-metrics: no line of request nobody\n")
    );
}

#[test]
fn check_finds_each_kind_of_violation() {
    let lines = pipeline_lines();
    let sound = file("sound.jsonl", lines.join("\n"));
    let output = omni(&["check", sound.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");

    let change = |pointer: &str, value: Value| {
        let mut line: Value = serde_json::from_str(&lines[4]).unwrap();
        *line.pointer_mut(pointer).expect(pointer) = value;
        // Keys in the documented order, so that the line is known for ours.
        let Ok(Line::Request(line)) = serde_json::from_value(line) else { panic!("{pointer}") };
        let mut changed = lines.clone();
        changed[4] = serde_json::to_string(&Line::Request(line)).unwrap();
        changed
    };
    for (pointer, value, sentence) in [
        ("/e2e_table/e2e_total_tokens", 1.into(), "e2e_total_tokens is not the sum of the rows: expected "),
        ("/e2e_table/transfers_total_bytes", 1.into(), "transfers_total_bytes is not the sum"),
        ("/e2e_table/transfers_total_time_ms", 1e6.into(), "transfers_total_time_ms is not the sum"),
        ("/e2e_table/unattributed_time_ms", 1e6.into(), "unattributed_time_ms is more than e2e_total_ms"),
        ("/transfer_table/0/tx_time_ms", 1e3.into(), "edge 0->1: total_time_ms is not the sum of its parts"),
        ("/stage_table/1/busy_time_ms", 1e6.into(), "stage 1: busy_time_ms is more than"),
        ("/stage_table/0/stage_id", 9.into(), "stage_table: expected in the order"),
        ("/overall_summary/e2e_avg_tokens_per_s", 1e9.into(), "e2e_avg_tokens_per_s is not"),
        ("/overall_summary/e2e_avg_time_per_request_ms", 1e9.into(), "e2e_avg_time_per_request_ms is not"),
        ("/stage_table/1/stage_id", 0.into(), "stage_table: expected in the order of stage_id, one row each"),
        ("/overall_summary/e2e_requests", 0.into(), "e2e_requests: expected at least 1"),
    ] {
        let path = file("unsound.jsonl", change(pointer, value).join("\n"));
        let output = omni(&["check", path.to_str().unwrap()]);
        let said = text(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{pointer}: {said}");
        let sentence = format!("unsound.jsonl:5: {sentence}");
        assert!(said.contains(&sentence), "{pointer}: {said}");
    }
    // What the program may have recorded is a note.
    for (pointer, value) in [
        ("/stage_table/1/preprocess_time_ms", 1e6),
        ("/stage_table/1/stage_gen_time_ms", 1e-6),
        ("/stage_table/1/busy_time_ms", 0.2),
    ] {
        let output = omni_of(&["check"], change(pointer, value.into()).join("\n").as_bytes());
        assert!(stdout(&output).contains("-:5: note: stage 1: "), "{pointer}: {output:?}");
    }
}

#[test]
fn check_misses_lines_and_finds_doubles_and_knows_a_new_run() {
    let lines = pipeline_lines();
    let by_number = |line: &String| {
        let value: Value = serde_json::from_str(line).unwrap();
        value["overall_summary"]["e2e_requests"].as_u64().unwrap()
    };
    let without: Vec<_> = lines.iter().filter(|line| !(6..=8).contains(&by_number(line))).cloned().collect();
    let output = omni_of(&["check"], without.join("\n").as_bytes());
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("3 lines are missing, numbers 6 to 8 of the run"), "{output:?}");

    let later = lines.join("\n").replace("T08:46:", "T09:46:");
    let twice = format!("{}\n{later}", lines.join("\n"));
    assert_eq!(omni_of(&["check"], twice.as_bytes()).status.code(), Some(0), "the service was started again");
}

#[test]
fn input_that_can_not_be_read_is_exit_code_2() {
    let output = omni(&["check", "no/such/file"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("cannot read no/such/file"), "{output:?}");
    let broken = file("broken.gz", [0x1f, 0x8b, 8, 0, 1, 2, 3]);
    assert_eq!(omni(&["summary", broken.to_str().unwrap()]).status.code(), Some(2));
}

#[test]
fn a_compressed_log_without_an_end_is_read_as_far_as_it_goes() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(fs::read(PIPELINE).unwrap().as_slice()).unwrap();
    let whole = encoder.finish().unwrap();
    let path = file("cut.gz", &whole[..whole.len() * 2 / 3]);
    let output = omni(&["summary", "--json", path.to_str().unwrap()]);
    let summary: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let requests = summary["overall_summary"]["e2e_requests"].as_u64().unwrap();
    assert!((10..40).contains(&requests), "{requests}");
    assert!(text(&output.stderr).contains("the file is cut"), "{output:?}");
    assert_eq!(omni(&["check", path.to_str().unwrap()]).status.code(), Some(1));
}

#[test]
fn input_without_a_usable_line_is_exit_code_2_and_a_sentence() {
    let line = &pipeline_lines()[0];
    let second = line.replace("\"schema\":1", "\"schema\":2");
    let other_keys = r#"{"type":"request","schema":2,"id":"r1"}"#;
    for (name, content, reason) in [
        ("empty.log", String::new(), "empty.log is empty"),
        (
            "foreign.log",
            "hello\nworld\n".to_owned(),
            "foreign.log has no line of omni-metrics (2 foreign lines)",
        ),
        ("cut.log", line[..200].to_owned(), "cut.log has no whole line of omni-metrics (1 broken line)"),
        (
            "second.log",
            format!("{second}\n{other_keys}\n"),
            "second.log: cannot read 2 lines of an unknown schema (line 1 has schema 2; this reader knows schema 1)",
        ),
    ] {
        let path = file(name, content);
        for command in ["summary", "check", "tables", "join", "report"] {
            let output = omni(&[command, path.to_str().unwrap()]);
            // All findings of `check` are on stdout.
            let has_findings = command == "check" && name == "cut.log";
            assert_eq!(
                (output.status.code(), !text(&output.stdout).is_empty()),
                (Some(2), has_findings),
                "{command} {name}"
            );
            let said = text(&output.stderr);
            assert!(said.trim_end().ends_with(reason), "{command} {name}: {said}");
        }
    }
    let output = omni_of(&["summary"], b"hello\n");
    let said = "omni-metrics: standard input has no line of omni-metrics (1 foreign line)\n";
    assert_eq!((output.status.code(), &*text(&output.stderr)), (Some(2), said));
}

#[test]
fn lines_of_an_unknown_schema_among_others_are_left_out_and_exit_code_2() {
    let lines = pipeline_lines();
    let second = lines[1].replace("\"schema\":1", "\"schema\":2");
    let path = file("both.log", format!("{}\n{second}\n", lines[0]));
    for (command, said) in
        [("summary", "1 line of an unknown schema"), ("check", "1 line is sound"), ("join", "req-")]
    {
        let output = omni(&[command, path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(2), "{command}: {output:?}");
        assert!(text(&output.stdout).contains(said), "{command}: {output:?}");
        let sentence = "both.log: cannot read 1 line of an unknown schema (line 2 has schema 2;";
        assert!(text(&output.stderr).contains(sentence), "{command}: {output:?}");
    }
}

#[test]
fn one_file_without_a_usable_line_is_named_and_the_others_count() {
    let empty = file("nothing.log", "");
    let output = omni(&["summary", "--json", empty.to_str().unwrap(), PIPELINE]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stderr).ends_with("nothing.log is empty\n"), "{output:?}");
}

#[test]
fn lines_that_occur_twice_are_found() {
    let lines = pipeline_lines();
    let doubled = file("doubled.jsonl", lines.join("\n").repeat(2).replace("}{\"type\"", "}\n{\"type\""));
    let copy = file("copy.jsonl", lines.join("\n"));
    let last = file("last.jsonl", format!("{}\n{}\n", lines.join("\n"), lines[3]));
    let copy = copy.to_str().unwrap();
    for (files, first, second, count) in [
        (vec![doubled.to_str().unwrap()], "doubled.jsonl:42", "doubled.jsonl:1", lines.len()),
        (vec![copy, copy], "copy.jsonl:1", "copy.jsonl:1", lines.len()),
        (vec![last.to_str().unwrap()], "last.jsonl:42", "last.jsonl:4", 1),
    ] {
        let output = omni(&[&["check"][..], &files].concat());
        assert_eq!(output.status.code(), Some(1));
        let said = text(&output.stdout);
        let sentence = said.lines().next().unwrap();
        assert!(sentence.contains(&format!("{first}: request req-00")), "{sentence}");
        assert!(sentence.contains(", e2e_requests ") && sentence.ends_with(second), "{sentence}");
        let found = if count == 1 { "1 violation in ".to_owned() } else { format!("{count} violations in ") };
        assert!(said.lines().last().unwrap().starts_with(&found), "{said}");

        let output = omni(&[&["summary", "--json"][..], &files].concat());
        let summary: Value = serde_json::from_str(&stdout(&output)).unwrap();
        assert_eq!(summary["doubled_lines"], count);
        let said = text(&output.stderr);
        let twice = if count == 1 {
            "1 line occurs twice and counts twice: "
        } else {
            "lines occur twice and count twice: "
        };
        assert!(said.contains(twice) && said.contains(&format!("{first} is the same as ")), "{said}");
    }
}

#[test]
fn rows_that_came_after_the_line_of_their_request_are_named_as_such() {
    let line = &pipeline_lines()[0];
    let row = |id: &str, micros: u32| {
        format!(
            r#"{{"type":"stage","schema":1,"timestamp":"2026-11-24T08:46:41.{micros}Z","request_id":"{id}","stage_id":7,"stage_gen_time_ms":1.0,"busy_time_ms":1.0,"queue_time_ms":0.0,"start_ms":null,"wall_time_ms":1.0,"events":1}}"#
        )
    };
    let (late, later, worker) =
        (row("req-0001", 100_000), row("req-0001", 200_000), row("req-0009", 300_000));
    let early = row("req-0001", 400_000);
    let front =
        file("front-late.jsonl", [&early, line, &late, &later, &worker].map(String::as_str).join("\n"));
    let other = file("other-late.jsonl", row("req-0001", 500_000));
    let files = [front.to_str().unwrap(), other.to_str().unwrap()];
    let summary: Value =
        serde_json::from_str(&stdout(&omni(&[&["summary", "--json"][..], &files].concat()))).unwrap();
    let counts = ["detached", "late_rows", "rows_of_workers"].map(|key| summary[key].as_u64().unwrap());
    assert_eq!(counts, [5, 2, 3]);
    let said = stdout(&omni(&[&["summary"][..], &files].concat()));
    assert!(said.starts_with("Not joined: 3 rows of workers are in no request."), "{said}");
    let late = "2 rows after a line with their request_id (late, or kept by `join --keep-rows`)";
    assert!(said.ends_with(&format!("Besides: {late}\n")), "{said}");
    let said = stdout(&omni(&[&["check"][..], &files].concat()));
    let verdict = format!("6 lines are sound, 0 foreign lines, {late}, 1 note\n");
    assert!(said.contains("front-late.jsonl:5: note: 1 row names 1 request without"), "{said}");
    assert!(said.ends_with(&verdict), "{said}");
}

#[test]
fn no_text_of_a_log_reaches_the_terminal_raw() {
    let control = "\u{7f}\u{9b}31m\u{202e}\u{2066}\u{61c}\u{200f}\u{2028}";
    // JSON is not read by eye: it escapes only what a terminal obeys.
    let evil = &format!("{control}\u{200b}\u{feff}\u{e0061}");
    let lines = pipeline_lines();
    let line = lines[0]
        .replace("req-0001", evil)
        .replace("\"stop\"", &format!("\"{evil}\""))
        .replace("thinker", evil);
    let line = format!(r#"{},"warnings":["{evil}"]}}"#, line.strip_suffix('}').unwrap());
    let broken = format!("{}\n{}", line, line.replace("\"e2e_total_tokens\":", "\"e2e_total_tokens\":1"));
    assert_eq!(line.matches(evil).count(), 4, "{line}");
    for (args, times) in [
        (&["summary", "--json"][..], 3),
        (&["summary"], 3),
        (&["join"], 4),
        (&["tables"], 3),
        (&["why", "--slowest"], 1),
        (&["check"], 1),
    ] {
        let input = if args == ["check"] { &broken } else { &line };
        let output = omni_of(args, input.as_bytes());
        let said = text(&output.stdout);
        let never = if said.starts_with('{') { control } else { evil };
        let is_raw = |c: char| c.is_control() && c != '\n' || never.contains(c) && !c.is_ascii();
        assert!(!said.contains(is_raw) && !text(&output.stderr).contains(is_raw), "{args:?}: {said}");
        let escaped = said.matches("\\u202e").count() + said.matches("\\u{202e}").count();
        assert!(escaped >= times, "{args:?}: {escaped} times in {said}");
    }
}

#[test]
fn every_command_has_its_manual_page() {
    for command in ["tables", "summary", "check", "join", "report", "watch"] {
        let page = stdout(&omni(&["man", command]));
        assert!(page.contains(&format!("omni\\-metrics\\-{command}")), "{page}");
    }
    assert_eq!(omni(&["man", "nothing"]).status.code(), Some(2));
}

#[test]
fn a_reader_that_hangs_up_is_no_error() {
    let log = fs::read_to_string(PIPELINE).unwrap().repeat(200);
    let path = file("long.jsonl", log);
    let mut child = Command::new(env!("CARGO_BIN_EXE_omni-metrics"))
        .args(["tables", path.to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

/// What one process would write, and what two processes do.
fn one_and_two_processes() -> (String, String, String) {
    let stage = |rig: &Rig, id: Option<&str>| {
        let stage = info_span!(
            "stage",
            stage_id = 1,
            request_id = id,
            num_tokens_out = 7,
            stage_name = "talker",
            first_output = Empty
        );
        stage.in_scope(|| {
            rig.wait_ms(1);
            stage.record("first_output", true);
            rig.wait_ms(3);
        });
    };
    let coordinator = |rig: &Rig, id: &'static str, rest: &dyn Fn()| {
        let _request = info_span!("request", request_id = id).entered();
        rig.wait_ms(1);
        info_span!("stage", stage_id = 0, num_tokens_in = 3, num_tokens_out = 2).in_scope(|| rig.wait_ms(2));
        info_span!("transfer", from_stage = 0, to_stage = 1, size_bytes = 100).in_scope(|| rig.wait_ms(1));
        rest();
        rig.wait_ms(1);
    };
    let ids = ["r1", "r2"];
    let whole = Rig::new();
    whole.run(|rig| ids.iter().for_each(|id| coordinator(rig, id, &|| stage(rig, None))));
    let (front, worker) = (Rig::new(), Rig::new());
    ids.iter().for_each(|id| {
        let at_work = || {
            front.wait_ms(4);
            worker.run(|rig| stage(rig, Some(id)));
        };
        // Both see the same time.
        worker.wait_ms(4);
        front.run(|rig| coordinator(rig, id, &at_work));
        worker.wait_ms(1);
    });
    (whole.log.text(), front.log.text(), worker.log.text())
}

#[test]
fn join_gives_the_lines_that_one_process_would_have_written() {
    let (whole, front, worker) = one_and_two_processes();
    let (front, worker) = (file("front.jsonl", front), file("worker.jsonl", worker));
    for order in [[&worker, &front], [&front, &worker]] {
        let joined = stdout(&omni(&["join", order[0].to_str().unwrap(), order[1].to_str().unwrap()]));
        assert_eq!(joined, whole);
    }
    let path = file("joined.jsonl", &whole);
    assert_eq!(omni(&["check", path.to_str().unwrap()]).status.code(), Some(0));
}

#[test]
fn join_lists_rows_that_find_no_request() {
    let (_, front, worker) = one_and_two_processes();
    let lost = worker.replace("\"r2\"", "\"r\\u001b9\"");
    let output = omni_of(&["join"], (front + &lost).as_bytes());
    assert_eq!(stdout(&output).lines().count(), 2);
    let complaint = text(&output.stderr);
    assert!(complaint.contains("request r\\u{1b}9: 1 row, but no line of it within 1m"), "{complaint}");
}

#[test]
fn join_leaves_complete_lines_as_they_are_and_in_their_order() {
    let requests: Vec<_> =
        pipeline_lines().into_iter().filter(|line| line.contains(r#""type":"request""#)).collect();
    let joined = stdout(&omni(&["join", PIPELINE]));
    assert_eq!(joined.lines().collect::<Vec<_>>(), requests);
}

/// The first request of the log, joined with rows of workers.
fn first_request_with(rows: &[&str]) -> RequestLine {
    let log = format!("{}\n{}", pipeline_lines()[0], rows.join("\n"));
    let joined = stdout(&omni_of(&["join"], log.as_bytes()));
    assert_eq!(omni_of(&["check"], joined.as_bytes()).status.code(), Some(0), "{joined}");
    match joined.trim_end().parse() {
        Ok(Line::Request(line)) => line,
        other => panic!("{joined}: {other:?}"),
    }
}

#[test]
fn join_moves_the_end_of_a_request_and_of_its_run_to_a_row_that_ends_later() {
    let row = r#"{"type":"stage","schema":1,"timestamp":"2026-11-24T08:46:40.182585Z","request_id":"req-0001","stage_id":7,"stage_gen_time_ms":95.0,"busy_time_ms":95.0,"queue_time_ms":0.0,"start_ms":null,"wall_time_ms":95.0,"events":1}"#;
    let line = first_request_with(&[row]);
    assert_eq!(line.timestamp.to_string(), "2026-11-24T08:46:40.182585Z");
    // The request had ended 100 ms before, after 3.764269, with 0.780369 of nobody's.
    assert_eq!(line.e2e_table.e2e_total_ms.as_f64(), 103.764269);
    assert_eq!(line.e2e_table.unattributed_time_ms.as_f64(), 5.780369);
    let summary = &line.overall_summary;
    assert_eq!(summary.e2e_wall_time_ms.as_f64(), 103.764269);
    assert_eq!(summary.e2e_avg_time_per_request_ms, summary.e2e_wall_time_ms);
}

#[test]
fn join_accounts_for_the_flight_to_another_process() {
    // The request ran from .078821 to .082585, its last 0.780369 of nobody's; the message was under way from
    // 10 ms after its end to 30 ms after it, and the row's 5 ms followed.
    let row = r#"{"type":"transfer","schema":1,"timestamp":"2026-11-24T08:46:40.117585Z","request_id":"req-0001","from_stage":2,"to_stage":7,"size_bytes":null,"tx_time_ms":null,"rx_decode_time_ms":5.0,"in_flight_time_ms":20.0,"total_time_ms":25.0,"start_ms":null,"wall_time_ms":5.0,"events":1}"#;
    let line = first_request_with(&[row]);
    assert_eq!(line.e2e_table.e2e_total_ms.as_f64(), 38.764269);
    assert_eq!(line.e2e_table.unattributed_time_ms.as_f64(), 10.780369);
}

#[test]
fn join_keeps_to_the_request_where_a_flight_seems_to_begin_before_it() {
    let row = r#"{"type":"transfer","schema":1,"timestamp":"2026-11-24T08:46:40.082585Z","request_id":"req-0001","from_stage":2,"to_stage":7,"size_bytes":null,"tx_time_ms":null,"rx_decode_time_ms":1.0,"in_flight_time_ms":9000.0,"total_time_ms":9001.0,"start_ms":null,"wall_time_ms":1.0,"events":1}"#;
    let line = first_request_with(&[row]);
    assert_eq!(line.e2e_table.e2e_total_ms.as_f64(), 3.764269);
    assert_eq!(line.e2e_table.unattributed_time_ms, Millis::ZERO, "it covers the whole request");
}

#[test]
fn join_puts_a_row_into_the_request_that_it_is_in_not_into_a_short_one_beside_it() {
    let request = |end: &str, number: u32, total: &str| {
        format!(
            r#"{{"type":"request","schema":1,"timestamp":"2026-11-24T12:00:{end}Z","request_id":"r","overall_summary":{{"e2e_requests":{number},"e2e_wall_time_ms":31000.0,"e2e_total_tokens":0,"e2e_avg_time_per_request_ms":1.0,"e2e_avg_tokens_per_s":0.0,"stage_wall_time_ms":[]}},"e2e_table":{{"e2e_total_ms":{total},"e2e_total_tokens":0,"transfers_total_time_ms":0.0,"transfers_total_bytes":0,"queue_time_ms":null,"unattributed_time_ms":{total}}},"stage_table":[],"transfer_table":[]}}"#
        )
    };
    let row = |end: &str, wall: &str, queue: &str| {
        format!(
            r#"{{"type":"stage","schema":1,"timestamp":"2026-11-24T12:00:{end}Z","request_id":"r","stage_id":0,"stage_gen_time_ms":{wall},"busy_time_ms":0.0,"queue_time_ms":{queue},"start_ms":null,"wall_time_ms":{wall},"events":1}}"#
        )
    };
    // The first request takes half a minute, its retry less than a second.
    let requests = [request("30.000000", 1, "30000.0"), request("31.000000", 2, "900.0")];
    for (end, wall, whose) in [
        ("29.900000", "900.0", 0), // inside of the first
        ("30.000000", "0.0", 0),   // a moment of it
        ("30.120000", "70.0", 1),  // 20 ms into the second
        ("31.900000", "10.0", 1),  // after both
        ("30.090000", "10.0", 1),  // between them, nearer to the second
    ] {
        let log = format!("{}\n{}\n{}", requests[0], requests[1], row(end, wall, "0.0"));
        let joined = stdout(&omni_of(&["join"], log.as_bytes()));
        let rows: Vec<_> = joined
            .lines()
            .map(|line| match line.parse() {
                Ok(Line::Request(request)) => request.stage_table.len(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(rows[whose], 1, "{end}: {rows:?}");
        assert_eq!(rows[1 - whose], 0, "{end}: {rows:?}");
    }
    // A stage that was never entered has neither started nor waited.
    let log = format!("{}\n{}", requests[0], row("29.900000", "900.0", "null"));
    let joined = stdout(&omni_of(&["join"], log.as_bytes()));
    let Ok(Line::Request(request)) = joined.trim_end().parse() else { panic!("{joined}") };
    assert_eq!((request.stage_table[0].start_ms, request.e2e_table.queue_time_ms), (None, None));
    assert_eq!(request.e2e_table.unattributed_time_ms.as_f64(), 29100.0);
}

#[test]
fn join_counts_a_line_that_comes_twice_once() {
    let (whole, front, worker) = one_and_two_processes();
    let output = omni_of(&["join"], (front.clone() + &worker + &front + &worker).as_bytes());
    assert_eq!(stdout(&output), whole);
    assert!(text(&output.stderr).contains(": 4 lines occur twice and count once\n"), "{output:?}");
}

#[test]
fn join_says_so_where_the_clocks_of_processes_can_not_agree() {
    let (_, front, worker) = one_and_two_processes();
    let early = worker.replace("T12:00:00", "T11:59:57");
    assert_ne!(early, worker);
    let output = omni_of(&["join"], (front + &early).as_bytes());
    let complaint = "2 rows lie more than a second outside of the request: workers went on after";
    assert!(text(&output.stderr).contains(complaint), "{output:?}");
}

#[test]
fn join_takes_the_first_of_a_stages_first_outputs() {
    let row = |end: &str, after: &str| {
        format!(
            r#"{{"type":"stage","schema":1,"timestamp":"2026-11-24T08:46:40.{end}Z","request_id":"req-0001","stage_id":7,"stage_gen_time_ms":1.0,"busy_time_ms":1.0,"queue_time_ms":0.0,"start_ms":null,"wall_time_ms":1.0,"first_output_after_ms":{after},"events":1}}"#
        )
    };
    // Of a request that was created at .078820731.
    let (early, late) = (row("080821", "0.5"), row("081821", "0.25"));
    for rows in [[&early, &late], [&late, &early]] {
        let line = first_request_with(&rows.map(String::as_str));
        let stage = line.stage_table.iter().find(|row| row.stage_id == Some(7)).unwrap();
        assert_eq!(stage.first_output_ms.map(|time| time.as_f64()), Some(1.500269));
        assert_eq!(stage.start_ms.map(|time| time.as_f64()), Some(1.000269));
    }
}

#[test]
fn completions_and_a_manual_page_are_generated() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(stdout(&omni(&["completions", shell])).contains("omni-metrics"));
    }
    let manual = stdout(&omni(&["man"]));
    assert!(manual.contains(".TH omni-metrics") && manual.contains("summary"), "{manual}");
}

#[test]
fn a_line_that_is_too_long_is_one_line() {
    let line = &pipeline_lines()[0];
    let long = "x".repeat(17 << 20);
    let cut = &line[..100];
    let log = format!("{long}{line}\n{line}\n{cut}{long}\n{cut}\n\u{feff}{line}");
    let output = omni_of(&["summary", "--json"], log.as_bytes());
    let summary: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(summary["overall_summary"]["e2e_requests"], 2, "a byte order mark is none of the line");
    assert_eq!((&summary["foreign_lines"], &summary["broken_lines"]), (&Value::from(1), &Value::from(2)));
    let complaint = text(&output.stderr);
    assert!(
        complaint.contains("-:3: a broken line") && complaint.contains("-:4: a broken line"),
        "{complaint}"
    );
}

#[test]
fn check_tells_of_violations_though_nobody_reads_them() {
    let broken = pipeline_lines()[0].replace("\"e2e_total_tokens\":", "\"e2e_total_tokens\":1");
    for (line, code) in [(broken, 1), (pipeline_lines()[0].clone(), 0)] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_omni-metrics"))
            .args(["check"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        child.stdin.take().unwrap().write_all(line.as_bytes()).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code));
    }
}

#[test]
fn times_that_do_not_fit_together_are_summed_as_far_as_they_go() {
    let line = pipeline_lines()[0].replace("\"start_ms\":0.467079", "\"start_ms\":18000000000000.0");
    assert!(line.contains("18000000000000.0"));
    let output = omni_of(&["summary", "--json"], [line, pipeline_lines()[1].clone()].join("\n").as_bytes());
    let summary: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(summary["overall_summary"]["e2e_requests"], 2);
}
