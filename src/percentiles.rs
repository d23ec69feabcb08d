//! Distributions of what requests measured, in constant memory.

use serde::{Deserialize, Serialize};

use crate::{
    Millis,
    tables::{E2eTable, StageRow, TransferRow},
};

/// How many stages, and how many edges, have percentiles; further ids have none.
pub(crate) const ROW_LIMIT: usize = 16;

/// How many buckets an octave is divided into. A value lies within half a bucket of its middle, so
/// that a percentile is wrong by less than 1 / 128.
const BUCKETS: usize = 64;
/// Whole numbers below [`BUCKETS`] have a bucket of their own; each power of two above has an octave.
const OCTAVES: usize = 59;

/// Counts of whole numbers by their size, and nothing else: adding one is a store. A library's would do,
/// at two and a half to ten times the cost, and a request has thirty.
#[derive(Debug, Clone, Default)]
pub(crate) struct Histogram {
    /// By octave and bucket, all of them or none: a value of a new size must not allocate.
    buckets: Vec<u64>,
}

impl Histogram {
    #[inline]
    pub(crate) fn add(&mut self, value: u64) {
        if let Some(count) = self.buckets.get_mut(place(value)) {
            *count += 1;
        } else {
            self.add_first(value);
        }
    }

    #[cold]
    fn add_first(&mut self, value: u64) {
        self.buckets = vec![0; OCTAVES * BUCKETS];
        if let Some(count) = self.buckets.get_mut(place(value)) {
            *count += 1;
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        if self.buckets.is_empty() {
            self.buckets.clone_from(&other.buckets);
        } else {
            self.buckets.iter_mut().zip(&other.buckets).for_each(|(ours, theirs)| *ours += theirs);
        }
    }

    /// The value that so many of a thousand values don't exceed.
    fn permille(&self, count: u64, permille: u64) -> u64 {
        let rank = (u128::from(count) * u128::from(permille)).div_ceil(1000).max(1);
        let mut below = 0;
        let place = self.buckets.iter().position(|count| {
            below += u128::from(*count);
            below >= rank
        });
        place.map_or(0, middle)
    }

    /// `None` if there are no values.
    fn distribution<T>(&self, unit: impl Fn(u64) -> T) -> Option<Distribution<T>> {
        let count: u64 = self.buckets.iter().sum();
        let sums = self
            .buckets
            .iter()
            .enumerate()
            .map(|(place, count)| u128::from(*count) * u128::from(middle(place)));
        let mean = sums.sum::<u128>().checked_div(count.into())? as u64;
        let permille = |permille| unit(self.permille(count, permille));
        Some(Distribution {
            count,
            mean: unit(mean),
            p50: permille(500),
            p90: permille(900),
            p99: permille(990),
            p999: permille(999),
            max: permille(1000),
        })
    }
}

/// The place of a value's bucket.
fn place(value: u64) -> usize {
    let octave = 58 - (value | (BUCKETS as u64 - 1)).leading_zeros() as usize;
    let bucket = value >> octave.saturating_sub(1);
    octave * BUCKETS + bucket as usize % BUCKETS
}

/// The middle of the bucket at a place.
fn middle(place: usize) -> u64 {
    let (octave, bucket) = (place / BUCKETS, place % BUCKETS);
    let Some(shift) = octave.checked_sub(1) else { return bucket as u64 };
    let least = ((BUCKETS + bucket) as u64) << shift;
    least + ((1 << shift) - 1) / 2
}

/// How a number is distributed over the requests of a run.
///
/// `count` is exact; everything else is wrong by less than 1 % of its value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Distribution<T> {
    /// How many requests have the number.
    pub count: u64,
    /// Their sum divided by `count`.
    pub mean: T,
    /// The median: half of the requests have no more.
    pub p50: T,
    /// Nine of ten have no more.
    pub p90: T,
    /// 99 of a hundred have no more.
    pub p99: T,
    /// 999 of a thousand have no more.
    pub p999: T,
    /// The largest.
    pub max: T,
}

/// The distributions of a run. Each is absent if no request has the number.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Percentiles {
    /// Of [`E2eTable::e2e_total_ms`].
    pub e2e_total_ms: Option<Distribution<Millis>>,
    /// Of [`E2eTable::queue_time_ms`].
    pub queue_time_ms: Option<Distribution<Millis>>,
    /// Of [`E2eTable::unattributed_time_ms`].
    pub unattributed_time_ms: Option<Distribution<Millis>>,
    /// Of `e2e_total_tokens * 1000 / e2e_total_ms`.
    pub tokens_per_s: Option<Distribution<f64>>,
    /// By `stage_id`, of the first 16 stages.
    pub stages: Vec<StagePercentiles>,
    /// By (`from_stage`, `to_stage`), of the first 16 edges.
    pub transfers: Vec<TransferPercentiles>,
}

