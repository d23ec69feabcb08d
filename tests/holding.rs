//! Section 2 of docs/numbers.md: an open span that belongs to a request holds the request's line.

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{Rig, line, lines, warnings};
use tracing::{field::Empty, info_span};

/// Type and request id of each line.
fn kinds(lines: &[Value]) -> Vec<(&str, &str)> {
    lines.iter().map(|line| (line["type"].as_str().unwrap(), line["request_id"].as_str().unwrap())).collect()
}

#[test]
fn a_step_that_named_the_request_is_in_the_line_whole_when_it_ends_after_the_handler() {
    let line = line(|rig| {
        let request = info_span!("request", request_id = "r", finish_reason = Empty).entered();
        rig.wait_ms(2);
        let step = info_span!("stage", stage_id = 0, request_id = "r", num_tokens_out = 3);
        let step = step.entered();
        rig.wait_ms(5);
        request.record("finish_reason", "stop");
        drop(request);
        assert_eq!(rig.log.writes().len(), 0, "the step holds the line");
        assert_eq!(rig.handle.snapshot().open_requests, 1);
        rig.wait_ms(1);
        drop(step);
        assert_eq!(rig.handle.snapshot().open_requests, 0);
    });
    let (row, e2e) = (&line["stage_table"][0], &line["e2e_table"]);
    assert_eq!((&row["stage_gen_time_ms"], &row["num_tokens_out"]), (&json!(6.0), &json!(3)));
    assert_eq!((&e2e["e2e_total_ms"], &e2e["unattributed_time_ms"]), (&json!(8.0), &json!(2.0)));
    assert_eq!(e2e["finish_reason"], "stop");
    assert_eq!(line["timestamp"], "2026-01-31T12:00:00.008000Z");
    assert_eq!(line.get("warnings"), None);
}

#[test]
fn a_span_that_follows_the_request_holds_its_line() {
    let line = line(|rig| {
        let request = info_span!("request", request_id = "r");
        let stage = info_span!("stage", stage_id = 0);
        stage.follows_from(&request);
        drop(request);
        stage.in_scope(|| rig.wait_ms(4));
    });
    assert_eq!(line["stage_table"][0]["stage_gen_time_ms"], json!(4.0));
    assert_eq!(line["e2e_table"]["e2e_total_ms"], json!(4.0), "it serves this request alone");
}

#[test]
fn a_span_that_follows_a_stage_of_the_request_holds_its_line_also_when_that_stage_has_closed() {
    let line = line(|rig| {
        let request = info_span!("request", request_id = "r");
        let first = info_span!(parent: &request, "stage", stage_id = 0);
        let second = info_span!("stage", stage_id = 1);
        second.follows_from(&first);
        let third = info_span!("stage", stage_id = 2);
        third.follows_from(&second);
        drop(first);
        drop(request);
        second.in_scope(|| rig.wait_ms(1));
        drop(second);
        third.in_scope(|| rig.wait_ms(1));
    });
    assert_eq!(line["stage_table"].as_array().unwrap().len(), 3);
}

#[test]
fn a_child_holds_the_line_as_it_keeps_the_span() {
    let line = line(|rig| {
        let request = info_span!("request", request_id = "r");
        let stage = info_span!(parent: &request, "stage", stage_id = 0);
        drop(request);
        stage.in_scope(|| rig.wait_ms(1));
    });
    assert_eq!(line["stage_table"][0]["stage_gen_time_ms"], json!(1.0));
}

#[test]
fn an_id_recorded_late_holds_from_then_on_and_a_corrected_one_lets_go() {
    let lines = lines(|rig| {
        let a = info_span!("request", request_id = "a");
        let b = info_span!("request", request_id = "b");
        let stage = info_span!("stage", stage_id = 0, request_id = Empty);
        stage.record("request_id", "a");
        drop(a);
        assert_eq!(rig.log.writes().len(), 0);
        stage.record("request_id", "b");
        assert_eq!(rig.log.writes().len(), 1, "nothing holds it any more");
        drop(b);
        drop(stage);
    });
    assert_eq!(kinds(&lines), [("request", "a"), ("request", "b")]);
    assert_eq!(lines[0]["stage_table"], json!([]));
    assert_eq!(lines[1]["stage_table"].as_array().unwrap().len(), 1);
}

