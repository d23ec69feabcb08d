//! The reader, on logs as container runtimes, log rotation and compression leave them.

#[path = "support/reader.rs"]
mod reader;

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
    for log in [kubernetes, by_docker, journal] {
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

#[test]
fn a_wrapped_line_whose_rest_is_missing_is_named_and_those_after_it_are_read() {
    let mut lines = PIPELINE.lines();
    let (first, second) = (lines.next().unwrap(), lines.next().unwrap());
    let log = cri("stderr", "P", &first[..500]) + &cri("stderr", "F", second) + &cri("stderr", "P", first);
    let output = omni_of(&["check"], &log);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("-:1: a broken line is left out") && !said.contains("-:2"), "{said}");
    assert!(text(&output.stdout).contains("0 violations in 2 lines, 1 broken line"), "{output:?}");

    let cut = docker("stderr", &format!("{second}\n")) + &docker("stderr", first)[..900];
    let output = omni_of(&["check"], &cut);
    let said = text(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("-:2: a broken line"), "{output:?}");
}
