//! A line as it is read: one of the layer's, one of another program, or a broken one.

use std::{borrow::Cow, io::BufRead, sync::Arc};

use serde::{Deserialize, de::IgnoredAny};

use super::{
    log_line::LogLine,
    verbatim,
    wrapped::{Wrapped, message_of_journal},
};
use crate::{Line, SCHEMA};

/// The longest line that is read, in bytes. The layer's lines are far shorter.
pub(super) const LINE_LIMIT: usize = 16 << 20;

/// A line that has been read.
pub(super) enum Parsed<T> {
    /// A line of the layer.
    Line(T),
    /// A line of another program.
    Foreign,
    /// The same, with a line of the layer in it, which does not stand at its beginning.
    Hidden,
    /// A line of the layer that is cut or garbled, and how.
    Broken(String),
    /// A line of the layer with a schema that this reader does not know.
    Unknown(u32),
}

/// Whether a line begins as those of the layer do.
pub(super) fn is_ours(line: &[u8]) -> bool {
    line.strip_prefix(b"{").and_then(after_type).is_some()
}

/// What follows the type of a line of the layer, whose brace stands before this.
fn after_type(line: &[u8]) -> Option<&[u8]> {
    const TYPES: [&[u8]; 5] = [
        br#""type":"request""#,
        br#""type":"stage""#,
        br#""type":"transfer""#,
        br#""type":"summary""#,
        br#""type":"open""#,
    ];
    TYPES.iter().find_map(|opening| line.strip_prefix(*opening))
}

/// A line without the zeros before it: a file has them if it was truncated while a program wrote it.
pub(super) fn without_zeros(line: &[u8]) -> &[u8] {
    let zeros = line.iter().take_while(|byte| **byte == 0).count();
    line.get(zeros..).unwrap_or_default()
}

/// A line of another program.
fn foreign<T>(line: &[u8]) -> Parsed<T> {
    let mut rest = line;
    // On memory, this finds the brace fast, and can't fail.
    while rest.skip_until(b'{').is_ok_and(|length| length > 0) {
        if after_type(rest).is_some_and(|rest| rest.starts_with(br#","schema":"#)) {
            return Parsed::Hidden;
        }
    }
    Parsed::Foreign
}

/// Reads lines one after the other. Each takes the place of the line before and uses its memory; otherwise,
/// `summary` would take a fifth more instructions.
#[derive(Default)]
pub(super) struct Parser {
    line: LogLine,
}

/// Why a line is broken, and how many lines begin in it: processes that share a pipe may run into each other.
fn why_broken(text: &str, error: &serde_json::Error) -> String {
    // In a text, a quote would be escaped.
    match text.matches("{\"type\":\"").count() {
        0 | 1 => reason(error),
        lines => format!("{lines} lines begin in it: {}", reason(error)),
    }
}

/// The error in the terms of a log, where the lines of a line and the types of Rust mean nothing.
fn reason(error: &serde_json::Error) -> String {
    const TERMS: [(&str, &str); 5] = [
        ("expected ident", "expected true, false or null"),
        ("expected f64", "expected a number"),
        ("expected u32", "expected a whole number from 0 up"),
        ("expected u64", "expected a whole number from 0 up"),
        ("recursion limit exceeded", "values lie too deep in others"),
    ];
    let (line, column) = (error.line(), error.column());
    if error.is_eof() {
        return format!("it is cut after column {column}");
    }
    let said = error.to_string();
    let said = said.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&said);
    let terms = TERMS.iter().find_map(|(of_rust, term)| Some((said.strip_suffix(of_rust)?, *term)));
    let (said, term) = terms.unwrap_or((said, ""));
    format!("{said}{term} at column {column}")
}

impl Parser {
    /// The lines that follow stand in this log.
    pub(super) fn reads(&mut self, log_name: &Arc<str>) {
        if self.line.log_name != *log_name {
            self.line.log_name = Arc::clone(log_name);
        }
    }

    /// Reads a line, and maps it if it is the layer's.
    pub(super) fn parse<T>(&mut self, bytes: &[u8], map: &mut impl FnMut(&mut LogLine) -> T) -> Parsed<T> {
        let is_too_long = bytes.len() > LINE_LIMIT;
        // An editor may have put a byte order mark in front.
        let bytes = without_zeros(bytes);
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii();
        let is_spelt_as_ours = is_ours(bytes);
        if is_too_long {
            let why = || format!("it is longer than {} MiB", LINE_LIMIT >> 20);
            return if is_spelt_as_ours { Parsed::Broken(why()) } else { foreign(bytes) };
        }
        // Docker's lines may have come through a second Docker.
        if !is_spelt_as_ours && let Some(line) = Wrapped::of(bytes).and_then(Wrapped::into_line) {
            let line = line.trim_ascii();
            return self.parse_unwrapped(line, is_ours(line), map);
        }
        self.parse_unwrapped(bytes, is_spelt_as_ours, map)
    }

    fn parse_unwrapped<T>(
        &mut self,
        bytes: &[u8],
        is_spelt_as_ours: bool,
        map: &mut impl FnMut(&mut LogLine) -> T,
    ) -> Parsed<T> {
        if !is_spelt_as_ours && bytes.first() != Some(&b'{') {
            return foreign(bytes);
        }
        if verbatim::read(bytes, &mut self.line.line).is_some() {
            return self.known(map);
        }
        let Ok(text) = str::from_utf8(bytes) else {
            let broken = || Parsed::Broken("it is not UTF-8".to_owned());
            return if is_spelt_as_ours { broken() } else { Parsed::Foreign };
        };
        if !is_spelt_as_ours && let Some(message) = message_of_journal(text) {
            let message = message.trim_ascii();
            return if is_ours(message) { self.parse_unwrapped(message, true, map) } else { Parsed::Foreign };
        }
        match serde_json::from_str(text) {
            Ok(line) => {
                self.line.line = line;
                self.known(map)
            }
            // Another schema may have other keys.
            Err(error) => match Head::of(text) {
                // Other programs log JSON too.
                head if !is_spelt_as_ours && !head.as_ref().is_some_and(Head::is_whole) => foreign(bytes),
                Some(Head { schema, .. }) if schema != SCHEMA => Parsed::Unknown(schema),
                _ => Parsed::Broken(why_broken(text, &error)),
            },
        }
    }

    /// Maps the line if its schema is known.
    fn known<T>(&mut self, map: &mut impl FnMut(&mut LogLine) -> T) -> Parsed<T> {
        match schema(&self.line) {
            SCHEMA => Parsed::Line(map(&mut self.line)),
            schema => Parsed::Unknown(schema),
        }
    }
}

/// What lines of any schema have, in any order.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    schema: u32,
    timestamp: Option<IgnoredAny>,
}

impl<'a> Head<'a> {
    fn of(text: &'a str) -> Option<Self> {
        // Most JSON of other programs is not read a second time.
        if text.contains(r#""schema""#) { serde_json::from_str(text).ok() } else { None }
    }

    fn is_whole(&self) -> bool {
        self.timestamp.is_some() && is_ours(format!(r#"{{"type":"{}""#, self.kind).as_bytes())
    }
}

fn schema(line: &Line) -> u32 {
    match line {
        Line::Request(line) => line.schema,
        Line::Stage(line) => line.schema,
        Line::Transfer(line) => line.schema,
        Line::Summary(line) => line.schema,
        Line::Open(line) => line.schema,
    }
}
