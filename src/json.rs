//! Writes a line as JSON: keys in the documented order, times as fixed-point numbers, all control characters
//! escaped.

use std::io::{self, Write};

#[cfg(feature = "tables")]
use crate::RequestLine;
use crate::{
    FieldValue, Millis, Timestamp,
    digits::{push_fixed, push_number},
    numbers::{Table, Value},
    tables::{Detached, E2eTable, Fields, Line, OverallSummary, SCHEMA, StageRow, SummaryLine, TransferRow},
};

/// A key with its comma and its colon in one literal, which is copied with one or two stores.
macro_rules! key {
    ($name:literal) => {
        concat!(",\"", $name, "\":")
    };
}

/// The parts of a request's line.
pub(crate) struct RequestParts<'a> {
    pub(crate) timestamp: Timestamp,
    pub(crate) request_id: &'a str,
    pub(crate) summary: &'a OverallSummary,
    pub(crate) e2e: &'a E2eTable,
    pub(crate) trace_id: Option<&'a str>,
    pub(crate) span_id: Option<&'a str>,
    pub(crate) fields: &'a Fields,
    pub(crate) warnings: &'a [String],
}

#[cfg(feature = "cli")]
impl<'a> RequestParts<'a> {
    /// The parts of a line that was read.
    pub(crate) fn of(line: &'a RequestLine) -> Self {
        Self {
            timestamp: line.timestamp,
            request_id: &line.request_id,
            summary: &line.overall_summary,
            e2e: &line.e2e_table,
            trace_id: line.trace_id.as_deref(),
            span_id: line.span_id.as_deref(),
            fields: &line.fields,
            warnings: &line.warnings,
        }
    }
}

impl RequestParts<'_> {
    /// The line as it would be read back.
    #[cfg(feature = "tables")]
    pub(crate) fn to_line<'a>(
        &self,
        stages: impl Iterator<Item = &'a StageRow>,
        transfers: impl Iterator<Item = &'a TransferRow>,
    ) -> RequestLine {
        RequestLine {
            schema: SCHEMA,
            timestamp: self.timestamp,
            request_id: self.request_id.to_owned(),
            overall_summary: self.summary.clone(),
            e2e_table: self.e2e.clone(),
            stage_table: stages.cloned().collect(),
            transfer_table: transfers.cloned().collect(),
            trace_id: self.trace_id.map(str::to_owned),
            span_id: self.span_id.map(str::to_owned),
            fields: self.fields.clone(),
            warnings: self.warnings.to_vec(),
        }
    }
}

/// Appends the line of a request.
pub(crate) fn write_request<'a>(
    out: &mut Vec<u8>,
    request: &RequestParts<'_>,
    stages: impl Iterator<Item = &'a StageRow>,
    transfers: impl Iterator<Item = &'a TransferRow>,
) {
    let mut json = Json(out);
    json.raw("{\"type\":\"request\"");
    json.number(key!("schema"), SCHEMA.into());
    json.timestamp(key!("timestamp"), request.timestamp);
    json.text(key!("request_id"), request.request_id);
    json.raw(key!("overall_summary"));
    summary(&mut json, request.summary);
    json.raw(key!("e2e_table"));
    request.e2e.write(&mut json, "{\"e2e_total_ms\":");
    json.raw("}");
    json.list(key!("stage_table"), stages, |json, row| {
        row.write(json, "{\"stage_id\":");
        json.fields(&row.fields);
        json.raw("}");
    });
    json.list(key!("transfer_table"), transfers, |json, row| {
        row.write(json, "{\"from_stage\":");
        json.fields(&row.fields);
        json.raw("}");
    });
    json.text_if_some(key!("trace_id"), request.trace_id);
    json.text_if_some(key!("span_id"), request.span_id);
    json.fields(request.fields);
    json.warnings(request.warnings);
    json.raw("}\n");
}

/// Appends the summary line.
pub(crate) fn write_summary(out: &mut Vec<u8>, line: SummaryLine) {
    // Writing numbers and strings into a `Vec` can't fail.
    infallible(serde_json::to_writer(&mut *out, &Line::Summary(line)).map_err(io::Error::from));
    out.push(b'\n');
}

