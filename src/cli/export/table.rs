//! A table of comma-separated values: a column for each number, in the order of the lines.

use std::io::Write;

use serde::Serialize;

use crate::{
    Detached, E2eTable, Fields, Line, RequestLine, StageRow, Timestamp, TransferRow,
    cli::{
        failure::Result, groups::Grouping, input::Inputs, log_line::LogLine, records::Records,
        selection::timestamp,
    },
    model::{
        numbers::{Number, Table as NumberTable},
        rows::Value,
    },
};

/// What the rows of the table are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Table {
    /// A row for each request
    Requests,
    /// A row for each stage of a request, and for each stage row of a worker
    Stages,
    /// A row for each edge of a request, and for each transfer row of a worker
    Transfers,
}

impl Table {
    /// Whether each row is in one group only.
    pub(super) fn has_groups(self, grouping: &Grouping) -> bool {
        self == Self::Stages || !grouping.is_of_stages()
    }
}

/// What every row begins with.
const KEYS: [&str; 3] = ["request_id", "timestamp", "sample_rate"];

/// Writes the table. With a grouping, its first columns are the beginning of the stretch of time and the
/// group. Returns how many rows it has below the names of its columns.
pub(super) fn write(
    table: Table,
    grouping: &Grouping,
    inputs: &mut Inputs,
    out: &mut impl Write,
) -> Result<u64> {
    let mut count = 0;
    let mut csv = Records::new(out);
    let names = match table {
        Table::Requests => names::<E2eTable>(),
        Table::Stages => names::<StageRow>(),
        Table::Transfers => names::<TransferRow>(),
    };
    let groups = [grouping.width.map(|_| "from"), grouping.by.as_ref().map(|_| "group")];
    let head = groups.into_iter().flatten().chain(KEYS).chain(names).chain(["fields", "trace_id"]);
    csv.write(head.map(str::to_owned))?;
    inputs.map(
        || {
            let grouping = grouping.clone();
            move |line: &mut LogLine| match rows(table, line) {
                rows if grouping.is_whole() => rows,
                rows => in_groups(&grouping, line, rows),
            }
        },
        |_, rows: Vec<Vec<String>>| {
            count += rows.len() as u64;
            rows.into_iter().try_for_each(|row| csv.write(row))
        },
    )?;
    csv.flush()?;
    Ok(count)
}

/// The rows of a line.
fn rows(table: Table, line: &Line) -> Vec<Vec<String>> {
    match (table, line) {
        (Table::Requests, Line::Request(line)) => {
            vec![row(&Keys::of_request(line), &line.e2e_table, &line.fields)]
        }
        (Table::Stages, Line::Request(line)) => {
            let keys = Keys::of_request(line);
            line.stage_table.iter().map(|stage| row(&keys, stage, &stage.fields)).collect()
        }
        (Table::Transfers, Line::Request(line)) => {
            let keys = Keys::of_request(line);
            line.transfer_table.iter().map(|edge| row(&keys, edge, &edge.fields)).collect()
        }
        (Table::Stages, Line::Stage(line)) => vec![row(&Keys::of_row(line), &line.row, &line.row.fields)],
        (Table::Transfers, Line::Transfer(line)) => {
            vec![row(&Keys::of_row(line), &line.row, &line.row.fields)]
        }
        _ => Vec::new(),
    }
}

/// The rows of a line, each after the beginning of its stretch of time and its group.
fn in_groups(grouping: &Grouping, line: &LogLine, rows: Vec<Vec<String>>) -> Vec<Vec<String>> {
    let from = grouping.start_of(timestamp(line)).map(|from| from.to_string());
    // By a stage, there are the rows of stages only: see `Table::has_groups`.
    let stage = |at: usize| match &line.line {
        Line::Request(line) => line.stage_table.get(at),
        Line::Stage(line) => Some(&line.row),
        _ => None,
    };
    let group = |at| grouping.by.as_ref().map(|by| by.name(line, stage(at)).to_string());
    let row = |(at, row)| from.clone().into_iter().chain(group(at)).chain(row).collect();
    rows.into_iter().enumerate().map(row).collect()
}

/// What a line says of each of its rows.
struct Keys<'a> {
    request_id: Option<&'a str>,
    timestamp: Timestamp,
    sample_rate: Option<u32>,
    trace_id: Option<&'a str>,
}

impl<'a> Keys<'a> {
    fn of_request(line: &'a RequestLine) -> Self {
        Self {
            request_id: Some(&line.request_id),
            timestamp: line.timestamp,
            sample_rate: line.sample_rate,
            trace_id: line.trace_id.as_deref(),
        }
    }

    fn of_row<Row>(line: &'a Detached<Row>) -> Self {
        Self {
            request_id: line.request_id.as_deref(),
            timestamp: line.timestamp,
            sample_rate: line.sample_rate,
            trace_id: line.trace_id.as_deref(),
        }
    }
}

fn names<Row: NumberTable>() -> Vec<&'static str> {
    Row::NUMBERS.iter().map(|number| number.name).collect()
}

fn row<Row: NumberTable>(keys: &Keys<'_>, row: &Row, fields: &Fields) -> Vec<String> {
    let value = |number: &Number<Row>| match (number.get)(row) {
        Some(Value::Count(count)) => count.to_string(),
        Some(Value::Time(time)) => time.to_string(),
        Some(Value::Ratio(ratio)) => ratio.to_string(),
        Some(Value::Text(text)) => text.to_owned(),
        None => String::new(),
    };
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let Keys { request_id, timestamp, sample_rate, trace_id } = *keys;
    let sample_rate = sample_rate.map(|rate| rate.to_string()).unwrap_or_default();
    let fields = match serde_json::to_string(fields) {
        Ok(json) if json != "{}" => json,
        _ => String::new(),
    };
    let begin = [text(request_id), timestamp.to_string(), sample_rate];
    begin.into_iter().chain(Row::NUMBERS.iter().map(value)).chain([fields, text(trace_id)]).collect()
}
