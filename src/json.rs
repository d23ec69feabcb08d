//! A line as JSON: keys in the documented order, times as fixed-point text, and no control
//! character of a span's text left raw.

use std::io::{self, Write};

use crate::{
    FieldValue, Millis, Timestamp,
    millis::push_decimal,
    tables::{
        DetachedStage, DetachedTransfer, E2eTable, Fields, Line, OverallSummary, StageRow, TransferRow,
    },
};

/// Appends the line and its line feed.
pub(crate) fn write_line(out: &mut Vec<u8>, line: &Line) {
    let mut json = Object::open(out);
    match line {
        Line::Request(request) => {
            json.text("type", "request");
            json.number("schema", request.schema.into());
            json.timestamp("timestamp", request.timestamp);
            json.text("request_id", &request.request_id);
            json.object("overall_summary", |json| summary(json, &request.overall_summary));
            json.object("e2e_table", |json| e2e(json, &request.e2e_table));
            json.list("stage_table", &request.stage_table, stage);
            json.list("transfer_table", &request.transfer_table, transfer);
            json.fields(&request.fields);
            json.warnings(&request.warnings);
        }
        Line::Stage(DetachedStage { schema, timestamp, request_id, row, warnings }) => {
            json.text("type", "stage");
            json.number("schema", (*schema).into());
            json.timestamp("timestamp", *timestamp);
            json.optional_text("request_id", request_id.as_deref());
            stage(&mut json, row);
            json.warnings(warnings);
        }
        Line::Transfer(DetachedTransfer { schema, timestamp, request_id, row, warnings }) => {
            json.text("type", "transfer");
            json.number("schema", (*schema).into());
            json.timestamp("timestamp", *timestamp);
            json.optional_text("request_id", request_id.as_deref());
            transfer(&mut json, row);
            json.warnings(warnings);
        }
    }
    json.close();
    out.push(b'\n');
}

fn summary(json: &mut Object<'_>, summary: &OverallSummary) {
    json.number("e2e_requests", summary.e2e_requests);
    json.time("e2e_wall_time_ms", summary.e2e_wall_time_ms);
    json.number("e2e_total_tokens", summary.e2e_total_tokens);
    json.time("e2e_avg_time_per_request_ms", summary.e2e_avg_time_per_request_ms);
    json.decimal("e2e_avg_tokens_per_s", summary.e2e_avg_tokens_per_s);
    json.key("stage_wall_time_ms");
    json.elements(&summary.stage_wall_time_ms, |out, wall| wall.push_to(out));
}

fn e2e(json: &mut Object<'_>, table: &E2eTable) {
    json.time("e2e_total_ms", table.e2e_total_ms);
    json.number("e2e_total_tokens", table.e2e_total_tokens);
    json.time("transfers_total_time_ms", table.transfers_total_time_ms);
    json.number("transfers_total_bytes", table.transfers_total_bytes);
    json.optional_time("queue_time_ms", table.queue_time_ms);
    json.time("unattributed_time_ms", table.unattributed_time_ms);
    json.text_if_some("finish_reason", table.finish_reason.as_deref());
}

fn stage(json: &mut Object<'_>, row: &StageRow) {
    json.optional_number("stage_id", row.stage_id);
    json.optional_number("batch_id", row.batch_id);
    json.optional_number("batch_size", row.batch_size);
    json.optional_number("num_tokens_in", row.num_tokens_in);
    json.optional_number("num_tokens_out", row.num_tokens_out);
    json.optional_time("preprocess_time_ms", row.preprocess_time_ms);
    json.optional_time("stage_gen_time_ms", row.stage_gen_time_ms);
    json.text_if_some("stage_name", row.stage_name.as_deref());
    json.optional_time("busy_time_ms", row.busy_time_ms);
    json.optional_time("queue_time_ms", row.queue_time_ms);
    json.optional_time("start_ms", row.start_ms);
    json.time_if_some("wall_time_ms", row.wall_time_ms);
    json.time_if_some("first_output_ms", row.first_output_ms);
    json.time_if_some("time_per_output_token_ms", row.time_per_output_token_ms);
    json.number("events", row.events);
    json.fields(&row.fields);
}

fn transfer(json: &mut Object<'_>, row: &TransferRow) {
    json.optional_number("from_stage", row.from_stage);
    json.optional_number("to_stage", row.to_stage);
    json.optional_number("size_bytes", row.size_bytes);
    json.optional_time("tx_time_ms", row.tx_time_ms);
    json.optional_time("rx_decode_time_ms", row.rx_decode_time_ms);
    json.optional_time("in_flight_time_ms", row.in_flight_time_ms);
    json.time("total_time_ms", row.total_time_ms);
    json.optional_time("start_ms", row.start_ms);
    json.time_if_some("wall_time_ms", row.wall_time_ms);
    json.number("events", row.events);
    json.fields(&row.fields);
}

