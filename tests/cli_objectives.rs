//! Objectives, `--slo`, in the commands of the reader.

#[path = "support/reader.rs"]
mod reader;
mod support;

use reader::{omni_of, stdout, text};
use serde_json::{Value, json};
use support::Rig;
use tracing::{field::Empty, info_span};

/// Requests of 100, 200, … ms, each with one stage whose first output comes after half of that time. The last
/// one fails before its first output, and one has no stage.
fn log() -> String {
    let rig = Rig::new();
    rig.run_text(|rig| {
        for n in 1..=10 {
            let request = info_span!("request", finish_reason = "stop");
            request.in_scope(|| {
                let stage = info_span!("stage", stage_id = 0, stage_name = "thinker", first_output = Empty);
                stage.in_scope(|| {
                    rig.wait_ms(n * 50);
                    stage.record("first_output", true);
                    rig.wait_ms(n * 50);
                });
            });
        }
        info_span!("request", finish_reason = "error").in_scope(|| rig.wait_ms(10));
        info_span!("request", finish_reason = "stop").in_scope(|| rig.wait_ms(20));
    });
    rig.log.text()
}

fn objectives(args: &[&str], log: &str) -> Value {
    let args = [&["summary", "--json"], args].concat();
    let summary: Value = serde_json::from_str(&stdout(&omni_of(&args, log))).unwrap();
    summary["objectives"].clone()
}

#[test]
fn requests_that_met_all_and_that_broke_each_are_counted() {
    let found = objectives(&["--slo", "first_output@thinker=200ms", "--slo", "e2e=0.7s@75%"], &log());
    assert_eq!((&found["met"], &found["judged"], &found["failed"]), (&json!(5), &json!(12), &json!(1)));
    let [first, e2e] = [0, 1].map(|at| found["each"][at].clone());
    let counts =
        |row: &Value| ["met", "broke", "only", "without_value"].map(|key| row[key].as_u64().unwrap());
    assert_eq!((counts(&first), counts(&e2e)), ([4, 6, 3, 1], [8, 3, 0, 0]));
    // Each request is in one of them.
    assert_eq!(found["broke"], 6);
    // The failed request took 10 ms, and does not meet the objective.
    assert_eq!(
        (&e2e["judged"], &e2e["wanted"], &e2e["is_attained"]),
        (&json!(12), &json!(0.75), &json!(false))
    );
    assert!((first["share"].as_f64().unwrap() - 4.0 / 11.0).abs() < 1e-9, "{first}");
    let alone = objectives(&["--slo", "e2e=0.7s@60%"], &log());
    assert_eq!(
        (&alone["share"], &alone["each"][0]["is_attained"]),
        (&alone["each"][0]["share"], &json!(true))
    );
    // Of 5.53 seconds.
    assert!((found["goodput_requests_per_s"].as_f64().unwrap() - 5.0 / 5.53).abs() < 1e-6, "{found}");
    assert_eq!(found["unjudged"], 0);
}

#[test]
fn a_request_without_any_of_the_values_is_not_judged_unless_it_failed() {
    let found = objectives(&["--slo", "first_output@0=1s"], &log());
    assert_eq!((&found["met"], &found["judged"], &found["unjudged"]), (&json!(10), &json!(11), &json!(1)));
    assert_eq!(objectives(&[], &log()), Value::Null, "without objectives there is no key");
}

#[test]
fn a_sampled_line_counts_for_all_requests_that_it_stands_for() {
    let log = log().replacen("\"request_id\":", "\"sample_rate\":100,\"request_id\":", 1);
    assert!(log.contains("sample_rate"), "{log}");
    let found = objectives(&["--slo", "e2e=1ms"], &log);
    assert_eq!((&found["met"], &found["judged"]), (&json!(0), &json!(111)));
}

