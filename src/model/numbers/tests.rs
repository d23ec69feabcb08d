//! Whether the documents, SQL and serde agree with the lists.

use std::fmt::Write;

use serde::{Serialize, de::DeserializeOwned};

use super::*;
use crate::{
    E2eTable, Percentiles, StagePercentiles, StageRow, TransferPercentiles, TransferRow,
    model::{
        json::Json,
        line_buffer::text,
        numbers::{Number, Table, Unit},
    },
};

/// The members of a row that has every number, as JSON.
fn full_text<Row: Table>() -> String {
    let mut text = "{".to_owned();
    for (at, Number { name, about, .. }) in (1..).zip(Row::NUMBERS) {
        let separator = if at == 1 { "" } else { "," };
        match about.unit {
            Unit::Milliseconds | Unit::Ratio => write!(text, "{separator}\"{name}\":{at}.5").unwrap(),
            Unit::Text => write!(text, "{separator}\"{name}\":\"text {at}\"").unwrap(),
            _ => write!(text, "{separator}\"{name}\":{at}").unwrap(),
        }
    }
    text + "}"
}

/// A row that has every number.
pub(crate) fn full<Row: Table + DeserializeOwned>() -> Row {
    serde_json::from_str(&full_text::<Row>()).unwrap()
}

fn written<Row: Table>(row: &Row) -> String {
    let first = format!("{{\"{}\":", Row::NUMBERS[0].name);
    let first: &str = first.leak();
    text(|out| row.write(Json(out), first).0) + "}"
}

fn writes_as_serde_does<Row: Table + Serialize + DeserializeOwned>() {
    assert_eq!(written(&full::<Row>()), full_text::<Row>());
    for row in [full::<Row>(), Row::default()] {
        let ours: serde_json::Value = serde_json::from_str(&written(&row)).unwrap();
        assert_eq!(ours, serde_json::to_value(&row).unwrap());
    }
}

#[test]
fn a_row_is_written_as_the_library_writes_it() {
    writes_as_serde_does::<E2eTable>();
    writes_as_serde_does::<StageRow>();
    writes_as_serde_does::<TransferRow>();
}

fn with_percentiles<Row: Table>() -> Vec<&'static str> {
    let numbers = Row::NUMBERS.iter().filter(|number| number.about.has_percentiles);
    let mut names: Vec<_> = numbers.map(|number| number.name).collect();
    names.sort_unstable();
    names
}

#[test]
fn the_numbers_with_percentiles_are_those_that_have_distributions() {
    let sorted = |times: &[&'static str], ratios: &[&'static str]| {
        let mut names = [times, ratios].concat();
        names.sort_unstable();
        names
    };
    assert_eq!(with_percentiles::<E2eTable>(), sorted(Percentiles::TIMES, Percentiles::RATIOS));
    assert_eq!(with_percentiles::<StageRow>(), sorted(StagePercentiles::TIMES, StagePercentiles::RATIOS));
    assert_eq!(
        with_percentiles::<TransferRow>(),
        sorted(TransferPercentiles::TIMES, TransferPercentiles::RATIOS)
    );
}

/// A section of the reference.
fn reference<Row: Table>(title: &str) -> String {
    let mut text = format!(
        "\n## {title}\n\n\
         | number | unit | in a line | of two rows | percentiles | exported family | attribute | meaning |\n\
         |---|---|---|---|---|---|---|---|\n"
    );
    for Number { name, presence, merge, about, .. } in Row::NUMBERS {
        let unit = match about.unit {
            Unit::Key => "key",
            Unit::Id => "id",
            Unit::Count => "count",
            Unit::Bytes => "bytes",
            Unit::Milliseconds => "ms",
            Unit::Ratio => "ratio",
            Unit::Text => "text",
        };
        let presence = if *presence == "always" { "always" } else { "if there is a value" };
        let merge = match *merge {
            "total" => "sum",
            "detached" => "only of detached rows",
            merge => merge,
        };
        let yes = |is: bool| if is { "yes" } else { "" };
        let family = about.family.map_or(String::new(), |family| format!("`{}`", family.name));
        writeln!(
            text,
            "| `{name}` | {unit} | {presence} | {merge} | {} | {family} | {} | {} |",
            yes(about.has_percentiles),
            yes(about.is_attribute),
            about.meaning
        )
        .unwrap();
    }
    text
}

