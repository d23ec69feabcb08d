//! Groups (`--by`, `--every`) of the commands that choose, write or replay requests.

#[path = "support/reader.rs"]
mod reader;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Stdio,
};

use reader::{omni_of, stdout, text};
use serde_json::Value;

const PIPELINE: &str = "tests/data/pipeline.jsonl";

/// What a command prints of a log of 40 requests, two of which have the `finish_reason` `length`.
fn of_pipeline(args: &[&str]) -> String {
    stdout(&omni_of(&[args, &[PIPELINE]].concat(), ""))
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The requests of the log, in order.
fn requests() -> Vec<Value> {
    let all = lines(&fs::read_to_string(PIPELINE).unwrap());
    all.into_iter().filter(|line| line["type"] == "request").collect()
}

fn reason(request: &Value) -> &str {
    request["e2e_table"]["finish_reason"].as_str().unwrap()
}

/// What a member of each object says.
fn column<'a>(rows: &'a [Value], key: &str) -> Vec<&'a str> {
    rows.iter().map(|row| row[key].as_str().unwrap()).collect()
}

fn refused(args: &[&str]) -> String {
    let output = omni_of(&[args, &[PIPELINE]].concat(), "");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), String::new()), "{args:?}");
    text(&output.stderr)
}

#[test]
fn tables_have_the_last_requests_of_each_group_below_a_heading() {
    let printed = of_pipeline(&["tables", "--by", "finish_reason"]);
    let headings: Vec<_> = printed.lines().filter(|line| line.starts_with("finish_reason ")).collect();
    let expected = ["finish_reason length: the last of 2 lines", "finish_reason stop: the last of 38 lines"];
    assert_eq!(headings, expected);
    assert_eq!(printed.matches("RequestE2EStats of ").count(), 2);
    let all = of_pipeline(&["tables", "--by", "finish_reason", "--last", "2"]);
    assert!(all.contains("finish_reason length: 2 lines\n"), "{all}");

    let last = lines(&of_pipeline(&["tables", "--json", "--by", "finish_reason", "--last", "3"]));
    let requests = requests();
    for (heading, reason) in [(0, "length"), (3, "stop")] {
        let of_reason: Vec<_> = requests.iter().filter(|request| self::reason(request) == reason).collect();
        let shown = of_reason.len().min(3);
        assert_eq!((&last[heading]["type"], &last[heading]["group"]), (&"group".into(), &reason.into()));
        assert_eq!(
            (&last[heading]["lines"], &last[heading]["shown"]),
            (&of_reason.len().into(), &shown.into())
        );
        assert!(
            last[heading + 1..].iter().take(shown).eq(of_reason[of_reason.len() - shown..].iter().copied())
        );
    }
}

#[test]
fn a_request_stands_in_the_tables_of_each_of_its_stages_and_of_its_stretch_of_time() {
    let stages = lines(&of_pipeline(&["tables", "--json", "--by", "stage_name", "--request", "req-0003"]));
    assert_eq!(column(&stages, "type"), ["group", "request", "group", "request", "group", "request"]);
    assert_eq!(["code2wav", "talker", "thinker"], [0, 2, 4].map(|at| stages[at]["group"].as_str().unwrap()));
    let stretches = lines(&of_pipeline(&["tables", "--json", "--every", "20ms"]));
    let counts =
        stretches.iter().filter(|line| line["type"] == "group").map(|line| line["lines"].as_u64().unwrap());
    assert_eq!(counts.sum::<u64>(), 40);
    for pair in stretches.chunks(2) {
        let [from, until, at] =
            [&pair[0]["from"], &pair[0]["until"], &pair[1]["timestamp"]].map(|at| at.as_str());
        assert!(from <= at && at < until, "{pair:?}");
    }
}

#[test]
fn why_of_a_group_is_why_of_the_selection_of_its_requests() {
    for choice in [&["--slowest"][..], &["--p50"], &["--p999"], &["--percentile", "20"]] {
        let by_group =
            lines(&of_pipeline(&[&["why", "--json", "--by", "finish_reason"][..], choice].concat()));
        assert_eq!(column(&by_group, "group"), ["length", "stop"]);
        for mut answer in by_group {
            let group = answer.as_object_mut().unwrap().remove("group").unwrap();
            answer.as_object_mut().unwrap().remove("by");
            let selection = format!("finish_reason == {group}");
            let args = [&["why", "--json", "--where", &selection][..], choice].concat();
            assert_eq!([answer], *lines(&of_pipeline(&args)), "{choice:?}");
        }
    }
}

#[test]
fn why_compares_a_request_with_its_group_and_says_so() {
    let answers = lines(&of_pipeline(&["why", "--json", "req-0004", "--by", "finish_reason"]));
    let [answer] = answers.as_slice() else { panic!("{answers:?}") };
    assert_eq!((&answer["group"], &answer["median"]["requests"]), (&"length".into(), &2.into()));
    let words = of_pipeline(&["why", "req-0004", "--by", "finish_reason"]);
    assert!(words.starts_with("finish_reason length\n\nreq-0004 took "), "{words}");
    assert!(words.contains("the 2 requests in the middle fifth of its group by e2e_total_ms"), "{words}");
    // A request of a group that is not told apart is in that of all others.
    let log = of_ids(300);
    let args = ["why", "--json", "g-299", "--by", "request_id", "--every", "1h"];
    let answers = lines(&stdout(&omni_of(&args, &log)));
    assert_eq!((&answers[0]["group"], &answers[0]["request_id"]), (&"others".into(), &"g-299".into()));
}

