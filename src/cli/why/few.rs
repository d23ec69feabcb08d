//! Few of the slowest requests, if these make up most of the time by which all of them were slower.

use serde::Serialize;

use super::{
    answer::{Answer, MeanRequest},
    mostly::Mostly,
    sentences::{time, times_as_long},
    survey::{Mean, Survey},
};
use crate::{Millis, cli::sentence::listed, write::columns::grouped};

/// The share of that time which they make up at least.
const MOST: f64 = 0.5;
/// When they do, further ones belong to them that took this many times as much longer as the slowest do on
/// average.
const SLOW: f64 = 2.0;
/// They are one request, or at most one of this many of the slowest.
const ONE_OF: u64 = 10;
/// Of fewer of the slowest, each one is much.
const LEAST: u64 = 4;
/// How many of them are named.
const NAMED: usize = 3;

/// The few requests, and the mean of the other ones of the slowest.
#[derive(Debug, Serialize)]
pub(super) struct Few {
    requests: u64,
    /// Of the time by which all of the slowest took longer than the median request.
    share: f64,
    slowest: Vec<Slow>,
    mostly: Mostly,
    others: MeanRequest,
    #[serde(skip)]
    pub(super) others_mean: Mean,
}

#[derive(Debug, Serialize)]
struct Slow {
    request_id: String,
    e2e_total_ms: Millis,
}

impl Few {
    pub(super) fn of(survey: &Survey, percent: f64, median: Millis) -> Option<Self> {
        let tail: Vec<_> = survey.slowest_buckets(percent)?.collect();
        let bins = tail.iter().map(|bucket| (bucket.requests(), bucket.longer_than(median)));
        let (few, share) = few(&bins.collect::<Vec<_>>())?;
        let (few, others) = tail.split_at_checked(few)?;
        let mostly = Mostly::of(&Mean::of(few.iter().copied())?);
        let others = Mean::of(others.iter().copied())?;
        let named = few.iter().filter_map(|bucket| bucket.slowest_request()).take(NAMED);
        Some(Self {
            requests: few.iter().map(|bucket| bucket.requests()).sum(),
            share,
            slowest: named
                .map(|(request_id, e2e_total_ms)| Slow { request_id: request_id.to_owned(), e2e_total_ms })
                .collect(),
            mostly,
            others: MeanRequest::of(&others, survey),
            others_mean: others,
        })
    }
}

/// How many of these bins are few, and their share. Each bin has a number of requests, and the time by which
/// they took longer; the slowest one comes first.
fn few(bins: &[(u64, f64)]) -> Option<(usize, f64)> {
    let requests: u64 = bins.iter().map(|(requests, _)| requests).sum();
    let whole: f64 = bins.iter().map(|(_, time)| time).sum();
    let (mut first, mut longer, mut found) = (0, 0.0, None);
    for (at, (in_bin, time)) in bins.iter().enumerate() {
        first += in_bin;
        let are_few = first == 1 || first.saturating_mul(ONE_OF) <= requests;
        let is_slow = *time >= SLOW * whole / requests as f64 * *in_bin as f64;
        if requests < LEAST || whole <= 0.0 || !are_few || found.is_some() && !is_slow {
            break;
        }
        longer += time;
        if longer >= MOST * whole {
            found = Some((at + 1, longer / whole));
        }
    }
    found
}

impl Answer {
    /// That few of the slowest requests make up most of the difference, and where the time of the others
    /// went.
    pub(super) fn about_few(&self, few: &Few) -> Vec<String> {
        let Few { requests, share, slowest, mostly, others, .. } = few;
        let mut named: Vec<_> = slowest
            .iter()
            .map(|Slow { request_id, e2e_total_ms }| format!("{request_id} ({})", time(*e2e_total_ms)))
            .collect();
        let more = requests.saturating_sub(named.len() as u64);
        if more > 0 {
            named.push(format!("{} more", grouped(&more.to_string())));
        }
        let make_up = if *requests == 1 { "makes up" } else { "make up" };
        let [some, all] =
            [*requests, requests + others.requests].map(|requests| grouped(&requests.to_string()));
        let few = format!(
            "{some} of these {all} requests {make_up} {:.0} % of the difference from the median request: {}.",
            share * 100.0,
            listed(&named)
        );
        let (e2e, other) = (others.e2e_total_ms, grouped(&others.requests.to_string()));
        let length = format!("The other {other} took {} on average{}.", time(e2e), times_as_long(self, e2e));
        let differences = self.differences(e2e, |part| part.others_ms.unwrap_or_default());
        let differences = differences.map(|differences| format!("They took {differences}."));
        let mostly = self.where_most_were(mostly).map(|most| format!("Of these few, {most}."));
        [Some(few), mostly, Some(length), differences].into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_requests_are_one_or_a_tenth_and_have_half_of_the_time() {
        let bins = |stuck: &[(u64, f64)], others| [stuck, &vec![(1, 10.0); others]].concat();
        assert_eq!(few(&bins(&[(1, 30.0)], 3)), Some((1, 0.5)));
        assert_eq!(few(&bins(&[(1, 29.9)], 3)), None, "less than half of the time");
        assert_eq!(few(&bins(&[(1, 30.0)], 2)), None, "one of three");
        assert_eq!(few(&bins(&[(1, 200.0), (1, 200.0)], 18)), Some((2, 400.0 / 580.0)));
        assert_eq!(few(&bins(&[(2, 400.0)], 17)), None, "two of 19");
        let stuck = [(1, 1_000.0), (1, 70.0), (1, 60.0)];
        assert_eq!(
            few(&bins(&stuck, 47)),
            Some((2, 1_070.0 / 1_600.0)),
            "the third is less than twice the mean"
        );
        assert_eq!(few(&bins(&[(1, 1_000.0), (1, 100.0)], 18)), Some((1, 1_000.0 / 1_280.0)));
        assert_eq!(few(&bins(&[], 200)), None);
        assert_eq!(few(&[(1, 0.0), (9, 0.0)]), None);
        assert_eq!(few(&[]), None);
    }
}
