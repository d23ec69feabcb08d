//! Writes a line as text tables, in the layout that vLLM-Omni prints.

use std::{borrow::Cow, fmt, io::Write, slice};

use comfy_table::{CellAlignment, presets::ASCII_MARKDOWN};

use crate::{
    Detached, Distribution, FieldValue, Fields, Line, Millis, OpenLine, OpenRequest, OpenStage,
    OverallSummary, Percentiles, RequestLine, StageRow, SummaryLine, TransferRow, Window,
    model::{
        json::is_unsafe,
        numbers::{Number, Table, Unit},
        rows::Value,
    },
};

/// Appends a line's text.
pub(crate) fn append(out: &mut Vec<u8>, line: &impl fmt::Display) {
    // Writing to a `Vec` can't fail.
    let _ = write!(out, "{line}");
}

/// The text of an absent value.
const ABSENT: &str = "-";

/// A table under construction: a column of names, then one or more of values.
pub(crate) struct Columns(comfy_table::Table);

/// One value of a table.
pub(crate) enum Cell<'a> {
    Absent,
    Count(u64),
    Time(Millis),
    Decimal(f64),
    Other(&'a FieldValue),
    Text(&'a str),
}

impl Columns {
    fn new(heads: impl Iterator<Item = String>) -> Self {
        Self::of(std::iter::once("Field".to_owned()).chain(heads))
    }

    fn of(heads: impl Iterator<Item = String>) -> Self {
        let mut table = comfy_table::Table::new();
        table.load_style(ASCII_MARKDOWN);
        table.set_header(heads.map(|head| printable(&head).into_owned()));
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        Self(table)
    }

    /// Adds a row, unless all its values are zero or absent.
    pub(crate) fn row<'a>(&mut self, name: &str, cells: impl Iterator<Item = Cell<'a>>) {
        let cells: Vec<_> = cells.collect();
        if cells.iter().any(Cell::says_something) {
            self.0.add_row(
                std::iter::once(printable(name).into_owned()).chain(cells.iter().map(Cell::to_text)),
            );
        }
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Options that only the tables of the reader need.
#[cfg(feature = "cli")]
impl Columns {
    /// Sets the head of the column of names.
    pub(crate) fn named<const N: usize>(name: &str, heads: [&str; N]) -> Self {
        Self::of(std::iter::once(name).chain(heads).map(str::to_owned))
    }

    /// Sets the heads of all columns.
    pub(crate) fn titled(name: &str, heads: impl Iterator<Item = String>) -> Self {
        Self::of(std::iter::once(name.to_owned()).chain(heads))
    }

    /// Aligns a column to the left.
    pub(crate) fn left(&mut self, column: usize) {
        if let Some(column) = self.0.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Left);
        }
    }
}

impl fmt::Display for Columns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Cell<'_> {
    fn says_something(&self) -> bool {
        match self {
            Self::Absent => false,
            Self::Count(count) => *count > 0,
            Self::Time(time) => *time > Millis::ZERO,
            Self::Decimal(number) => *number != 0.0,
            Self::Other(FieldValue::Unsigned(0)) => false,
            Self::Other(FieldValue::Float(number)) => *number != 0.0,
            Self::Other(_) | Self::Text(_) => true,
        }
    }

    fn to_text(&self) -> String {
        match self {
            Self::Absent => ABSENT.to_owned(),
            Self::Count(count) => grouped(&count.to_string()),
            Self::Time(time) => grouped(&rounded(*time)),
            Self::Decimal(number) => grouped(&format!("{number:.3}")),
            Self::Other(FieldValue::Unsigned(number)) => grouped(&number.to_string()),
            Self::Other(FieldValue::Signed(number)) => grouped(&number.to_string()),
            Self::Other(FieldValue::Float(number)) => grouped(&format!("{number:.3}")),
            Self::Other(FieldValue::Text(text)) => printable(text).into_owned(),
            Self::Other(other) => printable(&other.to_string()).into_owned(),
            Self::Text(text) => printable(text).into_owned(),
        }
    }
}

fn text(text: Option<&str>) -> Cell<'_> {
    text.map_or(Cell::Absent, Cell::Text)
}

