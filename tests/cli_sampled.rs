//! The reader, on logs of which `Keep` has left out most lines.

#[path = "support/reader.rs"]
mod reader;
mod support;

use std::{env, thread, time::Duration};

use omni_metrics::{Keep, OmniMetricsLayer};
use reader::{omni_of, stdout, text};
use serde_json::Value;
use support::{Log, Rig, run_in_a_process};
use tracing::{Dispatch, error, info_span};
use tracing_subscriber::{layer::SubscriberExt, registry};

const RATE: u32 = 10;
/// How many logs are generated for the rate of violations that are none.
const SEEDS: u64 = 60;

/// Numbers by chance, the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// One request: most take 5 to 25 ms; one in 50 fails.
fn serve(rig: &Rig, id: &str, random: &mut Random) {
    let tokens = 10 + random.below(90);
    serve_tokens(rig, id, random, tokens);
}

fn serve_tokens(rig: &Rig, id: &str, random: &mut Random, tokens: u64) {
    let reason = match random.below(100) {
        0 => "error",
        1 => "abort",
        n if n < 20 => "length",
        _ => "stop",
    };
    let request = info_span!("request", request_id = id, finish_reason = reason).entered();
    let time = 5 + random.below(20);
    rig.wait_ms(1);
    let stage = info_span!("stage", stage_id = 0, num_tokens_in = 7, output = tracing::field::Empty);
    stage.in_scope(|| {
        rig.wait_ms(time);
        stage.record("output", tokens);
        rig.wait_ms(2);
        stage.record("output", 1);
        if reason == "error" {
            error!("it failed");
        }
    });
    drop(stage);
    drop(info_span!("transfer", from_stage = 0, to_stage = 1, size_bytes = 3));
    drop(request);
}

/// The log of `requests` requests whose ids, times and tokens come from `seed`.
fn log(keep: Keep, requests: u64, seed: u64) -> String {
    let rig = Rig::with(|layer| layer.with_keep(keep));
    let mut random = Random(seed);
    rig.run_text(|rig| {
        for n in 0..requests {
            // Of the even seeds, a few requests have most of the tokens.
            let tokens = match random.below(300) {
                0 if seed.is_multiple_of(2) => 50_000,
                _ => 10 + random.below(90),
            };
            serve_tokens(rig, &format!("{seed}-{n}"), &mut random, tokens);
        }
        rig.handle.write_summary();
    });
    rig.log.text()
}

fn sampled(requests: u64, seed: u64) -> String {
    log(Keep::one_in(RATE).failed(), requests, seed)
}

fn summary(log: &str) -> Value {
    serde_json::from_str(&stdout(&omni_of(&["summary", "--json"], log))).unwrap()
}

fn number(value: &Value, pointer: &str) -> f64 {
    value.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("{pointer}: {value:#}"))
}

/// The count of a name, as in `finish_reasons`.
fn count(list: &Value, name: &str) -> f64 {
    let row = list.as_array().unwrap().iter().find(|row| row["name"] == name);
    row.unwrap_or_else(|| panic!("{name}: {list}"))["count"].as_f64().unwrap()
}

