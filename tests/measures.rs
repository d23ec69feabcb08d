//! Section 3 of docs/numbers.md: every number, exact, on a clock that the test moves.

mod support;

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

use serde_json::{Value, json};
use support::{Rig, line, lines, warnings};
use tracing::{Instrument, field::Empty, info_span};

/// A future that is pending once, and lets `millis` pass in each of its polls.
struct TwoPolls<'a> {
    rig: &'a Rig,
    millis: u64,
    is_polled: bool,
}

impl Future for TwoPolls<'_> {
    type Output = ();

    fn poll(mut self: std::pin::Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        self.rig.wait_ms(self.millis);
        if std::mem::replace(&mut self.is_polled, true) { Poll::Ready(()) } else { Poll::Pending }
    }
}

fn two_polls(rig: &Rig, millis: u64) -> TwoPolls<'_> {
    TwoPolls { rig, millis, is_polled: false }
}

fn poll_once(future: std::pin::Pin<&mut impl Future<Output = ()>>) -> bool {
    future.poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

#[test]
fn the_wait_of_an_async_stage_counts_and_busy_time_does_not_have_it() {
    let line = line(|rig| {
        let request = info_span!("request", request_id = "r");
        let stage = info_span!(parent: &request, "stage", stage_id = 0);
        rig.wait_ms(3);
        {
            let mut work = pin!(two_polls(rig, 1).instrument(stage));
            assert!(!poll_once(work.as_mut()));
            rig.wait_ms(948);
            assert!(poll_once(work.as_mut()));
        }
        rig.wait_ms(50);
    });
    let row = &line["stage_table"][0];
    assert_eq!((&row["stage_gen_time_ms"], &row["busy_time_ms"]), (&json!(950.0), &json!(2.0)));
    assert_eq!((&row["queue_time_ms"], &row["start_ms"]), (&json!(3.0), &json!(3.0)));
    assert_eq!(line["e2e_table"]["e2e_total_ms"], json!(953.0));
    assert_eq!(line["e2e_table"]["queue_time_ms"], json!(3.0));
    assert_eq!(line["e2e_table"]["unattributed_time_ms"], json!(3.0));
}

#[test]
fn a_future_kept_after_it_is_done_extends_its_span_until_it_is_dropped() {
    // `Instrumented` enters its span to drop the future inside, as it does for one that is
    // cancelled; the two can't be told apart from here.
    let line = line(|rig| {
        let _request = info_span!("request", request_id = "r").entered();
        let mut work = Box::pin(two_polls(rig, 1).instrument(info_span!("stage", stage_id = 0)));
        assert!(!poll_once(work.as_mut()) && poll_once(work.as_mut()));
        rig.wait_ms(10);
        drop(work);
    });
    assert_eq!(line["stage_table"][0]["stage_gen_time_ms"], json!(12.0));
    assert_eq!(line["stage_table"][0]["busy_time_ms"], json!(2.0));
}

#[test]
fn nested_and_concurrent_enters_count_once() {
    let line = line(|rig| {
        let _request = info_span!("request", request_id = "r").entered();
        let stage = info_span!("stage", stage_id = 0);
        let (first, second) = (stage.enter(), stage.enter());
        rig.wait_ms(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _third = stage.enter();
                rig.wait_ms(3);
            });
        });
        drop(first);
        rig.wait_ms(5);
        drop(second);
        rig.wait_ms(7);
        stage.in_scope(|| rig.wait_ms(1));
    });
    let row = &line["stage_table"][0];
    assert_eq!((&row["stage_gen_time_ms"], &row["busy_time_ms"]), (&json!(18.0), &json!(11.0)));
}

#[test]
fn a_span_that_was_never_entered_counts_from_creation_to_close() {
    let line = line(|rig| {
        let request = info_span!("request", request_id = "r");
        rig.wait_ms(1);
        let stage = info_span!(parent: &request, "stage", stage_id = 0);
        let transfer = info_span!(parent: &request, "transfer", from_stage = 0, to_stage = 1);
        rig.wait_ms(4);
        drop(stage);
        rig.wait_ms(2);
        drop(transfer);
        rig.wait_ms(1);
    });
    let (stage, transfer) = (&line["stage_table"][0], &line["transfer_table"][0]);
    assert_eq!((&stage["stage_gen_time_ms"], &stage["busy_time_ms"]), (&json!(4.0), &json!(0.0)));
    assert_eq!((&stage["queue_time_ms"], &stage["start_ms"]), (&Value::Null, &Value::Null));
    assert_eq!((&transfer["tx_time_ms"], &transfer["start_ms"]), (&json!(6.0), &Value::Null));
    assert_eq!(line["e2e_table"]["e2e_total_ms"], json!(8.0), "nothing was entered: the close is the end");
    assert_eq!(line["e2e_table"]["queue_time_ms"], Value::Null);
    assert_eq!(line["e2e_table"]["unattributed_time_ms"], json!(2.0));
}

