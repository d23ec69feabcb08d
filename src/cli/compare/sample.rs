//! A log as a sample, and what its figures would be if its blocks of time were drawn anew.

use std::iter::repeat;

use super::{
    bins::{Bins, Cumulated},
    blocks::{Block, ENOUGH, Settled, TimeBlock},
    distribution::Latencies,
    metric::Place,
    student::half_width,
};
use crate::cli::groups::Percent;

/// How many times the blocks are drawn anew. The standard error that comes of it is itself uncertain by 3 %.
const DRAWS: usize = 500;
/// In how many blocks a quantile must be reached for its standard error to mean something.
pub(super) const BEYOND: usize = 5;
/// How many lengths of blocks are tried, each twice the one before.
const LEVELS: u32 = 3;

/// A figure of a log.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Estimate {
    pub(super) value: f64,
    pub(super) error: Result<Error, Lack>,
}

/// Why nothing is known of how much a figure varies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lack {
    /// The log has this many blocks, fewer than [`ENOUGH`].
    Blocks(usize),
    /// This many blocks, fewer than [`BEYOND`], reach the quantile, of these.
    Reach(usize, usize),
}

/// How much a figure varies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Error {
    /// The standard error.
    pub(super) of_value: f64,
    /// That of the logarithm; absent if the figure could be zero.
    pub(super) of_log: Option<f64>,
    /// Degrees of freedom.
    pub(super) freedom: f64,
}

/// The blocks of a log, drawn anew many times.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) micros: u64,
    pub(super) blocks: Vec<TimeBlock>,
    pub(super) latencies: Latencies,
    levels: Vec<Level>,
}

/// Draws of groups of blocks that follow each other.
#[derive(Debug)]
struct Level {
    groups: usize,
    /// For each draw, how often each block was drawn.
    draws: Vec<Vec<f64>>,
}

impl Level {
    /// `None` if there are too few groups.
    fn new(blocks: &[TimeBlock], level: u32, random: &mut fastrand::Rng) -> Option<Self> {
        let mut group_of = Vec::with_capacity(blocks.len());
        let (mut groups, mut last) = (0, None);
        for block in blocks {
            let key = block.key >> level;
            groups += usize::from(last != Some(key));
            last = Some(key);
            group_of.push(groups - 1);
        }
        let mut draw = |_| {
            let mut times = vec![0.0; groups];
            for _ in 0..groups {
                times.get_mut(random.usize(0..groups)).into_iter().for_each(|times| *times += 1.0);
            }
            group_of.iter().map(|group| times.get(*group).copied().unwrap_or(0.0)).collect()
        };
        (groups >= ENOUGH).then(|| Self { groups, draws: (0..DRAWS).map(&mut draw).collect() })
    }
}

impl Estimate {
    /// The figure in another unit.
    pub(super) fn times(self, factor: f64) -> Self {
        let error = self.error.map(|error| Error { of_value: error.of_value * factor, ..error });
        Self { value: self.value * factor, error }
    }
}

impl Sample {
    /// The draws depend on nothing but the seed and the blocks.
    pub(super) fn new(Settled { micros, blocks, latencies }: Settled, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let levels = (0..LEVELS).map_while(|level| Level::new(&blocks, level, &mut random)).collect();
        Self { micros, blocks, latencies, levels }
    }

    pub(super) fn lines(&self) -> u64 {
        self.blocks.iter().map(|at| at.block.lines).sum()
    }

    pub(super) fn requests(&self) -> u64 {
        self.blocks.iter().map(|at| at.block.requests).sum()
    }

    /// The sum of something over the blocks, divided by the sum of something else.
    pub(super) fn ratio(&self, of: impl Fn(&Block, u64) -> Option<(f64, f64)>) -> Option<Estimate> {
        let terms = self.blocks.iter().map(|at| of(&at.block, at.nanos).unwrap_or_default());
        let terms: Vec<_> = terms.collect();
        self.quotient(&terms)
    }

    /// The sum of the first terms of all blocks, divided by that of the second ones.
    fn quotient(&self, terms: &[(f64, f64)]) -> Option<Estimate> {
        let quotient = |times: &mut dyn Iterator<Item = f64>| {
            let (mut over, mut under) = (0.0, 0.0);
            for ((numerator, denominator), times) in terms.iter().zip(times) {
                over += times * numerator;
                under += times * denominator;
            }
            (under > 0.0).then_some(over / under)
        };
        let value = quotient(&mut repeat(1.0))?;
        let errors = self.errors(1, |draw| quotient(&mut draw.iter().copied()).map(|found| vec![found]));
        let error = errors.into_iter().next().flatten().ok_or(self.too_few());
        Some(Estimate { value, error })
    }

