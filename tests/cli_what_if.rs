//! `omni-metrics what-if`, as its users run it.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use serde_json::Value;

fn what_if(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_omni-metrics")).arg("what-if").args(arguments).output().unwrap()
}

fn data(name: &str) -> String {
    format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn predicted(arguments: &[&str]) -> Value {
    let output = what_if(&[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A refusal, with exit code 2.
fn refused(arguments: &[&str]) -> String {
    let output = what_if(arguments);
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

/// A log in which a request comes every 10 ms to one worker, which takes `service` ms.
fn log(name: &str, requests: u64, service: u64, sample: &str) -> PathBuf {
    let mut free = 0;
    let requests = (0..requests).map(|number| {
        let created = number * 10;
        free = created.max(free) + service;
        (created, free - service, free)
    });
    log_of(name, requests, sample)
}

/// A log of requests: when each came, began to be served, and ended, in ms.
fn log_of(name: &str, requests: impl Iterator<Item = (u64, u64, u64)>, sample: &str) -> PathBuf {
    let mut lines = String::new();
    for (number, (created, start, free)) in requests.enumerate() {
        let service = free - start;
        let (queue, e2e, end) = (start - created, free - created, 1_700_000_000_000 + free);
        let ended = format!(
            "2023-11-14T22:{:02}:{:02}.{:03}000Z",
            13 + end / 60_000 % 40,
            end / 1_000 % 60,
            end % 1_000
        );
        lines += &format!(
            "{{\"type\":\"request\",\"schema\":1,\"timestamp\":\"{ended}\",\"request_id\":\"r{number}\"{sample},\
             \"overall_summary\":{{\"e2e_requests\":{},\"e2e_wall_time_ms\":{free},\"e2e_total_tokens\":0,\
             \"e2e_avg_time_per_request_ms\":1,\"e2e_avg_tokens_per_s\":0,\"stage_wall_time_ms\":[]}},\
             \"e2e_table\":{{\"e2e_total_ms\":{e2e},\"e2e_total_tokens\":0,\"transfers_total_time_ms\":0,\
             \"transfers_total_bytes\":0,\"queue_time_ms\":{queue},\"unattributed_time_ms\":{queue}}},\
             \"stage_table\":[{{\"stage_id\":2,\"batch_id\":null,\"batch_size\":null,\"num_tokens_in\":null,\
             \"num_tokens_out\":null,\"preprocess_time_ms\":null,\"stage_gen_time_ms\":{service},\
             \"stage_name\":\"vocoder\",\"busy_time_ms\":{service},\"queue_time_ms\":{queue},\
             \"start_ms\":{queue},\"events\":1}}],\"transfer_table\":[]}}\n",
            number + 1
        );
    }
    let path = std::env::temp_dir().join(format!("omni-what-if-{name}-{}.jsonl", std::process::id()));
    fs::write(&path, lines).unwrap();
    path
}

#[test]
fn a_second_worker_ends_the_queue_of_a_stage_that_had_no_room() {
    let path = log("workers", 100, 15, "");
    let file = path.to_str().unwrap();
    for stage in ["2", "vocoder"] {
        let prediction = predicted(&["--workers", &format!("{stage}=2"), file]);
        assert_eq!(prediction["logged"]["stages"][0]["workers"], 1);
        assert_eq!(prediction["replayed"]["e2e_total_ms"], prediction["logged"]["e2e_total_ms"]);
        let predicted = &prediction["predicted"];
        assert_eq!(predicted["stages"][0]["workers"], 2);
        assert_eq!(predicted["stages"][0]["waiting_ms"]["p99"], 0.0);
        for mark in ["p50", "p90", "p99"] {
            assert_eq!(predicted["e2e_total_ms"][mark], 15.0);
        }
    }
    let text = String::from_utf8(what_if(&["--workers", "2=2", file]).stdout).unwrap();
    for expected in ["| e2e_total_ms, p50  |", "| 2 vocoder | predicted |", "differs from the log by +0.0 %"]
    {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(text.lines().filter(|line| line.starts_with('|')).all(|line| line.len() <= 100), "{text}");
    fs::remove_file(path).unwrap();
}

#[test]
fn more_requests_fill_a_stage_and_the_text_says_so() {
    let path = log("rate", 200, 8, "");
    let file = path.to_str().unwrap();
    let prediction = predicted(&["--rate", "2", file]);
    // A request comes every 5 ms, and takes 8: the last one waits for 199 times 3 ms.
    let e2e = prediction["predicted"]["e2e_total_ms"]["p99"].as_f64().unwrap();
    assert!((e2e - (8.0 + 197.0 * 3.0)).abs() < 1.0, "{e2e}");
    let text = String::from_utf8(what_if(&["--rate", "2", file]).stdout).unwrap();
    assert!(text.contains("it has no room left"), "{text}");
    let prediction = predicted(&["--concurrency", "3", file]);
    assert_eq!(prediction["predicted"]["e2e_total_ms"]["p50"], 24.0);
    fs::remove_file(path).unwrap();
}

#[test]
fn a_closed_loop_is_named_with_its_clients_and_is_not_called_overloaded() {
    // Four clients and one worker: each request begins when another one ends, and waits for three others.
    let path = log_of("closed", (0_u64..80).map(|n| (n.saturating_sub(3) * 8, n * 8, n * 8 + 8)), "");
    let file = path.to_str().unwrap();
    let said = |arguments: &[&str]| String::from_utf8(what_if(arguments).stdout).unwrap().replace('\n', " ");
    for rate in ["1", "1.5"] {
        let text = said(&["--rate", rate, file]);
        assert!(text.contains("looks like a closed loop: 4 requests were in flight for 100 %"), "{text}");
        assert!(text.contains("with --concurrency 4."), "{text}");
        assert_eq!(text.contains("has no room left"), rate == "1.5", "{text}");
    }
    let text = said(&["--concurrency", "4", file]);
    assert!(!text.contains("closed loop") && text.contains("works all the time"), "{text}");
    fs::remove_file(path).unwrap();
    let path = log("arrivals", 80, 8, "");
    assert!(!said(&[path.to_str().unwrap()]).contains("closed loop"));
    fs::remove_file(path).unwrap();
}

#[test]
fn a_request_that_outlasts_all_others_does_not_hide_that_a_stage_has_no_room() {
    let mut free = 0;
    let requests = (0..400_u64).map(|number| {
        free = free.max(number * 10) + 7;
        // The last one holds the log open for a minute.
        (number * 10, free - 7, if number == 399 { free + 60_000 } else { free })
    });
    let path = log_of("outlier", requests, "");
    let file = path.to_str().unwrap();
    let stages = |rate| predicted(&["--rate", rate, file])["predicted"].clone();
    assert!((stages("1")["stages"][0]["utilisation"].as_f64().unwrap() - 0.7).abs() < 0.02);
    // The last four of 400 requests do not count: the other ones end within 3.957 s.
    assert!((stages("1")["requests_per_s"].as_f64().unwrap() - 396.0 / 3.957).abs() < 1e-3);
    let [replayed, half] = ["1", "0.5"].map(|rate| stages(rate)["requests_per_s"].as_f64().unwrap());
    assert!((half / replayed - 0.5).abs() < 0.01, "{half} of {replayed}");
    let text = String::from_utf8(what_if(&["--rate", "0.5", file]).stdout).unwrap().replace('\n', " ");
    let said = "at most 1 %: 4 (up to 60.0 s after the others) of the log and 4 (up to 60.1 s after \
                the others) of the prediction. With them, the log has 6.250 requests a second, and the \
                prediction 5.883 (-5.9 % from the replay).";
    assert!(text.contains(said), "{text}");
    let text = String::from_utf8(what_if(&["--rate", "1.5", file]).stdout).unwrap();
    assert!(text.contains("it has no room left"), "{text}");
    assert!(text.lines().all(|line| line.len() <= 100), "{text}");
    fs::remove_file(path).unwrap();
}

#[test]
fn a_number_with_a_sign_is_the_difference_from_that_of_the_log() {
    let pipeline = data("pipeline.jsonl");
    let of = |workers: &str| predicted(&["--workers", workers, &pipeline]);
    assert_eq!(of("2=+1"), of("code2wav=3"));
    assert_eq!(of("2=-1"), of("2=1"));
    assert_ne!(of("2=+1"), of("2=1"));
}

#[test]
fn percentiles_are_those_that_were_chosen_in_text_and_json() {
    let path = log("percentiles", 100, 15, "");
    let file = path.to_str().unwrap();
    let [usual, chosen] = [&[][..], &["--percentiles", "99.9,p25"]]
        .map(|args| predicted(&[args, &[file, "--by", "request_id"]].concat()));
    let keys = |prediction: &Value, place: &str| {
        let times = prediction.pointer(place).unwrap().as_object().unwrap();
        times.keys().cloned().collect::<Vec<_>>()
    };
    for place in ["/logged/e2e_total_ms", "/predicted/stages/0/waiting_ms", "/groups/0/replayed"] {
        assert_eq!(keys(&usual, place), ["mean", "p50", "p90", "p99"]);
        assert_eq!(keys(&chosen, place), ["mean", "p25", "p99.9"]);
    }
    // A request comes every 10 ms and takes 15: the n-th waits for n times 5 ms.
    let e2e = &chosen["predicted"]["e2e_total_ms"];
    assert_eq!((&e2e["p25"], &e2e["p99.9"]), (&(15.0 + 24.0 * 5.0).into(), &(15.0 + 99.0 * 5.0).into()));
    assert_eq!(usual["sentences"], chosen["sentences"]);
    let text =
        String::from_utf8(what_if(&["--percentiles", "25,99.9", "--every", "1m", file]).stdout).unwrap();
    for expected in [
        "| e2e_total_ms, p25   |",
        "| e2e_total_ms, p99.9 |",
        " waiting_ms, p25 |   p99.9 |",
        "| e2e p25, logged | predicted | e2e p99.9, logged | predicted |",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(!text.contains("p50  ") && !text.contains("p99 "), "{text}");
    fs::remove_file(path).unwrap();
}

#[test]
fn a_stage_without_a_queue_may_have_had_more_workers() {
    // Two requests every 20 ms take 5 ms each, one after the other; three times as many do not fit into one
    // worker.
    let path = log_of("guessed", (0..200).map(|n| n / 2 * 20 + n % 2 * 6).map(|at| (at, at, at + 5)), "");
    let log = path.to_str().unwrap();
    let said = |arguments: &[&str]| {
        String::from_utf8(what_if(&[arguments, &[log]].concat()).stdout).unwrap().replace('\n', " ")
    };
    let [queue, guess] =
        ["No queue in the log, but one in the prediction: 2 vocoder (1).", "no more workers than"];
    let text = said(&["--rate", "1.5"]);
    assert!(text.contains(queue) && !text.contains(guess), "{text}");
    // The claim is in the sentence of its condition.
    let text = said(&["--rate", "3"]);
    let claim = "If stage 2 vocoder has no more workers than the log shows (1, the most that worked at once \
                 for at least 1 % of the time in which it worked, while it had no queue), it has no room \
                 left: its queue grows";
    assert!(text.contains(claim) && text.contains("--workers sets the number."), "{text}");
    assert!(!text.contains(queue) && !text.contains("Stage 2 vocoder has no room"), "{text}");
    // With one client per worker of the log, the stage works all the time.
    let text = said(&["--concurrency", "4"]);
    assert!(text.contains("while it had no queue), it works all the time"), "{text}");
    for arguments in [&[][..], &["--rate", "3", "--workers", "2=2"]] {
        let text = said(arguments);
        assert!(!text.contains(queue) && !text.contains(guess), "{text}");
    }
    fs::remove_file(path).unwrap();
}

#[test]
fn what_cannot_be_predicted_is_refused_in_a_sentence() {
    let pipeline = data("pipeline.jsonl");
    for (arguments, expected) in [
        (&["--workers", "7=2", &pipeline][..], "has no stage 7, but 0 thinker, 1 talker, 2 code2wav"),
        (&["--batch", "talker=4", &pipeline], "all batches of stage 1 talker have 1 request"),
        (&["--workers", "2=0", &pipeline], "a whole number from 1 to"),
        (&["--workers", "2", &pipeline], "such as `2=4`"),
        (&["--workers", "2=50%", &pipeline], "expected a stage and a whole number from 1 to 1000000"),
        (&["--rate", "150%", &pipeline], "expected a number from 0.001 to 1000, such as `1.5`"),
        (&["--workers", "2=-9", &pipeline], "--workers 2=-9: the log has 2"),
        (
            &["--workers", "2=3", "--workers", "code2wav=4", &pipeline],
            "--workers 2=3 and --workers code2wav=4 set stage 2 code2wav twice",
        ),
        (&["--rate", "0", &pipeline], "0.001 to 1000"),
        (&["--rate", "2", "--concurrency", "4", &pipeline], "cannot be used with"),
    ] {
        let error = refused(arguments);
        assert!(error.contains(expected), "{expected}: {error}");
    }
    let path = log("sampled", 10, 5, ",\"sample_rate\":100");
    assert!(
        refused(&[path.to_str().unwrap()])
            .contains("the log is sampled: 10 lines stand for further requests")
    );
    fs::remove_file(path).unwrap();
}

#[test]
fn a_stage_of_several_logs_is_named_since_its_workers_may_have_queues_of_their_own() {
    let pipeline = fs::read_to_string(data("pipeline.jsonl")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let sentences = |name: &str, rows: [&str; 2]| {
        let lines = pipeline.lines().enumerate().map(|(at, line)| {
            let field = format!(r#""fields":{{"log_file":"{}","samples""#, rows[at % 2]);
            line.replace(r#""fields":{"samples""#, &field) + "\n"
        });
        let path = directory.path().join(name);
        fs::write(&path, lines.collect::<String>()).unwrap();
        predicted(&[path.to_str().unwrap()])["sentences"].to_string()
    };
    for (name, logs, count) in [("two", ["a.log", "b.log"], 2), ("three", ["a.log", "b.log, c.log"], 3)] {
        let several = sentences(name, logs);
        let said =
            format!("Stages with rows of several logs: 2 code2wav ({count} logs, 2 workers). If each log");
        assert!(several.contains(&said), "{several}");
    }
    let one = sentences("one", ["a.log", "a.log"]);
    assert!(!one.contains("several logs"), "{one}");
}

#[test]
fn a_real_pipeline_is_replayed_within_a_fifth_of_its_log() {
    let prediction = predicted(&["--concurrency", "8", &data("pipeline.jsonl")]);
    let [logged, replayed] = ["logged", "replayed"].map(|run| &prediction[run]["e2e_total_ms"]);
    for mark in ["mean", "p50"] {
        let ratio = replayed[mark].as_f64().unwrap() / logged[mark].as_f64().unwrap();
        assert!((0.8..1.25).contains(&ratio), "{mark}: {ratio}");
    }
}

fn rates(prediction: &Value) -> [f64; 3] {
    ["logged", "replayed", "predicted"].map(|run| prediction[run]["requests_per_s"].as_f64().unwrap())
}

#[test]
fn more_workers_end_an_overloaded_run_sooner_as_a_real_run_with_them_does() {
    let (one, two) = (data("one_worker.jsonl.xz"), data("two_workers.jsonl.xz"));
    let with = |workers: &str, file: &str| predicted(&["--workers", workers, file]);
    let [logged, replayed, more] = rates(&with("code2wav=2", &one));
    assert_eq!(logged, replayed);
    let [real, ..] = rates(&with("code2wav=2", &two));
    assert!(real > 1.5 * logged && (more / real - 1.0).abs() < 0.2, "{logged}, {more}, really {real}");
    let [_, _, fewer] = rates(&with("code2wav=1", &two));
    assert!((fewer / logged - 1.0).abs() < 0.2, "{fewer}, really {logged}");
    // The last of 40 requests comes 9.8 s after the first one, and is answered at once.
    let [_, _, many] = rates(&with("code2wav=20", &one));
    assert!((2.0..4.1).contains(&many), "{many}");
}

#[test]
fn a_run_that_is_cut_by_until_or_where_covers_the_same_time_in_a_replay() {
    // A request every 10 ms takes 5: they end 5, 15, …, 995 ms after the beginning.
    let path = log("cut", 100, 5, "");
    let file = path.to_str().unwrap();
    let until = ["--until", "2023-11-14T22:26:20.700Z"];
    let [logged, replayed, twice] = rates(&predicted(&[&["--rate", "2", file][..], &until].concat()));
    assert_eq!((logged, replayed, twice), (100.0, 100.0, 200.0));
    // The selected requests are from the middle of the run.
    let middle = "timestamp >= \"2023-11-14T22:26:20.300Z\" && timestamp < \"2023-11-14T22:26:20.700Z\"";
    let [logged, replayed, _] = rates(&predicted(&["--where", middle, file]));
    assert!((logged - 40.0 / 0.995).abs() < 0.01, "{logged}");
    assert_eq!(logged, replayed);
    fs::remove_file(path).unwrap();
}

#[test]
fn rows_outside_of_their_requests_are_named_before_the_prediction() {
    let path = log("raw", 10, 5, "");
    let row = "{\"type\":\"stage\",\"schema\":1,\"timestamp\":\"2023-11-14T22:26:20.010000Z\",\
               \"request_id\":\"r0\",\"stage_id\":3,\"batch_id\":null,\"batch_size\":null,\
               \"num_tokens_in\":null,\"num_tokens_out\":null,\"preprocess_time_ms\":null,\
               \"stage_gen_time_ms\":5,\"busy_time_ms\":5,\"events\":1,\
               \"started\":\"2023-11-14T22:26:20.005000Z\"}\n";
    let requests = fs::read_to_string(&path).unwrap();
    fs::write(&path, row.to_owned() + &requests).unwrap();
    let file = path.to_str().unwrap();
    let said = predicted(&[file])["sentences"][0].as_str().unwrap().to_owned();
    assert!(said.starts_with("Not joined: 1 row of a worker is in no request."), "{said}");
    assert!(said.ends_with("Stages are missing from the prediction, or have too little to do."), "{said}");
    let output = what_if(&[file]);
    let text = String::from_utf8(output.stdout).unwrap().replace('\n', " ");
    assert!(text.starts_with(&said) && output.stderr.is_empty(), "{text}");
    assert_eq!(text.matches("Not joined").count(), 1, "{text}");
    // The row comes after the line of its request, or names none.
    let nameless = row.replace("\"request_id\":\"r0\",", "");
    for log in [requests.clone() + row, nameless + &requests] {
        fs::write(&path, log).unwrap();
        let said = predicted(&[file])["sentences"][0].as_str().unwrap().to_owned();
        assert!(said.starts_with("1 row is late or without the id of a request, and is left out."), "{said}");
    }
    fs::remove_file(path).unwrap();
}
