//! `omni-metrics why`: where the time of a request went, and which others were in the way.

#[path = "support/reader.rs"]
mod reader;
mod support;

use std::{fs, path::PathBuf};

use reader::{omni_of, stdout, text};
use serde_json::Value;
use support::Rig;
use tracing::info_span;

const PIPELINE: &str = "tests/data/pipeline.jsonl";
const ENGINE: &str = "tests/data/engine.jsonl";

/// A file of this test's own.
fn file(name: &str, content: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, content).unwrap();
    path
}

/// The answer as JSON, of a log on standard input.
fn answer(args: &[&str], log: &str) -> Value {
    let args: Vec<_> = ["why", "--json"].iter().chain(args).copied().collect();
    serde_json::from_str(&stdout(&omni_of(&args, log))).unwrap()
}

/// The answer in words, every sentence on one line.
fn words(args: &[&str], log: &str) -> String {
    let args: Vec<_> = ["why"].iter().chain(args).copied().collect();
    let text = stdout(&omni_of(&args, log));
    text.split('\n').fold(String::new(), |text, line| {
        let separator = if line.starts_with('|') || line.is_empty() { "\n" } else { " " };
        text + separator + line
    })
}

fn usual(rig: &Rig, id: &str) {
    info_span!(parent: None, "request", request_id = id).in_scope(|| {
        rig.wait_ms(1);
        let stage = info_span!("stage", stage_id = 1, stage_name = "vocoder");
        stage.in_scope(|| rig.wait_ms(9));
    });
}

/// Ten requests of 10 ms, of which nine are spent in stage 1. Then `big` holds the stage for 80 ms. `small`
/// comes 10 ms later, is ready for the stage after 2 ms more, and has it for 5 ms after `big`.
fn blocked() -> String {
    let rig = Rig::new();
    rig.run_text(|rig| {
        (0..10).for_each(|n| usual(rig, &format!("usual-{n}")));
        let big = info_span!(parent: None, "request", request_id = "big");
        let in_big = info_span!(parent: &big, "stage", stage_id = 1, stage_name = "vocoder");
        let held = in_big.enter();
        rig.wait_ms(10);
        let small = info_span!(parent: None, "request", request_id = "small", finish_reason = "stop");
        rig.wait_ms(2);
        let in_small = info_span!(parent: &small, "stage", stage_id = 1, stage_name = "vocoder");
        rig.wait_ms(68);
        drop(held);
        in_small.in_scope(|| rig.wait_ms(5));
    });
    rig.log.text()
}

#[test]
fn a_request_that_blocked_another_is_named_with_its_time() {
    let words = words(&["small"], &blocked());
    for sentence in [
        "small took 75.0 ms, 7.5 times the median request (10.0 ms). ",
        "It spent most of its time, 68.0 ms (91 %), waiting for stage 1 vocoder. ",
        "It took 65.0 ms more than the median request: waiting for stage 1 vocoder took 68.0 ms more (68.0 ms against \
         0.000 ms).",
        "For 70.0 ms before stage 1 vocoder began, nothing of the request ran. Meanwhile that stage worked for big \
         (70.0 ms).",
        "| before any stage            |   2.000 |   2.7 % |          1.000 |     +1.000 |",
        "| waiting for stage 1 vocoder |  68.000 |  90.7 % |          0.000 |    +68.000 |",
        "| stage 1 vocoder             |   5.000 |   6.7 % |          9.000 |     -4.000 |",
        "| e2e_total_ms                |  75.000 | 100.0 % |         10.000 |    +65.000 |",
        "No stage or transfer of a request ran in these times: waiting for a stage (its span was open and had not \
         begun) and before any stage (none was waited for, and none had begun).",
    ] {
        assert!(words.contains(sentence), "{sentence}\n{words}");
    }
    let answer = answer(&["small"], &blocked());
    let meanwhile = answer["meanwhile"].as_array().unwrap();
    assert_eq!(meanwhile.len(), 1, "{answer}");
    assert_eq!((&meanwhile[0]["stage_id"], &meanwhile[0]["others"]), (&1.into(), &1.into()));
    assert_eq!(meanwhile[0]["named"][0]["request_id"], "big");
}

