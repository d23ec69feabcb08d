//! Section 8 of docs/numbers.md, what a scheduler does: begin later than the span, serve several requests at
//! once, let a request wait. On a clock that the test moves.

mod support;

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use support::{Rig, line, lines, warnings};
use tracing::{Span, field::Empty, info_span};

fn members<const N: usize>(row: &Value, names: [&str; N]) -> [Value; N] {
    names.map(|name| row.get(name).cloned().unwrap_or_default())
}

/// The times of a row that a scheduler's moment changes, and two that it does not.
fn times(row: &Value) -> [Value; 4] {
    members(row, ["queue_time_ms", "start_ms", "stage_gen_time_ms", "busy_time_ms"])
}

fn stage(stage_id: u64) -> Span {
    info_span!("stage", stage_id, scheduled = Empty)
}

#[test]
fn scheduled_after_the_first_enter_takes_its_place() {
    let line = line(|rig| {
        let request = info_span!("request", request_id = "r");
        rig.wait_ms(1);
        let stage = info_span!(parent: &request, "stage", stage_id = 0, scheduled = Empty);
        rig.wait_ms(2);
        // The handler polls the stage's future, which waits for its turn.
        stage.in_scope(|| rig.wait_ms(3));
        rig.wait_ms(10);
        stage.record("scheduled", true);
        rig.wait_ms(5);
        stage.record("scheduled", true);
        stage.in_scope(|| rig.wait_ms(4));
        rig.wait_ms(7);
    });
    let row = &line["stage_table"][0];
    assert_eq!(times(row), [json!(15.0), json!(16.0), json!(9.0), json!(7.0)], "the first recording counts");
    let e2e = &line["e2e_table"];
    assert_eq!(
        members(e2e, ["queue_time_ms", "unattributed_time_ms", "waiting_time_ms", "e2e_total_ms"]),
        [json!(16.0), json!(16.0), json!(15.0), json!(25.0)]
    );
    assert_eq!(line["overall_summary"]["stage_wall_time_ms"], json!([9.0]));
}

#[test]
fn scheduled_before_the_first_enter_takes_its_place_too() {
    let line = line(|rig| {
        let request = info_span!("request", request_id = "r");
        let stage = info_span!(parent: &request, "stage", stage_id = 0, scheduled = Empty);
        rig.wait_ms(2);
        stage.record("scheduled", "any value");
        rig.wait_ms(3);
        stage.in_scope(|| rig.wait_ms(4));
        rig.wait_ms(9);
    });
    assert_eq!(times(&line["stage_table"][0]), [json!(2.0), json!(2.0), json!(7.0), json!(4.0)]);
    let e2e = &line["e2e_table"];
    assert_eq!(members(e2e, ["queue_time_ms", "unattributed_time_ms"]), [json!(2.0), json!(2.0)]);
    assert_eq!(line["overall_summary"]["stage_wall_time_ms"], json!([7.0]));
}

#[test]
fn scheduled_at_creation_leaves_no_queue() {
    let line = line(|rig| {
        let _request = info_span!("request", request_id = "r").entered();
        let stage = info_span!("stage", stage_id = 0, scheduled = false);
        rig.wait_ms(3);
        stage.in_scope(|| rig.wait_ms(4));
    });
    assert_eq!(times(&line["stage_table"][0]), [json!(0.0), json!(0.0), json!(7.0), json!(4.0)]);
    assert_eq!(line["stage_table"][0].get("waiting_time_ms"), None);
    assert_eq!(line["e2e_table"].get("waiting_time_ms"), None);
}

#[test]
fn a_scheduled_stage_that_is_never_entered_ends_when_it_closes() {
    let line = line(|rig| {
        let request = info_span!("request", request_id = "r");
        let stage = info_span!(parent: &request, "stage", stage_id = 0, scheduled = Empty);
        rig.wait_ms(2);
        stage.record("scheduled", true);
        rig.wait_ms(5);
        drop(stage);
        rig.wait_ms(3);
    });
    assert_eq!(times(&line["stage_table"][0]), [json!(2.0), json!(2.0), json!(5.0), json!(0.0)]);
    let e2e = &line["e2e_table"];
    let names = ["e2e_total_ms", "queue_time_ms", "unattributed_time_ms", "waiting_time_ms"];
    assert_eq!(members(e2e, names), [json!(7.0), json!(2.0), json!(2.0), json!(2.0)]);
}