    fn too_few(&self) -> Lack {
        Lack::Blocks(self.blocks.len())
    }

    /// How many requests have a number.
    pub(super) fn count(&self, place: Place, at: usize) -> u64 {
        self.blocks.iter().filter_map(|row| row.block.number(place, at)).map(|bins| bins.count).sum()
    }

    /// The mean of a number, and its percentiles.
    pub(super) fn distribution(
        &self,
        place: Place,
        at: usize,
        percents: &[Percent],
    ) -> Option<(Estimate, Vec<Estimate>)> {
        let bins: Vec<_> = self.blocks.iter().map(|row| row.block.number(place, at)).collect();
        self.spread(&bins, percents)
    }

    /// The mean and the percentiles of the values that each block has.
    pub(super) fn spread(
        &self,
        bins: &[Option<&Bins>],
        percents: &[Percent],
    ) -> Option<(Estimate, Vec<Estimate>)> {
        let term =
            |bins: &Option<&Bins>| bins.map_or((0.0, 0.0), |bins| (bins.sum as f64, bins.count as f64));
        let mean = self.quotient(&bins.iter().map(term).collect::<Vec<_>>())?;
        let cumulated = Cumulated::new(bins)?;
        let ranks: Vec<_> = percents.iter().map(|percent| percent.share()).collect();
        let values = cumulated.quantiles(&vec![1.0; bins.len()], &ranks)?;
        let errors = self.errors(ranks.len(), |draw| cumulated.quantiles(draw, &ranks));
        let beyond = |value: f64| {
            let reaches = |bins: &&Bins| bins.range().is_some_and(|(_, most)| most as f64 >= value);
            bins.iter().flatten().filter(|bins| reaches(bins)).count()
        };
        let estimate = |(value, error): (f64, Option<Error>)| {
            let error = error.ok_or(self.too_few()).and_then(|error| match beyond(value) {
                BEYOND.. => Ok(error),
                few => Err(Lack::Reach(few, self.blocks.len())),
            });
            Estimate { value, error }
        };
        Some((mean, values.into_iter().zip(errors).map(estimate).collect()))
    }

    /// The errors of `count` figures, which are computed from how often each block was drawn. Of several
    /// lengths of blocks, the one with the largest error counts: if neighbouring blocks resemble each other,
    /// longer blocks differ more than their length explains.
    fn errors(
        &self,
        count: usize,
        mut figures: impl FnMut(&[f64]) -> Option<Vec<f64>>,
    ) -> Vec<Option<Error>> {
        let mut largest = vec![None::<Error>; count];
        for level in &self.levels {
            let drawn: Vec<_> = level.draws.iter().filter_map(|draw| figures(draw)).collect();
            // Some blocks may not have the number at all.
            if drawn.len() < DRAWS / 2 {
                continue;
            }
            for (at, largest) in largest.iter_mut().enumerate() {
                let of_figure = drawn.iter().filter_map(|drawn| drawn.get(at).copied());
                let error = Error::new(of_figure, level.groups as f64);
                if largest.is_none_or(|largest| largest.reach() < error.reach()) {
                    *largest = Some(error);
                }
            }
        }
        largest
    }
}

impl Error {
    fn new(drawn: impl Iterator<Item = f64> + Clone, groups: f64) -> Self {
        // Draws of n blocks vary less than the blocks by this factor.
        let widen = (groups / (groups - 1.0)).sqrt();
        let is_positive = drawn.clone().all(|value| value > 0.0);
        Self {
            of_value: deviation(drawn.clone()) * widen,
            of_log: is_positive.then(|| deviation(drawn.map(f64::ln)) * widen),
            freedom: groups - 1.0,
        }
    }

    /// How far an interval of 95 % reaches.
    fn reach(self) -> f64 {
        self.of_value * half_width(self.freedom)
    }
}

/// The standard deviation.
fn deviation(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let count = values.clone().count().max(1) as f64;
    let mean = values.clone().sum::<f64>() / count;
    (values.map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt()
}
