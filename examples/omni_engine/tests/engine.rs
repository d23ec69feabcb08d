//! The service on a real socket: its lines against what its clients received and what its own timers say.

mod support;

use std::process::Command;

use base64::{Engine, prelude::BASE64_STANDARD};
use omni_engine::{FRAME, Visit};
use serde_json::{Value, json};
use support::{
    Request, assert_within,
    between::{Between, Span, since},
    requests,
};

fn times(visits: &[Visit]) -> Between {
    Between::sum(visits.iter().map(|visit| Span::from(*visit).time()))
}

/// The samples of all sounds.
fn samples(request: &Request) -> Vec<f32> {
    let sounds = request.events.iter().filter(|event| event.name == "sound");
    let bytes: Vec<u8> = sounds
        .flat_map(|event| BASE64_STANDARD.decode(event.data["pcm_f32le"].as_str().unwrap()).unwrap())
        .collect();
    bytes.as_chunks().0.iter().map(|sample| f32::from_le_bytes(*sample)).collect()
}

#[test]
fn every_request_has_the_reason_for_which_it_ended() {
    for (id, request) in requests() {
        let reason = match id.as_str() {
            "leaves" | "leaves the queue" => "abort",
            "fails" | "fails at once" | "too long" => "error",
            "ends itself" => "stop",
            _ => "length",
        };
        assert_eq!(request.line["e2e_table"]["finish_reason"], reason, "{id}");
        assert_eq!(request.line["warnings"], Value::Null, "{id}");
    }
}

#[test]
fn clients_hear_sound_for_every_token() {
    for (id, request) in requests() {
        let Some(last) = request.events.last() else { continue };
        let samples = samples(request);
        assert!(samples.iter().all(|sample| sample.abs() <= 1.), "{id}");
        if last.name == "done" {
            let tokens = last.data["tokens"].as_u64().unwrap() as usize;
            assert_eq!(samples.len(), tokens * FRAME, "{id}");
            assert_eq!(last.data["finish_reason"], request.line["e2e_table"]["finish_reason"], "{id}");
            if request.ask.ignore_eos {
                assert_eq!(tokens, request.ask.max_tokens, "{id}");
            }
        }
    }
}

#[test]
fn a_step_that_fails_ends_its_request_and_no_other() {
    let failed = &requests()["fails"];
    let last = failed.events.last().unwrap();
    assert_eq!(last.name, "error");
    assert!(last.data["error"].as_str().unwrap().contains("index-select"), "{last:?}");
    assert_eq!(samples(failed).len(), 10 * FRAME, "what had been generated was spoken");
    let at_once = &requests()["fails at once"];
    assert_eq!((at_once.events.len(), at_once.events[0].name.as_str()), (1, "error"));
    assert!(at_once.stage(1).is_none(), "the talker had nothing to do");
}

#[test]
fn a_request_that_is_refused_has_a_line_that_says_why() {
    let line = &requests()["too long"].line;
    assert_eq!(line["fields"]["refused"], "1010 tokens with the prompt are too many for 300");
    assert_eq!((&line["stage_table"], &line["transfer_table"]), (&json!([]), &json!([])));
}

#[test]
fn the_youngest_sequence_is_preempted_when_the_cache_is_full() {
    let preemptions = |id: &str| {
        let (row, times) = requests()[id].stage(0).unwrap();
        let preemptions = row["fields"]["preemptions"].as_u64().unwrap_or_default();
        assert_eq!(preemptions, times.preemptions, "{id}");
        preemptions
    };
    assert_eq!(preemptions("long-0"), 0, "the oldest");
    assert!(preemptions("long-2") > 0, "younger than the other two, and too much for the cache");
}

#[test]
fn counts_are_those_of_the_engine() {
    for (id, request) in requests() {
        for stage in [0, 1] {
            let Some((row, times)) = request.stage(stage) else { continue };
            let out: u64 = times.outputs.iter().map(|output| output.units).sum();
            assert_eq!(row["num_tokens_out"].as_u64().unwrap_or_default(), out, "{id}: {row}");
            let prompt = request.ask.prompt.len() as u64;
            let tokens_in = if stage == 0 { prompt } else { out };
            assert_eq!(row["num_tokens_in"], tokens_in, "{id}: {row}");
            assert_eq!(row["events"], 1, "{id}: {row}");
        }
        if let Some(edge) = request.line["transfer_table"].get(0) {
            assert_eq!(edge["size_bytes"], request.times.bytes, "{id}: {edge}");
            assert_eq!(edge["events"], request.times.sent.len() + request.times.received.len());
        }
    }
}

#[test]
fn a_request_lasts_as_long_as_its_own_timer_says() {
    for request in requests().values() {
        assert_within(&request.line["e2e_table"], "e2e_total_ms", request.whole().time());
    }
}

#[test]
fn a_run_is_the_sum_of_its_requests() {
    let number = |request: &&Request| request.line["overall_summary"]["e2e_requests"].as_u64();
    let last = requests().values().max_by_key(number).unwrap();
    let summary = &last.line["overall_summary"];
    assert_eq!(summary["e2e_requests"], requests().len());
    let tokens: u64 = requests()
        .values()
        .filter_map(|request| request.line["e2e_table"]["e2e_total_tokens"].as_u64())
        .sum();
    assert_eq!(summary["e2e_total_tokens"], tokens);

    let wholes = || requests().values().map(Request::whole);
    let begin = wholes().map(|whole| whole.begin).min_by_key(|begin| begin.before).unwrap();
    let time = wholes().map(|whole| since(begin, whole.end)).reduce(Between::max).unwrap();
    assert_within(summary, "e2e_wall_time_ms", time);
}

#[test]
fn a_stage_is_busy_for_its_own_part_of_the_steps() {
    for request in requests().values() {
        for (row, times) in (0..2).filter_map(|id| request.stage(id)) {
            let (least, most) = times.busy;
            let between = Between(least.as_secs_f64() * 1e3, most.as_secs_f64() * 1e3);
            assert_within(row, "busy_time_ms", between);
        }
    }
}

#[test]
fn transfers_take_as_long_as_their_own_timers_say() {
    for request in requests().values() {
        let Some(edge) = request.line["transfer_table"].get(0) else {
            assert!(request.times.sent.is_empty());
            continue;
        };
        assert_within(edge, "tx_time_ms", times(&request.times.sent));
        assert_within(edge, "rx_decode_time_ms", times(&request.times.received));
        assert_within(edge, "in_flight_time_ms", times(&request.flights()));
    }
}

#[test]
fn the_command_sends_itself_requests_and_ends() {
    let command = env!("CARGO_BIN_EXE_omni_engine");
    let output = Command::new(command).args(["--requests", "8", "--concurrency", "4"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (summary, requests) = lines.split_last().unwrap();
    assert_eq!((&summary["type"], requests.len()), (&"summary".into(), 8));
    assert_eq!(requests.iter().filter(|line| line["e2e_table"]["finish_reason"] == "error").count(), 1);
}
