//! The figures of the requests that ended in a stretch of time. Their size does not depend on how many
//! requests there are.

use std::collections::BTreeMap;

use crate::{
    Percentiles, RequestLine, StagePercentiles, StageRow, Window,
    cli::{
        chosen::Chosen,
        groups::{Percent, RequestGroups, Spread},
        log_line::LogLine,
        objectives::ObjectiveCounts,
        tally::Tally,
    },
    fold::{histograms::Whose, totals::per_second},
    model::{
        id::{OrderedId, unordered},
        keep::is_failed,
        value::prefix,
    },
};

/// How many stages have times: those with the smallest ids.
const STAGES: usize = 16;
/// How many bytes are kept of an error's text, and of a `finish_reason`.
const TEXT: usize = 120;

/// The times of a stage that are counted, in this order.
pub(super) const TIMES_OF_STAGE: [&str; 3] = ["stage_gen_time_ms", "queue_time_ms", "first_output_ms"];

#[derive(Debug, Clone, Default)]
pub(super) struct Bucket {
    /// Requests, as below: those that the lines stand for.
    pub(super) requests: u64,
    pub(super) tokens: u64,
    pub(super) failed: u64,
    /// Failed requests by their first error, or by their `finish_reason` if there is no error.
    pub(super) failures: Tally<String>,
    pub(super) objectives: ObjectiveCounts,
    pub(super) groups: Option<RequestGroups>,
    reasons: Tally<Option<String>>,
    /// In the order of [`Percentiles::TIMES`].
    times: [Spread; Percentiles::TIMES.len()],
    stages: BTreeMap<OrderedId, [Spread; TIMES_OF_STAGE.len()]>,
}

impl Bucket {
    pub(super) fn new(objectives: ObjectiveCounts, groups: Option<RequestGroups>) -> Self {
        Self { objectives, groups, ..Self::default() }
    }

    /// Adds a line to the groups. The other figures have it from the functions below.
    pub(super) fn group(&mut self, line: &LogLine) {
        self.groups.iter_mut().for_each(|groups| groups.add(line));
    }

    pub(super) fn add(&mut self, line: &RequestLine) {
        let (e2e, weight) = (&line.e2e_table, line.weight());
        self.requests = self.requests.saturating_add(weight);
        self.tokens = self.tokens.saturating_add(e2e.e2e_total_tokens.saturating_mul(weight));
        let reason = e2e.finish_reason.as_deref().map(|reason| prefix(reason, TEXT).to_owned());
        self.reasons.add(&reason, weight.into());
        self.objectives.add(line);
        if is_failed(e2e) {
            self.failed = self.failed.saturating_add(weight);
            self.failures.add(&failure(line).to_owned(), weight.into());
        }
        Percentiles::times(e2e, |at, time| {
            if let Some(spread) = self.times.get_mut(at) {
                spread.add(time, weight);
            }
        });
        line.stage_table.iter().for_each(|row| self.add_row(row, weight));
    }

    /// Adds a row of a stage: of a request, or a detached one.
    pub(super) fn add_row(&mut self, row: &StageRow, weight: u64) {
        let spreads = self.stages.entry(row.order()).or_default();
        let times = [row.stage_gen_time_ms, row.queue_time_ms, row.first_output_ms];
        for (spread, time) in spreads.iter_mut().zip(times) {
            time.iter().for_each(|time| spread.add(*time, weight));
        }
        self.forget_stages();
    }

