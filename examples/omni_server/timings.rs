//! What a client is told of the time that its request took.

use std::fmt::Write;

use axum::http::HeaderValue;
use omni_metrics::{E2eTable, Fields, Millis, RequestLine, StageRow, TransferRow};
use serde::Serialize;

/// The tables of one request: its line, without the totals of the service, which do not concern the client.
#[derive(Debug, Serialize)]
pub(crate) struct Tables {
    request_id: String,
    e2e_table: E2eTable,
    stage_table: Vec<StageRow>,
    transfer_table: Vec<TransferRow>,
    #[serde(skip_serializing_if = "Fields::is_empty")]
    fields: Fields,
}

impl From<RequestLine> for Tables {
    fn from(line: RequestLine) -> Self {
        Self {
            request_id: line.request_id,
            e2e_table: line.e2e_table,
            stage_table: line.stage_table,
            transfer_table: line.transfer_table,
            fields: line.fields,
        }
    }
}

/// The value of a `Server-Timing` header (<https://www.w3.org/TR/server-timing/>), which browsers show beside
/// the request.
pub(crate) fn header(line: &RequestLine) -> Option<HeaderValue> {
    let e2e = &line.e2e_table;
    let mut text = String::new();
    let mut add = |name: &str, time: Option<Millis>, desc: Option<&str>| {
        let Some(time) = time else { return };
        let comma = if text.is_empty() { "" } else { ", " };
        let _ = write!(text, "{comma}{name};dur={:.3}", time.as_f64());
        // In quotes, and in ASCII, as a header has to be.
        let desc: Option<String> = desc
            .map(|desc| desc.chars().filter(|c| is_plain(*c)).collect())
            .filter(|desc: &String| !desc.is_empty());
        if let Some(desc) = desc {
            let _ = write!(text, ";desc=\"{desc}\"");
        }
    };
    add("queue", e2e.queue_time_ms, None);
    add("waiting", e2e.waiting_time_ms, None);
    for row in &line.stage_table {
        let name = row.stage_id.map_or("stage".to_owned(), |id| format!("stage{id}"));
        add(&name, row.stage_gen_time_ms, row.stage_name.as_deref());
    }
    add("transfers", Some(e2e.transfers_total_time_ms), None);
    add("total", Some(e2e.e2e_total_ms), None);
    HeaderValue::from_str(&text).ok()
}

fn is_plain(c: char) -> bool {
    matches!(c, ' '..='~') && !matches!(c, '"' | '\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_a_header_cannot_have_is_left_out() {
        let mut line = RequestLine::default();
        for (stage_id, name) in [(Some(0), "\"a\"\r\nb"), (None, "é")] {
            let mut row = StageRow::default();
            (row.stage_id, row.stage_name) = (stage_id, Some(name.to_owned()));
            row.stage_gen_time_ms = Some(Millis::ZERO);
            line.stage_table.push(row);
        }
        let text = r#"stage0;dur=0.000;desc="ab", stage;dur=0.000, transfers;dur=0.000, total;dur=0.000"#;
        assert_eq!(header(&line).unwrap(), text);
    }
}
