//! The reader, on lines with outputs, media, waits, shares and errors.

#[path = "support/reader.rs"]
mod reader;
mod support;

use omni_metrics::{Line, RequestLine};
use reader::{omni_of, stdout, text};
use serde_json::{Value, json};
use support::Rig;
use tracing::{error, field::Empty, info_span};

/// Two requests. The first has every number; a stage of each is one batch.
fn log() -> String {
    let rig = Rig::new();
    rig.run_text(|rig| {
        let [one, other] =
            ["one", "other"].map(|id| info_span!("request", request_id = id, finish_reason = Empty));
        one.in_scope(|| {
            rig.wait_ms(1);
            let stage = info_span!(
                "stage",
                stage_id = 0,
                num_tokens_in = 100,
                num_tokens_cached = 40,
                num_tokens_out = 11,
                num_tokens_reasoning = 4,
                scheduled = Empty,
                output = Empty,
                output_media_ms = Empty
            );
            rig.wait_ms(3);
            stage.record("scheduled", true);
            rig.wait_ms(2);
            stage.in_scope(|| {
                for pause in [5, 10, 25] {
                    rig.wait_ms(pause);
                    stage.record("output", 3);
                    stage.record("output_media_ms", 8);
                }
                rig.wait_ms(1);
            });
            error!("boom");
        });
        let batch = info_span!("stage", stage_id = 1, num_tokens_in = Empty);
        batch.follows_from(&one);
        batch.follows_from(&other);
        batch.in_scope(|| rig.wait_ms(6));
        drop(batch);
        drop(one);
    });
    rig.log.text()
}

fn request(line: &str) -> RequestLine {
    match line.parse() {
        Ok(Line::Request(line)) => line,
        other => panic!("{line}: {other:?}"),
    }
}

/// The log with other values in its first line.
fn changed(log: &str, changes: &[(&str, Value)]) -> String {
    let (first, rest) = log.split_once('\n').unwrap();
    let mut line: Value = serde_json::from_str(first).unwrap();
    for (pointer, value) in changes {
        let (table, key) = pointer.rsplit_once('/').unwrap();
        let table = line.pointer_mut(table).and_then(Value::as_object_mut).expect(pointer);
        if value.is_null() {
            table.remove(key).expect(pointer);
        } else {
            table.insert(key.to_owned(), value.clone());
        }
    }
    // Keys in the documented order, so that the line is known for one of the layer.
    let Ok(Line::Request(line)) = serde_json::from_value(line) else { panic!("{changes:?}") };
    format!("{}\n{rest}", serde_json::to_string(&Line::Request(line)).unwrap())
}

#[test]
fn a_line_with_every_number_is_sound() {
    let log = log();
    let line = request(log.lines().next().unwrap());
    let row = &line.stage_table[0];
    assert_eq!((row.outputs, row.underruns), (Some(3), Some(2)), "{log}");
    assert_eq!((line.e2e_table.errors, line.e2e_table.error.as_deref()), (Some(1), Some("boom")));
    assert!(line.e2e_table.waiting_time_ms.is_some() && line.stage_table[1].share_time_ms.is_some(), "{log}");
    assert_eq!(stdout(&omni_of(&["check"], &log)), "2 lines are sound, 0 foreign lines\n");
}

