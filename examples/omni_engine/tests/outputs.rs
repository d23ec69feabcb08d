//! Scheduling, outputs, media and failures: the lines against the service's own timers.

mod support;

use omni_engine::{Moment, StageTimes};
use serde_json::Value;
use support::{
    Request, assert_within, assert_within_or_absent,
    between::{Between, Span, since},
    requests,
};

/// The stages that were scheduled, with the time in which each of them worked for the request.
fn active(request: &Request) -> Vec<(&Value, &StageTimes, Span)> {
    request
        .scheduled()
        .into_iter()
        .map(|(row, times)| {
            let span = Span { begin: times.scheduled.unwrap(), end: times.last_exit.unwrap() };
            (row, times, span)
        })
        .collect()
}

/// Everything that ran for a request.
fn activity(request: &Request) -> Vec<Span> {
    let hops = request.times.sent.iter().chain(&request.times.received).copied();
    let hops = hops.chain(request.flights()).map(Span::from);
    active(request).into_iter().map(|(_, _, span)| span).chain(hops).collect()
}

fn queue(times: &StageTimes) -> Span {
    Span { begin: times.created, end: times.scheduled.unwrap() }
}

fn moments(times: &StageTimes) -> Vec<Moment> {
    times.outputs.iter().map(|output| output.at).collect()
}

fn gaps(times: &StageTimes) -> Vec<Between> {
    moments(times).windows(2).map(|pair| since(pair[0], pair[1])).collect()
}

#[test]
fn a_stage_begins_when_its_scheduler_takes_the_sequence() {
    for request in requests().values() {
        for (row, times, span) in active(request) {
            assert_within(row, "queue_time_ms", queue(times).time());
            assert_within(row, "start_ms", since(request.times.created, span.begin));
            assert_within(row, "stage_gen_time_ms", span.time());
        }
    }
}

#[test]
fn a_stage_waits_while_nothing_of_its_request_runs() {
    for request in requests().values() {
        let activity = activity(request);
        let mut total = Between(0., 0.);
        for (row, times, _) in active(request) {
            let waiting = queue(times).without(&activity);
            assert_within_or_absent(row, "waiting_time_ms", waiting);
            total = Between::sum([total, waiting]);
        }
        assert_within_or_absent(&request.line["e2e_table"], "waiting_time_ms", total);
    }
}

#[test]
fn what_is_unattributed_is_outside_of_stages_and_transfers() {
    for (id, request) in requests() {
        // Its stage has a span that was never entered.
        if id != "leaves the queue" {
            let between = request.whole().without(&activity(request));
            assert_within(&request.line["e2e_table"], "unattributed_time_ms", between);
        }
    }
}

#[test]
fn outputs_are_counted_and_timed() {
    for request in requests().values() {
        for (row, times, _) in active(request) {
            let moments = moments(times);
            let (Some(first), Some(last)) = (moments.first(), moments.last()) else {
                assert_eq!((&row["outputs"], &row["first_output_ms"]), (&Value::Null, &Value::Null));
                continue;
            };
            assert_eq!(row["outputs"], moments.len(), "{row}");
            assert_within(row, "first_output_ms", since(request.times.created, *first));
            assert_within(row, "last_output_ms", since(request.times.created, *last));
            let tokens: u64 = times.outputs.iter().map(|output| output.units).sum();
            if tokens > 1 {
                let time = since(*first, *last).over((tokens - 1) as f64);
                assert_within(row, "time_per_output_token_ms", time);
            }
            let gaps = gaps(times);
            if let Some(longest) = gaps.iter().copied().reduce(Between::max) {
                assert_within(row, "inter_output_max_ms", longest);
                assert_within(row, "inter_output_mean_ms", since(*first, *last).over(gaps.len() as f64));
            }
        }
    }
}

#[test]
fn media_are_as_long_as_what_the_client_received() {
    for (id, request) in requests() {
        let Some((row, times)) = request.stage(1) else { continue };
        let made: f64 = times.outputs.iter().filter_map(|output| output.media_ms).sum();
        assert_eq!(row["media_ms"].as_f64(), Some(made), "{id}: {row}");
        let sounds = request.events.iter().filter(|event| event.name == "sound");
        let heard: f64 = sounds.filter_map(|event| event.data["media_ms"].as_f64()).sum();
        assert!(heard <= made && (id == "leaves" || heard == made), "{id}: {heard} of {made}");

        let factor = |table: &Value, time: &str| {
            let expected = table[time].as_f64().unwrap() / made;
            let factor = table["real_time_factor"].as_f64();
            assert!(factor.is_some_and(|factor| (factor - expected).abs() < 1e-5), "{id}: {table}");
        };
        factor(row, "stage_gen_time_ms");
        factor(&request.line["e2e_table"], "e2e_total_ms");
    }
}

/// A player that starts with the first chunk lacks, in all, the longest delay of a chunk behind the moment at
/// which an uninterrupted player needs it.
#[test]
fn a_player_that_has_nothing_to_play_is_an_underrun() {
    for (id, request) in requests() {
        let Some((row, times)) = request.stage(1) else { continue };
        let mut played = 0.;
        let mut lacking = Between(0., 0.);
        for output in &times.outputs {
            let late = since(times.outputs[0].at, output.at);
            lacking = lacking.max(Between(late.0 - played, late.1 - played));
            played += output.media_ms.unwrap();
        }
        assert_within_or_absent(row, "underrun_total_ms", lacking);
        let count = row["underruns"].as_u64().unwrap_or_default();
        assert_eq!(
            count > 0,
            row["underrun_total_ms"].as_f64().is_some_and(|total| total > 0.),
            "{id}: {row}"
        );
        // The engine stood still for longer than the first chunk plays.
        let has_waited = id.starts_with("long-") && id != "long-2";
        assert!(count < times.outputs.len() as u64 && (count > 0 || !has_waited), "{id}: {row}");
    }
}

#[test]
fn a_failed_step_is_an_error_of_its_request() {
    for (id, request) in requests() {
        let table = &request.line["e2e_table"];
        let (errors, error) = (table["errors"].as_u64().unwrap_or_default(), table["error"].as_str());
        if id.starts_with("fails") {
            assert_eq!(errors, 1, "{id}: {table}");
            assert!(error.is_some_and(|error| error.starts_with("a step failed: ")), "{id}: {table}");
        } else {
            assert_eq!((errors, error), (0, None), "{id}: {table}");
        }
    }
}
