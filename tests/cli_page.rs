//! The page of `omni-metrics report`: its data and its markup. `.ci/browser` tries it in a browser.

#[path = "support/reader.rs"]
mod reader;
mod support;

use std::{fs, path::Path, process::Output};

use reader::{omni_of, stdout, text};
use serde_json::{Value, json};
use support::Rig;
use tracing::info_span;

/// A log that the example `omni_pipeline` wrote: 40 requests and the summary.
const PIPELINE: &str = "tests/data/pipeline.jsonl";

fn omni(args: &[&str]) -> Output {
    omni_of(args, "")
}

fn report(log: &str) -> String {
    stdout(&omni_of(&["report"], log))
}

fn pipeline() -> String {
    fs::read_to_string(PIPELINE).unwrap()
}

/// The first request of the pipeline, with other texts in place of its id.
fn requests(ids: impl Iterator<Item = String>) -> String {
    let log = pipeline();
    let line = log.lines().next().unwrap();
    ids.map(|id| line.replace("req-0001", &id) + "\n").collect()
}

/// A list or an object that the page has for its script.
fn data(page: &str, id: &str) -> Value {
    let begin = format!("<script id=\"{id}\" type=\"application/json\">");
    let data = page.split_once(&begin).unwrap().1.split_once("</script>").unwrap().0;
    serde_json::from_str(data).unwrap()
}

/// The sum of a number over the stretches of the run.
fn over_time(page: &str, column: usize) -> u64 {
    let run = data(page, "run");
    run["stretches"].as_array().unwrap().iter().map(|stretch| stretch[column].as_u64().unwrap()).sum()
}

/// How many points of a class the first chart has.
fn points(page: &str, class: &str) -> usize {
    let begin = format!("<path class=\"dots {class}\" d=\"");
    page.split_once(&begin).map_or(0, |(_, rest)| rest.split_once('"').unwrap().0.matches('M').count())
}

#[test]
fn the_page_is_one_file_that_needs_nothing_else() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report.html");
    stdout(&omni(&["report", PIPELINE, "-o", path.to_str().unwrap()]));
    let page = fs::read_to_string(&path).unwrap();
    assert_eq!(page, stdout(&omni(&["report", PIPELINE])), "the same without a file");
    for outside in ["https:", "src=", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    // The name space of SVG is no address that a browser opens.
    assert_eq!(page.matches("http:").count(), page.matches("http://www.w3.org/2000/svg").count());
    assert!(page.starts_with("<!doctype html>"));
}

#[test]
fn its_requests_and_figures_are_those_of_the_summary() {
    let page = stdout(&omni(&["report", PIPELINE]));
    let summary: Value = serde_json::from_str(&stdout(&omni(&["summary", "--json", PIPELINE]))).unwrap();
    let requests = data(&page, "data");
    assert_eq!(requests.as_array().unwrap().len(), 40);
    assert_eq!(requests[0]["id"], summary["slowest"][0]["request_id"]);
    assert_eq!(requests[0]["e2e"], summary["slowest"][0]["e2e_total_ms"]);
    assert_eq!((over_time(&page, 0), points(&page, "completed")), (40, 40));
    assert_eq!(over_time(&page, 3), summary["overall_summary"]["e2e_total_tokens"]);
    let p99 = summary["percentiles"]["stages"][2]["stage_gen_time_ms"]["p99"].as_f64().unwrap();
    assert!(page.contains("<th scope=\"row\">stage gen</th><td>40</td>"), "{page}");
    assert!(page.contains(&format!("<td>{p99:.1} ms</td>")), "{p99}");
}

#[test]
fn the_parts_of_every_request_and_of_the_run_add_up_to_the_time() {
    let page = stdout(&omni(&["report", PIPELINE]));
    let mut total = 0.0;
    for request in data(&page, "data").as_array().unwrap() {
        let mut until = 0.0;
        for piece in request["path"].as_array().unwrap() {
            let end = piece[1].as_f64().unwrap();
            assert!(end > until, "{request}");
            until = end;
        }
        assert_eq!(request["e2e"].as_f64(), Some(until));
        total += until;
    }
    let run = data(&page, "run");
    let times =
        run["stretches"].as_array().unwrap().iter().flat_map(|stretch| stretch[6].as_array().unwrap());
    let times: f64 = times.skip(1).step_by(2).map(|time| time.as_f64().unwrap()).sum();
    // Each sum of a stretch is rounded to a microsecond.
    assert!((times - total).abs() < 1.0, "{times} {total}");
}