/// Appends the line of a detached stage.
pub(crate) fn write_stage(out: &mut Vec<u8>, line: &Detached<StageRow>) {
    write_detached(out, "{\"type\":\"stage\"", line, |json, row| {
        row.write(json, key!("stage_id"));
        json.fields(&row.fields);
    });
}

/// Appends the line of a detached transfer.
pub(crate) fn write_transfer(out: &mut Vec<u8>, line: &Detached<TransferRow>) {
    write_detached(out, "{\"type\":\"transfer\"", line, |json, row| {
        row.write(json, key!("from_stage"));
        json.fields(&row.fields);
    });
}

fn write_detached<Row>(
    out: &mut Vec<u8>,
    opening: &'static str,
    line: &Detached<Row>,
    members: impl FnOnce(&mut Json<'_>, &Row),
) {
    let mut json = Json(out);
    json.raw(opening);
    json.number(key!("schema"), line.schema.into());
    json.timestamp(key!("timestamp"), line.timestamp);
    match &line.request_id {
        Some(id) => json.text(key!("request_id"), id),
        None => json.raw(",\"request_id\":null"),
    }
    members(&mut json, &line.row);
    json.text_if_some(key!("trace_id"), line.trace_id.as_deref());
    json.text_if_some(key!("span_id"), line.span_id.as_deref());
    json.warnings(&line.warnings);
    json.raw("}\n");
}

fn summary(json: &mut Json<'_>, summary: &OverallSummary) {
    json.number("{\"e2e_requests\":", summary.e2e_requests);
    json.time(key!("e2e_wall_time_ms"), summary.e2e_wall_time_ms);
    json.number(key!("e2e_total_tokens"), summary.e2e_total_tokens);
    json.time(key!("e2e_avg_time_per_request_ms"), summary.e2e_avg_time_per_request_ms);
    json.decimal(key!("e2e_avg_tokens_per_s"), summary.e2e_avg_tokens_per_s);
    json.list(key!("stage_wall_time_ms"), summary.stage_wall_time_ms.iter(), |json, wall| {
        json.time("", *wall);
    });
    json.raw("}");
}

/// A line under construction. Keys are literals, with their punctuation, and need no escaping,
/// except those of [`fields`](Self::fields).
pub(crate) struct Json<'a>(pub(crate) &'a mut Vec<u8>);

