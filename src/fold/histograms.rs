//! Histograms of the requests' numbers, in constant memory.
//!
//! Adding a value to `hdrhistogram` took 2.5 times as long, to a DDSketch 10 times. A request adds thirty
//! values.

use crate::{
    Distribution, E2eTable, Millis, Percentiles, StagePercentiles, StageRow, TransferPercentiles,
    TransferRow,
    fold::{
        buckets::{SIZE, middle, place},
        gaps::Gaps,
        smallest_ids::{Found, LIMIT, SmallestIds},
    },
    model::id::{OrderedId, unordered},
};

/// A histogram of whole numbers, with their sum and maximum; adding a value is three stores.
#[derive(Debug, Clone, Copy)]
struct Histogram<'a> {
    counts: &'a [u64],
    exact: Exact,
}

/// The values of a histogram that are known exactly.
#[derive(Debug, Clone, Copy, Default)]
struct Exact {
    sum: u128,
    max: u64,
}

impl Exact {
    fn add(&mut self, other: Self) {
        self.sum += other.sum;
        self.max = self.max.max(other.max);
    }
}

impl Histogram<'_> {
    /// The value that `permille` of a thousand values do not exceed.
    fn permille(self, count: u64, permille: u64) -> u64 {
        self.at_rank((u128::from(count) * u128::from(permille)).div_ceil(1000))
    }

    /// The value that `rank` values, or one, do not exceed.
    fn at_rank(self, rank: u128) -> u64 {
        let (mut below, rank) = (0, rank.max(1));
        let place = self.counts.iter().position(|count| {
            below += u128::from(*count);
            below >= rank
        });
        place.map_or(0, middle)
    }

    /// `None` if there are no values.
    fn distribution<T>(self, unit: impl Fn(u64) -> T) -> Option<Distribution<T>> {
        let Exact { sum, max } = self.exact;
        let count: u64 = self.counts.iter().sum();
        let mean = (sum + u128::from(count / 2)).checked_div(count.into())? as u64;
        let permille = |permille| unit(self.permille(count, permille).min(max));
        Some(Distribution {
            count,
            mean: unit(mean),
            p50: permille(500),
            p90: permille(900),
            p99: permille(990),
            p999: permille(999),
            max: unit(max),
        })
    }

    fn times(self) -> Option<Distribution<Millis>> {
        self.distribution(Millis::from_nanos)
    }
}

/// What a distribution is of.
#[cfg(feature = "cli")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    Request,
    Stage(Option<u64>),
    Edge(Option<u64>, Option<u64>),
}

/// The values of a number at chosen ranks, in its own unit.
#[cfg(feature = "cli")]
#[derive(Debug)]
pub(crate) struct Quantiles {
    pub(crate) whose: Whose,
    pub(crate) name: &'static str,
    pub(crate) count: u64,
    pub(crate) mean: f64,
    pub(crate) values: Vec<f64>,
    pub(crate) max: f64,
}

/// The place of the request's histogram of tokens a second, behind those of its times and ratios.
const RATE: usize = Percentiles::TIMES.len() + Percentiles::RATIOS.len();
/// The place of a stage's histogram of gaps between outputs, behind those of its times and ratios.
const GAPS: usize = StagePercentiles::TIMES.len() + StagePercentiles::RATIOS.len();
/// How many histograms there are for the request as a whole, for a stage, and for an edge.
const PER_REQUEST: usize = RATE + 1;
const PER_STAGE: usize = GAPS + 1;
const PER_EDGE: usize = TransferPercentiles::TIMES.len() + TransferPercentiles::RATIOS.len();
const FIRST_OF_STAGES: usize = PER_REQUEST;
const FIRST_OF_EDGES: usize = FIRST_OF_STAGES + LIMIT * PER_STAGE;
const HISTOGRAMS: usize = FIRST_OF_EDGES + LIMIT * PER_EDGE;
/// Ratios are counted in millionths, rates in thousandths.
const MILLION: f64 = 1e6;

