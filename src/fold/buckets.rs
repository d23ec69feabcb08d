//! The buckets of a histogram: their number is fixed, and so is their relative width.

/// How many buckets an octave is divided into. A value lies within half a bucket of its bucket's middle, so
/// the relative error of a percentile is below 1 / 128.
const BUCKETS: usize = 64;

/// The number of octaves. Whole numbers below [`BUCKETS`] have a bucket each; each power of two above has an
/// octave.
const OCTAVES: usize = 59;

/// The buckets of one histogram.
pub(crate) const SIZE: usize = OCTAVES * BUCKETS;

/// The index of a value's bucket: its highest seven bits, and how many bits are below them.
pub(crate) fn place(value: u64) -> usize {
    let below = 57 - (value | (2 * BUCKETS as u64 - 1)).leading_zeros() as usize;
    below * BUCKETS + (value >> below) as usize
}

/// The least value of the bucket at an index.
pub(crate) fn least(place: usize) -> u64 {
    let (octave, bucket) = (place / BUCKETS, place % BUCKETS);
    match octave.checked_sub(1) {
        None => bucket as u64,
        // The end of the last bucket is beyond all values.
        Some(shift) => ((BUCKETS + bucket) as u64).saturating_mul(1 << shift),
    }
}

/// The middle of the bucket at an index.
pub(crate) fn middle(place: usize) -> u64 {
    let shift = (place / BUCKETS).saturating_sub(1);
    least(place) + ((1 << shift) - 1) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_a_bucket_and_lies_near_its_middle() {
        let powers = (0..64).map(|power| 1_u64 << power);
        let around = powers.flat_map(|power| [power - 1, power, power + power / 3, power + (power - 1)]);
        assert_eq!(least(SIZE), u64::MAX);
        for value in around.chain(0..1000).chain([u64::MAX]) {
            let place = place(value);
            assert!(least(place) <= value && value <= least(place + 1), "{value}");
            assert!(place < SIZE, "{value}");
            assert!(middle(place).abs_diff(value) as f64 <= value as f64 / 128.0, "{value}");
        }
    }
}
