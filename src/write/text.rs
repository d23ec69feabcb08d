//! Writes a line as text tables, in the layout that vLLM-Omni prints.

use std::{fmt, io::Write, slice};

use super::columns::{Cell, Columns, id, printable};
use crate::{
    Detached, Distribution, Fields, Line, OpenLine, OpenRequest, OpenStage, OverallSummary, Percentiles,
    RequestLine, StageRow, SummaryLine, TransferRow, Window,
    model::{
        line_buffer::LineBuffer,
        numbers::{Number, Table, Unit},
        rows::Value,
    },
};

/// Appends a line's text.
pub(crate) fn append(out: &mut LineBuffer, line: &impl fmt::Display) {
    // Writing into the buffer can't fail.
    let _ = write!(out, "{line}");
}

fn text(text: Option<&str>) -> Cell<'_> {
    text.map_or(Cell::Absent, Cell::Text)
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
        writeln!(f, "Overall Summary\n{}", table)
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
        writeln!(f, "RequestE2EStats of {id}, until {}\n{}\n", self.timestamp, table)?;
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
        if table.is_empty() { Ok(()) } else { writeln!(f, "Now, at {until}\n{}\n", table) }
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
        writeln!(f, "OpenRequest {id}, reported at {}\n{}\n", self.timestamp, table)?;
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
    table: impl FnOnce(&Row) -> Columns,
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

fn stages(rows: &[StageRow]) -> Columns {
    let mut table = Columns::new(rows.iter().map(|row| id(row.stage_id)));
    numbers(&mut table, rows);
    further(&mut table, rows.iter().map(|row| &row.fields).collect());
    table
}

fn transfers(rows: &[TransferRow]) -> Columns {
    let ends = |row: &TransferRow| format!("{}->{}", id(row.from_stage), id(row.to_stage));
    let mut table = Columns::new(rows.iter().map(ends));
    numbers(&mut table, rows);
    further(&mut table, rows.iter().map(|row| &row.fields).collect());
    table
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