impl Json<'_> {
    // Inlined, here and below, so that the length of a literal is a constant where it is copied.
    #[inline(always)]
    fn raw(&mut self, piece: &'static str) {
        self.0.extend_from_slice(piece.as_bytes());
    }

    #[inline(always)]
    fn number(&mut self, key: &'static str, number: u64) {
        self.raw(key);
        push_number(self.0, number);
    }

    #[inline(always)]
    fn time(&mut self, key: &'static str, time: Millis) {
        self.raw(key);
        time.push_to(self.0);
    }

    /// A member whose key is there without a value as well.
    #[inline(always)]
    pub(crate) fn always(&mut self, key: &'static str, value: Option<Value<'_>>) {
        self.raw(key);
        match value {
            Some(Value::Count(count)) => push_number(self.0, count),
            Some(Value::Time(time)) => time.push_to(self.0),
            Some(Value::Text(text)) => write_text(self.0, text),
            None => self.raw("null"),
        }
    }

    /// A member that is left out without a value.
    #[inline(always)]
    pub(crate) fn if_some(&mut self, key: &'static str, value: Option<Value<'_>>) {
        if value.is_some() {
            self.always(key, value);
        }
    }

    fn decimal(&mut self, key: &'static str, number: f64) {
        self.raw(key);
        if number < 1e12 {
            let millionths = (number * 1e6).round() as u64;
            push_fixed(self.0, millionths / 1_000_000, millionths % 1_000_000);
        } else {
            infallible(write!(self.0, "{number:?}"));
        }
    }

    fn timestamp(&mut self, key: &'static str, timestamp: Timestamp) {
        self.raw(key);
        self.raw("\"");
        timestamp.push_to(self.0);
        self.raw("\"");
    }

    #[inline(always)]
    fn text(&mut self, key: &'static str, text: &str) {
        self.raw(key);
        write_text(self.0, text);
    }

    #[inline(always)]
    fn text_if_some(&mut self, key: &'static str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(key, text);
        }
    }

    #[inline(always)]
    fn list<T>(
        &mut self,
        key: &'static str,
        elements: impl Iterator<Item = T>,
        write: impl Fn(&mut Json<'_>, T),
    ) {
        self.raw(key);
        self.raw("[");
        for (at, element) in elements.enumerate() {
            if at > 0 {
                self.raw(",");
            }
            write(self, element);
        }
        self.raw("]");
    }

    #[inline]
    fn fields(&mut self, fields: &Fields) {
        if fields.is_empty() {
            return;
        }
        let mut before = ",\"fields\":{";
        for (name, value) in fields {
            self.raw(before);
            before = ",";
            write_text(self.0, name);
            self.raw(":");
            match value {
                FieldValue::Text(text) => write_text(self.0, text),
                value => infallible(write!(self.0, "{value}")),
            }
        }
        self.raw("}");
    }

    #[inline]
    fn warnings(&mut self, warnings: &[String]) {
        if !warnings.is_empty() {
            self.list(key!("warnings"), warnings.iter(), |json, warning| write_text(json.0, warning));
        }
    }
}

/// Writes a JSON string. It also escapes all characters that a terminal could interpret as a command, or that
/// could reorder or split the line on a screen.
fn write_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    if text.bytes().all(|byte| PLAIN.get(usize::from(byte)) == Some(&true)) {
        out.extend_from_slice(text.as_bytes());
    } else {
        text.chars().for_each(|c| write_char(out, c));
    }
    out.push(b'"');
}

/// Whether each byte is printable ASCII that needs no escape. A table takes two thirds of the instructions of
/// comparisons.
#[allow(clippy::indexing_slicing, reason = "every byte has a place in the table")]
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = b' ';
    while byte <= b'~' {
        plain[byte as usize] = byte != b'"' && byte != b'\\';
        byte += 1;
    }
    plain
};

fn write_char(out: &mut Vec<u8>, c: char) {
    match c {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        c if is_unsafe(c) => infallible(write!(out, "\\u{:04x}", u32::from(c))),
        c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// Control characters (C0, DEL, C1), line and paragraph separators, bidirectional controls. All of them are
/// in the basic plane, so one escape with four digits is enough.
pub(crate) fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Writing to a `Vec` can't fail.
fn infallible(_: io::Result<()>) {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_reads_back_and_no_control_character_is_raw(text in any::<String>()) {
            let mut out = Vec::new();
            write_text(&mut out, &text);
            let out = String::from_utf8(out).unwrap();
            prop_assert!(!out.chars().any(is_unsafe));
            prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
        }
    }

    #[test]
    fn a_decimal_of_any_size_reads_back() {
        for number in [0.0, 0.000_001, 125.959, 999_999_999_999.999_9, 1e12, 1.5e15, 1.8e28] {
            let mut out = Vec::new();
            Json(&mut out).decimal("", number);
            let read: f64 = serde_json::from_slice(&out).unwrap();
            assert!((read - number).abs() <= 5e-7_f64.max(number * 1e-15), "{number} {read}");
        }
    }

    #[test]
    fn every_control_character_is_escaped() {
        for c in (0..=0x9f).chain(0x2028..=0x202e).chain(0x2066..=0x2069).filter_map(char::from_u32) {
            let mut out = Vec::new();
            write_text(&mut out, &c.to_string());
            let out = String::from_utf8(out).unwrap();
            assert!(!out.chars().any(is_unsafe), "{c:?}");
            assert_eq!(serde_json::from_str::<String>(&out).unwrap(), c.to_string());
        }
    }
}