/// Milliseconds with three decimals, rounded from the whole nanoseconds.
fn rounded(time: Millis) -> String {
    let micros = time.as_nanos() / 1_000 + u64::from(time.as_nanos() % 1_000 >= 500);
    format!("{}.{:03}", micros / 1_000, micros % 1_000)
}

/// A decimal number with a comma between thousands.
pub(crate) fn grouped(decimal: &str) -> String {
    let (sign, digits) = decimal.strip_prefix('-').map_or(("", decimal), |digits| ("-", digits));
    let (whole, fraction) =
        digits.split_at(digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len()));
    let mut text = sign.to_owned();
    for (at, digit) in whole.char_indices() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text + fraction
}

/// Escapes all characters that a terminal could interpret as a command, or that could reorder or split a line
/// on a screen.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let escape = |c: char| if is_unsafe(c) { c.escape_default().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(escape).collect())
}

impl fmt::Display for OverallSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Columns::new(std::iter::once("Value".to_owned()));
        let mut row = |name: &str, cell| table.row(name, std::iter::once(cell));
        row("e2e_requests", Cell::Count(self.e2e_requests));
        row("e2e_wall_time_ms", Cell::Time(self.e2e_wall_time_ms));
        row("e2e_total_tokens", Cell::Count(self.e2e_total_tokens));
        row("e2e_avg_time_per_request_ms", Cell::Time(self.e2e_avg_time_per_request_ms));
        row("e2e_avg_tokens_per_s", Cell::Decimal(self.e2e_avg_tokens_per_s));
        for (id, wall) in self.stage_wall_time_ms.iter().enumerate() {
            row(&format!("e2e_stage_{id}_wall_time_ms"), Cell::Time(*wall));
        }
        writeln!(f, "Overall Summary\n{}", table.0)
    }
}

impl fmt::Display for RequestLine {
    /// The four tables. They end with a line feed, as what the layer writes does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.overall_summary)?;
        let mut table = Columns::new(std::iter::once("Value".to_owned()));
        numbers(&mut table, slice::from_ref(&self.e2e_table));
        let mut row = |name: &str, cell| table.row(name, std::iter::once(cell));
        row("trace_id", text(self.trace_id.as_deref()));
        row("span_id", text(self.span_id.as_deref()));
        for (name, value) in &self.fields {
            row(name, Cell::Other(value));
        }
        let id = printable(&self.request_id);
        writeln!(f, "RequestE2EStats of {id}, until {}\n{}\n", self.timestamp, table.0)?;
        if !self.stage_table.is_empty() {
            writeln!(f, "StageRequestStats\n{}\n", stages(&self.stage_table))?;
        }
        if !self.transfer_table.is_empty() {
            writeln!(f, "TransferEdgeStats\n{}\n", transfers(&self.transfer_table))?;
        }
        warnings(f, &self.warnings)
    }
}

impl fmt::Display for SummaryLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.overall_summary)?;
        let until = self.timestamp;
        writeln!(f, "Percentiles until {until}\n{}\n", of_percentiles(&self.percentiles))?;
        if let Some(window) = &self.window {
            writeln!(f, "Window until {until}\n{}\n", of_window(window))?;
            writeln!(
                f,
                "Percentiles of the window until {until}\n{}\n",
                of_percentiles(&window.percentiles)
            )?;
        }
        let mut table = Columns::new(std::iter::once("Value".to_owned()));
        let mut row = |name: &str, cell| table.row(name, std::iter::once(cell));
        let count = |count: Option<u64>| count.map_or(Cell::Absent, Cell::Count);
        row("open_requests", count(self.open_requests));
        row("oldest_age_ms", self.oldest_age_ms.map_or(Cell::Absent, Cell::Time));
        row("lines_written", count(self.lines_written));
        row("lines_left_out", count(self.lines_left_out));
        row("lines_lost", count(self.lines_lost));
        if table.is_empty() { Ok(()) } else { writeln!(f, "Now, at {until}\n{}\n", table.0) }
    }
}

fn of_window(window: &Window) -> Columns {
    let Window { time_ms, requests, requests_per_s, tokens, tokens_per_s, finish_reasons, percentiles: _ } =
        window;
    let mut table = Columns::new(std::iter::once("Value".to_owned()));
    let mut row = |name: &str, cell| table.row(name, std::iter::once(cell));
    row("time_ms", Cell::Time(*time_ms));
    row("requests", Cell::Count(*requests));
    row("requests_per_s", Cell::Decimal(*requests_per_s));
    row("tokens", Cell::Count(*tokens));
    row("tokens_per_s", Cell::Decimal(*tokens_per_s));
    for (reason, requests) in finish_reasons {
        row(&format!("finish_reason {reason}"), Cell::Count(*requests));
    }
    table
}

