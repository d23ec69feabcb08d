//! A finding as a line of JSON, or as a record of comma-separated values.

use std::io::Write;

use serde::Serialize;

use crate::cli::{
    failure::Result,
    json,
    records::{Records, cell},
};

/// The columns of a finding.
const HEADS: [&str; 4] = ["type", "file", "line", "text"];

/// How findings are written.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    #[default]
    Text,
    Json,
    Csv,
}

impl Form {
    /// The first line of the output.
    pub(super) fn begin(self, out: &mut impl Write) -> Result<()> {
        if self == Self::Csv { record(HEADS.map(str::to_owned), out) } else { Ok(()) }
    }
}

/// Writes one record.
pub(super) fn record(cells: [String; 4], out: &mut impl Write) -> Result<()> {
    let mut records = Records::new(out);
    records.write(cells)?;
    records.flush()
}

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
        /// How many requests it is about, if their ids follow.
        #[serde(skip_serializing_if = "Option::is_none")]
        requests: Option<u64>,
    },
    /// A request that has no line, and its first row.
    RequestWithoutLine {
        file: &'a str,
        line: u64,
        request_id: &'a str,
    },
    /// A request of which another attempt has no line, and the first row that may be of that one.
    AttemptWithoutLine {
        file: &'a str,
        line: u64,
        request_id: &'a str,
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
        /// The same in words.
        #[serde(skip)]
        text: String,
    },
}

impl Finding<'_> {
    fn cells(&self) -> [String; 4] {
        let (kind, file, line, text) = match self {
            Self::Violation { file, line, text } => ("violation", file, *line, *text),
            Self::Note { file, line, text, .. } => ("note", file, *line, *text),
            Self::RequestWithoutLine { file, line, request_id } => {
                ("request_without_line", file, Some(*line), *request_id)
            }
            Self::AttemptWithoutLine { file, line, request_id } => {
                ("attempt_without_line", file, Some(*line), *request_id)
            }
            Self::BrokenLine { file, line, text } => ("broken_line", file, Some(*line), *text),
            Self::Sample { file, text, .. } => ("sample", file, None, &**text),
        };
        [kind.to_owned(), (*file).to_owned(), cell(line), text.to_owned()]
    }
}

/// The number of the line and the text of a sentence that begins with its place in the file.
pub(super) fn located<'a>(sentence: &'a str, file: &str) -> (Option<u64>, &'a str) {
    let in_file = sentence.strip_prefix(file).and_then(|rest| rest.strip_prefix(':'));
    let Some((number, text)) = in_file.and_then(|rest| rest.split_once(' ')) else { return (None, sentence) };
    (number.strip_suffix(':').and_then(|number| number.parse().ok()), text)
}

/// Writes a record or, if these are not asked for, a line of JSON for each finding.
pub(super) fn say<'a>(
    form: Form,
    out: &mut impl Write,
    mut findings: impl Iterator<Item = Finding<'a>>,
) -> Result<()> {
    findings.try_for_each(|finding| match form {
        Form::Csv => record(finding.cells(), out),
        Form::Json | Form::Text => json::write(out, &finding),
    })
}