#[test]
fn a_request_that_waited_for_nobody_has_nobody_in_the_way() {
    let log = blocked();
    let words = words(&["usual-3"], &log);
    let sentence = "For 1.00 ms before stage 1 vocoder began, nothing of the request ran. According to the log, that \
                    stage worked for no other request meanwhile.";
    assert!(words.contains(sentence), "{words}");
    assert!(
        words.contains("usual-3 took 10.0 ms, about as long as the median request (10.0 ms)."),
        "{words}"
    );
    assert!(!words.contains("more than the median request"), "{words}");
}

/// A request whose stage 1 begins 1 ms after stage 0, and ends 1 ms after it.
fn streamed(rig: &Rig, id: &str, millis: u64) {
    let request = info_span!(parent: None, "request", request_id = id);
    let thinker = info_span!(parent: &request, "stage", stage_id = 0, stage_name = "thinker").entered();
    rig.wait_ms(1);
    let talker = info_span!(parent: &request, "stage", stage_id = 1).entered();
    rig.wait_ms(millis);
    drop(thinker);
    rig.wait_ms(1);
    drop(talker);
}

#[test]
fn an_earlier_stage_that_streams_is_named_beside_the_later_one_on_the_path() {
    let rig = Rig::new();
    rig.run_text(|rig| {
        (0..10).for_each(|n| streamed(rig, &format!("usual-{n}"), 5));
        streamed(rig, "slow", 80);
    });
    let said = words(&["slow"], &rig.log.text());
    let sentence = "During 80.0 ms of stage 1, stage 0 thinker was running too: it took 81.0 ms, against 6.00 ms. If \
                    the stages stream, the earlier one may be the cause.";
    assert!(said.contains("stage 1 took 75.0 ms more") && said.contains(sentence), "{said}");
    let json = answer(&["slow"], &rig.log.text());
    let parts = json["parts"].as_array().unwrap();
    let earlier: Vec<_> = parts.iter().filter_map(|part| part.get("earlier_stage")).collect();
    assert_eq!(earlier.len(), 1);
    assert_eq!((&earlier[0]["stage_id"], &earlier[0]["meanwhile_ms"]), (&0.into(), &80.0.into()));
    assert!(!words(&["usual-3"], &rig.log.text()).contains("If the stages stream"));
}

#[test]
fn a_request_that_waited_for_no_stage_is_said_to_have_had_no_other_in_its_way() {
    let rig = Rig::new();
    rig.run_text(|rig| {
        for n in 0..3 {
            info_span!(parent: None, "request", request_id = n).in_scope(|| {
                info_span!("stage", stage_id = 1).in_scope(|| rig.wait_ms(9));
                rig.wait_ms(n);
            });
        }
    });
    let said = words(&["--p99"], &rig.log.text());
    let sentence = "According to the log, it waited for no stage, so no other request was in its way.";
    assert!(said.contains(sentence), "{said}");
    // One that waited briefly is told otherwise.
    let briefly = rig.log.text().lines().fold(String::new(), |log, line| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        for row in line["stage_table"].as_array_mut().into_iter().flatten() {
            (row["start_ms"], row["queue_time_ms"]) = (0.1.into(), 0.1.into());
        }
        if line["type"] == "request" {
            line["e2e_table"]["queue_time_ms"] = 0.1.into();
        }
        format!("{log}{line}\n")
    });
    let said = words(&["--p99"], &briefly);
    let sentence = "According to the log, no other request was in its way for 5 % of its time or more.";
    assert!(said.contains(sentence), "{said}");
    // Without the times of its queues, the log does not tell.
    let without = rig.log.text().lines().fold(String::new(), |log, line| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        for row in line["stage_table"].as_array_mut().into_iter().flatten() {
            row.as_object_mut().unwrap().remove("queue_time_ms");
        }
        format!("{log}{line}\n")
    });
    let said = words(&["--p99"], &without);
    let sentence = "The log does not tell whether other requests were in its way: no stage of this one has a queue_time_ms.";
    assert!(said.contains(sentence), "{said}");
}

