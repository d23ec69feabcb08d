//! Writes a line as JSON: keys in the documented order, times as fixed-point numbers, all control characters
//! escaped.

#[cfg(feature = "tables")]
use crate::RequestLine;
use crate::{
    Detached, E2eTable, Fields, Line, OverallSummary, SCHEMA, StageRow, Timestamp, TransferRow,
    model::{json::Json, line_buffer::LineBuffer, numbers::Table},
};

/// A key with its comma and its colon in one literal, which is copied with one or two stores.
macro_rules! key {
    ($name:literal) => {
        concat!(",\"", $name, "\":")
    };
}

/// The parts of a request's line.
pub(crate) struct RequestParts<'a> {
    pub(crate) timestamp: Timestamp,
    pub(crate) request_id: &'a str,
    pub(crate) sample_rate: Option<u32>,
    pub(crate) summary: &'a OverallSummary,
    pub(crate) e2e: &'a E2eTable,
    pub(crate) trace_id: Option<&'a str>,
    pub(crate) span_id: Option<&'a str>,
    pub(crate) fields: &'a Fields,
    pub(crate) warnings: &'a [String],
}

#[cfg(feature = "cli")]
impl<'a> RequestParts<'a> {
    /// The parts of a line that was read.
    pub(crate) fn of(line: &'a RequestLine) -> Self {
        Self {
            timestamp: line.timestamp,
            request_id: &line.request_id,
            sample_rate: line.sample_rate,
            summary: &line.overall_summary,
            e2e: &line.e2e_table,
            trace_id: line.trace_id.as_deref(),
            span_id: line.span_id.as_deref(),
            fields: &line.fields,
            warnings: &line.warnings,
        }
    }
}

impl RequestParts<'_> {
    /// The line as it would be read back.
    #[cfg(feature = "tables")]
    pub(crate) fn to_line<'a>(
        &self,
        stages: impl Iterator<Item = &'a StageRow>,
        transfers: impl Iterator<Item = &'a TransferRow>,
    ) -> RequestLine {
        RequestLine {
            schema: SCHEMA,
            timestamp: self.timestamp,
            request_id: self.request_id.to_owned(),
            sample_rate: self.sample_rate,
            overall_summary: self.summary.clone(),
            e2e_table: self.e2e.clone(),
            stage_table: stages.cloned().collect(),
            transfer_table: transfers.cloned().collect(),
            trace_id: self.trace_id.map(str::to_owned),
            span_id: self.span_id.map(str::to_owned),
            fields: self.fields.clone(),
            warnings: self.warnings.to_vec(),
        }
    }
}

/// Appends the line of a request.
pub(crate) fn write_request<'a>(
    out: &mut LineBuffer,
    request: &RequestParts<'_>,
    stages: impl Iterator<Item = &'a StageRow> + Clone,
    transfers: impl Iterator<Item = &'a TransferRow> + Clone,
) {
    out.append(|cursor| {
        let json = Json(cursor)
            .raw("{\"type\":\"request\"")
            .number(key!("schema"), SCHEMA.into())
            .timestamp(key!("timestamp"), request.timestamp)
            .text(key!("request_id"), request.request_id);
        let json = sample_rate(json, request.sample_rate).raw(key!("overall_summary"));
        let json = summary(json, request.summary).raw(key!("e2e_table"));
        let json = request.e2e.write(json, "{\"e2e_total_ms\":").raw("}");
        json.list(key!("stage_table"), stages.clone(), |json, row| {
            row.write(json, "{\"stage_id\":").fields(&row.fields).raw("}")
        })
        .list(key!("transfer_table"), transfers.clone(), |json, row| {
            row.write(json, "{\"from_stage\":").fields(&row.fields).raw("}")
        })
        .text_if_some(key!("trace_id"), request.trace_id)
        .text_if_some(key!("span_id"), request.span_id)
        .fields(request.fields)
        .warnings(request.warnings)
        .raw("}\n")
        .0
    });
}

/// Appends a line that is written rarely.
pub(crate) fn write_rare(out: &mut LineBuffer, line: &Line) {
    // Writing numbers and strings into the buffer can't fail.
    let _ = serde_json::to_writer(&mut *out, line);
    out.append(|cursor| cursor.push(b"\n"));
}

/// Appends the line of a detached stage.
pub(crate) fn write_stage(out: &mut LineBuffer, line: &Detached<StageRow>) {
    write_detached(out, "{\"type\":\"stage\"", line, |json, row| {
        row.write(json, key!("stage_id")).fields(&row.fields)
    });
}

/// Appends the line of a detached transfer.
pub(crate) fn write_transfer(out: &mut LineBuffer, line: &Detached<TransferRow>) {
    write_detached(out, "{\"type\":\"transfer\"", line, |json, row| {
        row.write(json, key!("from_stage")).fields(&row.fields)
    });
}

fn write_detached<Row>(
    out: &mut LineBuffer,
    opening: &'static str,
    line: &Detached<Row>,
    members: impl for<'a> Fn(Json<'a>, &Row) -> Json<'a>,
) {
    out.append(|cursor| {
        let json = Json(cursor)
            .raw(opening)
            .number(key!("schema"), line.schema.into())
            .timestamp(key!("timestamp"), line.timestamp);
        let json = match &line.request_id {
            Some(id) => json.text(key!("request_id"), id),
            None => json.raw(",\"request_id\":null"),
        };
        members(sample_rate(json, line.sample_rate), &line.row)
            .text_if_some(key!("trace_id"), line.trace_id.as_deref())
            .text_if_some(key!("span_id"), line.span_id.as_deref())
            .warnings(&line.warnings)
            .raw("}\n")
            .0
    });
}

/// Appends the totals of the run, as they are in the line of a request.
#[cfg(feature = "cli")]
pub(crate) fn write_summary(out: &mut LineBuffer, totals: &OverallSummary) {
    out.append(|cursor| summary(Json(cursor), totals).0);
}

fn sample_rate(json: Json<'_>, rate: Option<u32>) -> Json<'_> {
    match rate {
        Some(rate) => json.number(key!("sample_rate"), rate.into()),
        None => json,
    }
}

fn summary<'a>(json: Json<'a>, summary: &OverallSummary) -> Json<'a> {
    json.number("{\"e2e_requests\":", summary.e2e_requests)
        .time(key!("e2e_wall_time_ms"), summary.e2e_wall_time_ms)
        .number(key!("e2e_total_tokens"), summary.e2e_total_tokens)
        .time(key!("e2e_avg_time_per_request_ms"), summary.e2e_avg_time_per_request_ms)
        .decimal(key!("e2e_avg_tokens_per_s"), summary.e2e_avg_tokens_per_s)
        .list(key!("stage_wall_time_ms"), summary.stage_wall_time_ms.iter(), |json, wall| {
            json.time("", *wall)
        })
        .raw("}")
}
