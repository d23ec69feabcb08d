//! One recorded value: its type, its limit, and how it is read as a number.

use std::fmt;

use serde_core::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, SeqAccess, Visitor},
};

use crate::{Fields, Millis};

/// The longest text that is kept of a value, in bytes.
pub(crate) const TEXT_LIMIT: usize = 1024;

/// The value of a further field, with the type with which it was recorded.
///
/// Numbers that JSON readers would round or refuse (integers of more than 64 bits, NaN, infinities) are kept
/// as text. The layer records the first five kinds. A log may have the others if another program has changed
/// its lines.
///
/// ```
/// use omni_metrics::{FieldValue, Fields};
///
/// let fields: Fields = serde_json::from_str(r#"{"model":"m","cache_hits":3,"score":-0.5}"#)?;
/// assert_eq!(fields["model"], FieldValue::Text("m".to_owned()));
/// assert_eq!(fields["cache_hits"], FieldValue::Unsigned(3));
/// assert_eq!(fields["score"].to_string(), "-0.5");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum FieldValue {
    /// A truth value.
    Bool(bool),
    /// An integer from zero up.
    Unsigned(u64),
    /// An integer below zero.
    Signed(i64),
    /// A finite number.
    Float(f64),
    /// Text, or anything recorded through `Display` or `Debug`.
    Text(String),
    /// `null` of JSON.
    Null,
    /// A list of JSON. Its [`Display`](fmt::Display) is JSON, as that of an object.
    List(Box<[Self]>),
    /// An object of JSON.
    Object(Box<Fields>),
}

impl From<u64> for FieldValue {
    fn from(value: u64) -> Self {
        Self::Unsigned(value)
    }
}

impl From<i64> for FieldValue {
    fn from(value: i64) -> Self {
        u64::try_from(value).map_or(Self::Signed(value), Self::Unsigned)
    }
}

impl From<f64> for FieldValue {
    fn from(value: f64) -> Self {
        if value.is_finite() { Self::Float(value) } else { Self::Text(value.to_string()) }
    }
}

impl fmt::Display for FieldValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Unsigned(value) => value.fmt(f),
            Self::Signed(value) => value.fmt(f),
            Self::Float(value) => fmt::Debug::fmt(value, f),
            Self::Text(value) => value.fmt(f),
            Self::Null | Self::List(_) | Self::Object(_) => {
                f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
            }
        }
    }
}

