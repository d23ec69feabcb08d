//! What is to happen to a request, from the seed.

use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::fleet::Places;

const MICRO: f64 = 1e3;
const MILLI: f64 = 1e6;
/// What a process computes takes at least a microsecond, which is the resolution of timestamps. So no two lines
/// are equal, of which `join` would take one for a copy.
const LEAST: u64 = 1_000;

/// One attempt at a request. Times are nanoseconds.
pub(crate) struct Plan {
    pub(crate) fate: Fate,
    /// The processes that serve it: of the front, and of stages 1 to 3.
    pub(crate) processes: [usize; 4],
    pub(crate) tokens_in: u64,
    /// What each stage makes; of the last stage, in every chunk.
    pub(crate) tokens_out: [u64; 4],
    /// How long each stage computes before it waits for its model.
    pub(crate) preprocess: [u64; 4],
    /// How long each stage waits for its model; the last one, in every chunk.
    pub(crate) model: [u64; 4],
    /// How many pieces of text the talker sends on, each in a message of its own.
    pub(crate) chunks: u64,
    /// How long messages are under way, to stages 1 to 3 and back to the front.
    pub(crate) flights: [u64; 4],
    /// How long serialising and decoding a message takes.
    pub(crate) codec: u64,
    pub(crate) bytes: [u64; 4],
    /// How long the client waits before it tries again, if this attempt fails.
    pub(crate) pause: u64,
}

/// How an attempt ends, if no process dies.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Answered,
    FailsIn(u64),
    /// The client hangs up after this time.
    Cancelled(u64),
    HangsIn(u64),
}

/// When each process is killed, and for how long: nanoseconds.
pub(crate) struct Death {
    pub(crate) process: usize,
    pub(crate) at: u64,
    pub(crate) down: u64,
}

/// The random numbers of one thing: they do not depend on what else happens.
pub(crate) fn chance(seed: u64, thing: u64, number: u64) -> StdRng {
    StdRng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (thing << 56) ^ number)
}

/// A time with an exponential distribution, cut at five times its mean.
pub(crate) fn exponential(chance: &mut StdRng, mean: f64) -> u64 {
    let times = -(1.0 - chance.random::<f64>()).ln();
    (mean * times.min(5.0)) as u64
}

impl Plan {
    pub(crate) fn of(chance: &mut StdRng, places: &Places) -> Self {
        let fate = match chance.random_range(0..1_000) {
            0..30 => Fate::FailsIn(chance.random_range(1..=3)),
            30..70 => Fate::Cancelled(exponential(chance, 150.0 * MILLI)),
            70..73 => Fate::HangsIn(chance.random_range(1..=3)),
            _ => Fate::Answered,
        };
        let mut among = |places: &std::ops::Range<usize>| chance.random_range(places.clone());
        let processes =
            [among(&places.fronts), among(&places.thinkers), among(&places.talkers), among(&places.vocoders)];
        let mut time = |mean| exponential(chance, mean);
        Self {
            fate,
            processes,
            preprocess: [300.0, 400.0, 100.0, 50.0].map(|mean| LEAST + time(mean * MICRO)),
            model: [0, time(300.0 * MILLI), time(150.0 * MILLI), time(80.0 * MILLI)],
            flights: [(); 4].map(|()| 50_000 + time(2.0 * MILLI)),
            codec: LEAST + time(30.0 * MICRO),
            pause: 4_000_000_000 + time(1_000.0 * MILLI),
            tokens_in: chance.random_range(10..4_000),
            tokens_out: [
                0,
                chance.random_range(1..400),
                chance.random_range(1..800),
                chance.random_range(2..60),
            ],
            chunks: chance.random_range(1..=3),
            bytes: [(); 4].map(|()| chance.random_range(100..1_000_000)),
        }
    }
}
