//! The name of a group: the value of the key, as every output shows it.

use std::{borrow::Cow, cmp::Ordering, fmt, slice};

use crate::{FieldValue, model::value::prefix, write::columns::is_hidden};

/// The group of the lines that lack the key, and that of the keys that are not told apart.
const ABSENT: &str = "none";
pub(in crate::cli) const REST: &str = "others";
/// How much of a name a table shows, in bytes.
const SHOWN: usize = 60;

/// The name of a group. Numbers come before texts.
///
/// Different values have different names: a text that would read as another kind of value has quotes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::cli) enum Name {
    Absent,
    Bool(bool),
    Number(Number),
    /// With quotes, if it needs them.
    Text(String),
    /// The values of several keys.
    Several(Vec<Name>),
}

/// A number. An integer and a decimal number of the same value are equal.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct Number {
    nearest: f64,
    /// Tells integers apart that have the same nearest decimal number.
    whole: i128,
}

impl Name {
    /// The name of a value that is always a text.
    pub(super) fn of_text(text: &str) -> Self {
        let is_special = text.is_empty() || text == ABSENT || text == REST || text.starts_with('"');
        let is_trimmed = text.trim().len() == text.len();
        Self::quoted_if(is_special || !is_trimmed || text.contains(is_hidden), text)
    }

    /// The name of a value that may be of another kind than text.
    pub(super) fn of_value(value: &FieldValue) -> Self {
        match value {
            FieldValue::Bool(value) => Self::Bool(*value),
            FieldValue::Unsigned(number) => (*number).into(),
            FieldValue::Signed(number) => Self::Number(Number::whole((*number).into())),
            FieldValue::Float(number) => Self::Number(Number::decimal(*number)),
            FieldValue::Text(text) => match text.as_str() {
                "true" | "false" => Self::quoted_if(true, text),
                text if text.starts_with(['[', '{']) || text.parse::<f64>().is_ok() => {
                    Self::quoted_if(true, text)
                }
                text => Self::of_text(text),
            },
            FieldValue::Null => Self::Absent,
            list_or_object => Self::Text(escaped(&list_or_object.to_string())),
        }
    }

    /// The values of the keys, each on its own.
    pub(super) fn parts(&self) -> &[Self] {
        match self {
            Self::Several(names) => names,
            name => slice::from_ref(name),
        }
    }

    fn quoted_if(is_quoted: bool, text: &str) -> Self {
        Self::Text(match is_quoted {
            true => escaped(&serde_json::Value::from(text).to_string()),
            false => text.to_owned(),
        })
    }
}

impl From<u64> for Name {
    fn from(number: u64) -> Self {
        Self::Number(Number::whole(number.into()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str(ABSENT),
            Self::Bool(value) => value.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => f.write_str(text),
            Self::Several(names) => {
                f.write_str(&names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
            }
        }
    }
}

impl Number {
    fn whole(whole: i128) -> Self {
        Self { nearest: whole as f64, whole }
    }

    fn decimal(number: f64) -> Self {
        // The sum of a negative zero and zero is zero.
        Self { nearest: number + 0.0, whole: number as i128 }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { nearest, whole } = self;
        if *whole as f64 == *nearest { whole.fmt(f) } else { fmt::Debug::fmt(nearest, f) }
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nearest.total_cmp(&other.nearest).then(self.whole.cmp(&other.whole))
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Number {}

/// JSON whose texts have an escape for each hidden character.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        match is_hidden(c) {
            true => {
                c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| text.push_str(&format!("\\u{unit:04x}")))
            }
            false => text.push(c),
        }
    }
    text
}

