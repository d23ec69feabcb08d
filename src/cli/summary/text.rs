//! The figures of a log, as people read them.

use std::io::Write;

use super::figures::{LogSummary, NamedCount};
use crate::{
    Millis, OverallSummary,
    cli::{
        amount::decimal,
        attainment::percent,
        failure::Result,
        groups::Percent,
        parts::Share,
        percentile_table::{chosen_table, percentile_table, short},
        running::{last_reports, month_to_second, still_open},
        sentence::{WIDTH, in_lines, lines_of},
        stage_names::StageNames,
        stage_outputs::OutputsOfStage,
    },
    model::id::ordered,
    write::columns::{Cell, Columns, grouped},
};

/// What the number is that many take for the mean latency.
const AVERAGE: &str =
    "e2e_avg_time_per_request_ms is wall time / requests, not the mean latency (e2e_total_ms)";

/// What the two numbers of this name are.
const QUEUE_TIME: &str = "queue_time_ms: of a request, until its first stage began; of a stage, from the \
                          creation of its span\nuntil it began";

/// How wide the names of counts are, in columns.
const NAMES: usize = 64;

/// How wide the bar of 100 % is, the widest first.
const BARS: [f64; 3] = [40.0, 20.0, 10.0];

impl LogSummary {
    fn rates(&self) -> String {
        let OverallSummary { e2e_avg_tokens_per_s, .. } = self.line.overall_summary;
        let [requests, tokens] = [self.requests_per_s, e2e_avg_tokens_per_s].map(|rate| decimal(rate, 1));
        format!("{requests} requests and {tokens} tokens a second")
    }

    /// How many requests failed: with an error, or by their `finish_reason`.
    fn failures(&self) -> String {
        let requests = self.line.overall_summary.e2e_requests;
        let share = self.failed_requests as f64 / requests as f64 * 100.0;
        let with_error: u64 = self.failed.iter().map(|failed| failed.count).sum();
        let without = self.failed_requests.saturating_sub(with_error);
        let [failed, with_error, without, all] =
            [self.failed_requests, with_error, without, requests].map(|count| grouped(&count.to_string()));
        let kinds = match without.as_str() {
            "0" => String::new(),
            _ => format!(
                ": {with_error} with an error, {without} without (`finish_reason` is neither stop nor length)"
            ),
        };
        format!("{failed} of {all} requests failed ({share:.1} %){kinds}.")
    }

    /// What the parts mean in which nothing ran.
    fn idle_parts(&self) -> String {
        let before = "before any stage: until the first stage of a request began, without the wait for it";
        let has_waits = self.shares_of_e2e.iter().any(|share| share.part == "waiting");
        let waiting = "; waiting for stages: the span of one was open and had not begun, and nothing of the \
                       request ran";
        format!("{before}{}", if has_waits { waiting } else { "" })
    }

    /// The sum of each part, with a bar as long as there is room for.
    fn parts(&self) -> String {
        let with_bars = |whole: &f64| {
            let mut table = Columns::named("Sum of rows by part", ["time_ms", "of e2e", ""]);
            for Share { part, time_ms, share } in &self.shares_of_e2e {
                let (percent, bar) = (format!("{:.1} %", share * 100.0), bar(*share, *whole));
                let part = self.names.of_part(part);
                table.row(&part, [Cell::Time(*time_ms), Cell::Text(&percent), Cell::Text(&bar)].into_iter());
            }
            table.left(3);
            table
        };
        let mut tables = BARS.iter().map(with_bars);
        let fitting = tables.find(|table| table.width() <= WIDTH);
        fitting.unwrap_or_else(|| with_bars(&0.0)).fitted(WIDTH)
    }