#[test]
fn the_tail_of_a_batch_after_the_answer_counts_for_the_row_and_not_for_the_end() {
    let lines = lines(|rig| {
        let a = info_span!("request", request_id = "a");
        let b = info_span!("request", request_id = "b");
        let batch = info_span!("stage", stage_id = 0);
        batch.follows_from(&a);
        batch.follows_from(&b);
        let entered = batch.enter();
        rig.wait_ms(10);
        drop(a);
        rig.wait_ms(5);
        drop(entered);
        drop(batch);
        rig.wait_ms(1);
        drop(b);
    });
    assert_eq!(kinds(&lines), [("request", "a"), ("request", "b")]);
    for (line, end, unattributed) in [(&lines[0], 10.0, 0.0), (&lines[1], 15.0, 0.0)] {
        let e2e = &line["e2e_table"];
        assert_eq!(line["stage_table"][0]["stage_gen_time_ms"], json!(15.0));
        assert_eq!(line["stage_table"][0]["batch_size"], json!(2));
        assert_eq!(e2e["e2e_total_ms"], json!(end));
        assert_eq!(e2e["unattributed_time_ms"], json!(unattributed));
    }
}

#[test]
fn a_batch_that_begins_after_the_answer_does_not_move_the_end() {
    let lines = lines(|rig| {
        let a = info_span!("request", request_id = "a");
        let b = info_span!("request", request_id = "b");
        a.in_scope(|| rig.wait_ms(3));
        let batch = info_span!("stage", stage_id = 0);
        batch.follows_from(&a);
        batch.follows_from(&b);
        rig.wait_ms(4);
        drop(a);
        batch.in_scope(|| rig.wait_ms(5));
        drop((batch, b));
    });
    assert_eq!(lines[0]["e2e_table"]["e2e_total_ms"], json!(3.0));
    assert_eq!(lines[0]["stage_table"][0]["stage_gen_time_ms"], json!(5.0));
    assert_eq!(lines[1]["e2e_table"]["e2e_total_ms"], json!(12.0));
}

#[test]
fn a_requests_own_part_of_a_batch_is_counted_to_its_end() {
    let lines = lines(|rig| {
        let a = info_span!("request", request_id = "a");
        let b = info_span!("request", request_id = "b");
        let batch = info_span!("stage", stage_id = 0);
        batch.follows_from(&a);
        batch.follows_from(&b);
        let entered = batch.enter();
        let part = info_span!("stage", stage_id = 0, request_id = "a", num_tokens_out = 3);
        rig.wait_ms(10);
        drop(a);
        part.in_scope(|| rig.wait_ms(2));
        drop(part);
        rig.wait_ms(3);
        drop(entered);
        drop((batch, b));
    });
    assert_eq!(kinds(&lines), [("request", "a"), ("request", "b")]);
    assert_eq!(lines[0]["e2e_table"]["e2e_total_ms"], json!(12.0), "the part is its own, the tail is not");
    let row = &lines[0]["stage_table"][0];
    assert_eq!((&row["stage_gen_time_ms"], &row["num_tokens_out"]), (&json!(15.0), &json!(3)));
}

#[test]
fn a_span_that_begins_after_the_answer_and_before_the_line_belongs_to_the_request_and_holds_it() {
    let line = line(|rig| {
        let request = info_span!("request", request_id = "r");
        let first = info_span!("stage", stage_id = 0, request_id = "r");
        drop(request);
        let second = info_span!("stage", stage_id = 1, request_id = "r");
        drop(first);
        assert_eq!(rig.log.writes().len(), 0);
        second.in_scope(|| rig.wait_ms(1));
    });
    assert_eq!(line["stage_table"].as_array().unwrap().len(), 2);
}