    /// A stage that is forgotten does not come back, since all that are kept are smaller.
    fn forget_stages(&mut self) {
        while self.stages.len() > STAGES {
            self.stages.pop_last();
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        let Self { requests, tokens, failed, failures, objectives, groups, reasons, times, stages } = other;
        self.requests = self.requests.saturating_add(*requests);
        self.tokens = self.tokens.saturating_add(*tokens);
        self.failed = self.failed.saturating_add(*failed);
        self.failures.merge(failures);
        self.objectives.merge(objectives);
        if let (Some(ours), Some(theirs)) = (&mut self.groups, groups) {
            ours.merge(&mut theirs.clone());
        }
        self.reasons.merge(reasons);
        self.times.iter_mut().zip(times).for_each(|(spread, times)| spread.include(times));
        for (id, times) in stages {
            let spreads = self.stages.entry(*id).or_default();
            spreads.iter_mut().zip(times).for_each(|(spread, times)| spread.include(times));
        }
        self.forget_stages();
    }

    /// The figures with the keys of a report of the layer, for the time that was seen.
    pub(super) fn window(&self, nanos: u64) -> Window {
        let reason = |reason: &Option<String>| reason.clone().unwrap_or_else(|| "none".to_owned());
        let count = |count: u128| u64::try_from(count).unwrap_or(u64::MAX);
        let reasons = self.reasons.iter().map(|(name, requests)| (reason(name), count(requests)));
        let rest = (self.reasons.rest > 0).then(|| ("other".to_owned(), count(self.reasons.rest)));
        Window {
            time_ms: crate::Millis::from_nanos(nanos),
            requests: self.requests,
            requests_per_s: per_second(self.requests, nanos),
            tokens: self.tokens,
            tokens_per_s: per_second(self.tokens, nanos),
            finish_reasons: reasons.chain(rest).collect(),
            percentiles: self.percentiles(),
        }
    }

    /// Percentiles of the times, of those that have values.
    pub(super) fn chosen(&self, percents: &[Percent]) -> Vec<Chosen> {
        let chosen = |whose, number, spread: &Spread| {
            let (mean, max) = (spread.mean()?.as_f64(), spread.max()?.as_f64());
            let values =
                percents.iter().filter_map(|percent| Some((percent, spread.percentile(*percent)?.as_f64())));
            Some(Chosen::new((whose, number), (spread.count(), mean, max), values))
        };
        let of_requests = Percentiles::TIMES.iter().zip(&self.times);
        let of_requests = of_requests.filter_map(|(number, spread)| chosen(Whose::Request, number, spread));
        let of_stages = self.stages.iter().flat_map(|(id, spreads)| {
            let whose = Whose::Stage(unordered(*id));
            TIMES_OF_STAGE
                .iter()
                .zip(spreads)
                .filter_map(move |(number, spread)| chosen(whose, number, spread))
        });
        of_requests.chain(of_stages).collect()
    }

    fn percentiles(&self) -> Percentiles {
        let [e2e_total_ms, queue_time_ms, unattributed_time_ms] =
            [0, 1, 2].map(|at| self.times.get(at).and_then(Spread::distribution));
        let stages = self.stages.iter().map(|(id, spreads)| {
            let [stage_gen_time_ms, queue_time_ms, first_output_ms] =
                spreads.each_ref().map(Spread::distribution);
            StagePercentiles {
                stage_id: unordered(*id),
                stage_gen_time_ms,
                queue_time_ms,
                first_output_ms,
                ..StagePercentiles::default()
            }
        });
        Percentiles {
            e2e_total_ms,
            queue_time_ms,
            unattributed_time_ms,
            stages: stages.collect(),
            ..Percentiles::default()
        }
    }
}

/// What a failed request is counted under.
fn failure(line: &RequestLine) -> &str {
    let e2e = &line.e2e_table;
    let text = e2e.error.as_deref().or(e2e.finish_reason.as_deref());
    prefix(text.unwrap_or("an error without a text"), TEXT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{E2eTable, Millis};

    #[test]
    fn the_times_are_those_of_the_keys_that_they_are_shown_under() {
        assert_eq!(Percentiles::TIMES, ["e2e_total_ms", "queue_time_ms", "unattributed_time_ms"]);
    }

    #[test]
    fn sampled_lines_count_for_all_requests_that_they_stand_for_and_merging_loses_nothing() {
        let time = |nanos| Some(Millis::from_nanos(nanos));
        let line = |n: u64| RequestLine {
            sample_rate: n.is_multiple_of(2).then_some(10),
            e2e_table: E2eTable {
                e2e_total_ms: Millis::from_nanos(n * 1_000),
                e2e_total_tokens: 3,
                finish_reason: Some(if n.is_multiple_of(5) { "error" } else { "stop" }.to_owned()),
                error: (n == 5).then(|| "é".repeat(100)),
                ..E2eTable::default()
            },
            stage_table: (0..20)
                .map(|id| StageRow { stage_id: Some(id), stage_gen_time_ms: time(n), ..StageRow::default() })
                .collect(),
            ..RequestLine::default()
        };
        let mut parts = [Bucket::default(), Bucket::default()];
        (1..=100).for_each(|n| parts[usize::from(n > 30)].add(&line(n)));
        let [mut all, other] = parts;
        all.merge(&other);
        let window = all.window(2_000_000_000);
        assert_eq!((window.requests, window.tokens, all.failed), (550, 1_650, 110));
        assert_eq!((window.requests_per_s, window.tokens_per_s), (275.0, 825.0));
        let reasons: Vec<_> = window.finish_reasons.into_iter().collect();
        assert_eq!(reasons, [("error".to_owned(), 110), ("stop".to_owned(), 440)]);
        let failures: Vec<_> = all.failures.iter().map(|(kind, count)| (kind.len(), count)).collect();
        assert_eq!(failures, [("error".len(), 109), (TEXT, 1)]);
        let e2e = window.percentiles.e2e_total_ms.unwrap();
        assert_eq!((e2e.count, e2e.max), (550, Millis::from_nanos(100_000)));
        assert!((e2e.p50.as_nanos() as f64 / 50_000.0 - 1.0).abs() < 0.02, "{e2e:?}");
        assert_eq!(window.percentiles.stages.len(), STAGES);
        assert_eq!(window.percentiles.stages[15].stage_id, Some(15));
        assert_eq!(window.percentiles.stages[0].stage_gen_time_ms.unwrap().count, 550);
    }
}