#[test]
fn a_request_at_p999_is_the_slowest_of_forty() {
    let slowest = requests()
        .iter()
        .map(|request| request["e2e_table"]["e2e_total_ms"].as_f64().unwrap())
        .fold(0.0, f64::max);
    let answer = &lines(&of_pipeline(&["why", "--json", "--p999"]))[0];
    assert_eq!((answer["e2e_total_ms"].as_f64(), answer["percentile"].as_f64()), (Some(slowest), Some(99.9)));
}

/// A table of comma-separated values without quotes, by the names of its columns.
fn csv(args: &[&str]) -> Vec<BTreeMap<String, String>> {
    let table = of_pipeline(&[&["export", "--format", "csv"], args].concat());
    let mut rows = table.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
    let heads = rows.next().unwrap();
    rows.map(|row| heads.iter().cloned().zip(row).collect()).collect()
}

#[test]
fn a_csv_file_has_columns_for_the_group_and_the_stretch_of_time() {
    let rows = csv(&["--by", "finish_reason", "--every", "10ms"]);
    assert_eq!(rows.len(), 40);
    for row in &rows {
        assert_eq!(row["group"], row["finish_reason"]);
        // The decimals of a timestamp are microseconds.
        let (stretch, rest) = row["timestamp"].split_at("2026-11-24T08:46:40.08".len());
        assert!(rest.len() == 5 && row["from"] == format!("{stretch}0000Z"), "{row:?}");
    }
    let stages = csv(&["--table", "stages", "--by", "stage_name"]);
    assert!(stages.len() == 120 && stages.iter().all(|row| row["group"] == row["stage_name"]), "{stages:?}");
    let stages = csv(&["--table", "stages", "--by", "finish_reason"]);
    assert_eq!(stages.iter().filter(|row| row["group"] == "length").count(), 6);
    let none = csv(&["--by", "fields.model"]);
    assert!(none.iter().all(|row| row["group"] == "none"), "{none:?}");
}

#[test]
fn a_trace_has_processes_of_its_own_for_each_group() {
    let trace = |args: &[&str]| -> Vec<Value> {
        let trace: Value =
            serde_json::from_str(&of_pipeline(&[&["export", "--format", "chrome"], args].concat())).unwrap();
        trace["traceEvents"].as_array().unwrap().clone()
    };
    let slices = |events: &[Value]| events.iter().filter(|event| event["ph"] == "X").count();
    let (whole, grouped) = (trace(&[]), trace(&["--by", "finish_reason"]));
    assert_eq!(slices(&grouped), slices(&whole));
    let is_name = |event: &&Value| event["name"] == "process_name";
    let names: BTreeMap<_, _> =
        grouped.iter().filter(is_name).map(|event| (event["pid"].as_u64(), &event["args"]["name"])).collect();
    let groups: BTreeSet<_> =
        names.values().map(|name| name.as_str().unwrap().split_once(": ").unwrap().0).collect();
    assert_eq!(groups, BTreeSet::from(["length", "stop"]));
    assert_eq!(names.len(), 2 * whole.iter().filter(is_name).count());
    for request in grouped.iter().filter(|event| event["args"].get("e2e_total_ms").is_some()) {
        let process = names[&request["pid"].as_u64()].as_str().unwrap();
        assert_eq!(process, format!("{}: requests", request["args"]["finish_reason"].as_str().unwrap()));
    }
}

#[test]
fn what_has_no_meaning_is_refused_and_named_in_the_help() {
    let export = |args: &[&str]| refused(&[&["export", "--format"], args].concat());
    assert!(export(&["chrome", "--every", "1s"]).contains("--every has no meaning for a trace"));
    assert!(
        export(&["chrome", "--by", "stage_id"]).contains("a trace has processes of its own for each stage")
    );
    assert!(export(&["csv", "--by", "stage_id"]).contains("a row of this table has several stages"));
    for (command, sentence) in [
        ("export", "--every has no meaning for chrome"),
        ("compare", "--every has no meaning here"),
        ("join", "the table of `omni-metrics summary` of the joined requests is printed too"),
    ] {
        let help = stdout(&omni_of(&[command, "--help"], ""));
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(help.contains(sentence), "{help}");
        assert!(stdout(&omni_of(&["man", command], "")).contains("NOTES"));
    }
}

