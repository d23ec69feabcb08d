//! Bins of the end-to-end latency, and which of them hold the slowest requests.
//!
//! All bins are equally wide on a logarithmic axis, so that requests spread evenly over it have a flat
//! distribution.

use crate::Millis;

/// How many bins a doubling of the latency has. A bin is 3 % wide.
pub(super) const BINS: u32 = 24;
/// How many fine bins a bin has. A fine bin is less than 1 % wide.
const FINE: u32 = 3;

/// The fine bin of a latency. Zero has no logarithm, and shares the bin of a nanosecond.
pub(super) fn fine_bin(latency: Millis) -> u32 {
    ((latency.as_nanos().max(1) as f64).log2() * f64::from(BINS * FINE)) as u32
}

/// The bin that a fine bin is in.
pub(super) fn bin_of(fine_bin: u32) -> u32 {
    fine_bin / FINE
}

/// The bin of a latency.
pub(super) fn bin(latency: Millis) -> u32 {
    bin_of(fine_bin(latency))
}

/// Where a bin begins, in nanoseconds.
pub(super) fn start(bin: u32) -> f64 {
    (f64::from(bin) / f64::from(BINS)).exp2()
}

/// Where the bins of the slowest requests begin: whole bins, from the last one on, until they have at least
/// this share of the requests. `None` if the share is less than one request.
///
/// The bins come from the last to the first, each with the number of its requests.
pub(super) fn slowest(percent: f64, requests: u64, bins: impl Iterator<Item = (u32, u64)>) -> Option<u32> {
    let wanted = requests as f64 * percent / 100.0;
    let mut slower = 0_u64;
    let mut found = bins.skip_while(|(_, requests)| {
        slower = slower.saturating_add(*requests);
        (slower as f64) < wanted
    });
    found.next().filter(|_| wanted >= 1.0).map(|(bin, _)| bin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_are_whole_bins_with_at_least_their_share() {
        let bins = || [(9, 1), (7, 2), (4, 97)].into_iter();
        let found = [1.0, 1.5, 3.0, 3.1, 50.0, 0.9].map(|percent| slowest(percent, 100, bins()));
        assert_eq!(found, [Some(9), Some(7), Some(7), Some(4), Some(4), None]);
        // The bins of one latency may come one by one.
        assert_eq!(slowest(2.0, 100, [(9, 1), (9, 1), (7, 98)].into_iter()), Some(9));
    }

    #[test]
    fn a_latency_lies_in_its_bin() {
        for nanos in [0, 1, 2, 3, 999, 1_000_000, 94_150_123, u64::MAX] {
            let (bin, nanos) = (bin(Millis::from_nanos(nanos)), nanos.max(1) as f64);
            assert!(start(bin) <= nanos * 1.000_001 && nanos <= start(bin + 1) * 1.000_001, "{nanos}");
        }
    }
}