#[test]
fn a_recorded_time_replaces_the_measured_one_of_its_span_only() {
    let line = line(|rig| {
        let _request = info_span!("request", request_id = "r").entered();
        for recorded in [Some(100.5), None] {
            let stage = info_span!("stage", stage_id = 0, stage_gen_time_ms = recorded).entered();
            rig.wait_ms(2);
            drop(stage);
        }
        let rx = info_span!("transfer", from_stage = 0, to_stage = 1, phase = "rx", tx_time_ms = 7).entered();
        rig.wait_ms(3);
        drop(rx);
        let rx = info_span!("transfer", from_stage = 0, to_stage = 1, phase = "rx", rx_decode_time_ms = 20)
            .entered();
        rig.wait_ms(3);
        drop(rx);
    });
    assert_eq!(line["stage_table"][0]["stage_gen_time_ms"], json!(102.5));
    assert_eq!(line["stage_table"][0]["busy_time_ms"], json!(4.0));
    let transfer = &line["transfer_table"][0];
    assert_eq!((&transfer["tx_time_ms"], &transfer["rx_decode_time_ms"]), (&json!(7.0), &json!(23.0)));
}

#[test]
fn preprocess_is_the_sum_of_its_spans_and_part_of_the_stage() {
    let line = line(|rig| {
        let _request = info_span!("request", request_id = "r").entered();
        let stage = info_span!("stage", stage_id = 0).entered();
        for millis in [2, 3] {
            let _between = info_span!("tokenizer").entered();
            let _preprocess = info_span!("preprocess").entered();
            let _inner = info_span!("preprocess").entered();
            rig.wait_ms(millis);
        }
        rig.wait_ms(10);
        drop(stage);
        drop(info_span!("preprocess"));
    });
    let row = &line["stage_table"][0];
    assert_eq!((&row["preprocess_time_ms"], &row["stage_gen_time_ms"]), (&json!(5.0), &json!(15.0)));
}

#[test]
fn measured_preprocess_never_exceeds_the_stage() {
    let line = line(|rig| {
        let _request = info_span!("request", request_id = "r").entered();
        let stage = info_span!("stage", stage_id = 0);
        info_span!(parent: &stage, "preprocess").in_scope(|| rig.wait_ms(9));
        stage.in_scope(|| rig.wait_ms(4));
    });
    let row = &line["stage_table"][0];
    assert_eq!((&row["preprocess_time_ms"], &row["stage_gen_time_ms"]), (&json!(4.0), &json!(4.0)));
    assert_eq!(warnings(&line).len(), 1);
}

#[test]
fn first_output_is_the_first_recording_and_the_rest_is_spread_over_the_tokens() {
    let line = line(|rig| {
        let _request = info_span!("request", request_id = "r").entered();
        rig.wait_ms(1);
        let stage = info_span!("stage", stage_id = 0, first_output = Empty, num_tokens_out = 5);
        stage.in_scope(|| {
            rig.wait_ms(10);
            stage.record("first_output", "any value");
            rig.wait_ms(4);
            stage.record("first_output", true);
            rig.wait_ms(4);
        });
        drop(stage);
        let one = info_span!("stage", stage_id = 1, first_output = false, num_tokens_out = 1).entered();
        rig.wait_ms(1);
        drop(one);
    });
    let row = &line["stage_table"][0];
    assert_eq!((&row["first_output_ms"], &row["time_per_output_token_ms"]), (&json!(11.0), &json!(2.0)));
    let one = &line["stage_table"][1];
    assert_eq!((&one["first_output_ms"], one.get("time_per_output_token_ms")), (&json!(19.0), None));
}

