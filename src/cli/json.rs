//! JSON that a terminal can show.

use std::io;

use serde::Serialize;

use super::failure::Result;
use crate::model::json::is_unsafe;

/// Writes a value as a line, every control character of its texts escaped.
pub(super) fn write(out: &mut impl io::Write, value: &impl Serialize) -> Result<()> {
    let json = serde_json::to_string(value).map_err(io::Error::from)?;
    Ok(writeln!(out, "{}", escaped(json))?)
}

/// JSON with every control character escaped: they stand in texts only.
pub(super) fn escaped(json: String) -> String {
    if !json.contains(is_unsafe) {
        return json;
    }
    let mut text = String::with_capacity(json.len() * 2);
    for c in json.chars() {
        match is_unsafe(c) {
            true => text.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => text.push(c),
        }
    }
    text
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
            let line = out.strip_suffix('\n').unwrap();
            prop_assert!(!line.contains(is_unsafe));
            prop_assert_eq!(serde_json::from_str::<String>(line).unwrap(), text);
        }
    }
}
