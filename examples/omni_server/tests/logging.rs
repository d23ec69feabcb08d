//! Which lines the server writes, and where to.

mod service;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use omni_metrics::{Line, SummaryLine};
use serde_json::json;
use service::{SERVER, Server, lines};

/// A path for a log that is not there yet.
fn fresh(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("logging-{name}.jsonl"));
    let _ = fs::remove_file(&path);
    path
}

fn ids(log: &Path) -> Vec<String> {
    lines(log).iter().filter_map(|line| line.request_id().map(str::to_owned)).collect()
}

fn last_summary(log: &Path) -> SummaryLine {
    match lines(log).pop() {
        Some(Line::Summary(summary)) => summary,
        other => panic!("{other:?}"),
    }
}

fn serve(server: &Server, id: &str) {
    let answer = server.post(Some(id), &json!({ "prompt": "p", "max_tokens": 1 }));
    assert_eq!(answer.status(), 200);
    answer.text().unwrap();
}

#[cfg(unix)]
#[test]
fn a_log_that_was_rotated_goes_on_in_a_new_file() {
    let (log, rotated) = (fresh("rotated"), fresh("rotated.1"));
    let server = Server::start("rotation", &["--log-stats", "--log", log.to_str().unwrap()]);
    serve(&server, "r1");
    while ids(&log).is_empty() {
        thread::yield_now();
    }
    fs::rename(&log, &rotated).unwrap();
    serve(&server, "r2");
    while ids(&rotated).len() < 2 {
        thread::yield_now();
    }
    server.signal("HUP");
    while !log.exists() {
        thread::yield_now();
    }
    serve(&server, "r3");
    let stderr = server.log.clone();
    server.stop_only();
    // The new file is there a moment before it takes lines.
    let last = last_summary(&log);
    assert_eq!([ids(&rotated), ids(&log)].concat(), ["r1", "r2", "r3"]);
    assert_eq!((last.overall_summary.e2e_requests, last.lines_lost), (3, Some(0)));
    assert_eq!(fs::read_to_string(stderr).unwrap(), "");
}

#[test]
fn a_log_is_appended_to() {
    let log = fresh("appended");
    for id in ["r1", "r2"] {
        let server = Server::start("appended", &["--log-stats", "--log", log.to_str().unwrap()]);
        serve(&server, id);
        server.stop_only();
    }
    assert_eq!(ids(&log), ["r1", "r2"]);
}

#[test]
fn requests_that_are_not_kept_are_counted() {
    let log = fresh("kept");
    let arguments =
        ["--log-stats", "--keep-one-in", "0", "--keep-slower", "1h", "--log", log.to_str().unwrap()];
    let server = Server::start("kept", &arguments);
    serve(&server, "good");
    assert_eq!(server.post(Some("bad"), &json!({ "prompt": "" })).status(), 400);
    server.stop_only();
    let [Line::Request(bad), Line::Summary(last)] = &lines(&log)[..] else { panic!("{:?}", lines(&log)) };
    assert_eq!(bad.fields["x_request_id"].to_string(), "bad");
    assert_eq!((last.overall_summary.e2e_requests, last.lines_left_out), (2, Some(1)));
}

#[test]
fn options_of_the_log_without_a_log_are_refused() {
    for option in [["--log", "x"], ["--keep-one-in", "2"], ["--report-every", "1s"]] {
        let output = Command::new(SERVER).args(option).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert!(complaint.contains("--log-stats"), "{complaint}");
    }
}

#[test]
fn a_log_that_cannot_be_written_is_said_to_be_so() {
    let output = Command::new(SERVER).args(["--log-stats", "--log", "/nowhere/log"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.starts_with("error: cannot write /nowhere/log: "), "{complaint}");
}