#[test]
fn the_first_output_of_a_row_is_the_earliest_of_its_spans() {
    let line = line(|rig| {
        let _request = info_span!("request", request_id = "r").entered();
        let (late, early) = (
            info_span!("stage", stage_id = 0, first_output = Empty),
            info_span!("stage", stage_id = 0, first_output = Empty),
        );
        rig.wait_ms(3);
        early.record("first_output", true);
        rig.wait_ms(3);
        late.record("first_output", true);
        drop(late);
        drop(early);
    });
    assert_eq!(line["stage_table"][0]["first_output_ms"], json!(3.0));
}

/// Sends at 2..5 ms, flies for `flight`, decodes for 4 ms, on a second thread.
fn hop(rig: &Rig, flight: u64, receive: impl FnOnce() -> tracing::Span + Send) {
    info_span!("transfer", from_stage = 0, to_stage = 1, size_bytes = 10, phase = "tx")
        .in_scope(|| rig.wait_ms(3));
    rig.wait_ms(flight);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _default = rig.install();
            receive().in_scope(|| rig.wait_ms(4));
        });
    });
}

#[test]
fn in_flight_runs_from_the_end_of_sending_to_the_start_of_receiving() {
    let line = line(|rig| {
        let _request = info_span!("request", request_id = "r").entered();
        rig.wait_ms(2);
        for flight in [5, 6] {
            hop(rig, flight, || {
                info_span!("transfer", from_stage = 0, to_stage = 1, phase = "rx", request_id = "r")
            });
        }
    });
    let row = &line["transfer_table"][0];
    assert_eq!((&row["tx_time_ms"], &row["in_flight_time_ms"]), (&json!(6.0), &json!(11.0)));
    assert_eq!((&row["rx_decode_time_ms"], &row["total_time_ms"]), (&json!(8.0), &json!(25.0)));
    assert_eq!((&row["start_ms"], &row["events"]), (&json!(2.0), &json!(4)));
    assert_eq!(line["e2e_table"]["transfers_total_time_ms"], json!(25.0));
    assert_eq!(line["e2e_table"]["unattributed_time_ms"], json!(2.0), "flights are attributed");
}

#[test]
fn hops_meet_in_order_whichever_half_closes_first() {
    let line = line(|rig| {
        let _request = info_span!("request", request_id = "r").entered();
        let edge = || info_span!("transfer", from_stage = 0, to_stage = 1);
        let (first, second) = (edge(), edge());
        first.in_scope(|| rig.wait_ms(1));
        rig.wait_ms(1);
        let rx = info_span!("transfer", from_stage = 0, to_stage = 1, phase = "rx");
        rx.in_scope(|| rig.wait_ms(1));
        drop(rx);
        second.in_scope(|| rig.wait_ms(1));
        rig.wait_ms(2);
        let rx = info_span!("transfer", from_stage = 0, to_stage = 1, phase = "rx");
        rx.in_scope(|| rig.wait_ms(1));
        drop((rx, second, first));
    });
    assert_eq!(line["transfer_table"][0]["in_flight_time_ms"], json!(3.0));
    assert_eq!(line.get("warnings"), None);
}

#[test]
fn a_transfer_that_was_not_received_here_has_no_flight() {
    let line = line(|rig| {
        let _request = info_span!("request", request_id = "r").entered();
        info_span!("transfer", from_stage = 0, to_stage = 1).in_scope(|| rig.wait_ms(3));
        info_span!("transfer", from_stage = 1, to_stage = 2, phase = "rx").in_scope(|| rig.wait_ms(3));
    });
    assert_eq!(line["transfer_table"][0]["in_flight_time_ms"], Value::Null);
    assert_eq!(line["transfer_table"][0]["rx_decode_time_ms"], Value::Null);
    assert_eq!(line["transfer_table"][1]["in_flight_time_ms"], Value::Null);
    assert_eq!(line["transfer_table"][1]["tx_time_ms"], Value::Null);
}

/// The origin of the mock clock, 2026-01-31T12:00:00Z.
const ORIGIN_MS: f64 = 1_769_860_800_000.0;

#[test]
fn the_senders_wall_clock_gives_the_flight_from_another_process() {
    let lines = lines(|rig| {
        rig.wait_ms(1_000);
        info_span!(
            "transfer",
            from_stage = 0,
            to_stage = 1,
            phase = "rx",
            sent_at_unix_ms = ORIGIN_MS + 997.5
        )
        .in_scope(|| rig.wait_ms(4));
    });
    assert_eq!(lines[0]["type"], "transfer");
    assert_eq!((&lines[0]["in_flight_time_ms"], &lines[0]["total_time_ms"]), (&json!(2.5), &json!(6.5)));
}

