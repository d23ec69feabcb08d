//! Every command of the reader on a damaged, a sampled and a joined log.

#[path = "support/reader.rs"]
mod reader;
mod support;

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::PathBuf,
    process::{Command, Output},
};

use omni_metrics::Keep;
use reader::{omni_of, stdout, text};
use serde_json::Value;
use support::Rig;
use tracing::{error, info_span};

const PIPELINE: &str = include_str!("data/pipeline.jsonl");

/// What an output says of the number of requests.
enum Says {
    Nothing,
    /// A line, or a record below a head, for each line of a request.
    Lines,
    Records,
    /// The number of requests that the lines stand for, at this place in its last line.
    Requests(&'static str),
}

use Says::{Lines, Nothing, Records, Requests};

/// The runs of each command. `LOG` is the log, which also is on standard input.
const RUNS: &[(&str, Says)] = &[
    ("tables LOG", Nothing),
    ("tables --json LOG", Lines),
    ("tables --last 2 --by finish_reason LOG", Nothing),
    ("summary LOG", Nothing),
    ("summary --json LOG", Requests("/overall_summary/e2e_requests")),
    ("summary --csv LOG", Nothing),
    ("summary --every 1s --by finish_reason --csv LOG", Nothing),
    ("summary --by stage_name --slo e2e=1s@99% LOG", Nothing),
    ("summary --percentiles 50,99.99 --since -1h --where e2e_total_ms>0.0 LOG", Nothing),
    ("check LOG", Nothing),
    ("check --json --by request_id LOG", Nothing),
    ("check --csv LOG", Nothing),
    ("join LOG", Lines),
    ("join --by stage_name --every 1s LOG", Lines),
    ("why --slowest LOG", Nothing),
    ("why --p50 --json --by finish_reason LOG", Nothing),
    ("why --p90 --csv --every 1s LOG", Nothing),
    ("report --json LOG", Requests("/summary/overall_summary/e2e_requests")),
    ("report --json --percentiles 50,99.99 LOG", Requests("/summary/overall_summary/e2e_requests")),
    ("report --json --every 1s LOG", Requests("/summary/overall_summary/e2e_requests")),
    ("export --format chrome LOG", Nothing),
    ("export --format csv LOG", Records),
    ("export --format csv --table stages LOG", Nothing),
    ("export --format csv --table transfers --by finish_reason LOG", Nothing),
    ("compare LOG LOG", Nothing),
    ("compare --json --all --by stage_name LOG LOG", Requests("/after/requests")),
    ("compare --csv --by finish_reason --percentiles 25,99.9 LOG LOG", Nothing),
    ("what-if --rate 2 LOG", Nothing),
    ("what-if --concurrency 2 --json LOG", Nothing),
    ("what-if --csv --percentiles 50,99.99 --by finish_reason LOG", Nothing),
    ("watch --json --window all", Requests("/window/requests")),
    ("watch --json --window all --by finish_reason", Requests("/window/requests")),
    ("completions bash", Nothing),
    ("man summary", Nothing),
    ("help why", Nothing),
];

/// What no output has: traces of a panic, and values and types as Rust shows them.
const NEVER: [&str; 8] = ["panicked", "Some(", "Ok(", "Err(", "NaN", " inf", "expected u64", "expected f64"];

/// The longest time, in milliseconds.
const MOST: &str = "18446744073709.551615";

fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("everywhere-{name}.jsonl"));
    fs::write(&path, bytes).unwrap();
    path
}

/// A value of the line is replaced by another text.
fn with(line: &str, key: &str, value: &str) -> String {
    let (before, after) = line.split_once(&format!("\"{key}\":")).unwrap();
    format!("{before}\"{key}\":{value}{}", &after[after.find([',', '}']).unwrap()..])
}

