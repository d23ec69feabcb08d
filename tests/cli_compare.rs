//! `compare`, as a user runs it.

#[path = "support/reader.rs"]
mod reader;
mod support;

use std::{fs, path::Path};

use omni_metrics::Line;
use reader::{omni_of, stdout, text};
use serde_json::Value;
use support::Rig;
use tracing::info_span;

/// How many characters wide a table is at most.
const WIDTH: usize = 100;
const PIPELINE: &str = include_str!("data/pipeline.jsonl");

/// A file of this test's own.
fn file(name: &str, content: &str) -> String {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Sequential requests of three stages, whose times differ from request to request. Stage 1 takes `slower`
/// thousandths more. One request in `fails` fails.
fn log(seed: u64, requests: u64, slower: u64, fails: u64) -> String {
    let rig = Rig::new();
    let mut state = seed;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % 1_000
    };
    rig.run_text(|rig| {
        for n in 0..requests {
            let reason = if n % fails == fails - 1 { "error" } else { "stop" };
            info_span!("request", finish_reason = reason).in_scope(|| {
                for stage in 0..3_u64 {
                    let micros = (10_000 + 10 * random()) * if stage == 1 { 1_000 + slower } else { 1_000 };
                    let span = info_span!("stage", stage_id = stage, num_tokens_out = 10_u64);
                    span.in_scope(|| rig.time.advance(std::time::Duration::from_nanos(micros)));
                }
            });
        }
    });
    rig.log.text()
}

fn compared(args: &[&str]) -> Value {
    let args = [&["compare", "--json"], args].concat();
    serde_json::from_str(&stdout(&omni_of(&args, ""))).unwrap()
}

fn named<'a>(rows: &'a Value, key: &str, name: &str) -> &'a Value {
    let found = rows.as_array().unwrap().iter().find(|row| row[key] == name);
    found.unwrap_or_else(|| panic!("there is {name}: {rows}"))
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("a number: {value}"))
}

fn covers(row: &Value, truth: f64) -> bool {
    let [low, high] = [0, 1].map(|end| number(&row["ratio_interval"][end]));
    low <= truth && truth <= high
}

#[test]
fn a_stage_that_became_a_tenth_slower_is_named_and_no_other() {
    let before = file("stage_before.jsonl", &log(1, 400, 0, 1_000));
    let after = file("stage_after.jsonl", &log(2, 400, 100, 1_000));
    let found = compared(&[&before, &after]);
    let figure = |name: &str| named(&found["figures"], "name", name).clone();
    for name in ["gen@1.mean", "gen@1.p50", "gen@1.p90"] {
        let row = figure(name);
        assert!(row["is_changed"] == true && covers(&row, 1.1), "{row}");
    }
    // Each of the three stages takes 15 ms on average.
    let e2e = figure("e2e.mean");
    assert!(e2e["is_changed"] == true && covers(&e2e, 46.5 / 45.0), "{e2e}");
    for name in ["gen@0.mean", "gen@2.mean", "gen@0.p90", "gen@2.p50", "failed"] {
        assert_eq!(figure(name)["is_changed"], false, "{name}");
    }
    let parts = found["parts"].as_array().unwrap();
    let changed: Vec<_> = parts.iter().filter(|part| part["is_changed"] == true).collect();
    assert!(changed.len() == 1 && changed[0]["part"] == "stage 1", "{parts:?}");
    let sum: f64 = parts.iter().map(|part| number(&part["difference"])).sum();
    assert!((sum - number(&e2e["difference"])).abs() < 1e-6, "the parts add up: {sum} {e2e}");

    let shown = stdout(&omni_of(&["compare", &before, &after], ""));
    for part in
        ["| e2e.mean ms *", "| gen@1.p50 ms *", "| stage 1 *", "of its parts, stage 1 changed most, by +1."]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(!shown.contains("| gen@0") && shown.lines().all(|line| line.chars().count() <= WIDTH), "{shown}");
    let all = stdout(&omni_of(&["compare", "--all", &before, &after], ""));
    assert!(all.contains("| gen@0.mean ms  "), "{all}");

    // The stage's own time and its busy time are its part of the critical path.
    let sentence = "Changed too, and left out, since each is within 1 % of the figure in parentheses in both logs: \
                    gen@1.mean (stage 1), busy@1.mean (stage 1), busy@1.p50 (gen@1.p50)";
    assert!(shown.replace('\n', " ").contains(sentence), "{shown}");
    assert!(all.contains("| gen@1.mean ms *") && all.contains("| busy@1.p50 ms *"), "{all}");
    assert!(!all.contains("left out"), "{all}");
    let output = omni_of(&["compare", "--fail-if", "busy@1.p50 > +1%", &before, &after], "");
    assert_eq!(output.status.code(), Some(1), "a figure that is left out has its name");
}

#[test]
fn halves_of_a_real_log_do_not_differ() {
    let log = fs::read_to_string("tests/data/pipeline.jsonl").unwrap();
    let half = |first| log.lines().skip(first).step_by(2).collect::<Vec<_>>().join("\n");
    let (before, after) = (file("half_before.jsonl", &half(0)), file("half_after.jsonl", &half(1)));
    let found = compared(&[&before, &after]);
    for row in found["figures"].as_array().unwrap().iter().chain(found["parts"].as_array().unwrap()) {
        assert_ne!(row["is_changed"], true, "{row}");
    }
    let shown = stdout(&omni_of(&["compare", &before, &after], "")).replace('\n', " ");
    assert!(
        shown.contains("None of 7 main figures") && shown.contains(" changed by more than chance"),
        "{shown}"
    );
}

#[test]
fn sets_of_files_are_one_log_each_and_give_the_same_figures() {
    let (one, other) = (log(1, 300, 0, 50), log(2, 300, 50, 20));
    let lines: Vec<_> = one.lines().collect();
    let [first, second] = [&lines[..120], &lines[120..]].map(|lines| lines.join("\n"));
    let (first, second) = (file("set_1.jsonl", &first), file("set_2.jsonl", &second));
    let (whole, after) = (file("set_whole.jsonl", &one), file("set_after.jsonl", &other));
    let (in_parts, at_once) = (compared(&[&first, &second, "--", &after]), compared(&[&whole, &after]));
    assert_eq!(in_parts["figures"], at_once["figures"]);
    assert_eq!(compared(&[&whole, &after]), at_once, "the draws are the same each time");
    let failed = named(&at_once["figures"], "name", "failed");
    assert_eq!((number(&failed["before"]), number(&failed["after"])), (0.02, 0.05));
    let same = compared(&[&whole, &whole]);
    let figures = same["figures"].as_array().unwrap();
    assert!(figures.iter().all(|figure| figure["difference"] == 0.0 && figure["is_changed"] != true));
}