#[test]
fn failed_and_aborted_requests_are_told_apart() {
    let rig = Rig::new();
    rig.run_text(|rig| {
        for reason in ["stop", "error", "abort", "abort", "length"] {
            let request = info_span!("request", finish_reason = reason, model = "m");
            request.in_scope(|| rig.wait_ms(5));
        }
    });
    let page = report(&rig.log.text());
    assert_eq!([0, 1, 2].map(|column| over_time(&page, column)), [2, 2, 1]);
    let drawn = ["completed", "aborted", "unaborted"].map(|class| points(&page, class));
    assert_eq!(drawn, [2, 2, 1]);
    let failed = "<dt>failed</dt><dd>60.0 % (3, of which 2 aborted)</dd>";
    for shown in [failed, "</i>failed, not aborted</span>", "id=\"failures\""] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    let json: Value =
        serde_json::from_str(&stdout(&omni_of(&["report", "--json"], &rig.log.text()))).unwrap();
    let failed: Vec<_> =
        json["over_time"].as_array().unwrap().iter().map(|at| at["failed"].as_u64()).collect();
    assert_eq!(failed.into_iter().flatten().sum::<u64>(), 3, "as summary counts them: {json}");
    assert_eq!(json["summary"]["failed_requests"], 3);
    assert_eq!(data(&page, "data")[0]["fields"], json!([["model", "m"]]));
    let sound = stdout(&omni(&["report", PIPELINE]));
    assert!(
        sound.contains("No request failed.")
            && sound.contains("<dt>failed</dt><dd>0 % (0)</dd>")
            && !sound.contains("id=\"failures\"")
    );
}

#[test]
fn objectives_stand_at_the_top_and_at_the_requests_that_broke_them() {
    let page = stdout(&omni(&["report", PIPELINE, "--slo", "e2e=20ms@99%"]));
    let broke =
        data(&page, "data").as_array().unwrap().iter().filter(|one| one.get("broke").is_some()).count();
    assert!((1..40).contains(&broke), "{broke}");
    let row = format!(
        "<th scope=\"row\">e2e=20ms@99%</th><td>{}</td><td>{broke}</td><td>0</td><td>0</td>",
        40 - broke
    );
    assert!(page.contains(&row) && page.contains(" %, missed</td>"), "{row}");
    let head = page.split_once("</header>").unwrap().0;
    let met = format!("<dt>met all objectives</dt><dd>57.5 % ({} of 40)</dd>", 40 - broke);
    assert!(head.contains(&met) && head.contains("<dt>goodput</dt><dd>226 requests a second</dd>"), "{head}");
    assert!(!stdout(&omni(&["report", PIPELINE])).contains("bjectives</"));
}

#[test]
fn limits_are_lines_of_the_charts_and_of_the_waterfalls() {
    let slo =
        ["--slo", "e2e=20ms@99%", "--slo", "first_output@0=1ms", "--slo", "gen@2=1s", "--slo", "e2e=1h"];
    let page = stdout(&omni(&[&["report", PIPELINE], &slo[..]].concat()));
    let run = data(&page, "run");
    let [low, high] = [0, 1].map(|end| run["latency"][end].as_f64().unwrap().ln());
    let expected = (20_f64.ln() - low) / (high - low) * 100.0;
    for begin in [
        "<div class=\"across limit\" style=\"bottom:",
        "<div class=\"mark limit left\" style=\"--row:2;left:",
    ] {
        let (place, rest) = page.split_once(begin).unwrap().1.split_once('%').unwrap();
        assert!((place.parse::<f64>().unwrap() - expected).abs() < 1e-9, "{place} {expected}");
        let text = rest.split_once("><span>").unwrap().1;
        assert!(text.starts_with("objective e2e=20ms@99%</span>"), "{text:.80}");
    }
    assert_eq!(page.matches("<span>objective e2e=1h, which is beyond this axis</span>").count(), 2);
    assert!(page.contains("the time when they began, objective e2e=20ms@99%, objective e2e=1h"), "{page}");
    let limit = |key: &str, stage: Option<u64>, limit: f64, text: &str| json!({"key": key, "stage": stage, "limit": limit, "text": text});
    let limits = [
        limit("e2e_total_ms", None, 20.0, "e2e=20ms@99%"),
        limit("first_output_ms", Some(0), 1.0, "first_output@0=1ms"),
        limit("e2e_total_ms", None, 3.6e6, "e2e=1h"),
    ];
    assert_eq!(run["limits"], json!(limits));
    let without = stdout(&omni(&["report", PIPELINE]));
    assert!(!without.contains("class=\"across") && data(&without, "run")["limits"] == json!([]));
}

