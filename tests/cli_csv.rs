//! `--csv` of the reader's commands: the figures are those of `--json`.

#[path = "support/reader.rs"]
mod reader;

use std::collections::BTreeMap;

use reader::{omni_of, stdout, text};
use serde_json::Value;

const PIPELINE: &str = include_str!("data/pipeline.jsonl");
const ENGINE: &str = include_str!("data/engine.jsonl");

/// The commands that have both.
const COMMANDS: [&str; 5] = ["summary", "compare LOG LOG", "what-if", "why --slowest", "check"];

/// A record by the names of the columns.
type Record = BTreeMap<String, String>;

fn json(args: &[&str], log: &str) -> Value {
    serde_json::from_str(&stdout(&omni_of(&[args, &["--json"]].concat(), log))).unwrap()
}

fn csv(args: &[&str], log: &str) -> (String, Vec<Record>) {
    let table = stdout(&omni_of(&[args, &["--csv"]].concat(), log));
    let mut reader = csv::Reader::from_reader(table.as_bytes());
    let records = reader.deserialize().map(Result::unwrap).collect();
    (table.lines().next().unwrap().to_owned(), records)
}

/// The only record with these cells.
fn find<'a>(records: &'a [Record], cells: &[(&str, &str)]) -> &'a Record {
    let has_all = |record: &&Record| cells.iter().all(|(column, cell)| record[*column] == *cell);
    let found: Vec<_> = records.iter().filter(has_all).collect();
    assert_eq!(found.len(), 1, "{cells:?}: {found:?}");
    found[0]
}

/// A cell is the number of the JSON, or empty where that has none.
fn assert_is(record: &Record, column: &str, value: &Value) {
    let is_same = match value.as_f64() {
        // The last digit of a number may be lost when JSON is read.
        Some(value) => {
            record[column].parse().is_ok_and(|cell: f64| (cell - value).abs() <= value.abs() * 1e-12)
        }
        None => record[column].is_empty(),
    };
    assert!(is_same, "{column} of {record:?}: {value}");
}