#[test]
fn a_sampled_line_counts_for_all_requests_that_it_stands_for() {
    let plain = log(1, 300, 0, 1_000);
    let sampled = plain.replace("\"overall_summary\":", "\"sample_rate\":10,\"overall_summary\":");
    let found = compared(&[&file("plain.jsonl", &plain), &file("sampled.jsonl", &sampled)]);
    assert_eq!((&found["before"]["requests"], &found["after"]["requests"]), (&300.into(), &3_000.into()));
    assert_eq!(found["after"]["lines"], 300);
    assert_eq!(number(&named(&found["figures"], "name", "requests_per_s")["ratio"]).round(), 10.0);
    assert_eq!(named(&found["figures"], "name", "e2e.p50")["ratio"], 1.0);
}

#[test]
fn a_condition_that_holds_is_exit_code_1_and_a_sentence_with_both_values() {
    let before = file("fail_before.jsonl", &log(1, 400, 0, 40));
    let after = file("fail_after.jsonl", &log(2, 400, 100, 40));
    let run = |conditions: &[&str]| {
        let mut args = vec!["compare"];
        conditions.iter().for_each(|condition| match *condition {
            "--certain" => args.push("--certain"),
            condition => args.extend(["--fail-if", condition]),
        });
        let output = omni_of(&[&args[..], &[&before, &after]].concat(), "");
        (output.status.code(), text(&output.stdout))
    };
    for (conditions, code) in [
        (&["gen@1.mean > +5%"][..], 1),
        (&["gen@1.mean > +5%", "--certain"], 1),
        (&["gen@1 > +1ms"], 1),
        (&["e2e.p50 > 20ms"], 1),
        (&["failed > 1%"], 1),
        (&["requests_per_s < -1%"], 1),
        (&["gen@0.mean > +5%", "gen@1.mean > +9.9%"], 1),
        (&["gen@1.mean > +20%"], 0),
        (&["gen@1.mean < -5%"], 0),
        (&["e2e.p50 > 20s"], 0),
        (&["failed > +1%"], 0),
        // There is a change, and the estimate is beyond the threshold, but not the whole interval.
        (&["gen@1.mean > +9.9%", "--certain"], 0),
        (&["in_flight@0->1.p50 > +5%"], 2),
    ] {
        let (found, text) = run(conditions);
        assert_eq!(found, Some(code), "{conditions:?}: {text}");
    }
    let (_, sentence) = run(&["gen@1.mean > +5%"]);
    let expected = "failed: `gen@1.mean > +5%`: gen@1.mean was 1";
    assert!(sentence.contains(expected) && sentence.contains("95 % interval +"), "{sentence}");

    let args = ["compare", "--json", "--fail-if", "gen@1.mean > +5%", &before, &after];
    let output = omni_of(&args, "");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains(expected), "{output:?}");
    let verdict: Value = serde_json::from_str(&text(&output.stdout)).unwrap();
    assert_eq!(verdict["conditions"][0]["outcome"], "failed");
}

#[test]
fn what_can_not_be_decided_names_the_percentile_that_can() {
    let before = file("p99_before.jsonl", &log(1, 300, 0, 1_000));
    let after = file("p99_after.jsonl", &log(2, 300, 300, 1_000));
    let run = |condition: &str| {
        let output = omni_of(&["compare", "--fail-if", condition, &before, &after], "");
        (output.status.code(), text(&output.stdout).replace('\n', " "))
    };
    let (code, said) = run("gen@1.p99 > +5%");
    assert_eq!(code, Some(2));
    assert!(said.contains("undecided: `gen@1.p99 > +5%`"), "{said}");
    let reason = "blocks of time, and 5 are needed; gen@1.p90 can be decided)";
    assert!(said.contains("no interval: the requests of the ") && said.contains(reason), "{said}");
    assert_eq!(run("gen@1.p90 > +5%").0, Some(1));
    let (code, said) = run("gen@1.p99 < -5%");
    let reason = "no interval, and none is needed: it is not beyond the limit)";
    assert!(code == Some(0) && said.contains("passed: `gen@1.p99 < -5%`") && said.contains(reason), "{said}");
    let [conclusion, tables] = ["* Changed: ", "| Figure "].map(|text| said.find(text).unwrap());
    assert!(conclusion < tables, "the conclusion comes first: {said}");
    let help = text(&omni_of(&["compare", "--help"], "").stdout);
    assert!(help.contains("Or a condition of `--fail-if` is undecided"), "{help}");
}

/// Requests whose stage 1 waits for each output of stage 0, which takes so many milliseconds.
fn streamed(seed: u64, millis: u64) -> String {
    let rig = Rig::new();
    rig.run_text(|rig| {
        for n in 0..200 {
            let request = info_span!(parent: None, "request");
            let first = info_span!(parent: &request, "stage", stage_id = 0).entered();
            rig.wait_ms(1);
            let second = info_span!(parent: &request, "stage", stage_id = 1).entered();
            rig.wait_ms(millis + (n * seed) % 7);
            drop(first);
            rig.wait_ms(1);
            drop(second);
        }
    });
    rig.log.text()
}

#[test]
fn an_earlier_stage_that_streams_is_named_beside_the_part_that_changed_most() {
    let [before, after] =
        [("streamed_before.jsonl", streamed(3, 20)), ("streamed_after.jsonl", streamed(5, 60))]
            .map(|(name, log)| file(name, &log));
    let said = text(&omni_of(&["compare", &before, &after], "").stdout);
    assert!(said.contains("of its parts, stage 1 changed most, by +"), "{said}");
    assert!(said.contains("\nStage 0 comes before it, and its own time (gen@0.mean) changed by +"), "{said}");
}

#[test]
fn a_log_that_is_too_short_says_so_and_decides_nothing() {
    let short = file("short.jsonl", &log(1, 5, 0, 1_000));
    let slow = file("short_slow.jsonl", &log(2, 5, 900, 1_000));
    let output = omni_of(&["compare", "--fail-if", "gen@1 > +5%", &short, &slow], "");
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(2), "{shown}");
    assert!(shown.contains("too little time for intervals"), "{shown}");
    assert!(shown.contains("undecided: `gen@1 > +5%`"), "{shown}");
}

