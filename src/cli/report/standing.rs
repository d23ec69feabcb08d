//! How the service stood at the end of its log, as tables.

use super::{
    figures::{count, decimal, shown},
    stages::{Group, Table},
};
use crate::{
    cli::running::{LastReport, SHOWN, SHOWN_OPEN, StillOpen},
    model::value::prefix,
    write::columns::{ABSENT, printable},
};

/// How many bytes of a text are shown.
const TEXT: usize = 200;

/// The last report of each file; `None` if there is none.
pub(super) fn last_reports(reports: &[LastReport]) -> Option<Table> {
    let group = |report: &LastReport| {
        let (line, window) = (&report.line, report.line.window.as_deref());
        let rows = [
            ("at", Some(line.timestamp.to_string())),
            ("requests of the run", Some(count(line.overall_summary.e2e_requests))),
            ("window: length", window.map(|window| shown(window.time_ms))),
            ("window: requests a second", window.map(|window| decimal(window.requests_per_s))),
            ("window: tokens a second", window.map(|window| decimal(window.tokens_per_s))),
            ("open requests", line.open_requests.map(count)),
            ("oldest open request", line.oldest_age_ms.map(shown)),
            ("lines written", line.lines_written.map(count)),
            ("lines left out", line.lines_left_out.map(count)),
            ("lines lost", line.lines_lost.map(count)),
        ];
        let rows = rows.into_iter().filter_map(|(name, value)| Some(vec![name.to_owned(), value?]));
        Group { name: printable(&report.file).into_owned(), rows: rows.collect() }
    };
    let groups: Vec<_> = reports.iter().take(SHOWN).map(group).collect();
    (!groups.is_empty()).then_some(Table { heads: ["number", "value"].map(str::to_owned).to_vec(), groups })
}

/// The requests that were still open; `None` if there are none.
pub(super) fn still_open(open: &[StillOpen]) -> Option<Table> {
    let row = |request: &StillOpen| {
        let text = |text: Option<&str>| {
            text.map_or(ABSENT.to_owned(), |text| printable(prefix(text, TEXT)).into_owned())
        };
        vec![
            text(request.request_id.as_deref()),
            shown(request.age_ms),
            text(request.stage.as_deref()),
            request.stage_age_ms.map_or(ABSENT.to_owned(), shown),
            count(request.e2e_total_tokens),
            request.since.to_string(),
        ]
    };
    let rows: Vec<_> = open.iter().take(SHOWN_OPEN).map(row).collect();
    let heads =
        ["request", "age", "stage", "in the stage for", "tokens", "open since"].map(str::to_owned).to_vec();
    (!rows.is_empty()).then_some(Table { heads, groups: vec![Group { name: String::new(), rows }] })
}
