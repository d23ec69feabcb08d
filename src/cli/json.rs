//! JSON that a terminal can show.

use std::io;

use serde::Serialize;
use serde_json::{Serializer, ser::Formatter};

use super::Result;
use crate::json::is_unsafe;

/// Writes a value on one line, every control character of its texts escaped.
pub(super) fn write(out: &mut impl io::Write, value: &impl Serialize) -> Result<()> {
    let mut serializer = Serializer::with_formatter(out, Escaping);
    Ok(value.serialize(&mut serializer).map_err(io::Error::from)?)
}

/// JSON asks for the escape of few characters; this escapes as the layer does.
struct Escaping;

impl Formatter for Escaping {
    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| is_unsafe(*c)) {
            let (before, from) = rest.split_at(at);
            out.write_all(before.as_bytes())?;
            write!(out, "\\u{:04x}", u32::from(c))?;
            rest = from.get(c.len_utf8()..).unwrap_or_default();
        }
        out.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_reads_back_and_no_control_character_is_raw(
            text in "[\\x00-\\x1f\\x7f-\\x9f\u{61c}\u{200e}\u{200f}\u{2028}-\u{202e}\u{2066}-\u{2069}a\"]*",
        ) {
            let mut out = Vec::new();
            write(&mut out, &text).unwrap();
            let out = String::from_utf8(out).unwrap();
            prop_assert!(!out.contains(is_unsafe));
            prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
        }
    }
}
