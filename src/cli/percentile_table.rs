//! The percentiles of a log as a table that fits a terminal: the numbers of a stage stand below its name.

use super::stage_names::StageNames;
use crate::{
    Millis, Percentiles,
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
        head(&mut table, &names.of(ordered(stage.stage_id)));
        for (number, times) in stage.named_times() {
            row(&mut table, &below(number), times, millis);
        }
        row(&mut table, &below("inter_output_ms"), stage.inter_output_ms, millis);
        for (number, ratios) in stage.named_ratios() {
            row(&mut table, &below(number), ratios, short);
        }
    }
    for edge in &percentiles.transfers {
        head(&mut table, &format!("transfer {}->{}", id(edge.from_stage), id(edge.to_stage)));
        for (number, times) in edge.named_times() {
            row(&mut table, &below(number), times, millis);
        }
        for (number, ratios) in edge.named_ratios() {
            row(&mut table, &below(number), ratios, short);
        }
    }
    table
}

fn below(number: &str) -> String {
    format!("  {number}")
}

fn head(table: &mut Columns, name: &str) {
    table.row(name, std::iter::repeat_with(|| Cell::Text("")).take(7));
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