#[test]
fn arguments_that_say_nothing_are_a_sentence_and_exit_code_2() {
    let log = file("args.jsonl", &log(1, 20, 0, 1_000));
    let [log, empty] = [log, file("args_empty.jsonl", "nothing\n")];
    let condition = |condition| vec!["--fail-if", condition, &log, &log];
    for (args, expected) in [
        (vec![log.as_str()], "compare takes two logs, BEFORE and AFTER"),
        (vec![&log, &log, &log], "if they have several files, `--` stands between them"),
        (vec![&log, &empty], "has no line of omni-metrics"),
        (condition("e2e.p99"), "compares nothing"),
        (condition("speed > +5%"), "requests have no number `speed`"),
        (condition("e2e.p999 > +5%"), "p999 is no percentile; expected a number above 0 and up to 100"),
        (condition("e2e.p99 >= +5%"), "the signs are `>` and `<`"),
        (condition("goodput < -5%"), "needs an objective for each request, such as `--slo e2e=2s`"),
        (condition("request_per_s < -5%"), "did you mean requests_per_s"),
        (condition("frist_output@0 > +5%"), "did you mean first_output"),
        (condition("e2e.p99 > 5%"), "`5%` has no sign"),
        (condition("e2e.p99 > +5"), "`5` is no time with a unit"),
        (condition("e2e.p99 > -5%"), "a rise is `> +5%`, a fall is `< -5%`"),
        (condition("num_tokens_out@0 > +5%"), "is a count"),
        (vec!["--certain", &log, &log], "--fail-if"),
    ] {
        let output = omni_of(&[&["compare"][..], &args].concat(), "");
        let complaint = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {complaint}");
        assert!(complaint.contains(expected), "{args:?}: {complaint}");
    }
}

/// What the page says between two of its texts.
fn between<'a>(page: &'a str, from: &str, to: &str) -> &'a str {
    let (_, rest) = page.split_once(from).unwrap_or_else(|| panic!("there is {from}: {page}"));
    rest.split_once(to).unwrap_or_else(|| panic!("there is {to} after {from}: {rest}")).0
}

#[test]
fn the_page_has_both_distributions_and_the_figures_of_the_comparison() {
    let before = file("page_before.jsonl", &log(1, 400, 0, 1_000));
    let after = file("page_after.jsonl", &log(2, 400, 100, 1_000));
    let page = file("page.html", "");
    let printed = stdout(&omni_of(&["compare", "--output", &page, &before, &after], ""));
    assert!(printed.contains("| gen@1.p50 ms *"), "the text comes as well: {printed}");
    let found = compared(&[&before, &after]);
    let page = fs::read_to_string(page).unwrap();

    let chart = between(&page, "<figure class=\"plot", "</figure>");
    assert!(chart.contains("<path class=\"columns\"") && chart.contains("<path class=\"line\""), "{chart}");
    for mark in ["before p50 ", "before p90 ", "before p99 ", "after p50 ", "after p90 ", "after p99 "] {
        assert!(chart.contains(&format!("<span>{mark}")), "{mark}: {chart}");
    }
    let columns = between(&page, "<th scope=\"col\">e2e</th>", "</table>");
    for log in [0, 1] {
        let shares = columns.split("<tr>").filter_map(|row| row.split("<td>").nth(log + 1));
        let shares = shares.filter_map(|cell| cell.split_once(" %</td>")?.0.parse::<f64>().ok());
        let sum: f64 = shares.sum();
        assert!((sum - 100.0).abs() < 0.5, "each log is a whole: {sum}");
    }
    for figure in found["figures"].as_array().unwrap().iter().filter(|figure| figure["unit"] == "ms") {
        if number(&figure["after"]) == 0.0 {
            continue;
        }
        let is_changed = figure["is_changed"] == true;
        let mark = if is_changed { " *" } else { "" };
        let row = between(&page, &format!(">{} ms{mark}</th>", figure["name"].as_str().unwrap()), "</tr>");
        let shown = between(row.split("<td>").nth(2).unwrap(), "", "</td>").parse::<f64>().unwrap();
        assert!((shown / number(&figure["after"]) - 1.0).abs() < 0.005, "{figure}: {row}");
    }
    let slower = between(&page, "<tr class=\"changed\"><th scope=\"row\">stage 1 *", "</tr>");
    assert!(slower.contains("<td>+1."), "{slower}");
    assert_eq!(page.matches("<div class=\"bar\" ").count(), 2);
}

#[test]
fn the_page_needs_nothing_else_and_shows_names_as_text() {
    let before = file("<img src=x>&\u{202e}.jsonl", &log(1, 40, 0, 1_000));
    let after = file("page_short.jsonl", &log(2, 3, 0, 1_000));
    let path = file("page_escaped.html", "");
    let args = ["compare", "--json", "-o", &path, "--fail-if", "e2e.p99 > 0.1ms", &before, &after];
    assert_eq!(omni_of(&args, "").status.code(), Some(1));
    let page = fs::read_to_string(path).unwrap();
    assert!(!page.contains("<img") && !page.contains('\u{202e}'), "{page}");
    let failed = "<li>failed: <code>e2e.p99 &gt; 0.1ms</code>";
    assert!(page.contains("&lt;img src=x&gt;&amp;") && page.contains(failed), "{page}");
    assert!(page.contains("spans too little time for intervals"), "{page}");
    assert!(!page.contains("http") && !page.contains("<script") && !page.contains("url("), "{page}");

    let output = omni_of(&["compare", "-o", "/no/such/folder/page.html", &before, &after], "");
    assert_eq!(output.status.code(), Some(2));
    let error = text(&output.stderr);
    assert!(error.contains("cannot write /no/such/folder/page.html: No such file"), "{error}");
    // The file was to have another name until it is complete.
    assert!(!error.contains(".omni-metrics-"), "{error}");
}

