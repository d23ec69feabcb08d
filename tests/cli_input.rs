//! The reader, on logs as container runtimes, log rotation and compression leave them.

#[path = "support/reader.rs"]
mod reader;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use reader::{omni_of, stdout, text};
use serde_json::json;

/// A log that the example `omni_pipeline` wrote: 40 requests and the summary.
const PIPELINE: &str = include_str!("data/pipeline.jsonl");

fn summary_of(log: &str) -> String {
    let output = omni_of(&["summary", "--json"], log);
    assert_eq!(text(&output.stderr), "");
    stdout(&output)
}

fn cri(stream: &str, tag: &str, text: &str) -> String {
    format!("2026-11-25T04:01:43.017037123Z {stream} {tag} {text}\n")
}

fn docker(stream: &str, text: &str) -> String {
    json!({"log": text, "stream": stream, "time": "2026-11-25T04:01:43.017037123Z"}).to_string() + "\n"
}

/// The log, each line in pieces of this length; `wrap` gets a piece and whether it is the last of its line. A
/// piece of a foreign line on the other stream stands after each of them.
fn in_pieces(length: usize, wrap: impl Fn(&str, &str, bool) -> String) -> String {
    let mut wrapped = String::new();
    for line in PIPELINE.lines() {
        let pieces: Vec<_> = line.as_bytes().chunks(length).collect();
        for (at, piece) in pieces.iter().enumerate() {
            let is_last = at + 1 == pieces.len();
            wrapped += &wrap("stderr", std::str::from_utf8(piece).unwrap(), is_last);
            wrapped += &wrap("stdout", "foreign", is_last);
        }
    }
    wrapped
}

fn wrap_for_kubernetes(stream: &str, text: &str, is_last: bool) -> String {
    cri(stream, if is_last { "F" } else { "P" }, text)
}

fn wrap_for_docker(stream: &str, text: &str, is_last: bool) -> String {
    docker(stream, &if is_last { format!("{text}\n") } else { text.to_owned() })
}

#[test]
fn lines_of_container_runtimes_and_of_the_journal_are_read_as_what_they_contain() {
    let whole = |wrap: &dyn Fn(&str) -> String| PIPELINE.lines().map(wrap).collect::<String>();
    let kubernetes = whole(&|line| cri("stderr", "F", line));
    let by_docker = whole(&|line| docker("stderr", &format!("{line}\n")));
    let journal = whole(&|line| {
        json!({"__REALTIME_TIMESTAMP": "1795579200000000", "MESSAGE": line, "_PID": "7"}).to_string() + "\n"
    });
    // The journal writes a text with control characters as its bytes.
    let bytes = whole(&|line| {
        json!({"__REALTIME_TIMESTAMP": "1795579200000000", "MESSAGE": line.as_bytes()}).to_string() + "\n"
    });
    // Another program has read the lines of Docker, and written them with spaces.
    let spaced = whole(&|line| {
        let log = json!(format!("{line}\n"));
        format!("{{\"log\": {log}, \"stream\": \"stderr\", \"time\": \"2026-11-25T04:01:43.017037123Z\"}}\n")
    });
    for log in [kubernetes, by_docker, journal, bytes, spaced] {
        assert_eq!(summary_of(&log), summary_of(PIPELINE));
    }
    // `journalctl -o cat` prints the messages as they are; others are foreign.
    let cat = format!("Started service.\n{PIPELINE}Stopped service.\n");
    assert_eq!(summary_of(&cat).replace("foreign_lines\":2", "foreign_lines\":0"), summary_of(PIPELINE));
}

#[test]
fn lines_in_pieces_are_put_together_also_if_the_streams_alternate() {
    let expected = summary_of(PIPELINE);
    // With pieces of 20 bytes, the log is longer than what is read at a time.
    for length in [20, 700, 1_000_000] {
        for wrapped in [in_pieces(length, wrap_for_kubernetes), in_pieces(length, wrap_for_docker)] {
            assert!(length > 20 || wrapped.len() > 400_000);
            let read = summary_of(&wrapped);
            assert_eq!(read.replace("\"foreign_lines\":41", "\"foreign_lines\":0"), expected);
        }
    }
}