#[test]
fn the_summary_of_a_sampled_log_is_near_that_of_the_whole_log() {
    let (whole, sampled) = (summary(&log(Keep::all(), 6_000, 1)), summary(&sampled(6_000, 1)));
    assert!(whole.get("sampled").is_none());
    // Of 600 lines that stand for 5,880 requests, the standard deviation is 4 %.
    for (pointer, error) in [
        ("/overall_summary/e2e_requests", 0.12),
        ("/overall_summary/e2e_total_tokens", 0.12),
        ("/overall_summary/e2e_avg_tokens_per_s", 0.12),
        ("/percentiles/e2e_total_ms/count", 0.12),
        ("/percentiles/e2e_total_ms/mean", 0.05),
        ("/percentiles/e2e_total_ms/p50", 0.1),
        ("/percentiles/e2e_total_ms/p90", 0.1),
        ("/percentiles/e2e_total_ms/p99", 0.1),
        ("/percentiles/tokens_per_s/p50", 0.1),
        ("/percentiles/stages/0/stage_gen_time_ms/count", 0.12),
        ("/percentiles/stages/0/stage_gen_time_ms/p50", 0.1),
        ("/percentiles/transfers/0/total_time_ms/count", 0.12),
        ("/shares_of_e2e/1/time_ms", 0.12),
        ("/shares_of_e2e/1/share", 0.02),
        ("/outputs/0/outputs", 0.12),
        ("/outputs/0/inter_output_mean_ms", 0.01),
    ] {
        let (expected, found) = (number(&whole, pointer), number(&sampled, pointer));
        assert!((found - expected).abs() <= expected * error, "{pointer}: {found}, of all {expected}");
    }
    let reasons = |summary: &Value, name| count(&summary["finish_reasons"], name);
    assert!((reasons(&sampled, "length") / reasons(&whole, "length") - 1.0).abs() < 0.3);
    // Failed requests are kept, and counted as they are.
    for reason in ["error", "abort"] {
        assert_eq!(reasons(&sampled, reason), reasons(&whole, reason));
    }
    assert_eq!((&sampled["errors"], &sampled["failed"]), (&whole["errors"], &whole["failed"]));
    let all = number(&whole, "/overall_summary/e2e_requests");
    let (least, most) = ("/sampled/requests_at_least", "/sampled/requests_at_most");
    assert!(number(&sampled, least) < all && all < number(&sampled, most), "{}", sampled["sampled"]);
}