#[test]
fn a_prediction_has_the_times_of_each_group() {
    let prediction =
        &lines(&of_pipeline(&["what-if", "--json", "--workers", "2=3", "--by", "finish_reason"]))[0];
    let groups = prediction["groups"].as_array().unwrap();
    assert_eq!(column(groups, "group"), ["length", "stop"]);
    for group in groups {
        let requests = requests();
        let of_group = requests.iter().filter(|request| reason(request) == group["group"]);
        let mut times: Vec<_> =
            of_group.map(|request| request["e2e_table"]["e2e_total_ms"].as_f64().unwrap()).collect();
        times.sort_by(f64::total_cmp);
        assert_eq!(group["requests"], times.len());
        assert_eq!(group["logged"]["p50"], times[times.len().div_ceil(2) - 1]);
    }
    let stop = &groups[1];
    assert!(stop["predicted"]["mean"].as_f64() < stop["replayed"]["mean"].as_f64(), "{stop}");
    let whole = &lines(&of_pipeline(&["what-if", "--json", "--workers", "2=3", "--every", "1h"]))[0];
    for run in ["logged", "replayed", "predicted"] {
        assert_eq!(whole["groups"][0][run], whole[run]["e2e_total_ms"], "a single stretch has all requests");
    }
    let table = of_pipeline(&["what-if", "--by", "finish_reason", "--every", "1h"]);
    assert!(table.contains("| 2026-11-24T08:00:00Z, stop  |       38|"), "{table}");
}

#[test]
fn the_fields_that_requests_have_are_named_instead_of_one_that_none_has() {
    let line = include_str!("data/pipeline.jsonl").lines().next().unwrap();
    let mut line: Value = serde_json::from_str(line).unwrap();
    line["fields"] = serde_json::json!({"c": 1, "a": true, "b": "x"});
    let output = omni_of(&["summary", "--by", "fields.tenant"], &format!("{line}\n"));
    let said = text(&output.stderr);
    assert_eq!(said, "omni-metrics: --by: no request has the field tenant; fields are a, b, c\n");
}

#[test]
fn a_field_that_no_request_has_is_named() {
    for command in [&["check"][..], &["tables"], &["why", "--p99"], &["what-if"]] {
        let output = omni_of(&[command, &["--by", "fields.modle", PIPELINE]].concat(), "");
        assert!(text(&output.stderr).contains("--by: no request has the field modle"), "{output:?}");
    }
}

#[test]
fn a_reader_that_closes_the_table_early_is_no_failure() {
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_omni-metrics"))
        .args(["export", "--format", "csv", "--table", "stages"])
        .args([PIPELINE; 20])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(!text(&output.stderr).contains("Broken pipe"), "{output:?}");
    assert!(output.status.success());
}

#[test]
fn a_row_of_a_worker_is_in_the_group_of_its_request() {
    let row = r#"{"type":"stage","schema":1,"timestamp":"2026-11-24T08:46:40.100000Z","request_id":"req-0003","stage_id":2,"batch_id":null,"batch_size":null,"num_tokens_in":null,"num_tokens_out":9,"preprocess_time_ms":null,"stage_gen_time_ms":4.0,"busy_time_ms":null,"queue_time_ms":null,"start_ms":null,"events":1}"#;
    let log = fs::read_to_string(PIPELINE).unwrap() + row + "\n";
    let found = lines(&stdout(&omni_of(&["tables", "--json", "--by", "request_id", "--last", "9"], &log)));
    let group = found.iter().position(|line| line["group"] == "req-0003").unwrap();
    assert_eq!(column(&found[group..group + 3], "type"), ["group", "request", "stage"]);
}

#[test]
fn an_output_does_not_take_the_place_of_a_log_and_an_old_one_stays_until_the_new_one_is_complete() {
    let folder = tempfile::tempdir().unwrap();
    let [log, link, page, empty] = ["a.jsonl", "link.jsonl", "page.html", "empty.jsonl"]
        .map(|name| folder.path().join(name).to_str().unwrap().to_owned());
    fs::copy(PIPELINE, &log).unwrap();
    fs::write(&empty, "").unwrap();
    fs::write(&page, "old").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(&log, &link).unwrap();
    #[cfg(not(unix))]
    fs::write(&link, "").unwrap();
    let before = fs::read(&log).unwrap();
    for command in [&["export", "--format", "csv"][..], &["export", "--format", "chrome"], &["report"]] {
        for output in [&log, &link].into_iter().take(if cfg!(unix) { 2 } else { 1 }) {
            let refused = omni_of(&[command, &["-o", output, &log]].concat(), "");
            assert_eq!(refused.status.code(), Some(2));
            assert!(text(&refused.stderr).contains("is one of the logs; name another file"), "{refused:?}");
        }
        let failed = omni_of(&[command, &["-o", &page, &empty]].concat(), "");
        assert_eq!((failed.status.code(), fs::read_to_string(&page).unwrap()), (Some(2), "old".to_owned()));
    }
    assert_eq!(fs::read(&log).unwrap(), before);
    stdout(&omni_of(&["report", "-o", &page, &log], ""));
    assert!(fs::read_to_string(&page).unwrap().starts_with("<!"));
    let left: BTreeSet<_> =
        fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(left, BTreeSet::from(["a.jsonl", "link.jsonl", "page.html", "empty.jsonl"].map(Into::into)));
}

