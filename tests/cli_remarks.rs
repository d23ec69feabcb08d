//! What the reader says to somebody who asks it a question that the log cannot answer.

#[path = "support/reader.rs"]
mod reader;
mod support;

use std::fs;

use reader::{omni_of, stdout, text};
use support::Rig;
use tracing::info_span;

/// A log that the example `omni_pipeline` wrote: 40 requests and the summary.
const PIPELINE: &str = include_str!("data/pipeline.jsonl");

/// Standard error and the exit code of a command.
fn complaint(args: &[&str], log: &str) -> (String, Option<i32>) {
    let output = omni_of(args, log);
    (text(&output.stderr), output.status.code())
}

#[test]
fn a_key_that_no_line_has_is_named() {
    let (said, code) = complaint(&["summary", "--by", "fields.tennant"], PIPELINE);
    assert_eq!((said.as_str(), code), ("omni-metrics: --by: no request has the field tennant\n", Some(0)));
    assert_eq!(complaint(&["summary", "--by", "finish_reason"], PIPELINE).0, "");
}

#[test]
fn a_key_that_one_line_has_is_not_complained_of() {
    let log =
        PIPELINE.replacen("\"transfer_table\":", "\"fields\":{\"tenant\":\"a\"},\"transfer_table\":", 1);
    let log = if log.contains("\"fields\":{\"tenant\"") { log } else { panic!("{log}") };
    let output = omni_of(&["summary", "--by", "fields.tenant"], &log);
    assert_eq!(text(&output.stderr), "");
    assert!(stdout(&output).contains("| a "), "{output:?}");
}

#[test]
fn objectives_of_groups_of_stages_are_refused_and_those_without_a_value_named() {
    let (said, code) = complaint(&["summary", "--slo", "e2e=2s", "--by", "stage_name"], PIPELINE);
    assert!(said.contains("--slo counts requests, and the rows of --by stage_name are of stages"), "{said}");
    assert_eq!(code, Some(2));
    let (said, code) = complaint(&["summary", "--slo", "gen@9=2s", "--by", "finish_reason"], PIPELINE);
    assert_eq!(said, "omni-metrics: No request has stage 9, so the objective gen@9=2s does not count.\n");
    assert_eq!(code, Some(2));
}

#[test]
fn an_objective_for_a_number_that_no_request_has_is_named() {
    let said =
        text(&omni_of(&["summary", "--slo", "real_time_factor@0=1", "--slo", "e2e=1h"], PIPELINE).stdout);
    let never = "\nNo request has a value for real_time_factor@0=1, so this objective does not count.\n";
    assert!(said.contains(never), "{said}");
    assert_eq!(said.matches("so this objective").count(), 1, "{said}");
}

/// The logs are of the example `omni_pipeline`, with one worker of `code2wav` and with two. The wait for it
/// differs most, but so few requests cannot show that it changed; small times of other stages did.
#[test]
fn the_part_that_differs_most_is_named_even_if_that_may_be_chance() {
    let args = ["compare", "tests/data/one_worker.jsonl.xz", "tests/data/two_workers.jsonl.xz"];
    let said = stdout(&omni_of(&args, ""));
    let end = "of its parts, waiting for stage 2 code2wav changed most, by -14,902 ms. The change of this part may be \
               chance. ";
    assert!(said.replace('\n', " ").contains(end), "{said}");
}

/// Five requests: one has the rows of both stages, one was not sent to stage 1, and three that were sent there have
/// no row of it, of which two failed, one after stage 1 had received it.
fn without_rows() -> String {
    let rig = Rig::new();
    rig.run_text(|rig| {
        for (id, is_sent, is_received, reason) in [
            ("whole", true, true, "stop"),
            ("skipped", false, false, "stop"),
            ("lost", true, false, "stop"),
            ("failed", true, false, "abort"),
            ("killed", true, true, "error"),
        ] {
            info_span!(parent: None, "request", request_id = id, finish_reason = reason).in_scope(|| {
                info_span!("stage", stage_id = 0).in_scope(|| rig.wait_ms(1));
                if is_sent {
                    let sent = info_span!("transfer", from_stage = 0, to_stage = 1, phase = "tx");
                    sent.in_scope(|| rig.wait_ms(1));
                }
                if is_received {
                    let received = info_span!("transfer", from_stage = 0, to_stage = 1, phase = "rx");
                    received.in_scope(|| rig.wait_ms(1));
                }
                if id == "whole" {
                    info_span!("stage", stage_id = 1).in_scope(|| rig.wait_ms(1));
                }
            });
        }
    });
    rig.log.text()
}

fn json(command: &str, log: &str) -> serde_json::Value {
    serde_json::from_str(&stdout(&omni_of(&[command, "--json"], log))).unwrap()
}

