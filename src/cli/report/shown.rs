//! A request as the page has it, for its waterfall and the list.

use serde::Serialize;

use super::{ending::Ending, spent::Part};
use crate::{
    E2eTable, FieldValue, Fields, Millis, RequestLine, StageRow, TransferRow,
    cli::{
        critical_path::critical_path, groups::shortened, objectives::Objectives, report::stretches::extent,
        timeline::Timeline,
    },
    model::{
        numbers::{Number, Table, Unit},
        rows::Value,
        value::prefix,
    },
};

/// How many bytes of JSON a request may have.
const ROOM: usize = 20_000;
/// How many rows of a table are shown, how many pieces of the critical path, and how long a text is.
const ROWS: usize = 64;
const PIECES: usize = 256;
const TEXT: usize = 200;

#[derive(Serialize)]
struct Shown<'a> {
    id: &'a str,
    /// When it was created, in milliseconds since the Unix epoch.
    at: f64,
    ended: String,
    e2e: Millis,
    ending: &'static str,
    /// The numbers of `e2e_table`, in the order of [`columns`], as those of the rows are.
    numbers: Vec<Option<Figure<'a>>>,
    stages: Vec<Row<'a>>,
    transfers: Vec<Row<'a>>,
    /// The critical path: each piece with its part, and when it ends; the next one begins there.
    path: Vec<(String, Millis)>,
    /// Rows that are left out.
    #[serde(skip_serializing_if = "is_zero")]
    more: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    span: Option<&'a str>,
    /// How many requests the line stands for.
    #[serde(skip_serializing_if = "is_one")]
    weight: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<(&'a str, Field<'a>)>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<&'a str>,
    /// Objectives that it broke.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    broke: Vec<String>,
}

/// The numbers of a row, and its further fields.
#[derive(Serialize)]
struct Row<'a>(
    Vec<Option<Figure<'a>>>,
    #[serde(skip_serializing_if = "Vec::is_empty")] Vec<(&'a str, Field<'a>)>,
);

/// A value as the page has it.
#[derive(Serialize)]
#[serde(untagged)]
enum Figure<'a> {
    Count(u64),
    Time(Millis),
    Ratio(f64),
    Text(&'a str),
}

/// A further field.
#[derive(Serialize)]
#[serde(untagged)]
enum Field<'a> {
    Text(&'a str),
    /// A list or an object.
    Json(String),
    Other(&'a FieldValue),
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

fn is_one(weight: &u64) -> bool {
    *weight == 1
}

fn fields(fields: &Fields) -> Vec<(&str, Field<'_>)> {
    fn field(value: &FieldValue) -> Field<'_> {
        match value {
            FieldValue::Text(text) => Field::Text(cut(text)),
            FieldValue::List(_) | FieldValue::Object(_) => Field::Json(cut(&value.to_string()).to_owned()),
            other => Field::Other(other),
        }
    }
    fields.iter().map(|(name, value)| (cut(name), field(value))).collect()
}

/// The numbers of a table: those that every row has come first, so that the others, which most rows lack, can
/// be left out at the end.
fn numbers<Row: Table>() -> impl Iterator<Item = &'static Number<Row>> {
    let is_in_every_row = |number: &&Number<Row>| number.presence == "always";
    let always = Row::NUMBERS.iter().filter(is_in_every_row);
    always.chain(Row::NUMBERS.iter().filter(move |number| !is_in_every_row(number)))
}

/// The values of a row, as many as are needed.
fn figures<Row: Table>(row: &Row) -> Vec<Option<Figure<'_>>> {
    let figure = |number: &Number<Row>| match (number.get)(row)? {
        Value::Count(count) => Some(Figure::Count(count)),
        Value::Time(time) => Some(Figure::Time(time)),
        Value::Ratio(ratio) => Some(Figure::Ratio(ratio)),
        Value::Text(text) => Some(Figure::Text(cut(text))),
    };
    let mut figures: Vec<_> = numbers::<Row>().map(figure).collect();
    let length = figures.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
    figures.truncate(length);
    figures
}

/// The name and the unit of each number, in the order of the values, for the script of the page.
#[derive(Debug, Serialize)]
pub(super) struct Columns {
    e2e: Vec<(&'static str, &'static str)>,
    stages: Vec<(&'static str, &'static str)>,
    transfers: Vec<(&'static str, &'static str)>,
}

pub(super) fn columns() -> Columns {
    fn of<Row: Table>() -> Vec<(&'static str, &'static str)> {
        numbers::<Row>().map(|number| (number.name, unit(number.about.unit))).collect()
    }
    Columns { e2e: of::<E2eTable>(), stages: of::<StageRow>(), transfers: of::<TransferRow>() }
}

fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Key => "key",
        Unit::Count => "count",
        Unit::Bytes => "bytes",
        Unit::Milliseconds => "ms",
        Unit::Ratio => "ratio",
        Unit::Id | Unit::Text => "text",
    }
}

/// One request, as text that may stand within a `script` element.
pub(super) fn to_json(line: &RequestLine, objectives: &Objectives) -> String {
    let whole = json(line, objectives, ROWS);
    let kept = if whole.len() > ROOM { json(line, objectives, ROWS / 8) } else { whole };
    kept.replace('<', "\\u003c")
}

fn json(line: &RequestLine, objectives: &Objectives, rows: usize) -> String {
    let (stages, transfers) = (&line.stage_table, &line.transfer_table);
    let is_whole = rows == ROWS;
    let further = |row| if is_whole { fields(row) } else { Vec::new() };
    let pieces = critical_path(&Timeline::of(line));
    let mut path = Vec::<(String, Millis)>::new();
    for piece in pieces.iter().take(if is_whole { PIECES } else { PIECES / 8 }) {
        let (code, to) = (Part::of(piece.part).code(), Millis::from_nanos(piece.to));
        match path.last_mut() {
            Some((last, end)) if *last == code => *end = to,
            _ => path.push((code, to)),
        }
    }
    let broke = objectives.slo.iter().filter(|objective| objective.is_met(line) == Some(false));
    let shown = Shown {
        id: cut(&line.request_id),
        at: extent(line).0 as f64 / 1e3,
        ended: line.timestamp.to_string(),
        e2e: line.e2e_table.e2e_total_ms,
        ending: Ending::of(&line.e2e_table).class(),
        numbers: figures(&line.e2e_table),
        stages: stages.iter().take(rows).map(|row| Row(figures(row), further(&row.fields))).collect(),
        transfers: transfers.iter().take(rows).map(|row| Row(figures(row), further(&row.fields))).collect(),
        path,
        more: stages.len().saturating_sub(rows) + transfers.len().saturating_sub(rows),
        trace: line.trace_id.as_deref().map(cut),
        span: line.span_id.as_deref().map(cut),
        weight: line.weight(),
        fields: further(&line.fields),
        warnings: line.warnings.iter().take(16).map(|warning| cut(warning)).collect(),
        broke: broke.map(|objective| shortened(&objective.to_string()).into_owned()).collect(),
    };
    // Numbers and strings go into a `String` without an error.
    serde_json::to_string(&shown).unwrap_or_default()
}

fn cut(text: &str) -> &str {
    prefix(text, TEXT)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names that the script takes from a row.
    fn drawn(table: &str) -> Vec<&'static str> {
        let names = crate::cli::report::SCRIPT.match_indices(table).filter_map(|(at, _)| {
            let name = &crate::cli::report::SCRIPT[at + table.len()..];
            name.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next()
        });
        names.collect()
    }

    #[test]
    fn the_script_draws_only_numbers_that_there_are() {
        let columns = columns();
        for (table, known) in
            [(" e2e.", columns.e2e), ("stage.", columns.stages), ("transfer.", columns.transfers)]
        {
            let drawn = drawn(table);
            assert!(!drawn.is_empty(), "{table} {drawn:?}");
            for name in drawn {
                assert!(known.iter().any(|(number, _)| *number == name), "{table}{name}");
            }
        }
    }

    #[test]
    fn a_row_has_all_its_values_and_no_more() {
        let columns = columns().stages.len();
        let row: StageRow = crate::model::numbers::tests::full();
        let full = figures(&row);
        assert!(full.len() == columns && full.iter().all(Option::is_some));
        let always = StageRow::NUMBERS.iter().filter(|number| number.presence == "always").count();
        assert_eq!(figures(&StageRow::default()).len(), always);
    }

    #[test]
    fn a_request_has_its_path_and_its_fields_and_is_never_large() {
        let text = |n: usize| FieldValue::Text("x".repeat(n));
        let mut line = RequestLine { trace_id: Some("t".to_owned()), ..RequestLine::default() };
        line.e2e_table.e2e_total_ms = Millis::from_nanos(2_000_000);
        line.fields = [("model".into(), text(300)), ("n".into(), FieldValue::Unsigned(3))].into();
        let json: serde_json::Value = serde_json::from_str(&to_json(&line, &Objectives::default())).unwrap();
        assert_eq!(json["path"], serde_json::json!([["u", 2.0]]));
        assert_eq!((&json["fields"][1], &json["trace"]), (&serde_json::json!(["n", 3]), &"t".into()));
        assert_eq!(json["fields"][0][1], "x".repeat(TEXT));
        let fields = (0..32).map(|n| (format!("f{n}").into(), text(1_000))).collect();
        line.stage_table = vec![StageRow { fields, ..StageRow::default() }; 100];
        assert!(to_json(&line, &Objectives::default()).len() <= ROOM);
    }
}
