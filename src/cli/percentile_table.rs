//! The percentiles of a log as a table that fits a terminal: the numbers of a stage stand below its name.

use super::{chosen::Chosen, groups::Percent, stage_names::StageNames};
use crate::{
    Millis, Percentiles,
    fold::histograms::Whose,
    model::{id::ordered, percentiles::Distribution},
    write::columns::{Cell, Columns, grouped, id},
};

pub(super) fn percentile_table(percentiles: &Percentiles, names: &StageNames) -> Columns {
    let mut table = Columns::named("Field", ["count", "mean", "p50", "p90", "p99", "p99.9", "max"]);
    for (number, times) in percentiles.named_times() {
        row(&mut table, number, times, millis);
    }
    for (number, ratios) in percentiles.named_ratios() {
        row(&mut table, number, ratios, short);
    }
    row(&mut table, "tokens_per_s", percentiles.tokens_per_s, short);
    for stage in &percentiles.stages {
        head(&mut table, &names.of(ordered(stage.stage_id)), 7);
        for (number, times) in stage.named_times() {
            row(&mut table, &below(number), times, millis);
        }
        row(&mut table, &below("inter_output_ms"), stage.inter_output_ms, millis);
        for (number, ratios) in stage.named_ratios() {
            row(&mut table, &below(number), ratios, short);
        }
    }
    for edge in &percentiles.transfers {
        head(&mut table, &transfer(edge.from_stage, edge.to_stage), 7);
        for (number, times) in edge.named_times() {
            row(&mut table, &below(number), times, millis);
        }
        for (number, ratios) in edge.named_ratios() {
            row(&mut table, &below(number), ratios, short);
        }
    }
    table
}

/// The same with the percentiles that were chosen.
pub(super) fn chosen_table(rows: &[Chosen], percents: &[Percent], names: &StageNames) -> Columns {
    let percents: Vec<_> = percents.iter().map(ToString::to_string).collect();
    let heads = ["count", "mean"].map(str::to_owned).into_iter().chain(percents.clone());
    let mut table = Columns::titled("Field", heads.chain(["max".to_owned()]));
    for rows in rows.chunk_by(|row, next| row.whose == next.whose) {
        let name = rows.first().and_then(|row| match row.whose {
            Whose::Request => None,
            Whose::Stage(stage) => Some(names.of(ordered(stage))),
            Whose::Edge(from, to) => Some(transfer(from, to)),
        });
        name.iter().for_each(|name| head(&mut table, name, percents.len() + 3));
        for Chosen { number, count, mean, values, max, .. } in rows {
            let values = percents.iter().map(|percent| values.get(percent));
            let values = [Some(mean)].into_iter().chain(values).chain([Some(max)]);
            let values: Vec<_> = values.map(|value| value.map(|value| short(*value))).collect();
            let cells = values.iter().map(|value| value.as_deref().map_or(Cell::Absent, Cell::Text));
            let number = if name.is_some() { below(number) } else { (*number).to_owned() };
            table.row(&number, [Cell::Count(*count)].into_iter().chain(cells));
        }
    }
    table
}

fn transfer(from: Option<u64>, to: Option<u64>) -> String {
    format!("transfer {}->{}", id(from), id(to))
}

fn below(number: &str) -> String {
    format!("  {number}")
}

fn head(table: &mut Columns, name: &str, columns: usize) {
    table.row(name, std::iter::repeat_with(|| Cell::Text("")).take(columns));
}

fn row<T: Copy>(
    table: &mut Columns,
    name: &str,
    distribution: Option<Distribution<T>>,
    short: impl Fn(T) -> String,
) {
    if let Some(Distribution { count, mean, p50, p90, p99, p999, max }) = distribution {
        let values = [mean, p50, p90, p99, p999, max].map(short);
        let values = values.iter().map(|value| Cell::Text(value));
        table.row(name, std::iter::once(Cell::Count(count)).chain(values));
    }
}

fn millis(time: Millis) -> String {
    short(time.as_f64())
}

/// At least four digits, which is more than a percentile has; as many decimals as six characters have room
/// for, up to three.
pub(super) fn short(value: f64) -> String {
    grouped(&match value.abs() {
        ..100.0 => format!("{value:.3}"),
        ..1_000.0 => format!("{value:.2}"),
        _ => format!("{value:.0}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let values = [0.0, 0.0004, 26.2551, 479.756, 999.994, 4_797.6, 137_361.237];
        let expected = ["0.000", "0.000", "26.255", "479.76", "999.99", "4,798", "137,361"];
        assert_eq!(values.map(short), expected);
    }
}