fn of_percentiles(percentiles: &Percentiles) -> Columns {
    let heads = ["count", "mean", "p50", "p90", "p99", "p99.9", "max"];
    let mut table = Columns::new(heads.into_iter().map(str::to_owned));
    for (number, times) in percentiles.named_times() {
        distribution(&mut table, number, times, Cell::Time);
    }
    for stage in &percentiles.stages {
        let name = |number: &str| format!("stage {} {number}", id(stage.stage_id));
        for (number, times) in stage.named_times() {
            distribution(&mut table, &name(number), times, Cell::Time);
        }
        distribution(&mut table, &name("inter_output_ms"), stage.inter_output_ms, Cell::Time);
        for (number, ratios) in stage.named_ratios() {
            distribution(&mut table, &name(number), ratios, Cell::Decimal);
        }
    }
    for edge in &percentiles.transfers {
        let (from, to) = (id(edge.from_stage), id(edge.to_stage));
        let name = |number: &str| format!("{from}->{to} {number}");
        for (number, times) in edge.named_times() {
            distribution(&mut table, &name(number), times, Cell::Time);
        }
        for (number, ratios) in edge.named_ratios() {
            distribution(&mut table, &name(number), ratios, Cell::Decimal);
        }
    }
    for (number, ratios) in percentiles.named_ratios() {
        distribution(&mut table, number, ratios, Cell::Decimal);
    }
    distribution(&mut table, "tokens_per_s", percentiles.tokens_per_s, Cell::Decimal);
    table
}

impl fmt::Display for OpenLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OpenRequest {
            request_id,
            age_ms,
            is_answered,
            e2e_total_tokens,
            fields,
            stages: closed,
            in_stages: _,
            open_stages,
        } = &self.request;
        let mut table = Columns::new(std::iter::once("Value".to_owned()));
        let mut row = |name: &str, cell| table.row(name, std::iter::once(cell));
        row("age_ms", Cell::Time(*age_ms));
        row("is_answered", if *is_answered { Cell::Text("true") } else { Cell::Absent });
        row("e2e_total_tokens", Cell::Count(*e2e_total_tokens));
        for (name, value) in fields {
            row(name, Cell::Other(value));
        }
        row("more", self.more.map_or(Cell::Absent, Cell::Count));
        let id = printable(request_id.as_deref().unwrap_or("no id"));
        writeln!(f, "OpenRequest {id}, reported at {}\n{}\n", self.timestamp, table.0)?;
        if !open_stages.is_empty() {
            writeln!(f, "OpenStages\n{}\n", of_open_stages(open_stages))?;
        }
        if !closed.is_empty() {
            writeln!(f, "StageRequestStats\n{}\n", stages(closed))?;
        }
        Ok(())
    }
}

fn of_open_stages(rows: &[OpenStage]) -> Columns {
    let mut table = Columns::new(rows.iter().map(|row| id(row.stage_id)));
    table.row("stage_name", rows.iter().map(|row| text(row.stage_name.as_deref())));
    table.row("age_ms", rows.iter().map(|row| Cell::Time(row.age_ms)));
    let waiting = |row: &OpenStage| if row.is_waiting { Cell::Text("true") } else { Cell::Absent };
    table.row("is_waiting", rows.iter().map(waiting));
    table.row("num_tokens_out", rows.iter().map(|row| row.num_tokens_out.map_or(Cell::Absent, Cell::Count)));
    table
}

impl fmt::Display for Detached<StageRow> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        detached(f, "StageRequestStats", self, |row| stages(slice::from_ref(row)))
    }
}

impl fmt::Display for Detached<TransferRow> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        detached(f, "TransferEdgeStats", self, |row| transfers(slice::from_ref(row)))
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(line) => line.fmt(f),
            Self::Stage(line) => line.fmt(f),
            Self::Transfer(line) => line.fmt(f),
            Self::Summary(line) => line.fmt(f),
            Self::Open(line) => line.fmt(f),
        }
    }
}