#[test]
fn a_flight_below_zero_is_zero_and_names_the_clock_skew() {
    let line = line(|rig| {
        let _request = info_span!("request", request_id = "r").entered();
        info_span!(
            "transfer",
            from_stage = 0,
            to_stage = 1,
            phase = "rx",
            sent_at_unix_ms = ORIGIN_MS + 30.0
        )
        .in_scope(|| rig.wait_ms(4));
    });
    assert_eq!(line["transfer_table"][0]["in_flight_time_ms"], json!(0.0));
    assert_eq!(line["e2e_table"]["unattributed_time_ms"], json!(0.0));
    let warnings = warnings(&line);
    assert_eq!(warnings.len(), 1);
    for part in ["`transfer`", "`in_flight_time_ms`", "`-30.0`", "clock skew"] {
        assert!(warnings[0].contains(part), "{warnings:?}");
    }
}

#[test]
fn a_recorded_flight_replaces_the_measured_one_of_its_hop() {
    let line = line(|rig| {
        let _request = info_span!("request", request_id = "r").entered();
        hop(rig, 5, || {
            info_span!(
                "transfer",
                from_stage = 0,
                to_stage = 1,
                phase = "rx",
                request_id = "r",
                in_flight_time_ms = 1
            )
        });
        hop(rig, 6, || info_span!("transfer", from_stage = 0, to_stage = 1, phase = "rx", request_id = "r"));
    });
    assert_eq!(line["transfer_table"][0]["in_flight_time_ms"], json!(7.0));
}

#[test]
fn a_recorded_flight_on_either_half_replaces_the_senders_clock_too() {
    let line = line(|rig| {
        let _request = info_span!("request", request_id = "r").entered();
        info_span!("transfer", from_stage = 0, to_stage = 1, in_flight_time_ms = 5)
            .in_scope(|| rig.wait_ms(1));
        info_span!("transfer", from_stage = 0, to_stage = 1, phase = "rx", sent_at_unix_ms = ORIGIN_MS - 1.0)
            .in_scope(|| rig.wait_ms(1));
    });
    assert_eq!(line["transfer_table"][0]["in_flight_time_ms"], json!(5.0));
}

#[test]
fn hops_past_those_told_apart_count_as_attributed() {
    let line = line(|rig| {
        let _request = info_span!("request", request_id = "r").entered();
        let edge = |phase| info_span!("transfer", from_stage = 0, to_stage = 1, phase);
        (0..65).for_each(|_| edge("tx").in_scope(|| rig.wait_ms(1)));
        (0..64).for_each(|_| edge("rx").in_scope(|| rig.wait_ms(1)));
        rig.wait_ms(10_000);
        edge("rx").in_scope(|| rig.wait_ms(1));
    });
    assert_eq!(line["e2e_table"]["unattributed_time_ms"], json!(0.0));
    // 64 hops of 64 ms, and the last one.
    assert_eq!(line["transfer_table"][0]["in_flight_time_ms"], json!(64.0 * 64.0 + 10_064.0));
}

#[test]
fn an_unknown_phase_is_as_if_not_given() {
    let line = line(|rig| {
        let _request = info_span!("request", request_id = "r").entered();
        info_span!("transfer", from_stage = 0, to_stage = 1, phase = "warp").in_scope(|| rig.wait_ms(3));
    });
    assert_eq!(line["transfer_table"][0]["tx_time_ms"], json!(3.0));
    assert!(warnings(&line)[0].contains("`warp`"));
}

#[test]
fn the_end_is_the_latest_exit_of_the_request_its_stages_and_transfers() {
    let lines = lines(|rig| {
        for last in ["request", "stage", "transfer"] {
            let request = info_span!("request", request_id = last);
            let stage = info_span!(parent: &request, "stage", stage_id = 0);
            let transfer = info_span!(parent: &request, "transfer", from_stage = 0, to_stage = 1);
            for (name, span) in [("request", &request), ("stage", &stage), ("transfer", &transfer)] {
                span.in_scope(|| rig.wait_ms(1));
                if name == last {
                    continue;
                }
            }
            let longest = match last {
                "stage" => stage.clone(),
                "transfer" => transfer.clone(),
                _ => request.clone(),
            };
            longest.in_scope(|| rig.wait_ms(10));
            rig.wait_ms(5);
        }
    });
    for line in &lines {
        assert_eq!(line["e2e_table"]["e2e_total_ms"], json!(13.0), "{line}");
    }
}