/// The distributions of one stage's rows, a row a request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StagePercentiles {
    /// As recorded.
    pub stage_id: Option<u64>,
    /// Of [`StageRow::stage_gen_time_ms`].
    pub stage_gen_time_ms: Option<Distribution<Millis>>,
    /// Of [`StageRow::busy_time_ms`].
    pub busy_time_ms: Option<Distribution<Millis>>,
    /// Of [`StageRow::queue_time_ms`].
    pub queue_time_ms: Option<Distribution<Millis>>,
    /// Of [`StageRow::first_output_ms`].
    pub first_output_ms: Option<Distribution<Millis>>,
    /// Of [`StageRow::time_per_output_token_ms`].
    pub time_per_output_token_ms: Option<Distribution<Millis>>,
}

/// The distributions of one edge's rows, a row a request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TransferPercentiles {
    /// As recorded.
    pub from_stage: Option<u64>,
    /// As recorded.
    pub to_stage: Option<u64>,
    /// Of [`TransferRow::tx_time_ms`].
    pub tx_time_ms: Option<Distribution<Millis>>,
    /// Of [`TransferRow::in_flight_time_ms`].
    pub in_flight_time_ms: Option<Distribution<Millis>>,
    /// Of [`TransferRow::rx_decode_time_ms`].
    pub rx_decode_time_ms: Option<Distribution<Millis>>,
    /// Of [`TransferRow::total_time_ms`].
    pub total_time_ms: Option<Distribution<Millis>>,
}

/// The histograms of rows, by what identifies a row.
type Rows<Key, const N: usize> = Vec<(Key, [Histogram; N])>;

/// What the distributions of a run are made of. Its size depends on the stages and edges, not on how
/// many requests went into it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Histograms {
    e2e_total: Histogram,
    queue_time: Histogram,
    unattributed_time: Histogram,
    /// In thousandths.
    tokens_per_s: Histogram,
    stages: Rows<Option<u64>, 5>,
    edges: Rows<(Option<u64>, Option<u64>), 4>,
}

impl Histograms {
    /// Adds a closed request.
    pub(crate) fn add<'a>(
        &mut self,
        e2e: &E2eTable,
        stages: impl Iterator<Item = &'a StageRow>,
        transfers: impl Iterator<Item = &'a TransferRow>,
    ) {
        self.e2e_total.add(e2e.e2e_total_ms.as_nanos());
        add(&mut self.queue_time, e2e.queue_time_ms);
        self.unattributed_time.add(e2e.unattributed_time_ms.as_nanos());
        let nanos = e2e.e2e_total_ms.as_nanos();
        if nanos > 0 {
            self.tokens_per_s.add((e2e.e2e_total_tokens as f64 * 1e12 / nanos as f64) as u64);
        }
        for row in stages {
            let Some([gen_time, busy, queue, first_output, per_token]) =
                entry(&mut self.stages, row.stage_id)
            else {
                continue;
            };
            add(gen_time, row.stage_gen_time_ms);
            add(busy, row.busy_time_ms);
            add(queue, row.queue_time_ms);
            add(first_output, row.first_output_ms);
            add(per_token, row.time_per_output_token_ms);
        }
        for row in transfers {
            let ends = (row.from_stage, row.to_stage);
            let Some([tx, in_flight, rx_decode, total]) = entry(&mut self.edges, ends) else { continue };
            add(tx, row.tx_time_ms);
            add(in_flight, row.in_flight_time_ms);
            add(rx_decode, row.rx_decode_time_ms);
            total.add(row.total_time_ms.as_nanos());
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.e2e_total.merge(&other.e2e_total);
        self.queue_time.merge(&other.queue_time);
        self.unattributed_time.merge(&other.unattributed_time);
        self.tokens_per_s.merge(&other.tokens_per_s);
        merge_rows(&mut self.stages, &other.stages);
        merge_rows(&mut self.edges, &other.edges);
    }

    pub(crate) fn percentiles(&self) -> Percentiles {
        let time = |histogram: &Histogram| histogram.distribution(Millis::from_nanos);
        // The row without an id comes last, as in the tables.
        let mut stages: Vec<_> = self
            .stages
            .iter()
            .map(|(stage_id, [gen_time, busy, queue, first_output, per_token])| StagePercentiles {
                stage_id: *stage_id,
                stage_gen_time_ms: time(gen_time),
                busy_time_ms: time(busy),
                queue_time_ms: time(queue),
                first_output_ms: time(first_output),
                time_per_output_token_ms: time(per_token),
            })
            .collect();
        stages.sort_by_key(|row| (row.stage_id.is_none(), row.stage_id));
        let mut transfers: Vec<_> = self
            .edges
            .iter()
            .map(|((from_stage, to_stage), [tx, in_flight, rx_decode, total])| TransferPercentiles {
                from_stage: *from_stage,
                to_stage: *to_stage,
                tx_time_ms: time(tx),
                in_flight_time_ms: time(in_flight),
                rx_decode_time_ms: time(rx_decode),
                total_time_ms: time(total),
            })
            .collect();
        transfers.sort_by_key(|row| {
            (row.from_stage.is_none(), row.from_stage, row.to_stage.is_none(), row.to_stage)
        });
        Percentiles {
            e2e_total_ms: time(&self.e2e_total),
            queue_time_ms: time(&self.queue_time),
            unattributed_time_ms: time(&self.unattributed_time),
            tokens_per_s: self.tokens_per_s.distribution(|thousandths| thousandths as f64 / 1e3),
            stages,
            transfers,
        }
    }
}

