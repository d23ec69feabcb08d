//! Numbers as text, the largest part of a line: eight digits at once, without a loop or a branch for
//! each, and copied as one word. It halves what a number costs.

/// The numbers that have eight digits.
const LIMIT: u64 = 100_000_000;
const ZEROS: u64 = 0x3030_3030_3030_3030;

/// Appends an integer.
#[inline]
pub(crate) fn push_number(out: &mut Vec<u8>, number: u64) {
    if number >= LIMIT {
        out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
        return;
    }
    let digits = eight_digits(number);
    // The last digit stays, whatever it is.
    let leading = (digits | 1 << 56).trailing_zeros() / 8;
    let text = (digits | ZEROS) >> (8 * leading);
    out.extend_from_slice(&text.to_le_bytes());
    out.truncate(out.len() - leading as usize);
}

/// Appends `millionths / 10^6`, where the quotient is less than one, with its point and one to six
/// decimals: `.0` or `.000125`.
#[inline]
pub(crate) fn push_fraction(out: &mut Vec<u8>, millionths: u64) {
    let digits = eight_digits(millionths * 100);
    // The first decimal stays, whatever it is.
    let trailing = (digits | 1).leading_zeros() / 8;
    let text = (digits | ZEROS) << 8 | u64::from(b'.');
    out.extend_from_slice(&text.to_le_bytes());
    // The point took the place of the last of the eight.
    out.truncate(out.len() + 1 - trailing as usize);
}

/// The decimal digits of a number of at most eight, the first in the lowest byte. Halves, quarters and
/// digits are split off in all lanes at once; a division is a multiplication that is exact for what a
/// lane can hold.
#[inline]
const fn eight_digits(number: u64) -> u64 {
    let halves = (number / 10_000) | ((number % 10_000) << 32);
    let hundreds = ((halves * 10_486) >> 20) & 0x7f_0000_007f;
    let pairs = hundreds | (halves - 100 * hundreds) << 16;
    let tens = ((pairs * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | (pairs - 10 * tens) << 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_integer_is_written_like_its_decimal() {
        let powers = (0..20).map(|power| 10_u64.pow(power));
        let around = powers.flat_map(|power| [power - 1, power, power + 1, power / 7 * 3]);
        let steps = (0..LIMIT + 1_000_000).step_by(997);
        for number in around.chain(steps).chain(0..20_000).chain([u64::MAX]) {
            let mut out = b"x".to_vec();
            push_number(&mut out, number);
            assert_eq!(String::from_utf8(out).unwrap(), format!("x{number}"));
        }
    }

    #[test]
    fn any_fraction_has_one_to_six_decimals() {
        for millionths in 0..1_000_000 {
            let mut out = b"7".to_vec();
            push_fraction(&mut out, millionths);
            let digits = format!("{millionths:06}");
            let trimmed = digits.trim_end_matches('0');
            let expected = if trimmed.is_empty() { "0" } else { trimmed };
            assert_eq!(out, format!("7.{expected}").as_bytes());
        }
    }
}
