//! The reader's `join`, on logs in which an id occurs again.

#[path = "support/reader.rs"]
mod reader;
mod support;

use std::{collections::BTreeMap, fs};

use omni_metrics::{Line, RequestLine};
use reader::{omni_of, stdout, text};
use serde_json::{Value, json};
use support::Rig;
use tracing::info_span;

/// The lines of a front and of its worker, for requests of these ids, which begin five minutes apart. Each
/// takes 10 ms, 4 of them in the stage of the worker.
fn run(ids: &[&'static str]) -> (String, String) {
    run_with(ids, |_, _| {})
}

/// The same, and then something else in both processes.
fn run_with(ids: &[&'static str], last: impl FnOnce(&Rig, &Rig)) -> (String, String) {
    let (front, worker) = (Rig::new(), Rig::new());
    for id in ids {
        front.run(|front| {
            let _request = info_span!("request", request_id = id).entered();
            front.wait_ms(3);
            worker.wait_ms(3);
            worker.run(|worker| {
                info_span!("stage", stage_id = 1, request_id = id).in_scope(|| worker.wait_ms(4));
            });
            front.wait_ms(7);
        });
        front.wait_ms(300_000 - 10);
        worker.wait_ms(300_000 - 7);
    }
    last(&front, &worker);
    (front.log.text(), worker.log.text())
}

/// The tables of the last request.
fn tables(lines: &str) -> &str {
    lines.rsplit(r#""e2e_table""#).next().unwrap()
}

fn at(day: &str, lines: &str) -> String {
    lines.replace("2026-01-31", day)
}

fn requests(joined: &str) -> Vec<RequestLine> {
    let request = |line: &str| match line.parse() {
        Ok(Line::Request(request)) => request,
        other => panic!("{line}: {other:?}"),
    };
    joined.lines().map(request).collect()
}

#[test]
fn runs_of_different_days_with_the_same_ids_each_keep_their_rows() {
    for ids in [&["a", "b"][..], &["a"]] {
        let (front, worker) = run(ids);
        let of_one = stdout(&omni_of(&["join"], &format!("{front}{worker}")));
        let both = [&front, &worker].map(|log| format!("{}{}", at("2026-01-29", log), at("2026-01-31", log)));
        let output = omni_of(&["join"], &both.concat());
        assert_eq!(stdout(&output), at("2026-01-29", &of_one) + &of_one);
        assert_eq!(text(&output.stderr), "");
    }
}

#[test]
fn each_of_two_runs_in_one_file_has_the_wall_time_of_its_own_late_rows() {
    let (long, _) = run(&["a", "b", "c"]);
    let (front, worker) = run(&["d", "e"]);
    let late = worker.replace(":00.0", ":20.0");
    assert_ne!(late, worker);
    // The line with the number 1 was left out.
    let second = front.lines().next_back().unwrap();
    let shorter = second.replace(r#""e2e_wall_time_ms":300010.0"#, r#""e2e_wall_time_ms":10.0"#);
    assert_ne!(shorter, second);
    for log in [format!("{long}{shorter}\n{late}"), format!("{shorter}\n{long}{late}")] {
        let joined = stdout(&omni_of(&["join"], &log));
        for request in requests(&joined) {
            let (e2e, run) = (&request.e2e_table, &request.overall_summary);
            let is_late = request.request_id == "e";
            assert_eq!(e2e.e2e_total_ms.as_f64(), if is_late { 20_007.0 } else { 10.0 }, "{joined}");
            assert!(run.e2e_wall_time_ms >= e2e.e2e_total_ms, "{joined}");
            assert!(is_late || run.e2e_wall_time_ms.as_f64() < 601_000.0, "{joined}");
        }
    }
}

#[test]
fn a_row_of_another_day_is_left_to_a_remark_and_a_wider_limit_takes_it() {
    let (front, worker) = run(&["a", "b"]);
    let expected = stdout(&omni_of(&["join"], &format!("{front}{worker}")));
    let log = format!("{front}{worker}{}", at("2026-02-02", &worker));
    let output = omni_of(&["join"], &log);
    assert_eq!(stdout(&output), expected);
    let said = text(&output.stderr);
    for sentence in [
        "request a: 1 row, but no line of it within 1m",
        "request b: 1 row, but no line of it within 1m",
        "2 rows are not within 1m of a line of the request, and left out",
    ] {
        assert!(said.contains(sentence), "{sentence}: {said}");
    }
    let joined = stdout(&omni_of(&["join", "--max-offset", "3d"], &log));
    let days = |request: &RequestLine| request.e2e_table.e2e_total_ms.as_f64() / 86_400_000.0;
    assert!(requests(&joined).iter().all(|request| days(request) > 1.9), "{joined}");
    // A request of which all rows are left out stays as it is.
    let output = omni_of(&["join"], &format!("{front}{}", at("2026-02-02", &worker)));
    assert_eq!(stdout(&output), front);
}

#[test]
fn attempts_of_one_run_with_the_same_id_each_keep_their_row_and_a_lost_one_gives_its_row_to_no_other() {
    let (front, worker) = run(&["a", "a", "a"]);
    let joined = stdout(&omni_of(&["join"], &format!("{front}{worker}")));
    let each_has_its_row = |joined: &str| {
        let is_whole = |request: RequestLine| {
            request.stage_table.len() == 1
                && request.stage_table[0].events == 1
                && request.e2e_table.e2e_total_ms.as_f64() == 10.0
        };
        requests(joined).into_iter().all(is_whole)
    };
    assert!(each_has_its_row(&joined), "{joined}");
    let of_two: Vec<_> = front.lines().step_by(2).collect();
    let output = omni_of(&["join"], &format!("{}\n{worker}", of_two.join("\n")));
    let joined = stdout(&output);
    assert!(joined.lines().count() == 2 && each_has_its_row(&joined), "{joined}");
    assert!(text(&output.stderr).contains("request a: 1 row, but no line of it within 1m"), "{output:?}");
}

#[test]
fn a_row_that_waited_since_its_request_was_open_belongs_to_it_however_late_it_began() {
    let (front, worker) = run(&["a"]);
    let late = worker.replace("T12:00", "T12:30");
    assert_eq!(stdout(&omni_of(&["join"], &format!("{front}{late}"))), front);
    let waited = late.replace(r#""queue_time_ms":0.0"#, r#""queue_time_ms":1800000.0"#);
    assert_ne!(waited, late);
    let joined = stdout(&omni_of(&["join"], &format!("{front}{waited}")));
    assert!(requests(&joined)[0].e2e_table.e2e_total_ms.as_f64() > 1_799_000.0, "{joined}");
}

#[test]
fn the_rows_of_a_clock_that_is_behind_are_named_and_moved_if_asked() {
    let ids =
        ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t"];
    let (front, worker) = run(&ids);
    let log = format!("{}{worker}", front.replace(":00.0", ":00.2"));
    let unmoved = omni_of(&["join"], &log);
    let said = text(&unmoved.stderr);
    assert!(
        said.starts_with(
            "omni-metrics: 20 rows of 20 requests begin before the request, by up to 197.000 ms (a): the \
             clocks of the processes differ"
        ),
        "{said}"
    );
    assert!(
        requests(&stdout(&unmoved)).iter().all(|line| line.stage_table[0].start_ms.unwrap().as_nanos() == 0)
    );
    let aligned = omni_of(&["join", "--align-clocks"], &log);
    let said = text(&aligned.stderr);
    assert_eq!(
        said,
        "omni-metrics: 1 log of rows has a clock off by 10 ms or more from that of the requests: standard \
         input 200.000 ms behind\n\
         omni-metrics: 20 rows were moved by up to 200.000 ms, since the clocks of their processes differ\n"
    );
    assert_eq!(
        stdout(&aligned),
        stdout(&omni_of(&["join"], &format!("{front}{worker}"))).replace(":00.0", ":00.2")
    );
    // Rows that lie inside, and a few rows, stay where they are.
    for log in [format!("{front}{worker}"), {
        let (front, worker) = run(&ids[..7]);
        format!("{}{worker}", front.replace(":00.0", ":00.2"))
    }] {
        assert_eq!(stdout(&omni_of(&["join", "--align-clocks"], &log)), stdout(&omni_of(&["join"], &log)));
    }
}

#[test]
fn with_clocks_that_differ_by_more_than_attempts_are_apart_a_message_stays_in_its_attempt() {
    let ids = ["a", "b", "c", "d", "e", "f", "g", "h", "again", "again"];
    let (front, worker) = run(&ids);
    // The clock of the worker is a day ahead, and so is the flight of the message to the second attempt.
    let receiver = Rig::new();
    receiver.wait_ms(9 * 300_000 + 2);
    receiver.run(|rig| {
        let sent = 1_769_860_800_000.0 + f64::from(9 * 300_000 + 1 - 86_400_000);
        let edge = info_span!(
            "transfer",
            from_stage = 0,
            to_stage = 1,
            phase = "rx",
            sent_at_unix_ms = sent,
            request_id = "again"
        );
        edge.in_scope(|| rig.wait_ms(1));
    });
    let log = format!("{front}{}", at("2026-02-01", &(worker + &receiver.log.text())));
    let joined = requests(&stdout(&omni_of(&["join", "--align-clocks"], &log)));
    let messages: Vec<_> = joined[8..].iter().map(|request| request.transfer_table.len()).collect();
    assert_eq!(messages, [0, 1]);
    assert!(joined.iter().all(|request| request.e2e_table.e2e_total_ms.as_f64() == 10.0), "{joined:?}");
}

#[test]
fn a_row_of_an_attempt_without_a_line_is_left_out_if_its_clock_is_known() {
    let ids =
        ["a", "b", "c", "d", "e", "f", "g", "h", "i", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t", "j"];
    let (front, worker) = run(&ids);
    let clean = stdout(&omni_of(&["join"], &format!("{front}{worker}")));
    let earlier = worker.lines().next_back().unwrap().replace("T13:35:00", "T13:34:55");
    let log = format!("{front}{worker}{earlier}\n");
    let aligned = omni_of(&["join", "--align-clocks"], &log);
    assert_eq!(stdout(&aligned), clean);
    let said = text(&aligned.stderr);
    assert!(
        said.starts_with(
            "omni-metrics: 1 row of 1 request that began more than a second after the row ended, by up to \
             4993.000 ms (j), left out: the clock is known"
        ),
        "{said}"
    );
    let expected = json!({ "rows": 1, "requests": 1, "most_ms": 4_993.0, "example": "j" });
    let as_json = omni_of(&["join", "--align-clocks", "--json"], &log);
    assert_eq!(report(&text(&as_json.stderr))["rows_of_earlier_attempts"], expected);
    // The clock of few rows is not known, nor is any clock without an estimate; a limit decides alone.
    let lines = |log: &str| log.lines().skip(13).map(|line| format!("{line}\n")).collect::<String>();
    let few = format!("{}{}{earlier}\n", lines(&front), lines(&worker));
    for (args, log) in [
        (&["join"][..], &log),
        (&["join", "--align-clocks"], &few),
        (&["join", "--align-clocks", "--max-offset", "1m"], &log),
    ] {
        let joined = requests(&stdout(&omni_of(args, log)));
        assert_eq!(joined.last().unwrap().stage_table[0].events, 2, "{args:?}");
    }
    // A row that is late may be one of a request that was aborted.
    let late = format!("{front}{worker}{}\n", earlier.replace("T13:34:55", "T13:35:05"));
    let joined = requests(&stdout(&omni_of(&["join", "--align-clocks"], &late)));
    assert_eq!(joined.last().unwrap().stage_table[0].events, 2);
}

/// The logs of a front, a thinker and a talker, whose clocks differ by up to half a minute. All serve three
/// attempts with one id, which begin six seconds apart and take 10 ms.
fn attempts_with_messages() -> [String; 3] {
    const AHEAD: [u64; 3] = [20_000, 35_000, 0];
    let rigs = AHEAD.map(|_| Rig::new());
    let wait = |ms| rigs.iter().for_each(|rig| rig.wait_ms(ms));
    rigs.iter().zip(AHEAD).for_each(|(rig, ahead)| rig.wait_ms(ahead));
    let [front, thinker, talker] = &rigs;
    let send = |from_stage: u64, at: u64| {
        let edge =
            info_span!("transfer", from_stage, to_stage = from_stage + 1, phase = "tx", request_id = "a");
        edge.in_scope(|| wait(1));
        1_769_860_800_000.0 + (at + 1 + AHEAD[from_stage as usize]) as f64
    };
    let receive = |from_stage: u64, sent: f64| {
        let (to_stage, phase) = (from_stage + 1, "rx");
        info_span!("transfer", from_stage, to_stage, phase, sent_at_unix_ms = sent, request_id = "a")
            .in_scope(|| wait(1));
    };
    let work = |stage_id: u64| info_span!("stage", stage_id, request_id = "a").in_scope(|| wait(1));
    for at in [0, 6_000, 12_000] {
        front.run(|_| {
            let _request = info_span!("request", request_id = "a").entered();
            let sent = send(0, at);
            wait(1);
            thinker.run(|_| {
                receive(0, sent);
                work(1);
                let sent = send(1, at + 4);
                wait(1);
                talker.run(|_| {
                    receive(1, sent);
                    work(2);
                });
            });
            wait(2);
        });
        wait(6_000 - 10);
    }
    rigs.map(|rig| rig.log.text())
}

#[test]
fn rows_of_an_attempt_without_a_line_go_to_no_other_one_as_its_messages_tell_whatever_the_clocks() {
    let [front, thinker, talker] = attempts_with_messages();
    let logs = ["lost-front.log", "lost-thinker.log", "lost-talker.log"].map(path);
    let join = |kept: &[usize], thinker: &str, args: &[&str]| {
        let lines: Vec<_> = front.lines().collect();
        let lines: Vec<_> = kept.iter().map(|at| lines[*at]).collect();
        fs::write(&logs[0], lines.join("\n")).unwrap();
        fs::write(&logs[1], thinker).unwrap();
        fs::write(&logs[2], &talker).unwrap();
        let output = omni_of(&[&["join", "--json"], args, &logs.each_ref().map(String::as_str)].concat(), "");
        let events = requests(&stdout(&output)).into_iter().map(|line| {
            let stages = line.stage_table.iter().map(|row| row.events);
            stages.chain(line.transfer_table.iter().map(|row| row.events)).collect::<Vec<_>>()
        });
        (events.collect::<Vec<_>>(), report(&text(&output.stderr))["rows_of_lost_attempts"].clone())
    };
    let whole = vec![1, 1, 2, 2];
    let none = json!({ "rows": 0, "requests": 0, "most_ms": 0.0 });
    assert_eq!(join(&[0, 1, 2], &thinker, &[]), (vec![whole.clone(); 3], none));
    for (kept, rows, most_ms) in [
        (&[0, 1][..], 5, 5_991.0),
        (&[0, 2], 5, 5_991.0),
        (&[1, 2], 5, 5_999.0),
        (&[0], 10, 11_991.0),
        (&[1], 10, 5_999.0),
        (&[2], 10, 11_999.0),
    ] {
        let expected = json!({ "rows": rows, "requests": 1, "most_ms": most_ms, "example": "a" });
        assert_eq!(join(kept, &thinker, &[]), (vec![whole.clone(); kept.len()], expected), "{kept:?}");
    }
    // A set limit decides alone, and without a message that a request has sent, its clock is not known.
    assert_eq!(join(&[0], &thinker, &["--max-offset", "1m"]).0, [[3, 3, 4, 6]]);
    let later: Vec<_> = thinker.lines().skip(1).collect();
    assert_eq!(join(&[0], &later.join("\n"), &[]).0, [[3, 3, 3, 6]]);
}

#[test]
fn a_row_stays_that_a_message_of_its_request_has_led_to_however_early_it_ended_by_a_clock_that_was_known() {
    let ids: Vec<_> = (0..40).map(|id| &*format!("request {id}").leak()).collect();
    // The worker is started again with a clock that is five seconds behind, and writes two rows.
    let again = Rig::new();
    again.wait_ms(40 * 300_000 - 5_000);
    let (front, worker) = run_with(&ids, |front, _| {
        front.run(|front| {
            let _request = info_span!("request", request_id = "z").entered();
            let edge = info_span!("transfer", from_stage = 0, to_stage = 1, phase = "tx", request_id = "z");
            edge.in_scope(|| front.wait_ms(1));
            front.wait_ms(9);
        });
        again.run(|rig| {
            let sent = 1_769_860_800_000.0 + f64::from(40 * 300_000 + 1);
            let (from_stage, to_stage, phase) = (0, 1, "rx");
            info_span!("transfer", from_stage, to_stage, phase, sent_at_unix_ms = sent, request_id = "z")
                .in_scope(|| rig.wait_ms(1));
            info_span!("stage", stage_id = 1, request_id = "z").in_scope(|| rig.wait_ms(1));
        });
    });
    let rows = again.log.text();
    let output = omni_of(&["join", "--align-clocks", "--json"], &format!("{front}{worker}{rows}"));
    let joined = requests(&stdout(&output));
    let request = joined.last().unwrap();
    assert_eq!((request.stage_table.len(), request.transfer_table[0].events), (1, 2));
    assert_eq!(report(&text(&output.stderr))["rows_of_earlier_attempts"]["rows"], 0);
    // A row of which no message tells is left out.
    let stage = rows.lines().next_back().unwrap();
    let output = omni_of(&["join", "--align-clocks"], &format!("{front}{worker}{stage}"));
    assert_eq!(tables(&stdout(&output)), tables(&front));
}

#[test]
fn a_request_keeps_its_own_rows_as_they_are_if_all_rows_of_workers_are_too_far_away() {
    let ids =
        ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t"];
    let sender = Rig::new();
    let (front, worker) = run_with(&ids, |front, _| {
        let edge = |phase, sent_at_unix_ms: Option<f64>| {
            info_span!("transfer", from_stage = 1, to_stage = 0, phase, sent_at_unix_ms, request_id = "z")
        };
        sender.run(|rig| edge("tx", None).in_scope(|| rig.wait_ms(1)));
        front.wait_ms(1_010);
        front.run(|rig| {
            let _request = info_span!("request", request_id = "z").entered();
            let sent = 1_769_860_800_000.0 + f64::from(20 * 300_000);
            edge("rx", Some(sent)).in_scope(|| rig.wait_ms(1));
        });
    });
    // The clock of the worker is known, so that of its message to the front is, whose flight is a second.
    let log = format!("{}{worker}{}", front.replace(":00.0", ":00.2"), sender.log.text());
    let output = omni_of(&["join", "--align-clocks"], &log);
    let said = text(&output.stderr);
    assert!(said.contains("200.000 ms behind") && said.contains("request z: 1 row, but no line"), "{said}");
    assert!(front.contains(r#""in_flight_time_ms":1010.0"#), "{front}");
    assert_eq!(tables(&stdout(&output)), tables(&front));
}

#[test]
fn rows_without_a_request_are_named_alike_each_time() {
    let ids = [
        "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t",
        "u", "v",
    ];
    let (_, worker) = run(&ids);
    let names: String = ids[..20]
        .iter()
        .map(|id| format!("omni-metrics: request {id}: 1 row, but no line of it within 1m\n"))
        .collect();
    for _ in 0..3 {
        let said = text(&omni_of(&["join"], &worker).stderr).to_owned();
        assert_eq!(
            said,
            format!(
                "{names}omni-metrics: 2 more rows of 2 more requests, but no line of them within 1m\n\
                 omni-metrics: --keep-rows writes these rows too, for summary, check or a later join\n"
            )
        );
    }
}

#[test]
fn rows_without_a_request_are_written_if_asked_for_other_commands_and_for_a_later_join() {
    let (front, worker) = run(&["a", "b", "c"]);
    let whole = stdout(&omni_of(&["join"], &format!("{front}{worker}")));
    let (ended, open) = front.split_at(front.match_indices('\n').nth(1).unwrap().0 + 1);
    let log = format!("{ended}{worker}");
    let output = omni_of(&["join", "--keep-rows"], &log);
    let kept = stdout(&output);
    let of_open = worker.lines().next_back().unwrap();
    let expected: Vec<_> = whole.lines().take(2).chain([of_open]).collect();
    assert!(kept.lines().eq(expected), "{kept}");
    assert_eq!(text(&output.stderr), "omni-metrics: request c: 1 row, but no line of it within 1m\n");
    assert!(text(&omni_of(&["check"], &kept).stdout).contains("1 row names 1 request without a line (c), "));
    assert!(stdout(&omni_of(&["summary", "--json"], &kept)).contains(r#""detached":1"#));
    assert_eq!(stdout(&omni_of(&["join"], &format!("{kept}{open}"))), whole);

    // Also a row that is too far from the line with its id, after that line.
    let far = at("2026-02-02", &worker);
    let kept = stdout(&omni_of(&["join", "--keep-rows"], &format!("{front}{worker}{far}")));
    let expected: Vec<_> = whole.lines().zip(far.lines()).flat_map(|(line, row)| [line, row]).collect();
    assert!(kept.lines().eq(expected), "{kept}");

    let counts = |args: &[&str]| {
        let output = omni_of(&[&["join", "--json", "--keep-rows"], args].concat(), &log);
        let json = report(&text(&output.stderr));
        (stdout(&output).lines().count(), json["requests"].clone(), json["left_out_lines"].clone())
    };
    assert_eq!(counts(&[]), (3, json!(2), json!(0)));
    assert_eq!(counts(&["--by", "file"]), (3, json!(2), json!(0)));
    assert_eq!(counts(&["--where", "request_id != 'a'"]), (2, json!(1), json!(1)));
}

#[test]
fn a_request_keeps_when_its_own_process_ended_it_if_its_workers_went_on() {
    let (front, worker) = (Rig::new(), Rig::new());
    for (id, reason, own, worked) in [("aborted", "abort", 2, 1_420), ("answered", "stop", 9, 4)] {
        front.run(|front| {
            let request = info_span!("request", request_id = id, finish_reason = reason);
            worker.run(|worker| {
                let stage = info_span!("stage", stage_id = 1, request_id = id);
                stage.in_scope(|| worker.wait_ms(worked));
            });
            request.in_scope(|| front.wait_ms(own));
        });
        // Both clocks go on to the same moment.
        front.wait_ms(5_000 - own);
        worker.wait_ms(5_000 - worked);
    }
    let logs = format!("{}{}", front.log.text(), worker.log.text());
    let joined = stdout(&omni_of(&["join"], &logs));
    let own_times: Vec<_> = requests(&joined)
        .iter()
        .map(|request| serde_json::to_value(request.fields.get("e2e_before_join_ms")).unwrap())
        .collect();
    assert_eq!(own_times, [json!(2.0), Value::Null]);
    // The time of the first join stays.
    let later = row("aborted", "").replace("00.008000", "02.000000");
    let again = requests(&stdout(&omni_of(&["join"], &format!("{joined}{later}"))));
    assert_eq!(again[0].e2e_table.e2e_total_ms.as_f64(), 2_000.0);
    assert_eq!(serde_json::to_value(&again[0].fields).unwrap(), json!({ "e2e_before_join_ms": 2.0 }));

    let said = |args: &[&str]| stdout(&omni_of(args, &joined)).replace('\n', " ");
    let (why, sentence) =
        (said(&["why", "aborted"]), "its rows in other processes went on until 1,420 ms, by");
    assert!(why.contains(&format!("In its own process it ended (abort) after 2.00 ms; {sentence}")), "{why}");
    assert!(!said(&["why", "answered"]).contains("In its own process"));
    let json: Value = serde_json::from_str(&said(&["why", "--json", "aborted"])).unwrap();
    assert_eq!(json["e2e_before_join_ms"], 2.0);
    let sentence = "1 failed request was over before the last row of a worker, by up to 1,418 ms. e2e_total_ms \
                    counts until that row; `e2e_before_join_ms` in `fields` is the time until the request";
    assert!(said(&["summary"]).contains(sentence), "{}", said(&["summary"]));
    assert!(!said(&["summary", "--where", "!failed"]).contains("over before the last row"));
}

/// A line of a worker: a row of stage 1 of a request, with further fields.
fn row(id: &str, fields: &str) -> String {
    format!(
        r#"{{"type":"stage","schema":1,"timestamp":"2026-01-31T12:00:00.008000Z","request_id":"{id}","stage_id":1,"batch_id":null,"batch_size":null,"num_tokens_in":1,"num_tokens_out":2,"preprocess_time_ms":null,"stage_gen_time_ms":2.0,"stage_name":"vocoder","busy_time_ms":2.0,"queue_time_ms":1.0,"start_ms":null,"wall_time_ms":2.0,"events":1{fields}}}
"#
    )
}

#[test]
fn joined_lines_name_the_logs_that_they_come_from_if_there_are_several() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let write = |name: &str, log: &str| fs::write(path(name), log).unwrap();
    let front = |ids: &[&'static str]| {
        let front = Rig::new();
        front.run(|rig| {
            let spans: Vec<_> = ids
                .iter()
                .map(|id| info_span!(parent: None, "request", request_id = id, model = "m").entered())
                .collect();
            info_span!("stage", stage_id = 0, request_id = ids[0]).in_scope(|| rig.wait_ms(10));
            drop(spans);
        });
        front.log.text()
    };
    let first = front(&["own", "in_a", "in_both", "named"]);
    write("front-0.log", &first);
    write("front-1.log", &front(&["in_b"]));
    let named = row("named", r#","fields":{"log_file":"its own","n":1}"#);
    write("a.log", &[row("in_a", ""), row("in_both", ""), row("in_both", ""), named].concat());
    let own = row("own", "").replace(r#""stage_id":1"#, r#""stage_id":0"#);
    write("b.log", &[row("in_b", ""), row("in_both", "").replace(".008", ".009"), own].concat());
    let logs_of = |joined: &str| {
        let log = |fields: &omni_metrics::Fields| fields.get("log_file").map(ToString::to_string);
        let of_request = |request: RequestLine| {
            let rows = request.stage_table.iter().map(|row| log(&row.fields)).collect::<Vec<_>>();
            (request.request_id, (log(&request.fields), rows))
        };
        requests(joined).into_iter().map(of_request).collect::<BTreeMap<_, _>>()
    };
    let logs = ["front-0.log", "front-1.log", "a.log", "b.log"].map(path);
    let join = [&["join"][..], &logs.each_ref().map(String::as_str)].concat();
    let joined = stdout(&omni_of(&join, ""));
    let some = |log: &str| Some(log.to_owned());
    let expected = [
        ("in_a", (some("front-0.log"), vec![some("a.log")])),
        ("in_b", (some("front-1.log"), vec![None, some("b.log")])),
        ("in_both", (some("front-0.log"), vec![some("a.log, b.log")])),
        ("named", (some("front-0.log"), vec![some("its own")])),
        ("own", (some("front-0.log"), vec![some("front-0.log, b.log")])),
    ];
    let expected = expected.map(|(id, logs)| (id.to_owned(), logs)).into();
    assert_eq!(logs_of(&joined), expected);

    // Joined lines keep their names, and so does a request without rows.
    write("joined.jsonl", &joined);
    write("late.log", &row("in_a", "").replace(r#""stage_id":1"#, r#""stage_id":2"#));
    let again = logs_of(&stdout(&omni_of(&["join", &path("joined.jsonl"), &path("late.log")], "")));
    assert_eq!(again["in_a"], (some("front-0.log"), vec![some("a.log"), some("late.log")]));
    assert_eq!(again["in_b"], expected["in_b"]);
    let alone = logs_of(&stdout(&omni_of(&["join", &logs[0], &logs[3]], "")));
    assert_eq!(alone["in_a"], (some("front-0.log"), vec![]));
    // The same log twice is one, and a single log has no names.
    let twice = [&join[..], &[&logs[2]]].concat();
    assert_eq!(stdout(&omni_of(&twice, "")), joined);
    assert_eq!(stdout(&omni_of(&["join", &logs[0]], "")), first);
}

/// The only line of JSON.
fn report(text: &str) -> Value {
    let lines: Vec<_> = text.lines().filter(|line| line.starts_with('{')).collect();
    assert_eq!(lines.len(), 1, "{text}");
    serde_json::from_str(lines[0]).unwrap()
}

/// A path of this name in a directory for this file of tests.
fn path(name: &str) -> String {
    let directory = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli_join");
    fs::create_dir_all(&directory).unwrap();
    directory.join(name).to_str().unwrap().to_owned()
}

#[test]
fn the_report_as_json_counts_what_the_sentences_say() {
    let (front, worker) = run(&["a", "b"]);
    let doubled = format!("{worker}x\n{worker}");
    let of_other_day = at("2026-02-02", &worker);
    let nameless = row("c", "").replace(r#""request_id":"c""#, r#""request_id":null"#);
    let far = row("a", "").replace(".008", ".208").replace(r#""queue_time_ms":1.0,"#, "");
    let far = far.replace(":00:00", ":00:02");
    let log = [&*front, &doubled, &of_other_day, &nameless, &far, &row("lost\\u001b", "")].concat();
    let as_sentences = omni_of(&["join"], &log);
    let as_json = omni_of(&["join", "--json"], &log);
    assert_eq!(stdout(&as_json), stdout(&as_sentences));
    let said = text(&as_sentences.stderr);
    for sentence in [
        "1 row names no request and is left out",
        "2 rows are not within 1m of a line of the request, and left out",
        "2 lines occur twice and count once",
        "1 row lies more than a second outside of the request",
        "request a: 1 row, but no line of it within 1m",
        "request b: 1 row, but no line of it within 1m",
    ] {
        assert!(said.contains(sentence), "{sentence}: {said}");
    }
    let json = text(&as_json.stderr);
    assert!(!json.contains("omni-metrics:") && !json.contains('\u{1b}'), "{json}");
    let expected = json!({
        "type": "join",
        "lines": 11, "broken_lines": 0, "foreign_lines": 1, "unknown_schema_lines": 0,
        "requests": 2, "left_out_lines": 0, "max_offset_ms": 60_000.0,
        "joined_rows": 3, "doubled_lines": 2, "rows_without_id": 1,
        "rows_without_request": { "rows": 3, "requests": 3, "examples": [
            { "request_id": "a", "rows": 1 },
            { "request_id": "b", "rows": 1 },
            { "request_id": "lost\u{1b}", "rows": 1 },
        ] },
        "rows_beyond_max_offset": 2, "rows_far_from_request": 1,
        "rows_before_request": { "rows": 0, "requests": 0, "most_ms": 0.0 },
        "rows_of_earlier_attempts": { "rows": 0, "requests": 0, "most_ms": 0.0 },
        "rows_of_lost_attempts": { "rows": 0, "requests": 0, "most_ms": 0.0 },
        "moved_rows": { "rows": 0, "most_ms": 0.0 },
        "sample": { "requests": 2, "requests_without_rows": 0, "rows_without_request": 0 },
    });
    assert_eq!(report(&json), expected);

    let output = path("counts.jsonl");
    let to_file = omni_of(&["join", "--json", "-o", &output, "--where", "request_id == 'a'"], &log);
    let report = report(&stdout(&to_file));
    assert_eq!((&report["requests"], &report["left_out_lines"]), (&json!(1), &json!(1)));
    assert_eq!(text(&to_file.stderr), "omni-metrics: 1 line is left out by --where\n");
    let written = requests(&fs::read_to_string(output).unwrap());
    assert!(written.iter().map(|request| &*request.request_id).eq(["a"]), "{written:?}");
}

#[test]
fn the_report_as_json_has_the_offset_of_each_clock() {
    let ids = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    let (front, worker) = run(&ids);
    let logs = ["clock-front.log", "clock-worker.log", "clock-few.log"].map(path);
    fs::write(&logs[0], front.replace(":00.0", ":00.2")).unwrap();
    fs::write(&logs[1], &worker).unwrap();
    fs::write(&logs[2], row("a", "").replace(".008", ".209")).unwrap();
    let [front, worker, few] = logs.each_ref().map(String::as_str);
    let join = |args: &[&str]| {
        report(&text(&omni_of(&[&["join", "--json", front, worker, few], args].concat(), "").stderr))
    };
    let aligned = join(&["--align-clocks"]);
    let clock = |log: &str, offsets: &[f64]| json!({ "log_file": log, "requests_from": "clock-front.log", "offsets_ms": offsets });
    assert_eq!(aligned["clocks"], json!([clock("clock-worker.log", &[200.0]), clock("clock-few.log", &[])]));
    assert_eq!(aligned["moved_rows"], json!({ "rows": 10, "most_ms": 200.0 }));
    let unmoved = join(&[]);
    assert_eq!(unmoved.get("clocks"), None);
    assert_eq!(
        unmoved["rows_before_request"],
        json!({ "rows": 10, "requests": 10, "most_ms": 197.0, "example": "a" })
    );
}

#[test]
fn requests_of_several_processes_are_moved_to_one_clock_if_a_worker_serves_both_at_the_same_time() {
    const IDS: [&str; 24] = [
        "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t",
        "u", "v", "w", "x",
    ];
    // Half a minute after the first requests, and by a clock of their front that is 700 ms ahead.
    let (front, worker) = run(&IDS[..13]);
    let (late_front, late_worker) = run(&IDS[13..]);
    let [late, late_worker] = [&late_front, &late_worker].map(|log| log.replace(":00.0", ":30.0"));
    let ahead = late.replace(":30.0", ":30.7");
    let logs = ["moved-front.log", "moved-ahead.log", "moved-worker.log"].map(path);
    let mut rows: Vec<_> = worker.lines().chain(late_worker.lines()).collect();
    rows.sort_unstable();
    let write = |ahead: &str, rows: &[&str]| {
        fs::write(&logs[0], &front).unwrap();
        fs::write(&logs[1], ahead).unwrap();
        fs::write(&logs[2], rows.join("\n")).unwrap();
    };
    let [first, second, worker] = logs.each_ref().map(String::as_str);
    let join = |args: &[&str]| {
        let output = omni_of(&[&["join", second, first, worker], args].concat(), "");
        (requests(&stdout(&output)), text(&output.stderr))
    };
    let begin = |line: &RequestLine| line.timestamp.unix_micros();
    write(&late, &rows);
    let (in_step, said) = join(&["--align-clocks"]);
    assert_eq!(said, "");
    write(&ahead, &rows);
    let (aligned, said) = join(&["--align-clocks"]);
    assert!(aligned.iter().map(begin).eq(in_step.iter().map(begin)), "{aligned:?}");
    for (at, request) in aligned.iter().enumerate() {
        let moved = serde_json::to_value(request.fields.get("clock_moved_ms")).unwrap();
        assert_eq!(moved, if at < 11 { json!(-700.0) } else { json!(null) });
        assert_eq!(request.stage_table, in_step[at].stage_table);
    }
    let sentence = "omni-metrics: the requests of 1 of 2 runs were moved to the clock of moved-front.log, which \
                    has the most requests: moved-ahead.log was 700.000 ms ahead\n";
    assert!(said.starts_with(sentence), "{said}");
    let (_, json) = join(&["--align-clocks", "--json"]);
    let clocks = |moved: Value| {
        json!([
            { "log_file": "moved-ahead.log", "requests": 11, "moved_ms": moved },
            { "log_file": "moved-front.log", "requests": 13, "moved_ms": 0.0, "is_reference": true },
        ])
    };
    assert_eq!(report(&json)["request_clocks"], clocks(json!(-700.0)));
    let (unmoved, _) = join(&[]);
    assert!(unmoved[..11].iter().all(|request| !request.fields.contains_key("clock_moved_ms")));

    // The worker may have been started again between the requests of one process and those of the other.
    rows.sort_by_key(|row| row.contains(":30.0"));
    write(&ahead, &rows);
    let (apart, said) = join(&["--align-clocks"]);
    assert!(apart.iter().map(begin).eq(unmoved.iter().map(begin)), "{apart:?}");
    let sentence = "omni-metrics: the requests of 1 of 2 runs keep their clock, since too few rows of workers \
                    compare it with that of moved-front.log: moved-ahead.log\n";
    assert!(said.contains(sentence), "{said}");
    let (_, json) = join(&["--align-clocks", "--json"]);
    assert_eq!(report(&json)["request_clocks"], clocks(Value::Null));

    // Without rows of workers, as in lines that were joined before, nothing compares clocks.
    write(&ahead, &[]);
    assert!(!join(&["--align-clocks"]).1.contains("keep their clock"));
}

#[test]
fn a_process_that_was_started_again_with_another_clock_is_named() {
    const IDS: [&str; 20] =
        ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t"];
    let (front, worker) = run(&IDS);
    let (before, after) = worker.split_at(worker.match_indices('\n').nth(9).unwrap().0 + 1);
    let logs = ["again-front.log", "again-worker.log"].map(path);
    fs::write(&logs[0], &front).unwrap();
    fs::write(&logs[1], before.to_owned() + &after.replace(":00.0", ":03.0")).unwrap();
    let said = text(&omni_of(&["join", "--align-clocks", &logs[0], &logs[1]], "").stderr);
    let expected = "omni-metrics: 1 log of rows has a clock off by 10 ms or more from that of the requests: \
                    again-worker.log between 0.000 ms off and 3000.000 ms ahead\n\
                    omni-metrics: 1 process was started again with another clock: again-worker.log\n";
    assert!(said.starts_with(expected), "{said}");
}

#[test]
fn rows_in_between_that_agree_on_another_clock_are_named_with_their_times_and_the_difference() {
    let ids: Vec<_> = (0..200).map(|id| &*format!("request {id}").leak()).collect();
    let (front, worker) = run(&ids);
    let rows = worker.lines().enumerate().map(|(at, row)| match at {
        100..108 => row.replace(":00.0", ":03.0") + "\n",
        _ => row.to_owned() + "\n",
    });
    let log = front + &rows.collect::<String>();
    let said = text(&omni_of(&["join", "--align-clocks"], &log).stderr);
    let sentence = "omni-metrics: 1 log has rows in succession that agree on another time than they were moved \
                    by, so their flights and starts may be wrong: standard input by 3000.000 ms from \
                    2026-01-31T20:20:03.007000Z to 2026-01-31T20:55:03.007000Z\n";
    assert!(said.contains(sentence), "{said}");
    let json = report(&text(&omni_of(&["join", "--align-clocks", "--json"], &log).stderr));
    let expected = json!([{
        "from": "2026-01-31T20:20:03.007000Z", "to": "2026-01-31T20:55:03.007000Z", "by_ms": -3_000.0
    }]);
    assert_eq!(json["clocks"][0]["doubtful"], expected);

    // A clock that is in doubt does not tell that rows before their request are of another attempt.
    let early = log.replace(":00.0", ":06.0").replace(":03.0", ":00.0");
    let json = report(&text(&omni_of(&["join", "--align-clocks", "--json"], &early).stderr));
    assert_eq!(json["rows_before_request"]["rows"], 8);
    assert_eq!(json["rows_of_earlier_attempts"]["rows"], 0);
}

#[test]
fn rows_of_attempts_without_a_line_do_not_tell_of_clocks() {
    let (front, worker) = run_with(&["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"], |front, worker| {
        let wait = |ms| [front, worker].iter().for_each(|rig| rig.wait_ms(ms));
        let receive = |request_id: &str, at: u64| {
            let sent_at_unix_ms = 1_769_860_800_000.0 + (3_000_000 + at) as f64;
            let (from_stage, to_stage, phase) = (0, 1, "rx");
            wait(1);
            worker.run(|_| {
                info_span!("transfer", from_stage, to_stage, phase, sent_at_unix_ms, request_id)
                    .in_scope(|| wait(1));
            });
        };
        for (at, id) in (0..).zip(["k", "l", "m", "n", "o", "p", "q", "r"]) {
            // The front was killed before it wrote the line of this attempt.
            receive(id, at * 10_000);
            wait(4_998);
            front.run(|_| {
                let _request = info_span!("request", request_id = id).entered();
                info_span!("transfer", from_stage = 0, to_stage = 1, phase = "tx", request_id = id)
                    .in_scope(|| wait(1));
                receive(id, at * 10_000 + 5_001);
                wait(4_997);
            });
        }
    });
    // Each half of the rows has some of them.
    let rows: Vec<_> = worker.lines().skip(10).chain(worker.lines().take(10)).collect();
    let output = omni_of(&["join", "--align-clocks", "--json"], &format!("{front}{}", rows.join("\n")));
    let report = report(&text(&output.stderr));
    assert_eq!(report["rows_of_lost_attempts"]["rows"], 8);
    assert_eq!(report["clocks"][0]["offsets_ms"], json!([0.0]));
}

#[test]
fn groups_of_joined_requests_are_those_of_summary_of_the_joined_lines() {
    let (front, worker) = run(&["a", "b", "c"]);
    let [of_front, of_worker, of_sibling] = ["groups-front.log", "groups-1.log", "groups-2.log"].map(path);
    fs::write(&of_front, &front).unwrap();
    let (first, others) = worker.split_at(worker.find('\n').unwrap() + 1);
    let output = path("groups.jsonl");
    let run = |args: &[&str]| {
        let output = omni_of(args, "");
        assert!(output.status.success(), "{output:?}");
        (text(&output.stdout), text(&output.stderr))
    };
    for is_fleet in [false, true] {
        fs::write(&of_worker, if is_fleet { first } else { &worker }).unwrap();
        fs::write(&of_sibling, if is_fleet { others } else { &worker }).unwrap();
        let logs = [&*of_front, &of_worker, &of_sibling];
        let logs = if is_fleet { &logs[..] } else { &logs[..2] };
        let joined = run(&[&["join"], logs].concat()).0;
        for args in [
            &["--by", "request_id"][..],
            &["--by", "stage_name,file"],
            &["--every", "5m"],
            &["--by", "fields.model", "--every", "1h"],
        ] {
            let summary = |json: &[&str]| run(&[&["summary", &output], args, json].concat());
            let to_file = run(&[&["join", "-o", &output], logs, args].concat());
            assert_eq!(fs::read_to_string(&output).unwrap(), joined);
            assert_eq!(to_file, summary(&[]), "{args:?}");
            let (out, err) = run(&[&["join"], logs, args].concat());
            assert_eq!(out, joined);
            if args != ["--by", "stage_name,file"] || is_fleet {
                assert_eq!(err, to_file.1 + &to_file.0);
            }
            let as_json = run(&[&["join", "--json", "-o", &output], logs, args].concat()).0;
            let expected: Value = serde_json::from_str(&summary(&["--json"]).0).unwrap();
            assert_eq!(report(&as_json)["groups"], expected, "{args:?}");
        }
    }
    let (out, _) =
        run(&["join", "-o", &output, &of_front, "--by", "request_id", "--where", "request_id == 'b'"]);
    assert!(out.contains("| b ") && !out.contains("| a "), "{out}");
}