/// A log of a request for each of these values of the field `v`; null is for a request without it.
fn of_values(values: Value) -> String {
    let line = requests().swap_remove(0);
    let with = |value: &Value| {
        let mut line = line.clone();
        line["fields"] = serde_json::json!({ "v": value });
        if value.is_null() {
            line.as_object_mut().unwrap().remove("fields");
        }
        line.to_string() + "\n"
    };
    values.as_array().unwrap().iter().map(with).collect()
}

#[test]
fn values_that_differ_have_different_names_in_every_output_and_equal_ones_one() {
    let log = of_values(serde_json::json!([
        1, "1", 1.0, null, "none", true, "true", "others", "", "a", "a ", "\u{1b}", "\\u001b"
    ]));
    let expected = [
        "1",
        "none",
        "true",
        "\"\"",
        "\"1\"",
        "\"\\u001b\"",
        "\"a \"",
        "\"none\"",
        "\"others\"",
        "\"true\"",
        "\\u001b",
        "a",
    ];
    let of = |args: &[&str]| stdout(&omni_of(&[args, &["--by", "fields.v"]].concat(), &log));
    let json = lines(&of(&["summary", "--json"])).remove(0);
    let groups = json["groups"].as_array().unwrap();
    let mut names = column(groups, "group");
    assert_eq!(groups[0]["count"], 2, "1 and 1.0 are the same number");
    names.sort_unstable_by_key(|name| expected.iter().position(|expected| expected == name));
    assert_eq!(names, expected);
    let table = of(&["summary"]);
    let csv = of(&["summary", "--csv"]);
    let export = of(&["export", "--format", "csv"]);
    let compared = of(&["compare", "-", PIPELINE]);
    for name in expected {
        let rows = |start: String, text: &str| text.lines().filter(|line| line.starts_with(&start)).count();
        let cell = match name.contains('"') {
            true => format!("\"{}\"", name.replace('"', "\"\"")),
            false => name.to_owned(),
        };
        assert_eq!(rows(format!("| {name:<8} | "), &table), 1, "{name} in {table}");
        assert_eq!(rows(format!("{cell},"), &csv), 1, "{name} in {csv}");
        assert_eq!(rows(format!("{cell},"), &export), if name == "1" { 2 } else { 1 }, "{name} in {export}");
        assert_eq!(rows(format!("| {name:<8} | "), &compared), 2, "{name} in {compared}");
    }
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page.html");
    of(&["report", "--output", page.to_str().unwrap()]);
    let page = fs::read_to_string(page).unwrap();
    for name in expected {
        let name = name.replace('"', "&quot;");
        assert_eq!(page.matches(&format!("<th scope=\"row\">{name}</th>")).count(), 1, "{name}");
    }
}

/// A log of a request for each of these ids, `g-000` and so on, one in two seconds. The last one is slow.
fn of_ids(count: usize) -> String {
    let line = requests().swap_remove(0);
    let of = |n: usize| {
        let mut line = line.clone();
        line["request_id"] = format!("g-{n:03}").into();
        line["timestamp"] = format!("2026-01-31T12:{:02}:{:02}Z", n / 30, n % 30 * 2).into();
        if n + 1 == count {
            line["e2e_table"]["e2e_total_ms"] = 4_321.0.into();
        }
        line.to_string() + "\n"
    };
    (0..count).map(of).collect()
}

#[test]
fn as_many_groups_are_told_apart_as_the_stretches_of_time_leave_room_for() {
    let log = of_ids(300);
    let reversed: String = log.lines().rev().flat_map(|line| [line, "\n"]).collect();
    let groups = |args: &[&str], log: &str| {
        let args = [&["summary", "--json", "--by", "request_id"], args].concat();
        lines(&stdout(&omni_of(&args, log))).swap_remove(0)["groups"].as_array().unwrap().clone()
    };
    // The log spans 600 s.
    for (every, told_apart) in
        [(None, 256), (Some("1h"), 256), (Some("5s"), 16_000 / 120), (Some("100ms"), 16)]
    {
        let args: Vec<_> = every.map(|every| ["--every", every]).into_iter().flatten().collect();
        let rows = groups(&args, &log);
        let names: BTreeSet<_> = column(&rows, "group").into_iter().collect();
        assert_eq!(names.len(), told_apart + 1, "{every:?}");
        let is_first = |name: &&&str| **name < &*format!("g-{told_apart:03}");
        assert!(names.contains("others") && names.iter().filter(is_first).count() == told_apart, "{names:?}");
        assert_eq!(rows.iter().map(|row| row["count"].as_u64().unwrap()).sum::<u64>(), 300, "{every:?}");
        assert_eq!(rows, groups(&args, &reversed), "the order of lines does not matter");
        let of_rest = rows.iter().rfind(|row| row["group"] == "others").unwrap();
        assert_eq!(of_rest["slowest_group"], "g-299", "{of_rest}");
        assert!(rows.iter().all(|row| row["group"] == "others" || row.get("slowest_group").is_none()));

        let args = [&["summary", "--by", "request_id"][..], &args].concat();
        let shown = stdout(&omni_of(&args, &log)).replace('\n', " ");
        let note = format!(
            "others: all groups but the {told_apart} whose names are first in alphabetical order (numbers \
             before texts, capital before small letters). The slowest of their requests (4,321 ms) is of \
             g-299. To bound memory, a table has at most 256 groups"
        );
        assert!(shown.contains(&note), "{shown}");
        assert_eq!(shown.contains("256 groups, and 16,000 with those of each stretch."), every.is_some());
    }
    assert!(!of_pipeline(&["summary", "--by", "request_id"]).contains("others:"));
}