#[test]
fn a_span_that_begins_after_the_line_is_detached() {
    let lines = lines(|_| {
        drop(info_span!("request", request_id = "r"));
        drop(info_span!("stage", stage_id = 0, request_id = "r"));
    });
    assert_eq!(kinds(&lines), [("request", "r"), ("stage", "r")]);
}

#[test]
fn a_held_request_gets_its_row_though_a_newer_one_has_taken_its_id() {
    let lines = lines(|rig| {
        let old = info_span!("request", request_id = "r", which = "old");
        let step = info_span!("stage", stage_id = 0, request_id = "r");
        drop(old);
        rig.wait_ms(1);
        let new = info_span!("request", request_id = "r", which = "new");
        drop(step);
        drop(new);
    });
    let rows: Vec<_> = lines
        .iter()
        .map(|line| (&line["fields"]["which"], line["stage_table"].as_array().unwrap().len()))
        .collect();
    assert_eq!(rows, [(&json!("old"), 1), (&json!("new"), 0)]);
}

#[test]
fn a_wrapper_that_is_held_and_gets_no_row_emits_nothing_and_one_that_gets_a_row_is_counted() {
    for has_row in [false, true] {
        let lines = lines(|rig| {
            let outer = info_span!("request", request_id = "outer");
            let holder = info_span!("stage", stage_id = 0, request_id = "outer");
            drop(info_span!(parent: &outer, "request", request_id = "inner"));
            drop(outer);
            if !has_row {
                holder.record("request_id", "elsewhere");
            }
            drop(holder);
            assert_eq!(rig.handle.snapshot().open_requests, 0);
        });
        let of_outer = lines.iter().filter(|line| line["request_id"] == "outer").count();
        assert_eq!(of_outer, usize::from(has_row), "{lines:#?}");
    }
}

#[test]
fn a_held_request_is_counted_when_its_line_is_written() {
    let rig = Rig::new();
    rig.run(|rig| {
        let a = info_span!("request", request_id = "a");
        let holder = info_span!("stage", stage_id = 0, request_id = "a");
        drop(a);
        drop(info_span!("request", request_id = "b"));
        assert_eq!(rig.handle.snapshot().overall_summary.e2e_requests, 1);
        drop(holder);
        assert_eq!(rig.handle.snapshot().overall_summary.e2e_requests, 2);
    });
    let numbers: Vec<_> =
        rig.log.lines().iter().map(|line| line["overall_summary"]["e2e_requests"].clone()).collect();
    assert_eq!(numbers, [1, 2]);
}

#[test]
fn a_holder_that_never_closes_shows_as_an_open_request_and_the_guard_writes_the_line_as_it_stands() {
    let rig = Rig::new();
    let guard = rig.handle.summary_guard();
    let (holder, late) = {
        let _default = rig.install();
        let request = info_span!("request", request_id = "r", finish_reason = "stop", model = "m");
        info_span!(parent: &request, "stage", stage_id = 0).in_scope(|| rig.wait_ms(3));
        let holder = info_span!("stage", stage_id = 1, request_id = "r");
        let late = info_span!("stage", stage_id = 2);
        late.follows_from(&request);
        drop(request);
        (holder, late)
    };
    assert_eq!((rig.log.writes().len(), rig.handle.snapshot().open_requests), (0, 1));
    drop(guard);
    assert_eq!(rig.handle.snapshot().open_requests, 0);
    let lines = rig.log.lines();
    assert_eq!((&lines[0]["type"], &lines[1]["type"]), (&json!("request"), &json!("summary")));
    assert_eq!(lines[1]["overall_summary"]["e2e_requests"], 1);
    assert_eq!(lines[0]["e2e_table"]["e2e_total_ms"], json!(3.0));
    assert_eq!(
        (&lines[0]["fields"]["model"], lines[0]["stage_table"].as_array().unwrap().len()),
        (&json!("m"), 1)
    );
    drop((holder, late));
    let lines = rig.log.lines();
    assert_eq!(lines.len(), 4, "both rows are detached");
    assert!(lines[2..].iter().all(|line| line["type"] == "stage" && line["request_id"] == "r"));
}