#[test]
fn the_table_and_the_page_say_it() {
    let args = ["summary", "--slo", "first_output@0=200ms", "--slo", "e2e=700ms@99%"];
    let summary = stdout(&omni_of(&args, &log()));
    for part in [
        "| Objectives ",
        "| first_output@0=200ms |   4 |     6 |         3 |      1 |        1 | 36.4 % |",
        "| 99.0 %, missed |",
        "\n5 of 12 requests met all objectives (41.7 %).\n",
        "\n6 requests broke one objective or more, and count in the row of each.\n",
        "\nGoodput: 0.904 requests and 0.000 tokens a second.\n",
        "\nFailed requests, which count as not meeting them: 1.\n",
    ] {
        assert!(summary.contains(part), "{part}: {summary}");
    }
    assert!(summary.lines().all(|line| line.chars().count() <= 110), "{summary}");
    // Met, broke, failed and without a value are all requests.
    let page = stdout(&omni_of(&[&["report"], &args[1..]].concat(), &log()));
    for row in [
        "200ms</th><td>4</td><td>6</td><td>1</td><td>1</td>",
        "99%</th><td>8</td><td>3</td><td>1</td><td>0</td>",
    ] {
        assert!(page.contains(row) && page.contains("goodput"), "{row}");
    }
    let page = text(&omni_of(&["report", "--slo", "gen@9=1s"], &log()).stdout);
    assert!(
        page.contains("gen@9=1s</th><td>0</td><td>0</td><td>1</td><td>11</td><td>-</td>"),
        "no request has it"
    );
}

#[test]
fn requests_that_met_all_without_a_value_for_some_are_counted() {
    let slo = ["--slo", "first_output@0=200ms", "--slo", "e2e=700ms"];
    let found = objectives(&slo, &log());
    assert_eq!((&found["met"], &found["met_without_value"]), (&json!(5), &json!(1)));
    let each = [0, 1].map(|at| found["each"][at]["met_without_value"].clone());
    assert_eq!(each, [json!(1), json!(0)]);

    let said = "Of those that met all objectives, 1 request has no value for first_output@0=200ms.";
    let run = |args: &[&str]| stdout(&omni_of(&[args, &slo[..]].concat(), &log()));
    assert!(run(&["summary"]).contains(&format!("\n{said}\n")), "{}", run(&["summary"]));
    assert!(run(&["report"]).contains(said));
    assert!(!run(&["summary", "--where", "e2e_total_ms >= 100"]).contains("Of those"));

    let split = ["compare", "-", "--split", "2026-01-31T12:00:05Z"];
    let compared = run(&split).replace('\n', " ");
    assert_eq!(compared.matches(said).count(), 1, "{compared}");
    assert!(
        compared.contains(&format!("standard input from 2026-01-31T12:00:05.000000Z: {said}")),
        "{compared}"
    );
    let json: Value = serde_json::from_str(&run(&[&split[..], &["--json"]].concat())).unwrap();
    let counts = ["before", "after"].map(|side| json[side]["met_without_value"].as_u64().unwrap());
    assert_eq!(counts, [0, 1]);
}

#[test]
fn an_objective_that_is_none_is_a_sentence_and_exit_code_2() {
    for (slo, expected) in [
        ("e2e", "`e2e` has no limit"),
        ("latency=2s", "requests have no number `latency`, but e2e, "),
        ("first_output=2s", "name the stage, such as `first_output@0`"),
        ("e2e=2", "`2` is no time with a unit, such as `200ms`"),
        ("real_time_factor=fast", "`fast` is no number"),
        ("e2e=2s@101%", "`101%` is no percentage"),
    ] {
        let output = omni_of(&["summary", "--slo", slo], &log());
        let complaint = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{slo}: {complaint}");
        assert!(complaint.contains(expected), "{slo}: {complaint}");
    }
}

