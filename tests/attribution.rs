//! Section 2 of docs/numbers.md: which request a row belongs to, and how rows merge.

mod support;

use std::thread;

use serde_json::{Value, json};
use support::{Rig, line, lines, warnings};
use tracing::{debug_span, field::Empty, info_span};

fn row_count(line: &Value, table: &str) -> usize {
    line[table].as_array().unwrap().len()
}

#[test]
fn a_request_id_of_its_own_comes_before_the_enclosing_request() {
    let lines = lines(|_| {
        let a = info_span!("request", request_id = "a");
        let b = info_span!("request", request_id = "b");
        b.in_scope(|| drop(info_span!("stage", stage_id = 0, request_id = "a")));
        drop((a, b));
    });
    assert_eq!(lines[0]["request_id"], "a");
    assert_eq!((row_count(&lines[0], "stage_table"), row_count(&lines[1], "stage_table")), (1, 0));
}

#[test]
fn the_id_may_be_recorded_late_on_either_side_and_be_of_another_type() {
    let line = line(|_| {
        let request = info_span!("request", request_id = Empty);
        let stage = info_span!("stage", stage_id = 0, request_id = Empty);
        stage.record("request_id", 7_u64);
        request.record("request_id", "not yet");
        request.record("request_id", "7");
        drop(stage);
    });
    assert_eq!((&line["request_id"], row_count(&line, "stage_table")), (&json!("7"), 1));
}

#[test]
fn a_corrected_id_leaves_nothing_behind() {
    let lines = lines(|_| {
        let request = info_span!("request", request_id = "wrong");
        request.record("request_id", "right");
        drop(info_span!("stage", stage_id = 0, request_id = "wrong"));
    });
    assert_eq!((&lines[0]["type"], &lines[0]["request_id"]), (&json!("stage"), &json!("wrong")));
    assert_eq!(row_count(&lines[1], "stage_table"), 0);
}

#[test]
fn of_several_open_requests_with_one_id_the_newest_gets_the_row() {
    let lines = lines(|rig| {
        let old = info_span!("request", request_id = "r", which = "old");
        rig.wait_ms(1);
        let new = info_span!("request", request_id = "r", which = "new");
        drop(info_span!("stage", stage_id = 0, request_id = "r"));
        drop(new);
        drop(info_span!("stage", stage_id = 1, request_id = "r"));
        drop(old);
    });
    assert_eq!(
        (&lines[0]["fields"]["which"], &lines[0]["stage_table"][0]["stage_id"]),
        (&json!("new"), &json!(0))
    );
    assert_eq!(
        (&lines[1]["fields"]["which"], &lines[1]["stage_table"][0]["stage_id"]),
        (&json!("old"), &json!(1))
    );
}

#[test]
fn long_ids_meet_after_both_are_cut() {
    let id = "i".repeat(300);
    let line = line(|_| {
        let _request = info_span!("request", request_id = id);
        drop(info_span!("stage", stage_id = 0, request_id = id));
    });
    assert_eq!(row_count(&line, "stage_table"), 1);
}

#[test]
fn an_id_that_is_not_open_falls_back_to_the_enclosing_request() {
    let line = line(|_| {
        let _request = info_span!("request", request_id = "open").entered();
        drop(info_span!("stage", stage_id = 0, request_id = "elsewhere"));
    });
    assert_eq!((&line["request_id"], row_count(&line, "stage_table")), (&json!("open"), 1));
    let warnings = warnings(&line);
    assert!(warnings[0].contains("`request_id`") && warnings[0].contains("`elsewhere`"), "{warnings:?}");
}

#[test]
fn a_batch_inside_a_request_is_that_requests_own_and_says_so() {
    let lines = lines(|_| {
        let (a, b) = (info_span!("request", request_id = "a"), info_span!("request", request_id = "b"));
        a.in_scope(|| {
            let batch = info_span!("stage", stage_id = 0);
            batch.follows_from(&a);
            batch.follows_from(&b);
        });
        drop((a, b));
    });
    assert_eq!((row_count(&lines[0], "stage_table"), row_count(&lines[1], "stage_table")), (1, 0));
    let warnings = warnings(&lines[0]);
    assert!(warnings[0].contains("`follows_from`"), "{warnings:?}");
}