#[test]
fn a_request_far_away_from_all_others_is_named_and_the_charts_show_the_others() {
    let log = pipeline();
    let stray = log.lines().nth(5).unwrap().replace("2026-11-24T", "2026-11-17T").replace("req-", "stray-");
    let page = report(&format!("{stray}\n{log}"));
    let run = data(&page, "run");
    assert!(run["time"][1].as_f64().unwrap() - run["time"][0].as_f64().unwrap() < 1_000.0, "{}", run["time"]);
    assert_eq!((over_time(&page, 0), points(&page, "completed")), (41, 40));
    let began = stray.split_once("\"timestamp\":\"").unwrap().1;
    assert!(began.starts_with("2026-11-17T08:46:40.1"), "{began:.30}");
    let note = "data-outside=\"before\">1 request</button> began before this time, the first one at 2026-11-17 08:46:40.0";
    assert!(page.contains(note) && run["before"].is_number() && run["after"].is_null(), "{page}");
    assert!(page.contains("<tr><td>2026-11-17T08:46:40.0"), "the table has it");
    let first = data(&page, "data")[0]["at"].as_f64().unwrap();
    assert!(run["before"].as_f64().unwrap() < first - 6.9 * 86_400_000.0);

    let of_day = |count: u64| requests((0..count).map(|n| format!("r{n}"))).replace("-24T08", "-18T08");
    let page = report(&format!("{}{log}", of_day(500)));
    assert!(!page.contains("data-outside="), "40 of 540 requests are not few");
    let many = of_day(1_500);
    let page = report(&format!("{many}{stray}\n{}", stray.replace("11-17T", "11-19T")));
    for said in [
        "began before this time, the first one at 2026-11-17 08:46:40.0",
        "began after this time; the last one ended at 2026-11-19 08:46:40.1",
        "<code>omni-metrics tables --until 2026-11-18T08:46:40.",
        "<code>omni-metrics tables --since 2026-11-18T08:46:40.",
    ] {
        assert!(page.contains(said), "{said}");
    }
    assert!(!stdout(&omni(&["report", PIPELINE])).contains("data-outside="));
}

#[test]
fn lines_of_a_sampled_log_count_as_often_as_they_stand_for() {
    let log: String = pipeline()
        .lines()
        .filter(|line| line.starts_with("{\"type\":\"request\""))
        .enumerate()
        .map(|(n, line)| match n % 2 {
            0 => line.replacen(",\"overall_summary\"", ",\"sample_rate\":50,\"overall_summary\"", 1) + "\n",
            _ => line.to_owned() + "\n",
        })
        .collect();
    let page = report(&log);
    assert!(page.contains("The log is sampled: 40 request lines stand for about 1,020 requests"), "{page}");
    assert!(page.contains("<dt>requests</dt><dd>1,020</dd>"));
    assert_eq!((over_time(&page, 0), points(&page, "completed")), (1_020, 40));
    let counts = data(&page, "run")["distribution"]["counts"].clone();
    assert_eq!(counts.as_array().unwrap().iter().map(|count| count.as_u64().unwrap()).sum::<u64>(), 1_020);
    let weights = data(&page, "data");
    let weights = weights.as_array().unwrap().iter().map(|request| request["weight"].as_u64().unwrap_or(1));
    assert_eq!(weights.sum::<u64>(), 1_020);
}

#[test]
fn a_sample_of_requests_says_how_to_find_the_others() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("it's a log.jsonl");
    fs::write(&path, requests((0..1_500).map(|n| format!("r{n}")))).unwrap();
    let page = stdout(&omni(&["report", path.to_str().unwrap()]));
    assert!(page.contains("data-requests=\"1,500\" data-sampled"), "{page}");
    assert!(page.contains("it&#x27;\\&#x27;&#x27;s a log.jsonl&#x27;\""), "as an argument in a shell");
    assert_eq!((points(&page, "completed"), over_time(&page, 0)), (1_500, 1_500));
    assert!(!stdout(&omni(&["report", PIPELINE])).contains(" data-sampled"), "all of them are there");
}

