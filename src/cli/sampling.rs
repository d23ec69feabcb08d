//! How many requests and rows the lines of a sampled log stand for.

use serde::Serialize;

use crate::write::columns::grouped;

/// How many standard deviations lie on each side of the mean in a 95 % interval of a normal distribution.
const INTERVAL_95: f64 = 1.96;

/// Counts of lines, and of what they stand for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sampling {
    requests: Counted,
    rows: Counted,
}

/// Lines of one kind.
#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    lines: u64,
    /// Those with a `sample_rate`.
    sampled: u64,
    stand_for: u64,
    /// The estimate of the variance of `stand_for`. Each of the requests was chosen with probability 1/n, so
    /// a line that was chosen adds n (n - 1).
    variance: f64,
}

impl Counted {
    fn add(&mut self, sample_rate: Option<u32>) {
        let rate = sample_rate.unwrap_or(1).max(1);
        self.lines += 1;
        self.sampled += u64::from(sample_rate.is_some());
        self.stand_for = self.stand_for.saturating_add(rate.into());
        self.variance += f64::from(rate) * f64::from(rate - 1);
    }

    fn merge(&mut self, other: Self) {
        self.lines += other.lines;
        self.sampled += other.sampled;
        self.stand_for = self.stand_for.saturating_add(other.stand_for);
        self.variance += other.variance;
    }
}

impl Sampling {
    pub(super) fn add_request(&mut self, sample_rate: Option<u32>) {
        self.requests.add(sample_rate);
    }

    pub(super) fn add_row(&mut self, sample_rate: Option<u32>) {
        self.rows.add(sample_rate);
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.requests.merge(other.requests);
        self.rows.merge(other.rows);
    }

    /// How many detached rows there are.
    pub(super) fn rows(&self) -> u64 {
        self.rows.lines
    }

    /// `None` if no line has a `sample_rate`.
    pub(super) fn figures(&self) -> Option<Sampled> {
        let Self { requests, rows } = self;
        let (deviation, stand_for) = (requests.variance.sqrt() * INTERVAL_95, requests.stand_for as f64);
        (requests.sampled + rows.sampled > 0).then(|| Sampled {
            request_lines: requests.lines,
            sampled_request_lines: requests.sampled,
            requests: requests.stand_for,
            // There are at least as many requests as lines.
            requests_at_least: ((stand_for - deviation).round() as u64).max(requests.lines),
            requests_at_most: (stand_for + deviation).round() as u64,
            row_lines: rows.lines,
            rows: rows.stand_for,
        })
    }
}

/// What a sampled log stands for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Sampled {
    pub(super) request_lines: u64,
    /// Those with a `sample_rate`.
    pub(super) sampled_request_lines: u64,
    /// The sum of the weights of the request lines: an estimate of the number of requests.
    pub(super) requests: u64,
    /// The 95 % interval of the number of requests.
    pub(super) requests_at_least: u64,
    pub(super) requests_at_most: u64,
    /// Detached rows in the log, and how many they stand for.
    pub(super) row_lines: u64,
    pub(super) rows: u64,
}

impl Sampled {
    /// What must be known to read the figures, in a sentence.
    pub(super) fn sentence(&self) -> String {
        let Self { request_lines, requests, requests_at_least, requests_at_most, row_lines, rows, .. } = self;
        let mut lines = Vec::new();
        if *request_lines > 0 {
            lines.push(format!(
                "{} request lines stand for about {} requests (95 % interval: {} to {})",
                count(*request_lines),
                count(*requests),
                count(*requests_at_least),
                count(*requests_at_most)
            ));
        }
        if *row_lines > 0 {
            lines.push(format!("{} detached rows stand for about {}", count(*row_lines), count(*rows)));
        }
        format!(
            "The log is sampled: {}. The figures are weighted by sample_rate, except for wall times, maxima \
             and the slowest requests.",
            lines.join(", and ")
        )
    }
}

fn count(number: u64) -> String {
    grouped(&number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_stand_for_their_rate_with_the_error_of_a_binomial_sample() {
        let (mut whole, mut part) = (Sampling::default(), Sampling::default());
        (0..20).for_each(|_| whole.add_request(None));
        (0..100).for_each(|_| part.add_request(Some(10)));
        (0..3).for_each(|_| part.add_row(Some(4)));
        assert_eq!(whole.figures(), None);
        whole.merge(part);
        let sampled = whole.figures().unwrap();
        assert_eq!(
            (sampled.request_lines, sampled.sampled_request_lines, sampled.requests),
            (120, 100, 1_020)
        );
        // The deviation is sqrt(100 * 10 * 9) = 94.87.
        assert_eq!((sampled.requests_at_least, sampled.requests_at_most), (834, 1_206));
        assert_eq!((sampled.row_lines, sampled.rows), (3, 12));
        let sentence = sampled.sentence();
        assert!(sentence.contains("120 request lines stand for about 1,020 requests"), "{sentence}");
    }
}
