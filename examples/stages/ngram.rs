//! A language model that is small enough to be trained at start-up.

use std::collections::{BTreeMap, HashMap};

use tiktoken_rs::Rank;

/// A token depends on the two before it.
const ORDER: usize = 3;
/// The share of the probability that goes to what shorter contexts say.
const BACK_OFF: f64 = 0.15;

/// An n-gram model over token ids, interpolated: where a context was never seen, the shorter one
/// speaks alone.
#[derive(Debug)]
pub(crate) struct NGram {
    vocabulary: Vec<Rank>,
    /// By place in the vocabulary.
    unigrams: Vec<f64>,
    /// By the tokens before.
    successors: HashMap<Vec<Rank>, Successors>,
}

#[derive(Debug, Default)]
struct Successors {
    total: f64,
    /// By place in the vocabulary.
    counts: BTreeMap<usize, f64>,
}

impl NGram {
    pub(crate) fn train(tokens: &[Rank]) -> Self {
        let mut vocabulary = tokens.to_vec();
        vocabulary.sort_unstable();
        vocabulary.dedup();
        let mut unigrams = vec![0.0; vocabulary.len()];
        let mut successors = HashMap::<Vec<Rank>, Successors>::new();
        for (at, token) in tokens.iter().enumerate() {
            let Ok(place) = vocabulary.binary_search(token) else { continue };
            if let Some(share) = unigrams.get_mut(place) {
                *share += 1.0 / tokens.len() as f64;
            }
            for length in 1..ORDER {
                if let Some(context) = at.checked_sub(length).and_then(|start| tokens.get(start..at)) {
                    let after = successors.entry(context.to_vec()).or_default();
                    after.total += 1.0;
                    *after.counts.entry(place).or_default() += 1.0;
                }
            }
        }
        Self { vocabulary, unigrams, successors }
    }

    /// Draws the token after `context`, anything but `banned`.
    pub(crate) fn next(&self, context: &[Rank], banned: Option<Rank>, random: &mut Random) -> Option<Rank> {
        let mut weights = self.unigrams.clone();
        for length in 1..ORDER {
            let start = context.len().checked_sub(length);
            let seen = start.and_then(|start| self.successors.get(context.get(start..)?));
            let Some(after) = seen else { break };
            for weight in &mut weights {
                *weight *= BACK_OFF;
            }
            for (place, count) in &after.counts {
                if let Some(weight) = weights.get_mut(*place) {
                    *weight += (1.0 - BACK_OFF) * count / after.total;
                }
            }
        }
        let banned = banned.and_then(|token| self.vocabulary.binary_search(&token).ok());
        if let Some(weight) = banned.and_then(|place| weights.get_mut(place)) {
            *weight = 0.0;
        }
        let mut left = random.unit() * weights.iter().sum::<f64>();
        let drawn = weights.iter().position(|weight| {
            left -= weight;
            left < 0.0
        });
        // The sum is rounded, so the draw may end just behind the last token that has a chance.
        let place = drawn.or_else(|| weights.iter().rposition(|weight| *weight > 0.0))?;
        self.vocabulary.get(place).copied()
    }
}

/// SplitMix64: the same numbers for the same seed, on every machine.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn with_seed(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 up to, not including, 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