#[test]
fn an_absent_value_is_a_hyphen_as_in_the_tables() {
    let log = "{\"type\":\"stage\",\"schema\":1,\"timestamp\":\"2026-07-28T00:00:00Z\",\"stage_id\":7,\"events\":1}\n";
    let page = stdout(&omni_of(&["report", "--by", "stage_id"], &(pipeline() + log)));
    assert!(page.contains("<td>-</td>") && !page.contains(['\u{2013}', '\u{2014}']), "{page}");
}

#[test]
fn counts_read_as_a_person_writes_them() {
    let page = report(&requests((0..1_500).map(|n| format!("r{n}"))));
    assert!(page.contains("<li>1,500 requests ended with finish_reason "), "{page}");
    assert!(report(&requests(["one".to_owned()].into_iter())).contains("<p>1 request.</p>"));
}

#[test]
fn many_requests_are_a_density_and_the_page_stays_small() {
    let log: String = requests((0..6_000).map(|n| format!("r{n}")))
        .lines()
        .enumerate()
        // From a microsecond to 17 minutes.
        .map(|(n, line)| {
            line.replacen("\"e2e_total_ms\":", &format!("\"e2e_total_ms\":{}e-3,\"was\":", n.pow(2) * 29), 1)
                + "\n"
        })
        .collect();
    let page = report(&log);
    assert!(page.contains("class=\"density level-") && points(&page, "completed") == 0);
    assert_eq!(over_time(&page, 0), 6_000);
    let keys: Vec<_> = page.split("<i class=\"density level-").skip(1).collect();
    assert!(keys.len() == 2 && keys[0].starts_with("1\"></i>1 "), "the ends of the scale: {keys:.80?}");
    assert!(keys[1].split_once("</span>").unwrap().0.ends_with(" requests"), "{:.80}", keys[1]);
    let run = data(&page, "run");
    let stretches = run["stretches"].as_array().unwrap().iter();
    let bins: std::collections::BTreeSet<_> = stretches
        .flat_map(|at| at[5].as_array().unwrap().iter().step_by(2).map(|bin| bin.as_u64()))
        .collect();
    assert!((50..=180).contains(&bins.len()), "{bins:?}");
    assert!(page.len() < 1_500_000, "{}", page.len());
}

#[test]
fn shares_and_sentences_at_the_top_are_those_of_the_summary() {
    let waited = pipeline().replace("\"finish_reason\"", "\"waiting_time_ms\":1.5,\"finish_reason\"");
    let summary = stdout(&omni_of(&["summary", "--json"], &waited));
    let summary: Value = serde_json::from_str(&summary).unwrap();
    let page = report(&waited);
    for part in summary["shares_of_e2e"].as_array().unwrap() {
        let (name, share) = (part["part"].as_str().unwrap(), part["share"].as_f64().unwrap() * 100.0);
        let tile = format!("<dt>{name}, of e2e</dt><dd>{share:.1} %</dd>");
        assert_eq!(page.contains(&tile), ["waiting", "unattributed"].contains(&name), "{tile}");
    }
    let on_path = report(&pipeline());
    assert!(on_path.contains("<dt>waiting, of e2e</dt><dd>44.8 %</dd>"), "without waiting_time_ms");
    let long = pipeline()
        .replace("\"queue_time_ms\":", "\"queue_time_ms\":9999")
        .replace("\"events\":1", "\"events\":2");
    let sentence = |text: String| {
        let text = text.replace('\n', " ").replace("&#x27;", "'");
        let text = text.replace("<code>", "`").replace("</code>", "`");
        let begin = text.find("In 40 requests, a stage's queue_time_ms").unwrap();
        text[begin..].split_once("once.").unwrap().0.to_owned()
    };
    let said = stdout(&omni_of(&["summary"], &long));
    assert_eq!(sentence(report(&long)), sentence(said));
}