#[test]
fn the_reference_lists_every_number() {
    let text = "# The numbers of a line\n\n\
                Generated from `src/model/numbers.rs`: `UPDATE=1 cargo test --lib the_reference`.\n"
        .to_owned()
        + &reference::<E2eTable>("`e2e_table`")
        + &reference::<StageRow>("`stage_table`")
        + &format!(
            "\nEvery gap between two outputs of a row also goes to `{}`.\n\
             `inter_output_ms` is its percentiles.\n",
            INTER_OUTPUT.name
        )
        + &reference::<TransferRow>("`transfer_table`");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference-numbers.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), text, "UPDATE=1 writes it anew");
}

#[test]
fn what_is_said_of_a_number_fits_its_name() {
    fn check<Row: Table>() {
        for Number { name, about, .. } in Row::NUMBERS {
            assert_eq!(name.ends_with("_ms"), about.unit == Unit::Milliseconds, "{name}");
            assert_eq!(name.ends_with("_bytes"), about.unit == Unit::Bytes, "{name}");
            assert!(about.meaning.ends_with('.'), "{name}");
            let Some(Family { name: family, description, measure }) = about.family else { continue };
            assert_eq!(family.ends_with("_seconds"), about.unit == Unit::Milliseconds, "{name}");
            assert_eq!(family.ends_with("_total"), matches!(measure, Measure::Counter), "{name}");
            assert!(about.unit == Unit::Count || !matches!(measure, Measure::Counter), "{name}");
            assert!(family.starts_with("omni_") && description.ends_with('.'), "{name}");
        }
    }
    check::<E2eTable>();
    check::<StageRow>();
    check::<TransferRow>();
}

#[test]
fn the_page_on_exporters_names_every_family_and_every_attribute() {
    fn check<Row: Table>(page: &str, prefix: &str) {
        for Number { name, about, .. } in Row::NUMBERS {
            if let Some(Family { name, .. }) = about.family {
                assert!(page.contains(&format!("| `{name}` |")), "{name}");
            }
            let attribute = format!("`{prefix}{name}`");
            assert_eq!(page.contains(&attribute), about.is_attribute, "{attribute}");
        }
    }
    let page = include_str!("../../../docs/exporters.md");
    check::<E2eTable>(page, "omni.");
    check::<StageRow>(page, "omni.stage.N.");
    check::<TransferRow>(page, "omni.transfer.");
    for (family, buckets) in crate::buckets::families() {
        assert!(page.contains(&format!("| `{family}` |")), "{family}");
        assert!(buckets.is_sorted_by(|bound, next| bound < next), "{family}");
    }
}

/// Names, and whether each is a whole number, a decimal or a text, from a list of SQL columns.
fn columns(list: &str) -> Vec<(String, char)> {
    let columns = list.split(',').map(|column| {
        let (name, sql) = column.trim().split_once(' ').unwrap();
        let sql = sql.trim().trim_start_matches("Nullable(");
        let kind = match sql {
            _ if sql.contains("DOUBLE") || sql.contains("Float64") => 'd',
            _ if sql.contains("UBIGINT") || sql.contains("UInt64") => 'n',
            _ => 't',
        };
        (name.trim_end_matches(':').to_owned(), kind)
    });
    columns.collect()
}

fn between<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(begin).unwrap_or_else(|| panic!("no {begin}"));
    rest.split_once(end).unwrap().0
}

