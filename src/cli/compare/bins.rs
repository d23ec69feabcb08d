//! A histogram that only takes memory where it has values.

use crate::fold::buckets::{SIZE, least, place};

/// How many bins are allocated at once. They span one doubling of the value.
const CHUNK: usize = 64;

/// Values and their sum, by the bins of the layer's own histograms, which are at most 1/64 wide.
#[derive(Debug, Clone, Default)]
pub(super) struct Bins {
    /// Lines with a value, whatever their weight.
    pub(super) lines: u64,
    /// The sum of the weights.
    pub(super) count: u64,
    pub(super) sum: u128,
    range: Option<(u64, u64)>,
    chunks: Vec<Option<Box<[u64; CHUNK]>>>,
}

impl Bins {
    pub(super) fn add(&mut self, value: u64, weight: u64) {
        self.lines += 1;
        self.count = self.count.saturating_add(weight);
        self.sum = self.sum.saturating_add(u128::from(value) * u128::from(weight));
        self.widen((value, value));
        self.count_in(place(value), weight);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.lines += other.lines;
        self.count = self.count.saturating_add(other.count);
        self.sum = self.sum.saturating_add(other.sum);
        other.range.into_iter().for_each(|range| self.widen(range));
        other.filled().for_each(|(place, count)| self.count_in(place, count));
    }

    /// The bins with values, in order.
    pub(super) fn filled(&self) -> impl Iterator<Item = (usize, u64)> {
        let chunks = self.chunks.iter().enumerate().filter_map(|(at, chunk)| Some((at, chunk.as_ref()?)));
        let bins = chunks.flat_map(|(at, chunk)| {
            chunk.iter().enumerate().map(move |(bin, count)| (at * CHUNK + bin, *count))
        });
        bins.filter(|(_, count)| *count > 0)
    }

    /// The smallest and the largest value.
    pub(super) fn range(&self) -> Option<(u64, u64)> {
        self.range
    }

    fn widen(&mut self, (least, most): (u64, u64)) {
        let (low, high) = self.range.unwrap_or((least, most));
        self.range = Some((low.min(least), high.max(most)));
    }

    fn count_in(&mut self, place: usize, weight: u64) {
        if self.chunks.is_empty() {
            self.chunks.resize(SIZE / CHUNK, None);
        }
        let Some(chunk) = self.chunks.get_mut(place / CHUNK) else { return };
        let chunk = chunk.get_or_insert_with(|| Box::new([0; CHUNK]));
        if let Some(count) = chunk.get_mut(place % CHUNK) {
            *count = count.saturating_add(weight);
        }
    }
}

/// How many values several histograms have up to each bin. If a histogram counts several times, quantiles of
/// the sum of all come from a few of these numbers.
#[derive(Debug)]
pub(super) struct Cumulated {
    /// The bins that any of the histograms has, in order.
    places: Vec<usize>,
    histograms: usize,
    /// For each bin, the sums of all histograms.
    sums: Vec<f64>,
    range: (u64, u64),
}

impl Cumulated {
    /// `None` if there are no values.
    pub(super) fn new(histograms: &[Option<&Bins>]) -> Option<Self> {
        let mut whole = Bins::default();
        histograms.iter().flatten().for_each(|bins| whole.merge(bins));
        let range = whole.range()?;
        let places: Vec<_> = whole.filled().map(|(place, _)| place).collect();
        let mut sums = vec![0.0; places.len() * histograms.len()];
        for (at, bins) in histograms.iter().enumerate() {
            let (mut sum, mut filled) = (0.0, bins.iter().flat_map(|bins| bins.filled()).peekable());
            for (place, sums) in places.iter().zip(sums.chunks_mut(histograms.len())) {
                if let Some((_, count)) = filled.next_if(|(filled, _)| filled == place) {
                    sum += count as f64;
                }
                sums.get_mut(at).into_iter().for_each(|found| *found = sum);
            }
        }
        Some(Self { places, histograms: histograms.len(), sums, range })
    }