#[test]
fn a_stage_that_is_scheduled_after_its_last_exit_ends_when_it_closes() {
    let line = line(|rig| {
        let request = info_span!("request", request_id = "r");
        let stage = info_span!(parent: &request, "stage", stage_id = 0, scheduled = Empty);
        stage.in_scope(|| rig.wait_ms(2));
        rig.wait_ms(3);
        stage.record("scheduled", true);
        rig.wait_ms(4);
        drop(stage);
        rig.wait_ms(3);
    });
    assert_eq!(times(&line["stage_table"][0]), [json!(5.0), json!(5.0), json!(4.0), json!(2.0)]);
    assert_eq!(line["e2e_table"]["e2e_total_ms"], json!(9.0));
    assert_eq!(line["e2e_table"]["unattributed_time_ms"], json!(5.0));
}

#[test]
fn busy_time_is_never_more_than_the_time_of_a_scheduled_stage() {
    let line = line(|rig| {
        let _request = info_span!("request", request_id = "r").entered();
        let stage = stage(0);
        stage.in_scope(|| {
            rig.wait_ms(10);
            stage.record("scheduled", true);
            rig.wait_ms(4);
        });
    });
    assert_eq!(times(&line["stage_table"][0]), [json!(10.0), json!(10.0), json!(4.0), json!(4.0)]);
}

#[test]
fn a_recorded_time_replaces_that_of_a_scheduled_stage_as_well() {
    let line = line(|rig| {
        let _request = info_span!("request", request_id = "r").entered();
        let stage = info_span!("stage", stage_id = 0, scheduled = Empty, stage_gen_time_ms = 100);
        rig.wait_ms(1);
        stage.record("scheduled", true);
        stage.in_scope(|| rig.wait_ms(4));
    });
    assert_eq!(times(&line["stage_table"][0]), [json!(1.0), json!(1.0), json!(100.0), json!(4.0)]);
}

#[test]
fn the_row_of_several_spans_begins_when_the_first_is_scheduled() {
    let line = line(|rig| {
        let _request = info_span!("request", request_id = "r").entered();
        let (first, second) = (stage(0), stage(0));
        for (stage, wait) in [(&first, 3), (&second, 4)] {
            stage.in_scope(|| {
                rig.wait_ms(wait);
                stage.record("scheduled", true);
                rig.wait_ms(1);
            });
        }
    });
    assert_eq!(times(&line["stage_table"][0]), [json!(3.0 + 8.0), json!(3.0), json!(2.0), json!(2.0)]);
}

#[test]
fn a_detached_stage_begins_when_it_is_scheduled() {
    let rig = Rig::new();
    let line = rig.run(|rig| {
        let stage = stage(0);
        stage.in_scope(|| {
            rig.wait_ms(3);
            stage.record("scheduled", true);
            rig.wait_ms(4);
        });
    });
    let line = &line[0];
    assert_eq!(times(line), [json!(3.0), Value::Null, json!(4.0), json!(4.0)]);
    assert_eq!(line["wall_time_ms"], json!(4.0));
    assert_eq!(line.get("waiting_time_ms"), None, "what else the request did is not known here");
    let walls = rig.handle.snapshot().overall_summary.stage_wall_time_ms;
    assert_eq!(walls.iter().map(|wall| wall.as_f64()).collect::<Vec<_>>(), [4.0]);
}

#[test]
fn scheduled_is_a_field_of_its_own_and_not_kept_under_fields() {
    let line = line(|_| {
        let _request = info_span!("request", request_id = "r").entered();
        drop(info_span!("stage", stage_id = 0, scheduled = "now", output = 1, output_media_ms = 2.0));
        drop(info_span!("transfer", from_stage = 0, to_stage = 1, scheduled = "now"));
    });
    assert_eq!(line["stage_table"][0].get("fields"), None);
    assert_eq!(line["transfer_table"][0]["fields"]["scheduled"], "now", "it is a stage's field");
    assert_eq!(warnings(&line), [""; 0]);
}

// Shares.

/// The share of a row in nanoseconds: its time where it is left out.
fn share(row: &Value) -> u64 {
    let share = row.get("share_time_ms").unwrap_or(&row["stage_gen_time_ms"]);
    (share.as_f64().unwrap() * 1e6).round() as u64
}