#[test]
fn a_page_with_many_groups_and_long_lines_is_small_and_half_of_its_sample_is_ordinary() {
    let log: String = requests((0..3_000).map(|n| format!("{n:0150}")))
        .lines()
        .enumerate()
        .map(|(n, line)| {
            let (begin, rest) = line.split_once("\"timestamp\":\"").unwrap();
            let (_, rest) = rest.split_at("2026-11-24T08:46:40.105116Z".len());
            let time = format!("{begin}\"timestamp\":\"2026-11-24T08:46:40.{:06}Z{rest}\n", n / 4 * 1_000);
            let reason = ["stop", "length", "error", "abort"][n % 4];
            let warnings = vec!["w".repeat(200); 10];
            let time = time.replace("\"finish_reason\":\"stop\"", &format!("\"finish_reason\":\"{reason}\""));
            time.replace("\"stage_table\"", &format!("\"warnings\":{},\"stage_table\"", json!(warnings)))
        })
        .collect();
    let page = stdout(&omni_of(&["report", "--by", "finish_reason", "--every", "1ms"], &log));
    assert!((1_300_000..1_500_000).contains(&page.len()), "{}", page.len());
    assert!(page.contains(" These are the first 1,000 of 3,000 rows; "), "{page:.20000}");
    let shown = data(&page, "data");
    let shown = shown.as_array().unwrap();
    let failed = shown.iter().filter(|one| one["ending"] != "completed").count();
    assert!((100..800).contains(&shown.len()) && failed * 10 < shown.len() * 7, "{failed} {}", shown.len());
    let said = page.split_once("<p>A sample: the ").unwrap().1.split_once("</p>").unwrap().0;
    let counts: Vec<usize> = said.split([' ', ',']).filter_map(|word| word.parse().ok()).collect();
    let by_chance = *counts.last().unwrap();
    assert!(by_chance * 100 > shown.len() * 45, "{said}");
}

#[test]
fn several_files_are_one_run() {
    let (one, other) = (file("one.jsonl", 0), file("other.jsonl", 1));
    let page = stdout(&omni(&["report", &one, &other]));
    assert_eq!(over_time(&page, 0), 40);
    assert!(page.contains("one.jsonl, ") && page.contains("other.jsonl"));
}

