//! What stands before a line of the layer, and where the lines of `join` go.

#[path = "support/reader.rs"]
mod reader;

use std::{fs, path::Path};

use reader::{omni_of, stdout, text};
use serde_json::{Value, json};

const PIPELINE: &str = "tests/data/pipeline.jsonl";

fn pipeline() -> String {
    fs::read_to_string(PIPELINE).unwrap()
}

fn file(name: &str, content: impl AsRef<[u8]>) -> String {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, content).unwrap();
    path.display().to_string()
}

/// What a summary says of a log, without the counts of lines.
fn summary(log: &str) -> Value {
    let mut summary: Value =
        serde_json::from_str(&stdout(&omni_of(&["summary", "--json", log], ""))).unwrap();
    summary.as_object_mut().unwrap().remove("foreign_lines").unwrap();
    summary
}

#[test]
fn lines_of_docker_compose_are_read() {
    let before = ["front-1     | ", "worker-12   | ", "2nd.app_1   | "];
    let mut log = String::from("Attaching to front-1, worker-12\nfront-1     | listening | ready\n");
    for (n, line) in pipeline().lines().enumerate() {
        log += &format!("{}{line}\n", before[n % 3]);
    }
    assert_eq!(summary(&file("compose.log", &log)), summary(PIPELINE));
    let last = omni_of(&["summary", "--json", "--since", "-5ms", &file("compose_end.log", &log)], "");
    assert!(text(&last.stderr).ends_with("left out by --since\n") && last.status.success(), "{last:?}");
    let cut = file("compose_cut.log", log + "front-1     | {\"type\":\"request\",\"schema\":1,\"time\n");
    let output = omni_of(&["check", &cut], "");
    assert!(text(&output.stdout).contains("1 broken line, 2 foreign lines"), "{output:?}");
}

#[test]
fn lines_behind_the_time_of_docker_compose_and_the_prefix_of_kubectl_are_read() {
    let time = "2026-11-25T04:01:43.017037123Z";
    for (name, before) in [
        ("compose_times.log", format!("front-1  | {time} ")),
        ("times.log", format!("{time} ")),
        ("kubectl.log", "[pod/front-6f7b-x2/app] ".to_owned()),
        ("kubectl_times.log", format!("[pod/front-6f7b-x2/app] {time} ")),
    ] {
        let log: String = pipeline().lines().map(|line| format!("{before}{line}\n")).collect();
        let log = file(name, log + &before + "listening\n");
        assert_eq!(summary(&log), summary(PIPELINE), "{name}");
    }
}

#[test]
fn lines_of_docker_in_docker_and_behind_coloured_prefixes_are_read() {
    let json_file =
        |line: &str| json!({"log": format!("{line}\n"), "stream": "stderr", "time": ""}).to_string();
    let cri = |line: &str| format!("2026-11-25T04:01:43.017037Z stderr F {line}");
    let coloured = |line: &str| format!("\x1b[36mfront-1  | \x1b[0m{line}");
    let (mut twice, mut in_cri, mut behind_colour) = (String::new(), String::new(), String::new());
    for line in pipeline().lines() {
        twice += &(json_file(&json_file(line)) + "\n");
        in_cri += &(cri(&json_file(line)) + "\n");
        behind_colour += &(coloured(line) + "\n");
    }
    for (name, log) in [("twice.log", twice), ("in_cri.log", in_cri), ("coloured.log", behind_colour)] {
        assert_eq!(summary(&file(name, log)), summary(PIPELINE), "{name}");
    }
}

#[test]
fn zeros_before_a_line_are_passed_over_however_many_there_are() {
    let plain = pipeline();
    let wrapped = plain.lines().map(|line| format!("2026-11-25T04:01:43.017037Z stderr F {line}\n"));
    for (name, log) in [("plain", plain.clone()), ("cri", wrapped.collect())] {
        for zeros in [1, 4_096, 40 << 20] {
            let truncated = [vec![0; zeros], log.clone().into_bytes()].concat();
            let log = file(&format!("zeros_{name}_{zeros}.log"), truncated);
            assert_eq!(summary(&log), summary(PIPELINE), "{name}, {zeros} zeros");
            fs::remove_file(log).unwrap();
        }
    }
}

#[test]
fn lines_behind_an_unknown_prefix_are_counted_and_the_reader_says_how_a_line_must_begin() {
    let hidden = |line: &str| format!("[front-1] {line}\n");
    let (first, rest) =
        pipeline().split_once('\n').map(|(first, rest)| (first.to_owned(), rest.to_owned())).unwrap();
    let some = hidden(&first) + "{\"level\":\"info\"}\nno { line\n" + &rest;
    let sentence = "1 foreign line has `{\"type\":\"…\",\"schema\":` past the beginning: a line must begin with it, or \
                    with the prefix of Kubernetes (CRI), kubectl, Docker, docker compose or `journalctl -o json`\n";
    let output = omni_of(&["summary", &file("hidden.log", some)], "");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(text(&output.stderr), format!("omni-metrics: {sentence}"));
    assert!(text(&output.stdout).contains("Besides: 3 foreign lines"), "{output:?}");

    let all: String = pipeline().lines().map(hidden).collect();
    let output = omni_of(&["summary", &file("all_hidden.log", all)], "");
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said.contains("has no line of omni-metrics (41 foreign lines); 41 foreign lines have `{"),
        "{said}"
    );

    let output = omni_of(&["summary", PIPELINE], "");
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn join_writes_to_a_file_that_may_be_one_of_its_inputs() {
    let expected = stdout(&omni_of(&["join", PIPELINE], ""));
    let path = file("joined.jsonl", pipeline());
    for _ in 0..2 {
        let output = omni_of(&["join", &path, "-o", &path], "");
        assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    }
    let output = omni_of(&["join", PIPELINE, "--where", "finish_reason == 'length'", "--output", &path], "");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 2);
    let output = omni_of(&["join", PIPELINE, "-o", "/nowhere/at/all"], "");
    assert!(
        output.status.code() == Some(2) && text(&output.stderr).contains("cannot write /nowhere/at/all: "),
        "{output:?}"
    );
}

#[test]
fn the_usage_of_compare_names_its_two_logs() {
    let help = stdout(&omni_of(&["compare", "-h"], ""));
    for usage in [
        "omni-metrics compare [OPTIONS] BEFORE AFTER\n",
        "omni-metrics compare [OPTIONS] BEFORE... -- AFTER...\n",
    ] {
        assert!(help.contains(usage), "{help}");
    }
    let said = text(&omni_of(&["compare", PIPELINE], "").stderr);
    assert!(said.contains("compare takes two logs, BEFORE and AFTER"), "{said}");
}