/// A JSON object under construction. Keys are literals of this file, which need no escape, but for
/// those of [`fields`](Self::fields).
struct Object<'a> {
    out: &'a mut Vec<u8>,
    is_empty: bool,
}

impl<'a> Object<'a> {
    fn open(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, is_empty: true }
    }

    fn close(self) {
        self.out.push(b'}');
    }

    // Inlined, here and below, so that the copy of a literal's bytes is a store or two and no call.
    #[inline(always)]
    fn key(&mut self, key: &str) {
        self.separate();
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn separate(&mut self) {
        if !std::mem::take(&mut self.is_empty) {
            self.out.push(b',');
        }
    }

    #[inline(always)]
    fn null(&mut self, key: &str) {
        self.key(key);
        self.out.extend_from_slice(b"null");
    }

    #[inline(always)]
    fn number(&mut self, key: &str, number: u64) {
        self.key(key);
        self.out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }

    #[inline(always)]
    fn optional_number(&mut self, key: &str, number: Option<u64>) {
        match number {
            Some(number) => self.number(key, number),
            None => self.null(key),
        }
    }

    #[inline(always)]
    fn time(&mut self, key: &str, time: Millis) {
        self.key(key);
        time.push_to(self.out);
    }

    #[inline(always)]
    fn optional_time(&mut self, key: &str, time: Option<Millis>) {
        match time {
            Some(time) => self.time(key, time),
            None => self.null(key),
        }
    }

    #[inline(always)]
    fn time_if_some(&mut self, key: &str, time: Option<Millis>) {
        if let Some(time) = time {
            self.time(key, time);
        }
    }

    #[inline(always)]
    fn decimal(&mut self, key: &str, number: f64) {
        self.key(key);
        push_decimal(self.out, (number * 1e6).round() as u128);
    }

    fn timestamp(&mut self, key: &str, timestamp: Timestamp) {
        self.key(key);
        self.out.push(b'"');
        timestamp.push_to(self.out);
        self.out.push(b'"');
    }

    #[inline(always)]
    fn text(&mut self, key: &str, text: &str) {
        self.key(key);
        write_text(self.out, text);
    }

    #[inline(always)]
    fn optional_text(&mut self, key: &str, text: Option<&str>) {
        match text {
            Some(text) => self.text(key, text),
            None => self.null(key),
        }
    }

    #[inline(always)]
    fn text_if_some(&mut self, key: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(key, text);
        }
    }

    fn object(&mut self, key: &str, members: impl FnOnce(&mut Object<'_>)) {
        self.key(key);
        let mut object = Object::open(self.out);
        members(&mut object);
        object.close();
    }

    fn list<Row>(&mut self, key: &str, rows: &[Row], members: impl Fn(&mut Object<'_>, &Row)) {
        self.key(key);
        self.elements(rows, |out, row| {
            let mut object = Object::open(out);
            members(&mut object, row);
            object.close();
        });
    }

    fn elements<T>(&mut self, elements: &[T], write: impl Fn(&mut Vec<u8>, &T)) {
        self.out.push(b'[');
        for (at, element) in elements.iter().enumerate() {
            if at > 0 {
                self.out.push(b',');
            }
            write(self.out, element);
        }
        self.out.push(b']');
    }

    fn fields(&mut self, fields: &Fields) {
        if fields.is_empty() {
            return;
        }
        self.object("fields", |json| {
            for (name, value) in fields {
                json.separate();
                write_text(json.out, name);
                json.out.push(b':');
                match value {
                    FieldValue::Text(text) => write_text(json.out, text),
                    value => infallible(write!(json.out, "{value}")),
                }
            }
        });
    }

    fn warnings(&mut self, warnings: &[String]) {
        if !warnings.is_empty() {
            self.key("warnings");
            self.elements(warnings, |out, warning| write_text(out, warning));
        }
    }
}

/// Writes a JSON string. Beyond what JSON asks for, it escapes everything that a terminal could
/// take for a command or that could reorder or split the line on a screen.
fn write_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    if text.bytes().all(is_plain) {
        out.extend_from_slice(text.as_bytes());
    } else {
        text.chars().for_each(|c| write_char(out, c));
    }
    out.push(b'"');
}

/// Printable ASCII that stands for itself.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

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

/// Control characters (C0, DEL, C1), line and paragraph separators, bidirectional controls. All of
/// them lie in the basic plane, so one escape of four digits does.
fn is_unsafe(c: char) -> bool {
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