#[test]
fn a_time_without_any_span_that_the_table_cannot_place_is_named_below_it() {
    let rig = Rig::new();
    rig.run_text(|rig| {
        for (id, spans) in [("one", 1), ("two", 2)] {
            let request = info_span!(parent: None, "request", request_id = id).entered();
            // Both run for the same 10 ms; their row has a time of 20 ms.
            let stage = || info_span!(parent: &*request, "stage", stage_id = 1).entered();
            let spans: Vec<_> = (0..spans).map(|_| stage()).collect();
            rig.wait_ms(10);
            drop(spans);
            rig.wait_ms(10);
        }
    });
    let sentence = "In all, nothing of the request ran for 0.000 ms by this table, and for 10.000 ms by its \
                    unattributed_time_ms, which is of single spans,";
    let said = words(&["two"], &rig.log.text());
    assert!(said.contains(sentence), "{said}");
    assert_eq!(answer(&["two"], &rig.log.text())["unattributed_time_ms"], 10.0);
    let said = words(&["one"], &rig.log.text());
    assert!(said.contains("| unattributed ") && !said.contains("In all, nothing"), "{said}");
}

#[test]
fn the_parts_of_any_request_add_up_to_its_time() {
    for path in [PIPELINE, ENGINE] {
        let log = fs::read_to_string(path).unwrap();
        let ids = log.lines().filter_map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            (line["type"] == "request").then(|| line["request_id"].as_str().unwrap().to_owned())
        });
        for id in ids.step_by(7) {
            let answer = answer(&[&id, path], "");
            let nanos = |value: &Value| (value.as_f64().unwrap() * 1e6).round() as i64;
            let sum = |name: &str| {
                answer["parts"].as_array().unwrap().iter().map(|part| nanos(&part[name])).sum::<i64>()
            };
            let e2e = nanos(&answer["e2e_total_ms"]);
            assert_eq!(sum("time_ms"), e2e, "{answer}");
            // Each mean is rounded.
            let median = nanos(&answer["median"]["e2e_total_ms"]);
            assert!((sum("median_ms") - median).abs() < 20, "{answer}");
            assert!((sum("difference_ms") - (e2e - median)).abs() < 20, "{answer}");
            let path = answer["path"].as_array().unwrap();
            let ends = path.iter().map(|segment| nanos(&segment["to_ms"]));
            let starts = path.iter().map(|segment| nanos(&segment["from_ms"]));
            assert!(starts.eq(std::iter::once(0).chain(ends).take(path.len())), "{answer}");
        }
    }
}

#[test]
fn a_request_is_chosen_by_its_time() {
    let log = fs::read_to_string(PIPELINE).unwrap();
    let mut times: Vec<_> = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["type"] == "request")
        .map(|line| line["e2e_table"]["e2e_total_ms"].as_f64().unwrap())
        .collect();
    times.sort_by(f64::total_cmp);
    for (choice, rank) in [
        (&["--slowest"][..], 40),
        (&["--p99"], 40),
        (&["--p90"], 36),
        (&["--p50"], 20),
        (&["--percentile", "12.5"], 5),
        (&["--percentile", "0"], 1),
    ] {
        let args: Vec<_> = choice.iter().copied().chain([PIPELINE]).collect();
        let (found, exact) = (answer(&args, "")["e2e_total_ms"].as_f64().unwrap(), times[rank - 1]);
        assert!((found / exact - 1.0).abs() < 0.016, "{choice:?}: {found} {exact}");
        assert!(times.contains(&found));
    }
    assert_eq!(answer(&["--slowest", PIPELINE], "")["e2e_total_ms"], times[39]);
}

#[test]
fn a_percentile_answers_for_all_requests_above_it_as_the_report_does() {
    let rig = Rig::new();
    rig.run_text(|rig| {
        (0..198).for_each(|n| usual(rig, &format!("usual-{n}")));
        for (id, early) in [("slow-0", 61), ("slow-1", 81)] {
            info_span!(parent: None, "request", request_id = id).in_scope(|| {
                rig.wait_ms(early);
                info_span!("stage", stage_id = 1, stage_name = "vocoder").in_scope(|| rig.wait_ms(29));
            });
        }
    });
    let log = rig.log.text();
    let said = words(&["--p99"], &log);
    for sentence in [
        "Of the slowest 1 % (2 requests, from 90.0 ms on), all spent the largest part of their time before any stage. All 2 took \
         100.0 ms on average, 10.0 times the median request (10.0 ms). They took 90.0 ms more than the median request: the time before any stage took 70.0 ms more (71.0 ms against 1.00 ms) and stage 1 \
         vocoder took 20.0 ms more (29.0 ms against 9.00 ms).",
        "usual-197 took 10.0 ms, about as long as the median request (10.0 ms).",
        "| stage 1 vocoder     |   9.000 |  90.0 % |          9.000 |     +0.000 |      29.000 |",
        "The column slowest 1 % has the mean of the requests from 90.0 ms to 110.0 ms",
    ] {
        assert!(said.contains(sentence), "{sentence}\n{said}");
    }
    let why = answer(&["--p99"], &log);
    let report: Value = serde_json::from_str(&stdout(&omni_of(&["report", "--json"], &log))).unwrap();
    let slowest = report["where_the_time_goes"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&slowest["of"], &slowest["parts"][0]["part"]),
        (&"slowest hundredth".into(), &"queue".into())
    );
    assert_eq!(
        (&why["tail"]["requests"], &why["tail"]["e2e_total_ms"]),
        (&slowest["requests"], &slowest["mean_ms"])
    );
    for args in [&["--slowest"][..], &["--percentile", "99.9"], &["usual-3"]] {
        let why = answer(args, &log);
        assert!(why.get("tail").is_none() && why["parts"][0].get("tail_ms").is_none(), "{why}");
    }
}

