//! How the stages of requests delivered their outputs and media.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    Millis, RequestLine, StageRow,
    model::id::{OrderedId, unordered},
};

/// How many stages are told apart: those with the smallest ids.
const LIMIT: usize = 256;

/// The outputs and media of rows of one stage.
#[derive(Debug, Clone, Default)]
struct Delivery {
    outputs: u64,
    gaps: u64,
    gap_total: u128,
    longest_gap: Option<Millis>,
    /// Of the rows with media.
    gen_time: u128,
    media: u128,
    underruns: Option<u64>,
    underrun_total: u128,
}

/// The outputs and media of each stage. A stage that has been left out has a larger id than all others, so
/// that it does not come back.
#[derive(Debug, Clone, Default)]
pub(super) struct StageOutputs(BTreeMap<OrderedId, Delivery>);

/// The figures of one stage.
#[derive(Debug, Serialize)]
pub(super) struct OutputsOfStage {
    pub(super) stage_id: Option<u64>,
    pub(super) outputs: u64,
    /// The mean and the longest gap between one output and the next.
    pub(super) inter_output_mean_ms: Option<Millis>,
    pub(super) inter_output_max_ms: Option<Millis>,
    pub(super) media_ms: Millis,
    /// The time of the rows with media, divided by that of their media.
    pub(super) real_time_factor: Option<f64>,
    pub(super) underruns: Option<u64>,
    pub(super) underrun_total_ms: Millis,
}

impl StageOutputs {
    pub(super) fn add(&mut self, line: &RequestLine) {
        for row in &line.stage_table {
            if row.outputs.is_some() || row.media_ms.is_some() {
                self.add_to(row.order(), &Delivery::of(row).times(line.weight()));
            }
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|(stage, delivery)| self.add_to(*stage, delivery));
    }

    fn add_to(&mut self, stage: OrderedId, delivery: &Delivery) {
        self.0.entry(stage).or_default().add(delivery);
        if self.0.len() > LIMIT {
            self.0.pop_last();
        }
    }

    /// By stage.
    pub(super) fn figures(&self) -> Vec<OutputsOfStage> {
        self.0.iter().map(|(stage, delivery)| delivery.figures(unordered(*stage))).collect()
    }
}

impl Delivery {
    fn of(row: &StageRow) -> Self {
        let outputs = row.outputs.unwrap_or(0);
        let gaps = if row.inter_output_mean_ms.is_some() { outputs.saturating_sub(1) } else { 0 };
        let nanos = |time: Option<Millis>| u128::from(time.unwrap_or_default().as_nanos());
        Self {
            outputs,
            gaps,
            gap_total: nanos(row.inter_output_mean_ms) * u128::from(gaps),
            longest_gap: row.inter_output_max_ms,
            gen_time: nanos(row.stage_gen_time_ms.filter(|_| row.media_ms.is_some())),
            media: nanos(row.media_ms),
            underruns: row.underruns,
            underrun_total: nanos(row.underrun_total_ms),
        }
    }

    /// That of a row which stands for `weight` rows like it.
    fn times(self, weight: u64) -> Self {
        let (wide, times) = (u128::from(weight), |count: u64| count.saturating_mul(weight));
        Self {
            outputs: times(self.outputs),
            gaps: times(self.gaps),
            gap_total: self.gap_total.saturating_mul(wide),
            longest_gap: self.longest_gap,
            gen_time: self.gen_time.saturating_mul(wide),
            media: self.media.saturating_mul(wide),
            underruns: self.underruns.map(times),
            underrun_total: self.underrun_total.saturating_mul(wide),
        }
    }

    fn add(&mut self, other: &Self) {
        self.outputs = self.outputs.saturating_add(other.outputs);
        self.gaps = self.gaps.saturating_add(other.gaps);
        self.gap_total = self.gap_total.saturating_add(other.gap_total);
        self.longest_gap = self.longest_gap.max(other.longest_gap);
        self.gen_time += other.gen_time;
        self.media += other.media;
        if let Some(more) = other.underruns {
            self.underruns = Some(self.underruns.unwrap_or(0).saturating_add(more));
        }
        self.underrun_total += other.underrun_total;
    }

    fn figures(&self, stage_id: Option<u64>) -> OutputsOfStage {
        let time = |nanos: u128| Millis::from_nanos(nanos.try_into().unwrap_or(u64::MAX));
        OutputsOfStage {
            stage_id,
            outputs: self.outputs,
            inter_output_mean_ms: self.gap_total.checked_div(self.gaps.into()).map(time),
            inter_output_max_ms: self.longest_gap,
            media_ms: time(self.media),
            real_time_factor: time(self.gen_time).ratio(time(self.media)),
            underruns: self.underruns,
            underrun_total_ms: time(self.underrun_total),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_count_one_by_one_and_times_as_a_whole() {
        let row = |outputs, mean: Option<u64>, max: Option<u64>, (gen_time, media)| StageRow {
            outputs: Some(outputs),
            inter_output_mean_ms: mean.map(Millis::from_nanos),
            inter_output_max_ms: max.map(Millis::from_nanos),
            stage_gen_time_ms: Some(Millis::from_nanos(gen_time)),
            media_ms: Some(Millis::from_nanos(media)),
            underruns: (outputs > 2).then_some(outputs),
            ..StageRow::default()
        };
        let rows = [
            row(3, Some(10), Some(15), (30, 10)),
            row(1, None, None, (30, 80)),
            row(2, Some(40), Some(40), (0, 0)),
        ];
        let mut outputs = [StageOutputs::default(), StageOutputs::default()];
        for (at, row) in rows.into_iter().enumerate() {
            outputs[at % 2].add(&RequestLine { stage_table: vec![row], ..RequestLine::default() });
        }
        let [mut one, other] = outputs;
        one.merge(&other);
        let [figures] = &one.figures()[..] else { panic!("one stage") };
        assert_eq!((figures.outputs, figures.underruns), (6, Some(3)));
        assert_eq!(figures.inter_output_mean_ms, Some(Millis::from_nanos(20)));
        assert_eq!(figures.inter_output_max_ms, Some(Millis::from_nanos(40)));
        assert_eq!(figures.real_time_factor, Some(0.666667));
    }
}
