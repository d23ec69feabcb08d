//! Formats numbers, which are the largest part of a line: three digits at once, from a table.

use crate::model::cursor::Cursor;

/// The digits of each number below a thousand, the first in the lowest byte. With 1,024 places, no index has
/// to be checked.
static TRIPLES: [u32; 1024] = {
    let mut triples = [0; 1024];
    let mut number = 0;
    while number < 1000 {
        #[allow(clippy::indexing_slicing, reason = "computed by the compiler, which checks the place")]
        let triple = &mut triples[number as usize];
        *triple = (number / 100) | ((number / 10 % 10) << 8) | ((number % 10) << 16);
        number += 1;
    }
    triples
};
const ZEROS: u64 = 0x3030_3030_3030_3030;

/// The digits of a number below a thousand.
#[inline(always)]
fn triple(number: u64) -> u64 {
    TRIPLES.get(number as usize % TRIPLES.len()).copied().unwrap_or_default().into()
}

/// The six digits of a number below a million.
#[inline(always)]
fn six_digits(number: u64) -> u64 {
    triple(number / 1000) | triple(number % 1000) << 24
}

/// How many zeros a number below a thousand has before its first digit, if it has three digits.
#[inline(always)]
fn leading_zeros(number: u64) -> usize {
    usize::from(number < 100) + usize::from(number < 10)
}

/// Appends an integer.
#[inline]
pub(crate) fn push_number(out: Cursor<'_>, number: u64) -> Cursor<'_> {
    if number >= 1000 {
        return push_large(out, number);
    }
    let leading = leading_zeros(number);
    let text = (triple(number) | ZEROS) as u32 >> (8 * leading);
    out.put(text.to_le_bytes(), 3 - leading)
}

#[inline(never)]
fn push_large(out: Cursor<'_>, number: u64) -> Cursor<'_> {
    let (millions, rest) = (number / 1_000_000, number % 1_000_000);
    let text = six_digits(rest) | ZEROS;
    if millions > 0 {
        return push_number(out, millions).put(text.to_le_bytes(), 6);
    }
    let leading = leading_zeros(rest / 1000);
    out.put((text >> (8 * leading)).to_le_bytes(), 6 - leading)
}

/// Appends a number of millionths as a decimal with one to six decimals: `12.0` or `0.000125`.
pub(crate) fn push_millionths(out: Cursor<'_>, millionths: u64) -> Cursor<'_> {
    let (whole, millionths) = (millionths / 1_000_000, millionths % 1_000_000);
    if whole < 1000 {
        push_decimal(out, whole, leading_zeros(whole), millionths)
    } else {
        push_long(out, whole, millionths)
    }
}

#[inline(never)]
fn push_long(out: Cursor<'_>, whole: u64, millionths: u64) -> Cursor<'_> {
    push_decimal(push_number(out, whole / 1000), whole % 1000, 0, millionths)
}

/// Appends three digits without the first of them, a point, and up to six decimals.
#[inline(always)]
fn push_decimal(out: Cursor<'_>, whole: u64, without: usize, millionths: u64) -> Cursor<'_> {
    let digits = six_digits(millionths);
    // The first decimal is always written.
    let decimals = 8 - (digits | 1).leading_zeros() as usize / 8;
    let whole = triple(whole) | ZEROS & 0xff_ffff | u64::from(b'.') << 24;
    let text = (u128::from(whole) | u128::from(digits | ZEROS) << 32) >> (8 * without);
    out.put(text.to_le_bytes(), 4 - without + decimals)
}

/// The text of a number below a hundred, with two digits.
pub(crate) fn two(number: u64) -> [u8; 2] {
    let [_, tens, ones, ..] = (triple(number) | ZEROS).to_le_bytes();
    [tens, ones]
}

/// The text of a number below a million, with six digits.
pub(crate) fn six(number: u64) -> [u8; 6] {
    let [a, b, c, d, e, f, ..] = (six_digits(number) | ZEROS).to_le_bytes();
    [a, b, c, d, e, f]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::line_buffer::text;

    #[test]
    fn any_integer_is_written_like_its_decimal() {
        let powers = (0..20).map(|power| 10_u64.pow(power));
        let around = powers.flat_map(|power| [power - 1, power, power + 1, power / 7 * 3]);
        let steps = (0..101_000_000).step_by(997);
        for number in around.chain(steps).chain(0..20_000).chain([u64::MAX]) {
            assert_eq!(text(|out| push_number(out, number)), number.to_string());
        }
    }

    #[test]
    fn any_fraction_has_one_to_six_decimals() {
        let wholes = [0, 7, 10, 99_999_999, 100_000_000, u64::MAX / 1_000_000 - 1];
        for (millionths, whole) in (0..1_000_000).zip(wholes.iter().cycle()) {
            let written = text(|out| push_millionths(out, *whole * 1_000_000 + millionths));
            let digits = format!("{millionths:06}");
            let trimmed = digits.trim_end_matches('0');
            let expected = if trimmed.is_empty() { "0" } else { trimmed };
            assert_eq!(written, format!("{whole}.{expected}"));
        }
    }
}
