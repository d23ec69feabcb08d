//! The reader, on logs of which lines are missing or that end while requests are open.

#[path = "support/reader.rs"]
mod reader;
mod support;

use std::ops::Range;

use omni_metrics::Keep;
use reader::{omni_of, stdout, text};
use support::Rig;
use tracing::info_span;

/// The lines of `requests` requests, and a summary line.
fn log(requests: u64) -> Vec<String> {
    log_with(Keep::all(), requests)
}

fn log_with(keep: Keep, requests: u64) -> Vec<String> {
    let rig = Rig::with(|layer| layer.with_keep(keep));
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
    assert!(
        code == Some(1) && text.contains("600 lines are missing, numbers 33 to 632 of the run\n"),
        "{text}"
    );
    let summary = lines.last_mut().unwrap();
    assert!(summary.contains(r#""lines_lost":0"#), "{summary}");
    *summary = summary.replace(r#""lines_lost":0"#, r#""lines_lost":612"#);
    let (code, text) = check(&lines);
    let sentence =
        "600 lines are missing, numbers 33 to 632 of the run; the process counted 612 lost lines\n";
    assert!(code == Some(1) && text.contains(sentence), "{text}");
}

#[test]
fn check_finds_that_the_last_lines_of_a_run_are_missing_by_its_summary() {
    let mut lines = log(700);
    lines.drain(400..700);
    let (code, text) = check(&lines);
    assert!(
        code == Some(1) && text.contains("300 lines are missing, numbers 401 to 700 of the run\n"),
        "{text}"
    );
}

#[test]
fn check_verifies_a_sample_by_its_lines_alone_and_says_up_to_where() {
    let mut lines = log_with(Keep::one_in(10), 3_000);
    let (code, text) = check(&lines);
    let verified = "-: sampled 1 in 10, verified up to e2e_requests 3,000\n";
    assert!(code == Some(0) && text.starts_with(verified), "{text}");
    lines.pop();
    let (code, text) = check(&lines);
    assert!(code == Some(0) && text.contains(" by its lines alone, without a summary line\n"), "{text}");
    let lines_of_sample = lines.len();
    let few = [&lines[..1], &lines[lines_of_sample - 10..]].concat();
    let (code, text) = check(&few);
    assert!(code == Some(1) && text.contains(": sample: 9 lines with a sample_rate"), "{text}");
    let (_, text) = check(&lines[..1]);
    assert!(text.contains("sampled 1 in 10, not verified: it has no summary line"), "{text}");
}

#[test]
fn check_counts_the_lines_that_the_process_lost() {
    let mut lines = log_with(Keep::one_in(10), 3_000);
    let summary = lines.last_mut().unwrap();
    *summary = summary.replace(r#""lines_lost":0"#, r#""lines_lost":6"#);
    assert!(check(&lines).1.contains("6 lines lost by the process\n"));
    let output = omni_of(&["check", "--json"], &lines.join("\n"));
    let json = stdout(&output);
    assert!(json.contains(r#"{"type":"sample","file":"-","one_in":10,"verified_up_to":3000}"#), "{json}");
    assert!(json.contains(r#""lost_lines":6"#), "{json}");
}

#[test]
fn summary_says_how_many_requests_the_process_of_a_sampled_log_counted() {
    let log = log_with(Keep::one_in(10), 3_000).join("\n");
    let text = stdout(&omni_of(&["summary"], &log));
    let (head, _) = text.split_once("\n\n").unwrap();
    assert!(head.lines().all(|line| line.chars().count() <= 100), "{head}");
    let head = head.replace('\n', " ");
    assert!(head.ends_with("By its last summary line, the process counted 3,000 requests."), "{head}");
    assert!(text.contains("| requests of the run |"), "{text}");
}

#[test]
fn a_later_part_of_a_log_is_sound_wherever_it_begins_and_a_note_says_what_may_be_missing() {
    let lines = log(1_500);
    for first in [1, 10, 206, 256, 257, 411, 1_000] {
        let (code, text) = check(&lines[first..]);
        let numbers = if first == 1 { "number 1".to_owned() } else { format!("a number from 1 to {first}") };
        let note = format!("no line has {numbers}; the log begins in the middle of a run");
        assert!(code == Some(0) && text.contains(&note) && text.contains("sound"), "{first}: {text}");
        assert_eq!(check(&lines[..first]).0, Some(0));
    }
    let without_one: Vec<_> = [&lines[206..1_000], &lines[1_001..]].concat();
    let (code, text) = check(&without_one);
    assert!(code == Some(1) && text.contains("1 line is missing, number 1001 of the run"), "{text}");
}

#[test]
fn check_notes_that_a_process_was_started_again() {
    let (mut first, then) = (log(300), log(40));
    first.truncate(299);
    // The clock of a test begins at the same time again.
    let later = |line: &String| line.replace(r#""timestamp":"20"#, r#""timestamp":"21"#);
    let lines: Vec<_> = first.iter().cloned().chain(then.iter().map(later)).collect();
    let (code, said) = check(&lines);
    let note = "-:300: note: the numbers of requests begin anew (e2e_requests 1 at 21";
    assert!(code == Some(0) && said.contains(note) && said.contains(", after 299 at 20"), "{said}");
    assert!(said.ends_with(", 1 note\n"), "{said}");
    let by_file = stdout(&omni_of(&["check", "--by", "file"], &(lines.join("\n") + "\n")));
    assert!(
        by_file.contains("|   340 |          0 |     1 |") && !by_file.contains("(no group)"),
        "{by_file}"
    );
    let noted = |first: &[String], then: &[&String]| {
        let lines: Vec<_> = first.iter().cloned().chain(then.iter().map(|line| later(line))).collect();
        let said = check(&lines).1;
        let note = said.lines().find(|line| line.contains("begin anew"));
        note.map(|note| note.split(" at ").next().unwrap_or_default().to_owned())
    };
    let anew = |line, number| {
        Some(format!("-:{line}: note: the numbers of requests begin anew (e2e_requests {number}"))
    };
    let then: Vec<_> = then.iter().collect();
    assert_eq!(noted(&first[..1], &then), anew(2, 1), "after a run of one request");
    assert_eq!(noted(&first[..1], &[then[1], then[0], then[2]]), anew(3, 1), "out of order");
    assert_eq!(noted(&first[..2], &[then[2], then[3]]), None, "only the clock has jumped");
    let sampled = |requests| log_with(Keep::one_in(10), requests);
    let (first, then) = (sampled(3_000), sampled(3_000));
    assert!(!check(&first).1.contains("anew"));
    let lines: Vec<_> = first.iter().cloned().chain(then.iter().map(later)).collect();
    assert_eq!(check(&lines).1.matches("begin anew").count(), 1, "a sampled log");
}

#[test]
fn check_prints_the_first_notes_of_a_kind_and_counts_the_rest_and_json_has_all() {
    let sound = rows(Keep::all(), 0..30).join("\n");
    let log = sound.replace(r#""preprocess_time_ms":null"#, r#""preprocess_time_ms":5000.0"#);
    let said = stdout(&omni_of(&["check"], &log));
    assert_eq!(said.matches(": note: ").count(), 20, "{said}");
    assert!(said.contains("\n11 more notes: ") && said.ends_with(", 31 notes\n"), "{said}");
    let json = stdout(&omni_of(&["check", "--json"], &log));
    assert!(json.matches(r#""type":"note""#).count() == 31 && json.contains(r#""notes":31,"#), "{json}");
}

#[test]
fn check_prints_the_first_violations_of_a_kind_and_counts_the_rest_and_json_has_all() {
    let log = rows(Keep::all(), 0..30).join("\n").replace(r#""events":1"#, r#""events":0"#);
    let output = omni_of(&["check"], &log);
    let said = text(&output.stdout);
    assert_eq!((output.status.code(), said.matches(": expected ").count()), (Some(1), 20), "{said}");
    assert!(said.contains("\n11 more violations: events\n31 violations in 31 lines"), "{said}");
    let output = omni_of(&["check", "--json"], &log);
    let json = text(&output.stdout);
    assert_eq!(json.matches(r#""type":"violation""#).count(), 31, "{json}");
}

#[test]
fn check_notes_a_log_that_ends_before_the_others() {
    let row = |second: u64| {
        let at = format!("2026-01-31T12:{:02}:{:02}.000000Z", second / 60, second % 60);
        format!(
            r#"{{"type":"stage","schema":1,"timestamp":"{at}","request_id":"r","stage_id":1,"events":1}}"#
        )
    };
    let paths = [("a", 600), ("b", 300), ("c", 600)].map(|(name, seconds)| {
        let path = format!("{}/ends-{name}.jsonl", env!("CARGO_TARGET_TMPDIR"));
        let lines: Vec<_> =
            (0..seconds).map(|second| row(second).replace("\"r\"", &format!("\"{name}\""))).collect();
        std::fs::write(&path, lines.join("\n") + "\n").unwrap();
        path
    });
    let output = omni_of(&["check", &paths[0], &paths[1], &paths[2]], "");
    let said = stdout(&output);
    let note = format!(
        "{}:300: note: no request or row of this log comes later than this one (2026-01-31T",
        paths[1]
    );
    assert!(said.starts_with(&note) && said.ends_with(" foreign lines, 1 note\n"), "{said}");
}

#[test]
fn a_log_that_is_a_copy_is_judged_by_itself() {
    let mut lines = log(700);
    let paths = ["whole", "copy"].map(|name| format!("{}/judged-{name}.jsonl", env!("CARGO_TARGET_TMPDIR")));
    let check = |lines: &[String]| {
        paths.iter().for_each(|path| std::fs::write(path, lines.join("\n") + "\n").unwrap());
        text(&omni_of(&["check", &paths[0], &paths[1]], "").stdout)
    };
    let said = check(&lines);
    assert!(said.contains("expected once, found the same line as") && !said.contains("missing"), "{said}");
    lines.drain(32..42);
    let said = check(&lines);
    let missing = |path| format!("{path}: e2e_requests: 10 lines are missing, numbers 33 to 42 of the run\n");
    assert!(paths.iter().all(|path| said.contains(&missing(path))), "{said}");
}

/// The lines of a worker: a row for each request with a number in this range, and two for the last one.
fn rows(keep: Keep, requests: Range<u64>) -> Vec<String> {
    let rig = Rig::with(|layer| layer.with_keep(keep));
    let last = requests.end - 1;
    rig.run_text(|rig| {
        for n in requests.chain([last]) {
            let stage = info_span!("stage", stage_id = 1, request_id = format!("r{n}"));
            stage.in_scope(|| rig.wait_ms(1));
        }
    });
    rig.log.text().lines().map(str::to_owned).collect()
}

#[test]
fn check_notes_rows_whose_request_has_no_line_in_whatever_order_the_logs_come() {
    let (front, worker) = (log(10), rows(Keep::all(), 0..12));
    let ended = |row: &String| serde_json::from_str::<serde_json::Value>(row).unwrap()["timestamp"].clone();
    let [begin, end] = [&worker[10], &worker[12]].map(ended);
    let times = format!("from {} to {}", begin.as_str().unwrap(), end.as_str().unwrap());
    let note = format!(
        "note: 3 rows name 2 requests without a line (r10 and r11), {times}, and this row is the first: the \
         request is still open, or its line is in another log or missing\n"
    );
    for (lines, first) in [([&front[..], &worker].concat(), 22), ([&worker[..], &front].concat(), 11)] {
        let (code, said) = check(&lines);
        let begins = said.starts_with(&format!("-:{first}: {note}24 lines are sound, "));
        assert!(code == Some(0) && begins && said.ends_with(", 1 note\n"), "{said}");
        let output = omni_of(&["check", "--json"], &(lines.join("\n") + "\n"));
        let json = stdout(&output);
        let begin = format!(r#"{{"type":"note","file":"-","line":{first},"text":"3 rows name 2 requests "#);
        assert!(json.starts_with(&begin) && json.contains(r#""notes":1,"#), "{json}");
        let requests = [(first, "r10"), (first + 1, "r11")];
        let ids = requests.map(|(line, id)| {
            format!(r#"{{"type":"request_without_line","file":"-","line":{line},"request_id":"{id}"}}"#)
        });
        assert!(json.contains(&format!("missing\",\"requests\":2}}\n{}\n{{", ids.join("\n"))), "{json}");
        let csv = stdout(&omni_of(&["check", "--csv"], &(lines.join("\n") + "\n")));
        let rows = requests.map(|(line, id)| format!("request_without_line,-,{line},{id}\n"));
        assert!(csv.contains(&rows.concat()), "{csv}");
    }
    let said = check(&[&front[..], &worker[..10]].concat()).1;
    assert!(said.starts_with("21 lines are sound, "), "every row has its request: {said}");
    assert_eq!(check(&worker).1, "13 lines are sound, 0 foreign lines\n", "of the worker alone");
    let input = [&front[..], &worker].concat().join("\n");
    let output = omni_of(&["check", "--where", "request_id != 'r3'"], &input);
    assert!(!stdout(&output).contains("note"), "a part of the lines");
}

#[test]
fn rows_whose_request_a_sample_has_left_out_need_no_line() {
    let (front, worker) = (log_with(Keep::one_in(10), 300), rows(Keep::all(), 0..300));
    for lines in [[&front[..], &worker].concat(), [&worker[..], &front].concat()] {
        let said = check(&lines).1;
        assert!(!said.contains("without a line"), "{said}");
    }
    let more = rows(Keep::one_in(10), 300..400);
    let said = check(&[&more[..], &front].concat()).1;
    assert!(said.contains(" requests without a line ("), "{said}");
}

#[test]
fn check_notes_an_attempt_without_a_line_whose_id_has_another_line() {
    // The lines of a front that sends a message for each request.
    let rig = Rig::new();
    rig.run_text(|rig| {
        for n in 0..10 {
            let _request = info_span!("request", request_id = format!("r{n}")).entered();
            info_span!("transfer", from_stage = 0, to_stage = 1).in_scope(|| rig.wait_ms(1));
        }
    });
    let front: Vec<_> = rig.log.text().lines().map(str::to_owned).collect();
    // Those of a worker that receives them. The front was killed in the first attempt of `r3`.
    let rig = Rig::new();
    rig.run_text(|rig| {
        for n in (0..4).chain(3..10) {
            let request_id = format!("r{n}");
            let received = info_span!("transfer", request_id, from_stage = 0, to_stage = 1, phase = "rx");
            received.in_scope(|| rig.wait_ms(1));
        }
    });
    let worker: Vec<_> = rig.log.text().lines().map(str::to_owned).collect();
    let note = "note: stage 1 received at least 1 message from stage 0 that no line sent, of at least 1 request \
                (r3), and this row is of the first such request: another attempt with its id is still open, or \
                the line of that attempt is in another log or missing, or a message was received twice\n\
                21 lines are sound";
    for (lines, first) in [([&front[..], &worker].concat(), 15), ([&worker[..], &front].concat(), 4)] {
        let said = check(&lines).1;
        assert!(said.starts_with(&format!("-:{first}: {note}")), "{said}");
        let json = stdout(&omni_of(&["check", "--json"], &(lines.join("\n") + "\n")));
        let id = format!(r#"{{"type":"attempt_without_line","file":"-","line":{first},"request_id":"r3"}}"#);
        assert!(json.contains(&format!("\"requests\":1}}\n{id}\n")), "{json}");
    }
    let said = check(&[&front[..], &worker[..4], &worker[5..]].concat()).1;
    assert!(said.starts_with("20 lines are sound"), "{said}");
}