#[test]
fn requests_without_rows_of_a_stage_are_counted_unless_they_skipped_it_and_failed_ones_if_it_received_them() {
    let log = without_rows();
    let said = |args: &[&str], log: &str| stdout(&omni_of(args, log)).replace('\n', " ");
    let sentence =
        "1 of 5 requests did not fail and has no row of a stage that it was sent to, so waiting and";
    for command in ["summary", "report"] {
        assert!(said(&[command], &log).contains(sentence), "{command}");
        assert!(!said(&[command], PIPELINE).contains("no row of a stage"), "{command}");
    }
    assert_eq!(json("summary", &log)["requests_without_rows"], 1);
    assert_eq!(json("report", &log)["summary"]["requests_without_rows"], 1);
    assert!(json("summary", PIPELINE).get("requests_without_rows").is_none());
    let killed = "Besides: 1 failed request has no row of a stage that received it (the stage never began";
    assert!(said(&["summary"], &log).contains(killed), "{}", said(&["summary"], &log));
    assert!(json("summary", PIPELINE).get("failed_requests_without_rows").is_none());
    // Of a stage without rows in any request, nothing is missing.
    let unmeasured: String =
        log.lines().filter(|line| !line.contains("whole")).collect::<Vec<_>>().join("\n");
    assert!(json("summary", &unmeasured).get("failed_requests_without_rows").is_none());
    // A line stands for as many requests as its rate says.
    let sampled = log.replace("\"overall_summary\":", "\"sample_rate\":10,\"overall_summary\":");
    assert_eq!(json("summary", &sampled)["requests_without_rows"], 10);
    assert_eq!(json("summary", &sampled)["failed_requests_without_rows"], 10);
    let many = "10 of 50 requests did not fail and have no row of a stage that they were sent to";
    assert!(said(&["summary"], &sampled).contains(many), "{}", said(&["summary"], &sampled));
}

/// The example's log, and rows of a worker in a log of its own: one of a request, one that names none.
fn unjoined() -> String {
    let row = |id: &str| {
        format!(
            r#"{{"type":"stage","schema":1,"timestamp":"2026-11-24T08:46:41.5Z","request_id":{id},"stage_id":7,"stage_gen_time_ms":1.0,"busy_time_ms":1.0,"queue_time_ms":0.0,"start_ms":null,"wall_time_ms":1.0,"events":1}}"#
        )
    };
    format!("{}\n{}\n{PIPELINE}", row("\"req-0001\""), row("null"))
}

#[test]
fn a_log_that_is_not_joined_is_said_to_be_so_before_its_figures() {
    let (log, begin) =
        (unjoined(), "Not joined: 1 row of a worker is in no request. So requests lack stages,");
    let command = "`omni-metrics join --align-clocks LOGS > joined.jsonl`";
    for args in [&["summary"][..], &["summary", "--by", "finish_reason"], &["summary", "--every", "1h"]] {
        let said = stdout(&omni_of(args, &log)).replace('\n', " ");
        assert!(said.starts_with(begin) && said.contains(command), "{args:?}: {said}");
        assert!(!stdout(&omni_of(args, PIPELINE)).contains("join"), "{args:?}");
    }
    let said = stdout(&omni_of(&["summary"], &log));
    assert!(said.ends_with("Besides: 1 row that names no request\n"), "{said}");
    assert!(!stdout(&omni_of(&["summary", "--by", "stage_name"], &log)).contains("join"));
    // Where standard output has no sentences, standard error has this one.
    for args in [&["summary", "--json"][..], &["summary", "--csv"], &["report", "--json"], &["report"]] {
        assert!(complaint(args, &log).0.starts_with(&format!("omni-metrics: {begin}")), "{args:?}");
        assert_eq!(complaint(args, PIPELINE).0, "", "{args:?}");
    }
    assert_eq!(json("summary", &log)["rows_of_workers"], 1);
    let page = stdout(&omni_of(&["report"], &log));
    let head = page.split("<main>").next().unwrap();
    assert!(head.contains(&format!("<p class=\"note\">{begin}")), "{head}");
    let (said, code) = complaint(&["summary", "--slo", "first_output@code2wave=1s"], &log);
    let [first, second] = said.lines().collect::<Vec<_>>().try_into().unwrap();
    assert!(first.contains(command) && second.contains("so the objective"), "{said}");
    assert_eq!(code, Some(2));
}