#[test]
fn the_text_says_once_how_many_requests_the_lines_stand_for() {
    let log = sampled(300, 2);
    let lines = log.lines().filter(|line| line.contains(r#""type":"request""#)).count();
    let said = stdout(&omni_of(&["summary"], &log));
    let expected = format!("The log is sampled: {lines} request lines stand for about ");
    assert_eq!(said.matches(&expected).count(), 1, "{said}");
    let page = stdout(&omni_of(&["report"], &log));
    assert!(page.contains(&expected), "the page says it too");
    assert!(!stdout(&omni_of(&["summary"], &self::log(Keep::all(), 30, 2))).contains("sampled"));
}

#[test]
fn detached_rows_and_warnings_are_weighted_as_well() {
    let rig = Rig::with(|layer| layer.with_keep(Keep::one_in(RATE)));
    rig.run_text(|_| {
        for n in 0..2_000 {
            drop(info_span!("stage", stage_id = 1, request_id = format!("w-{n}"), num_tokens_in = -1));
        }
    });
    let summary = summary(&rig.log.text());
    assert_eq!(number(&summary, "/detached"), number(&summary, "/sampled/row_lines"));
    let rows = number(&summary, "/sampled/rows");
    assert!((rows - 2_000.0).abs() < 450.0, "{rows}");
    let warnings: Vec<_> = summary["warnings"].as_array().unwrap().iter().collect();
    assert_eq!(warnings[0]["count"].as_f64(), Some(rows), "{warnings:?}");
}

/// The exit code and what `check` says.
fn check(log: &str) -> (Option<i32>, String) {
    let output = omni_of(&["check"], log);
    (output.status.code(), text(&output.stdout))
}

/// The log without the lines that are chosen, each by its number among those.
fn without(log: &str, is_chosen: impl Fn(&str) -> bool, is_removed: impl Fn(usize) -> bool) -> String {
    let mut chosen = 0;
    let kept = log.lines().filter(|line| {
        let is_one = is_chosen(line);
        chosen += usize::from(is_one);
        !is_one || !is_removed(chosen - 1)
    });
    kept.map(|line| format!("{line}\n")).collect()
}

fn is_sampled(line: &str) -> bool {
    line.contains(r#""sample_rate":"#)
}

/// A line that is kept because its request failed.
fn is_failed(line: &str) -> bool {
    line.contains(r#""type":"request""#) && !is_sampled(line)
}

fn assert_unsound(log: &str, sentence: &str) {
    let (code, said) = check(log);
    assert!(code == Some(1) && said.contains(sentence), "{sentence}: {said}");
}

#[test]
fn a_sampled_log_is_sound_and_so_is_a_part_of_it() {
    let mut unsound = Vec::new();
    for seed in 1..=SEEDS {
        let requests = [300, 1_000, 3_000][seed as usize % 3];
        let keep = match seed % 4 {
            0 => Keep::one_in(RATE),
            1 => Keep::one_in(RATE).failed(),
            2 => Keep::one_in(3).failed().slower_than(Duration::from_millis(24)),
            _ => Keep::one_in(50).slower_than(Duration::from_millis(26)).with_warnings(),
        };
        let log = log(keep, requests, seed);
        let (code, said) = check(&log);
        if code != Some(0) {
            unsound.push(said);
        }
        // A later part of the log, as of one that was rotated.
        let lines: Vec<_> = log.lines().collect();
        let later = lines[lines.len() / 2..].join("\n");
        let (code, said) = check(&later);
        if code != Some(0) && requests > 300 {
            unsound.push(said);
        }
    }
    // Each of the hundred has two figures, of which at most 0.1 % are called violations.
    assert!(unsound.len() <= 1, "{unsound:?}");
}

#[test]
fn lines_that_are_missing_from_a_sampled_log_are_found() {
    let log = sampled(3_000, 7);
    assert_eq!(check(&log).0, Some(0), "{}", check(&log).1);
    assert_unsound(&without(&log, is_failed, |n| n == 5), "(1 line is missing)");
    assert_unsound(&without(&log, is_sampled, |n| n == 5), "(1 line is missing)");
    assert_unsound(&without(&log, is_sampled, |n| n.is_multiple_of(10)), "lines are missing)");
}

#[test]
fn a_sample_that_is_not_fair_is_found() {
    let log = sampled(20_000, 9);
    assert_eq!(check(&log).0, Some(0), "{}", check(&log).1);
    assert_unsound(&without(&log, is_sampled, |n| n.is_multiple_of(6)), "requests since e2e_requests");
    assert_unsound(&without(&log, is_sampled, |n| n.is_multiple_of(4)), "tokens since e2e_requests");
}

#[test]
fn a_line_with_another_rate_is_found() {
    let log = sampled(2_000, 9);
    let replaced = |from: &str, to: &str, at: usize| {
        let (at, _) = log.match_indices(from).nth(at).unwrap();
        format!("{}{to}{}", &log[..at], &log[at + from.len()..])
    };
    let rate = r#""sample_rate":10"#;
    assert_unsound(&replaced(rate, r#""sample_rate":7"#, 30), "a divisor of the hash of request_id 9-");
    assert_unsound(&replaced(rate, r#""sample_rate":1"#, 30), "expected at least 2 or nothing, found 1");
    // It divides the hash of each of them as well.
    assert_unsound(&replaced(rate, r#""sample_rate":5"#, 30), "sample_rate: expected 10, as in -:");
    assert_unsound(&replaced(&format!("{rate},"), "", 30), "sample_rate: expected one, since the request");
    let failed = log.lines().filter(|line| is_failed(line)).nth(3).unwrap();
    let with_rate = failed.replacen(r#","overall_summary""#, r#","sample_rate":10,"overall_summary""#, 1);
    assert_unsound(&log.replace(failed, &with_rate), "sample_rate: expected");
}

#[test]
fn a_line_that_occurs_twice_is_found_also_with_another_id() {
    let log = sampled(2_000, 10);
    let line = log.lines().filter(|line| is_sampled(line)).nth(40).unwrap();
    let twice = log.replacen(line, &format!("{line}\n{line}"), 1);
    assert_unsound(&twice, "expected once, found the same line");
    let failed = log.lines().filter(|line| is_failed(line)).nth(3).unwrap();
    let other = failed.replacen(r#""request_id":"10-"#, r#""request_id":"11-"#, 1);
    let twice = log.replacen(failed, &format!("{failed}\n{other}"), 1);
    assert_unsound(&twice, "e2e_requests: expected each number of a run at most once, found");
}

#[test]
fn windows_count_the_lines_of_a_class_that_is_kept() {
    let rig = Rig::with(|layer| layer.with_keep(Keep::one_in(RATE).failed()));
    let mut random = Random(11);
    rig.run_text(|rig| {
        let reports = rig.handle.report_every(Duration::from_millis(1), Duration::from_secs(3_600));
        for window in 1..=4 {
            (0..500).for_each(|n| serve(rig, &format!("{window}-{n}"), &mut random));
            let last = window * 500;
            while !rig.log.text().lines().any(|line| counts(line, last)) {
                thread::sleep(Duration::from_millis(1));
            }
        }
        drop(reports);
    });
    let log = rig.log.text();
    assert_eq!(check(&log).0, Some(0), "{}", check(&log).1);
    // From the middle on, as a rotated log begins, so that no count of lines gives it away.
    let middle = log.lines().position(|line| counts(line, 1_000)).unwrap();
    let later: String = log.lines().skip(middle).map(|line| format!("{line}\n")).collect();
    assert_eq!(check(&later).0, Some(0), "{}", check(&later).1);
    let aborted = |line: &str| is_failed(line) && line.contains(r#""finish_reason":"abort""#);
    let sentence = "have finish_reason `abort`, found";
    assert_unsound(&without(&later, aborted, |n| n == 0), sentence);
}

/// Whether the line is a report of the run with so many requests.
fn counts(line: &str, requests: u64) -> bool {
    line.starts_with(r#"{"type":"summary""#) && line.contains(&format!(r#""e2e_requests":{requests},"#))
}

#[test]
fn the_log_of_concurrent_requests_is_sound_while_reports_are_written() {
    let log = Log::default();
    let layer = OmniMetricsLayer::new().with_writer(log.clone()).with_keep(Keep::one_in(RATE).failed());
    let handle = layer.handle();
    let dispatch = Dispatch::new(registry().with(layer));
    let reports = handle.report_every(Duration::from_millis(1), Duration::from_secs(3_600));
    let run = |thread: u64| {
        let mut random = Random(thread);
        for n in 0..4_000 {
            let reason = if random.below(20) == 0 { "error" } else { "stop" };
            let request = info_span!("request", request_id = format!("{thread}-{n}"), finish_reason = reason);
            request.in_scope(|| info_span!("stage", stage_id = 0, num_tokens_out = n % 50).in_scope(|| ()));
        }
    };
    thread::scope(|scope| {
        for thread in 0..8 {
            let (dispatch, run) = (&dispatch, &run);
            scope.spawn(move || tracing::dispatcher::with_default(dispatch, || run(thread)));
        }
    });
    drop(reports);
    handle.write_summary();
    let log = log.text();
    assert_eq!(check(&log).0, Some(0), "{}", check(&log).1);
    assert_unsound(&without(&log, is_failed, |n| n == 700), "(1 line is missing)");
}

#[test]
fn restarts_and_runs_that_are_taken_are_told_apart() {
    let rig = Rig::with(|layer| layer.with_keep(Keep::one_in(RATE).failed()));
    let mut random = Random(12);
    rig.run_text(|rig| {
        for run in 0..5 {
            (0..700).for_each(|n| serve(rig, &format!("{run}-{n}"), &mut random));
            rig.handle.write_summary();
            rig.handle.take();
        }
    });
    let taken = rig.log.text();
    assert_eq!(check(&taken).0, Some(0), "{}", check(&taken).1);
    let rig = Rig::with(|layer| layer.with_keep(Keep::one_in(RATE).failed()));
    rig.run_text(|rig| {
        rig.wait_ms(3_600_000);
        (0..700).for_each(|n| serve(rig, &format!("{n}"), &mut random));
        rig.handle.write_summary();
    });
    let restarted = [sampled(900, 13), rig.log.text()].concat();
    assert_eq!(check(&restarted).0, Some(0), "{}", check(&restarted).1);
}

const WORKERS: &str =
    "workers_and_the_front_of_other_processes_choose_the_same_requests_and_join_says_what_lacks";
const ROLE: &str = "OMNI_METRICS_ROLE";

/// Serves as the front, or as a worker.
fn serve_as(role: &str) {
    let keep = if role == "front" { Keep::one_in(RATE).failed() } else { Keep::one_in(RATE) };
    let dispatch = Dispatch::new(registry().with(OmniMetricsLayer::new().with_keep(keep)));
    tracing::dispatcher::with_default(&dispatch, || {
        for n in 0..2_000_u32 {
            let id = format!("p-{n}");
            if role == "front" {
                let reason = if n.is_multiple_of(25) { "abort" } else { "stop" };
                drop(info_span!("request", request_id = id, finish_reason = reason));
            } else {
                drop(info_span!("stage", stage_id = 1, request_id = id, num_tokens_out = 3));
            }
        }
    });
}

#[test]
fn workers_and_the_front_of_other_processes_choose_the_same_requests_and_join_says_what_lacks() {
    if let Ok(role) = env::var(ROLE) {
        return serve_as(&role);
    }
    let [front, worker] = ["front", "worker"].map(|role| {
        let output = run_in_a_process(WORKERS, |command| {
            command.env(ROLE, role);
        });
        assert!(output.status.success(), "{output:?}");
        text(&output.stderr)
    });
    let lines = |log: &str| log.lines().filter(|line| line.starts_with(r#"{"type":"#)).count();
    assert!(lines(&front) > 200 && lines(&worker) > 130, "{} {}", lines(&front), lines(&worker));
    let output = omni_of(&["join"], &format!("{front}{worker}"));
    let (joined, said) = (stdout(&output), text(&output.stderr));
    let has_row = |line: &str| line.contains(r#""stage_id":1,"#);
    assert_eq!(joined.lines().count(), lines(&front));
    assert_eq!(joined.lines().filter(|line| has_row(line)).count(), lines(&worker), "no row is left over");
    let sampled: Vec<_> = joined.lines().filter(|line| is_sampled(line)).collect();
    assert!(sampled.len() > 120 && sampled.iter().all(|line| has_row(line)));
    let lacks = joined.lines().filter(|line| !has_row(line)).count();
    let (all, share) = (joined.lines().count(), 100.0 * lacks as f64 / joined.lines().count() as f64);
    let expected = format!("{lacks} of {all} requests ({share:.1} %) lack the rows of workers: ");
    assert!(said.contains(" by the hash of the id alone, 1 in "), "{said}");
    assert!(lacks > 50 && said.contains(&expected), "{said}");
    assert!(!said.contains("but no line of"), "{said}");
}

#[test]
fn rows_of_requests_that_the_sample_left_out_are_counted_and_not_named_as_lost() {
    let worker = Rig::new();
    worker.run_text(|_| {
        (0..300).for_each(|n| drop(info_span!("stage", stage_id = 1, request_id = format!("15-{n}"))));
    });
    let front = log(Keep::one_in(RATE), 300, 15);
    let kept = front.lines().filter(|line| is_sampled(line)).count();
    let output = omni_of(&["join"], &format!("{front}{}", worker.log.text()));
    let said = text(&output.stderr);
    let expected = format!("{} rows belong to requests whose line was left out by the sample", 300 - kept);
    assert!(said.contains(&expected) && !said.contains("no line of the request"), "{said}");
}

/// The layer does not write a rate of 0, but another program may.
#[test]
fn a_rate_of_zero_counts_as_one_and_makes_no_figure_infinite() {
    let plain = log(Keep::all(), 120, 16).replace(r#""type":"summary""#, r#""type":"of another program""#);
    let zero = plain.replace(r#","overall_summary""#, r#","sample_rate":0,"overall_summary""#);
    let worker = Rig::new();
    worker.run_text(|_| {
        (0..120).for_each(|n| drop(info_span!("stage", stage_id = 1, request_id = format!("16-{n}"))));
    });
    let row = |line: &str| line.replacen(r#","stage_id":1"#, r#","sample_rate":0,"stage_id":1"#, 1);
    let rows: Vec<_> = worker.log.text().lines().map(row).collect();
    let rows = rows.join("\n");
    assert!(
        zero.matches(r#""sample_rate":0"#).count() >= 120 && rows.contains(r#""sample_rate":0"#),
        "{rows}"
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &zero).unwrap();
    let path = file.path().to_str().unwrap();
    for args in [
        &["summary"][..],
        &["summary", "--json", "--slo", "e2e=10ms"],
        &["summary", "--by", "stage_id"],
        &["summary", "--every", "10ms", "--csv"],
        &["report"],
        &["report", "--json"],
        &["compare", "-", path],
        &["compare", "--json", "--by", "stage_id", "-", path],
        &["what-if", "--workers", "0=2"],
        &["what-if", "--json", "--rate", "2"],
        &["why", "--p99"],
        &["join", "--json", "-o", "/dev/null"],
    ] {
        let found = stdout(&omni_of(args, &format!("{zero}{rows}")));
        let is_finite = |word: &str| !matches!(word.to_lowercase().as_str(), "nan" | "inf" | "infinity");
        // The script of the page tests for numbers that are not finite.
        let figures = found.split("\"use strict\"").next().unwrap();
        assert!(figures.split(|c: char| !c.is_alphanumeric()).all(is_finite), "{args:?} {figures}");
    }
    let figures = |log: &str| -> Value {
        let mut found: Value = serde_json::from_str(&stdout(&omni_of(&["summary", "--json"], log))).unwrap();
        found.as_object_mut().unwrap().remove("sampled");
        found
    };
    assert_eq!(figures(&zero), figures(&plain));
    let front: String = zero
        .lines()
        .filter(|line| !line.contains(r#""request_id":"16-7""#))
        .map(|line| format!("{line}\n"))
        .collect();
    let joined = omni_of(&["join"], &format!("{front}{rows}"));
    assert_eq!(stdout(&joined).matches(r#""stage_id":1,"#).count(), 119);
    assert!(!text(&joined.stderr).contains("left out by the sample"), "{joined:?}");
}

#[test]
fn logs_of_several_processes_in_one_file_are_sound_and_the_size_of_their_samples_is_not_judged() {
    let without_summary = |log: String| -> Vec<String> {
        log.lines().filter(|line| !line.contains(r#""type":"summary""#)).map(str::to_owned).collect()
    };
    for seed in 0..6 {
        let keep = || Keep::one_in(RATE).failed();
        let fronts = [0, 1, 2].map(|front| {
            let requests = [1_500, 700, 90][front as usize];
            let log = log(keep(), requests, 100 + 3 * seed + front);
            if seed.is_multiple_of(3) { log } else { without_summary(log).join("\n") + "\n" }
        });
        let output = omni_of(&["check"], &fronts.concat());
        assert!(output.status.success(), "{seed}: {output:?}");
        if !seed.is_multiple_of(3) {
            let said = text(&output.stdout);
            assert!(said.contains("sampled 1 in 10, its size is not verified"), "{said}");
            assert!(said.contains("note: sample: lines are of runs that overlap"), "{said}");
        }
    }
}