fn detached<Row>(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    line: &Detached<Row>,
    table: impl FnOnce(&Row) -> comfy_table::Table,
) -> fmt::Result {
    let id = printable(line.request_id.as_deref().unwrap_or("no request"));
    let trace = line.trace_id.as_deref().map(|trace| format!(", of trace {}", printable(trace)));
    let (trace, until) = (trace.unwrap_or_default(), line.timestamp);
    writeln!(f, "{title} of {id}{trace}, detached, until {until}\n{}\n", table(&line.row))?;
    warnings(f, &line.warnings)
}

fn warnings(f: &mut fmt::Formatter<'_>, warnings: &[String]) -> fmt::Result {
    warnings.iter().try_for_each(|warning| writeln!(f, "warning: {}", printable(warning)))?;
    if warnings.is_empty() { Ok(()) } else { writeln!(f) }
}

/// A row of the table of percentiles, if there is a distribution.
fn distribution<'a, T>(
    table: &mut Columns,
    name: &str,
    distribution: Option<Distribution<T>>,
    cell: impl Fn(T) -> Cell<'a>,
) {
    if let Some(Distribution { count, mean, p50, p90, p99, p999, max }) = distribution {
        let values = [mean, p50, p90, p99, p999, max].map(cell);
        table.row(name, std::iter::once(Cell::Count(count)).chain(values));
    }
}

/// The text of an id in a head or a name.
pub(crate) fn id(id: Option<u64>) -> String {
    id.map_or_else(|| ABSENT.to_owned(), |id| id.to_string())
}

fn stages(rows: &[StageRow]) -> comfy_table::Table {
    let mut table = Columns::new(rows.iter().map(|row| id(row.stage_id)));
    numbers(&mut table, rows);
    further(&mut table, rows.iter().map(|row| &row.fields).collect());
    table.0
}

fn transfers(rows: &[TransferRow]) -> comfy_table::Table {
    let ends = |row: &TransferRow| format!("{}->{}", id(row.from_stage), id(row.to_stage));
    let mut table = Columns::new(rows.iter().map(ends));
    numbers(&mut table, rows);
    further(&mut table, rows.iter().map(|row| &row.fields).collect());
    table.0
}

/// A row for each number of the table, but for those that are the heads of columns. Bytes are shown as
/// kilobytes.
fn numbers<Row: Table>(table: &mut Columns, columns: &[Row]) {
    for Number { name, about, get, .. } in Row::NUMBERS {
        let cells = columns.iter().map(|row| match (get(row), about.unit) {
            (Some(Value::Count(bytes)), Unit::Bytes) => Cell::Decimal(bytes as f64 / 1024.0),
            (Some(Value::Count(count)), _) => Cell::Count(count),
            (Some(Value::Time(time)), _) => Cell::Time(time),
            (Some(Value::Ratio(ratio)), _) => Cell::Decimal(ratio),
            (Some(Value::Text(text)), _) => Cell::Text(text),
            (None, _) => Cell::Absent,
        });
        match (about.unit, name.strip_suffix("_bytes")) {
            (Unit::Key, _) => {}
            (Unit::Bytes, Some(name)) => table.row(&format!("{name}_kbytes"), cells),
            _ => table.row(name, cells),
        }
    }
}

/// Adds a row for each further field that any column has.
fn further(table: &mut Columns, columns: Vec<&Fields>) {
    let mut names: Vec<_> = columns.iter().flat_map(|fields| fields.keys()).collect();
    names.sort();
    names.dedup();
    for name in names {
        table.row(name, columns.iter().map(|fields| fields.get(name).map_or(Cell::Absent, Cell::Other)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        for (decimal, text) in [
            ("0", "0"),
            ("999", "999"),
            ("1000", "1,000"),
            ("41299.190", "41,299.190"),
            ("-1234567", "-1,234,567"),
            ("1e300", "1e300"),
        ] {
            assert_eq!(grouped(decimal), text);
        }
    }

    #[test]
    fn times_are_rounded_to_the_microsecond() {
        for (nanos, text) in [(0, "0.000"), (499, "0.000"), (500, "0.001"), (41_299_189_999, "41299.190")] {
            assert_eq!(rounded(Millis::from_nanos(nanos)), text);
        }
        assert_eq!(rounded(Millis::MAX), "18446744073709.552");
    }
}