/// The log with the time of each line in another form.
fn with_times(form: impl Fn(&str) -> String) -> String {
    let rewrite = |line: &str| {
        let (before, after) = line.split_once(r#""timestamp":""#).unwrap();
        let (time, after) = after.split_once('"').unwrap();
        format!("{before}\"timestamp\":\"{}\"{after}\n", form(time))
    };
    PIPELINE.lines().map(rewrite).collect()
}

/// The same lines with their keys in the order of the alphabet, as a log processor may write them.
fn in_alphabetical_order(log: &str) -> String {
    log.lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap().to_string() + "\n")
        .collect()
}

#[test]
fn times_in_any_form_of_rfc_3339_are_read() {
    let forms: [fn(&str) -> String; 3] = [
        |time| time.replace('Z', "789Z"),
        |time| time.replace("T08", "T10").replace('Z', "+02:00"),
        |time| time.replace("T08", " 03").replace('Z', "-0500"),
    ];
    for form in forms {
        let log = with_times(form);
        assert_eq!(summary_of(&log), summary_of(PIPELINE));
        assert_eq!(summary_of(&in_alphabetical_order(&log)), summary_of(PIPELINE));
    }
    let seconds = with_times(|time| format!("{}Z", &time[..19]));
    assert!(summary_of(&seconds).contains(r#""e2e_requests":40,"#), "{}", summary_of(&seconds));
}

#[test]
fn a_line_with_other_keys_first_that_cannot_be_read_is_broken() {
    let log = in_alphabetical_order(&with_times(|time| time.replace('T', "_")));
    let output = omni_of(&["summary"], &log);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(said.contains("-:1: a broken line is left out: invalid value: string"), "{said}");
    let output = omni_of(&["summary"], &(log.replace("\"schema\":1", "\"schema\":2") + PIPELINE));
    assert!(text(&output.stderr).contains("(line 1 has schema 2; "), "{output:?}");
    let foreign =
        "{\"schema\":1,\"type\":\"request\"}\n{\"schema\":1,\"timestamp\":\"\",\"type\":\"other\"}\n";
    let output = omni_of(&["summary"], &(foreign.to_owned() + PIPELINE));
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn fields_of_any_kind_of_json_are_kept_and_shown_as_json() {
    let line = PIPELINE.lines().next().unwrap();
    let (line, _) = line.rsplit_once('}').unwrap();
    let fields = r#"{"list":[1,"a\u001b",null],"none":null,"user":{"tier":"x"}}"#;
    let log = format!("{line},\"fields\":{fields}}}\n");
    assert!(stdout(&omni_of(&["join"], &log)).contains(&format!("\"fields\":{fields}")));
    let tables = stdout(&omni_of(&["tables"], &log));
    for shown in [r#"[1,"a\u001b",null]"#, r#"{"tier":"x"}"#, "null"] {
        assert!(tables.contains(shown), "{tables}");
    }
    let condition = "fields.user.tier == 'x' && fields.list[0] == 1 && fields.none == null";
    let output = omni_of(&["summary", "--where", condition, "--by", "fields.list"], &log);
    assert!(stdout(&output).contains(r#"| [1,"a\u001b",null] |"#), "{output:?}");
    assert!(stdout(&omni_of(&["summary", "--by", "fields.none"], &log)).contains("| none "));
    let page = stdout(&omni_of(&["report"], &log));
    assert!(page.contains(r#"["user","{\"tier\":\"x\"}"]"#));
    let output = omni_of(&["check"], &log);
    assert!(text(&output.stdout).contains("1 line is sound"), "{output:?}");
}

#[test]
fn why_a_line_is_broken_is_said_in_the_terms_of_the_log() {
    let line = PIPELINE.lines().next().unwrap();
    let deep = format!("\"fields\":{{\"a\":{}", "[".repeat(200));
    let with = |from: &str, to: &str| format!("{}\n", line.replacen(from, to, 1));
    for (log, why) in [
        (line[..200].to_owned(), "it is cut after column 200"),
        (with("\"e2e_requests\":1,", ""), "missing field `e2e_requests` at column 290"),
        (
            with("\"e2e_requests\":1,", "\"e2e_requests\":-1,"),
            "integer `-1`, expected a whole number from 0 up at column 131",
        ),
        (
            with("\"schema\":1", "\"schema\":null"),
            "invalid type: null, expected a whole number from 0 up at column 31",
        ),
        (with("\"schema\":1", "\"schema\":nul"), "expected true, false or null at column 31"),
        (
            with("\"overall_summary\":{", "\"overall_summary\":[{"),
            "sequence, expected an object at column 113",
        ),
        (
            with("\"schema\":1", &format!("\"schema\":1,{deep}")),
            "values lie too deep in others at column 169",
        ),
        (with("\"schema\":", "\"schema\";"), "expected `:` at column 27"),
    ] {
        let said = text(&omni_of(&["check"], &log).stdout);
        let said = said.lines().next().unwrap();
        assert!(said.starts_with("-:1: a broken line is left out: ") && said.ends_with(why), "{said}");
    }
}

#[test]
fn a_line_of_more_than_16_mib_is_broken_for_its_length() {
    let (first, second) = PIPELINE.lines().next().zip(PIPELINE.lines().nth(1)).unwrap();
    let of_length = |length: usize| {
        let text = "x".repeat(length - first.len() + "thinker".len());
        format!("{}\n{second}\n", first.replacen("thinker", &text, 1))
    };
    let check = |length: usize| text(&omni_of(&["check"], &of_length(length)).stdout);
    let said = check((16 << 20) + (1 << 20));
    assert!(said.starts_with("-:1: a broken line is left out: it is longer than 16 MiB\n"), "{said}");
    assert!(!check((16 << 20) - (1 << 10)).contains("broken"));
    let foreign = format!("{}\n{second}\n", "x".repeat(17 << 20));
    assert!(!text(&omni_of(&["check"], &foreign).stdout).contains("broken"));
}

#[test]
fn a_line_in_which_several_begin_is_named_as_such() {
    let (first, rest) = PIPELINE.split_once('\n').unwrap();
    let second = rest.lines().next().unwrap();
    let output = omni_of(&["check"], &format!("{first}{second}\n{second}\n"));
    let said = text(&output.stdout);
    assert!(said.contains("-:1: a broken line is left out: 2 lines begin in it: "), "{said}");
    assert!(text(&output.stdout).contains("0 violations in 1 line, 1 broken line"), "{output:?}");
}

#[test]
fn a_wrapped_line_whose_rest_is_missing_is_named_and_those_after_it_are_read() {
    let mut lines = PIPELINE.lines();
    let (first, second) = (lines.next().unwrap(), lines.next().unwrap());
    let log = cri("stderr", "P", &first[..500]) + &cri("stderr", "F", second) + &cri("stderr", "P", first);
    let output = omni_of(&["check"], &log);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stdout);
    assert!(said.contains("-:1: a broken line is left out") && !said.contains("-:2"), "{said}");
    assert!(text(&output.stdout).contains("0 violations in 2 lines, 1 broken line"), "{output:?}");

    let cut = docker("stderr", &format!("{second}\n")) + &docker("stderr", first)[..900];
    let output = omni_of(&["check"], &cut);
    let said = text(&output.stdout);
    assert!(output.status.code() == Some(1) && said.contains("-:2: a broken line"), "{output:?}");
}

/// A directory of this test's own, with these files.
fn directory(name: &str, files: &[(&str, &[u8])]) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("input").join(name);
    let _ = fs::remove_dir_all(&directory);
    for (name, content) in files {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    directory
}

/// The output of a command, run in a directory.
fn omni_in(directory: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_omni-metrics"))
        .current_dir(directory)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Parts of the log, the oldest first.
fn parts<const N: usize>() -> [String; N] {
    let lines: Vec<_> = PIPELINE.split_inclusive('\n').collect();
    let length = lines.len().div_ceil(N);
    std::array::from_fn(|at| lines[at * length..lines.len().min((at + 1) * length)].concat())
}

#[test]
fn the_files_of_a_rotated_log_are_read_as_one_log_the_oldest_first() {
    let [first, second, third] = &parts::<3>();
    let sets: [[&str; 3]; 4] = [
        ["service.log.2.gz", "service.log.1", "service.log"],
        ["service.log-20261123", "service.log-20261124.gz", "service.log"],
        ["0.log.20261124-084640.gz", "0.log.20261124-090000", "0.log"],
        ["service.2026-11-24-08", "service.2026-11-24-09", "service.2026-11-24-10"],
    ];
    for names in sets {
        let content = |name: &str, part: &str| match name.ends_with(".gz") {
            true => gzip(part.as_bytes()),
            false => part.as_bytes().to_vec(),
        };
        let [one, two, three] = names;
        let contents = [content(one, first), content(two, second), content(three, third)];
        let files = [(one, &*contents[0]), (two, &*contents[1]), (three, &*contents[2])];
        let logs = directory("rotated", &files);
        let expected = omni_of(&["tables"], PIPELINE);
        for args in [[one, two, three], [three, two, one], [two, three, one]] {
            assert!(omni_in(&logs, &["tables", args[0], args[1], args[2]]) == expected, "{args:?}");
            let check = omni_in(&logs, &["check", args[0], args[1], args[2]]);
            assert_eq!(stdout(&check), "41 lines are sound, 0 foreign lines\n");
        }
        assert!(omni_in(&logs, &["tables", "."]) == expected);
    }
}

#[test]
fn the_times_of_the_lines_decide_where_names_mislead() {
    let [first, second] = &parts::<2>();
    let logs = directory("misled", &[("s.log", first.as_bytes()), ("s.log.1", second.as_bytes())]);
    assert_eq!(
        stdout(&omni_in(&logs, &["check", "s.log.1", "s.log"])),
        "41 lines are sound, 0 foreign lines\n"
    );
    let output = omni_in(&logs, &["tables", "--last", "1", "s.log.1", "s.log"]);
    assert!(output == omni_of(&["tables", "--last", "1"], PIPELINE), "{output:?}");
}

#[test]
fn logs_of_different_processes_keep_runs_of_their_own() {
    let [first, second] = &parts::<2>();
    let gap = format!("{}{}", first.split_once('\n').unwrap().1, second);
    let files = [("worker.1", gap.as_bytes()), ("worker.2", gap.as_bytes())];
    let logs = directory("workers", &files);
    let output = omni_in(&logs, &["check", "worker.1", "worker.2"]);
    let said = text(&output.stdout);
    assert!(said.contains("worker.1: e2e_requests") || said.contains("worker.2:1:"), "{said}");
    // A copy of a log is no part of it.
    let copies =
        directory("copies", &[("s.log", PIPELINE.as_bytes()), ("s.log.gz", &gzip(PIPELINE.as_bytes()))]);
    let output = omni_in(&copies, &["check", "s.log", "s.log.gz"]);
    assert!(text(&output.stdout).contains("s.log.gz:1: request req-0001, e2e_requests 1: expected once"));
}

#[test]
fn a_directory_stands_for_the_logs_in_it() {
    let [first, second] = &parts::<2>();
    let wrapped = |part: &str| part.lines().map(|line| cri("stderr", "F", line)).collect::<String>();
    let (first, second) = (wrapped(first), wrapped(second));
    let pods = directory(
        "pods",
        &[
            ("default_service_1f/service/0.log", second.as_bytes()),
            ("default_service_1f/service/0.log.20261124-084641.gz", &gzip(first.as_bytes())),
            ("default_other_2e/other/0.log", cri("stdout", "F", "text").as_bytes()),
            ("default_other_2e/other/1.log", b""),
            ("default_other_2e/database.db", b"{\"type\":\"request\""),
        ],
    );
    let output = omni_in(&pods, &["check", "."]);
    assert_eq!(stdout(&output), "41 lines are sound, 1 foreign line\n");
    assert_eq!(text(&output.stderr), "");

    let output = omni_in(&pods, &["summary", "default_other_2e"]);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(said.contains("no file in default_other_2e has a line of omni-metrics"), "{said}");
    let empty = directory("empty", &[("notes.md", b"")]);
    let output = omni_in(&empty, &["summary", "."]);
    assert!(output.status.code() == Some(2) && text(&output.stderr).contains("no log in ."), "{output:?}");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(1)).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

#[test]
fn compressed_logs_are_read_also_in_several_parts() {
    let [first, second] = &parts::<2>();
    // A frame that has no content, as `pzstd` writes it.
    let skipped = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, b'a', b'b', b'\n'];
    let compressed = [
        [gzip(first.as_bytes()), gzip(second.as_bytes())].concat(),
        [xz(first.as_bytes()), xz(second.as_bytes())].concat(),
        [zstd(first.as_bytes()), zstd(second.as_bytes())].concat(),
        [&skipped, &*zstd(first.as_bytes()), &skipped, &zstd(second.as_bytes())].concat(),
        // Made by `zstd --ultra -22` and `xz -9`, with checksums.
        include_bytes!("data/first.jsonl.zst").to_vec(),
        include_bytes!("data/first.jsonl.xz").to_vec(),
    ];
    let one = PIPELINE.lines().next().unwrap().to_owned() + "\n";
    for (at, bytes) in compressed.iter().enumerate() {
        let logs = directory("compressed", &[("log", bytes)]);
        let expected = summary_of(if at < 4 { PIPELINE } else { &one });
        assert_eq!(stdout(&omni_in(&logs, &["summary", "--json", "log"])), expected, "{at}");
    }
}

#[test]
fn a_compressed_log_that_is_cut_keeps_the_lines_before_the_cut() {
    let long = PIPELINE.repeat(8);
    for compressed in [gzip(long.as_bytes()), xz(long.as_bytes()), zstd(long.as_bytes())] {
        let logs = directory("cut", &[("log", &compressed[..compressed.len() - 9])]);
        let output = omni_in(&logs, &["summary", "--json", "log"]);
        let said = text(&output.stderr);
        assert!(said.contains("the file is cut"), "{said}");
        let summary: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
        let requests = summary["overall_summary"]["e2e_requests"].as_u64().unwrap();
        assert!((40..=320).contains(&requests) && summary["broken_lines"] != json!(0), "{requests}");
        let nothing = directory("nothing", &[("log", &compressed[..7])]);
        assert_eq!(omni_in(&nothing, &["summary", "log"]).status.code(), Some(2));
    }
}

#[test]
fn what_is_wrong_with_a_compressed_log_is_said_and_no_line_before_it_is_lost() {
    let log = PIPELINE.repeat(8);
    for (name, compress) in [("gzip", gzip as fn(&[u8]) -> Vec<u8>), ("xz", xz), ("zstd", zstd)] {
        let whole = compress(log.as_bytes());
        let mut faults = vec![
            ([&*whole, b"garbage"].concat(), "its compressed content ends here, but the file goes on"),
            ([&*whole, b"\n"].concat(), "its compressed content ends here, but the file goes on"),
            (whole[..whole.len() - 2].to_vec(), "the file is cut"),
            (whole[..7].to_vec(), "the file is cut"),
        ];
        if name == "xz" {
            let mut damaged = whole.clone();
            let middle = damaged.len() / 2;
            damaged[middle..middle + 4].iter_mut().for_each(|byte| *byte ^= 0x5a);
            let logs = directory("damaged", &[("log", &damaged)]);
            let stderr = text(&omni_in(&logs, &["summary", "log"]).stderr);
            assert!(stderr.contains("its compressed content is damaged here\n"), "{stderr}");
        }
        if name != "zstd" {
            let mut damaged = whole.clone();
            let in_checksum = damaged.len() - 5;
            damaged[in_checksum] ^= 0xff;
            faults.push((damaged, "its compressed content is damaged here"));
        }
        for (content, said) in faults {
            let is_short = content.len() < 10;
            let logs = directory("faults", &[("log", &content)]);
            let output = omni_in(&logs, &["summary", "--json", "log"]);
            let stderr = text(&output.stderr);
            let line = if is_short { "cannot read log: " } else { "a broken line is left out: " };
            assert!(stderr.contains(&format!("{line}{said}\n")), "{name}: {stderr}");
            assert!(!stderr.contains(['{', '(']), "{name}: {stderr}");
            // The last block of zstd has to be whole.
            if !is_short && (name, said) != ("zstd", "the file is cut") {
                assert!(text(&output.stdout).contains(r#""e2e_requests":320,"#), "{name}, {said}");
            }
        }
        // Zeros fill the last block of a tape.
        let tape = [&*compress(PIPELINE.as_bytes()), &[0; 512]].concat();
        let logs = directory("zeros", &[("log", &tape)]);
        assert_eq!(stdout(&omni_in(&logs, &["summary", "--json", "log"])), summary_of(PIPELINE));
    }
}

#[test]
fn summary_names_stages_and_fits_a_hundred_columns() {
    let logs = [PIPELINE, include_str!("data/engine.jsonl")];
    for log in logs {
        // Ids as long as a UUID.
        let log = log.replace("\"req-", "\"0191a3c5-7b2e-7c4f-9d1a-3e5f7a9b-");
        let summary = stdout(&omni_of(&["summary"], &log));
        let widest = summary.lines().max_by_key(|line| line.chars().count()).unwrap();
        assert!(widest.chars().count() <= 100, "{widest}");
        assert!(summary.contains("| stage 0 thinker "), "{summary}");
    }
    let renamed =
        format!("{PIPELINE}{}", PIPELINE.replace("code2wav", "vocoder").replace("2026-11-24", "2026-11-25"));
    let summary = stdout(&omni_of(&["summary"], &renamed));
    assert!(summary.contains("stage 2 vocoder") && !summary.contains("code2wav"), "{summary}");
}

/// A request, and a row of a worker with this ending.
fn request_and_row(ending: &str) -> (String, String) {
    let request = PIPELINE.lines().next().unwrap().to_owned() + "\n";
    let row = r#"{"type":"transfer","schema":1,"timestamp":"2026-11-24T08:46:40.082580Z","request_id":"req-0001","from_stage":2,"to_stage":7,"size_bytes":5,"tx_time_ms":0.0,"rx_decode_time_ms":null,"in_flight_time_ms":null,"total_time_ms":0.0,"start_ms":null,"wall_time_ms":0.0,"events":1"#;
    (request, format!("{row}{ending}}}\n"))
}

/// The bytes of the added row after `join`, and what it says.
fn joined_bytes(log: &str) -> (u64, String) {
    let output = omni_of(&["join"], log);
    let request: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    let transfers = request["transfer_table"].as_array().unwrap();
    let added = transfers.iter().find(|row| row["to_stage"] == 7).unwrap();
    (added["size_bytes"].as_u64().unwrap(), text(&output.stderr))
}

#[test]
fn join_counts_equal_rows_of_one_moment_and_no_copy_of_them() {
    let (request, row) = request_and_row("");
    let other = row.replace("req-0001", "req-0002");
    let later = other.replace("40.082580Z", "40.082581Z");
    let file = format!("{row}{other}{row}{later}");
    let lost = "request req-0002: 2 rows, but no line of it within 1m\n\
                omni-metrics: --keep-rows writes these rows too, for summary, check or a later join\n";
    let (bytes, said) = joined_bytes(&format!("{request}{file}"));
    assert_eq!((bytes, said), (10, format!("omni-metrics: {lost}")));
    let (bytes, said) = joined_bytes(&format!("{file}{request}{file}"));
    let doubles = "4 lines occur twice and count once\n";
    assert_eq!((bytes, said), (10, format!("omni-metrics: {doubles}omni-metrics: {lost}")));
}

#[test]
fn join_takes_rows_of_one_span_for_one_row() {
    let (request, row) = request_and_row(r#","trace_id":"4bf9","span_id":"00f0""#);
    let (bytes, said) = joined_bytes(&format!("{request}{row}{row}"));
    assert_eq!((bytes, said.as_str()), (5, "omni-metrics: 1 line occurs twice and counts once\n"));
}

#[test]
fn join_finds_a_copy_that_is_spelt_differently() {
    let (request, row) = request_and_row("");
    let spaced = row.replace(",\"", ", \"");
    let (bytes, said) = joined_bytes(&format!("{row}{request}{spaced}"));
    assert_eq!((bytes, said.as_str()), (5, "omni-metrics: 1 line occurs twice and counts once\n"));
}

#[test]
fn every_command_ends_its_help_with_examples_exit_codes_and_the_environment() {
    for command in ["tables", "summary", "check", "join", "report", "watch"] {
        let help = stdout(&omni_of(&[command, "--help"], ""));
        let order = ["Examples:\n", "Exit codes:\n", "Environment:\n"].map(|title| help.find(title).unwrap());
        assert!(order.is_sorted() && help.contains("NO_COLOR"), "{help}");
        let manual = stdout(&omni_of(&["man", command], ""));
        for section in [".SH EXAMPLES", ".SH \"EXIT STATUS\"", ".SH ENVIRONMENT"] {
            assert!(manual.contains(section), "{manual}");
        }
    }
}