/// What a row of a summary says: of which thing, its name, the number, and the value or the distribution.
type Expected = (&'static str, String, String, Value);

/// The numbers of an object that are no objects themselves, each with its key.
fn numbers(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
    object.as_object().unwrap().iter().filter(|(_, value)| value.is_number() || value.is_null())
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

fn name(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The rows of the numbers of an object.
fn all(of: &'static str, name: String, object: &Value) -> Vec<Expected> {
    let is_key = |key: &str| ["schema", "stage_id", "from_stage", "to_stage"].contains(&key);
    let members = object.as_object().into_iter().flatten();
    let members = members.filter(|(key, value)| {
        !is_key(key) && !key.starts_with("waiting_for") && (value.is_number() || value.is_null())
    });
    members.map(|(key, value)| (of, name.clone(), key.clone(), value.clone())).collect()
}

/// The rows of the distributions of an object.
fn distributions(of: &'static str, name: String, object: &Value) -> Vec<Expected> {
    let members = object.as_object().unwrap().iter().filter(|(_, value)| value.is_object());
    members.map(|(key, value)| (of, name.clone(), key.clone(), value.clone())).collect()
}

fn expected(json: &Value) -> Vec<Expected> {
    let mut rows = all("run", String::new(), &json["overall_summary"]);
    let of_run = all("run", String::new(), json);
    rows.extend(of_run);
    for (stage, wall) in list(&json["overall_summary"]["stage_wall_time_ms"]).iter().enumerate() {
        rows.push(("stage", stage.to_string(), "stage_wall_time_ms".to_owned(), wall.clone()));
    }
    for (of, key, named) in [("part", "shares_of_e2e", "part"), ("outputs", "outputs", "stage_id")] {
        list(&json[key]).iter().for_each(|row| rows.extend(all(of, name(&row[named]), row)));
    }
    rows.extend(all("objectives", String::new(), &json["objectives"]));
    for row in list(&json["objectives"]["each"]) {
        rows.extend(all("objective", name(&row["objective"]), &row));
    }
    for (of, key, number) in [
        ("finish_reason", "finish_reasons", "requests"),
        ("error", "failed", "requests"),
        ("warning", "warnings", "warnings"),
    ] {
        let counts = list(&json[key]);
        rows.extend(
            counts.iter().map(|row| (of, name(&row["name"]), number.to_owned(), row["count"].clone())),
        );
    }
    for row in list(&json["slowest"]) {
        let e2e = "e2e_total_ms";
        rows.push(("slowest", name(&row["request_id"]), e2e.to_owned(), row[e2e].clone()));
    }
    rows.extend(all("sampled", String::new(), &json["sampled"]));
    let percentiles = &json["percentiles"];
    rows.extend(distributions("request", String::new(), percentiles));
    for row in list(&percentiles["stages"]) {
        rows.extend(distributions("stage", name(&row["stage_id"]), &row));
    }
    for row in list(&percentiles["transfers"]) {
        let edge = format!("{}->{}", row["from_stage"], row["to_stage"]);
        rows.extend(distributions("transfer", edge, &row));
    }
    rows
}

#[test]
fn a_summary_has_a_row_for_each_number_of_the_json() {
    let sampled = PIPELINE.replacen("\"request_id\"", "\"sample_rate\":3,\"request_id\"", 1);
    for log in [PIPELINE, ENGINE, &sampled] {
        let args = ["summary", "--slo", "e2e=20ms", "--slo", "first_output@0=1ms"];
        let (json, (head, records)) = (json(&args, log), csv(&args, log));
        assert_eq!(head, "of,name,stage_name,number,value,count,mean,p50,p90,p99,p99.9,max");
        let expected = expected(&json);
        for (of, name, number, value) in &expected {
            let record = find(&records, &[("of", of), ("name", name), ("number", number)]);
            if value.is_object() {
                assert_eq!(record["value"], "");
                numbers(value).for_each(|(key, value)| {
                    assert_is(record, if key == "p999" { "p99.9" } else { key }, value);
                });
            } else {
                assert_is(record, "value", value);
                assert!(
                    ["count", "mean", "p50", "p99.9", "max"].iter().all(|column| record[*column].is_empty())
                );
            }
        }
        // Counts that the JSON leaves out if they are zero.
        let further = records.iter().filter(|record| {
            !expected.iter().any(|(of, name, number, _)| {
                record["of"] == *of && record["name"] == *name && record["number"] == *number
            })
        });
        assert!(further.clone().all(|record| record["of"] == "run" && record["value"] == "0"), "{further:?}");
    }
}

#[test]
fn a_summary_names_stages_and_has_the_percentiles_that_were_chosen() {
    let args = ["summary", "--percentiles", "25,99.99"];
    let (json, (head, records)) = (json(&args, PIPELINE), csv(&args, PIPELINE));
    assert_eq!(head, "of,name,stage_name,number,value,count,mean,p25,p99.99,max");
    for row in list(&json["chosen_percentiles"]) {
        let (of, name) = match (&row["stage_id"], &row["from_stage"]) {
            (Value::Null, Value::Null) => ("request", String::new()),
            (Value::Null, from) => ("transfer", format!("{from}->{}", row["to_stage"])),
            (stage, _) => ("stage", stage.to_string()),
        };
        let cells = [("of", of), ("name", &name), ("number", row["number"].as_str().unwrap())];
        let record = find(&records, &cells);
        ["count", "mean", "p25", "p99.99", "max"].iter().for_each(|column| {
            assert_is(record, column, &row[*column]);
        });
    }
    for cells in [
        [("of", "stage"), ("name", "2"), ("number", "queue_time_ms")],
        [("of", "part"), ("name", "stage 2"), ("number", "share")],
    ] {
        assert_eq!(find(&records, &cells)["stage_name"], "code2wav");
    }
}

/// The cells of a row of a comparison that are in this object of the JSON.
fn assert_is_change(record: &Record, change: &Value) {
    for column in ["before", "after", "difference", "ratio", "p_value"] {
        assert_is(record, column, &change[column]);
    }
    for interval in ["difference", "ratio", "after"] {
        for (at, end) in ["low", "high"].iter().enumerate() {
            assert_is(record, &format!("{interval}_{end}"), &change[format!("{interval}_interval")][at]);
        }
    }
    assert_eq!(record["no_interval"], change["no_interval"].as_str().unwrap_or_default());
    assert_eq!(
        record["is_changed"],
        change["is_changed"].as_bool().map_or(String::new(), |is| is.to_string())
    );
}

#[test]
fn a_comparison_has_a_row_for_each_figure_part_and_percentile_of_a_group() {
    let [before, after] = ["tests/data/pipeline.jsonl", "tests/data/one_worker.jsonl.xz"];
    let args = ["compare", "--slo", "e2e=20ms", "--by", "finish_reason", before, after];
    let (json, (head, records)) = (json(&args, ""), csv(&args, ""));
    let columns = "of,place,stage_name,figure,unit,count_before,count_after,before,after,after_low,after_high,\
                   difference,difference_low,difference_high,ratio,ratio_low,ratio_high,p_value,is_changed,\
                   is_main,no_interval";
    assert_eq!(head, columns);
    let mut rows = 0;
    for figure in list(&json["figures"]) {
        let (name, cell) = (name(&figure["name"]), |key| figure[key].as_str().unwrap_or_default());
        let place = name.split_once('@').and_then(|(_, place)| Some(place.rsplit_once('.')?.0));
        let of = match place {
            Some(place) if place.contains("->") => "transfer",
            Some(_) => "stage",
            None if figure["count_before"].is_null() => "run",
            None => "request",
        };
        let cells = [("of", of), ("place", place.unwrap_or_default()), ("figure", &name)];
        let record = find(&records, &cells);
        assert_is_change(record, &figure);
        ["count_before", "count_after"].iter().for_each(|column| assert_is(record, column, &figure[*column]));
        assert_eq!((&*record["stage_name"], &*record["unit"]), (cell("stage_name"), cell("unit")));
        assert_eq!(record["is_main"], figure["is_main"].to_string());
        rows += 1;
    }
    for part in list(&json["parts"]) {
        let record = find(&records, &[("of", "part"), ("place", part["part"].as_str().unwrap())]);
        assert_is_change(record, &part);
        assert_eq!(record["stage_name"], part["stage_name"].as_str().unwrap_or_default());
        assert_eq!((&*record["figure"], &*record["unit"]), ("mean", "ms"));
        rows += 1;
    }
    for group in list(&json["by_group"]["groups"]) {
        for percentile in ["p50", "p99"] {
            let figure = format!("e2e.{percentile}");
            let cells = [("of", "group"), ("place", group["group"].as_str().unwrap()), ("figure", &figure)];
            let record = find(&records, &cells);
            assert_is_change(record, &group[percentile]);
            assert_is(record, "count_before", &group["requests_before"]);
            assert_is(record, "count_after", &group["requests_after"]);
            rows += 1;
        }
    }
    assert_eq!(records.len(), rows, "there are no other rows");
    let of = |of: &str| records.iter().filter(|record| record["of"] == of).count();
    assert!(["run", "request", "stage", "transfer", "part", "group"].iter().all(|kind| of(kind) > 1));
    let named = find(&records, &[("figure", "gen@2.p50")]);
    assert_eq!((&*named["place"], &*named["stage_name"]), ("2", "code2wav"));
}

#[test]
fn a_condition_that_holds_is_said_beside_csv() {
    let log = "tests/data/pipeline.jsonl";
    let output = omni_of(&["compare", "--csv", "--fail-if", "e2e.p50 > 1us", log, log], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("failed: `e2e.p50 > 1us`"), "{output:?}");
    assert!(text(&output.stdout).lines().skip(1).all(|line| line.matches(',').count() == 20), "{output:?}");
}

#[test]
fn a_prediction_has_a_row_for_each_number_of_the_three_runs() {
    let args = ["what-if", "--rate", "2", "--percentiles", "50,99.9", "--by", "finish_reason"];
    let (prediction, (head, records)) = (json(&args, PIPELINE), csv(&args, PIPELINE));
    assert_eq!(head, "from,group,of,name,stage_name,number,statistic,logged,replayed,predicted");
    let columns = ["logged", "replayed", "predicted"];
    let mut rows = 0;
    // The numbers of an object of each run, and those of the objects in it.
    let mut verify = |cells: [(&str, &str); 3], runs: [&Value; 3]| {
        for (number, value) in runs[0].as_object().unwrap() {
            let statistics: Vec<_> = match value {
                Value::Number(_) => vec![String::new()],
                Value::Object(times) => times.keys().cloned().collect(),
                _ => continue,
            };
            for statistic in statistics {
                let cells = [&cells[..], &[("number", number), ("statistic", &statistic)]].concat();
                let record = find(&records, &cells);
                for (column, run) in columns.iter().zip(runs) {
                    let value = &run[number];
                    assert_is(record, column, if value.is_object() { &value[&statistic] } else { value });
                }
                rows += 1;
            }
        }
    };
    let runs = columns.map(|run| &prediction[run]);
    verify([("of", "run"), ("name", ""), ("group", "")], runs);
    for (at, stage) in list(&runs[0]["stages"]).iter().enumerate() {
        let (id, name) = stage["stage"].as_str().unwrap().split_once(' ').unwrap();
        let stages = runs.map(|run| &run["stages"][at]);
        verify([("of", "stage"), ("name", id), ("stage_name", name)], stages);
    }
    for group in list(&prediction["groups"]) {
        let cells = [("of", "group"), ("group", group["group"].as_str().unwrap()), ("from", "")];
        let times = columns.map(|run| serde_json::json!({ "e2e_total_ms": group[run] }));
        verify(cells, times.each_ref());
        let requests = find(&records, &[&cells[..], &[("number", "requests")]].concat());
        columns.iter().for_each(|column| assert_is(requests, column, &group["requests"]));
    }
    let groups = list(&prediction["groups"]).len();
    assert!(groups > 1 && records.len() == rows + groups, "there are no other rows");
    let (head, records) = csv(&["what-if", "--every", "1m"], PIPELINE);
    assert!(head.starts_with("from,group,of,"), "{head}");
    assert!(records.iter().any(|record| record["of"] == "group" && record["from"].ends_with('Z')));
    assert!(csv(&["what-if"], PIPELINE).0.starts_with("of,name,stage_name,number,"));
}

#[test]
fn the_sentences_of_a_prediction_are_beside_csv() {
    let sentences = list(&json(&["what-if", "--rate", "2"], PIPELINE)["sentences"]);
    let said = text(&omni_of(&["what-if", "--rate", "2", "--csv"], PIPELINE).stderr);
    assert!(
        !sentences.is_empty() && sentences.iter().all(|sentence| said.contains(&name(sentence))),
        "{said}"
    );
}

#[test]
fn why_has_a_row_for_each_part_of_the_time_of_each_request() {
    for (args, head) in [
        (&["why", "req-0004"][..], "request_id,part,"),
        (&["why", "--p50"], "request_id,part,"),
        (&["why", "--p50", "--by", "finish_reason"], "from,group,request_id,part,"),
    ] {
        let (found, records) = csv(args, PIPELINE);
        assert_eq!(found, format!("{head}stage_name,time_ms,median_ms,difference_ms,tail_ms,others_ms"));
        let answers = stdout(&omni_of(&[args, &["--json"]].concat(), PIPELINE));
        let mut rows = 0;
        for answer in answers.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
            for part in list(&answer["parts"]) {
                let cells = [("request_id", name(&answer["request_id"])), ("part", name(&part["part"]))];
                let record = find(&records, &cells.each_ref().map(|(column, cell)| (*column, &**cell)));
                ["time_ms", "median_ms", "difference_ms", "tail_ms", "others_ms"].iter().for_each(|column| {
                    assert_is(record, column, &part[*column]);
                });
                assert_eq!(record["stage_name"], part["stage_name"].as_str().unwrap_or_default());
                let group = record.get("group").map(String::as_str);
                assert_eq!(group, answer["group"].as_str());
                rows += 1;
            }
        }
        assert!(rows > 5 && records.len() == rows, "{args:?}: {records:?}");
    }
}

#[test]
fn check_has_a_row_for_each_finding_and_one_for_the_verdict() {
    let late = PIPELINE.replacen("\"unattributed_time_ms\":", "\"unattributed_time_ms\":1e9,\"was\":", 1);
    let broken = late.clone() + "{\"type\":\"request\",\n";
    let sampled = PIPELINE.replacen("\"request_id\"", "\"sample_rate\":3,\"request_id\"", 1);
    for (log, code) in [(PIPELINE, 0), (&late, 1), (&broken, 1), (&sampled, 1)] {
        let [json, csv] = ["--json", "--csv"].map(|form| omni_of(&["check", form], log));
        assert_eq!([json.status.code(), csv.status.code()], [Some(code); 2], "{csv:?}");
        let table = text(&csv.stdout);
        assert!(table.starts_with("type,file,line,text\n"), "{table}");
        let mut reader = csv::Reader::from_reader(table.as_bytes());
        let mut records: Vec<Record> = reader.deserialize().map(Result::unwrap).collect();
        let mut findings: Vec<Value> =
            text(&json.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let (record, verdict) = (records.pop().unwrap(), findings.pop().unwrap());
        assert_eq!((&*record["type"], verdict["type"].as_str()), ("check", Some("check")));
        let said = text(&omni_of(&["check"], log).stdout);
        assert_eq!(said.lines().last(), Some(&*record["text"]));
        assert_eq!(records.len(), findings.len(), "{table}");
        for (record, finding) in records.iter().zip(&findings) {
            ["type", "file"].iter().for_each(|key| assert_eq!(record[*key], name(&finding[*key])));
            assert_is(record, "line", &finding["line"]);
            let said = finding["text"].as_str();
            assert!(said.map_or(!record["text"].is_empty(), |text| record["text"] == text), "{record:?}");
        }
    }
    let found =
        |log: &str| csv(&["check"], log).1.iter().map(|record| record["type"].clone()).collect::<Vec<_>>();
    assert_eq!(found(PIPELINE), ["check"]);
}

#[test]
fn join_prints_the_groups_of_summary_as_csv() {
    let lines = tempfile::NamedTempFile::new().unwrap();
    let by = ["--by", "stage_name", "--csv"];
    let output = omni_of(&[&["join", "-o", lines.path().to_str().unwrap()], &by[..]].concat(), PIPELINE);
    let joined = std::fs::read_to_string(lines.path()).unwrap();
    assert_eq!(stdout(&output), stdout(&omni_of(&[&["summary"], &by[..]].concat(), &joined)));
    for args in [&["join", "--by", "stage_name"][..], &["join", "-o", "joined.jsonl"]] {
        let output = omni_of(&[args, &["--csv"]].concat(), PIPELINE);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
    }
}

#[test]
fn csv_and_json_exclude_each_other() {
    for command in COMMANDS {
        let command = command.replace("LOG", "tests/data/pipeline.jsonl");
        let command: Vec<_> = command.split(' ').collect();
        let output = omni_of(&[&command[..], &["--csv", "--json"]].concat(), PIPELINE);
        let said = text(&output.stderr);
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), String::new()), "{command:?}");
        assert!(said.contains("the argument '--csv' cannot be used with '--json'"), "{said}");
    }
}