#[test]
fn few_of_the_slowest_that_make_up_most_of_the_difference_are_told_from_the_others() {
    let log = |stuck: u64| {
        let rig = Rig::new();
        rig.run_text(|rig| {
            (0..54).for_each(|n| usual(rig, &format!("usual-{n}")));
            let slow = (0..5).map(|n| (format!("slow-{n}"), 1));
            for (id, early) in slow.chain([("stuck".to_owned(), stuck)]) {
                info_span!(parent: None, "request", request_id = id).in_scope(|| {
                    rig.wait_ms(early);
                    info_span!("stage", stage_id = 1, stage_name = "vocoder").in_scope(|| rig.wait_ms(49));
                });
            }
        });
        rig.log.text()
    };
    let said = words(&["--p90"], &log(951));
    for sentence in [
        // Where most of them were comes first, though the queue rules the mean.
        "Of the slowest 10 % (6 requests, from 50.0 ms on), 5 spent the largest part of their time in stage 1 \
         vocoder. All 6 took 208.3 ms on average, 20.8 times the median request (10.0 ms). 1 of these 6 requests makes up \
         83 % of the difference from the median request: stuck (1,000 ms). The other 5 took 50.0 ms on \
         average, 5.0 times the median request (10.0 ms). They took 40.0 ms more than the median request: \
         stage 1 vocoder took 40.0 ms more (49.0 ms against 9.00 ms).",
        // The table has the mean of all.
        "| stage 1 vocoder     |   9.000 |  90.0 % |          9.000 |     +0.000 |       49.000 |",
        "| e2e_total_ms        |  10.000 | 100.0 % |         10.000 |     +0.000 |      208.333 |",
    ] {
        assert!(said.contains(sentence), "{sentence}\n{said}");
    }
    let why = answer(&["--p90"], &log(951));
    let mostly = |part: &str, requests: u64| serde_json::json!({ "part": part, "requests": requests });
    let of_all = serde_json::json!([mostly("stage 1", 5), mostly("queue", 1)]);
    assert_eq!(why["tail"]["mostly"], of_all, "{why}");
    let few = &why["tail"]["few"];
    assert_eq!(few["mostly"], serde_json::json!([mostly("queue", 1)]), "{why}");
    assert_eq!((&few["requests"], &few["slowest"][0]["request_id"]), (&1.into(), &"stuck".into()));
    assert_eq!((&few["others"]["requests"], &few["others"]["e2e_total_ms"]), (&5.into(), &50.0.into()));
    for (key, e2e) in
        [("tail_ms", &why["tail"]["e2e_total_ms"]), ("others_ms", &few["others"]["e2e_total_ms"])]
    {
        let sum: f64 = why["parts"].as_array().unwrap().iter().map(|part| part[key].as_f64().unwrap()).sum();
        assert!((sum - e2e.as_f64().unwrap()).abs() < 1e-5, "{key}: {sum} {e2e}");
    }
    // One that is no slower than twice the others does not make up half.
    let why = answer(&["--p90"], &log(41));
    assert!(why["tail"].get("few").is_none() && why["parts"][0].get("others_ms").is_none(), "{why}");
    assert!(!words(&["--p90"], &log(41)).contains("makes up"));
}

