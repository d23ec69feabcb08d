//! `check` finds numbers that contradict the others of their line.

#[path = "support/reader.rs"]
mod reader;

use reader::{omni_of, text};
use serde_json::{Value, json};

const PIPELINE: &str = include_str!("data/pipeline.jsonl");

/// The violations of a line whose numbers at these places are others; null takes the number away.
fn violations(of: &str, changes: &[(&str, Value)]) -> Vec<String> {
    let start = format!("{{\"type\":\"{of}\"");
    let line = PIPELINE.lines().find(|line| line.starts_with(&start)).unwrap();
    let mut line: Value = serde_json::from_str(line).unwrap();
    for (place, value) in changes {
        match place.rsplit_once('/') {
            Some((row, name)) if line.pointer(place).is_none() => {
                line.pointer_mut(row).unwrap()[name] = value.clone()
            }
            _ => *line.pointer_mut(place).unwrap() = value.clone(),
        }
    }
    let output = omni_of(&["check"], &(line.to_string() + "\n"));
    let said = text(&output.stdout);
    let of_line: Vec<_> = said
        .lines()
        .filter_map(|line| line.strip_prefix("-:1: ").filter(|said| !said.starts_with("note: ")))
        .map(str::to_owned)
        .collect();
    assert_eq!(output.status.code(), Some(if of_line.is_empty() { 0 } else { 1 }), "{output:?}");
    of_line
}

#[test]
fn the_greatest_number_of_a_request_is_read_like_any_other() {
    let request = PIPELINE.lines().find(|line| line.starts_with("{\"type\":\"request\"")).unwrap();
    let numbered =
        |number: u64| request.replacen("\"e2e_requests\":1,", &format!("\"e2e_requests\":{number},"), 1);
    let output = omni_of(&["check"], &[numbered(0), numbered(u64::MAX)].join("\n"));
    assert_eq!((output.status.code(), output.stderr.is_empty()), (Some(1), true), "{output:?}");
}

#[test]
fn timestamps_that_jump_in_a_run_are_violations_and_those_of_another_run_are_not() {
    let requests: Vec<_> =
        PIPELINE.lines().filter(|line| line.starts_with("{\"type\":\"request\"")).collect();
    let moved = |from: usize, to: usize, [time, other]: [&str; 2]| -> Vec<String> {
        let line = |(at, line): (usize, &&str)| match (from..to).contains(&at) {
            true => line.replacen(&format!("\"timestamp\":\"{time}"), &format!("\"timestamp\":\"{other}"), 1),
            false => (*line).to_owned(),
        };
        requests.iter().enumerate().map(line).collect()
    };
    let (hour, month) = (["2026-11-24T08", "2026-11-24T09"], ["2026-11-24", "2026-10-24"]);
    let jumps = |lines: &[String]| -> Vec<(String, bool)> {
        let said = text(&omni_of(&["check"], &(lines.join("\n") + "\n")).stdout);
        let jumps = said.lines().filter(|line| line.contains(": timestamp does not fit those before it"));
        jumps.map(|line| (line.split(' ').next().unwrap().to_owned(), line.contains("at most"))).collect()
    };
    let place = |line: u64, is_late| (format!("-:{line}:"), is_late);
    assert_eq!(jumps(&moved(10, 14, hour)), [place(11, true), place(15, false)]);
    assert_eq!(jumps(&moved(20, requests.len(), month)), [place(21, false)]);
    assert_eq!(jumps(&moved(0, requests.len(), month)), []);
    // The process was started again, with a jump in the second run.
    let later = moved(0, requests.len(), hour);
    let restarted = [moved(0, 0, hour), later.clone()].concat();
    assert_eq!(jumps(&restarted), []);
    let mut second = later.clone();
    second[5].clone_from(&moved(5, 6, month)[5]);
    let jumped = [moved(20, requests.len(), month), second].concat();
    let begin = requests.len() as u64;
    assert_eq!(jumps(&jumped), [place(21, false), place(begin + 6, false), place(begin + 7, true)]);
    // Two processes write into one file.
    let both = moved(0, 0, hour).into_iter().zip(later).flat_map(|(one, other)| [one, other]);
    assert_eq!(jumps(&both.collect::<Vec<_>>()), []);
}