/// A file with every second request of the pipeline.
fn file(name: &str, which: usize) -> String {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let log: String = pipeline().lines().skip(which).step_by(2).map(|line| line.to_owned() + "\n").collect();
    fs::write(&path, log).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn colours_stay_on_paper_and_in_a_forced_palette() {
    let page = stdout(&omni(&["report", PIPELINE]));
    let rule =
        page.split_once(".field, .field path, .field div, .bar, .bar > div, i, .track, .track div, .gap {");
    let rule = rule.unwrap().1.split_once('}').unwrap().0;
    assert!(
        rule.contains(" print-color-adjust: exact;") && rule.contains(" forced-color-adjust: none;"),
        "{rule}"
    );
    assert!(page.contains("@media screen and (prefers-color-scheme: dark)"), "paper is light");
}

#[test]
fn a_log_without_requests_and_a_hostile_one_make_a_page_too() {
    let row = r#"{"type":"stage","schema":1,"timestamp":"2026-11-24T08:46:41.000000Z","request_id":null,"stage_id":7,"events":1}"#;
    let page = report(&format!("not of ours\n{row}"));
    assert!(page.contains("1 foreign line<") && page.trim_end().ends_with("</html>"));
    assert!(page.contains(": no requests") && !page.contains("<script"));
    let evil = "</script><b>{{ 7*6000000007 }}";
    let log = requests(std::iter::once(evil.to_owned())).replace("\"thinker\"", &format!("{evil:?}"));
    assert!(log.contains(evil));
    let page = report(&log);
    assert!(!page.contains("<b>") && !page.contains("42000000049"), "neither markup nor template");
    let output = omni(&["report", PIPELINE, "-o", "/no/such/directory/page.html"]);
    assert_eq!(output.status.code(), Some(2));
    let unread = text(&omni(&["report", "/no/such/directory/page.html"]).stderr);
    let unwritten = text(&output.stderr);
    assert!(unwritten.contains("cannot write /no/such/directory/page.html"), "{unwritten}");
    assert_eq!(unwritten, unread.replace("read", "write"), "in the words of the operating system");
}

#[test]
fn a_request_names_those_that_were_in_its_way_also_from_standard_input() {
    let page = report(&pipeline());
    let requests = data(&page, "data");
    let ids: Vec<_> = requests.as_array().unwrap().iter().map(|request| request["id"].clone()).collect();
    // Stage, batch, the time there, the time for others, how many others, and which.
    let ways = requests[0]["way"].as_array().unwrap();
    let way = ways.iter().find(|way| way[0] == 2).unwrap();
    assert!(way[3].as_f64() <= way[2].as_f64() && way[4].as_u64() > Some(2), "{way}");
    let named = way[5].as_array().unwrap();
    assert!(named.len() == 2 && named.iter().all(|other| ids.contains(&other[0])), "{way}");
    assert!(!named.iter().any(|other| other[0] == requests[0]["id"]), "not itself");
}

#[test]
fn groups_are_a_table_with_the_figures_of_the_summary() {
    let args = ["--by", "finish_reason", PIPELINE];
    let page = stdout(&omni(&[&["report"], &args[..]].concat()));
    let summary: Value =
        serde_json::from_str(&stdout(&omni(&[&["summary", "--json"], &args[..]].concat()))).unwrap();
    assert!(page.contains("<h2>By finish_reason</h2>"), "{page}");
    for group in summary["groups"].as_array().unwrap() {
        let (name, count) = (group["group"].as_str().unwrap(), &group["count"]);
        let p50 = group["e2e_total_ms"]["p50"].as_f64().unwrap();
        let row = page.split_once(&format!("<tr><th scope=\"row\">{name}</th><td>{count}</td>")).unwrap().1;
        let row = row.split_once("</tr>").unwrap().0;
        let decimals = if p50 < 10.0 { 2 } else { 1 };
        assert!(row.contains(&format!("<td>{p50:.decimals$} ms</td>")), "{p50} {row}");
    }
    let log = requests(["a\u{202e}b".to_owned()].into_iter());
    let page = stdout(&omni_of(&["report", "--by", "request_id"], &log));
    assert!(page.contains("<th scope=\"row\">&quot;a\\u202eb&quot;</th>"), "control characters are escaped");
    let page = stdout(&omni(&["report", "--every", "20ms", PIPELINE]));
    assert!(page.contains("<h2>By time</h2>") && page.contains("<th scope=\"col\">from</th>"));
    let page = stdout(&omni(&["report", "--by", "stage_name", PIPELINE]));
    assert!(page.contains("<th scope=\"row\">code2wav</th><td>40</td>"), "{page}");
}

#[test]
fn chosen_percentiles_are_those_of_the_summary() {
    let chosen = ["--percentiles", "25,99.99", PIPELINE];
    let page = stdout(&omni(&[&["report"], &chosen[..]].concat()));
    let json = |args: &[&str]| {
        let output = omni(&[args, &["--json"], &chosen[..]].concat());
        serde_json::from_str::<Value>(&stdout(&output)).unwrap()
    };
    let (summary, report) = (json(&["summary"]), json(&["report"]));
    assert_eq!(report["summary"]["chosen_percentiles"], summary["chosen_percentiles"]);
    let (e2e, heads) = (&summary["chosen_percentiles"][0], ["p25", "p99.99"]);
    assert_eq!(e2e["number"], "e2e_total_ms");
    for head in heads {
        let value = format!("{:.1} ms", e2e[head].as_f64().unwrap());
        assert!(page.contains(&format!("<dt>e2e, {head}</dt><dd>{value}</dd>")), "{head} {value}");
        assert!(page.contains(&format!("<span>{head} {value}</span>")), "a mark of the distribution");
    }
    let heads = heads.map(|head| format!("<th scope=\"col\">{head}</th>")).concat();
    assert!(page.contains(&format!("mean</th>{heads}<th scope=\"col\">max</th>")), "{page}");
    assert!(!page.contains("<th scope=\"col\">p90</th>") && !page.contains("<dt>e2e, p50</dt>"));
    let by = ["--by", "finish_reason"];
    let (summary, report) = (json(&[&["summary"], &by[..]].concat()), json(&[&["report"], &by[..]].concat()));
    let times = |group: &Value| group["e2e_total_ms"].clone();
    let groups = |of: &Value| of["groups"].as_array().unwrap().iter().map(times).collect::<Vec<_>>();
    assert_eq!(groups(&report["groups"]), groups(&summary));
    let page = stdout(&omni(&[&["report"], &by[..], &chosen[..]].concat()));
    let heads = "<th scope=\"col\">e2e p25</th><th scope=\"col\">p99.99</th>";
    let p25 = format!("<td>{:.1} ms</td>", summary["groups"][0]["e2e_total_ms"]["p25"].as_f64().unwrap());
    assert!(page.contains(heads) && page.contains(&p25), "{p25}");
}

#[test]
fn no_log_makes_a_page_that_is_too_large() {
    let log = pipeline();
    let line: Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
    let name = |n: usize| format!("{n:03}{}", "<\u{202e}é".repeat(100));
    let request = |n: usize| {
        let mut line = line.clone();
        line["timestamp"] = json!(format!("2026-11-24T08:{:02}:{:02}.000000Z", n / 240, n / 4 % 60));
        line["request_id"] = json!(format!("{n:05}{}", "<".repeat(200)));
        line["e2e_table"]["finish_reason"] = json!(name(n % 300));
        line["e2e_table"]["error"] = json!(name(n % 299));
        line["e2e_table"]["errors"] = json!(1);
        line["warnings"] = json!([name(n % 298)]);
        line["fields"] = json!({"a": name(n % 4), "b": name(n % 4 + 1)});
        // Few have all stages.
        let stages = if n < 10 { 300 } else { 3 };
        let row = |stage: usize| {
            let mut row = line["stage_table"][stage % 3].clone();
            row["stage_id"] = json!(stage);
            row["stage_name"] = json!(name(stage));
            row["fields"] = line["fields"].clone();
            row
        };
        line["stage_table"] = (0..stages).map(row).collect();
        format!("{line}\n")
    };
    let log: String = (0..1_200).map(request).collect();
    let percentiles = (1..=99).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    let args = ["report", "--by", "stage_name,fields.a", "--every", "1s", "--percentiles", &percentiles];
    let page = stdout(&omni_of(&args, &log));
    assert!(page.len() < 1_500_000, "{}", page.len());
    assert!(data(&page, "data").as_array().unwrap().len() > 5, "it has requests");
    for said in [
        " rows; <code>omni-metrics summary</code> with the same options prints all.",
        "The page has the first 16 of 99 percentiles; <code>report --json</code> has all.",
        " ended with another finish_reason, which <code>omni-metrics summary --json</code> lists",
        " had another error, which <code>",
        ": other warnings, which <code>",
    ] {
        assert!(page.contains(said), "{said}");
    }
    let rows = page.split_once(" These are the first ").unwrap().1.split_once(' ').unwrap().0;
    let rows: usize = rows.replace(',', "").parse().unwrap();
    assert!((50..1_000).contains(&rows), "as many as there is room for: {rows}");
}

#[test]
fn a_page_shows_the_first_of_many_objectives_and_says_so() {
    let slow: Vec<_> = (1..=1_000).map(|millis| format!("e2e={millis}ms")).collect();
    // No request has this stage.
    let absent: Vec<_> = (1..=1_000).map(|millis| format!("gen@7{}={millis}ms", "7".repeat(15))).collect();
    let slo: Vec<_> = slow.iter().chain(&absent).flat_map(|slo| ["--slo", slo]).collect();
    let path = file("many_slo.html", 0);
    for (command, size) in [("report", 250_000), ("compare", 250_000)] {
        let logs = if command == "report" { &[PIPELINE][..] } else { &[PIPELINE, PIPELINE] };
        omni(&[&[command, "-o", &path], &slo[..], logs].concat());
        let page = fs::read_to_string(&path).unwrap();
        assert!(page.len() < size, "{command}: {}", page.len());
        let said = "The page shows the first 16 of 2,000 objectives. Requests that met all objectives also met those";
        assert!(page.contains(said), "{command}");
        assert!(page.contains("objective e2e=16ms") && !page.contains("e2e=17ms"), "{command}");
    }
    let page = stdout(&omni(&["report", "--slo", "e2e=17ms", PIPELINE]));
    assert!(page.contains("objective e2e=17ms") && !page.contains("The page shows the first"), "{page}");
}

#[test]
fn many_logs_are_named_in_few_words() {
    let logs: Vec<_> = (0..300).map(|n| file(&format!("{n:0100}.jsonl"), n % 2)).collect();
    let logs: Vec<_> = logs.iter().map(String::as_str).collect();
    let page = stdout(&omni(&[&["report"], &logs[..]].concat()));
    let head = page.split_once("<h1>").unwrap().1.split_once("</p>").unwrap().0;
    let more: usize = head.rsplit_once(" and ").unwrap().1.strip_suffix(" more").unwrap().parse().unwrap();
    assert_eq!(head.matches(".jsonl").count() + more, 300, "{head}");
    assert!(page.contains("data-files=\"FILE...\"") && head.len() < 1_500, "{head}");
}