#[test]
fn a_table_fits_in_a_hundred_columns_with_long_names_of_stages() {
    let long = "thinker-30b-a3b-instruct-fp8-prefill-and-decode-of-tenant-one";
    let engine = fs::read_to_string("tests/data/engine.jsonl").unwrap();
    // A hundred requests and more, so that --p99 has a column of the slowest.
    let engine = engine.replace("\"thinker\"", &format!("\"{long}\""));
    let lines: String =
        ["a", "b", "c"].map(|client| engine.replace("\"load-", &format!("\"{client}-"))).concat();
    let log = file("why_long_names.jsonl", &lines);
    for (choice, cut) in [
        ("--p99", "| waiting for stage 0 thinker… |"),
        ("--slowest", "| stage 0 thinker-30b-a3b-instruct-fp8-prefil… |"),
    ] {
        let said = stdout(&omni_of(&["why", choice, log.to_str().unwrap()], ""));
        let rows: Vec<_> = said.lines().filter(|line| line.starts_with('|')).collect();
        let width = rows[0].chars().count();
        assert!(width <= 100 && rows.iter().all(|row| row.chars().count() == width), "{said}");
        assert!(said.contains(cut) && said.contains(long), "{said}");
        assert_eq!(rows[0].contains("slowest 1 %"), choice == "--p99", "{said}");
    }
}

#[test]
fn standard_input_is_read_twice_as_well() {
    let log = fs::read_to_string(PIPELINE).unwrap();
    for choice in ["--slowest", "req-0017"] {
        assert_eq!(answer(&[choice], &log), answer(&[choice, PIPELINE], ""));
        assert_eq!(answer(&[choice, "-"], &log), answer(&[choice, PIPELINE], ""));
    }
}

#[test]
fn of_an_id_that_occurs_several_times_the_last_is_taken_and_their_number_said() {
    let rig = Rig::new();
    rig.run_text(|rig| {
        (1..=3).for_each(|n| {
            info_span!("request", request_id = "again").in_scope(|| rig.wait_ms(n));
        })
    });
    let log = rig.log.text();
    let answer = answer(&["again"], &log);
    assert_eq!((&answer["e2e_total_ms"], &answer["occurrences"]), (&3.0.into(), &3.into()));
    let said = words(&["again"], &log);
    let others = "3 requests have this id, and this is the last one; the others ended at ";
    assert!(said.contains(others), "{said}");
    let until = said.split_once("`--until ").unwrap().1.split_once('`').unwrap().0.to_owned();
    let earlier = self::answer(&["again", "--until", &until], &log);
    assert_eq!((&earlier["e2e_total_ms"], &earlier["occurrences"]), (&2.0.into(), &2.into()));
    assert_eq!(earlier["same_id"].as_array().unwrap().len(), 1, "{earlier}");
    // A line that occurs twice is one request.
    let twice = format!("{log}{log}");
    let output = omni_of(&["why", "--json", "again"], &twice);
    let answer: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(answer["occurrences"], 3);
    assert!(text(&output.stderr).contains("3 lines occur twice"), "{output:?}");
}

#[test]
fn a_selection_chooses_the_requests_to_compare_and_not_those_in_the_way() {
    let log = blocked();
    let chosen = answer(&["--slowest", "--where", "e2e_total_ms < 76"], &log);
    assert_eq!(chosen["request_id"], "small");
    assert_eq!(chosen["meanwhile"][0]["named"][0]["request_id"], "big");
    let alone = answer(&["small", "--where", "request_id == 'small'"], &log);
    assert_eq!((&alone["requests"], &alone["meanwhile"][0]["others"]), (&1.into(), &1.into()));
}

#[test]
fn others_are_named_up_to_a_number_and_the_rest_is_counted() {
    let rig = Rig::new();
    rig.run_text(|rig| {
        let requests = (0..20).map(|n| info_span!(parent: None, "request", request_id = format!("r{n}")));
        let requests: Vec<_> = requests.collect();
        let batch = info_span!(parent: None, "stage", stage_id = 0, batch_id = 7);
        requests.iter().for_each(|request| {
            batch.follows_from(request);
        });
        let last = info_span!(parent: None, "request", request_id = "last");
        let stage = info_span!(parent: &last, "stage", stage_id = 0);
        batch.in_scope(|| rig.wait_ms(30));
        drop(batch);
        stage.in_scope(|| rig.wait_ms(1));
    });
    let log = rig.log.text();
    let waited = words(&["last", "--others", "2"], &log);
    assert!(
        waited.contains("(30.0 ms) and 18 more. It worked for at least one of them all the time."),
        "{waited}"
    );
    let none = words(&["last", "--others", "0"], &log);
    assert!(none.contains("worked for 20 other requests."), "{none}");
    let batch = words(&["r4"], &log);
    assert!(batch.contains("In stage 0, it ran for 30.0 ms in batch 7, together with "), "{batch}");
    assert!(batch.contains(" and 16 more."), "{batch}");
}

