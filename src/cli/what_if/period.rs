//! The time of a run over which utilisations and ended requests are counted.

/// This share of the requests at either end of a run does not extend the period: one request that lasts for
/// minutes after all others would dilute every share of the time, and lower the requests a second.
const OUTSIDE: usize = 100;

/// From the creation of the first requests to the end of the last ones, in nanoseconds; 1 % of the requests
/// may begin before it, and 1 % may end after it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Period {
    start: u64,
    end: u64,
}

impl Period {
    /// The period of requests, each from its creation to its end.
    pub(super) fn of(requests: impl Iterator<Item = (u64, u64)>) -> Self {
        let (mut starts, mut ends): (Vec<_>, Vec<_>) = requests.unzip();
        starts.sort_unstable();
        ends.sort_unstable_by_key(|end| std::cmp::Reverse(*end));
        let inner = |times: &[u64]| times.get(times.len() / OUTSIDE).copied().unwrap_or_default();
        let (start, end) = (inner(&starts), inner(&ends));
        Self { start, end: end.max(start.saturating_add(1)) }
    }

    pub(super) fn end(&self) -> u64 {
        self.end
    }

    pub(super) fn seconds(&self) -> f64 {
        (self.end - self.start) as f64 / 1e9
    }

    /// How many seconds of these times, each from a start to an end, lie within the period.
    pub(super) fn within(&self, times: impl Iterator<Item = (u64, u64)>) -> f64 {
        let within = |(start, end): (u64, u64)| end.min(self.end).saturating_sub(start.max(self.start));
        times.map(|times| within(times) as f64 / 1e9).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_outlasts_all_others_does_not_extend_the_period() {
        let requests = || (0..100).map(|at| (at * 10, at * 10 + 8));
        assert_eq!(Period::of(requests()).seconds(), 978e-9);
        let with_long = Period::of(requests().chain([(990, 500_000)]));
        assert_eq!(with_long.seconds(), 988e-9);
        assert_eq!(with_long.within([(0, 30), (900, 600_000)].into_iter()), 118e-9);
        assert_eq!(Period::of(std::iter::empty()).seconds(), 1e-9);
    }
}
