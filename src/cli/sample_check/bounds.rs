//! How far a sample may be from what it was drawn from.

/// The chance that a sound sample is called a violation, of all samples: 0.1 %.
const ALPHA: f64 = 0.001;
/// How many deviations from its mean a normal distribution has half of [`ALPHA`] on either side.
const DEVIATIONS: f64 = 3.290_527;
/// From this deviation on, a binomial distribution has the bounds of a normal one, to a thousandth of it. A
/// damaged line may claim 2^63 requests, and a sum over the steps of the distribution would not end.
const NORMAL: f64 = 1e5;

/// The numbers of successes in `trials` trials of probability 1/`one_in` that are neither too few nor too
/// many: each of the two tails has at most half of [`ALPHA`].
pub(super) fn binomial(trials: u64, one_in: u32) -> (u64, u64) {
    let probability = 1.0 / f64::from(one_in);
    let odds = probability / (1.0 - probability);
    let mean = trials as f64 * probability;
    let deviation = (mean * (1.0 - probability)).sqrt();
    if deviation > NORMAL {
        let far = DEVIATIONS * deviation;
        return ((mean - far) as u64, (mean + far) as u64);
    }
    let mode = ((mean + probability) as u64).min(trials);
    // Relative to the weight of the mode, so that no factorial is needed. Past the bounds, weights fall
    // faster than those of a geometric series, and soon to nothing.
    let (mut below, mut above) = (Vec::new(), Vec::new());
    let (mut weight, mut at) = (1.0, mode);
    while at > 0 && weight > 1e-18 {
        weight *= at as f64 / ((trials - at + 1) as f64 * odds);
        at -= 1;
        below.push(weight);
    }
    (weight, at) = (1.0, mode);
    while at < trials && weight > 1e-18 {
        weight *= (trials - at) as f64 * odds / (at + 1) as f64;
        at += 1;
        above.push(weight);
    }
    let all = 1.0 + below.iter().sum::<f64>() + above.iter().sum::<f64>();
    (mode - within(&below, all), mode + within(&above, all))
}

/// How many steps away from the mode the outer weights are at most half of [`ALPHA`] of all.
fn within(weights: &[f64], all: f64) -> u64 {
    let mut tail = 0.0;
    let outer = weights.iter().rev().take_while(|weight| {
        tail += *weight;
        tail <= all * ALPHA / 2.0
    });
    (weights.len() - outer.count()) as u64
}

/// Bernstein's inequality: a sum of independent values of mean 0, with this variance and none of them larger
/// than `largest`, is farther from 0 than the result with a chance of at most [`ALPHA`].
pub(super) fn bernstein(variance: f64, largest: f64) -> f64 {
    let log = (2.0 / ALPHA).ln();
    let linear = largest * log / 3.0;
    linear + (linear * linear + 2.0 * variance * log).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_are_those_of_the_binomial_distribution() {
        // By an independent computation, with the logarithms of factorials.
        for (trials, one_in, bounds) in [
            (1_000, 10, (70, 132)),
            (50_000, 100, (428, 575)),
            (20, 2, (3, 17)),
            (1_000_000, 1_000, (898, 1_106)),
        ] {
            let found = binomial(trials, one_in);
            assert_eq!(found, bounds, "{trials} {one_in}");
        }
        let claimed = binomial(u64::MAX, 2);
        assert!(claimed.0 < 1 << 63 && claimed.1 > 1 << 63, "{claimed:?}");
        // Both ways agree where they meet.
        let (trials, far) = (4e10, DEVIATIONS * 1e5);
        let exact = binomial(trials as u64 - 4, 2);
        assert!((trials / 2.0 - far - exact.0 as f64).abs() < 100.0, "{exact:?}");
        assert!((trials / 2.0 + far - exact.1 as f64).abs() < 100.0, "{exact:?}");
        assert_eq!(binomial(0, 10), (0, 0));
        assert_eq!(binomial(1, 2), (0, 1));
    }

    #[test]
    fn a_sum_of_many_small_values_is_within_four_deviations_and_one_of_few_large_values_is_not() {
        let four = bernstein(10_000.0, 0.1) / 100.0;
        assert!((3.89..3.92).contains(&four), "{four}");
        assert!(bernstein(10_000.0, 100.0) > 500.0);
    }
}