fn expected<Row: Table>(is_wanted: impl Fn(&Number<Row>) -> bool, further: bool) -> Vec<(String, char)> {
    let numbers = Row::NUMBERS.iter().filter(|number| is_wanted(number)).map(|number| {
        let kind = match number.about.unit {
            Unit::Milliseconds | Unit::Ratio => 'd',
            Unit::Text => 't',
            _ => 'n',
        };
        (number.name.to_owned(), kind)
    });
    numbers.chain(further.then(|| ("fields".to_owned(), 't'))).collect()
}

/// Those of rows that are lines of their own: without points in time of a request, and what follows
/// from others. From the mean gap between outputs follows when the first of them was.
fn is_detached<Row>(number: &Number<Row>) -> bool {
    let is_moment = ["earliest", "latest"].contains(&number.merge);
    let is_derived = number.merge == "derived" && number.about.unit != Unit::Key;
    !is_moment && (!is_derived || number.name == "inter_output_mean_ms")
}

#[test]
fn the_schemas_of_sql_have_every_number() {
    let duckdb = include_str!("../../../sql/duckdb/schema.sql");
    let clickhouse = include_str!("../../../sql/clickhouse/schema.sql");
    let of_requests = |number: &str| number != "detached";
    let e2e = expected::<E2eTable>(|_| true, false);
    let stages = expected::<StageRow>(|number| of_requests(number.merge), true);
    let edges = expected::<TransferRow>(|number| of_requests(number.merge), true);
    for (table, expected) in [("e2e_table", e2e), ("stage_table", stages), ("transfer_table", edges)] {
        assert_eq!(columns(between(duckdb, &format!("{table}: 'STRUCT("), ")")), expected);
        let text = clickhouse.replace("Array(Tuple(", "Tuple(");
        assert_eq!(columns(between(&text, &format!("{table} Tuple("), " CODEC")), expected);
    }
    let mut detached = expected::<StageRow>(is_detached, false);
    detached.extend(expected::<TransferRow>(is_detached, false));
    detached.sort();
    detached.dedup();
    let sorted = |list: &str| {
        let mut columns = columns(list);
        columns.sort();
        columns
    };
    let of_workers = between(duckdb, "one, the other.\n", "})");
    assert_eq!(sorted(of_workers), detached);
    let of_workers = between(clickhouse, "of a transfer.\n", "    -- What makes");
    assert_eq!(sorted(of_workers.trim().trim_end_matches(',')), detached);
}

#[test]
fn the_views_of_sql_have_every_number() {
    for join in
        [include_str!("../../../sql/duckdb/join.sql"), include_str!("../../../sql/clickhouse/join.sql")]
    {
        let view = |name: &str| between(join, &format!("CREATE OR REPLACE VIEW {name} AS"), ";");
        fn check<Row: Table>(view: &str) {
            for Number { name, merge, .. } in Row::NUMBERS.iter().filter(|number| number.merge != "detached")
            {
                assert!(view.contains(name), "{name}, {merge}: {view}");
            }
        }
        check::<E2eTable>(view("request"));
        check::<StageRow>(view("stage_row"));
        check::<TransferRow>(view("transfer_row"));
    }
    for query in [
        include_str!("../../../sql/duckdb/percentiles.sql"),
        include_str!("../../../sql/clickhouse/percentiles.sql"),
    ] {
        let parts: Vec<_> = query.split("UNION ALL").collect();
        let names = [
            [Percentiles::TIMES, Percentiles::RATIOS].concat(),
            [StagePercentiles::TIMES, StagePercentiles::RATIOS].concat(),
            [TransferPercentiles::TIMES, TransferPercentiles::RATIOS].concat(),
        ];
        assert_eq!(parts.len(), names.len());
        for (part, names) in parts.iter().zip(names) {
            for name in names {
                assert!(part.contains(name), "{name}: {part}");
            }
        }
    }
}
