//! Section 9 of the contract: which requests have a line, and which are open.

mod support;

use std::{collections::BTreeMap, panic, time::Duration};

use omni_metrics::{Keep, Line};
use serde_json::{Value, json};
use support::Rig;
use tracing::{error, info_span};

fn rig(keep: Keep) -> Rig {
    Rig::with(|layer| layer.with_keep(keep))
}

fn ids(rig: &Rig) -> Vec<String> {
    rig.log.lines().iter().map(|line| line["request_id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn without_a_choice_every_request_has_a_line_without_a_rate() {
    for keep in [Keep::all(), Keep::default(), Keep::one_in(1).failed()] {
        let rig = rig(keep);
        rig.run(|_| (0..20).for_each(|n| drop(info_span!("request", request_id = n))));
        assert_eq!(rig.log.lines().len(), 20);
        assert!(!rig.log.text().contains("sample_rate"));
        assert_eq!(rig.handle.snapshot().lines_left_out, 0);
    }
}

#[test]
fn one_in_n_is_chosen_by_the_documented_hash_and_carries_the_rate_behind_its_id() {
    // By an independent implementation of the documented hash.
    const CHOSEN: [&str; 8] = ["req-2", "req-6", "req-10", "req-13", "req-22", "req-25", "req-31", "req-34"];
    let rig = rig(Keep::one_in(10));
    rig.run(|_| (0..40).for_each(|n| drop(info_span!("request", request_id = format!("req-{n}")))));
    assert_eq!(ids(&rig), CHOSEN);
    assert!(rig.log.text().contains(r#""request_id":"req-2","sample_rate":10,"overall_summary":"#));
    let snapshot = rig.handle.snapshot();
    assert_eq!((snapshot.lines_written, snapshot.lines_left_out, snapshot.lines_lost), (8, 32, 0));
    assert_eq!(snapshot.overall_summary.e2e_requests, 40);
    assert_eq!(snapshot.percentiles.e2e_total_ms.unwrap().count, 40);
    let Line::Request(line) = rig.log.text().lines().next().unwrap().parse().unwrap() else { panic!() };
    assert_eq!(line.sample_rate, Some(10));
    assert_eq!(line.overall_summary.e2e_requests, 3, "the run counts those left out");
}

#[test]
fn a_class_is_kept_whole_and_stands_for_itself() {
    let rig = rig(Keep::one_in(0).slower_than(Duration::from_millis(5)).failed().with_warnings());
    rig.run(|rig| {
        let request = |id: &'static str, reason: &'static str, ms| {
            let span = info_span!("request", request_id = id, finish_reason = reason);
            span.in_scope(|| rig.wait_ms(ms));
        };
        request("good", "stop", 5);
        request("long enough", "length", 5);
        request("slow", "stop", 6);
        request("aborted", "abort", 0);
        info_span!("request", request_id = "error").in_scope(|| error!("it failed"));
        info_span!("request", request_id = "no reason").in_scope(|| ());
        info_span!("request", request_id = "warned").in_scope(|| drop(info_span!("stage")));
        let unwinding = panic::catch_unwind(|| {
            let _span = info_span!("request", request_id = "panic", finish_reason = tracing::field::Empty);
            panic::resume_unwind(Box::new(()));
        });
        assert!(unwinding.is_err());
    });
    assert_eq!(ids(&rig), ["slow", "aborted", "error", "warned", "panic"]);
    assert!(!rig.log.text().contains("sample_rate"));
    assert_eq!(rig.handle.snapshot().lines_left_out, 3);
}

#[test]
fn detached_rows_are_chosen_by_the_hash_alone() {
    let rig = rig(Keep::one_in(10).failed().slower_than(Duration::ZERO));
    rig.run(|rig| {
        for n in 0..40 {
            let span = info_span!("stage", stage_id = 1, request_id = format!("req-{n}"));
            span.in_scope(|| rig.wait_ms(1));
        }
        drop(info_span!("transfer", from_stage = 0, to_stage = 1, request_id = "req-2"));
        drop(info_span!("stage", stage_id = 1));
    });
    let lines = rig.log.lines();
    let found: Vec<_> = lines.iter().map(|line| (&line["request_id"], &line["sample_rate"])).collect();
    let ten = json!(10);
    let expected = ["req-2", "req-6", "req-10", "req-13", "req-22", "req-25", "req-31", "req-34", "req-2"]
        .map(|id| json!(id));
    assert_eq!(found[..9], expected.iter().map(|id| (id, &ten)).collect::<Vec<_>>());
    assert_eq!(found[9], (&Value::Null, &Value::Null), "a row without an id is kept");
    assert_eq!(rig.handle.snapshot().percentiles.stages[0].stage_gen_time_ms.unwrap().count, 41);
}

#[test]
fn a_warning_for_the_next_line_waits_for_a_line_that_is_kept() {
    let rig = rig(Keep::one_in(10));
    rig.run(|_| {
        drop(info_span!("stages"));
        drop(info_span!("request", request_id = "req-1"));
        drop(info_span!("request", request_id = "req-2"));
    });
    assert_eq!(ids(&rig), ["req-2"]);
    assert_eq!(rig.log.lines()[0]["warnings"].as_array().unwrap().len(), 1);
}

#[test]
fn the_tokens_of_an_open_batch_are_those_of_none_of_its_requests() {
    let rig = Rig::new();
    rig.run(|rig| {
        let requests = ["a", "b"].map(|id| {
            rig.wait_ms(1);
            info_span!("request", request_id = id)
        });
        let batch = info_span!("stage", stage_id = 0, num_tokens_out = 800);
        requests.iter().for_each(|request| _ = batch.follows_from(request));
        rig.wait_ms(1);
        let _own = info_span!("stage", stage_id = 0, num_tokens_out = 7, request_id = "a");
        let tokens =
            || rig.handle.open_requests(10).iter().map(|open| open.e2e_total_tokens).collect::<Vec<_>>();
        assert_eq!(tokens(), [7, 0]);
        let open = &rig.handle.open_requests(10)[0];
        let by_stage: Vec<_> = open.open_stages.iter().map(|stage| stage.num_tokens_out).collect();
        assert_eq!(by_stage, [None, Some(7)]);
        drop(batch);
        assert_eq!(tokens(), [7, 0], "as before");
    });
}

#[test]
fn a_request_that_is_in_a_stage_of_its_own_is_listed_though_it_encloses_another_one() {
    let rig = Rig::new();
    rig.run(|rig| {
        let outer = info_span!("request", request_id = "outer");
        let stage = info_span!(parent: &outer, "stage", stage_id = 3);
        let inner = info_span!(parent: &stage, "request", request_id = "inner");
        let listed = || {
            let open = rig.handle.open_requests(10).into_iter();
            open.map(|open| (open.request_id.unwrap(), open.in_stages)).collect::<BTreeMap<_, _>>()
        };
        assert_eq!(listed(), [("outer".to_owned(), vec![3]), ("inner".to_owned(), vec![])].into());
        drop(inner);
        assert_eq!(listed(), [("outer".to_owned(), vec![3])].into());
    });
}

#[test]
fn open_requests_are_listed_with_the_stages_that_they_are_in() {
    let rig = Rig::new();
    rig.run(|rig| {
        let old = info_span!("request", request_id = "old", model = "m");
        rig.wait_ms(10);
        let outer = info_span!("request");
        let young = info_span!(parent: &outer, "request", request_id = "young");
        drop(info_span!(parent: &old, "stage", stage_id = 0, num_tokens_out = 7));
        let batch = info_span!("stage", stage_id = 2);
        batch.follows_from(&old);
        batch.follows_from(&young);
        let named = info_span!("stage", stage_id = 1, request_id = "old");
        let again = info_span!("stage", stage_id = 1, request_id = "old");
        rig.wait_ms(5);

        let open = rig.handle.open_requests(10);
        let seen: Vec<_> =
            open.iter().map(|open| (open.request_id.as_deref(), open.age_ms.as_f64())).collect();
        assert_eq!(seen, [(Some("old"), 15.0), (Some("young"), 5.0)], "a wrapper is left out");
        assert_eq!((&open[0].in_stages[..], &open[1].in_stages[..]), (&[1, 2][..], &[2][..]));
        assert_eq!((open[0].stages[0].num_tokens_out, open[0].stages.len()), (Some(7), 1));
        assert_eq!(open[0].fields["model"].to_string(), "m");
        assert_eq!(rig.handle.open_requests(1).len(), 1);
        assert!(rig.handle.open_requests(0).is_empty());

        drop((young, outer));
        drop(old);
        let open = rig.handle.open_requests(10);
        assert_eq!(open.iter().map(|open| open.is_answered).collect::<Vec<_>>(), [true, true]);
        drop((batch, named, again));
        assert!(rig.handle.open_requests(10).is_empty());
    });
    assert_eq!(rig.log.lines().len(), 2);
}