#[test]
fn following_ones_own_request_warns_of_nothing() {
    let line = line(|_| {
        let request = info_span!("request", request_id = "a");
        request.in_scope(|| {
            let first = info_span!("stage", stage_id = 0);
            info_span!("stage", stage_id = 1).follows_from(&first);
        });
    });
    assert_eq!(line.get("warnings"), None);
}

#[test]
fn the_nearest_enclosing_request_is_found_through_foreign_spans_and_threads() {
    let lines = lines(|_| {
        let outer = info_span!("request", request_id = "outer");
        drop(info_span!(parent: &outer, "stage", stage_id = 9));
        let inner = info_span!(parent: &outer, "request", request_id = "inner");
        let foreign = info_span!(parent: &inner, "http.handler");
        let worker = info_span!(parent: &foreign, "worker");
        let dispatch = tracing::dispatcher::get_default(Clone::clone);
        thread::spawn(move || {
            let _default = tracing::dispatcher::set_default(&dispatch);
            let _worker = worker.entered();
            drop(info_span!("stage", stage_id = 0));
        })
        .join()
        .unwrap();
        drop((foreign, inner, outer));
    });
    assert_eq!(
        (&lines[0]["request_id"], &lines[0]["stage_table"][0]["stage_id"]),
        (&json!("inner"), &json!(0))
    );
    assert_eq!(
        (&lines[1]["request_id"], &lines[1]["stage_table"][0]["stage_id"]),
        (&json!("outer"), &json!(9))
    );
}

#[test]
fn the_lineage_level_decides_which_foreign_spans_carry_a_request() {
    let program = |_: &Rig| {
        let request = info_span!("request", request_id = "r");
        let foreign = debug_span!(parent: &request, "foreign");
        drop(info_span!(parent: &foreign, "stage", stage_id = 0));
        drop(foreign);
    };
    let at_info = Rig::new().run(program);
    assert_eq!(at_info[0]["type"], "stage", "an explicit parent that no layer wants makes a root");
    let at_debug =
        Rig::with(|layer| layer.with_lineage_level(tracing::level_filters::LevelFilter::DEBUG)).run(program);
    assert_eq!((&at_debug[0]["type"], at_debug.len()), (&json!("request"), 1));
}

#[test]
fn a_batch_gives_every_followed_request_the_row() {
    let lines = lines(|rig| {
        let a = info_span!("request", request_id = "a");
        rig.wait_ms(5);
        let b = info_span!("request", request_id = "b");
        let handler = info_span!(parent: &b, "handler");
        let batch = info_span!("stage", stage_id = 0, batch_id = 3);
        batch.follows_from(&a);
        batch.follows_from(&handler);
        batch.follows_from(&b);
        batch.in_scope(|| rig.wait_ms(10));
        drop(batch);
        drop(handler);
        drop((a, b));
    });
    assert_eq!(lines.len(), 2);
    for (line, start) in lines.iter().zip([5.0, 0.0]) {
        let row = &line["stage_table"][0];
        assert_eq!((&row["batch_size"], &row["batch_id"]), (&json!(2), &json!(3)));
        assert_eq!((&row["stage_gen_time_ms"], &row["start_ms"]), (&json!(10.0), &json!(start)));
    }
}

#[test]
fn the_last_batch_size_counts_recorded_or_not() {
    let lines = lines(|_| {
        let (a, b) = (info_span!("request", request_id = "a"), info_span!("request", request_id = "b"));
        for recorded in [Some(8), None] {
            let batch = info_span!("stage", stage_id = 0, batch_size = recorded);
            batch.follows_from(&a);
            batch.follows_from(&b);
        }
        drop((a, b));
    });
    assert_eq!(lines[0]["stage_table"][0]["batch_size"], json!(2));
}