#[test]
fn a_long_name_is_short_in_tables_and_whole_in_data() {
    let [one, other] = ["1", "2"].map(|end| "x".repeat(2 << 20) + end);
    let log = of_values(serde_json::json!([one, other]));
    let of = |args: &[&str]| stdout(&omni_of(&[args, &["--by", "fields.v"]].concat(), &log));
    for command in [&["summary"][..], &["check"], &["why", "--p99"], &["tables", "--request", "none"]] {
        let output = omni_of(&[command, &["--by", "fields.v"]].concat(), &log);
        assert!(output.stdout.len() < 20_000, "{command:?}");
    }
    let table = of(&["summary"]);
    let names: BTreeSet<_> = table
        .lines()
        .filter(|line| line.starts_with("| xxxx"))
        .filter_map(|line| line.split('|').nth(1))
        .collect();
    assert!(names.len() == 2 && names.iter().all(|name| name.contains("x…")), "{table}");
    assert_eq!(
        column(lines(&of(&["summary", "--json"]))[0]["groups"].as_array().unwrap(), "group"),
        [&one, &other]
    );
    let csv = of(&["summary", "--csv"]);
    assert!(csv.contains(&format!("\n{one},")) && csv.contains(&format!("\n{other},")));
}

#[test]
fn means_are_rounded_to_the_nanosecond() {
    let mut line = requests().swap_remove(0);
    let mut log = String::new();
    for time in [1.0, 1.000_001, 1.000_001] {
        line["e2e_table"]["e2e_total_ms"] = time.into();
        log += &(line.to_string() + "\n");
    }
    let mean = |output: String, of: &dyn Fn(&Value) -> Value| of(&lines(&output)[0]).as_f64().unwrap();
    let of = |args: &[&str]| stdout(&omni_of(args, &log));
    let group = mean(of(&["summary", "--json", "--by", "error"]), &|json| {
        json["groups"][0]["e2e_total_ms"]["mean"].clone()
    });
    let whole = mean(of(&["summary", "--json"]), &|json| json["percentiles"]["e2e_total_ms"]["mean"].clone());
    assert_eq!([group, whole], [1.000_001; 2]);
}

#[test]
fn a_key_that_there_is_not_is_named_with_those_that_there_are() {
    let of = |key: &str| refused(&["summary", "--by", key]);
    let keys = "Keys are finish_reason, error, request_id, stage_name, stage_id, file, and fields.NAME for a field \
                of the request";
    for (key, said) in [
        ("", "there is no key ''. "),
        ("fields.", "there is no key 'fields.'. "),
        ("fields", "there is no key 'fields'. "),
        ("a b", "there is no key 'a b'. "),
        ("fields[\"x\"]", "there is no key 'fields[\"x\"]'; did you mean fields.x? "),
        ("model", "there is no key 'model'; did you mean fields.model? "),
        ("FIELDS.x", "there is no key 'FIELDS.x'; did you mean fields.x? "),
        ("Stage_Name", "there is no key 'Stage_Name'; did you mean stage_name? "),
        ("trace_id", "there is no key 'trace_id'. "),
        ("stage", "there is no key 'stage'; did you mean stage_id or stage_name? "),
    ] {
        let refused = of(key);
        assert!(refused.contains(&format!("{said}{keys}")), "{key}: {refused}");
        assert!(!refused.contains("fields.fields") && !refused.contains("fields.?"), "{refused}");
    }
}

#[test]
fn a_field_of_a_row_is_named_with_its_row() {
    let mut line = requests().swap_remove(0);
    line["stage_table"][1]["fields"] = serde_json::json!({ "gpu": "a" });
    line["transfer_table"][1]["fields"] = serde_json::json!({ "link": "b" });
    for command in [
        &["summary"][..],
        &["check"],
        &["why", "--p99"],
        &["compare", "-", PIPELINE],
        &["export", "--format", "csv"],
    ] {
        let of = |key: &str| {
            text(&omni_of(&[command, &["--by", key]].concat(), &(line.to_string() + "\n")).stderr)
        };
        let stage = of("fields.gpu");
        let expected = "--by: no request has the field gpu; the row of stage 1 has it, and --by reads the fields of \
                        requests";
        assert!(stage.contains(expected), "{command:?}: {stage}");
        assert!(of("fields.link").contains("the row of transfer 1->2 has it"), "{command:?}");
        assert!(of("fields.none").contains("--by: no request has the field none"), "{command:?}");
    }
}