#[test]
fn of_many_groups_those_that_differ_most_are_shown() {
    // In 70 groups of the same size, only the last one differs.
    let with_groups = |log: &str, other: &str| {
        let lines = log.lines().zip(other.lines()).enumerate().map(|(at, (line, other))| {
            let line = if at % 70 == 69 { other } else { line };
            format!("{},\"fields\":{{\"m\":{}}}}}", line.strip_suffix('}').unwrap(), at % 70)
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    let (one, slow) = (log(1, 700, 0, 1_000), log(1, 700, 2_000, 1_000));
    let before = file("seventy_before.jsonl", &with_groups(&one, &one));
    let after = file("seventy_after.jsonl", &with_groups(&one, &slow));
    let shown = |args: &[&str]| {
        let args = [&["compare", "--by", "fields.m", &before, &after], args].concat();
        text(&omni_of(&args, "").stdout).replace('\n', " ")
    };
    let (few, all) = (shown(&[]), shown(&["--all"]));
    let note = "These are 64 of 70 groups: those that changed, and those that differ most.";
    assert!(few.contains(note) && few.matches(" e2e p50 ").count() == 64, "{few}");
    assert!(few.contains("| 69 ") && !few.contains("| 68 "), "{few}");
    assert!(!all.contains("These are ") && all.matches(" e2e p50 ").count() == 70, "{all}");
    assert_eq!(
        compared(&["--by", "fields.m", &before, &after])["by_group"]["groups"].as_array().unwrap().len(),
        70
    );
}

/// The same log, with a field `model` that divides the requests, one in `others` of which is a `small` one.
fn with_models(log: &str, others: usize) -> String {
    let lines = log.lines().enumerate().map(|(at, line)| {
        let model = if at % others == 0 { "<small>" } else { "large" };
        let fields = format!(r#","fields":{{"model":"{model}"}}}}"#);
        line.strip_suffix('}').map(|line| format!("{line}{fields}")).unwrap_or_default()
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_group_whose_latency_changed_is_marked_and_no_other() {
    let (one, slow) = (log(1, 600, 0, 1_000), log(1, 600, 300, 1_000));
    let before = file("by_before.jsonl", &with_models(&one, 3));
    // The small ones are as before.
    let mixed = one.lines().zip(slow.lines()).enumerate();
    let mixed: Vec<_> = mixed.map(|(at, (one, slow))| if at % 3 == 0 { one } else { slow }).collect();
    let after = file("by_after.jsonl", &with_models(&mixed.join("\n"), 3));
    let found = compared(&["--by", "fields.model", &before, &after]);
    let groups = &found["by_group"]["groups"];
    let [large, small] = ["large", "<small>"].map(|name| named(groups, "group", name));
    assert_eq!((&large["requests_before"], &small["requests_after"]), (&400.into(), &200.into()));
    let p50 = &large["p50"];
    // 15 ms of three stages each; one of them takes 30 % more.
    assert!(p50["is_changed"] == true && covers(p50, 1.1), "{large}");
    assert_eq!((&small["p50"]["is_changed"], &small["p50"]["ratio"]), (&false.into(), &1.0.into()));
    assert_eq!(groups[0], *large, "the largest group comes first");

    let page = file("by.html", "");
    let args = ["compare", "--by", "fields.model", "-o", &page, &before, &after];
    let shown = stdout(&omni_of(&args, ""));
    assert!(shown.contains("| large        | e2e p50 * |      400 |"), "{shown}");
    assert!(shown.contains("| <small>      |   e2e p50 |      200 |"), "{shown}");
    assert!(shown.lines().all(|line| line.chars().count() <= WIDTH), "{shown}");
    let page = fs::read_to_string(page).unwrap();
    let row = between(&page, "<th scope=\"row\">&lt;small&gt;</th>", "</tr>");
    assert!(row.contains("<td>e2e p50</td><td>200</td><td>200</td>"), "{row}");
}

#[test]
fn what_has_no_interval_is_not_counted_as_unchanged_and_has_a_reason() {
    // Two errors in each log; one request in the second log has a finish_reason of its own.
    let before = file("undecided_before.jsonl", &log(1, 400, 0, 150));
    let after = log(2, 400, 0, 150).replacen("\"stop\"", "\"length\"", 1);
    let after = file("undecided_after.jsonl", &after);
    let args = ["--by", "finish_reason", &before, &after];
    let found = compared(&args);
    let group = |name: &str| named(&found["by_group"]["groups"], "group", name).clone();
    for (name, reason) in [("error", "few_reach_it"), ("length", "missing")] {
        for percentile in ["p50", "p99"] {
            let change = &group(name)[percentile];
            assert_eq!((&change["is_changed"], &change["no_interval"]), (&Value::Null, &reason.into()));
        }
    }
    assert!(group("stop")["p50"].get("no_interval").is_none());

    let shown = text(&omni_of(&[&["compare"], &args[..]].concat(), "").stdout).replace('\n', " ");
    let change = &group("error")["p99"];
    let values = ["before", "after"].map(|log| format!("{:.2}", number(&change[log])));
    for part in [
        "Of 6 percentiles of groups, 1 has an interval, and 0 of these changed",
        "It is not known whether 5 percentiles changed, since they have no interval: 2 are in only one of \
         the logs and 3 are reached by requests in fewer than 5 blocks of time. The largest differences \
         among those that both logs have: ",
        &format!("error e2e p99, {} to {} ms", values[0], values[1]),
        "other figures changed, since they have no interval",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[test]
fn zeros_have_no_share_of_a_change_and_any_rise_from_zero_is_beyond_a_percentage() {
    let log = log(7, 200, 0, 1_000);
    let before = file("zero_before.jsonl", &with_busy_times(&log, [0.0, 0.0, 0.0]));
    // In one request of four, the times are above zero.
    let [few, many] = [4.0, 0.0].map(|rise| with_busy_times(&log, [0.0, rise, 5.0]));
    let after = few.lines().zip(many.lines()).enumerate();
    let after = after.map(|(at, (few, many))| if at % 4 == 0 { few } else { many });
    let after = file("zero_after.jsonl", &after.collect::<Vec<_>>().join("\n"));
    for (condition, code, said) in [
        (
            "busy@0.p99 > +5%",
            0,
            "passed: `busy@0.p99 > +5%` does not hold: busy@0.p99 was 0.000 ms and is 0.000 ms",
        ),
        (
            "busy@1.p50 > +5%",
            0,
            "passed: `busy@1.p50 > +5%` does not hold: busy@1.p50 was 0.000 ms and is 0.000 ms",
        ),
        (
            "busy@1.p90 < -5%",
            0,
            "passed: `busy@1.p90 < -5%` does not hold: busy@1.p90 was 0.000 ms and is 4.000 ms",
        ),
        (
            "busy@1.p90 > +5%",
            1,
            "failed: `busy@1.p90 > +5%`: busy@1.p90 was 0.000 ms and is 4.000 ms (+4.000 ms, ",
        ),
        ("busy@2.mean > +900%", 1, "failed: `busy@2.mean > +900%`: busy@2.mean was 0.000 ms and is 5.000 ms"),
    ] {
        let output = omni_of(&["compare", "--fail-if", condition, &before, &after], "");
        let shown = text(&output.stdout).replace('\n', " ");
        assert!(output.status.code() == Some(code) && shown.contains(said), "{condition}: {shown}");
    }
}

#[test]
fn the_percentiles_that_are_chosen_are_in_every_output_and_decide_no_condition() {
    let before = file("chosen_before.jsonl", &log(1, 300, 0, 40));
    // Only a part of the requests has a row of stage 3.
    let after = log(2, 300, 300, 40).replacen("\"stage_id\":2", "\"stage_id\":3", 30);
    let after = file("chosen_after.jsonl", &after);
    let page = file("chosen.html", "");
    let logs = [&*before, &after];
    let chosen = ["--percentiles", "99.9,p25,25", "--by", "finish_reason"];
    let found = compared(&[&chosen[..], &logs].concat());
    let names: Vec<_> =
        found["figures"].as_array().unwrap().iter().map(|figure| figure["name"].clone()).collect();
    let is_main = ["e2e.mean", "e2e.p25", "e2e.p99.9", "requests_per_s"];
    assert_eq!(names[..4], is_main, "{names:?}");
    assert_eq!(named(&found["figures"], "name", "e2e.p99.9")["is_main"], true);
    let statistics = names.iter().filter_map(|name| Some(name.as_str()?.split_once('.')?.1));
    let statistics: std::collections::BTreeSet<_> = statistics.collect();
    assert!(statistics.iter().eq(["mean", "p25", "p99.9"].iter()), "{statistics:?}");
    for group in found["by_group"]["groups"].as_array().unwrap() {
        let percentiles = group.as_object().unwrap().keys().filter(|key| key.starts_with('p'));
        assert!(percentiles.eq(["p25", "p99.9"]), "{group}");
    }
    let usual = compared(&logs);
    assert_eq!(
        named(&found["figures"], "name", "gen@1.mean"),
        named(&usual["figures"], "name", "gen@1.mean")
    );

    let shown = stdout(&omni_of(&[&["compare", "--all", "-o", &page], &chosen[..], &logs].concat(), ""));
    for row in [
        "| e2e.p25 ms * ",
        "| gen@1.p99.9 ms ",
        "| stop          | e2e p25 * |",
        "| stop          | e2e p99.9 |",
    ] {
        assert!(shown.contains(row), "{row}: {shown}");
    }
    assert!(
        !shown.contains("p50") && shown.contains("gen@2, busy@2 and queue@2 (300 before, 270 after)"),
        "{shown}"
    );
    let page = fs::read_to_string(page).unwrap();
    assert!(
        page.contains("<span>before p99.9 ") && page.contains("<span>after p25 ") && !page.contains("p90")
    );
    let csv = stdout(&omni_of(&[&["compare", "--csv"], &chosen[..], &logs].concat(), ""));
    assert!(
        csv.contains("\ngroup,stop,,e2e.p99.9,ms,")
            && csv.contains(",gen@1.p25,ms,")
            && !csv.contains(".p50")
    );

    // p99 has no interval in the second log, and is decided by p90, whichever are shown.
    let long = file("chosen_long.jsonl", &log(1, 1_500, 0, 40));
    let verdict = |args: &[&str]| {
        let condition = ["compare", "--fail-if", "gen@1.p99 > +5%"];
        let output = omni_of(&[&condition[..], args, &[&long, &after]].concat(), "");
        let said = text(&output.stdout);
        (output.status.code(), said[said.find("failed: ").unwrap_or(0)..].to_owned())
    };
    let usual = verdict(&[]);
    assert!(usual.0 == Some(1) && usual.1.contains("the smaller gen@1.p90 of the second log"), "{usual:?}");
    assert_eq!(
        [&["--percentiles", "25"][..], &["--percentiles", "92,95"]].map(verdict),
        [usual.clone(), usual]
    );
}

#[test]
fn groups_are_few_and_lose_no_request() {
    let (before, after) =
        (file("many.jsonl", &log(1, 300, 0, 1_000)), file("few.jsonl", &log(2, 20, 0, 1_000)));
    let found = compared(&["--by", "request_id", &before, &after]);
    let groups = found["by_group"]["groups"].as_array().unwrap();
    assert_eq!((groups.len(), &groups[256]["group"]), (257, &"others".into()));
    for (side, requests) in [("requests_before", 300.0), ("requests_after", 20.0)] {
        assert_eq!(groups.iter().map(|group| number(&group[side])).sum::<f64>(), requests);
    }
    let shown = text(&omni_of(&["compare", "--by", "request_id", &before, &after], "").stdout);
    assert!(
        shown.contains("others: all groups but the 256 whose names are first in alphabetical order (numbers"),
        "{shown}"
    );
    // A request has a row of each of its stages.
    let found = compared(&["--by", "stage_id", &before, &after]);
    let groups = found["by_group"]["groups"].as_array().unwrap();
    assert!(groups.len() == 3 && groups.iter().all(|group| group["rows_before"] == 300), "{groups:?}");
}

#[test]
fn groups_of_stages_have_the_times_of_the_stages() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page.html");
    let [before, after] = ["tests/data/one_worker.jsonl.xz", "tests/data/two_workers.jsonl.xz"];
    let args = ["--by", "stage_name", "--percentiles", "50,90,99", before, after];
    let found = compared(&args);
    let of_summary = |log: &str| -> Value {
        let args = ["summary", "--json", "--by", "stage_name", log];
        serde_json::from_str(&stdout(&omni_of(&args, ""))).unwrap()
    };
    let groups = found["by_group"]["groups"].as_array().unwrap();
    assert_eq!(groups.len(), 3);
    for (side, summary) in [("before", of_summary(before)), ("after", of_summary(after))] {
        for group in groups {
            let expected = named(&summary["groups"], "group", group["group"].as_str().unwrap());
            assert_eq!(group[format!("rows_{side}")], expected["count"]);
            for (time, percentiles) in [
                ("stage_gen_time_ms", &["p50", "p90", "p99"][..]),
                ("queue_time_ms", &["p99"]),
                ("first_output_ms", &["p50"]),
            ] {
                let shown = group[time].as_object().unwrap();
                assert!(shown.keys().eq(percentiles), "{group}");
                for percentile in percentiles {
                    let [found, expected] =
                        [&shown[*percentile][side], &expected[time][*percentile]].map(number);
                    assert!((found / expected - 1.0).abs() < 0.01, "{time} {percentile}: {found} {expected}");
                }
            }
        }
    }
    // The same figures have the same changes.
    let median = &named(&found["by_group"]["groups"], "group", "code2wav")["stage_gen_time_ms"]["p50"];
    let figure = named(&found["figures"], "name", "gen@2.p50");
    assert_eq!((&median["ratio"], &median["p_value"]), (&figure["ratio"], &figure["p_value"]));

    let args = ["compare", "--by", "stage_name", "-o", page.to_str().unwrap(), before, after];
    let said = stdout(&omni_of(&args, ""));
    assert!(
        said.contains("| stage_name |") && said.contains("| code2wav   |            gen p50 |"),
        "{said}"
    );
    assert!(said.contains(" queue p99") && said.contains(" first_output p50"), "{said}");
    let page = fs::read_to_string(&page).unwrap();
    assert!(between(&page, "<h2>By stage_name</h2>", "</section>").contains("<td>gen p50</td>"));
    let csv = stdout(&omni_of(&["compare", "--csv", "--by", "stage_name", before, after], ""));
    assert!(csv.contains("\ngroup,code2wav,,gen.p50,ms,40,40,"), "{csv}");
}

#[test]
fn of_many_conditions_those_that_failed_are_shown_first_and_the_exit_code_counts_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("page.html");
    let log = file("many_conditions.jsonl", PIPELINE);
    let conditions: Vec<_> = (1..=300).map(|n| format!("--fail-if=e2e.p50 > {}h", n)).collect();
    let run = |last: &[&str]| {
        let args = ["compare", "-o", path.to_str().unwrap()].into_iter();
        let args = args.chain(conditions.iter().map(String::as_str)).chain(last.iter().copied());
        omni_of(&args.chain([log.as_str(), &log]).collect::<Vec<_>>(), "")
    };
    let output = run(&["--fail-if=e2e.p50 > 0.1ms"]);
    let said = text(&output.stdout);
    let page = fs::read_to_string(&path).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!((said.matches("passed: ").count(), page.matches("<li>passed: ").count()), (15, 15), "{said}");
    assert!(said.contains("shows all figures.\nfailed: `e2e.p50 > 0.1ms`"), "{said}");
    assert!(page.contains("<ul class=\"sentences\"><li>failed: <code>e2e.p50 &gt; 0.1ms</code>"), "{page}");
    let rest = "285 more conditions are not shown, of which 0 failed; ";
    assert!(said.contains(rest) && page.contains(rest), "{said}");
    let failing: Vec<_> = (0..20).map(|_| "--fail-if=e2e.p50 > 0.1ms").collect();
    let said = text(&run(&failing).stdout);
    assert!(said.contains("304 more conditions are not shown, of which 4 failed; "), "{said}");
}

#[test]
fn the_page_draws_the_limits_of_objectives() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page.html");
    let log = "tests/data/pipeline.jsonl";
    let args = ["compare", "--slo", "e2e=20ms", "--slo", "e2e=1h", "-o", page.to_str().unwrap(), log, log];
    assert!(omni_of(&args, "").status.success());
    let page = std::fs::read_to_string(page).unwrap();
    for (class, text) in [("limit", "e2e=20ms"), ("limit outside", "e2e=1h, which is beyond this axis")] {
        let mark =
            page.split_once(&format!("<div class=\"mark {class}")).unwrap_or_else(|| panic!("{class}")).1;
        assert!(mark.split_once("</div>").unwrap().0.contains(&format!("objective {text}")), "{text}");
    }
}

/// The same log, where the stages are busy for these times.
fn with_busy_times(log: &str, millis: [f64; 3]) -> String {
    let line = |line: &str| {
        let Line::Request(mut line) = serde_json::from_str(line).unwrap() else { panic!("a request") };
        for (row, millis) in line.stage_table.iter_mut().zip(millis) {
            row.busy_time_ms = Some(serde_json::from_value(millis.into()).unwrap());
        }
        serde_json::to_string(&Line::Request(line)).unwrap() + "\n"
    };
    log.lines().map(line).collect()
}

#[test]
fn a_large_change_is_a_factor_and_one_below_a_microsecond_has_no_mark() {
    let log = log(7, 200, 0, 1_000);
    let before = file("tiny_before.jsonl", &with_busy_times(&log, [0.000_2, 0.000_001, 0.004]));
    let after = file("tiny_after.jsonl", &with_busy_times(&log, [0.000_8, 6.5, 8.4]));
    let found = compared(&[&before, &after]);
    for (stage, is_changed) in [(0, false), (1, true), (2, true)] {
        let figure = named(&found["figures"], "name", &format!("busy@{stage}.mean")).clone();
        assert_eq!((&figure["is_changed"], &figure["p_value"].is_null()), (&is_changed.into(), &!is_changed));
    }
    let shown = stdout(&omni_of(&["compare", &before, &after], ""));
    let row = |name: &str| shown.lines().find(|line| line.starts_with(&format!("| {name}"))).unwrap_or("");
    assert_eq!(row("busy@0"), "", "{shown}");
    assert!(row("busy@1.mean ms *").contains(" from 0 |") && !row("busy@1.mean").contains('%'), "{shown}");
    let factor = row("busy@2.mean ms *");
    assert!(factor.contains(" ×2,100 |") && factor.ends_with(" ×2,100 to ×2,100 |"), "{shown}");
    let condition = ["compare", "--fail-if", "busy@2.mean > +5%", &before, &after];
    let said = text(&omni_of(&condition, "").stdout).replace('\n', " ");
    assert!(said.contains("is 8.400 ms (×2,100, 95 % interval ×2,100 to ×2,100)"), "{said}");
}

#[test]
fn the_halves_of_one_log_are_compared_as_two_logs_are() {
    let log = log(5, 200, 0, 10);
    let lines: Vec<_> = log.lines().collect();
    let split: Value = serde_json::from_str(lines[120]).unwrap();
    let split = split["timestamp"].as_str().unwrap();
    let half = |name: &str, lines: &[&str]| file(name, &(lines.join("\n") + "\n"));
    let (before, after) =
        (half("before_split.jsonl", &lines[..120]), half("after_split.jsonl", &lines[120..]));
    let (mut two, mut one) =
        (compared(&[&before, &after]), compared(&["--split", split, &file("split.jsonl", &log)]));
    for side in ["before", "after"] {
        let [two, one] = [&mut two, &mut one].map(|report| report[side]["files"].take());
        let when = if side == "before" { "before" } else { "from" };
        assert!(
            two.is_string() && one.as_str().unwrap().ends_with(&format!("split.jsonl {when} {split}")),
            "{one}"
        );
    }
    // The rates of the halves are of the time until the split and from it on.
    for report in [&mut one, &mut two] {
        let is_rate = |figure: &Value| figure["unit"] == "per_s";
        report["figures"].as_array_mut().unwrap().retain(|figure| !is_rate(figure));
    }
    assert_eq!(one, two);

    let output = omni_of(&["compare", "--split", "2020-01-01", "--slo", "gen@9=1s"], &log);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("standard input before 2020-01-01T00:00:00.000000Z has no line"));
    let output = omni_of(&["compare", "--split", split, "--slo", "gen@9=1s"], &log);
    let said = "No request has stage 9, so the objective gen@9=1s does not count.";
    assert_eq!(text(&output.stderr).matches(said).count(), 1, "{output:?}");
    assert!(!text(&output.stdout).contains(said) && output.status.code() == Some(2), "{output:?}");
}

#[test]
fn a_log_that_is_not_joined_is_said_to_be_so_before_its_figures() {
    let row = r#"{"type":"stage","schema":1,"timestamp":"2026-11-24T08:46:41.5Z","request_id":"req-0001","stage_id":7,"stage_gen_time_ms":1.0,"busy_time_ms":1.0,"queue_time_ms":0.0,"start_ms":null,"wall_time_ms":1.0,"events":1}"#;
    let unjoined = format!("{row}\n{PIPELINE}");
    let (apart, joined) = (file("compare_apart.jsonl", &unjoined), file("compare_joined.jsonl", PIPELINE));
    let begin = format!("{apart}: Not joined: 1 row of a worker is in no request. So requests lack stages,");
    let note = format!("<p class=\"note\">{}", begin.replace('/', "&#x2f;"));
    let command = "`omni-metrics join --align-clocks LOGS > joined.jsonl`";
    let page = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compare_apart.html");
    let run = |args: &[&str], logs: [&str; 2]| {
        omni_of(&[&["compare", "-o", page.to_str().unwrap()], args, &logs].concat(), "")
    };
    // Each side says so, and only the side that it concerns.
    let pairs =
        [([&apart, &joined], 1), ([&joined, &apart], 1), ([&apart, &apart], 2), ([&joined, &joined], 0)];
    for (logs, times) in pairs {
        let logs = logs.map(String::as_str);
        let output = run(&[], logs);
        let said = stdout(&output).replace('\n', " ");
        let before_figures = said.split("Before: ").next().unwrap();
        let html = fs::read_to_string(&page).unwrap();
        let head = html.split("<main>").next().unwrap();
        assert_eq!(before_figures.matches(&begin).count(), times, "{said}");
        assert_eq!(before_figures.matches(command).count(), times, "{said}");
        assert_eq!(said.matches("Not joined").count(), times, "{said}");
        assert_eq!(head.matches(&note).count(), times, "{head}");
        assert_eq!(html.matches("Not joined").count(), times);
        assert_eq!((text(&output.stderr).as_str(), output.status.code()), ("", Some(0)));
        // Where standard output has no sentences, standard error has these.
        for format in ["--json", "--csv"] {
            let output = run(&[format], logs);
            let complaints = text(&output.stderr);
            assert_eq!(complaints.matches(&format!("omni-metrics: {begin}")).count(), times, "{complaints}");
            assert_eq!((complaints.lines().count(), output.status.code()), (times, Some(0)));
        }
        let report = compared(&logs);
        for (side, log) in ["before", "after"].into_iter().zip(logs) {
            let rows = (log == apart).then(|| Value::from(1));
            assert_eq!(report[side].get("rows_of_workers"), rows.as_ref(), "{side}");
        }
    }
    // Objectives without a value are said after it.
    let slo = ["--slo", "first_output@code2wave=1s"];
    let complaints = text(&run(&slo, [&apart, &joined]).stderr);
    let [first, second] = complaints.lines().collect::<Vec<_>>().try_into().unwrap();
    assert!(first.contains(command) && second.contains("so the objective"), "{complaints}");
    // Nor are there figures without requests.
    let rows = file("compare_rows.jsonl", row);
    let complaints = text(&run(&[], [&rows, &joined]).stderr);
    let [first, second] = complaints.lines().collect::<Vec<_>>().try_into().unwrap();
    assert!(first.contains(command) && second.ends_with("has no line of a request"), "{complaints}");
    // The halves of one log are one log.
    let line: Value = serde_json::from_str(PIPELINE.lines().nth(20).unwrap()).unwrap();
    let split = ["compare", "--split", line["timestamp"].as_str().unwrap(), &apart];
    let said = stdout(&omni_of(&split, "")).replace('\n', " ");
    assert!(said.starts_with(&begin) && said.matches("Not joined").count() == 1, "{said}");
    let report = compared(&split[1..]);
    assert!(["before", "after"].iter().all(|side| report[side]["rows_of_workers"] == 1), "{report}");
}

#[test]
fn the_requests_that_have_a_number_are_counted_and_a_percentile_without_an_interval_is_explained() {
    let log = |seed: u64, every: u64, slowest: u64| {
        let rig = Rig::new();
        rig.run_text(|rig| {
            for n in 0..400 {
                info_span!("request").in_scope(|| {
                    info_span!("stage", stage_id = 0).in_scope(|| rig.wait_ms(1 + (n + seed) % 7));
                    if n % every == 0 {
                        info_span!("stage", stage_id = 1).in_scope(|| rig.wait_ms(1));
                    }
                    if n >= 390 {
                        rig.wait_ms(slowest);
                    }
                });
            }
        });
        rig.log.text()
    };
    let paths = [file("count_before.jsonl", &log(1, 4, 0)), file("count_after.jsonl", &log(2, 5, 50))];
    let [before, after] = paths.each_ref().map(String::as_str);
    let found = compared(&[before, after]);
    let counts = |name: &str| {
        let figure = named(&found["figures"], "name", name);
        [figure["count_before"].as_u64(), figure["count_after"].as_u64()]
    };
    assert_eq!(counts("gen@1.p50"), [Some(100), Some(80)]);
    assert_eq!(counts("e2e.mean"), [Some(400); 2]);
    assert_eq!(counts("failed"), [None; 2]);
    let said = stdout(&omni_of(&["compare", "--all", before, after], "")).replace('\n', " ");
    let counted = "Not all requests have these numbers: gen@1, busy@1 and queue@1 (100 before, 80 after).";
    assert!(said.contains(counted), "{said}");
    let why =
        "e2e.p99 has no interval (`-`): the requests of the second log that reach it ended in 3 of its ";
    let decides = "`--fail-if` goes by e2e.p90 in its place, where that suffices.";
    assert!(said.contains(why) && said.contains(decides), "{said}");
}

#[test]
fn a_condition_that_does_not_hold_is_said_not_to_be_excluded_if_the_interval_reaches_beyond_it() {
    let log = file("open.jsonl", &log(1, 200, 0, 1_000));
    let verdict = |condition: &str| {
        let verdict = compared(&["--fail-if", condition, &log, &log])["conditions"][0].clone();
        let is_open =
            verdict["found"].as_str().unwrap().contains("the logs do not exclude a change beyond it");
        (verdict["outcome"].as_str().unwrap().to_owned(), is_open)
    };
    for condition in ["e2e.mean > +0.01%", "e2e.mean < -0.01%", "e2e.mean > +1us", "e2e.mean < -1us"] {
        assert_eq!(verdict(condition), ("passed".to_owned(), true), "{condition}");
    }
    // No interval reaches that far, and a value needs none.
    for condition in ["e2e.mean > +900%", "e2e.mean < -99%", "e2e.mean > +100s", "e2e.mean > 100s"] {
        assert_eq!(verdict(condition), ("passed".to_owned(), false), "{condition}");
    }
}

#[test]
fn conditions_take_names_of_stages_and_any_percentile_and_tables_have_the_names() {
    let log = "tests/data/pipeline.jsonl";
    let said = |condition: &str| stdout(&omni_of(&["compare", "--fail-if", condition, log, log], ""));
    assert!(said("gen@code2wav.p50 > +5%").contains("does not hold: gen@2.p50 was 3.015 ms and is"));
    assert!(said("gen@code2wav > +5%").contains("does not hold: gen@2.mean was"));
    let text = said("e2e.p95 > +5%");
    assert!(text.contains("does not hold: e2e.p95 was 26.083 ms and is 26.083 ms"), "{text}");
    assert!(
        text.contains("| stage 2 code2wav ") && text.contains("| waiting for stage 2 code2wav "),
        "{text}"
    );
    let found = compared(&[log, log]);
    let named = |list: &str, key: &str, name: &str| {
        let of = found[list].as_array().unwrap().iter().find(|of| of[key] == name);
        of.unwrap_or_else(|| panic!("{name}: {found}"))["stage_name"].clone()
    };
    assert_eq!(named("parts", "part", "stage 2"), "code2wav");
    assert_eq!(named("figures", "name", "gen@2.p50"), "code2wav");
    assert_eq!(named("figures", "name", "e2e.p50"), Value::Null);
    let output = omni_of(&["compare", "--since", "-30ms", log, log], "");
    let complaint = self::text(&output.stderr);
    assert!(complaint.contains("tests/data/pipeline.jsonl: 29 lines are left out by --since"), "{complaint}");
}

#[test]
fn a_name_of_several_stages_is_refused_with_their_ids() {
    let log = file("ambiguous.jsonl", &PIPELINE.replace("talker", "code2wav"));
    let output = omni_of(&["compare", "--fail-if", "gen@code2wav.p50 > +5%", &log, &log], "");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), String::new()));
    let expected =
        "--fail-if 'gen@code2wav.p50 > +5%': the stages 1 and 2 are called code2wav; name one by its id";
    assert!(text(&output.stderr).contains(expected), "{output:?}");
    // An id is of one stage.
    let output = omni_of(&["compare", "--fail-if", "gen@1.p50 > +5%", &log, &log], "");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn an_interval_that_is_too_wide_is_explained_and_no_other_is() {
    let log = |name: &str, long: u64| {
        let rig = Rig::new();
        rig.run_text(|rig| {
            for n in 0..400 {
                info_span!("request").in_scope(|| rig.wait_ms(if n == 200 { long } else { 1 + n % 3 }));
                rig.wait_ms(100);
            }
        });
        file(name, &rig.log.text())
    };
    // One request in one block makes most of the mean.
    let [steady, before, after] = [("steady", 3), ("wide_before", 4_000), ("wide_after", 5_000)]
        .map(|(name, long)| log(&format!("{name}.jsonl"), long));
    let said = |after: &str| stdout(&omni_of(&["compare", &before, after], "")).replace('\n', " ");
    let wide = said(&after);
    let expected = "`too wide`: a figure differs so much within a log that its interval reaches from less than a \
                    fifth to more than five times of what it was.";
    assert!(wide.contains("|              too wide |") && wide.contains(expected), "{wide}");
    let same = stdout(&omni_of(&["compare", &steady, &steady], ""));
    assert!(!same.contains("too wide"), "{same}");
}

#[test]
fn the_page_names_stages_in_its_bars_and_its_tables() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page.html");
    let log = "tests/data/pipeline.jsonl";
    stdout(&omni_of(&["compare", "-o", page.to_str().unwrap(), log, log], ""));
    let page = fs::read_to_string(page).unwrap();
    let legend = between(&page, "<ul class=\"legend\">", "</ul>");
    let bar = between(&page, "<div class=\"bar\" ", "</div></div>");
    for part in ["stage 2 code2wav", "waiting for stage 2 code2wav"] {
        assert!(legend.contains(&format!("</i>{part}</li>")), "{part}: {legend}");
        assert!(bar.contains(&format!("title=\"{part}: ")), "{part}: {bar}");
    }
    for figure in ["gen@2.p50 ms (code2wav)", "tx@1->2.p50 ms (talker to code2wav)", "e2e.p50 ms"] {
        assert!(page.contains(&format!(">{}</th>", figure.replace('>', "&gt;"))), "{figure}");
    }
}

#[test]
fn tables_are_at_most_100_columns_wide() {
    let is_narrow = |args: &[&str]| {
        let shown = stdout(&omni_of(args, ""));
        let widest =
            shown.lines().filter(|line| line.starts_with('|')).max_by_key(|line| line.chars().count());
        assert!(widest.unwrap().chars().count() <= WIDTH, "{args:?}: {}", widest.unwrap());
    };
    let named = |name: &str| file(&format!("width_{name}.jsonl"), &PIPELINE.replace("code2wav", name));
    let (short, long) = (named("vocoder"), named("audio_decoder"));
    let [one, two] = ["tests/data/one_worker.jsonl.xz", "tests/data/two_workers.jsonl.xz"];
    for [before, after] in [[one, two], [&short, one], [&long, one], ["tests/data/engine.jsonl", &long]] {
        let by = ["--by", "stage_name,finish_reason"];
        is_narrow(&[&["compare", "--all", "--slo", "e2e=1s"], &by[..], &[before, after]].concat());
    }
    // Of a group, a key and a stage with long names.
    let (key, name) = (format!("k{}", "_y".repeat(40)), "_long_".repeat(14));
    let fields = format!("\"fields\":{{\"{key}\":\"{name}\"}},\"transfer_table\":");
    let log = PIPELINE.replace("\"transfer_table\":", &fields).replace("code2wav", &name);
    let log = file("width_of_names.jsonl", &log);
    let key = format!("fields.{key}");
    for key in [&key, "stage_name", "finish_reason"] {
        for every in [&[][..], &["--every", "10ms"]] {
            let by = [&["--by", key], every].concat();
            for command in [
                &["summary"][..],
                &["why", "--p50"],
                &["what-if", "--rate", "2"],
                &["what-if", "--percentiles", "1,10,50,90,99,99.9,99.99"],
                &["check"],
            ] {
                is_narrow(&[command, &by, &[&log]].concat());
            }
        }
        is_narrow(&["compare", "--all", "--by", key, &log, one]);
    }
}