/// A log of which a fourth can be read, and how many requests that is.
fn damaged() -> (PathBuf, u64) {
    let (mut log, mut sound) = (Vec::new(), 0);
    for (n, line) in PIPELINE.lines().enumerate() {
        let damaged = match n % 8 {
            0 => line[..line.len() / 2].to_owned(),
            1 => line.replacen("\"e2e_table\"", "\0\0\0", 1),
            2 => format!("{line}{line}"),
            3 => with(line, "e2e_total_ms", "1e308"),
            4 => with(line, "num_tokens_out", "-1"),
            5 => format!("{},\"fields\":{{\"deep\":{}", &line[..line.len() - 1], "[".repeat(100_000)),
            6 => with(line, "request_id", "\"\\u001b[31m\u{202e}\u{200b}\\n</script>\""),
            _ => with(&with(line, "e2e_total_ms", MOST), "stage_gen_time_ms", MOST),
        };
        sound += u64::from(n % 8 > 5);
        log.extend_from_slice(damaged.as_bytes());
        log.extend_from_slice(
            b"\nan \xff\xfe alien {\"type\":\"request\"}\n{\"type\":\"request\",\"\xff\n\n",
        );
    }
    (file("damaged", &log), sound)
}

/// A request, whose stage 1 runs in `worker`.
fn serve(front: &Rig, worker: &Rig, n: u64) {
    let id = format!("request-{n}");
    front.run_text(|rig| {
        let reason = if n.is_multiple_of(20) { "error" } else { "stop" };
        let _request = info_span!("request", request_id = id, finish_reason = reason).entered();
        info_span!("stage", stage_id = 0, stage_name = "front", num_tokens_in = n).in_scope(|| {
            rig.wait_ms(3 + n % 7);
            if reason == "error" {
                error!("it failed");
            }
        });
        rig.wait_ms(10);
    });
    worker.run_text(|rig| {
        rig.wait_ms(4 + n % 7);
        let stage = info_span!("stage", stage_id = 1, stage_name = "worker", request_id = id);
        stage.in_scope(|| rig.wait_ms(5));
        rig.wait_ms(4);
    });
}

/// The logs of a front and a worker that keep these requests, joined, and how many lines of requests it has.
fn joined(name: &str, keep: impl Fn() -> Keep) -> (PathBuf, u64) {
    let [front, worker] = [0, 1].map(|_| Rig::with(|layer| layer.with_keep(keep())));
    (0..120).for_each(|n| serve(&front, &worker, n));
    let log = stdout(&omni_of(&["join"], &(front.log.text() + &worker.log.text())));
    assert!(log.lines().all(|line| line.contains("\"stage_name\":\"worker\"")), "{log}");
    (file(name, log.as_bytes()), log.lines().count() as u64)
}

fn run(args: &str, log: &PathBuf) -> Output {
    let words = args.split(' ').map(|word| if word == "LOG" { log.to_str().unwrap() } else { word });
    let mut command = Command::new(env!("CARGO_BIN_EXE_omni-metrics"));
    command.args(words).stdin(File::open(log).unwrap()).output().unwrap()
}

#[test]
fn every_command_of_the_program_is_run_here() {
    let help = stdout(&omni_of(&["--help"], ""));
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let listed = commands.lines().take_while(|line| !line.is_empty());
    let listed: BTreeSet<_> = listed.filter_map(|line| line.split_whitespace().next()).collect();
    let run: BTreeSet<_> = RUNS.iter().filter_map(|(args, _)| args.split(' ').next()).collect();
    assert_eq!(listed, run);
}

#[test]
fn the_short_help_of_a_command_has_examples_and_the_long_one_also_notes_exit_codes_and_variables() {
    let commands: BTreeSet<_> = RUNS.iter().filter_map(|(args, _)| args.split(' ').next()).collect();
    for command in commands.into_iter().filter(|command| *command != "help") {
        let [short, long] = ["-h", "--help"].map(|option| stdout(&omni_of(&[command, option], "")));
        assert!(short.lines().count() < 60 && short.contains("\nExamples:\n"), "{short}");
        let only_long = ["\nExit codes:\n", "\nEnvironment:\n"];
        assert!(only_long.iter().all(|section| long.contains(section) && !short.contains(section)), "{long}");
    }
}