    pub(super) fn print(&self, percents: &[Percent], out: &mut impl Write) -> Result<()> {
        let OverallSummary { e2e_requests, .. } = self.line.overall_summary;
        if let Some(sentence) = self.on_missing_rows() {
            writeln!(out, "{}\n", in_lines(&sentence))?;
        }
        if let Some(sampled) = &self.sampled {
            let exact = self.exact_requests().map(|requests| {
                let requests = grouped(&requests.to_string());
                format!(" By its last summary line, the process counted {requests} requests.")
            });
            let sentence = sampled.sentence() + &exact.unwrap_or_default();
            writeln!(out, "{}\n", in_lines(&sentence))?;
        }
        if e2e_requests == 0 {
            writeln!(out, "no requests")?;
        } else {
            let table = match percents {
                [] => percentile_table(&self.line.percentiles, &self.names),
                percents => chosen_table(&self.chosen, percents, &self.names),
            };
            let table = table.fitted(WIDTH);
            writeln!(out, "{}", self.line.overall_summary)?;
            writeln!(out, "{AVERAGE}")?;
            let of_attempts = self.requests_by_id.map(|by_id| format!(" {}", by_id.sentence()));
            let rates = format!("{}. {}{}", self.rates(), self.failures(), of_attempts.unwrap_or_default());
            writeln!(out, "{}\n", in_lines(&rates))?;
            if let Some(sentence) = &self.on_rates {
                writeln!(out, "{}\n", in_lines(sentence))?;
            }
            writeln!(out, "Percentiles until {}\n{table}", self.line.timestamp)?;
            writeln!(out, "{QUEUE_TIME}")?;
            for sentence in self.outlasted.sentence().into_iter().chain(self.on_summed_queues()) {
                writeln!(out, "{}", in_lines(&sentence))?;
            }
            writeln!(out)?;
            writeln!(out, "{}", self.parts())?;
            writeln!(out, "{}", in_lines(&self.idle_parts()))?;
            let sum: f64 = self.shares_of_e2e.iter().map(|part| part.share).sum();
            if sum >= 1.0005 {
                let percent = sum * 100.0;
                writeln!(
                    out,
                    "The shares add up to {percent:.1} %: parts that run at the same time count each. \
                     `report`\nand `why` divide each moment once."
                )?;
            }
            writeln!(out)?;
        }
        if let Some(objectives) = &self.objectives {
            writeln!(out, "{objectives}")?;
        }
        if !self.slowest.is_empty() {
            let mut table = Columns::named("Slowest requests", ["e2e_ms", "mostly", "time_ms", "ended"]);
            for slow in &self.slowest {
                let part = match slow.waiting_for_stage {
                    Some(stage) => format!("waiting for {}", self.names.of(ordered(Some(stage)))),
                    None => self.names.of_part(&slow.dominating_part),
                };
                let ended = month_to_second(slow.timestamp);
                let cells = [
                    Cell::Time(slow.e2e_total_ms),
                    Cell::Text(&part),
                    Cell::Time(slow.dominating_time_ms),
                    Cell::Text(&ended),
                ];
                table.row(&slow.request_id, cells.into_iter());
            }
            writeln!(out, "{}\n", table.fitted(WIDTH))?;
        }
        if !self.outputs.is_empty() {
            writeln!(out, "{}\n", outputs(&self.outputs, &self.names).fitted(WIDTH))?;
        }
        let share = |count: u64| percent(count as f64 / e2e_requests.max(1) as f64);
        let counts = [
            ("Finish reasons", &self.finish_reasons, true),
            ("Requests by their first error", &self.failed, false),
            ("Warnings", &self.warnings, false),
        ];
        for (title, counts, has_share) in counts {
            if !counts.is_empty() {
                let (mut table, width) = match has_share {
                    true => (Columns::named(title, ["count", "share"]), 2),
                    false => (Columns::named(title, ["count"]), 1),
                };
                for NamedCount { name, count } in counts {
                    let mut lines = lines_of(name, NAMES).into_iter();
                    let share = share(*count);
                    let cells = [Cell::Count(*count), Cell::Text(&share)];
                    table.row(&lines.next().unwrap_or_default(), cells.into_iter().take(width));
                    let empty = || (0..width).map(|_| Cell::Text(""));
                    lines.for_each(|rest| table.row(&format!("  {rest}"), empty()));
                }
                writeln!(out, "{}\n", table.fitted(WIDTH))?;
            }
        }
        if !self.last_reports.is_empty() {
            writeln!(out, "{}\n", last_reports(&self.last_reports).fitted(WIDTH))?;
        }
        if !self.still_open.is_empty() {
            writeln!(out, "{}\n", still_open(&self.still_open).fitted(WIDTH))?;
        }
        let rest = self.besides();
        if !rest.is_empty() {
            writeln!(out, "{}", in_lines(&format!("Besides: {}", rest.join(", "))))?;
        }
        Ok(())
    }
}

/// A column for each number, and a row for each stage.
fn outputs(stages: &[OutputsOfStage], names: &StageNames) -> Columns {
    let heads = ["outputs", "mean gap", "longest", "media_ms", "rt factor", "underruns", "in ms"];
    let mut table = Columns::named("Outputs", heads);
    let time = |time: Option<Millis>| time.map(|time| short(time.as_f64()));
    let is_media = |stage: &OutputsOfStage| stage.media_ms > Millis::ZERO;
    for stage in stages {
        let times = [
            stage.inter_output_mean_ms,
            stage.inter_output_max_ms,
            is_media(stage).then_some(stage.media_ms),
            stage.underruns.and(Some(stage.underrun_total_ms)),
        ]
        .map(time);
        let [mean, longest, media, underrun] =
            times.each_ref().map(|time| time.as_deref().map_or(Cell::Absent, Cell::Text));
        let cells = [
            Cell::Count(stage.outputs),
            mean,
            longest,
            media,
            stage.real_time_factor.map_or(Cell::Absent, Cell::Decimal),
            stage.underruns.map_or(Cell::Absent, Cell::Count),
            underrun,
        ];
        table.row(&names.of(ordered(stage.stage_id)), cells.into_iter());
    }
    table
}

fn bar(share: f64, whole: f64) -> String {
    "#".repeat((share * whole).round().clamp(0.0, 2.0 * whole) as usize)
}