#[test]
fn every_request_that_a_batch_held_has_its_line_when_the_batch_closes() {
    let lines = lines(|rig| {
        let requests: Vec<_> = (0..100).map(|id| info_span!("request", request_id = id)).collect();
        let batch = info_span!("stage", stage_id = 0);
        // Twice each, which must not hold longer.
        for request in requests.iter().chain(&requests) {
            batch.follows_from(request);
        }
        let entered = batch.enter();
        rig.wait_ms(1);
        drop(requests);
        drop(entered);
        assert_eq!((rig.log.writes().len(), rig.handle.snapshot().open_requests), (0, 100));
    });
    assert_eq!(lines.len(), 100);
    assert!(lines.iter().all(|line| line["stage_table"][0]["batch_size"] == 100));
}

#[test]
fn more_follows_than_are_kept_hold_no_line_for_ever() {
    let lines = lines(|_| {
        let requests: Vec<_> = (0..5_000).map(|id| info_span!("request", request_id = id)).collect();
        let batch = info_span!("stage", stage_id = 0);
        requests.iter().for_each(|request| {
            batch.follows_from(request);
        });
        drop(requests);
        drop(batch);
    });
    assert_eq!(lines.iter().filter(|line| line["type"] == "request").count(), 5_000);
}

#[test]
fn spans_that_follow_each_other_in_a_ring_let_the_line_go() {
    let rig = Rig::new();
    let lines = rig.run(|_| {
        let request = info_span!("request", request_id = "r");
        let (a, b) = (info_span!("stage", stage_id = 0), info_span!("stage", stage_id = 1));
        a.follows_from(&b);
        b.follows_from(&a);
        a.follows_from(&a);
        a.follows_from(&request);
        drop(request);
        drop(a);
        drop(b);
    });
    assert_eq!(kinds(&lines), [("request", "r")]);
    assert_eq!(lines[0]["stage_table"].as_array().unwrap().len(), 2);
}

#[test]
fn preprocessing_on_one_requests_part_of_a_batch_is_added() {
    let lines = lines(|rig| {
        let a = info_span!("request", request_id = "a");
        let b = info_span!("request", request_id = "b");
        let batch = info_span!("stage", stage_id = 0);
        batch.follows_from(&a);
        batch.follows_from(&b);
        batch.in_scope(|| {
            let recorded = info_span!("stage", stage_id = 0, request_id = "a", preprocess_time_ms = 2.5);
            recorded.in_scope(|| rig.wait_ms(4));
            let measured = info_span!("stage", stage_id = 0, request_id = "b");
            measured.in_scope(|| {
                info_span!("preprocess").in_scope(|| rig.wait_ms(3));
                rig.wait_ms(1);
            });
        });
        drop((batch, a, b));
    });
    assert_eq!(lines[0]["stage_table"][0]["preprocess_time_ms"], json!(2.5));
    assert_eq!(lines[1]["stage_table"][0]["preprocess_time_ms"], json!(3.0));
    for line in &lines {
        assert_eq!(line["stage_table"][0]["stage_gen_time_ms"], json!(8.0));
        assert_eq!(line.get("warnings"), None);
    }
}

#[test]
fn preprocessing_of_parts_that_ran_at_once_counts_up_to_the_stages_time() {
    let line = line(|rig| {
        let _request = info_span!("request", request_id = "r").entered();
        let _stage = info_span!("stage", stage_id = 0).entered();
        let parts = [0, 1].map(|_| info_span!("stage", stage_id = 0));
        let preprocesses = [0, 1].map(|at| info_span!(parent: &parts[at], "preprocess"));
        let entered = (preprocesses[0].enter(), preprocesses[1].enter());
        rig.time.advance(Duration::from_millis(4));
        drop(entered);
    });
    let row = &line["stage_table"][0];
    assert_eq!((&row["preprocess_time_ms"], &row["stage_gen_time_ms"]), (&json!(4.0), &json!(4.0)));
    assert!(warnings(&line)[0].contains("`preprocess_time_ms`"), "{line:#}");
}
