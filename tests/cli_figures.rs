//! Figures of `report --json` and `summary`.

#[path = "support/reader.rs"]
mod reader;
mod support;

use reader::{omni_of, stdout, text};
use serde_json::Value;
use support::Rig;
use tracing::info_span;

const PIPELINE: &str = "tests/data/pipeline.jsonl";

fn json(args: &[&str], log: &str) -> Value {
    serde_json::from_str(&stdout(&omni_of(args, log))).unwrap()
}

fn sum(rows: &Value, key: &str) -> u64 {
    rows.as_array().unwrap().iter().map(|row| row[key].as_u64().unwrap()).sum()
}

#[test]
fn a_report_as_json_has_the_summary_and_every_request_once_in_each_chart() {
    let report = json(&["report", "--json", "--by", "finish_reason", "--slo", "e2e=20ms", PIPELINE], "");
    assert_eq!(report["type"], "report");
    assert_eq!(report["summary"], json(&["summary", "--json", "--slo", "e2e=20ms", PIPELINE], ""));
    assert_eq!(
        report["groups"],
        json(&["summary", "--json", "--by", "finish_reason", "--slo", "e2e=20ms", PIPELINE], "")
    );
    for chart in ["over_time", "distribution"] {
        assert_eq!(sum(&report[chart], "requests"), 40, "{chart}");
    }
    let tokens = report["summary"]["overall_summary"]["e2e_total_tokens"].as_u64();
    assert_eq!(Some(sum(&report["over_time"], "tokens")), tokens);
    let bars = report["where_the_time_goes"].as_array().unwrap();
    let of: Vec<_> = bars.iter().map(|bar| bar["of"].as_str().unwrap()).collect();
    assert_eq!(of, ["all requests", "fastest half", "slowest tenth"]);
    for bar in bars {
        let parts = bar["parts"].as_array().unwrap();
        let [time, share] =
            ["time_ms", "share"].map(|key| parts.iter().map(|part| part[key].as_f64().unwrap()).sum::<f64>());
        assert!(
            (time - bar["mean_ms"].as_f64().unwrap()).abs() < 1e-4 && (share - 1.0).abs() < 1e-4,
            "{bar}"
        );
    }
    let mean = report["summary"]["percentiles"]["e2e_total_ms"]["mean"].as_f64().unwrap();
    assert!((bars[0]["mean_ms"].as_f64().unwrap() - mean).abs() < 1e-5, "{mean}");
}

#[test]
fn a_report_as_json_goes_to_a_file_and_reads_standard_input() {
    let path = format!("{}/figures.json", env!("CARGO_TARGET_TMPDIR"));
    let log = std::fs::read_to_string(PIPELINE).unwrap();
    let output = omni_of(&["report", "--json", "-o", &path], &log);
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    let written: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(written, json(&["report", "--json", PIPELINE], ""));
    let empty = json(&["report", "--json"], &log.lines().last().map(|line| line.to_owned() + "\n").unwrap());
    assert_eq!(
        (&empty["over_time"], &empty["summary"]["overall_summary"]["e2e_requests"]),
        (&Value::Array(Vec::new()), &0.into())
    );
}

/// A request that waits for 2 ms for stage 0, and for 30 ms for stage 1, each of which runs for 5 ms.
fn waiting() -> String {
    let rig = Rig::new();
    rig.run_text(|rig| {
        let request = info_span!("request", request_id = "patient");
        for (stage, name, wait) in [(0, "thinker", 2), (1, "vocoder", 30)] {
            let span = info_span!(parent: &request, "stage", stage_id = stage, stage_name = name);
            rig.wait_ms(wait);
            span.in_scope(|| rig.wait_ms(5));
        }
    });
    rig.log.text()
}

#[test]
fn a_slow_request_that_mostly_waited_names_the_stage_that_it_waited_for_longest() {
    let log = waiting();
    let summary = json(&["summary", "--json"], &log);
    let slow = &summary["slowest"][0];
    assert_eq!((&slow["dominating_part"], &slow["waiting_for_stage"]), (&"waiting".into(), &1.into()));
    let printed = stdout(&omni_of(&["summary"], &log));
    assert!(
        printed.contains("| patient          | 42.000 | waiting for stage 1 vocoder |  32.000 | "),
        "{printed}"
    );
    let busy = json(&["summary", "--json", PIPELINE], "");
    let slowest = busy["slowest"].as_array().unwrap();
    assert!(slowest.iter().all(|slow| slow.get("waiting_for_stage").is_none()), "{slowest:?}");
}

#[test]
fn a_summary_says_that_the_average_time_per_request_is_no_latency() {
    let printed = stdout(&omni_of(&["summary", PIPELINE], ""));
    let sentence =
        "e2e_avg_time_per_request_ms is wall time / requests, not the mean latency (e2e_total_ms)\n";
    assert!(printed.contains(sentence), "{printed}");
    assert!(!text(&omni_of(&["summary", "--json", PIPELINE], "").stdout).contains("mean latency"));
}

