//! The percentiles of requests, stages and transfers, and the outputs of stages, as tables.

use serde::Serialize;

use super::{
    figures::{count, decimal, shown},
    spent::StageNames,
};
use crate::{
    Distribution, Millis, Percentiles,
    cli::stage_outputs::OutputsOfStage,
    model::id::ordered,
    write::columns::{ABSENT, id},
};

/// A table.
#[derive(Debug, Serialize)]
pub(super) struct Table {
    pub(super) heads: Vec<&'static str>,
    pub(super) groups: Vec<Group>,
}

/// Rows about one thing.
#[derive(Debug, Serialize)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) rows: Vec<Vec<String>>,
}

/// The distributions of the numbers of a run.
pub(super) fn percentiles(percentiles: &Percentiles, stages: &StageNames) -> Table {
    let of_requests = rows(percentiles.named_times(), shown)
        .chain(rows(percentiles.named_ratios(), decimal))
        .chain(rows([("tokens_per_s", percentiles.tokens_per_s)].into_iter(), decimal));
    let mut groups = vec![Group { name: "request".to_owned(), rows: of_requests.collect() }];
    groups.extend(percentiles.stages.iter().map(|stage| {
        Group {
            name: stages.of(ordered(stage.stage_id)),
            rows: rows(stage.named_times(), shown)
                .chain(rows([("inter_output_ms", stage.inter_output_ms)].into_iter(), shown))
                .chain(rows(stage.named_ratios(), decimal))
                .collect(),
        }
    }));
    groups.extend(percentiles.transfers.iter().map(|edge| Group {
        name: format!("{} → {}", id(edge.from_stage), id(edge.to_stage)),
        rows: rows(edge.named_times(), shown).collect(),
    }));
    groups.retain(|group| !group.rows.is_empty());
    Table { heads: vec!["number", "count", "mean", "p50", "p90", "p99", "p99.9", "max"], groups }
}

/// The numbers that have values, with the words that the waterfalls have for them.
fn rows<T: Copy>(
    numbers: impl Iterator<Item = (&'static str, Option<Distribution<T>>)>,
    shown: impl Fn(T) -> String,
) -> impl Iterator<Item = Vec<String>> {
    numbers.filter_map(move |(name, distribution)| {
        let Distribution { count: number, mean, p50, p90, p99, p999, max } = distribution?;
        let name = name.trim_end_matches("_ms").trim_end_matches("_time").replace('_', " ");
        let values = [mean, p50, p90, p99, p999, max].into_iter().map(&shown);
        Some([name, count(number)].into_iter().chain(values).collect())
    })
}

/// How the stages delivered their outputs, if any did.
pub(super) fn outputs(outputs: &[OutputsOfStage], stages: &StageNames) -> Option<Table> {
    let time = |time: Option<Millis>| time.map_or(ABSENT.to_owned(), shown);
    let row = |stage: &OutputsOfStage| {
        let has_media = stage.media_ms > Millis::ZERO;
        vec![
            stages.of(ordered(stage.stage_id)),
            count(stage.outputs),
            time(stage.inter_output_mean_ms),
            time(stage.inter_output_max_ms),
            time(has_media.then_some(stage.media_ms)),
            stage.real_time_factor.map_or(ABSENT.to_owned(), decimal),
            stage.underruns.map_or(ABSENT.to_owned(), count),
            time(stage.underruns.and(Some(stage.underrun_total_ms))),
        ]
    };
    let heads = vec![
        "stage",
        "outputs",
        "mean gap",
        "longest gap",
        "media",
        "real-time factor",
        "underruns",
        "time of underruns",
    ];
    let groups = vec![Group { name: String::new(), rows: outputs.iter().map(row).collect() }];
    (!outputs.is_empty()).then_some(Table { heads, groups })
}