    /// The values at these ranks, which are shares of the whole, if each histogram is multiplied by its entry
    /// in `times`.
    /// Values are taken to be spread evenly over the whole numbers of their bin, so that a quantile moves
    /// smoothly with counts, and is 0 among zeros.
    pub(super) fn quantiles(&self, times: &[f64], ranks: &[f64]) -> Option<Vec<f64>> {
        let whole = self.sum(self.places.len(), times);
        if whole <= 0.0 {
            return None;
        }
        let (low, high) = self.range;
        let quantile = |rank: &f64| {
            let wanted = rank * whole;
            let at = self.first(wanted, times);
            let (place, below) = (*self.places.get(at)?, self.sum(at, times));
            let count = self.sum(at + 1, times) - below;
            let (start, end) = (least(place) as f64, (least(place + 1) - 1) as f64);
            let value = start + (end - start) * ((wanted - below) / count).clamp(0.0, 1.0);
            Some(value.clamp(low as f64, high as f64))
        };
        ranks.iter().map(quantile).collect()
    }

    /// The first bin up to which there are as many values as wanted.
    fn first(&self, wanted: f64, times: &[f64]) -> usize {
        let (mut low, mut high) = (0, self.places.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.sum(middle + 1, times) < wanted {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// How many values the first `bins` bins have.
    fn sum(&self, bins: usize, times: &[f64]) -> f64 {
        let Some(last) = bins.checked_sub(1) else { return 0.0 };
        let sums = self.sums.get(last * self.histograms..).unwrap_or_default();
        sums.iter().zip(times).map(|(sum, times)| sum * times).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bins(values: &[u64]) -> Bins {
        let mut bins = Bins::default();
        values.iter().for_each(|value| bins.add(*value, 1));
        bins
    }

    fn quantile(bins: &Bins, rank: f64) -> Option<f64> {
        Cumulated::new(&[Some(bins)])?.quantiles(&[1.0], &[rank])?.pop()
    }

    #[test]
    fn equal_values_are_exact_and_no_values_have_no_quantile() {
        assert_eq!(quantile(&bins(&[400_000_123; 7]), 0.99), Some(400_000_123.0));
        assert_eq!(quantile(&bins(&[0, 0, 0]), 0.5), Some(0.0));
        assert_eq!(quantile(&bins(&[0, 0, 0, 1_000]), 0.5), Some(0.0), "a longer time does not lift it");
        assert_eq!(quantile(&Bins::default(), 0.5), None);
        let one = bins(&[5]);
        let cumulated = Cumulated::new(&[Some(&one), None]).unwrap();
        assert_eq!(cumulated.quantiles(&[0.0, 1.0], &[0.5]), None, "none of the values counts");
    }

    proptest! {
        #[test]
        fn quantiles_are_near_the_exact_ones_and_parts_merge_to_the_whole(
            values in prop::collection::vec(prop_oneof![0_u64..100, 1_000_u64..100_000_000_000], 1..300),
            cut in any::<prop::sample::Index>(),
        ) {
            let whole = bins(&values);
            let (one, other) = values.split_at(cut.index(values.len()));
            let (mut merged, other) = (bins(one), bins(other));
            merged.merge(&other);
            prop_assert!(merged.filled().eq(whole.filled()));
            prop_assert_eq!((merged.lines, merged.count, merged.sum, merged.range()),
                (whole.lines, whole.count, whole.sum, whole.range()));
            let cumulated = Cumulated::new(&[Some(&bins(one)), None, Some(&other)]).unwrap();
            let ranks = [0.01, 0.5, 0.99];
            let tripled = bins(&[one, one, one, &values[one.len()..]].concat());
            prop_assert_eq!(cumulated.quantiles(&[3.0, 7.0, 1.0], &ranks),
                ranks.iter().map(|rank| quantile(&tripled, *rank)).collect::<Option<Vec<_>>>());
            let mut sorted = values.clone();
            sorted.sort_unstable();
            for rank in [0.5, 0.9, 0.99] {
                let exact = sorted[((sorted.len() as f64 * rank).ceil() as usize).max(1) - 1] as f64;
                let found = quantile(&whole, rank).unwrap();
                prop_assert!((found - exact).abs() <= exact / 64.0 + 1.0, "{rank}: {found} {exact}");
            }
        }
    }
}