#[test]
fn a_long_time_without_rows_of_a_worker_to_which_messages_were_sent_is_noted() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let line = |kind: &str, second: u64, rest: &str| {
        let at = format!("2026-01-31T12:{:02}:{:02}.000000Z", second / 60, second % 60);
        let head = format!(r#"{{"type":"{kind}","schema":1,"timestamp":"{at}","request_id":"r{second}","#);
        head + rest + "\n"
    };
    let sent =
        r#""from_stage":0,"to_stage":3,"size_bytes":1,"tx_time_ms":1.0,"total_time_ms":1.0,"events":1}"#;
    let row = r#""stage_id":3,"stage_gen_time_ms":1.0,"busy_time_ms":1.0,"events":1}"#;
    let notes = |is_missing: &dyn Fn(u64) -> bool, is_idle: &dyn Fn(u64) -> bool| {
        let seconds = || (0..900).filter(|second| !is_idle(*second));
        let front: String = seconds().map(|second| line("transfer", second, sent)).collect();
        let rows = seconds().filter(|second| !is_missing(*second));
        let worker: String = rows.map(|second| line("stage", second, row)).collect();
        std::fs::write(path("front.log"), front).unwrap();
        std::fs::write(path("worker.log"), worker).unwrap();
        let said = text(&omni_of(&["check", directory.path().to_str().unwrap()], "").stdout);
        let notes = said.lines().filter(|line| line.contains("this log has no row of stage 3"));
        notes.map(str::to_owned).collect::<Vec<_>>()
    };
    let hole = |second| (300..450).contains(&second);
    let found = notes(&hole, &|_| false);
    let [note] = found.as_slice() else { panic!("{found:?}") };
    assert!(
        note.contains("worker.log:301: note: this log has no row of stage 3 for 2m 31s before"),
        "{note}"
    );
    assert_eq!(notes(&|_| false, &hole), Vec::<String>::new());
}

#[test]
fn a_line_as_the_layer_wrote_it_has_none() {
    for of in ["request", "summary"] {
        assert_eq!(violations(of, &[]), Vec::<String>::new(), "{of}");
    }
}

#[test]
fn a_number_that_the_others_rule_out_is_a_violation() {
    let distribution = "/percentiles/stages/0/busy_time_ms";
    for (of, place, value, said) in [
        (
            "request",
            "/e2e_table/queue_time_ms",
            json!(1e6),
            "queue_time_ms is not the start_ms of the first stage",
        ),
        (
            "request",
            "/e2e_table/queue_time_ms",
            json!(null),
            "queue_time_ms is not the start_ms of the first stage",
        ),
        (
            "request",
            "/stage_table/0/start_ms",
            json!(0.1),
            "queue_time_ms is not the start_ms of the first stage",
        ),
        ("request", "/stage_table/2/start_ms", json!(1e6), "stage 2: start_ms is more than e2e_total_ms"),
        (
            "request",
            "/stage_table/2/start_ms",
            json!(null),
            "stage 2: queue_time_ms: expected only with start_ms",
        ),
        (
            "request",
            "/overall_summary/stage_wall_time_ms",
            json!([1, 1]),
            "stage 2: stage_wall_time_ms: expected one",
        ),
        (
            "request",
            "/overall_summary/stage_wall_time_ms",
            json!([1, 0.001, 9]),
            "stage 1: busy_time_ms is more than stage_wall_time_ms",
        ),
        (
            "request",
            "/overall_summary/e2e_wall_time_ms",
            json!(1),
            "e2e_total_ms is more than e2e_wall_time_ms",
        ),
        (
            "request",
            "/overall_summary/e2e_total_tokens",
            json!(1),
            "e2e_total_tokens is more than that of the run",
        ),
        ("request", "/stage_table/0/events", json!(0), "stage 0: events: expected at least 1"),
        ("request", "/transfer_table/0/events", json!(0), "edge 0->1: events: expected at least 1"),
        (
            "request",
            "/stage_table/0/busy_time_ms",
            json!(null),
            "stage_gen_time_ms and busy_time_ms: expected both",
        ),
        (
            "summary",
            "/percentiles/e2e_total_ms/p50",
            json!(99),
            "e2e_total_ms: expected p50, p90, p99, p999 and max",
        ),
        (
            "summary",
            "/percentiles/e2e_total_ms/p99",
            json!(1),
            "e2e_total_ms: expected p50, p90, p99, p999 and max",
        ),
        (
            "summary",
            "/percentiles/tokens_per_s/max",
            json!(1),
            "tokens_per_s: expected p50, p90, p99, p999 and max",
        ),
        (
            "summary",
            "/percentiles/e2e_total_ms/count",
            json!(39),
            "e2e_requests is not the count of e2e_total_ms",
        ),
        (
            "summary",
            &format!("{distribution}/mean"),
            json!(0.001),
            "stage 0: busy_time_ms: mean: expected from",
        ),
        ("summary", &format!("{distribution}/mean"), json!(99), "stage 0: busy_time_ms: mean: expected from"),
        ("summary", &format!("{distribution}/count"), json!(41), "stage 0: busy_time_ms: count: expected 40"),
        (
            "summary",
            "/percentiles/unattributed_time_ms/count",
            json!(39),
            "unattributed_time_ms: count: expected 40",
        ),
        ("summary", "/percentiles/e2e_total_ms/mean", json!(25), "e2e_total_ms: mean: expected from"),
        ("summary", "/percentiles/e2e_total_ms/mean", json!(9), "e2e_total_ms: mean: expected from"),
        (
            "summary",
            "/percentiles/e2e_total_ms/max",
            json!(1e6),
            "the max of e2e_total_ms is more than e2e_wall_time_ms",
        ),
        (
            "summary",
            "/percentiles/unattributed_time_ms/max",
            json!(27),
            "max: unattributed_time_ms is more than e2e_total_ms",
        ),
        (
            "summary",
            "/percentiles/transfers/1/tx_time_ms/count",
            json!(41),
            "edge 1->2: tx_time_ms: count is more than that of total_time_ms",
        ),
        (
            "request",
            "/stage_table/1/busy_time_ms",
            json!(9),
            "stage 1: busy_time_ms is more than stage_wall_time_ms * events",
        ),
        (
            "summary",
            &format!("{distribution}/count"),
            json!(0),
            "stage 0: busy_time_ms: count: expected at least 1",
        ),
        (
            "summary",
            "/percentiles/transfers/1/tx_time_ms/p999",
            json!(0),
            "edge 1->2: tx_time_ms: expected p50, p90, p99, p999 and max",
        ),
    ] {
        // As in every summary line that the layer writes.
        let open = ("/open_requests", json!(0));
        let changes = [(place, value.clone()), open];
        let found = violations(of, &changes[..if of == "summary" { 2 } else { 1 }]);
        assert!(found.iter().any(|violation| violation.contains(said)), "{place} {value}: {found:?}");
    }
}