/// The histograms of a period.
#[derive(Debug, Clone, Default)]
pub(crate) struct Histograms {
    /// All buckets, or none. They are allocated at once, so neither a new stage nor a value of a new size
    /// allocates. Of the 5.5 MiB of virtual memory, only touched pages are resident.
    counts: Vec<u64>,
    exact: Vec<Exact>,
    stages: SmallestIds<OrderedId>,
    edges: SmallestIds<(OrderedId, OrderedId)>,
}

impl Histograms {
    #[inline]
    fn make_room(&mut self) {
        if self.counts.is_empty() {
            self.allocate();
        }
    }

    #[cold]
    fn allocate(&mut self) {
        self.counts = vec![0; HISTOGRAMS * SIZE];
        self.exact = vec![Exact::default(); HISTOGRAMS];
    }

    /// Adds a closed request; each stage comes with the gaps between its outputs.
    pub(crate) fn add<'a>(
        &mut self,
        e2e: &E2eTable,
        stages: impl Iterator<Item = (&'a StageRow, Option<&'a Gaps>)>,
        transfers: impl Iterator<Item = &'a TransferRow>,
    ) {
        self.add_weighted(1, e2e, stages, transfers);
    }

    /// Adds a closed request that stands for `weight` requests like it.
    #[inline(always)]
    pub(crate) fn add_weighted<'a>(
        &mut self,
        weight: u64,
        e2e: &E2eTable,
        stages: impl Iterator<Item = (&'a StageRow, Option<&'a Gaps>)>,
        transfers: impl Iterator<Item = &'a TransferRow>,
    ) {
        self.make_room();
        Percentiles::times(e2e, |at, time| self.count(at, time.as_nanos(), weight));
        Percentiles::ratios(e2e, |at, ratio| {
            self.count(Percentiles::TIMES.len() + at, (ratio * MILLION).round() as u64, weight);
        });
        let nanos = e2e.e2e_total_ms.as_nanos();
        if nanos > 0 {
            // In thousandths.
            self.count(RATE, (e2e.e2e_total_tokens as f64 * 1e12 / nanos as f64) as u64, weight);
        }
        for (row, gaps) in stages {
            self.count_stage(row, gaps, weight);
        }
        for row in transfers {
            self.count_transfer(row, weight);
        }
    }

    /// Adds a detached row.
    pub(crate) fn add_stage(&mut self, row: &StageRow, gaps: Option<&Gaps>) {
        self.make_room();
        self.count_stage(row, gaps, 1);
    }

    /// Adds a detached row.
    pub(crate) fn add_transfer(&mut self, row: &TransferRow) {
        self.make_room();
        self.count_transfer(row, 1);
    }

    #[inline(always)]
    fn count_stage(&mut self, row: &StageRow, gaps: Option<&Gaps>, weight: u64) {
        let Some(first) = self.first_of_stage(row.order()) else { return };
        StagePercentiles::times(row, |at, time| self.count(first + at, time.as_nanos(), weight));
        StagePercentiles::ratios(row, |at, ratio| {
            self.count(first + StagePercentiles::TIMES.len() + at, (ratio * MILLION).round() as u64, weight);
        });
        if let Some(gaps) = gaps {
            self.count_gaps(first + GAPS, gaps);
        }
    }

    #[inline(always)]
    fn count_transfer(&mut self, row: &TransferRow, weight: u64) {
        let Some(first) = self.first_of_edge(row.order()) else { return };
        TransferPercentiles::times(row, |at, time| self.count(first + at, time.as_nanos(), weight));
        let first_ratio = first + TransferPercentiles::TIMES.len();
        TransferPercentiles::ratios(row, |at, ratio| {
            self.count(first_ratio + at, (ratio * MILLION).round() as u64, weight);
        });
    }

    #[cold]
    fn count_gaps(&mut self, histogram: usize, gaps: &Gaps) {
        for (place, more) in gaps.buckets() {
            if let Some(count) = self.counts.get_mut(histogram * SIZE + place) {
                *count += more;
            }
        }
        if let Some(exact) = self.exact.get_mut(histogram) {
            exact.add(Exact { sum: gaps.sum.into(), max: gaps.max });
        }
    }

    #[inline]
    fn first_of_stage(&mut self, id: OrderedId) -> Option<usize> {
        let found = self.stages.find(id);
        self.first_of(found, FIRST_OF_STAGES, PER_STAGE)
    }

    #[inline]
    fn first_of_edge(&mut self, ends: (OrderedId, OrderedId)) -> Option<usize> {
        let found = self.edges.find(ends);
        self.first_of(found, FIRST_OF_EDGES, PER_EDGE)
    }

    /// The index of a row's first histogram. The histograms are emptied if they belonged to an evicted id.
    fn first_of(&mut self, found: Found, begin: usize, each: usize) -> Option<usize> {
        match found {
            Found::At(at) => Some(begin + at * each),
            Found::InsteadAt(at) => {
                let first = begin + at * each;
                self.counts.get_mut(first * SIZE..(first + each) * SIZE)?.fill(0);
                self.exact.get_mut(first..first + each)?.fill(Exact::default());
                Some(first)
            }
            Found::Nowhere => None,
        }
    }

    /// A value has 64 bits and a weight 32, so that the sum does not overflow before the 2^32nd value.
    #[inline(always)]
    fn count(&mut self, histogram: usize, value: u64, weight: u64) {
        if let Some(count) = self.counts.get_mut(histogram * SIZE + place(value)) {
            *count += weight;
        }
        if let Some(exact) = self.exact.get_mut(histogram) {
            exact.add(Exact { sum: u128::from(value) * u128::from(weight), max: value });
        }
    }

    fn histogram(&self, at: usize) -> Histogram<'_> {
        let counts = self.counts.get(at * SIZE..(at + 1) * SIZE).unwrap_or_default();
        Histogram { counts, exact: self.exact.get(at).copied().unwrap_or_default() }
    }

    /// Adds the histograms of another instance.
    pub(crate) fn merge(&mut self, other: &Self) {
        if other.counts.is_empty() {
            return;
        }
        self.make_room();
        self.merge_some(0, other, 0, PER_REQUEST);
        // In order of the ids, so that few ids are evicted.
        for (theirs, id) in other.stages.in_order() {
            if let Some(ours) = self.first_of_stage(id) {
                self.merge_some(ours, other, FIRST_OF_STAGES + theirs * PER_STAGE, PER_STAGE);
            }
        }
        for (theirs, ends) in other.edges.in_order() {
            if let Some(ours) = self.first_of_edge(ends) {
                self.merge_some(ours, other, FIRST_OF_EDGES + theirs * PER_EDGE, PER_EDGE);
            }
        }
    }

    /// Adds the other's histograms from `theirs` on to as many from `ours` on.
    fn merge_some(&mut self, ours: usize, other: &Self, theirs: usize, histograms: usize) {
        for n in 0..histograms {
            let Histogram { counts, exact } = other.histogram(theirs + n);
            let our_counts = self.counts.get_mut((ours + n) * SIZE..).unwrap_or_default();
            for (ours, theirs) in our_counts.iter_mut().zip(counts).take(place(exact.max) + 1) {
                // A page to which no count is written stays virtual.
                if *theirs > 0 {
                    *ours += theirs;
                }
            }
            if let Some(ours) = self.exact.get_mut(ours + n) {
                ours.add(exact);
            }
        }
    }

    /// Removes all values, and keeps the memory.
    pub(crate) fn clear(&mut self) {
        let Self { counts, exact, stages, edges } = self;
        for (counts, exact) in counts.chunks_exact_mut(SIZE).zip(exact) {
            for count in counts.iter_mut().take(place(exact.max) + 1) {
                // A page to which no count is written stays virtual.
                if *count > 0 {
                    *count = 0;
                }
            }
            *exact = Exact::default();
        }
        (*stages, *edges) = (SmallestIds::default(), SmallestIds::default());
    }

    /// The values at chosen ranks, which `rank` finds for a count of values, of every number that there is.
    #[cfg(feature = "cli")]
    pub(crate) fn at_ranks(&self, ranks: &[impl Fn(u64) -> u64]) -> Vec<Quantiles> {
        const NANOS: f64 = 1e6;
        let mut all = Vec::new();
        let mut add = |whose, name, at: usize, scale: f64| {
            let histogram = self.histogram(at);
            let (count, Exact { sum, max }) = (histogram.counts.iter().sum::<u64>(), histogram.exact);
            if count > 0 {
                let value = |rank: u64| histogram.at_rank(rank.into()).min(max) as f64 / scale;
                let values = ranks.iter().map(|rank| value(rank(count))).collect();
                let mean = ((sum + u128::from(count / 2)) / u128::from(count)) as f64 / scale;
                all.push(Quantiles { whose, name, count, mean, values, max: max as f64 / scale });
            }
        };
        for (at, name) in Percentiles::TIMES.iter().enumerate() {
            add(Whose::Request, name, at, NANOS);
        }
        for (at, name) in (Percentiles::TIMES.len()..).zip(Percentiles::RATIOS) {
            add(Whose::Request, name, at, MILLION);
        }
        add(Whose::Request, "tokens_per_s", RATE, 1e3);
        for (at, id) in self.stages.in_order() {
            let (whose, first) = (Whose::Stage(unordered(id)), FIRST_OF_STAGES + at * PER_STAGE);
            for (at, name) in (first..).zip(StagePercentiles::TIMES) {
                add(whose, name, at, NANOS);
            }
            add(whose, "inter_output_ms", first + GAPS, NANOS);
            for (at, name) in (first + StagePercentiles::TIMES.len()..).zip(StagePercentiles::RATIOS) {
                add(whose, name, at, MILLION);
            }
        }
        for (at, (from, to)) in self.edges.in_order() {
            let first = FIRST_OF_EDGES + at * PER_EDGE;
            for (at, name) in (first..).zip(TransferPercentiles::TIMES) {
                add(Whose::Edge(unordered(from), unordered(to)), name, at, NANOS);
            }
        }
        all
    }

    pub(crate) fn percentiles(&self) -> Percentiles {
        let times = |first: usize| move |at: usize| self.histogram(first + at).times();
        let ratios = |first: usize| {
            move |at: usize| self.histogram(first + at).distribution(|millionths| millionths as f64 / MILLION)
        };
        let stage = |(at, id): (usize, OrderedId)| {
            let first = FIRST_OF_STAGES + at * PER_STAGE;
            let gaps = self.histogram(first + GAPS).times();
            let first_ratio = first + StagePercentiles::TIMES.len();
            StagePercentiles::of(unordered(id), gaps, times(first), ratios(first_ratio))
        };
        let transfer = |(at, (from, to)): (usize, (OrderedId, OrderedId))| {
            let first = FIRST_OF_EDGES + at * PER_EDGE;
            let first_ratio = first + TransferPercentiles::TIMES.len();
            TransferPercentiles::of(unordered(from), unordered(to), times(first), ratios(first_ratio))
        };
        let tokens_per_s = self.histogram(RATE).distribution(|thousandths| thousandths as f64 / 1e3);
        let stages = self.stages.in_order().into_iter().map(stage).collect();
        let transfers = self.edges.in_order().into_iter().map(transfer).collect();
        Percentiles::of(tokens_per_s, stages, transfers, times(0), ratios(Percentiles::TIMES.len()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_smallest_ids_have_all_their_values_however_they_are_spread() {
        let mut parts = vec![Histograms::default(); 3];
        let ids = |n: u64| (0..3).map(move |k| (n * 7 + k * 11) % 40);
        for n in 0..3_000 {
            let row = |id| {
                let stage_id = (id < 39).then_some(id);
                StageRow { stage_id, stage_gen_time_ms: Some(Millis::from_nanos(id)), ..StageRow::default() }
            };
            let rows: Vec<_> = ids(n).map(row).collect();
            // Each part gets runs of requests, so that no two parts see the ids in the same order.
            if let Some(part) = parts.get_mut((n / 10 % 3) as usize) {
                part.add(&E2eTable::default(), rows.iter().map(|row| (row, None)), [].into_iter());
            }
        }
        for order in [[0, 1, 2], [2, 1, 0]] {
            let mut whole = Histograms::default();
            order.iter().for_each(|part| whole.merge(&parts[*part]));
            let found: Vec<_> = whole.percentiles().stages;
            let expected: Vec<_> = (0..LIMIT as u64).map(Some).collect();
            assert_eq!(found.iter().map(|row| row.stage_id).collect::<Vec<_>>(), expected);
            for row in found {
                let times = row.stage_gen_time_ms.unwrap();
                let count = (0..3_000).flat_map(ids).filter(|id| Some(*id) == row.stage_id).count() as u64;
                assert_eq!((times.count, Some(times.max.as_nanos())), (count, row.stage_id));
            }
        }
    }

    #[test]
    fn a_weighted_request_counts_as_that_many_requests_like_it() {
        let (mut weighted, mut repeated) = (Histograms::default(), Histograms::default());
        for (weight, nanos) in [(1, 900), (5, 10), (3, 5_000_000), (2, 0)] {
            let e2e = E2eTable {
                e2e_total_ms: Millis::from_nanos(nanos),
                e2e_total_tokens: nanos,
                ..E2eTable::default()
            };
            let stage_gen_time_ms = Some(e2e.e2e_total_ms);
            let stage = StageRow { stage_id: Some(nanos % 3), stage_gen_time_ms, ..StageRow::default() };
            let edge = TransferRow { total_time_ms: e2e.e2e_total_ms, ..TransferRow::default() };
            let (stages, edges) = (|| [(&stage, None)].into_iter(), || [&edge].into_iter());
            weighted.add_weighted(weight, &e2e, stages(), edges());
            (0..weight).for_each(|_| repeated.add(&e2e, stages(), edges()));
        }
        assert_eq!(weighted.percentiles(), repeated.percentiles());
    }

    proptest! {
        #[test]
        fn percentiles_are_within_one_in_a_hundred_of_the_exact_ones(
            values in prop::collection::vec(
                prop_oneof![0_u64..100, 1_000_u64..1_000_000, 1_000_000_u64..100_000_000_000, any::<u64>()],
                1..600,
            )
        ) {
            let (mut whole, mut merged, mut other) =
                (Histograms::default(), Histograms::default(), Histograms::default());
            for (at, value) in values.iter().enumerate() {
                let e2e = E2eTable { e2e_total_ms: Millis::from_nanos(*value), ..E2eTable::default() };
                let stage_gen_time_ms = Some(e2e.e2e_total_ms);
                let stage =
                    StageRow { stage_id: Some(*value % 3), stage_gen_time_ms, ..StageRow::default() };
                whole.add(&e2e, [(&stage, None)].into_iter(), [].into_iter());
                let half = if at % 2 == 0 { &mut merged } else { &mut other };
                half.add(&e2e, [(&stage, None)].into_iter(), [].into_iter());
            }
            merged.merge(&other);
            prop_assert_eq!(merged.percentiles(), whole.percentiles());
            let whole = whole.histogram(0);
            let mut sorted = values.clone();
            sorted.sort_unstable();
            let (count, is_near) = (values.len() as u64, |found: u64, exact: u64| {
                found.abs_diff(exact) as f64 <= exact as f64 / 100.0
            });
            for permille in [1, 500, 900, 990, 999, 1000] {
                let exact = sorted[(sorted.len() * permille as usize).div_ceil(1000).max(1) - 1];
                let found = whole.permille(count, permille);
                prop_assert!(is_near(found, exact), "{permille}: {found} {exact}");
            }
            let distribution = whole.distribution(|value| value).unwrap();
            prop_assert_eq!(distribution.count, count);
            prop_assert_eq!(distribution.max, *sorted.last().unwrap());
            let sum: u128 = values.iter().map(|value| u128::from(*value)).sum();
            prop_assert_eq!(u128::from(distribution.mean), (sum + u128::from(count / 2)) / u128::from(count));
        }
    }
}
