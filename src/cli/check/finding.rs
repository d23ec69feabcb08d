//! A finding as a line of JSON.

use std::io::Write;

use serde::Serialize;

use crate::cli::{failure::Result, json};

/// What was found in a line or in a file, as JSON.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Finding<'a> {
    Violation {
        file: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        line: Option<u64>,
        text: &'a str,
    },
    Note {
        file: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        line: Option<u64>,
        text: &'a str,
    },
    BrokenLine {
        file: &'a str,
        line: u64,
        text: &'a str,
    },
    /// What was verified of a sampled log.
    Sample {
        file: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        one_in: Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        verified_up_to: Option<u64>,
    },
}

/// The number of the line and the text of a sentence that begins with its place in the file.
pub(super) fn located<'a>(sentence: &'a str, file: &str) -> (Option<u64>, &'a str) {
    let in_file = sentence.strip_prefix(file).and_then(|rest| rest.strip_prefix(':'));
    let Some((number, text)) = in_file.and_then(|rest| rest.split_once(' ')) else { return (None, sentence) };
    (number.strip_suffix(':').and_then(|number| number.parse().ok()), text)
}

/// Writes a line of JSON for each finding.
pub(super) fn say<'a>(out: &mut impl Write, mut findings: impl Iterator<Item = Finding<'a>>) -> Result<()> {
    findings.try_for_each(|finding| json::write(out, &finding))
}