#[test]
fn long_texts_that_are_counted_are_broken_so_that_the_summary_fits() {
    let line = include_str!("data/pipeline.jsonl").lines().next().unwrap();
    let mut line: Value = serde_json::from_str(line).unwrap();
    let warning = "span `transfer`, field `in_flight_time_ms`: received before it was sent on edge 2 -> 3: clock \
                   skew, or spans that overlap; counted as 0";
    line["warnings"] = [warning].as_slice().into();
    let said = stdout(&omni_of(&["summary"], &format!("{line}\n")));
    assert!(said.lines().all(|line| line.chars().count() <= 100), "{said}");
    let rows: Vec<_> = said.lines().skip_while(|line| !line.starts_with("| Warnings")).collect();
    let cells = rows.iter().skip(2).map_while(|row| row.strip_prefix("| ")?.split(" |").next());
    let text: Vec<_> = cells.map(str::trim).collect();
    assert_eq!(text.join(" "), warning);
}

#[test]
fn tables_of_long_names_and_times_fit_a_hundred_columns() {
    // The times are those of a log of a fleet, whose requests take minutes.
    let log = include_str!("data/pipeline.jsonl").lines().map(|line| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        for row in line["stage_table"].as_array_mut().into_iter().flatten() {
            for (key, factor) in [("inter_output_max_ms", 1e5), ("media_ms", 1e2), ("underrun_total_ms", 1.0)]
            {
                if let Some(value) = row[key].as_f64() {
                    row[key] = ((value + 1.0) * factor).into();
                }
            }
            if row.get("underruns").is_some() {
                row["underruns"] = 1_000.into();
            }
        }
        line.to_string().replace("talker", "vocoder2") + "\n"
    });
    let log: String = log.collect();
    for args in [
        &[][..],
        &["--by", "stage_name"],
        &["--by", "finish_reason", "--slo", "e2e=20ms@99%"],
        &["--slo", "time_per_output_token@vocoder2=100ns@99.9%"],
    ] {
        let said = stdout(&omni_of(&[&["summary"], args].concat(), &log));
        let widest = said.lines().max_by_key(|line| line.chars().count()).unwrap();
        assert!(widest.chars().count() <= 100, "{args:?}: {widest}");
    }
    // What was asked for stays.
    let args = ["summary", "--by", "finish_reason", "--slo", "e2e=20ms", "--percentiles", "50,90,99.9"];
    let said = stdout(&omni_of(&args, &log));
    assert!(["e2e p50", "e2e p90", "e2e p99.9"].iter().all(|head| said.contains(head)), "{said}");
}

#[test]
fn shares_of_parts_that_overlap_are_said_to_add_up_to_more_than_the_whole() {
    let rig = Rig::new();
    rig.run_text(|rig| {
        let _request = info_span!("request").entered();
        let stages = [0, 1].map(|stage_id| info_span!("stage", stage_id).entered());
        rig.wait_ms(30);
        drop(stages);
        rig.wait_ms(10);
    });
    let said = stdout(&omni_of(&["summary"], &rig.log.text()));
    let sentence = "\nThe shares add up to 175.0 %: parts that run at the same time count each. `report`\nand `why` divide each moment once.\n\n";
    assert!(said.contains(sentence), "{said}");
    assert!(!stdout(&omni_of(&["summary", PIPELINE], "")).contains("The shares add up"));
}

#[test]
fn every_line_of_a_summary_has_at_most_100_columns_whatever_the_counts_and_names_are() {
    let words = "a text of many words that is much longer than a line of a terminal can be ".repeat(3);
    let id = "0123456789abcdef".repeat(9);
    let log = std::fs::read_to_string(PIPELINE).unwrap();
    let log = log
        .replace("\"overall_summary\":", "\"sample_rate\":4294967295,\"overall_summary\":")
        .replace("\"request_id\":\"", &format!("\"request_id\":\"{id}-"))
        .replace("\"stop\"", &format!("\"{words}\""))
        .replace("\"code2wav\"", "\"code2wav of the second generation\"")
        .replace("\"events\":1,\"fields\"", &format!("\"events\":1,\"warnings\":[\"{words}\"],\"fields\""));
    // Two processes with reports and an open request.
    let directory = tempfile::tempdir().unwrap();
    let paths: Vec<_> = ["one", "two"]
        .map(|name| {
            let rig = Rig::new();
            rig.run_text(|rig| {
                let _open = info_span!("request", request_id = format!("{id}-{name}")).entered();
                rig.wait_ms(100_000);
                rig.handle.write_summary();
            });
            let path = directory.path().join(format!("{name}-{id}.log"));
            std::fs::write(&path, rig.log.text() + &log.replace("2026-11-24T08", "2026-11-24T09")).unwrap();
            path.to_str().unwrap().to_owned()
        })
        .into();
    for more in [
        &[][..],
        &["--percentiles", "10,25,50,75,90,95,99,99.9"],
        &["--slo", "first_output@code2wav of the second generation=1ms@99%", "--slo", "e2e=20ms"],
        &["--by", "stage_name,file", "--percentiles", "10,25,50,75,90,95,99,99.9"],
        &["--every", "10ms", "--by", "finish_reason"],
        &["--slowest", "3", "--by", "request_id"],
    ] {
        let mut args = vec!["summary"];
        args.extend(more.iter().copied().chain(paths.iter().map(String::as_str)));
        let said = stdout(&omni_of(&args, ""));
        let wide = said.lines().filter(|line| line.chars().count() > 100).collect::<Vec<_>>();
        assert!(
            wide.is_empty() && said.contains(",") && said.lines().count() > 3,
            "{more:?}\n{}",
            wide.join("\n")
        );
    }
}