#[test]
fn the_part_of_a_request_that_left_its_batch_has_no_times_of_its_own() {
    let lines = lines(|rig| {
        let (a, b) = (info_span!("request", request_id = "a"), info_span!("request", request_id = "b"));
        let batch = info_span!("stage", stage_id = 0);
        batch.follows_from(&a);
        batch.follows_from(&b);
        batch.in_scope(|| {
            let part = info_span!("stage", stage_id = 0, request_id = "a", num_tokens_out = 3);
            part.in_scope(|| rig.wait_ms(10));
            drop(a);
            // Writes the line that batch and part hold.
            drop(rig.handle.summary_guard());
        });
        drop(batch);
        drop(b);
    });
    let of_a: Vec<_> = lines.iter().filter(|line| line["type"] == "stage").collect();
    assert!(of_a.iter().all(|line| line["request_id"] == "a"), "{of_a:#?}");
    let times: Vec<_> = of_a.iter().map(|line| &line["stage_gen_time_ms"]).collect();
    assert_eq!(times, [&Value::Null, &json!(10.0)], "the batch's row has the time");
}

#[test]
fn following_one_request_many_times_is_following_it_once() {
    let lines = lines(|_| {
        let (a, b) = (info_span!("request", request_id = "a"), info_span!("request", request_id = "b"));
        let batch = info_span!("stage", stage_id = 0);
        for _ in 0..5_000 {
            batch.follows_from(&a);
        }
        batch.follows_from(&b);
        drop(batch);
        drop((a, b));
    });
    assert!(lines.iter().all(|line| row_count(line, "stage_table") == 1 && line.get("warnings").is_none()));
}

#[test]
fn a_recorded_batch_size_stands() {
    let lines = lines(|_| {
        let (a, b) = (info_span!("request", request_id = "a"), info_span!("request", request_id = "b"));
        let batch = info_span!("stage", stage_id = 0, batch_size = 8);
        batch.follows_from(&a);
        batch.follows_from(&b);
    });
    assert_eq!(lines[0]["stage_table"][0]["batch_size"], json!(8));
}

#[test]
fn tokens_of_a_batch_go_to_no_row_and_a_requests_own_come_from_a_stage_inside() {
    let lines = lines(|rig| {
        let a = info_span!("request", request_id = "a");
        let b = info_span!("request", request_id = "b");
        let batch = info_span!("stage", stage_id = 0, num_tokens_out = 100);
        batch.follows_from(&a);
        batch.follows_from(&b);
        batch.in_scope(|| {
            let own_a =
                info_span!("stage", stage_id = 0, request_id = "a", num_tokens_in = 3, num_tokens_out = 30);
            let own_b = info_span!("stage", stage_id = 0, request_id = "b", num_tokens_out = 70);
            own_a.in_scope(|| rig.wait_ms(4));
            own_b.in_scope(|| rig.wait_ms(6));
        });
        drop(batch);
        drop((a, b));
    });
    for (line, tokens) in lines.iter().zip([(json!(3), json!(30)), (Value::Null, json!(70))]) {
        let row = &line["stage_table"][0];
        assert_eq!((&row["num_tokens_in"], &row["num_tokens_out"]), (&tokens.0, &tokens.1));
        assert_eq!((&row["stage_gen_time_ms"], &row["events"]), (&json!(10.0), &json!(2)));
        assert_eq!(row["batch_size"], json!(2));
        let warnings = warnings(line);
        assert_eq!(warnings.len(), 1);
        for part in ["`stage`", "`num_tokens_out`", "`100`"] {
            assert!(warnings[0].contains(part), "{warnings:?}");
        }
    }
}

#[test]
fn a_batch_of_one_is_the_requests_own() {
    let line = line(|_| {
        let request = info_span!("request", request_id = "a");
        let batch = info_span!("stage", stage_id = 0, num_tokens_out = 5);
        batch.follows_from(&request);
    });
    assert_eq!(line["stage_table"][0]["num_tokens_out"], json!(5));
    assert_eq!(line["stage_table"][0]["batch_size"], json!(1));
    assert_eq!(line.get("warnings"), None);
}

#[test]
fn following_a_stage_is_following_its_requests_also_when_it_has_closed() {
    let lines = lines(|_| {
        let a = info_span!("request", request_id = "a");
        let b = info_span!("request", request_id = "b");
        let of_a = info_span!(parent: &a, "stage", stage_id = 0);
        let of_b = info_span!("stage", stage_id = 0, request_id = "b");
        let batch = info_span!("stage", stage_id = 1);
        batch.follows_from(&of_a);
        batch.follows_from(&of_b);
        drop((of_a, of_b));
        let next = info_span!("transfer", from_stage = 1, to_stage = 2);
        next.follows_from(&batch);
        drop(batch);
        drop(next);
        drop((a, b));
    });
    assert_eq!(lines.len(), 2);
    for line in &lines {
        assert_eq!((row_count(line, "stage_table"), row_count(line, "transfer_table")), (2, 1), "{line:#}");
    }
}