#[test]
fn all_tables_of_comma_separated_values_escape_in_the_same_way() {
    let log = of_values(serde_json::json!(["C:\\dir", "a\u{202e}b\u{1b}"]));
    let summary = stdout(&omni_of(&["summary", "--csv", "--by", "fields.v"], &log));
    let export = stdout(&omni_of(&["export", "--format", "csv", "--by", "fields.v"], &log));
    for csv in [summary, export] {
        let names: BTreeSet<_> = csv.lines().skip(1).map(|row| row.split(',').next().unwrap()).collect();
        assert_eq!(names, BTreeSet::from([r#""""a\u202eb\u001b""""#, "C:\\dir"]), "{csv}");
    }
    let mut line = requests().swap_remove(0);
    line["request_id"] = "a\u{1b}\\b".into();
    let export = stdout(&omni_of(&["export", "--format", "csv"], &(line.to_string() + "\n")));
    assert!(export.contains("\na\\u001b\\b,"), "{export}");
}

/// The log of a worker whose rows have these ids and times in milliseconds, one after the other.
fn worker(stage: &str, rows: &[(&str, f64)]) -> String {
    let row = |(at, (id, time)): (usize, &(&str, f64))| {
        format!(
            r#"{{"type":"stage","schema":1,"timestamp":"2026-01-31T12:00:0{at}.000000Z","request_id":"{id}","stage_id":1,"batch_id":null,"batch_size":null,"num_tokens_in":1,"num_tokens_out":2,"preprocess_time_ms":null,"stage_gen_time_ms":{time},"stage_name":"{stage}","busy_time_ms":{time},"queue_time_ms":{time},"start_ms":null,"wall_time_ms":{time},"events":1}}
"#
        )
    };
    rows.iter().enumerate().map(row).collect()
}

#[test]
fn each_log_of_a_directory_is_a_group_with_the_rows_of_its_worker() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::create_dir(path("b")).unwrap();
    fs::write(path("front.log"), fs::read_to_string(PIPELINE).unwrap()).unwrap();
    fs::write(path("a.log"), worker("vocoder", &[("req-0001", 1.0), ("req-0002", 3.0)])).unwrap();
    // Two files of one log. The name of the directory is enough.
    fs::write(path("b/0.log.1"), worker("vocoder", &[("req-0003", 5.0)])).unwrap();
    fs::write(path("b/0.log"), worker("vocoder", &[("req-0004", 7.0), ("req-0005", 9.0)])).unwrap();
    let logs = directory.path().to_str().unwrap();
    let of = |args: &[&str]| stdout(&omni_of(&[args, &[logs]].concat(), ""));

    let all = of(&["summary", "--json", "--by", "stage_name, file"]);
    let all = &lines(&all)[0];
    assert_eq!((&all["by"], &all["counted"]), (&"stage_name, file".into(), &"stage_rows".into()));
    let groups = all["groups"].as_array().unwrap();
    let names = column(groups, "group");
    let expected = ["code2wav, front.log", "talker, front.log", "thinker, front.log"];
    assert_eq!(names, [&expected[..], &["vocoder, a.log", "vocoder, b"]].concat());
    for (group, count, mean, max) in [(&groups[3], 2, 2.0, 3.0), (&groups[4], 3, 7.0, 9.0)] {
        assert_eq!((&group["count"], &group["tokens"]), (&count.into(), &(2 * count).into()));
        let times = &group["stage_gen_time_ms"];
        assert_eq!((&times["mean"], &times["max"]), (&mean.into(), &max.into()));
        assert_eq!(group["failed_share"], Value::Null, "no line says whether their requests failed");
    }
    assert_eq!((&groups[0]["failed_share"], &groups[0]["count"]), (&0.0.into(), &40.into()));

    let by_file = omni_of(&["summary", "--json", "--by", "file", logs], "");
    assert_eq!(column(lines(&stdout(&by_file))[0]["groups"].as_array().unwrap(), "group"), ["front.log"]);
    assert_eq!(lines(&stdout(&by_file))[0]["rows_of_workers"], 5);
    let remark = "Not joined: 5 rows of workers are in no request.";
    assert!(text(&by_file.stderr).contains(remark), "{by_file:?}");

    let csv = of(&["summary", "--csv", "--by", "stage_name,file", "--percentiles", "50,99"]);
    let mut csv = csv.lines();
    assert!(csv.next().unwrap().starts_with("stage_name,file,stage_rows,per_s,"));
    assert_eq!(csv.filter(|row| row.starts_with("vocoder,b,3,")).count(), 1);
    let table = of(&["summary", "--by", "stage_name,file", "--percentiles", "50,99"]);
    assert!(table.contains("| gen p50 | gen p99 | queue p99 | first p50 |"), "{table}");
    let vocoder = table.lines().find(|row| row.starts_with("| vocoder, b "));
    let cells: Vec<_> = vocoder.unwrap().split('|').map(str::trim).collect();
    assert_eq!([cells[4], cells[8]], ["-", "-"], "what is absent is the same in each column: {table}");

    // A request belongs to each of its stages.
    let answers = lines(&of(&["why", "--json", "--p99", "--by", "file,stage_name"]));
    let expected = ["front.log, code2wav", "front.log, talker", "front.log, thinker"];
    assert_eq!(column(&answers, "group"), expected);
    let rows = of(&["export", "--format", "csv", "--table", "stages", "--by", "file,stage_name"]);
    assert_eq!(rows.lines().filter(|row| row.starts_with("\"b, vocoder\",r")).count(), 3);
    let worker = path("a.log");
    let worker = worker.to_str().unwrap();
    let alone = omni_of(&["summary", "--json", "--by", "file", worker], "");
    assert!(text(&alone.stderr).contains("2 rows of workers are in no request"), "{alone:?}");
    assert!(lines(&stdout(&alone))[0]["groups"].as_array().unwrap().is_empty(), "{alone:?}");
    let alone = omni_of(&["summary", "--json", "--by", "file"], &fs::read_to_string(PIPELINE).unwrap());
    assert_eq!(lines(&stdout(&alone))[0]["groups"][0]["group"], "standard input");
}

#[test]
fn a_grouping_without_a_group_says_why() {
    let worker = worker("vocoder", &[("r1", 1.0)]);
    let none = "Not joined: 1 row of a worker is in no request, and no line that was read is of a request,";
    for by in [&["--by", "file"][..], &["--every", "10s"], &["--by", "fields.x", "--every", "10s"]] {
        let said = stdout(&omni_of(&[&["summary"], by].concat(), &worker));
        assert!(said.starts_with("Not joined") && said.ends_with("\n\nno line of a request\n"), "{said}");
        assert!(said.replace('\n', " ").contains(none), "{said}");
        for format in ["--json", "--csv"] {
            let output = omni_of(&[&["summary", format], by].concat(), &worker);
            assert_eq!(stdout(&output).lines().count(), 1, "an object, or the names of the columns");
            assert!(text(&output.stderr).starts_with(&format!("omni-metrics: {none}")), "{output:?}");
        }
    }
    // A command that fails says it as well.
    let code = |args: &[&str]| {
        let output = omni_of(args, &worker);
        assert!(text(&output.stderr).starts_with(&format!("omni-metrics: {none}")), "{args:?} {output:?}");
        output.status.code()
    };
    assert_eq!([code(&["why", "--slowest"]), code(&["what-if"])], [Some(1), Some(2)]);
    // Rows of transfers have no stage, and one that names no request needs no `join`.
    let transfer = r#"{"type":"transfer","schema":1,"timestamp":"2026-11-24T08:46:41.5Z","request_id":null,"from_stage":0,"to_stage":1,"size_bytes":null,"tx_time_ms":null,"rx_decode_time_ms":0.1,"in_flight_time_ms":null,"total_time_ms":0.1,"start_ms":null,"wall_time_ms":0.1,"events":1}"#;
    for (by, why) in [("file", "no line of a request"), ("stage_id", "no line with a row of a stage")] {
        assert_eq!(stdout(&omni_of(&["summary", "--by", by], transfer)), format!("{why}\n"));
        for format in ["--json", "--csv"] {
            let output = omni_of(&["summary", format, "--by", by], transfer);
            assert_eq!(text(&output.stderr), format!("omni-metrics: {why}\n"));
        }
    }
}

#[test]
fn logs_of_mixed_paths_and_of_names_that_look_the_same_have_groups_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::create_dir_all(path("logs/sub")).unwrap();
    fs::write(path("logs/front.log"), fs::read_to_string(PIPELINE).unwrap()).unwrap();
    for name in ["logs/sub/worker.log", "logs/a\nb.log", "logs/a\\nb.log"] {
        fs::write(path(name), worker("vocoder", &[("r1", 1.0)])).unwrap();
    }
    let groups = |logs: &[&str]| {
        let args = ["summary", "--json", "--by", "stage_name,file"];
        let table = lines(&stdout(&omni_of(&[&args[..], logs].concat(), "")));
        let names = column(table[0]["groups"].as_array().unwrap(), "group");
        let names = names.into_iter().map(str::to_owned);
        names.filter(|name| name.starts_with("vocoder")).collect::<Vec<_>>()
    };
    let given = |name: &str| path(name).to_str().unwrap().to_owned();
    let mixed = groups(&[PIPELINE, &given("logs/sub/../front.log"), &given("logs/sub/worker.log")]);
    assert_eq!(mixed, ["vocoder, worker.log"]);
    let alike = groups(&[&given("logs/a\nb.log"), &given("logs/a\\nb.log")]);
    assert_eq!(alike.len(), 2, "{alike:?}");
}

#[test]
fn a_pod_is_called_without_its_uid() {
    let directory = tempfile::tempdir().unwrap();
    for pod in ["front-0", "vocoder-0", "vocoder-1"] {
        let pod = directory.path().join(format!("prod_{pod}_8d3f0a11-4886-448f-a820-ba60373a2a38/server"));
        fs::create_dir_all(&pod).unwrap();
        fs::write(pod.join("0.log"), worker("vocoder", &[("r1", 1.0)])).unwrap();
    }
    let logs = directory.path().to_str().unwrap();
    let table = lines(&stdout(&omni_of(&["summary", "--json", "--by", "file,stage_name", logs], "")));
    let expected = ["prod_front-0, vocoder", "prod_vocoder-0, vocoder", "prod_vocoder-1, vocoder"];
    assert_eq!(column(table[0]["groups"].as_array().unwrap(), "group"), expected);
}

#[test]
fn joined_lines_have_the_groups_of_the_logs_that_they_come_from() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::create_dir_all(path("logs/b")).unwrap();
    fs::write(path("logs/front.log"), fs::read_to_string(PIPELINE).unwrap()).unwrap();
    let rows = |ids: [&'static str; 2], times: [f64; 2]| {
        worker("vocoder", &[(ids[0], times[0]), (ids[1], times[1])])
    };
    let at_stage_7 = |log: String| {
        log.replace(r#""stage_id":1"#, r#""stage_id":7"#).replace("2026-01-31T12:00:0", "2026-11-24T08:46:4")
    };
    fs::write(path("logs/a.log"), at_stage_7(rows(["req-0001", "req-0002"], [1.0, 3.0]))).unwrap();
    fs::write(path("logs/b/0.log"), at_stage_7(rows(["req-0003", "req-0004"], [5.0, 7.0]))).unwrap();
    let [logs, joined] = ["logs", "joined.jsonl"].map(|name| path(name).to_str().unwrap().to_owned());
    stdout(&omni_of(&["join", &logs, "-o", &joined], ""));
    let groups = |by: &str, log: &str| {
        let summary = lines(&stdout(&omni_of(&["summary", "--json", "--by", by, log], "")));
        let groups = summary[0]["groups"].as_array().unwrap().clone();
        let figures = |group: Value| {
            ["group", "count", "tokens", "stage_gen_time_ms", "queue_time_ms"].map(|key| group[key].clone())
        };
        groups.into_iter().map(figures).collect::<Vec<_>>()
    };
    let of_joined = groups("stage_name,file", &joined);
    assert_eq!(of_joined, groups("stage_name,file", &logs));
    assert_eq!((of_joined.len(), &of_joined[4][0]), (5, &"vocoder, b".into()));
    let joined_lines = fs::read_to_string(&joined).unwrap();
    assert!(!stdout(&omni_of(&["summary", "--by", "stage_name,file", &joined], "")).contains("file: "));
    let both = joined_lines.replace("\"log_file\":\"a.log\"", "\"log_file\":\"a.log, b\"");
    for args in [
        &["summary", "--by", "stage_name,file", "-"][..],
        &["compare", "--by", "file,stage_name", &joined, "-"],
    ] {
        let shown = stdout(&omni_of(args, &both)).replace('\n', " ");
        let note = "file: a.log, b is no log of its own. The spans of such a row are in each of these logs,";
        assert!(shown.contains(note), "{shown}");
    }
    let of_requests = groups("file", &joined);
    assert_eq!((of_requests.len(), &of_requests[0][0]), (1, &"front.log".into()));
}

#[test]
fn keys_that_say_nothing_are_refused() {
    assert!(refused(&["summary", "--by", "file,stage_name,file"]).contains("file is named twice"));
    assert!(refused(&["summary", "--by", "file,"]).contains("there is no key ''"));
    let worker = refused(&["summary", "--by", "worker"]);
    assert!(worker.contains("did you mean file, the log of each process, or fields.worker?"), "{worker}");
}

#[test]
fn a_table_says_how_much_of_its_first_and_last_stretch_the_log_covers() {
    let log = fs::read_to_string(PIPELINE).unwrap();
    let of = |args: &[&str]| stdout(&omni_of(args, &log)).replace('\n', " ");
    let said = of(&["summary", "--every", "1m"]);
    let note = "Stretches are of 60 s. The log, or its selected part, covers only 0.102 s of that from \
                2026-11-24T08:46:00Z: their counts are of that time, and their rates per second of it.";
    assert!(said.contains(note), "{said}");
    let json = &lines(&stdout(&omni_of(&["summary", "--json", "--every", "1m"], &log)))[0];
    assert_eq!(json["groups"][0]["covered_ms"].as_f64().unwrap().round(), 102.0);
    let said = of(&["summary", "--every", "50ms"]);
    assert!(said.contains("Z and ") && said.matches(" s of that from ").count() == 2, "{said}");
    assert!(!of(&["summary", "--by", "finish_reason"]).contains("Stretches"));
}

#[test]
fn a_table_in_which_no_row_waited_says_why_and_absent_waits_are_absent() {
    let log = fs::read_to_string(PIPELINE).unwrap();
    let sentence = "queue: queue_time_ms is 0 in each row";
    let of = |log: &str| stdout(&omni_of(&["summary", "--by", "stage_name"], log));
    assert!(!of(&log).contains(sentence), "{}", of(&log));
    let row = worker("vocoder", &[("r1", 0.0), ("r2", 0.0)]);
    assert!(of(&row).contains(sentence), "{}", of(&row));
    let absent = of(&row.replace("\"queue_time_ms\":0,", "\"queue_time_ms\":null,"));
    assert!(!absent.contains(sentence) && absent.contains("|         - |"), "{absent}");
}