#[test]
fn an_objective_of_a_stage_that_no_request_has_is_named_and_is_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    let [file, page] = ["log.jsonl", "page.html"].map(|name| folder.path().join(name));
    std::fs::write(&file, log()).unwrap();
    let [file, page] = [&file, &page].map(|path| path.to_str().unwrap());
    for (slo, place) in [
        ("first_output@9=1s", "stage 9"),
        ("gen@painter=1s", "stage painter"),
        ("tx@0->1=1ms", "transfer 0->1"),
    ] {
        let said = format!("No request has {place}, so the objective {slo} does not count.\n");
        for command in [
            &["summary", file][..],
            &["report", "-o", page, file],
            &["report", "--json", file],
            &["compare", file, file],
        ] {
            let output = omni_of(&[command, &["--slo", slo]].concat(), "");
            assert_eq!(output.status.code(), Some(2), "{command:?}");
            assert!(text(&output.stderr).contains(&said), "{command:?} {output:?}");
            if let ["summary", ..] = command {
                assert!(text(&output.stdout).contains(&said), "{command:?} {output:?}");
            }
        }
        let page = std::fs::read_to_string(page).unwrap();
        assert!(
            page.contains(said.trim_end()) || page.contains(&said.trim_end().replace('>', "&gt;")),
            "{page}"
        );
        let output = omni_of(&["summary", "--slo", slo], &log());
        let summary = text(&output.stdout);
        assert!(
            summary.contains("\nSo nothing is known of how many requests met all objectives.\n"),
            "{summary}"
        );
        assert!(
            !summary.contains(" requests met all objectives (") && !summary.contains("0 of "),
            "{summary}"
        );
        let json = text(&omni_of(&["summary", "--json", "--slo", slo], &log()).stdout);
        let found = serde_json::from_str::<Value>(&json).unwrap()["objectives"].clone();
        assert_eq!((&found["judged"], &found["share"]), (&json!(0), &Value::Null));
        assert_eq!(
            (&found["goodput_requests_per_s"], &found["each"][0]["missing"]),
            (&Value::Null, &json!(place))
        );
        let compared = text(&omni_of(&["compare", "--all", "--json", "--slo", slo, file, file], "").stdout);
        assert!(!compared.contains("\"objectives\"") && !compared.contains("\"goodput\""), "{compared}");
    }
}

#[test]
fn an_objective_of_a_stage_without_the_number_is_named_and_is_exit_code_2() {
    let slos = ["--slo", "real_time_factor@0=1", "--slo", "e2e=1s"];
    let said = "No request has a value for real_time_factor@0=1, so this objective does not count.\n";
    for command in ["summary", "watch"] {
        let json = if command == "watch" { &["--json"][..] } else { &[] };
        let output = omni_of(&[&[command], json, &slos[..]].concat(), &log());
        let stderr = text(&output.stderr);
        assert_eq!((output.status.code(), stderr), (Some(2), format!("omni-metrics: {said}")));
    }
    let summary = text(&omni_of(&[&["summary"], &slos[..]].concat(), &log()).stdout);
    assert!(summary.contains(said), "{summary}");
    assert!(summary.contains("11 of 12 requests met all objectives"), "{summary}");
}

#[test]
fn requests_without_errors_meet_an_objective_of_none() {
    let found = objectives(&["--slo", "errors=0"], &log());
    assert_eq!(
        (&found["met"], &found["each"][0]["met"], &found["failed"]),
        (&json!(11), &json!(11), &json!(1))
    );
}

#[test]
fn groups_have_the_share_of_requests_that_met_all_objectives() {
    let pipeline = include_str!("data/pipeline.jsonl");
    let of = |args: &[&str]| omni_of(&[&["summary", "--slo", "e2e=20ms"], args].concat(), pipeline);
    let whole: Value = serde_json::from_str(&stdout(&of(&["--json"]))).unwrap();
    for grouping in [["--by", "finish_reason"], ["--every", "20ms"]] {
        let table: Value =
            serde_json::from_str(&stdout(&of(&[&grouping[..], &["--json"]].concat()))).unwrap();
        let groups = table["groups"].as_array().unwrap();
        let sum =
            |key: &str| groups.iter().map(|group| group["objectives"][key].as_u64().unwrap()).sum::<u64>();
        assert!(groups.len() > 1);
        assert_eq!(json!([sum("met"), sum("judged")]), json!([whole["objectives"]["met"], 40]), "{table}");
    }
    let table = stdout(&of(&["--by", "finish_reason"]));
    assert!(table.contains("| failed |    met | goodput | e2e p50 |"), "{table}");
    assert!(table.contains("| stop          |       38 | 372.8 |  0.0 % | 57.9 % |   215.8 |"), "{table}");
    let csv = stdout(&of(&["--by", "finish_reason", "--csv"]));
    assert!(
        csv.contains(",met,judged,met_share,goodput_requests_per_s,") && csv.contains(",22,38,0.57"),
        "{csv}"
    );
}
