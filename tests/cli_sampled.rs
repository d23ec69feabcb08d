//! The reader, on logs of which `Keep` has left out most lines.

#[path = "support/reader.rs"]
mod reader;
mod support;

use omni_metrics::Keep;
use reader::{omni_of, stdout};
use serde_json::Value;
use support::Rig;
use tracing::{error, info_span};

const RATE: u32 = 10;

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
    let reason = match random.below(100) {
        0 => "error",
        1 => "abort",
        n if n < 20 => "length",
        _ => "stop",
    };
    let request = info_span!("request", request_id = id, finish_reason = reason).entered();
    let (time, tokens) = (5 + random.below(20), 10 + random.below(90));
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
        (0..requests).for_each(|n| serve(rig, &format!("{seed}-{n}"), &mut random));
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