#[test]
fn a_batch_divides_its_time_among_its_requests() {
    let lines = lines(|rig| {
        let requests = ["a", "b", "c", "d"].map(|id| info_span!("request", request_id = id));
        let batch = stage(0);
        requests.iter().for_each(|request| {
            batch.follows_from(request);
        });
        batch.in_scope(|| rig.wait_ms(10));
        drop(batch);
        // Alone, and in a batch of itself alone.
        info_span!(parent: &requests[0], "stage", stage_id = 0).in_scope(|| rig.wait_ms(3));
        let alone = stage(1);
        alone.follows_from(&requests[1]);
        alone.in_scope(|| rig.wait_ms(5));
        drop(alone);
        drop(requests);
    });
    let shares: Vec<_> = lines.iter().map(|line| line["stage_table"][0]["share_time_ms"].clone()).collect();
    assert_eq!(shares, [5.5, 2.5, 2.5, 2.5]);
    assert_eq!(lines[0]["stage_table"][0]["stage_gen_time_ms"], json!(13.0));
    assert_eq!(lines[1]["stage_table"][1].get("share_time_ms"), None, "it equals the stage's time");
}

#[test]
fn nanoseconds_that_do_not_divide_evenly_are_handed_out_one_each() {
    let lines = lines(|rig| {
        let requests = ["a", "b", "c"].map(|id| info_span!("request", request_id = id));
        let batch = stage(0);
        requests.iter().for_each(|request| {
            batch.follows_from(request);
        });
        batch.in_scope(|| rig.time.advance(Duration::from_nanos(11)));
        drop((batch, requests));
    });
    let mut shares: Vec<_> = lines.iter().map(|line| share(&line["stage_table"][0])).collect();
    shares.sort_unstable();
    assert_eq!(shares, [3, 4, 4]);
}

#[test]
fn a_recorded_time_is_what_a_batch_divides_and_a_recorded_size_is_not() {
    let lines = lines(|rig| {
        let requests = ["a", "b"].map(|id| info_span!("request", request_id = id));
        let batch = info_span!("stage", stage_id = 0, stage_gen_time_ms = 30, batch_size = 8);
        requests.iter().for_each(|request| {
            batch.follows_from(request);
        });
        batch.in_scope(|| rig.wait_ms(10));
        drop((batch, requests));
    });
    let names = ["batch_size", "stage_gen_time_ms", "share_time_ms"];
    for line in &lines {
        assert_eq!(members(&line["stage_table"][0], names), [json!(8), json!(30.0), json!(15.0)]);
    }
}

#[test]
fn a_part_inside_of_a_batch_has_no_share_of_its_own() {
    let lines = lines(|rig| {
        let requests = ["a", "b"].map(|id| info_span!("request", request_id = id));
        let batch = stage(0);
        requests.iter().for_each(|request| {
            batch.follows_from(request);
        });
        batch.in_scope(|| info_span!("stage", stage_id = 0, request_id = "a").in_scope(|| rig.wait_ms(10)));
        drop((batch, requests));
    });
    for line in &lines {
        assert_eq!(line["stage_table"][0]["share_time_ms"], json!(5.0));
    }
}