#[test]
fn a_sampled_log_and_one_that_is_not_joined_are_said_to_be() {
    let log = fs::read_to_string(PIPELINE).unwrap();
    let sampled = log.replace(
        r#","overall_summary":{"e2e_requests""#,
        r#","sample_rate":10,"overall_summary":{"e2e_requests""#,
    );
    let found = words(&["req-0004"], &sampled);
    assert!(found.contains("The log is sampled: 40 lines stand for 400 requests."), "{found}");
    assert!(!words(&["req-0004"], &log).contains("sampled"));
    let unlike = sampled.replacen(r#""sample_rate":10"#, r#""sample_rate":100000"#, 1);
    assert_eq!(answer(&["--p50"], &unlike)["request_id"], "req-0001", "most requests are like the first");

    let front = Rig::new();
    front.run_text(|rig| {
        usual(rig, "other");
        info_span!(parent: None, "request", request_id = "r").in_scope(|| rig.wait_ms(100));
    });
    let worker = Rig::new();
    worker.run_text(|rig| {
        rig.wait_ms(30);
        info_span!("stage", stage_id = 3, request_id = "r").in_scope(|| rig.wait_ms(60));
    });
    let (front, worker) =
        (file("why-front.log", &front.log.text()), file("why-worker.log", &worker.log.text()));
    let files = [front.to_str().unwrap(), worker.to_str().unwrap()];
    let apart = words(&["r", files[0], files[1]], "");
    assert!(apart.trim_start().starts_with("Not joined: 1 row of a worker is in no request."), "{apart}");
    for format in ["--json", "--csv"] {
        let said = text(&omni_of(&["why", format, "r", files[0], files[1]], "").stderr);
        assert!(said.contains("Not joined: 1 row of a worker is in no request."), "{said}");
    }
    assert!(
        apart.contains("It spent most of its time, 100.0 ms (100 %), in no stage or transfer."),
        "{apart}"
    );
    let joined = stdout(&omni_of(&["join", files[0], files[1]], ""));
    let together = words(&["r"], &joined);
    assert!(together.contains("It spent most of its time, 60.0 ms (60 %), in stage 3."), "{together}");
    assert!(!together.contains("Not joined"), "{together}");
}

/// A moment of the day, after this many milliseconds.
fn moment(millis: u64) -> String {
    format!("2026-01-31T12:00:00.{millis:03}000Z")
}

/// The line of a request that a front answered, without rows.
fn answered(id: &str, begin: u64, end: u64) -> String {
    let (end, e2e) = (moment(end), end - begin);
    format!(
        r#"{{"type":"request","schema":1,"timestamp":"{end}","request_id":"{id}","overall_summary":{{"e2e_requests":1,"e2e_wall_time_ms":{e2e}.0,"e2e_total_tokens":0,"e2e_avg_time_per_request_ms":{e2e}.0,"e2e_avg_tokens_per_s":0.0,"stage_wall_time_ms":[]}},"e2e_table":{{"e2e_total_ms":{e2e}.0,"e2e_total_tokens":0,"transfers_total_time_ms":0.0,"transfers_total_bytes":0,"queue_time_ms":null,"unattributed_time_ms":{e2e}.0}},"stage_table":[],"transfer_table":[]}}
"#
    )
}

/// The line of a worker: when a request came, when stage 1 began, and when it ended.
fn worked(id: &str, came: u64, begin: u64, end: u64) -> String {
    let (queue, wall, end) = (begin - came, end - begin, moment(end));
    format!(
        r#"{{"type":"stage","schema":1,"timestamp":"{end}","request_id":"{id}","stage_id":1,"batch_id":null,"batch_size":null,"num_tokens_in":null,"num_tokens_out":null,"preprocess_time_ms":null,"stage_gen_time_ms":{wall}.0,"stage_name":"vocoder","busy_time_ms":{wall}.0,"queue_time_ms":{queue}.0,"start_ms":null,"wall_time_ms":{wall}.0,"events":1}}
"#
    )
}

#[test]
fn only_requests_in_the_same_process_are_in_the_way() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let write = |name: &str, lines: &[String]| fs::write(path(name), lines.concat()).unwrap();
    let ids = ["big", "other", "small", "both"];
    write("front.log", &ids.map(|id| answered(id, 0, 200)));
    let in_a = [worked("big", 5, 5, 85), worked("small", 15, 90, 105), worked("both", 110, 150, 160)];
    let in_b = [worked("other", 20, 20, 145), worked("both", 110, 160, 170)];
    write("a.log", &[&in_a[..], &[worked("last", 105, 105, 140)]].concat());
    write("b.log", &in_b);
    write("late.log", &[answered("last", 100, 300)]);
    let logs = ["front.log", "late.log", "a.log", "b.log"].map(path);
    let logs: Vec<_> = logs.iter().map(String::as_str).collect();
    let joined = stdout(&omni_of(&[&["join"], &logs[..]].concat(), ""));

    let named = |answer: &Value| {
        let meanwhile = &answer["meanwhile"][0];
        let others = meanwhile["named"].as_array().unwrap().iter();
        let others: Vec<_> = others.map(|other| other["request_id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(meanwhile["others"], others.len(), "{answer}");
        (meanwhile["log_file"].as_str().map(str::to_owned), others.join(" "))
    };
    let expect = |log: &str, others: &str| (Some(log.to_owned()), others.to_owned());
    assert_eq!(named(&answer(&["small"], &joined)), expect("a.log", "big"));
    // A row of two processes waited for both.
    assert_eq!(
        named(&answer(&["both", "--others", "4"], &joined)),
        expect("a.log, b.log", "other big last small")
    );
    let said = words(&["small"], &joined);
    let expected = "before stage 1 vocoder began in a.log, nothing of the request ran. Meanwhile that stage \
                    worked there for big (80.0 ms).";
    assert!(said.contains(expected), "{said}");
    // Without names, any process of the stage counts.
    let nameless = joined.replace(r#","fields":{"log_file":"a.log"}"#, "");
    let nameless = nameless.replace(r#","fields":{"log_file":"front.log"}"#, "");
    assert_eq!(named(&answer(&["small"], &nameless)), (None, "big other".to_owned()));

    // Logs that need no join.
    let log = blocked();
    write("0.log", std::slice::from_ref(&log));
    write("1.log", &[log.replace("small", "small-1").replace("big", "big-1")]);
    let found = answer(&["small", &path("0.log"), &path("1.log")], "");
    assert_eq!(named(&found), expect("0.log", "big"));
    assert_eq!(named(&answer(&["small", &path("0.log")], "")), (None, "big".to_owned()));
}

#[test]
fn broken_lines_are_named_once_and_texts_of_the_log_reach_no_terminal_raw() {
    let rig = Rig::new();
    rig.run_text(|rig| {
        let stage_name = "\u{1b}[31mred\u{202e}";
        let request = info_span!("request", request_id = "a\u{1b}]0;title\u{7}b");
        request.in_scope(|| {
            info_span!("stage", stage_id = 0, stage_name).in_scope(|| rig.wait_ms(5));
            tracing::error!("bad \u{1b}[2J");
        });
    });
    let log = format!("{}{{\"type\":\"request\",\"schema\":1\nfrom elsewhere\n", rig.log.text());
    for args in [&["why", "--slowest"][..], &["why", "--slowest", "--json"]] {
        let output = omni_of(args, &log);
        let found = stdout(&output);
        assert!(!found.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{found}");
        let complaints = text(&output.stderr);
        assert_eq!(complaints.matches("broken line").count(), 1, "{complaints}");
    }
    let found = words(&["--slowest"], &log);
    assert!(found.contains("It had 1 error: bad "), "{found}");
    assert!(found.contains("The log has no other request to compare with."), "{found}");
}

#[test]
fn a_question_without_an_answer_says_why() {
    let log = fs::read_to_string(PIPELINE).unwrap();
    for (args, code, message) in [
        (&["why", "nobody", PIPELINE][..], 1, "no line of request nobody"),
        (&["why", "--p99"], 2, "standard input is empty"),
        (
            &["why", PIPELINE],
            2,
            "tests/data/pipeline.jsonl is a file: name a request before it, or use --slowest or --p99",
        ),
        (&["why"], 2, "which request? Name its id, or choose one with --slowest"),
        (&["why", "--percentile", "101", PIPELINE], 2, "expected a number from 0 to 100"),
        (&["why", "--p99", "--p50", PIPELINE], 2, "cannot be used with"),
        (&["why", "req-0004", "no-such-file"], 2, "cannot read no-such-file"),
        (
            &["why", "--p99", "req-0004", PIPELINE],
            2,
            "there is no file req-0004; with an id, no option chooses the request",
        ),
    ] {
        let output = omni_of(args, "");
        assert_eq!(output.status.code(), Some(code), "{args:?} {output:?}");
        assert!(text(&output.stderr).contains(message), "{args:?} {output:?}");
    }
    let summary = log.lines().last().unwrap();
    let output = omni_of(&["why", "--slowest"], summary);
    assert!(
        output.status.code() == Some(1) && text(&output.stderr).contains("no line of a request"),
        "{output:?}"
    );
}

/// Ten requests of which a worker has stage 1, and two that have no row of it: their message to the worker has
/// these phases.
fn without_row(phases: &[&str]) -> String {
    let rig = Rig::new();
    rig.run_text(|rig| {
        for n in 0..12 {
            let id = if n >= 10 { format!("slow-{n}") } else { format!("usual-{n}") };
            info_span!(parent: None, "request", request_id = id).in_scope(|| {
                info_span!("stage", stage_id = 0, stage_name = "front").in_scope(|| rig.wait_ms(1));
                for phase in if n < 10 { &["tx", "rx"] } else { phases } {
                    let half = info_span!("transfer", from_stage = 0, to_stage = 1, phase);
                    half.in_scope(|| rig.wait_ms(1));
                }
                if n >= 10 {
                    return rig.wait_ms(500);
                }
                info_span!("stage", stage_id = 1, stage_name = "vocoder").in_scope(|| rig.wait_ms(9));
            });
        }
    });
    rig.log.text()
}

#[test]
fn time_of_a_stage_whose_rows_are_missing_is_not_said_to_be_spent_in_no_stage() {
    let said = words(&["--p90"], &without_row(&["tx"]));
    for sentence in [
        "Of the slowest 10 %, 2 lack rows of a stage that they were sent to, so unattributed time may be time of that \
         stage.",
        "It is not known where it spent most of its time, 500.0 ms (100 %). Its line lacks rows: it was sent to \
         stage 1 vocoder, but has no row of that stage, as other requests have.",
        "Nor does the log tell whether other requests were in its way.",
        "| stage 1 vocoder ",
    ] {
        assert!(said.contains(sentence), "{sentence}\n{said}");
    }
    for sentence in ["in no stage or transfer", "no other request was in its way"] {
        assert!(!said.contains(sentence), "{said}");
    }
    let found = answer(&["--p90"], &without_row(&["tx"]));
    let stage = serde_json::json!({ "stage_id": 1, "stage_name": "vocoder" });
    assert_eq!((&found["stage_without_row"], &found["tail"]["without_rows"]), (&stage, &2.into()));
    assert!(found["median"].get("without_rows").is_none(), "{found}");
    // Of a request that was never sent on, all is known; and the name comes from other requests.
    let said = words(&["slow-11"], &without_row(&[]));
    assert!(said.contains("most of its time, 500.0 ms (100 %), in no stage or transfer."), "{said}");
    assert!(said.contains("| stage 1 vocoder") && !said.contains("lacks rows"), "{said}");
    // A stage that received the message does not leave out its row.
    let received = without_row(&["tx", "rx"]);
    let said = words(&["slow-11"], &received);
    let lacks = "Its line lacks rows: it was received by stage 1 vocoder, but has no row of that stage, as other \
                 requests have. Either that stage never began or is still open, or its process died.";
    assert!(said.contains(lacks) && said.contains("It is not known where it spent most"), "{said}");
    assert_eq!(answer(&["slow-11"], &received)["stage_without_row"], stage);
    assert!(!words(&["usual-3"], &received).contains("lacks rows"));
}