#[test]
fn a_lingering_background_span_does_not_inflate_the_request() {
    let line = line(|rig| {
        let request = info_span!("request", request_id = "r");
        let background = info_span!(parent: &request, "upload_logs");
        request.in_scope(|| rig.wait_ms(7));
        drop(request);
        background.in_scope(|| rig.wait_ms(1_000));
    });
    assert_eq!(line["e2e_table"]["e2e_total_ms"], json!(7.0));
    assert_eq!(line["timestamp"], "2026-01-31T12:00:00.007000Z");
}

#[test]
fn a_request_handed_to_other_tasks_is_one_request() {
    let line = line(|rig| {
        let request = info_span!("request", request_id = "r");
        let dispatch = tracing::dispatcher::get_default(Clone::clone);
        for stage_id in 0..3_u64 {
            let (request, dispatch) = (request.clone(), dispatch.clone());
            std::thread::scope(|scope| {
                scope.spawn(move || {
                    let _default = tracing::dispatcher::set_default(&dispatch);
                    let _request = request.entered();
                    info_span!("stage", stage_id).in_scope(|| rig.wait_ms(2));
                });
            });
        }
        rig.wait_ms(100);
    });
    assert_eq!(line["e2e_table"]["e2e_total_ms"], json!(6.0));
    assert_eq!(line["stage_table"].as_array().unwrap().len(), 3);
}

#[test]
fn unattributed_time_is_what_no_stage_transfer_or_flight_covers() {
    let line = line(|rig| {
        let request = info_span!("request", request_id = "r");
        let _request = request.enter();
        rig.wait_ms(1);
        let (a, b) = (info_span!("stage", stage_id = 0), info_span!("stage", stage_id = 1));
        let a_entered = a.enter();
        rig.wait_ms(5);
        let b_entered = b.enter();
        rig.wait_ms(5);
        drop(a_entered);
        rig.wait_ms(5);
        drop(b_entered);
        rig.wait_ms(2);
    });
    assert_eq!(line["e2e_table"]["e2e_total_ms"], json!(18.0));
    assert_eq!(line["e2e_table"]["unattributed_time_ms"], json!(3.0), "overlap counts once");
}

#[test]
fn past_64_separate_stretches_unattributed_time_is_a_lower_bound() {
    let line = line(|rig| {
        let _request = info_span!("request", request_id = "r").entered();
        for n in 0..100 {
            info_span!("stage", stage_id = 0).in_scope(|| rig.wait_ms(1));
            rig.wait_ms(if n < 50 { 1 } else { 100 });
        }
    });
    // 101 stretches less 64: 36 gaps of 1 ms are filled.
    assert_eq!(line["e2e_table"]["unattributed_time_ms"], json!(50.0 * 100.0 + 14.0));
}

#[test]
fn tokens_are_the_input_of_stage_0_and_every_output() {
    let line = line(|_| {
        let _request = info_span!("request", request_id = "r").entered();
        drop(info_span!("stage", stage_id = 0, num_tokens_in = 100, num_tokens_out = 10));
        drop(info_span!("stage", stage_id = 1, num_tokens_in = 1_000, num_tokens_out = 20));
        drop(info_span!("stage", num_tokens_out = 3, stage_id = "?"));
    });
    assert_eq!(line["e2e_table"]["e2e_total_tokens"], json!(133));
}

#[test]
fn the_summary_runs_over_all_closed_requests() {
    let lines = lines(|rig| {
        rig.wait_ms(500);
        let first = info_span!("request", request_id = "a");
        rig.wait_ms(10);
        let second = info_span!("request", request_id = "b");
        second.in_scope(|| {
            let _stage = info_span!("stage", stage_id = 3, num_tokens_out = 50).entered();
            rig.wait_ms(20);
        });
        drop(second);
        first.in_scope(|| {
            let _stage = info_span!("stage", stage_id = 3).entered();
            rig.wait_ms(10);
        });
        drop(first);
    });
    // The first request of the run is open still when the second one closes.
    assert_eq!(
        lines[0]["overall_summary"],
        json!({"e2e_requests": 1, "e2e_wall_time_ms": 30.0, "e2e_total_tokens": 50,
            "e2e_avg_time_per_request_ms": 30.0, "e2e_avg_tokens_per_s": 1666.666667,
            "stage_wall_time_ms": [0.0, 0.0, 0.0, 20.0]})
    );
    assert_eq!(
        lines[1]["overall_summary"],
        json!({"e2e_requests": 2, "e2e_wall_time_ms": 40.0, "e2e_total_tokens": 50,
            "e2e_avg_time_per_request_ms": 20.0, "e2e_avg_tokens_per_s": 1250.0, "stage_wall_time_ms": [0.0, 0.0, 0.0, 30.0]})
    );
}

