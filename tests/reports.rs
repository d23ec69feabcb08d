//! Section 9 of the contract: reports, their windows, and their lines of open requests.

mod support;

use std::{collections::BTreeMap, thread, time::Duration};

use omni_metrics::{Keep, Line, OmniMetricsHandle, OpenLine, ReportGuard, SummaryLine};
use serde_json::{Value, json};
use support::{Log, Rig};
use tracing::{error, info_span};

const INTERVAL: Duration = Duration::from_millis(2);
const OLD: Duration = Duration::from_secs(10);

fn reports(handle: &OmniMetricsHandle) -> ReportGuard {
    handle.report_every(INTERVAL, OLD)
}

fn parsed(log: &Log) -> (Vec<SummaryLine>, Vec<OpenLine>) {
    let (mut summaries, mut open) = (Vec::new(), Vec::new());
    for line in log.text().lines() {
        match line.parse().unwrap() {
            Line::Summary(line) => summaries.push(line),
            Line::Open(line) => open.push(line),
            _ => {}
        }
    }
    (summaries, open)
}

/// Waits until a report that has begun after this call is whole.
fn await_report(log: &Log) {
    let summaries = || log.text().lines().filter(|line| line.starts_with(r#"{"type":"summary""#)).count();
    let before = summaries();
    // The next one may have begun; the one after it ends before a third begins.
    while summaries() < before + 3 {
        thread::sleep(INTERVAL);
    }
}

#[test]
fn a_report_has_a_window_and_the_numbers_of_now() {
    let rig = Rig::with(|layer| layer.with_keep(Keep::one_in(0).failed()));
    rig.run(|rig| {
        let _open = info_span!("request", request_id = "open");
        let guard = reports(&rig.handle);
        await_report(&rig.log);
        rig.wait_ms(4_000);
        drop(info_span!("stage", stage_id = 7, request_id = "elsewhere").entered());
        for reason in ["stop", "stop", "error"] {
            let request = info_span!("request", finish_reason = reason);
            drop(info_span!(parent: &request, "stage", stage_id = 0, num_tokens_out = 20));
        }
        drop(info_span!("request"));
        await_report(&rig.log);
        drop(guard);
    });
    let (summaries, open) = parsed(&rig.log);
    assert_eq!(open, []);
    let windows = || summaries.iter().map(|line| line.window.as_ref().unwrap());
    assert_eq!(windows().map(|window| window.requests).sum::<u64>(), 4);
    assert_eq!(windows().map(|window| window.tokens).sum::<u64>(), 60);
    assert_eq!(windows().map(|window| window.time_ms.as_f64()).sum::<f64>(), 4_000.0);
    let mut reasons = BTreeMap::<&str, u64>::new();
    let by_reason = windows().flat_map(|window| &window.finish_reasons);
    by_reason.for_each(|(reason, requests)| *reasons.entry(reason).or_default() += requests);
    assert_eq!(reasons, BTreeMap::from([("error", 1), ("none", 1), ("stop", 2)]));
    let detached =
        windows().flat_map(|window| &window.percentiles.stages).filter(|row| row.stage_id == Some(7));
    assert_eq!(detached.map(|row| row.stage_gen_time_ms.unwrap().count).sum::<u64>(), 1);

    let last = summaries.last().unwrap();
    assert_eq!(last.overall_summary.e2e_requests, 4);
    assert_eq!(last.percentiles.e2e_total_ms.unwrap().count, 4);
    assert_eq!(last.window.as_ref().unwrap().requests, 0);
    assert_eq!((last.open_requests, last.oldest_age_ms.unwrap().as_f64()), (Some(1), 4_000.0));
    assert_eq!((last.lines_left_out, last.lines_lost), (Some(4), Some(0)));
    assert_eq!(
        last.lines_written,
        Some(summaries.len() as u64),
        "the failed request, and the reports before"
    );
}

#[test]
fn every_request_is_in_one_window_whoever_else_reads_or_takes() {
    let rig = Rig::new();
    let (workers, each) = (4, 500);
    let (one, other) = (reports(&rig.handle), rig.handle.report_every(3 * INTERVAL, OLD));
    let mut taken = 0;
    thread::scope(|scope| {
        let work = || {
            let _default = rig.install();
            (0..each).for_each(|_| drop(info_span!("request", finish_reason = "stop")));
        };
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        while workers.iter().any(|worker| !worker.is_finished()) {
            taken += rig.handle.take().overall_summary.e2e_requests;
            let snapshot = rig.handle.snapshot();
            let timed = snapshot.percentiles.e2e_total_ms.map_or(0, |times| times.count);
            assert_eq!(timed, snapshot.overall_summary.e2e_requests);
        }
    });
    assert_eq!(taken + rig.handle.take().overall_summary.e2e_requests, workers * each);
    let counted = || {
        let windows = parsed(&rig.log).0.into_iter().filter_map(|line| line.window);
        windows.map(|window| window.finish_reasons.get("stop").copied().unwrap_or(0)).sum::<u64>()
    };
    // Each request is in a window of each of the two guards.
    while counted() < 2 * workers * each {
        thread::sleep(INTERVAL);
    }
    drop((one, other));
    assert_eq!(counted(), 2 * workers * each);
}

#[test]
fn a_request_that_has_become_old_has_one_open_line() {
    let rig = Rig::new();
    rig.run(|rig| {
        let request = info_span!("request", request_id = "slow", model = "m");
        drop(info_span!(parent: &request, "stage", stage_id = 0, num_tokens_out = 7));
        let stage = info_span!(parent: &request, "stage", stage_id = 1, stage_name = "talker", output = 3);
        stage.in_scope(|| rig.wait_ms(1_000));
        let waits = info_span!(parent: &request, "stage", stage_id = 2);
        rig.wait_ms(9_000);
        let _guard = reports(&rig.handle);
        await_report(&rig.log);
        assert_eq!(parsed(&rig.log).1, [], "it is just as old as that, not older");
        rig.wait_ms(1);
        await_report(&rig.log);
        await_report(&rig.log);
        rig.wait_ms(100_000);
        await_report(&rig.log);
        drop((waits, stage));
    });
    let open = parsed(&rig.log).1;
    assert_eq!(open.len(), 1);
    let line = rig.log.lines().into_iter().find(|line| line["type"] == "open").unwrap();
    let stages = json!([
        {"stage_id": 1, "stage_name": "talker", "age_ms": 10_001.0, "is_waiting": false, "num_tokens_out": 3},
        {"stage_id": 2, "age_ms": 9_001.0, "is_waiting": true},
    ]);
    assert_eq!(line["open_stages"], stages);
    let found: Vec<_> = ["schema", "request_id", "age_ms", "is_answered", "e2e_total_tokens", "in_stages"]
        .map(|key| line[key].clone())
        .into();
    assert_eq!(json!(found), json!([1, "slow", 10_001.0, false, 10, [1, 2]]));
    assert_eq!((&line["fields"]["model"], &line["stages"][0]["num_tokens_out"]), (&json!("m"), &json!(7)));
    assert_eq!(line.get("more"), None);
    let again: Line = serde_json::to_string(&Line::Open(open[0].clone())).unwrap().parse().unwrap();
    assert_eq!(again, Line::Open(open[0].clone()), "it reads back");
}

#[test]
fn of_many_requests_that_become_old_at_once_the_oldest_have_lines() {
    let rig = Rig::new();
    rig.run(|rig| {
        let _requests: Vec<_> = (0..70)
            .map(|n| {
                rig.wait_ms(1);
                info_span!("request", request_id = n)
            })
            .collect();
        rig.wait_ms(20_000);
        let _guard = reports(&rig.handle);
        await_report(&rig.log);
    });
    let open = parsed(&rig.log).1;
    let ids: Vec<_> = open.iter().map(|line| line.request.request_id.clone().unwrap()).collect();
    assert_eq!(ids, (0..64).map(|n: u64| n.to_string()).collect::<Vec<_>>());
    let more: Vec<_> = open.iter().filter_map(|line| line.more).collect();
    assert_eq!((more, open[63].more), (vec![6], Some(6)));
}

#[test]
fn no_report_comes_after_the_drop_of_the_guard_or_while_the_layer_is_off() {
    let (rig, other) = (Rig::new(), Rig::new());
    let _other = reports(&other.handle);
    let guard = reports(&rig.handle);
    await_report(&rig.log);
    rig.handle.set_log_stats(false);
    // A report may be under way.
    await_report(&other.log);
    let off = rig.log.lines().len();
    await_report(&other.log);
    assert_eq!(rig.log.lines().len(), off);
    rig.handle.set_log_stats(true);
    await_report(&rig.log);
    drop(guard);
    let ended = rig.log.lines().len();
    await_report(&other.log);
    assert_eq!(rig.log.lines().len(), ended);
}

#[test]
fn a_report_guard_that_is_dropped_writes_the_lines_of_answered_requests() {
    let rig = Rig::new();
    rig.run(|rig| {
        let guard = rig.handle.report_every(Duration::from_secs(3_600), OLD);
        let _open = info_span!("request", request_id = "open");
        let answered = info_span!("request", request_id = "answered");
        let _holds = info_span!("stage", stage_id = 0, request_id = "answered");
        drop(answered);
        assert_eq!(rig.log.text(), "");
        drop(guard);
        let ids: Vec<_> = rig.log.lines().iter().map(|line| line["request_id"].clone()).collect();
        assert_eq!(ids, ["answered"]);
    });
}

#[test]
fn an_interval_without_end_has_no_report() {
    let (rig, other) = (Rig::new(), Rig::new());
    let _other = reports(&other.handle);
    let guard = rig.handle.report_every(Duration::MAX, Duration::MAX);
    await_report(&other.log);
    drop(guard);
    assert_eq!(rig.log.text(), "");
}

#[test]
fn a_report_as_text_has_its_tables() {
    let rig = Rig::with(|layer| layer.with_format(omni_metrics::Format::Table));
    rig.run_text(|rig| {
        let request = info_span!("request", request_id = "slow");
        let _stage = info_span!(parent: &request, "stage", stage_id = 0, stage_name = "thinker");
        request.in_scope(|| error!("it hangs"));
        drop(info_span!("request", request_id = "fast", finish_reason = "stop"));
        rig.wait_ms(11_000);
        let _guard = reports(&rig.handle);
        while !rig.log.text().contains("OpenRequest slow, reported at")
            || !rig.log.text().contains("OpenStages\n")
        {
            thread::sleep(INTERVAL);
        }
    });
    let text = rig.log.text();
    for part in [
        "Percentiles until",
        "Window until",
        "Percentiles of the window",
        "Now, at",
        "oldest_age_ms",
        "thinker",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(serde_json::from_str::<Value>(&text).is_err());
}