#[test]
fn spans_that_follow_each_other_in_a_ring_do_no_harm() {
    let rig = Rig::new();
    let lines = rig.run(|_| {
        let (a, b) = (info_span!("stage", stage_id = 0), info_span!("stage", stage_id = 1));
        a.follows_from(&b);
        b.follows_from(&a);
        a.follows_from(&a);
    });
    assert_eq!(lines.iter().filter(|line| line["type"] == "stage").count(), 2);
}

#[test]
fn a_batch_leaves_a_detached_row_for_a_request_whose_line_is_written() {
    let lines = lines(|rig| {
        let a = info_span!("request", request_id = "a");
        let b = info_span!("request", request_id = "b");
        let batch = info_span!("stage", stage_id = 0);
        batch.follows_from(&a);
        batch.follows_from(&b);
        drop(b);
        drop(rig.handle.summary_guard());
        drop(batch);
        drop(a);
    });
    let kinds: Vec<_> = lines.iter().map(|line| (&line["type"], &line["request_id"])).collect();
    let (stage, request) = (json!("stage"), json!("request"));
    let summary = (&json!("summary"), &Value::Null);
    assert_eq!(kinds, [(&request, &json!("b")), summary, (&stage, &json!("b")), (&request, &json!("a"))]);
    assert_eq!(lines[2]["batch_size"], json!(2));
}

#[test]
fn without_an_open_request_a_row_is_detached_and_keeps_its_id() {
    let lines = lines(|rig| {
        rig.wait_ms(1_000);
        let stage = info_span!(
            "stage",
            stage_id = 2,
            request_id = "far",
            num_tokens_out = 3,
            first_output = Empty,
            gpu = 1
        );
        rig.wait_ms(1);
        stage.in_scope(|| {
            rig.wait_ms(2);
            stage.record("first_output", true);
            rig.wait_ms(4);
        });
        drop(stage);
        drop(info_span!("transfer", from_stage = 0, to_stage = 1, size_bytes = -1));
    });
    assert_eq!(
        lines[0],
        json!({"type": "stage", "schema": 1, "timestamp": "2026-01-31T12:00:01.007000Z", "request_id": "far",
            "stage_id": 2, "batch_id": null, "batch_size": null, "num_tokens_in": null, "num_tokens_out": 3,
            "preprocess_time_ms": null, "stage_gen_time_ms": 6.0, "busy_time_ms": 6.0, "queue_time_ms": 1.0,
            "start_ms": null, "wall_time_ms": 6.0, "first_output_after_ms": 2.0, "time_per_output_token_ms": 2.0, "events": 1, "fields": {"gpu": 1}})
    );
    assert_eq!((&lines[1]["type"], &lines[1]["request_id"]), (&json!("transfer"), &Value::Null));
    assert_eq!(warnings(&lines[1]).len(), 1);
}

#[test]
fn spans_of_one_stage_or_edge_merge_into_one_row() {
    let line = line(|rig| {
        let _request = info_span!("request", request_id = "r").entered();
        for chunk in 0..3_u64 {
            let stage = info_span!(
                "stage",
                stage_id = 0,
                batch_id = chunk,
                num_tokens_out = 2,
                stage_name = format!("s{chunk}"),
                chunk
            );
            rig.wait_ms(1);
            stage.in_scope(|| rig.wait_ms(10));
            let _transfer = info_span!("transfer", from_stage = 0, to_stage = 1, size_bytes = 7).entered();
            rig.wait_ms(2);
        }
    });
    let stage = &line["stage_table"][0];
    assert_eq!(
        (&stage["events"], &stage["num_tokens_out"], &stage["batch_id"]),
        (&json!(3), &json!(6), &json!(2))
    );
    assert_eq!((&stage["stage_gen_time_ms"], &stage["queue_time_ms"]), (&json!(30.0), &json!(3.0)));
    assert_eq!((&stage["stage_name"], &stage["fields"]), (&json!("s2"), &json!({"chunk": 2})));
    assert_eq!(stage["start_ms"], json!(1.0));
    let transfer = &line["transfer_table"][0];
    assert_eq!(
        (&transfer["events"], &transfer["size_bytes"], &transfer["tx_time_ms"]),
        (&json!(3), &json!(21), &json!(6.0))
    );
}