#[test]
fn the_share_of_a_request_whose_line_is_written_is_on_its_detached_row() {
    let rig = Rig::new();
    let guard = rig.handle.summary_guard();
    let lines = rig.run(|rig| {
        let requests = ["a", "b"].map(|id| info_span!("request", request_id = id));
        let batch = stage(0);
        requests.iter().for_each(|request| {
            batch.follows_from(request);
        });
        let [a, b] = requests;
        drop(a);
        // Writes the line of the answered request as it stands.
        drop(guard);
        batch.in_scope(|| rig.wait_ms(10));
        drop((batch, b));
    });
    let detached = lines.iter().find(|line| line["type"] == "stage").expect("a detached row");
    assert_eq!((&detached["request_id"], &detached["share_time_ms"]), (&json!("a"), &json!(5.0)));
    let b = lines.iter().find(|line| line["request_id"] == "b").unwrap();
    assert_eq!(b["stage_table"][0]["share_time_ms"], json!(5.0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Batches of random requests and lengths, one after another, some with a part of a request inside.
    #[test]
    fn the_shares_of_all_requests_add_up_to_the_time_of_the_stage(
        requests in 1..12_usize,
        batches in prop::collection::vec(
            (prop::collection::vec(any::<prop::sample::Index>(), 1..15), 0..1_000_u64, any::<bool>()), 1..15),
    ) {
        let mut busy = 0;
        let rig = Rig::new();
        let lines = rig.run(|rig| {
            let spans: Vec<_> = (0..requests).map(|id| info_span!("request", request_id = id)).collect();
            for (followed, nanos, has_part) in &batches {
                let batch = stage(0);
                followed.iter().for_each(|at| {
                    batch.follows_from(&spans[at.index(requests)]);
                });
                batch.in_scope(|| {
                    rig.time.advance(Duration::from_nanos(*nanos));
                    let part = has_part.then(|| {
                        info_span!("stage", stage_id = 0, request_id = followed[0].index(requests))
                    });
                    part.as_ref().inspect(|part| part.in_scope(|| rig.time.advance(Duration::from_nanos(7))));
                });
                busy += nanos + if *has_part { 7 } else { 0 };
            }
        });
        let rows = lines.iter().flat_map(|line| line["stage_table"].as_array().unwrap());
        prop_assert_eq!(rows.map(share).sum::<u64>(), busy);
        let wall = rig.handle.snapshot().overall_summary.stage_wall_time_ms[0].as_nanos();
        prop_assert_eq!(wall, busy, "the batches ran without a pause");
    }
}

// Waiting.

/// What each stage of the line waited, the request's sum, and what is unattributed.
fn waits(line: &Value) -> (Vec<Value>, Value, Value) {
    let rows = line["stage_table"].as_array().unwrap();
    let waits = rows.iter().map(|row| row.get("waiting_time_ms").cloned().unwrap_or_default()).collect();
    let e2e = &line["e2e_table"];
    (waits, e2e.get("waiting_time_ms").cloned().unwrap_or_default(), e2e["unattributed_time_ms"].clone())
}

#[test]
fn the_time_before_a_stage_starts_is_its_waiting() {
    let line = line(|rig| {
        let _request = info_span!("request", request_id = "r").entered();
        // Nobody waits by name.
        rig.wait_ms(2);
        let stage = stage(0);
        rig.wait_ms(3);
        stage.in_scope(|| rig.wait_ms(4));
        rig.wait_ms(5);
    });
    assert_eq!(waits(&line), (vec![json!(3.0)], json!(3.0), json!(10.0)));
}

#[test]
fn an_instant_for_which_several_wait_goes_to_the_one_that_starts_first() {
    let line = line(|rig| {
        let _request = info_span!("request", request_id = "r").entered();
        let late = stage(0);
        rig.wait_ms(1);
        let early = stage(1);
        rig.wait_ms(2);
        early.in_scope(|| rig.wait_ms(4));
        rig.wait_ms(8);
        late.in_scope(|| rig.wait_ms(16));
    });
    // Stage 0 waited alone for 1 ms and for 8, and for 2 together with stage 1, which then ran for 4.
    assert_eq!(waits(&line), (vec![json!(9.0), json!(2.0)], json!(11.0), json!(11.0)));
    assert_eq!(line["stage_table"][0]["queue_time_ms"], json!(15.0));
}

#[test]
fn nothing_is_waiting_while_a_stage_a_transfer_or_a_flight_runs() {
    let line = line(|rig| {
        let _request = info_span!("request", request_id = "r").entered();
        let waiting = stage(1);
        rig.wait_ms(1);
        stage(0).in_scope(|| rig.wait_ms(10));
        rig.wait_ms(2);
        info_span!("transfer", from_stage = 0, to_stage = 1).in_scope(|| rig.wait_ms(20));
        rig.wait_ms(40);
        let rx = info_span!("transfer", from_stage = 0, to_stage = 1, phase = "rx");
        rx.in_scope(|| rig.wait_ms(80));
        rig.wait_ms(4);
        waiting.in_scope(|| rig.wait_ms(160));
    });
    assert_eq!(waits(&line), (vec![Value::Null, json!(7.0)], json!(7.0), json!(7.0)));
    assert_eq!(line["stage_table"][1]["queue_time_ms"], json!(157.0));
    assert_eq!(line["transfer_table"][0]["in_flight_time_ms"], json!(40.0));
}

#[test]
fn a_stage_that_waited_only_while_others_ran_waited_for_nothing() {
    let line = line(|rig| {
        let _request = info_span!("request", request_id = "r").entered();
        let waiting = stage(1);
        stage(0).in_scope(|| rig.wait_ms(10));
        waiting.in_scope(|| rig.wait_ms(1));
    });
    assert_eq!(waits(&line), (vec![Value::Null, json!(0.0)], json!(0.0), json!(0.0)));
}

#[test]
fn a_stage_that_never_starts_or_starts_at_once_waits_for_nobody() {
    let line = line(|rig| {
        let _request = info_span!("request", request_id = "r").entered();
        stage(0).in_scope(|| rig.wait_ms(10));
        let never = stage(1);
        rig.wait_ms(5);
        drop(never);
    });
    assert_eq!(waits(&line), (vec![Value::Null, Value::Null], Value::Null, json!(0.0)));
}

#[test]
fn a_part_of_a_stage_does_not_wait_beside_it() {
    let line = line(|rig| {
        let _request = info_span!("request", request_id = "r").entered();
        let outer = stage(0);
        let part = info_span!(parent: &outer, "stage", stage_id = 0);
        rig.wait_ms(3);
        outer.in_scope(|| {
            rig.wait_ms(2);
            part.in_scope(|| rig.wait_ms(1));
        });
    });
    assert_eq!(waits(&line), (vec![json!(3.0)], json!(3.0), json!(3.0)));
}

#[test]
fn a_part_that_starts_after_its_stage_was_left_does_not_wait_since_its_queue_is_not_the_stages() {
    let line = line(|rig| {
        let _request = info_span!("request", request_id = "r").entered();
        let outer = stage(0);
        let part = info_span!(parent: &outer, "stage", stage_id = 0);
        rig.wait_ms(3);
        outer.in_scope(|| rig.wait_ms(2));
        rig.wait_ms(4);
        part.in_scope(|| rig.wait_ms(1));
    });
    assert_eq!(line["stage_table"][0]["queue_time_ms"], json!(3.0));
    assert_eq!(waits(&line), (vec![json!(3.0)], json!(3.0), json!(7.0)));
}

#[test]
fn the_waits_of_the_spans_of_a_row_add_up() {
    let line = line(|rig| {
        let _request = info_span!("request", request_id = "r").entered();
        for wait in [2, 3, 5] {
            let stage = stage(0);
            rig.wait_ms(wait);
            stage.in_scope(|| rig.wait_ms(1));
        }
    });
    assert_eq!(waits(&line), (vec![json!(10.0)], json!(10.0), json!(10.0)));
}

#[test]
fn a_batch_waits_in_each_of_its_requests_and_not_before_they_came() {
    let lines = lines(|rig| {
        let a = info_span!("request", request_id = "a");
        let batch = stage(0);
        rig.wait_ms(3);
        let b = info_span!("request", request_id = "b");
        batch.follows_from(&a);
        batch.follows_from(&b);
        rig.wait_ms(4);
        batch.in_scope(|| rig.wait_ms(1));
        drop((batch, a, b));
    });
    assert_eq!(waits(&lines[0]), (vec![json!(7.0)], json!(7.0), json!(7.0)));
    assert_eq!(waits(&lines[1]), (vec![json!(4.0)], json!(4.0), json!(4.0)));
    assert_eq!(lines[1]["stage_table"][0]["queue_time_ms"], json!(7.0), "it is the span's");
}

#[test]
fn a_batch_that_starts_after_the_answer_keeps_the_request_waiting_until_its_end() {
    let lines = lines(|rig| {
        let requests = ["a", "b"].map(|id| info_span!("request", request_id = id));
        let batch = stage(0);
        requests.iter().for_each(|request| {
            batch.follows_from(request);
        });
        let [a, b] = requests;
        rig.wait_ms(2);
        a.in_scope(|| rig.wait_ms(3));
        drop(a);
        rig.wait_ms(4);
        batch.in_scope(|| rig.wait_ms(5));
        drop((batch, b));
    });
    assert_eq!(waits(&lines[0]), (vec![json!(5.0)], json!(5.0), json!(5.0)));
    assert_eq!(waits(&lines[1]), (vec![json!(9.0)], json!(9.0), json!(9.0)));
}

#[test]
fn stages_that_start_at_once_share_no_instant_and_the_order_of_their_closing_does_not_matter() {
    for is_reversed in [false, true] {
        let line = line(|rig| {
            let _request = info_span!("request", request_id = "r").entered();
            let mut stages = [0, 1, 2].map(stage);
            rig.wait_ms(6);
            stages.iter().for_each(|stage| stage.in_scope(|| ()));
            rig.wait_ms(1);
            if is_reversed {
                stages.reverse();
            }
            stages.into_iter().for_each(drop);
        });
        let expected = vec![json!(6.0), json!(0.0), json!(0.0)];
        assert_eq!(waits(&line), (expected, json!(6.0), json!(7.0)), "of equals, the smallest id");
    }
}

#[test]
fn past_sixty_four_waits_the_shortest_are_left_out() {
    let line = line(|rig| {
        let _request = info_span!("request", request_id = "r").entered();
        for wait in 1..=100 {
            let stage = stage(0);
            rig.wait_ms(wait);
            stage.in_scope(|| rig.wait_ms(1));
        }
    });
    let (rows, e2e, unattributed) = waits(&line);
    assert_eq!(rows[0], e2e);
    let (waited, unattributed) = (e2e.as_f64().unwrap(), unattributed.as_f64().unwrap());
    assert!(waited <= unattributed && unattributed <= 5050.0, "{waited} {unattributed}");
    assert!(waited > 4_000.0, "the long ones are there: {waited}");
}

// The line of an open request.

#[test]
fn the_line_of_an_open_request_has_what_has_closed_so_far() {
    let rig = Rig::new();
    rig.run(|rig| {
        let request = info_span!("request", request_id = "r", finish_reason = Empty, model = "m", limit = -1);
        let entered = request.enter();
        rig.wait_ms(2);
        let waiting = stage(0);
        rig.wait_ms(3);
        waiting.in_scope(|| rig.wait_ms(4));
        drop(waiting);
        let open = info_span!("stage", stage_id = 1, output = 5).entered();
        tracing::error!("half of it");
        rig.wait_ms(5);
        let line = rig.handle.request("r").unwrap();
        assert_eq!(line.request_id, "r");
        assert_eq!(line.e2e_table.e2e_total_ms.as_f64(), 14.0, "it ends now");
        assert_eq!(line.e2e_table.unattributed_time_ms.as_f64(), 10.0, "stage 1 has not closed");
        assert_eq!(line.e2e_table.waiting_time_ms.unwrap().as_f64(), 3.0);
        assert_eq!(line.e2e_table.errors, Some(1));
        assert_eq!(line.e2e_table.error.as_deref(), Some("half of it"));
        assert_eq!(line.e2e_table.finish_reason, None, "it may still get one");
        assert_eq!(line.stage_table.len(), 1);
        assert_eq!(line.fields["model"].to_string(), "m");
        assert_eq!(line.overall_summary.e2e_requests, 0);
        assert_eq!(serde_json::to_value(line.timestamp).unwrap(), "2026-01-31T12:00:00.014000Z");
        request.record("finish_reason", "stop");
        assert_eq!(rig.handle.request("r").unwrap().e2e_table.finish_reason.as_deref(), Some("stop"));
        drop((open, entered));
    });
    let lines = rig.log.lines();
    assert_eq!(lines.len(), 1, "looking writes nothing");
    assert_eq!(lines[0]["e2e_table"]["errors"], 1, "and takes nothing away");
    assert_eq!(lines[0]["e2e_table"]["error"], "half of it");
    assert_eq!(lines[0]["stage_table"][0]["waiting_time_ms"], json!(3.0));
    assert_eq!(lines[0]["fields"]["model"], "m");
    assert_eq!(rig.handle.request("r"), None, "its line is written");
}

#[test]
fn looking_at_a_request_many_times_changes_nothing_in_its_line() {
    let program = |rig: &Rig, look: &dyn Fn()| {
        let _request = info_span!("request", request_id = "r", finish_reason = Empty).entered();
        for phase in ["tx", "rx"] {
            for _ in 0..3 {
                rig.wait_ms(1);
                let edge = info_span!("transfer", from_stage = 0, to_stage = 1, phase);
                rig.wait_ms(2);
                edge.in_scope(|| rig.wait_ms(3));
                drop(edge);
                look();
                let stage = info_span!("stage", stage_id = 0, output = 2, output_media_ms = 1.5);
                rig.wait_ms(1);
                stage.in_scope(|| rig.wait_ms(1));
                drop(stage);
                look();
            }
        }
    };
    let alone = line(|rig| program(rig, &|| ()));
    let looked_at = line(|rig| program(rig, &|| assert!(rig.handle.request("r").is_some())));
    assert_eq!(alone, looked_at);
}

/// Which stages of the only open request wait in their queue.
fn waiting(rig: &Rig) -> Vec<bool> {
    let open = rig.handle.open_requests(1);
    open[0].open_stages.iter().map(|stage| stage.is_waiting).collect()
}

#[test]
fn an_open_stage_that_declares_scheduled_waits_until_it_is_recorded_entered_or_not() {
    let rig = Rig::new();
    rig.run(|rig| {
        let request = info_span!("request", request_id = "r");
        let scheduled = info_span!(parent: &request, "stage", stage_id = 0, scheduled = Empty);
        assert_eq!(waiting(rig), [true]);
        // A future is polled once, and waits for its scheduler.
        scheduled.in_scope(|| assert_eq!(waiting(rig), [true]));
        assert_eq!(waiting(rig), [true]);
        scheduled.record("scheduled", true);
        assert_eq!(waiting(rig), [false]);
    });
}

#[test]
fn an_open_stage_that_is_scheduled_and_not_yet_entered_does_not_wait() {
    let rig = Rig::new();
    rig.run(|rig| {
        let request = info_span!("request", request_id = "r");
        let _stage = info_span!(parent: &request, "stage", stage_id = 0, scheduled = true);
        assert_eq!(waiting(rig), [false]);
    });
}

#[test]
fn an_open_stage_that_does_not_declare_scheduled_waits_until_it_is_entered() {
    let rig = Rig::new();
    rig.run(|rig| {
        let request = info_span!("request", request_id = "r");
        let stage = info_span!(parent: &request, "stage", stage_id = 0, output = Empty);
        stage.record("output", 1);
        assert_eq!(waiting(rig), [true]);
        stage.in_scope(|| assert_eq!(waiting(rig), [false]));
        assert_eq!(waiting(rig), [false]);
    });
}

#[test]
fn an_unknown_an_unnamed_and_a_renamed_request() {
    let rig = Rig::new();
    rig.run(|rig| {
        assert_eq!(rig.handle.request("r"), None);
        let unnamed = info_span!("request", request_id = Empty);
        assert_eq!(rig.handle.request(""), None);
        unnamed.record("request_id", "first");
        assert!(rig.handle.request("first").is_some());
        unnamed.record("request_id", "second");
        assert_eq!(rig.handle.request("first"), None);
        rig.wait_ms(3);
        let line = rig.handle.request("second").unwrap();
        assert_eq!((line.request_id.as_str(), line.e2e_table.e2e_total_ms.as_f64()), ("second", 3.0));
    });
}

#[test]
fn of_several_requests_with_an_id_the_newest_is_meant() {
    let rig = Rig::new();
    rig.run(|rig| {
        let old = info_span!("request", request_id = "r", which = "old");
        let new = info_span!("request", request_id = "r", which = "new");
        let which = || rig.handle.request("r").map(|line| line.fields["which"].to_string());
        assert_eq!(which().as_deref(), Some("new"));
        drop(new);
        assert_eq!(which().as_deref(), Some("old"));
        drop(old);
        assert_eq!(which(), None);
    });
}

#[test]
fn the_line_of_an_answered_request_ends_at_its_end() {
    let rig = Rig::new();
    rig.run(|rig| {
        let request = info_span!("request", request_id = "r", finish_reason = Empty, model = "m");
        request.in_scope(|| rig.wait_ms(4));
        let holder = info_span!("stage", stage_id = 0, request_id = "r");
        rig.wait_ms(1);
        drop(request);
        rig.wait_ms(10);
        let line = rig.handle.request("r").unwrap();
        assert_eq!(line.e2e_table.e2e_total_ms.as_f64(), 4.0);
        assert_eq!(
            line.e2e_table.finish_reason.as_deref(),
            Some("abort"),
            "nothing can be recorded any more"
        );
        assert_eq!((line.fields["model"].to_string(), line.stage_table.len()), ("m".to_owned(), 0));
        holder.in_scope(|| rig.wait_ms(2));
        drop(holder);
        assert_eq!(rig.handle.request("r"), None);
    });
    let lines = rig.log.lines();
    assert_eq!(lines[0]["e2e_table"]["e2e_total_ms"], json!(17.0));
    assert_eq!(lines[0]["stage_table"][0]["waiting_time_ms"], json!(11.0));
}