fn add(histogram: &mut Histogram, time: Option<Millis>) {
    if let Some(time) = time {
        histogram.add(time.as_nanos());
    }
}

/// The histograms of a row, new ones if there is room.
fn entry<Key: PartialEq, const N: usize>(rows: &mut Rows<Key, N>, key: Key) -> Option<&mut [Histogram; N]> {
    let at = match rows.iter().position(|(known, _)| *known == key) {
        Some(at) => at,
        None if rows.len() < ROW_LIMIT => {
            rows.push((key, std::array::from_fn(|_| Histogram::default())));
            rows.len() - 1
        }
        None => return None,
    };
    rows.get_mut(at).map(|(_, histograms)| histograms)
}

fn merge_rows<Key: PartialEq + Copy, const N: usize>(rows: &mut Rows<Key, N>, others: &Rows<Key, N>) {
    for (key, others) in others {
        if let Some(histograms) = entry(rows, *key) {
            histograms.iter_mut().zip(others).for_each(|(ours, theirs)| ours.merge(theirs));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_value_has_a_bucket_and_lies_near_its_middle() {
        let powers = (0..64).map(|power| 1_u64 << power);
        let around = powers.flat_map(|power| [power - 1, power, power + power / 3, power + (power - 1)]);
        for value in around.chain(0..1000).chain([u64::MAX]) {
            let place = place(value);
            assert!(place < OCTAVES * BUCKETS, "{value}");
            assert!(middle(place).abs_diff(value) as f64 <= value as f64 / 128.0, "{value}");
        }
    }

    proptest! {
        #[test]
        fn percentiles_are_within_one_in_a_hundred_of_the_exact_ones(
            values in prop::collection::vec(
                prop_oneof![0_u64..100, 1_000_u64..1_000_000, 1_000_000_u64..100_000_000_000, any::<u64>()], 1..600
            )
        ) {
            let (mut whole, mut halves) = (Histogram::default(), [Histogram::default(), Histogram::default()]);
            for (at, value) in values.iter().enumerate() {
                whole.add(*value);
                halves[at % 2].add(*value);
            }
            let [mut merged, other] = halves;
            merged.merge(&other);
            let mut sorted = values.clone();
            sorted.sort_unstable();
            let (count, is_near) = (values.len() as u64, |found: u64, exact: u64| {
                found.abs_diff(exact) as f64 <= exact as f64 / 100.0
            });
            for permille in [1, 500, 900, 990, 999, 1000] {
                let exact = sorted[(sorted.len() * permille as usize).div_ceil(1000).max(1) - 1];
                let found = whole.permille(count, permille);
                prop_assert!(is_near(found, exact), "{permille}: {found} {exact}");
                prop_assert_eq!(merged.permille(count, permille), found);
            }
            let distribution = whole.distribution(|value| value).unwrap();
            prop_assert_eq!(distribution.count, count);
            prop_assert!(is_near(distribution.max, *sorted.last().unwrap()));
            let sum: u128 = values.iter().map(|value| u128::from(*value)).sum();
            prop_assert!(is_near(distribution.mean, (sum / u128::from(count)) as u64));
        }
    }
}
