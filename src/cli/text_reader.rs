//! The text of a line, read from its beginning: keys, texts, numbers and lists as the layer writes them. Each
//! method takes what it reads off the text, and returns `None` if something else stands there.

use crate::{FieldValue, Fields, Millis};

/// How many digits a number has at most.
const DIGITS: usize = 15;
/// Below this many nanoseconds, which is 26 days, `serde_json` reads milliseconds to the exact nanosecond.
/// Longer times are left to it.
const EXACT_NANOS: u64 = 1 << 51;

/// The rest of a line, which has not been read yet.
pub(crate) struct Text<'a>(&'a [u8]);

impl<'a> Text<'a> {
    pub(super) fn of(line: &'a [u8]) -> Self {
        Self(line)
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> Text<'a> {
    // Inlined, so that a key is compared as the words it consists of.
    #[inline(always)]
    pub(crate) fn literal(&mut self, literal: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(literal.as_bytes())?;
        Some(())
    }

    #[inline(always)]
    pub(super) fn after<T>(&mut self, key: &str, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        self.literal(key)?;
        read(self)
    }

    /// The value of a key that may be absent; the outer `None` says that it can't be read.
    #[inline(always)]
    pub(super) fn if_there<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<Option<T>> {
        match self.literal(key) {
            Some(()) => read(self).map(Some),
            None => Some(None),
        }
    }

    /// Reads a list over another one, whose elements keep the memory that they own.
    pub(super) fn list<T: Default>(
        &mut self,
        list: &mut Vec<T>,
        read: impl Fn(&mut Self, &mut T) -> Option<()>,
    ) -> Option<()> {
        self.literal("[")?;
        let mut length = 0;
        if self.literal("]").is_none() {
            loop {
                if length == list.len() {
                    list.push(T::default());
                }
                read(self, list.get_mut(length)?)?;
                length += 1;
                if self.literal(",").is_none() {
                    self.literal("]")?;
                    break;
                }
            }
        }
        list.truncate(length);
        Some(())
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        let inside = self.0.strip_prefix(b"\"")?;
        let end = inside.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..b' '))?;
        let (text, rest) = inside.split_at(end);
        self.0 = rest.strip_prefix(b"\"")?;
        str::from_utf8(text).ok()
    }

    /// The number that the next digits are, and how many digits there are.
    #[inline]
    fn digits(&mut self) -> Option<(u64, usize)> {
        let mut number = 0;
        let mut length = 0;
        for byte in self.0 {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 || length > DIGITS {
                break;
            }
            number = number * 10 + u64::from(digit);
            length += 1;
        }
        self.0 = self.0.get(length..)?;
        (1..=DIGITS).contains(&length).then_some((number, length))
    }

    pub(crate) fn number(&mut self) -> Option<u64> {
        let begins_with_zero = self.0.first() == Some(&b'0');
        let (number, length) = self.digits()?;
        (length == 1 || !begins_with_zero).then_some(number)
    }

    /// Milliseconds with one to six decimals, as whole nanoseconds.
    pub(crate) fn time(&mut self) -> Option<Millis> {
        const SCALE: [u64; 7] = [1_000_000, 100_000, 10_000, 1_000, 100, 10, 1];
        let millis = self.number()?;
        self.literal(".")?;
        let (decimals, length) = self.digits()?;
        let nanos = millis.checked_mul(1_000_000)?.checked_add(decimals * SCALE.get(length)?)?;
        (nanos < EXACT_NANOS).then_some(Millis::from_nanos(nanos))
    }

    /// The `fields` of a row, which `serde_json` reads if they are not all texts.
    pub(crate) fn fields(&mut self, fields: &mut Fields) -> Option<()> {
        if self.literal(r#","fields":"#).is_none() {
            if !fields.is_empty() {
                fields.clear();
            }
            return Some(());
        }
        let json = self.0;
        let mut length = self.texts(fields);
        if length.is_some_and(|length| length != fields.len()) {
            // Names of the line before are among them.
            fields.clear();
            self.0 = json;
            length = self.texts(fields);
        }
        if length != Some(fields.len()) {
            let mut values = serde_json::Deserializer::from_slice(json).into_iter();
            *fields = values.next()?.ok()?;
            self.0 = json.get(values.byte_offset()..)?;
        }
        Some(())
    }

    /// Fields that are all texts, over fields with the same names, which mostly are those of the line before;
    /// and how many there are.
    fn texts(&mut self, fields: &mut Fields) -> Option<usize> {
        self.literal("{")?;
        let mut length = 0;
        loop {
            let name = self.text()?;
            self.literal(":")?;
            let text = self.text()?;
            match fields.get_mut(name) {
                Some(FieldValue::Text(known)) => {
                    known.clear();
                    known.push_str(text);
                }
                _ => drop(fields.insert(name.to_owned().into(), FieldValue::Text(text.to_owned()))),
            }
            length += 1;
            if self.literal(",").is_none() {
                break;
            }
        }
        self.literal("}")?;
        Some(length)
    }

    pub(crate) fn decimal(&mut self) -> Option<f64> {
        let end = self.0.iter().position(|byte| !matches!(byte, b'0'..=b'9' | b'.'))?;
        let (number, rest) = self.0.split_at(end);
        self.0 = rest;
        serde_json::from_slice(number).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_time_up_to_the_limit_reads_the_same() {
        let steps = (0..200_000_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 13);
        for nanos in steps.chain((1..51).flat_map(|power| [(1 << power) - 1, 1 << power, (1 << power) + 1])) {
            let nanos = Millis::from_nanos(nanos % EXACT_NANOS);
            let text = nanos.to_string();
            assert_eq!(Text::of(text.as_bytes()).time(), Some(nanos));
            assert_eq!(serde_json::from_str::<Millis>(&text).unwrap(), nanos);
        }
    }
}
