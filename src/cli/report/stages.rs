//! The percentiles of requests, stages and transfers, and the outputs of stages, as tables.

use serde::Serialize;

use super::{
    figures::{count, decimal, shown},
    spent::StageNames,
};
use crate::{
    Millis,
    cli::{chosen::Chosen, groups::Percent, stage_outputs::OutputsOfStage},
    fold::histograms::Whose,
    model::id::ordered,
    write::columns::{ABSENT, id},
};

/// A table.
#[derive(Debug, Serialize)]
pub(super) struct Table {
    pub(super) heads: Vec<String>,
    pub(super) groups: Vec<Group>,
}

/// Rows about one thing.
#[derive(Debug, Serialize)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) rows: Vec<Vec<String>>,
}

/// The percentiles of the numbers of a run, with the words that the waterfalls have for them.
pub(super) fn percentiles(rows: &[Chosen], percents: &[Percent], stages: &StageNames) -> Table {
    let names: Vec<_> = percents.iter().map(Percent::to_string).collect();
    let mut groups = Vec::<Group>::new();
    for row in rows {
        let Chosen { whose, number, count: values_known, mean, values, max, .. } = row;
        let shown = |value: f64| match number.ends_with("_ms") {
            true => shown(Millis::from_f64(value).unwrap_or_default()),
            false => decimal(value),
        };
        let name = number.trim_end_matches("_ms").trim_end_matches("_time").replace('_', " ");
        let chosen = names.iter().filter_map(|name| values.get(name)).copied();
        let values = [*mean].into_iter().chain(chosen).chain([*max]).map(shown);
        let cells = [name, count(*values_known)].into_iter().chain(values).collect();
        let of = match *whose {
            Whose::Request => "request".to_owned(),
            Whose::Stage(stage) => stages.of(ordered(stage)),
            Whose::Edge(from, to) => format!("{} → {}", id(from), id(to)),
        };
        match groups.last_mut().filter(|group| group.name == of) {
            Some(group) => group.rows.push(cells),
            None => groups.push(Group { name: of, rows: vec![cells] }),
        }
    }
    let heads = ["number", "count", "mean"].map(str::to_owned).into_iter();
    Table { heads: heads.chain(names).chain(["max".to_owned()]).collect(), groups }
}

/// The percentiles of the end-to-end latency.
pub(super) fn marks(rows: &[Chosen], percents: &[Percent]) -> Vec<(String, Millis)> {
    let e2e = rows.iter().find(|row| row.whose == Whose::Request && row.number == "e2e_total_ms");
    let mark = |name: String| Some((Millis::from_f64(*e2e?.values.get(&name)?)?, name));
    let marks = percents.iter().filter_map(|percent| mark(percent.to_string()));
    marks.map(|(time, name)| (name, time)).collect()
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
    let heads = [
        "stage",
        "outputs",
        "mean gap",
        "longest gap",
        "media",
        "real-time factor",
        "underruns",
        "time of underruns",
    ];
    let heads = heads.map(str::to_owned).to_vec();
    let groups = vec![Group { name: String::new(), rows: outputs.iter().map(row).collect() }];
    (!outputs.is_empty()).then_some(Table { heads, groups })
}