#[test]
fn a_wrapper_does_not_begin_the_run() {
    let lines = lines(|rig| {
        let wrapper = info_span!("request", method = "POST");
        rig.wait_ms(5);
        info_span!(parent: &wrapper, "request", request_id = "a").in_scope(|| rig.wait_ms(20));
        info_span!(parent: &wrapper, "request", request_id = "b").in_scope(|| rig.wait_ms(10));
    });
    assert_eq!(lines[0]["overall_summary"]["e2e_wall_time_ms"], json!(20.0));
    assert_eq!(lines[1]["overall_summary"]["e2e_wall_time_ms"], json!(30.0));
}

#[test]
fn the_run_begins_with_the_earliest_request_in_whatever_order_they_are_noted() {
    struct Slow<'a>(&'a Rig);
    impl std::fmt::Debug for Slow<'_> {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            // A request is created while the value of an earlier one is being formatted.
            self.0.wait_ms(10);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let _default = self.0.install();
                    info_span!("request", request_id = "inner").in_scope(|| self.0.wait_ms(20));
                });
            });
            f.write_str("slow")
        }
    }
    let lines = lines(|rig| {
        let outer = info_span!("request", request_id = "outer", value = ?Slow(rig));
        drop(info_span!("request", request_id = "last").entered());
        drop(outer);
    });
    let of = |id: &str| lines.iter().find(|line| line["request_id"] == id).unwrap();
    assert_eq!(of("last")["overall_summary"]["e2e_wall_time_ms"], json!(30.0));
}

#[test]
fn an_empty_wall_has_no_token_rate() {
    let line = line(|_| {
        let _request = info_span!("request", request_id = "r").entered();
        drop(info_span!("stage", stage_id = 0, num_tokens_out = 5));
    });
    assert_eq!(line["overall_summary"]["e2e_avg_tokens_per_s"], json!(0.0));
}

#[test]
fn a_stage_id_of_1024_has_no_place_in_the_walls_and_warns() {
    let line = line(|rig| {
        let _request = info_span!("request", request_id = "r").entered();
        info_span!("stage", stage_id = 1023).in_scope(|| rig.wait_ms(1));
        info_span!("stage", stage_id = 1024).in_scope(|| rig.wait_ms(1));
        info_span!("stage", stage_id = u64::MAX).in_scope(|| rig.wait_ms(1));
    });
    let walls = line["overall_summary"]["stage_wall_time_ms"].as_array().unwrap();
    assert_eq!((walls.len(), &walls[1023], &walls[0]), (1024, &json!(1.0), &json!(0.0)));
    assert_eq!(line["stage_table"].as_array().unwrap().len(), 3);
    assert_eq!(warnings(&line).len(), 2);
}

#[test]
fn a_detached_stage_counts_in_the_walls() {
    let lines = lines(|rig| {
        info_span!("stage", stage_id = 1).in_scope(|| rig.wait_ms(4));
        drop(info_span!("request", request_id = "r"));
    });
    assert_eq!(lines[1]["overall_summary"]["stage_wall_time_ms"], json!([0.0, 4.0]));
}

#[test]
fn reset_begins_a_new_run() {
    let rig = Rig::new();
    let lines = rig.run(|rig| {
        info_span!("request", request_id = "a").in_scope(|| rig.wait_ms(5));
        rig.handle.reset();
        assert_eq!(rig.handle.snapshot().overall_summary.e2e_requests, 0);
        rig.wait_ms(100);
        info_span!("request", request_id = "b").in_scope(|| rig.wait_ms(3));
    });
    assert_eq!(lines[1]["overall_summary"]["e2e_requests"], 1);
    assert_eq!(lines[1]["overall_summary"]["e2e_wall_time_ms"], json!(3.0));
}