#[test]
fn rows_that_a_join_has_kept_are_not_said_to_need_a_join() {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("kept-rows.jsonl");
    let lone = unjoined().lines().next().unwrap().replace("req-0001", "req-9999");
    fs::write(&path, format!("{lone}\n{}", unjoined())).unwrap();
    let joined = stdout(&omni_of(&["join", "--keep-rows", path.to_str().unwrap()], ""));
    assert!(joined.contains("req-9999") && joined.contains("\"stage_id\":7"), "{joined}");
    for args in [
        &["summary"][..],
        &["summary", "--by", "finish_reason"],
        &["why", "--slowest"],
        &["what-if", "--rate", "2"],
        &["summary", "--json"],
        &["report", "--json"],
        &["compare", "-", path.to_str().unwrap()],
    ] {
        let output = omni_of(args, &joined);
        let all = stdout(&output) + &text(&output.stderr);
        assert_eq!(all.matches("Not joined").count(), usize::from(args[0] == "compare"), "{all}");
    }
    let said = stdout(&omni_of(&["summary"], &joined)).replace('\n', " ");
    let end = "Besides: 1 row of a worker whose request has no line (still open, killed, or in another log)";
    assert!(said.ends_with(&format!("{end} ")), "{said}");
    assert_eq!(json("summary", &joined)["rows_of_workers"], 1);
    // With the line of a request, `join` would put the row there.
    let together = format!("{joined}{}", PIPELINE.lines().next().unwrap().replace("req-0001", "req-9999"));
    let said = stdout(&omni_of(&["summary"], &together));
    assert!(said.starts_with("Not joined: 1 row of a worker") && !said.contains("has no line"), "{said}");
    let (said, code) = complaint(&["why", "req-9999"], &joined);
    let named = "no line of request req-9999, but 1 row of a worker names it: it is still open, or its line \
                 is not among those read\n";
    assert_eq!((said.as_str(), code), (format!("omni-metrics: {named}").as_str(), Some(1)));
    assert_eq!(complaint(&["why", "req-8"], &joined).0, "omni-metrics: no line of request req-8\n");
}

/// A page without its style and its script.
fn visible(page: &str) -> String {
    let without = |page: &str, tag: &str| {
        let [begin, end] = [format!("<{tag}"), format!("</{tag}>")];
        page.split(&begin).map(|piece| piece.rsplit(&end).next().unwrap()).collect::<String>()
    };
    without(&without(page, "style"), "script")
}

#[test]
fn a_page_shows_as_code_what_the_text_has_between_backticks() {
    // A log that is not joined, a queue that is longer than its request, and a warning.
    let warning = "span `stage`, field `num_tokens_in`: it is negative; treated as not recorded";
    let warned = PIPELINE.replacen("}]}\n", &format!("}}],\"warnings\":[{warning:?}]}}\n"), 1);
    let log = unjoined().replace(PIPELINE, &warned.replacen(":0.002995,", ":90000.0,", 1));
    let folder = tempfile::tempdir().unwrap();
    let [file, page] = ["log.jsonl", "page.html"].map(|name| folder.path().join(name));
    std::fs::write(&file, &log).unwrap();
    let [file, path] = [&file, &page].map(|path| path.to_str().unwrap());
    stdout(&omni_of(&["compare", "--fail-if", "e2e.p99 > 1h", "-o", path, file, file], ""));
    let command = "omni-metrics join --align-clocks LOGS &gt; joined.jsonl";
    let report = ["waiting for stages", "stage", "num_tokens_in", command];
    let pages = [
        (stdout(&omni_of(&["report"], &log)), &report[..]),
        (std::fs::read_to_string(&page).unwrap(), &["e2e.p99 &gt; 1h", "-", command][..]),
    ];
    for (page, codes) in pages {
        let shown = visible(&page);
        assert!(!shown.contains('`'), "{shown}");
        for code in codes {
            assert!(shown.contains(&format!("<code>{code}</code>")), "{code}: {shown}");
        }
    }
}

#[test]
fn requests_with_several_attempts_are_counted_by_their_ids() {
    // The first two lines are attempts of one request; the third one is a request that failed.
    let lines: Vec<_> = PIPELINE.lines().take(10).collect();
    let id =
        |line: &str| line.split("\"request_id\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let failed = |line: &str| {
        let ends = |reason: &str| format!("\"finish_reason\":\"{reason}\"");
        line.replace(&ends("stop"), &ends("error")).replace(&ends("length"), &ends("error"))
    };
    let once = [failed(lines[0]), lines[1].to_owned(), failed(lines[2])];
    let once = [&once.join("\n"), &lines[3..].join("\n")].map(String::as_str).join("\n");
    let log = once.replace(&id(lines[1]), &id(lines[0]));
    let expected = serde_json::json!(
        { "ids": 9, "retried": 1, "failed": 1, "failed_in_only_attempt": 1, "recovered": 1, "is_estimate": false }
    );
    assert_eq!(json("summary", &log)["requests_by_id"], expected);
    assert_eq!(json("report", &log)["summary"]["requests_by_id"], expected);
    assert!(json("summary", &once).get("requests_by_id").is_none());
    let sentence = "1 request_id has several of them, as after a retry. Of 9 different request_ids, 1 failed in \
                    every attempt (11.1 %; 1 after a single one), and 1 failed in one attempt and succeeded in \
                    another.";
    for command in ["summary", "report"] {
        let said = stdout(&omni_of(&[command], &log)).replace('\n', " ");
        assert!(said.contains(sentence), "{command}: {said}");
        assert!(!stdout(&omni_of(&[command], &once)).contains("These are attempts"), "{command}");
    }
    assert!(stdout(&omni_of(&["summary", "--csv"], &log)).contains("\nrequests_by_id,,,recovered,1,"));
    // A process may keep all failed attempts, and few of those that succeeded.
    let sampled = log.replace("\"overall_summary\":", "\"sample_rate\":10,\"overall_summary\":");
    assert!(json("summary", &sampled).get("requests_by_id").is_none());
}