#[test]
fn a_stage_inside_the_same_stage_adds_counts_but_no_times() {
    let line = line(|rig| {
        let _request = info_span!("request", request_id = "r").entered();
        let _outer = info_span!("stage", stage_id = 0, num_tokens_out = 1).entered();
        rig.wait_ms(2);
        let _between = info_span!("stage", stage_id = 1).entered();
        let inner = info_span!("stage", stage_id = 0, num_tokens_out = 4);
        rig.wait_ms(1);
        inner.in_scope(|| rig.wait_ms(3));
    });
    let (outer, between) = (&line["stage_table"][0], &line["stage_table"][1]);
    assert_eq!((&outer["events"], &outer["num_tokens_out"]), (&json!(2), &json!(5)));
    assert_eq!((&outer["stage_gen_time_ms"], &outer["busy_time_ms"]), (&json!(6.0), &json!(6.0)));
    assert_eq!((&outer["queue_time_ms"], &outer["start_ms"]), (&json!(0.0), &json!(0.0)));
    assert_eq!(between["stage_gen_time_ms"], json!(4.0));
}

#[test]
fn a_stage_inside_the_same_stage_of_nobody_keeps_its_times() {
    let lines = lines(|rig| {
        let request = info_span!("request", request_id = "r");
        let engine = info_span!("stage", stage_id = 0).entered();
        info_span!("stage", stage_id = 0, request_id = "r").in_scope(|| rig.wait_ms(3));
        drop(request);
        drop(engine);
    });
    assert_eq!(
        lines[0]["stage_table"][0]["stage_gen_time_ms"],
        json!(3.0),
        "the outer one has no row in this request"
    );
}

#[test]
fn a_stage_or_transfer_without_usable_ids_keeps_a_row_with_null_and_a_warning() {
    let line = line(|rig| {
        let _request = info_span!("request", request_id = "r").entered();
        info_span!("stage", num_tokens_out = 3).in_scope(|| rig.wait_ms(2));
        drop(info_span!("stage", stage_id = "one"));
        drop(info_span!("stage", stage_id = 5));
        drop(info_span!("transfer", to_stage = 1, size_bytes = 3));
        drop(info_span!("transfer", from_stage = 0, to_stage = 1));
    });
    let ids: Vec<_> = line["stage_table"].as_array().unwrap().iter().map(|row| &row["stage_id"]).collect();
    assert_eq!(ids, [&json!(5), &Value::Null]);
    assert_eq!(line["stage_table"][1]["events"], json!(2));
    assert_eq!(line["transfer_table"][1]["from_stage"], Value::Null);
    assert_eq!(line["transfer_table"][1]["to_stage"], json!(1));
    assert_eq!(line["e2e_table"]["e2e_total_tokens"], json!(3));
    assert_eq!(line["e2e_table"]["transfers_total_bytes"], json!(3));
    // An id that can't be used says so itself.
    assert_eq!(warnings(&line).len(), 3, "{:?}", warnings(&line));
}

#[test]
fn rows_are_ordered_by_stage_id_and_edges_by_their_ends() {
    let line = line(|_| {
        let _request = info_span!("request", request_id = "r").entered();
        for id in [4_u64, 0, 2] {
            drop(info_span!("stage", stage_id = id));
        }
        for (from, to) in [(1, 2), (0, 2), (0, 1)] {
            drop(info_span!("transfer", from_stage = from, to_stage = to));
        }
    });
    let stages: Vec<_> =
        line["stage_table"].as_array().unwrap().iter().map(|row| row["stage_id"].clone()).collect();
    assert_eq!(stages, [0, 2, 4]);
    let edges: Vec<_> = line["transfer_table"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| json!([row["from_stage"], row["to_stage"]]))
        .collect();
    assert_eq!(edges, [json!([0, 1]), json!([0, 2]), json!([1, 2])]);
}