#[test]
fn check_finds_each_violation_by_itself() {
    let log = log();
    let (e2e, row) = ("/e2e_table", "/stage_table/0");
    for (changes, sentence) in [
        (vec![(e2e, "errors", json!(0))], "errors: expected at least 1"),
        (vec![(e2e, "errors", Value::Null)], "error: expected only with errors"),
        (vec![(e2e, "real_time_factor", json!(9.0))], "real_time_factor is not e2e_total_ms / the largest"),
        (vec![(e2e, "real_time_factor", Value::Null)], "real_time_factor is not e2e_total_ms / the largest"),
        (vec![(e2e, "waiting_time_ms", json!(2.5))], "waiting_time_ms is not the sum of the rows"),
        (vec![(e2e, "waiting_time_ms", Value::Null)], "waiting_time_ms is not the sum of the rows"),
        (
            vec![(e2e, "unattributed_time_ms", json!(0.5))],
            "waiting_time_ms is more than unattributed_time_ms: expected at most 0.5, found 3.0",
        ),
        (vec![(row, "waiting_time_ms", json!(4.0)), (e2e, "waiting_time_ms", json!(4.0))], {
            "stage 0: waiting_time_ms is more than queue_time_ms: expected at most 3.0, found 4.0"
        }),
        (
            vec![("/stage_table/1", "share_time_ms", json!(6.0))],
            "stage 1: share_time_ms is not less than stage_gen_time_ms",
        ),
        (vec![(row, "real_time_factor", json!(9.0))], "stage 0: real_time_factor is not stage_gen_time_ms"),
        (vec![(row, "underruns", json!(0))], "stage 0: underruns and underrun_total_ms"),
        (vec![(row, "underrun_total_ms", json!(0.0))], "stage 0: underruns and underrun_total_ms"),
        (vec![(row, "underruns", Value::Null)], "stage 0: underruns and underrun_total_ms"),
        (
            vec![
                (row, "media_ms", Value::Null),
                (row, "real_time_factor", Value::Null),
                (e2e, "real_time_factor", Value::Null),
            ],
            "stage 0: underruns: expected only with media_ms",
        ),
        (
            vec![
                (row, "outputs", json!(0)),
                (row, "inter_output_mean_ms", Value::Null),
                (row, "inter_output_max_ms", Value::Null),
            ],
            "stage 0: outputs: expected at least 1",
        ),
        (
            vec![
                (row, "outputs", Value::Null),
                (row, "inter_output_mean_ms", Value::Null),
                (row, "inter_output_max_ms", Value::Null),
            ],
            "stage 0: outputs: expected the first and the last where",
        ),
        (vec![(row, "last_output_ms", Value::Null)], "stage 0: outputs: expected the first and the last"),
        (
            vec![(row, "inter_output_mean_ms", Value::Null)],
            "stage 0: inter_output_mean_ms: expected one of 3",
        ),
        (vec![(row, "inter_output_max_ms", Value::Null)], "stage 0: inter_output_max_ms: expected one of 3"),
        (
            vec![(row, "outputs", json!(1)), (row, "inter_output_max_ms", Value::Null)],
            "stage 0: inter_output_mean_ms: expected none of 1 outputs",
        ),
        (
            vec![(row, "inter_output_max_ms", json!(17.0))],
            "stage 0: inter_output_mean_ms is more than inter_output_max_ms: expected at most 17.0,",
        ),
        (
            vec![(row, "inter_output_mean_ms", json!(17.6))],
            "stage 0: inter_output_mean_ms is more than (last - first output) / (outputs - 1)",
        ),
        (vec![(row, "inter_output_max_ms", json!(36.0))], "stage 0: inter_output_max_ms is longer than all"),
        (
            vec![
                (row, "last_output_ms", json!(9.0)),
                (row, "inter_output_mean_ms", json!(0.0)),
                (row, "inter_output_max_ms", json!(0.0)),
                (row, "time_per_output_token_ms", json!(0.0)),
            ],
            "stage 0: the first output is after the last: expected at most 9.0, found 11.0",
        ),
        (vec![(row, "time_per_output_token_ms", json!(3.6))], "stage 0: time_per_output_token_ms is not"),
    ] {
        let pointers: Vec<_> =
            changes.iter().map(|(table, key, value)| (format!("{table}/{key}"), value.clone())).collect();
        let pointers: Vec<_> = pointers.iter().map(|(pointer, value)| (&**pointer, value.clone())).collect();
        let output = omni_of(&["check"], &changed(&log, &pointers));
        let said = text(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{pointers:?}: {said}");
        assert!(said.starts_with(&format!("-:1: {sentence}")), "{pointers:?}: {said}");
        assert!(said.contains("\n1 violation in 2 lines"), "{pointers:?}: {said}");
    }
}

#[test]
fn values_that_a_program_recorded_and_that_contradict_each_other_are_a_note() {
    let log = log();
    for (changes, sentence) in [
        (
            vec![("/stage_table/0/num_tokens_cached", json!(101))],
            "stage 0: num_tokens_cached is more than num_tokens_in: expected at most 100, found 101",
        ),
        (
            vec![("/stage_table/0/num_tokens_reasoning", json!(12))],
            "stage 0: num_tokens_reasoning is more than num_tokens_out: expected at most 11, found 12",
        ),
        (
            vec![
                ("/stage_table/0/last_output_ms", json!(100.0)),
                ("/stage_table/0/time_per_output_token_ms", json!(8.9)),
            ],
            "stage 0: last_output_ms is more than e2e_total_ms: expected at most ",
        ),
    ] {
        let output = omni_of(&["check"], &changed(&log, &changes));
        let said = stdout(&output);
        assert!(said.starts_with(&format!("-:1: note: {sentence}")), "{said}");
        assert!(said.ends_with("\n2 lines are sound, 0 foreign lines, 1 note\n"), "{said}");
    }
    // A batch may go on after a request that it serves.
    let batch = [("/stage_table/1/last_output_ms", json!(100.0)), ("/stage_table/1/outputs", json!(1))];
    let log = changed(&log, &[&batch[..], &[("/stage_table/1/first_output_ms", json!(99.0))]].concat());
    assert_eq!(stdout(&omni_of(&["check"], &log)), "2 lines are sound, 0 foreign lines\n");
}

/// What one process writes of a request, and what two processes do: a stage streams from spans of both.
fn one_and_two_processes() -> (String, String) {
    // A span of stage 1, of which outputs leave after these times, with media of 4 ms each.
    let stream = |rig: &Rig, id: Option<&str>, waiting: u64, pauses: &[u64]| {
        let stage = info_span!(
            "stage",
            stage_id = 1,
            request_id = id,
            num_tokens_cached = 2,
            num_tokens_in = 3,
            first_output = Empty,
            output = Empty,
            output_media_ms = Empty
        );
        rig.wait_ms(waiting);
        stage.in_scope(|| {
            stage.record("first_output", true);
            for pause in pauses {
                rig.wait_ms(*pause);
                stage.record("output", 5);
                stage.record("output_media_ms", 4);
            }
        });
    };
    let coordinator = |rig: &Rig, rest: &dyn Fn()| {
        let _request = info_span!("request", request_id = "r").entered();
        let stage = info_span!("stage", stage_id = 0, num_tokens_in = 7, output = Empty);
        rig.wait_ms(1);
        stage.in_scope(|| {
            rig.wait_ms(2);
            stage.record("output", 1);
        });
        drop(stage);
        stream(rig, None, 2, &[2]);
        rest();
        rig.wait_ms(1);
    };
    let spans: [(u64, &[u64]); 3] = [(3, &[1, 9, 2]), (0, &[1]), (15, &[2, 1])];
    let whole = Rig::new();
    whole.run_text(|rig| {
        coordinator(rig, &|| spans.iter().for_each(|(waiting, pauses)| stream(rig, None, *waiting, pauses)));
    });
    let (front, worker) = (Rig::new(), Rig::new());
    front.run_text(|rig| {
        coordinator(rig, &|| {
            // Both see the same time.
            worker.wait_ms(7);
            worker.run_text(|worker| {
                spans.iter().for_each(|(waiting, pauses)| stream(worker, Some("r"), *waiting, pauses));
            });
            rig.wait_ms(34);
        });
    });
    (whole.log.text(), front.log.text() + &worker.log.text())
}

#[test]
fn join_gives_the_outputs_media_and_waits_that_one_process_would_have_written() {
    let (whole, parts) = one_and_two_processes();
    assert_eq!(parts.lines().count(), 4, "{parts}");
    let row = &request(&whole).stage_table[1];
    assert_eq!((row.events, row.outputs, row.underruns), (4, Some(7), Some(2)), "{whole}");
    let joined = stdout(&omni_of(&["join"], &parts));
    assert_eq!(joined, whole);
    let backwards: Vec<_> = parts.lines().rev().collect();
    assert_eq!(stdout(&omni_of(&["join"], &backwards.join("\n"))), whole);
    assert_eq!(stdout(&omni_of(&["check"], &joined)), "1 line is sound, 0 foreign lines\n");
}

#[test]
fn join_adds_a_share_to_the_whole_time_of_a_row_without_one() {
    let row = |share: &str, end: &str| {
        format!(
            r#"{{"type":"stage","schema":1,"timestamp":"2026-01-31T12:00:00.{end}Z","request_id":"one","stage_id":0,"stage_gen_time_ms":8.0,"busy_time_ms":8.0,"queue_time_ms":0.0,"start_ms":null,"wall_time_ms":8.0,{share}"events":1}}"#
        )
    };
    let log = log();
    let own = log.lines().next().unwrap();
    // The row of the request has 43 ms.
    for (shares, expected) in [(["", ""], None), (["", r#""share_time_ms":2.5,"#], Some(43.0 + 8.0 + 2.5))] {
        let rows = [row(shares[0], "045000"), row(shares[1], "052000")];
        let joined = stdout(&omni_of(&["join"], &format!("{own}\n{}\n{}", rows[0], rows[1])));
        let stage = &request(joined.trim_end()).stage_table[0];
        assert_eq!(stage.share_time_ms.map(|share| share.as_f64()), expected, "{joined}");
        assert_eq!(stage.stage_gen_time_ms.map(|time| time.as_f64()), Some(59.0));
        let output = omni_of(&["check"], &joined);
        assert!(output.status.success(), "{output:?}");
    }
}

#[test]
fn summary_shows_outputs_waiting_and_errors() {
    let log = log();
    let said = stdout(&omni_of(&["summary"], &log));
    for row in [
        "| waiting for stages  |   3.000 |  2.8 % | #                  |",
        "| stage 0 |       3 |   17.500 |  25.000 |   24.000 |     1.792 |         2 | 19.000 |",
        "| Requests by their first error | count |",
        "| boom                          |     1 |",
        "Besides: 1 error in a request\n",
    ] {
        assert!(said.contains(row), "{row}: {said}");
    }
    let summary: Value = serde_json::from_str(&stdout(&omni_of(&["summary", "--json"], &log))).unwrap();
    assert_eq!((&summary["errors"], &summary["failed"][0]["name"]), (&json!(1), &json!("boom")));
    let shares = summary["shares_of_e2e"].as_array().unwrap();
    let share = |part: &str| shares.iter().find(|share| share["part"] == part).unwrap()["time_ms"].clone();
    assert_eq!((share("waiting"), share("unattributed")), (json!(3.0), json!(0.0)));
    assert_eq!(summary["outputs"][0]["inter_output_mean_ms"], 17.5);
    assert_eq!(summary["percentiles"]["stages"][0]["real_time_factor"]["max"], 1.791667);
}

#[test]
fn a_report_shows_outputs_waiting_and_errors() {
    let page = stdout(&omni_of(&["report"], &log()));
    for shown in [
        "<div><dt>waiting, of e2e</dt><dd>2.8 %</dd></div>",
        "<dt>failed</dt><dd>100 % (2, of which 1 aborted)</dd>",
        "<th scope=\"row\">stage 0</th><td>3</td><td>17.5 ms</td><td>25.0 ms</td><td>24.0 ms</td><td>1.79</td><td>2</td><td>19.0 ms</td></tr>",
        "<li>1 request had an error, first: boom</li>",
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    let script = |id: &str| {
        let begin = format!("<script id=\"{id}\" type=\"application/json\">");
        let text = page.split_once(&begin).unwrap().1.split_once("</script>").unwrap().0;
        serde_json::from_str::<Value>(text).unwrap()
    };
    let (numbers, requests) = (script("run")["numbers"].clone(), script("data"));
    let row =
        &requests.as_array().unwrap().iter().find(|request| request["id"] == "one").unwrap()["stages"][0][0];
    for (name, value) in
        [("stage_gen_time_ms", 43.0), ("last_output_ms", 46.0), ("inter_output_max_ms", 25.0)]
    {
        let at = numbers["stages"].as_array().unwrap().iter().position(|column| column[0] == name).unwrap();
        assert_eq!(row[at], value, "{name}");
    }
}

#[test]
fn summary_says_if_the_queue_times_of_a_stage_add_up_to_more_than_the_request() {
    let log = |spans| {
        let rig = Rig::new();
        rig.run_text(|rig| {
            let _request = info_span!("request", request_id = "r1").entered();
            let stages: Vec<_> = (0..spans).map(|_| info_span!("stage", stage_id = 0)).collect();
            rig.wait_ms(10);
            stages.iter().for_each(|stage| stage.in_scope(|| rig.wait_ms(1)));
        });
        rig.log.text()
    };
    let said = stdout(&omni_of(&["summary"], &log(3))).replace('\n', " ");
    let sentence = "In 1 request, a stage's queue_time_ms is more than e2e_total_ms: it adds up the queue times \
                    of the stage's spans, which may wait at the same time.";
    assert!(said.contains(sentence), "{said}");
    assert!(!stdout(&omni_of(&["summary"], &log(1))).contains("a stage's queue_time_ms"));
}
