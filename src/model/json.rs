//! One JSON object under construction.
//!
//! The line of a request with three stages took 0.4 µs of the request's 2.2 µs.

use crate::{
    FieldValue, Fields, Millis, Timestamp,
    model::{
        cursor::Cursor,
        digits::{push_millionths, push_number},
        rows::Value,
    },
};

/// A line under construction. Keys are literals, with their punctuation, and need no escaping,
/// except those of [`fields`](Self::fields).
#[must_use]
pub(crate) struct Json<'a>(pub(crate) Cursor<'a>);

impl<'a> Json<'a> {
    // Inlined, here and below, so that the length of a literal is a constant where it is copied.
    #[inline(always)]
    pub(crate) fn raw(self, piece: &'static str) -> Self {
        Self(self.0.push(piece.as_bytes()))
    }

    #[inline(always)]
    pub(crate) fn number(self, key: &'static str, number: u64) -> Self {
        Self(push_number(self.raw(key).0, number))
    }

    #[inline(always)]
    pub(crate) fn time(self, key: &'static str, time: Millis) -> Self {
        Self(time.push_to(self.raw(key).0))
    }

    /// A member whose key is there without a value as well.
    #[inline(always)]
    pub(crate) fn always(self, key: &'static str, value: Option<Value<'_>>) -> Self {
        match value {
            Some(Value::Count(count)) => self.number(key, count),
            Some(Value::Time(time)) => self.time(key, time),
            Some(Value::Ratio(ratio)) => self.decimal(key, ratio),
            Some(Value::Text(text)) => self.text(key, text),
            None => self.raw(key).raw("null"),
        }
    }

    /// A member that is left out without a value.
    #[inline(always)]
    pub(crate) fn if_some(self, key: &'static str, value: Option<Value<'_>>) -> Self {
        if value.is_some() { self.always(key, value) } else { self }
    }

    #[inline(always)]
    pub(crate) fn decimal(self, key: &'static str, number: f64) -> Self {
        Self(write_decimal(self.raw(key).0, number))
    }

    pub(crate) fn timestamp(self, key: &'static str, timestamp: Timestamp) -> Self {
        Self(timestamp.push_to(self.raw(key).raw("\"").0)).raw("\"")
    }

    #[inline(always)]
    pub(crate) fn text(self, key: &'static str, text: &str) -> Self {
        Self(write_text(self.raw(key).0, text))
    }

    #[inline(always)]
    pub(crate) fn text_if_some(self, key: &'static str, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.text(key, text),
            None => self,
        }
    }

    #[inline(always)]
    pub(crate) fn list<T>(
        self,
        key: &'static str,
        elements: impl Iterator<Item = T>,
        write: impl Fn(Self, T) -> Self,
    ) -> Self {
        let mut json = self.raw(key).raw("[");
        for (at, element) in elements.enumerate() {
            if at > 0 {
                json = json.raw(",");
            }
            json = write(json, element);
        }
        json.raw("]")
    }

    #[inline]
    pub(crate) fn fields(self, fields: &Fields) -> Self {
        if fields.is_empty() { self } else { self.raw(",\"fields\":").object(fields) }
    }

    #[inline]
    fn object(self, members: &Fields) -> Self {
        let mut json = self.raw("{");
        for (at, (name, value)) in members.iter().enumerate() {
            if at > 0 {
                json = json.raw(",");
            }
            json = json.text("", name).raw(":").value(value);
        }
        json.raw("}")
    }

    fn value(self, value: &FieldValue) -> Self {
        match value {
            FieldValue::Text(text) => self.text("", text),
            FieldValue::List(values) => self.list("", values.iter(), |json, value| json.value(value)),
            FieldValue::Object(members) => self.object(members),
            value => Self(self.0.format(format_args!("{value}"))),
        }
    }

    #[inline]
    pub(crate) fn warnings(self, warnings: &[String]) -> Self {
        if warnings.is_empty() {
            return self;
        }
        self.list(",\"warnings\":", warnings.iter(), |json, warning| json.text("", warning))
    }
}

/// Writes a number from zero up with at most six decimals.
fn write_decimal(out: Cursor<'_>, number: f64) -> Cursor<'_> {
    if number < 1e12 {
        push_millionths(out, (number * 1e6).round() as u64)
    } else {
        out.format(format_args!("{number:?}"))
    }
}

/// Writes a JSON string. It also escapes all characters that a terminal could interpret as a command, or that
/// could reorder or split the line on a screen.
fn write_text<'a>(out: Cursor<'a>, text: &str) -> Cursor<'a> {
    let out = out.put(*b"\"", 1);
    let out = if text.bytes().all(|byte| PLAIN.get(usize::from(byte)) == Some(&true)) {
        out.push(text.as_bytes())
    } else {
        text.chars().fold(out, write_char)
    };
    out.put(*b"\"", 1)
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

fn write_char(out: Cursor<'_>, c: char) -> Cursor<'_> {
    match c {
        '"' => out.push(b"\\\""),
        '\\' => out.push(b"\\\\"),
        '\n' => out.push(b"\\n"),
        '\r' => out.push(b"\\r"),
        '\t' => out.push(b"\\t"),
        c if is_unsafe(c) => out.format(format_args!("\\u{:04x}", u32::from(c))),
        c => out.push(c.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// Control characters (C0, DEL, C1), line and paragraph separators, bidirectional controls. All of them are
/// in the basic plane, so one escape with four digits is enough.
pub(crate) fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}')
        || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::line_buffer::text as written;

    proptest! {
        #[test]
        fn any_text_reads_back_and_no_control_character_is_raw(text in any::<String>()) {
            let out = written(|out| write_text(out, &text));
            prop_assert!(!out.chars().any(is_unsafe));
            prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
        }
    }

    #[test]
    fn a_field_of_any_kind_reads_back_and_no_control_character_is_raw() {
        let fields = r#"{"a":[1,{"b\u001b":"\u202e"}],"c":null,"d":{},"e":[]}"#;
        let read: Fields = serde_json::from_str(fields).unwrap();
        assert_eq!(written(|out| Json(out).fields(&read).0), format!(",\"fields\":{fields}"));
    }

    #[test]
    fn a_decimal_of_any_size_reads_back() {
        for number in [0.0, 0.000_001, 125.959, 999_999_999_999.999_9, 1e12, 1.5e15, 1.8e28] {
            let read: f64 = written(|out| Json(out).decimal("", number).0).parse().unwrap();
            assert!((read - number).abs() <= 5e-7_f64.max(number * 1e-15), "{number} {read}");
        }
    }

    #[test]
    fn every_control_character_is_escaped() {
        for c in (0..=0x9f).chain(0x2028..=0x202e).chain(0x2066..=0x2069).filter_map(char::from_u32) {
            let out = written(|out| write_text(out, &c.to_string()));
            assert!(!out.chars().any(is_unsafe), "{c:?}");
            assert_eq!(serde_json::from_str::<String>(&out).unwrap(), c.to_string());
        }
    }
}