#[test]
fn a_batch_may_begin_after_the_answer_of_a_request_that_it_serves() {
    let shared = [("/stage_table/2/start_ms", json!(1e6)), ("/stage_table/2/batch_size", json!(2))];
    assert_eq!(violations("request", &shared), Vec::<String>::new());
    let short =
        [("/stage_table/2/start_ms", json!(1e6)), ("/stage_table/2/stage_gen_time_ms", json!(0.000_001))];
    let found = violations("request", &short);
    assert!(found.iter().all(|violation| !violation.contains("start_ms is more")), "{found:?}");
}

#[test]
fn a_summary_whose_times_are_not_those_of_the_lines_of_its_run_is_a_violation() {
    let summary = PIPELINE.lines().last().unwrap();
    for (name, factor) in [("max", 1.5), ("mean", 1.1), ("mean", 0.97)] {
        let mut changed: Value = serde_json::from_str(summary).unwrap();
        let value = &mut changed["percentiles"]["e2e_total_ms"][name];
        *value = json!(value.as_f64().unwrap() * factor);
        let output = omni_of(&["check"], &PIPELINE.replace(summary, &changed.to_string()));
        let said = text(&output.stdout);
        let sentence = format!("e2e_total_ms: {name} is not that of the lines: expected");
        assert!(output.status.code() == Some(1) && said.contains(&sentence), "{name}: {said}");
    }
}

#[test]
fn a_time_of_many_years_is_the_sum_of_its_parts_as_far_as_a_float_is_exact() {
    let years = 18_446_744_073_709.0;
    let changes = [
        ("/transfer_table/0/tx_time_ms", json!(years)),
        ("/transfer_table/0/rx_decode_time_ms", json!(0.4)),
        ("/transfer_table/0/in_flight_time_ms", json!(null)),
        ("/transfer_table/0/total_time_ms", json!(years + 0.4)),
        ("/e2e_table/transfers_total_time_ms", json!(years + 0.4 + 0.091837)),
    ];
    assert_eq!(violations("request", &changes), Vec::<String>::new());
    let mut wrong = changes;
    wrong[3].1 = json!(years + 0.5);
    assert!(violations("request", &wrong).iter().any(|found| found.contains("not the sum of its parts")));
}

#[test]
fn the_wall_of_a_stage_does_not_fall_within_a_run() {
    let mut lines: Vec<_> = PIPELINE.lines().map(str::to_owned).collect();
    let (before, walls) = lines[20].split_once("\"stage_wall_time_ms\":[").unwrap();
    let (_, after) = walls.split_once(',').unwrap();
    lines[20] = format!("{before}\"stage_wall_time_ms\":[9.5,{after}");
    let output = omni_of(&["check"], &lines.join("\n"));
    let said = text(&output.stdout);
    let violation =
        "-:21: stage 0: stage_wall_time_ms is less than in the line before, of the same run: expected";
    assert!(said.contains(violation) && said.contains("found 9.5\n"), "{said}");
    // Without its predecessor, it may be of another process.
    lines.remove(19);
    let said = text(&omni_of(&["check"], &lines.join("\n")).stdout);
    assert!(!said.contains("stage_wall_time_ms is less"), "{said}");
}
