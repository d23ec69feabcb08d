//! Writes a line as JSON: keys in the documented order, times as fixed-point numbers, all control characters
//! escaped.

use std::io;

#[cfg(feature = "tables")]
use crate::RequestLine;
use crate::{
    Detached, E2eTable, Fields, Line, OverallSummary, SCHEMA, StageRow, Timestamp, TransferRow,
    model::{
        json::{Json, infallible},
        numbers::Table,
    },
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
    out: &mut Vec<u8>,
    request: &RequestParts<'_>,
    stages: impl Iterator<Item = &'a StageRow>,
    transfers: impl Iterator<Item = &'a TransferRow>,
) {
    let mut json = Json(out);
    json.raw("{\"type\":\"request\"");
    json.number(key!("schema"), SCHEMA.into());
    json.timestamp(key!("timestamp"), request.timestamp);
    json.text(key!("request_id"), request.request_id);
    if let Some(rate) = request.sample_rate {
        json.number(key!("sample_rate"), rate.into());
    }
    json.raw(key!("overall_summary"));
    summary(&mut json, request.summary);
    json.raw(key!("e2e_table"));
    request.e2e.write(&mut json, "{\"e2e_total_ms\":");
    json.raw("}");
    json.list(key!("stage_table"), stages, |json, row| {
        row.write(json, "{\"stage_id\":");
        json.fields(&row.fields);
        json.raw("}");
    });
    json.list(key!("transfer_table"), transfers, |json, row| {
        row.write(json, "{\"from_stage\":");
        json.fields(&row.fields);
        json.raw("}");
    });
    json.text_if_some(key!("trace_id"), request.trace_id);
    json.text_if_some(key!("span_id"), request.span_id);
    json.fields(request.fields);
    json.warnings(request.warnings);
    json.raw("}\n");
}

/// Appends a line that is written rarely.
pub(crate) fn write_rare(out: &mut Vec<u8>, line: &Line) {
    // Writing numbers and strings into a `Vec` can't fail.
    infallible(serde_json::to_writer(&mut *out, line).map_err(io::Error::from));
    out.push(b'\n');
}

/// Appends the line of a detached stage.
pub(crate) fn write_stage(out: &mut Vec<u8>, line: &Detached<StageRow>) {
    write_detached(out, "{\"type\":\"stage\"", line, |json, row| {
        row.write(json, key!("stage_id"));
        json.fields(&row.fields);
    });
}

/// Appends the line of a detached transfer.
pub(crate) fn write_transfer(out: &mut Vec<u8>, line: &Detached<TransferRow>) {
    write_detached(out, "{\"type\":\"transfer\"", line, |json, row| {
        row.write(json, key!("from_stage"));
        json.fields(&row.fields);
    });
}

fn write_detached<Row>(
    out: &mut Vec<u8>,
    opening: &'static str,
    line: &Detached<Row>,
    members: impl FnOnce(&mut Json<'_>, &Row),
) {
    let mut json = Json(out);
    json.raw(opening);
    json.number(key!("schema"), line.schema.into());
    json.timestamp(key!("timestamp"), line.timestamp);
    match &line.request_id {
        Some(id) => json.text(key!("request_id"), id),
        None => json.raw(",\"request_id\":null"),
    }
    if let Some(rate) = line.sample_rate {
        json.number(key!("sample_rate"), rate.into());
    }
    members(&mut json, &line.row);
    json.text_if_some(key!("trace_id"), line.trace_id.as_deref());
    json.text_if_some(key!("span_id"), line.span_id.as_deref());
    json.warnings(&line.warnings);
    json.raw("}\n");
}

/// Appends the totals of the run, as they are in the line of a request.
#[cfg(feature = "cli")]
pub(crate) fn write_summary(out: &mut Vec<u8>, totals: &OverallSummary) {
    summary(&mut Json(out), totals);
}

fn summary(json: &mut Json<'_>, summary: &OverallSummary) {
    json.number("{\"e2e_requests\":", summary.e2e_requests);
    json.time(key!("e2e_wall_time_ms"), summary.e2e_wall_time_ms);
    json.number(key!("e2e_total_tokens"), summary.e2e_total_tokens);
    json.time(key!("e2e_avg_time_per_request_ms"), summary.e2e_avg_time_per_request_ms);
    json.decimal(key!("e2e_avg_tokens_per_s"), summary.e2e_avg_tokens_per_s);
    json.list(key!("stage_wall_time_ms"), summary.stage_wall_time_ms.iter(), |json, wall| {
        json.time("", *wall);
    });
    json.raw("}");
}