impl Serialize for FieldValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Unsigned(value) => serializer.serialize_u64(*value),
            Self::Signed(value) => serializer.serialize_i64(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Text(value) => serializer.serialize_str(value),
            Self::Null => serializer.serialize_unit(),
            Self::List(values) => serializer.collect_seq(values),
            Self::Object(members) => members.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for FieldValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = FieldValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value of JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<FieldValue, E> {
        Ok(FieldValue::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<FieldValue, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<FieldValue, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<FieldValue, E> {
        Ok(FieldValue::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<FieldValue, E> {
        Ok(FieldValue::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<FieldValue, E> {
        Ok(FieldValue::Text(value))
    }

    fn visit_unit<E>(self) -> Result<FieldValue, E> {
        Ok(FieldValue::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<FieldValue, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(FieldValue::List(values.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FieldValue, A::Error> {
        let mut members = Fields::new();
        while let Some((name, value)) = map.next_entry()? {
            members.insert(name, value);
        }
        Ok(FieldValue::Object(Box::new(members)))
    }
}

/// Why a value can't be used.
pub(crate) type Unusable = &'static str;

const NOT_A_NUMBER: Unusable = "it is not a number";
const NEGATIVE: Unusable = "it is negative";
const FRACTION: Unusable = "it is not a whole number";
const OUT_OF_RANGE: Unusable = "it is out of range";

impl FieldValue {
    /// The value as a count or an id.
    pub(crate) fn to_count(&self) -> Result<u64, Unusable> {
        match self {
            Self::Unsigned(value) => Ok(*value),
            Self::Signed(_) => Err(NEGATIVE),
            Self::Float(value) => count_of_float(*value),
            Self::Bool(_) | Self::Null | Self::List(_) | Self::Object(_) => Err(NOT_A_NUMBER),
            Self::Text(text) => {
                let text = plain(text);
                text.parse().or_else(|_| count_of_float(float_of_text(text)?))
            }
        }
    }

    /// The value as a number of its own type.
    pub(crate) fn to_number(&self) -> Result<Self, Unusable> {
        match self {
            Self::Unsigned(_) | Self::Signed(_) | Self::Float(_) => Ok(self.clone()),
            Self::Bool(_) | Self::Null | Self::List(_) | Self::Object(_) => Err(NOT_A_NUMBER),
            Self::Text(text) => {
                let text = plain(text);
                let integer = text.parse().map(Self::Unsigned).or_else(|_| text.parse().map(Self::Signed));
                integer.or_else(|_| float_of_text(text).map(Self::Float))
            }
        }
    }

    pub(crate) fn is_number(&self) -> bool {
        matches!(self, Self::Unsigned(_) | Self::Signed(_) | Self::Float(_))
    }

    /// The sum of two numbers. The sum of two integers is an integer and saturates.
    pub(crate) fn plus(&self, other: &Self) -> Self {
        match (self.integer(), other.integer()) {
            (Some(one), Some(other)) => {
                let sum = one.saturating_add(other);
                match (u64::try_from(sum), i64::try_from(sum)) {
                    (Ok(sum), _) => Self::Unsigned(sum),
                    (_, Ok(sum)) => Self::Signed(sum),
                    _ if sum > 0 => Self::Unsigned(u64::MAX),
                    _ => Self::Signed(i64::MIN),
                }
            }
            _ => Self::Float((self.float() + other.float()).clamp(f64::MIN, f64::MAX)),
        }
    }

    fn integer(&self) -> Option<i128> {
        match self {
            Self::Unsigned(value) => Some((*value).into()),
            Self::Signed(value) => Some((*value).into()),
            _ => None,
        }
    }

    /// The value as a float; 0 if it is no number.
    fn float(&self) -> f64 {
        match self {
            Self::Unsigned(value) => *value as f64,
            Self::Signed(value) => *value as f64,
            Self::Float(value) => *value,
            _ => 0.0,
        }
    }

    /// The value, in milliseconds, as nanoseconds.
    pub(crate) fn to_nanos(&self) -> Result<u64, Unusable> {
        let millis = match self {
            // Computed with integers, so that a Unix time in milliseconds keeps its last digits.
            Self::Unsigned(value) => return value.checked_mul(1_000_000).ok_or(OUT_OF_RANGE),
            Self::Signed(_) => return Err(NEGATIVE),
            Self::Float(value) => *value,
            Self::Bool(_) | Self::Null | Self::List(_) | Self::Object(_) => return Err(NOT_A_NUMBER),
            Self::Text(text) => float_of_text(plain(text))?,
        };
        if millis < 0.0 {
            return Err(NEGATIVE);
        }
        Millis::from_f64(millis).map(Millis::as_nanos).ok_or(OUT_OF_RANGE)
    }
}

/// The text of a number, without the `Some(..)` and the quotes that `Debug` adds.
pub(crate) fn plain(text: &str) -> &str {
    unquoted(unwrapped(text.trim()))
}

/// `inner` of `Some(inner)`, or the text itself.
pub(crate) fn unwrapped(text: &str) -> &str {
    text.strip_prefix("Some(").and_then(|rest| rest.strip_suffix(')')).unwrap_or(text)
}

/// The text without one pair of quotes around it.
pub(crate) fn unquoted(text: &str) -> &str {
    text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text)
}

fn float_of_text(text: &str) -> Result<f64, Unusable> {
    let number = text.parse::<f64>().map_err(|_| NOT_A_NUMBER)?;
    if number.is_finite() {
        Ok(number)
    } else if text.bytes().any(|b| b.is_ascii_digit()) {
        Err(OUT_OF_RANGE)
    } else {
        // The parser accepts `inf` and `nan` as numbers.
        Err(NOT_A_NUMBER)
    }
}

fn count_of_float(value: f64) -> Result<u64, Unusable> {
    if value < 0.0 {
        Err(NEGATIVE)
    } else if value.fract() != 0.0 {
        Err(FRACTION)
    } else if value >= u64::MAX as f64 {
        Err(OUT_OF_RANGE)
    } else {
        Ok(value as u64)
    }
}

/// The longest prefix of `text` that fits into `limit` bytes.
pub(crate) fn prefix(text: &str, limit: usize) -> &str {
    let end = (0..=limit.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0)).unwrap_or(text)
}

/// The text of a value, up to [`TEXT_LIMIT`]; the flag says that it was cut there.
pub(crate) fn text_of(value: impl fmt::Display) -> (String, bool) {
    let mut out = Bounded { text: String::new(), is_cut: false };
    // A formatting error ends the text, as the limit does.
    let _ = fmt::write(&mut out, format_args!("{value}"));
    (out.text, out.is_cut)
}

struct Bounded {
    text: String,
    is_cut: bool,
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        if self.is_cut {
            return Err(fmt::Error);
        }
        let room = TEXT_LIMIT - self.text.len();
        self.text.push_str(prefix(piece, room));
        if piece.len() > room {
            self.is_cut = true;
            // Ends the formatting, however much there is of it.
            return Err(fmt::Error);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_any_kind_of_json_reads_back() {
        for json in ["null", "[]", "{}", r#"[1,-1,0.5,"a",true,null,[{}]]"#, r#"{"a":{"b":[null]},"c":1}"#] {
            let value: FieldValue = serde_json::from_str(json).unwrap();
            assert_eq!(value.to_string(), json);
            assert_eq!(value.to_count(), Err(NOT_A_NUMBER));
        }
        // The layer keeps values for each span.
        assert_eq!(size_of::<FieldValue>(), size_of::<String>());
    }

    fn text(text: &str) -> FieldValue {
        FieldValue::Text(text.to_owned())
    }

    #[test]
    fn a_count_is_read_from_every_form_a_number_takes() {
        for value in [
            FieldValue::Unsigned(42),
            FieldValue::Float(42.0),
            text("42"),
            text("Some(42)"),
            text("\"42\""),
            text("Some(\"42\")"),
            text("42.0"),
            text("4.2e1"),
            text(" 42 "),
        ] {
            assert_eq!(value.to_count(), Ok(42), "{value:?}");
        }
        assert_eq!(text("18446744073709551615").to_count(), Ok(u64::MAX));
    }

    #[test]
    fn what_is_no_count_says_why() {
        for (value, why) in [
            (FieldValue::from(-1_i64), NEGATIVE),
            (text("-1"), NEGATIVE),
            (FieldValue::Float(1.5), FRACTION),
            (FieldValue::from(f64::NAN), NOT_A_NUMBER),
            (FieldValue::from(f64::INFINITY), NOT_A_NUMBER),
            (FieldValue::Bool(true), NOT_A_NUMBER),
            (text("None"), NOT_A_NUMBER),
            (text("many"), NOT_A_NUMBER),
            (text(""), NOT_A_NUMBER),
            (text("18446744073709551616"), OUT_OF_RANGE),
            (text("1e999"), OUT_OF_RANGE),
        ] {
            assert_eq!(value.to_count(), Err(why), "{value:?}");
        }
    }

    #[test]
    fn times_keep_their_nanoseconds() {
        assert_eq!(FieldValue::Float(9910.007).to_nanos(), Ok(9_910_007_000));
        assert_eq!(text("Some(0.000001)").to_nanos(), Ok(1));
        assert_eq!(FieldValue::Unsigned(1_769_860_800_123).to_nanos(), Ok(1_769_860_800_123_000_000));
        assert_eq!(FieldValue::Float(-0.5).to_nanos(), Err(NEGATIVE));
        assert_eq!(FieldValue::Float(1e300).to_nanos(), Err(OUT_OF_RANGE));
        assert_eq!(FieldValue::Unsigned(u64::MAX).to_nanos(), Err(OUT_OF_RANGE));
    }

    #[test]
    fn text_is_cut_on_a_character_boundary() {
        let (kept, is_cut) = text_of("é".repeat(TEXT_LIMIT));
        assert_eq!((kept.len(), is_cut), (TEXT_LIMIT, true));
        let (kept, is_cut) = text_of(format!("x{}", "é".repeat(TEXT_LIMIT)));
        assert_eq!((kept.len(), is_cut), (TEXT_LIMIT - 1, true));
        assert!(!text_of("é".repeat(TEXT_LIMIT / 2)).1);
    }
}
