//! The reader, on logs with reports.

#[path = "support/reader.rs"]
mod reader;
mod support;

use std::{thread, time::Duration};

use reader::{omni_of, stdout, text};
use serde_json::{Value, json};
use support::Rig;
use tracing::{Span, info_span};

const OLD: Duration = Duration::from_secs(10);

/// Two requests that become old, of which one ends, and one that ends in time. Returns the log, and the
/// request and the stage that hang, which may end now.
fn log(rig: &Rig) -> (String, [Span; 2]) {
    let mut hangs = None;
    rig.run_text(|rig| {
        let guard = rig.handle.report_every(Duration::from_millis(2), OLD);
        let late = info_span!("request", request_id = "late", finish_reason = "stop");
        let request = info_span!("request", request_id = "hangs");
        rig.wait_ms(1_000);
        let stage = info_span!(parent: &request, "stage", stage_id = 1, stage_name = "talker", output = 5);
        let waits = info_span!(parent: &request, "stage", stage_id = 2);
        stage.in_scope(|| rig.wait_ms(11_000));
        await_line(rig, |line| line["type"] == "open" && line["request_id"] == "hangs");
        drop((late, waits));
        drop(info_span!("request", request_id = "good", finish_reason = "stop"));
        rig.wait_ms(3_000);
        await_line(rig, |line| line["oldest_age_ms"] == json!(15_000.0));
        drop(guard);
        hangs = Some([request, stage]);
    });
    (rig.log.text(), hangs.unwrap())
}

fn await_line(rig: &Rig, is_it: impl Fn(&Value) -> bool) {
    for _ in 0..30_000 {
        if rig.log.lines().iter().any(&is_it) {
            return;
        }
        thread::sleep(Duration::from_millis(2));
    }
    panic!("the line did not come: {}", rig.log.text());
}

#[test]
fn summary_names_the_requests_that_hang_and_the_last_report() {
    let rig = Rig::new();
    let (log, hangs) = log(&rig);
    let summary: Value = serde_json::from_str(&stdout(&omni_of(&["summary", "--json"], &log))).unwrap();
    let expected = json!([{
        "request_id": "hangs",
        "file": "-",
        "since": "1970-01-01T00:00:00.000000Z",
        "age_ms": 15_000.0,
        "e2e_total_tokens": 5,
        "stage": "1 talker",
        "stage_age_ms": 14_000.0,
    }]);
    let mut found = summary["still_open"].clone();
    found[0]["since"] = expected[0]["since"].clone();
    assert_eq!(found, expected);
    let report = &summary["last_reports"][0];
    assert_eq!((&report["open_requests"], &report["lines_lost"]), (&json!(1), &json!(0)));
    assert!(report["window"].is_object());

    let text = stdout(&omni_of(&["summary"], &log));
    for part in ["| Requests still open |", "| hangs ", "1 talker", "| Last report", "oldest_age_ms"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    rig.run_text(|_| drop(hangs));
    assert!(text.contains("| requests of the run") && text.contains("open since"), "{text}");
    assert!(text.contains(" requests failed (0.0 %).\n"), "{text}");
    let page = stdout(&omni_of(&["report"], &log));
    for part in ["<h2>Requests still open</h2>", "1 talker", "<h2>Last report</h2>"] {
        assert!(page.contains(part), "{part}");
    }
    let ended = stdout(&omni_of(&["summary"], &rig.log.text()));
    assert!(!ended.contains("still open") && ended.contains("| Last report"), "{ended}");
}

#[test]
fn a_log_of_reports_alone_has_its_open_requests() {
    let (log, _hangs) = log(&Rig::new());
    let reports: Vec<_> = log.lines().filter(|line| !line.starts_with(r#"{"type":"request""#)).collect();
    let text = stdout(&omni_of(&["summary"], &reports.join("\n")));
    assert!(text.starts_with("no requests\n"), "{text}");
    assert!(text.contains("| hangs ") && text.contains("| late "), "{text}");
}

#[test]
fn the_other_commands_take_reports_for_what_they_are() {
    let (log, _hangs) = log(&Rig::new());
    let checked = text(&omni_of(&["check"], &log).stdout);
    assert!(checked.contains("are sound, 0 foreign lines"), "{checked}");
    let joined = stdout(&omni_of(&["join"], &log));
    assert_eq!(joined.lines().count(), 2, "the requests that have ended");
    let tables = stdout(&omni_of(&["tables", "--request", "hangs"], &log));
    assert!(
        tables.starts_with("OpenRequest hangs, reported at ") && tables.contains("OpenStages"),
        "{tables}"
    );
    let windows = log.replace(r#"{"stop":1}"#, r#"{"stop":3}"#).replace(r#"{"stop":2}"#, r#"{"stop":3}"#);
    let checked = text(&omni_of(&["check"], &windows).stdout);
    assert!(checked.contains("window: requests is not the sum of finish_reasons"), "{checked}");
}

#[test]
fn why_says_that_a_request_is_still_open_and_where() {
    let (log, _hangs) = log(&Rig::new());
    let output = omni_of(&["why", "hangs"], &log);
    assert_eq!(output.status.code(), Some(1));
    let expected =
        "request hangs is still open: by the last report, for 15.0 s, of which 14.0 s in stage 1 talker";
    assert!(text(&output.stderr).contains(expected), "{output:?}");
    assert!(text(&omni_of(&["why", "good-not"], &log).stderr).contains("no line of request good-not"));
}

#[test]
fn an_old_request_that_an_earlier_part_of_the_log_names_is_counted() {
    let (log, _hangs) = log(&Rig::new());
    let later: Vec<_> = log.lines().filter(|line| !line.starts_with(r#"{"type":"open""#)).collect();
    let sentence = "1 old request is named in no line that was read";
    let text = stdout(&omni_of(&["summary"], &later.join("\n")));
    assert!(text.contains(sentence), "{text}");
    assert!(!stdout(&omni_of(&["summary"], &log)).contains("in no line that was read"));
}
