//! A request in the list: one that has ended, or one that a report has named as open.

use std::collections::BTreeMap;

use crate::{
    Millis, OpenLine, RequestLine, StageRow,
    cli::{
        amount::amount,
        critical_path::critical_path,
        parts::{dominating, shown},
        running::StillOpen,
        timeline::Timeline,
    },
    model::{keep::is_failed, value::prefix},
    write::columns::{Cell, Columns, grouped, id, printable},
};

/// How many bytes of a request's id are kept, and of the text that says how it ended.
const ID: usize = 256;
const OUTCOME: usize = 64;
/// Lines up to this length, in bytes, are kept whole.
pub(super) const WHOLE_LINE: usize = 8 << 10;
/// How wide the bar of 100 % is.
const BAR: f64 = 24.0;

#[derive(Debug)]
pub(super) struct Row {
    pub(super) id: String,
    /// `e2e_total_ms`, or the age of an open request at the last report.
    pub(super) time: Millis,
    /// The part that most of the time went into, or the stage that an open request is in.
    pub(super) part: String,
    pub(super) part_time: Option<Millis>,
    /// In microseconds since the Unix epoch; `None` if it is open.
    pub(super) ended: Option<u64>,
    /// How it ended.
    pub(super) outcome: String,
    pub(super) has_failed: bool,
    content: Content,
}

/// What is kept of a line.
#[derive(Debug)]
enum Content {
    Request(Box<RequestLine>),
    Open(OpenLine),
    TooLong,
}

/// What tells a row from all others.
pub(super) type Identity = (Option<u64>, String);

impl Row {
    /// The row of a line of `length` bytes.
    pub(super) fn of_request(line: &RequestLine, length: usize, ended: u64) -> Self {
        let (part, part_time) = dominating(line);
        let part = part.to_string();
        let is_of_part = |row: &&StageRow| part == format!("stage {}", id(row.stage_id));
        let name = line.stage_table.iter().find(is_of_part).and_then(|row| row.stage_name.as_deref());
        let name = name.map(|name| format!(" {}", prefix(name, OUTCOME))).unwrap_or_default();
        let e2e = &line.e2e_table;
        let has_failed = is_failed(e2e);
        let without_reason = if has_failed { "error" } else { "-" };
        let outcome = e2e.finish_reason.as_deref().unwrap_or(without_reason);
        let is_whole = length <= WHOLE_LINE;
        Self {
            id: prefix(&line.request_id, ID).to_owned(),
            time: e2e.e2e_total_ms,
            part: shown(&part).to_owned() + &name,
            part_time: Some(part_time),
            ended: Some(ended),
            outcome: prefix(outcome, OUTCOME).to_owned(),
            has_failed,
            content: if is_whole { Content::Request(Box::new(line.clone())) } else { Content::TooLong },
        }
    }

    pub(super) fn of_open(open: &StillOpen) -> Self {
        Self {
            id: prefix(open.request_id.as_deref().unwrap_or("-"), ID).to_owned(),
            time: open.age_ms,
            part: prefix(open.stage.as_deref().unwrap_or("-"), OUTCOME).to_owned(),
            part_time: open.stage_age_ms,
            ended: None,
            outcome: "open".to_owned(),
            has_failed: false,
            content: Content::Open(open.line.clone()),
        }
    }

    pub(super) fn identity(&self) -> Identity {
        (self.ended, self.id.clone())
    }

    /// Everything that is known of the request, as lines of text.
    pub(super) fn details(&self, source: &str) -> Vec<String> {
        let text = match &self.content {
            Content::Request(line) => {
                // The first table is of the run.
                let tables = line.to_string();
                let of_request = tables.split_once("\n\n").map_or(&*tables, |(_, tables)| tables);
                format!("{}\n{of_request}", where_the_time_went(line))
            }
            Content::Open(line) => line.to_string(),
            Content::TooLong => format!(
                "The line of {} has more than {WHOLE_LINE} bytes, and is not kept. This prints it:\n\n\
                 omni-metrics tables --request '{}' {source}",
                printable(&self.id),
                printable(&self.id),
            ),
        };
        text.lines().map(|line| printable(line).into_owned()).collect()
    }
}

/// Sentences on how the request ended, and the parts of its critical path.
fn where_the_time_went(line: &RequestLine) -> String {
    let e2e = &line.e2e_table;
    let total = e2e.e2e_total_ms;
    let reason = e2e.finish_reason.as_deref().unwrap_or("no finish_reason");
    let mut text = format!(
        "{} took {} ms and ended at {} ({}).\n",
        printable(&line.request_id),
        grouped(&format!("{:.3}", total.as_f64())),
        line.timestamp,
        printable(reason)
    );
    if let Some(error) = &e2e.error {
        text.push_str(&format!("Its first error: {}\n", printable(error)));
    }
    if line.sample_rate.is_some() {
        text.push_str(&format!("The line stands for {}.\n", amount(line.weight(), "request", "requests")));
    }
    let mut times = BTreeMap::<_, u64>::new();
    for interval in critical_path(&Timeline::of(line)) {
        *times.entry(interval.part).or_default() += interval.length();
    }
    let mut table = Columns::named("Where the time went", ["time_ms", "of e2e", ""]);
    for (part, nanos) in times {
        let row = line.stage_table.iter().find(|row| part.stage() == Some(row.order()));
        let name = row.and_then(|row| row.stage_name.as_deref());
        let name = name.map_or_else(|| shown(&part.to_string()).to_owned(), |name| format!("{part} {name}"));
        let time = Millis::from_nanos(nanos);
        let share = time.ratio(total).unwrap_or(0.0);
        let (percent, bar) = (format!("{:.1} %", share * 100.0), "#".repeat((share * BAR).round() as usize));
        table.row(&name, [Cell::Time(time), Cell::Text(&percent), Cell::Text(&bar)].into_iter());
    }
    table.left(3);
    text + &format!("\n{table}\n")
}
