//! The reader, on logs of which lines are missing or that end while requests are open.

#[path = "support/reader.rs"]
mod reader;
mod support;

use reader::{omni_of, text};
use support::Rig;
use tracing::info_span;

/// The lines of `requests` requests, and a summary line.
fn log(requests: u64) -> Vec<String> {
    let rig = Rig::new();
    rig.run_text(|rig| {
        for n in 0..requests {
            let _request = info_span!("request", request_id = format!("r{n}")).entered();
            rig.wait_ms(1);
        }
        rig.handle.write_summary();
    });
    rig.log.text().lines().map(str::to_owned).collect()
}

fn check(lines: &[String]) -> (Option<i32>, String) {
    let output = omni_of(&["check"], &(lines.join("\n") + "\n"));
    (output.status.code(), text(&output.stdout))
}

#[test]
fn check_finds_a_gap_soon_after_the_beginning_and_says_what_the_process_has_lost() {
    let mut lines = log(700);
    assert_eq!(check(&lines), (Some(0), "701 lines are sound, 0 foreign lines\n".to_owned()));
    lines.drain(32..632);
    let (code, text) = check(&lines);
    assert!(code == Some(1) && text.contains("none of 33 to 632 (600 lines are missing)\n"), "{text}");
    let summary = lines.last_mut().unwrap();
    assert!(summary.contains(r#""lines_lost":0"#), "{summary}");
    *summary = summary.replace(r#""lines_lost":0"#, r#""lines_lost":612"#);
    let (code, text) = check(&lines);
    let sentence = "(600 lines are missing; the process counted 612 lost lines)\n";
    assert!(code == Some(1) && text.contains(sentence), "{text}");
}

#[test]
fn check_finds_that_the_last_lines_of_a_run_are_missing_by_its_summary() {
    let mut lines = log(700);
    lines.drain(400..700);
    let (code, text) = check(&lines);
    assert!(code == Some(1) && text.contains("none of 401 to 700 (300 lines are missing)\n"), "{text}");
}