#[test]
fn on_any_log_each_command_ends_as_documented_and_all_count_the_same_requests() {
    let whole = joined("joined", Keep::all);
    let sampled = joined("sampled", || Keep::one_in(4));
    assert!((10..60).contains(&sampled.1), "{}", sampled.1);
    for (log, lines) in [damaged(), whole, sampled] {
        let mut counts = BTreeSet::new();
        for (args, says) in RUNS {
            let output = run(args, &log);
            let (out, err) = (text(&output.stdout), text(&output.stderr));
            let place = format!("omni-metrics {args}, {}: {err}{out:.2000}", log.display());
            let code = output.status.code();
            assert!(matches!(code, Some(0 | 1)) || code == Some(2) && !err.is_empty(), "{code:?} {place}");
            for said in [&out, &err] {
                assert!(NEVER.iter().all(|never| !said.contains(never)), "{place}");
                assert!(!said.contains(|c: char| c.is_control() && c != '\n' && c != '\t'), "{place}");
            }
            let json = |line: &str| serde_json::from_str::<Value>(line).expect(&place);
            if args.contains("--json") {
                out.lines().for_each(|line| drop(json(line)));
            }
            match says {
                Nothing => {}
                Lines => assert_eq!(out.lines().count() as u64, lines, "{place}"),
                Records => assert_eq!(out.lines().count() as u64, lines + 1, "{place}"),
                Requests(pointer) => {
                    let last = json(out.lines().last().expect(&place));
                    counts.insert(last.pointer(pointer).expect(&place).as_u64().expect(&place));
                }
            }
        }
        assert_eq!(counts.len(), 1, "{}: {counts:?}", log.display());
    }
}

/// What the reader says on stderr, on one line, of arguments that it refuses.
fn refused(args: &str) -> String {
    let output = omni_of(&args.split(' ').collect::<Vec<_>>(), PIPELINE);
    assert_eq!(output.status.code(), Some(2), "{args}: {output:?}");
    text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_value_that_cannot_be_read_is_named_with_what_is_expected() {
    for (args, expected) in [
        ("summary --slowest x", "'x' for '--slowest <N>': expected a whole number from 0 to 4294967295"),
        ("summary --slowest -1", "'-1' for '--slowest <N>': expected a whole number from 0 to"),
        ("why --slowest --others 1.5", "'1.5' for '--others <N>': expected a whole number from 0 to"),
        ("tables --last 0", "'0' for '--last <N>': expected a whole number from 1 to"),
        ("tables --last -3", "'-3' for '--last <N>': expected a whole number from 1 to"),
        ("what-if --concurrency 0", "'0' for '--concurrency <N>': expected a whole number from 1 to"),
        ("what-if --rate x", "'x' for '--rate <FACTOR>': expected a number from 0.001 to 1000"),
        ("summary --every 5", "'5' for '--every <SPAN>': expected a time with a unit, such as `10s`"),
        ("join --max-offset x", "'x' for '--max-offset <TIME>': expected a time with a unit, such as `10s`"),
        ("man nothing", "there is no command `nothing`"),
    ] {
        let said = refused(args);
        assert!(said.contains(expected), "{args}: {said}");
    }
}

#[test]
fn an_argument_of_other_commands_is_refused_with_their_names() {
    for (args, tip) in [
        (
            "check --percentiles 50",
            "tip: --percentiles is an option of `summary`, `report`, `compare`, `watch` and `what-if`",
        ),
        ("join --slo e2e=1s", "tip: --slo is an option of `summary`, `report`, `compare` and `watch`"),
        (
            "watch --csv",
            "tip: --csv is an option of `summary`, `check`, `join`, `why`, `compare` and `what-if`",
        ),
        ("summary -o page.html", "tip: -o is an option of `join`, `report`, `export` and `compare`"),
        ("summary --jsn", "tip: a similar argument exists: '--json'"),
    ] {
        let said = refused(args);
        assert!(said.contains(tip) && said.matches("tip:").count() == 1, "{args}: {said}");
    }
}

#[test]
fn each_exit_code_has_one_entry_in_the_help() {
    let output = omni_of(&["compare", "--help"], "");
    let help = stdout(&output);
    let (_, codes) = help.split_once("Exit codes:").unwrap();
    let entries = codes.lines().filter_map(|line| line.strip_prefix("  ")?.chars().next());
    let entries: String = entries.filter(char::is_ascii_digit).collect();
    assert_eq!(entries, "012");
    assert!(codes.contains("Or a condition of `--fail-if` is undecided"), "{codes}");
}