/// The name of a group in a table. Of a long one, the beginning, and eight digits (FNV-1a) that tell it from
/// others with the same beginning.
pub(in crate::cli) fn shortened(name: &str) -> Cow<'_, str> {
    if name.len() <= SHOWN {
        return Cow::Borrowed(name);
    }
    let hash =
        name.bytes().fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    Cow::Owned(format!("{}…{hash:08x}", prefix(name, SHOWN)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn different_values_have_different_names_and_equal_ones_one() {
        let texts = [
            "", "0", "1", "-1", "1.0", "0.5", "1e300", "true", "false", "none", "others", "null", "a", " a",
            "a ", "a\n", "a\\n", "\"a\"", "\"1\"", "\"\"", "\u{1b}", "\\u001b", "NaN", "[1]", "{}",
        ];
        let texts = texts.map(|text| FieldValue::Text(text.to_owned()));
        let numbers = [-1.0, -0.0, 0.5, 1.0, 1e300].map(FieldValue::Float);
        let integers = [-1_i64, 0, 1].map(FieldValue::from);
        let json = ["[1]", "[\"1\"]", "{}", "{\"a\":\"\\u001b\"}"];
        let json = json.map(|json| serde_json::from_str(json).unwrap());
        let values = [true, false].map(FieldValue::Bool).into_iter().chain(texts).chain(json);
        let values = values.chain(numbers).chain(integers);
        let values: Vec<_> = values.collect();
        let number = |value: &FieldValue| match value {
            FieldValue::Unsigned(number) => Some(*number as f64),
            FieldValue::Signed(number) => Some(*number as f64),
            FieldValue::Float(number) => Some(*number),
            _ => None,
        };
        for (one, other) in values.iter().flat_map(|one| values.iter().map(move |other| (one, other))) {
            let is_same = one == other || number(one).is_some() && number(one) == number(other);
            let names = [one, other].map(Name::of_value);
            assert_eq!(names[0] == names[1], is_same, "{names:?}");
            let shown = names.map(|name| name.to_string());
            assert_eq!(shown[0] == shown[1], is_same, "{shown:?}");
            let is_plain = |name: &String| name != ABSENT && name != REST && !name.contains(is_hidden);
            assert!(shown.iter().all(is_plain), "{shown:?}");
        }
    }

    #[test]
    fn names_that_differ_in_what_cannot_be_seen_look_different() {
        for hidden in "\u{200b}\u{200d}\u{feff}\u{ad}\u{2060}\u{fe0f}\u{3164}\u{a0}\u{202e}\u{e0101}".chars()
        {
            let shown = Name::of_text(&format!("a{hidden}b")).to_string();
            assert!(shown.starts_with("\"a\\u") && shown.is_ascii(), "{shown}");
            assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), format!("a{hidden}b"));
        }
        for visible in ["modèle", "mode\u{300}le", "模型", "हिन्दी", "😀", "a – b"] {
            assert_eq!(Name::of_text(visible).to_string(), visible);
        }
        assert!(('\0'..=char::MAX).all(|c| is_hidden(c) || !crate::model::json::is_unsafe(c)));
    }

    #[test]
    fn numbers_are_in_order_and_keep_their_digits() {
        let numbers = [-1.5, -1.0, 0.5, 9_007_199_254_740_992.0, 1e300].map(FieldValue::Float);
        let more = [9_007_199_254_740_993, 2].map(FieldValue::Unsigned);
        let names: BTreeSet<_> = numbers.iter().chain(&more).map(Name::of_value).collect();
        let shown: Vec<_> = names.iter().map(Name::to_string).collect();
        assert_eq!(shown, ["-1.5", "-1", "0.5", "2", "9007199254740992", "9007199254740993", "1e300"]);
    }

    #[test]
    fn long_names_are_short_in_tables_and_differ_still() {
        assert_eq!(shortened(&"x".repeat(60)), "x".repeat(60));
        let [one, other] = ["1", "2"].map(|end| shortened(&("é".repeat(1 << 20) + end)).into_owned());
        assert!(one != other && one.starts_with(&("é".repeat(30) + "…")) && one.len() < 80, "{one}");
    }
}
