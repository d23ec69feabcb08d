//! The first lines of the screen.

use super::figures::Figures;
use crate::{
    Millis, SummaryLine, Timestamp,
    cli::{
        amount::{amount, decimal},
        attainment::percent,
        groups::GroupTable,
        line_counts::LineCounts,
    },
    write::columns::grouped,
};

/// What was read, the rates, and what must be known to read the figures.
pub(super) fn head(figures: &Figures, is_paused: bool) -> Vec<String> {
    let paused = if is_paused { "PAUSED  " } else { "" };
    let mut lines = vec![format!("{paused}{}", what_was_read(figures)), rates(figures)];
    if figures.is_past() {
        lines.push("the log is older than that: `+` or --window all shows all of it".to_owned());
    }
    if let Some(sampled) = &figures.sampled {
        let stand = if sampled.request_lines == 1 { "line stands" } else { "lines stand" };
        let (lines_read, requests) = (count(sampled.request_lines), count(sampled.requests));
        lines.push(format!("sampled: {lines_read} {stand} for about {requests} requests"));
    }
    if let Some(objectives) = &figures.objectives {
        let goodput = objectives.goodput_requests_per_s.map_or_else(|| "-".to_owned(), rate);
        let share = objectives.share.map(|share| format!(" ({})", percent(share))).unwrap_or_default();
        lines.push(format!(
            "objectives: {} of {} requests met all{share}, goodput {goodput} requests/s",
            count(objectives.met),
            count(objectives.judged),
        ));
        if figures.window.requests > 0 {
            lines.extend(objectives.missing());
        }
    }
    lines.extend(figures.groups.iter().flat_map(GroupTable::remarks).cloned());
    lines.extend(figures.report.as_ref().map(|report| last_report(report)));
    lines
}

fn what_was_read(figures: &Figures) -> String {
    let LineCounts { foreign, broken, unknown, outside, unmatched, .. } = figures.read;
    let ended = if figures.has_ended { ", at its end" } else { "" };
    let requests = if figures.requests == 1 { "request" } else { "requests" };
    let mut text = format!("{}{ended}: {} {requests}", figures.source, count(figures.requests));
    for (lines, one, many) in [
        (broken, "broken line", "broken lines"),
        (foreign, "foreign line", "foreign lines"),
        (unknown, "line of an unknown schema", "lines of an unknown schema"),
        (outside + unmatched, "line left out", "lines left out"),
    ] {
        if lines > 0 {
            text.push_str(&format!(", {}", amount(lines, one, many)));
        }
    }
    text
}

/// The rates of the period, over the time that was seen.
fn rates(figures: &Figures) -> String {
    let seen = match figures.is_partly_seen() {
        true => format!(" ({:.1} s seen)", figures.seen.as_f64() / 1e3),
        false => String::new(),
    };
    let period = format!("{}{seen}", figures.period);
    let requests = figures.window.requests;
    if requests == 0
        && let Some(last) = figures.last
    {
        let last = Timestamp::from_unix_micros(last);
        return format!("{period}: no request; the last one ended at {last}");
    }
    let failed = if requests == 0 { 0.0 } else { figures.failed as f64 / requests as f64 };
    let failed = format!("{} failed", percent(failed));
    match figures.rates() {
        Some((requests, tokens)) => {
            format!("{period}: {} requests/s, {} tokens/s, {failed}", rate(requests), rate(tokens))
        }
        None => format!("{period}: {}, {failed}", amount(requests, "request", "requests")),
    }
}

/// The numbers of the last report, in a sentence.
fn last_report(line: &SummaryLine) -> String {
    let open = amount(line.open_requests.unwrap_or(0), "open request", "open requests");
    let seconds = |age: Millis| format!(", the oldest for {:.1} s", age.as_f64() / 1e3);
    let lost = line.lines_lost.filter(|lost| *lost > 0);
    let lost = lost.map(|lost| format!(", {} lost", amount(lost, "line", "lines")));
    let oldest = line.oldest_age_ms.map(seconds).unwrap_or_default();
    format!("last report: {open}{oldest}{}", lost.unwrap_or_default())
}

fn count(count: u64) -> String {
    grouped(&count.to_string())
}

fn rate(rate: f64) -> String {
    decimal(rate, 1)
}
