//! What holds for every line.
//!
//! A line that breaks an invariant of the layer is a violation. Values that the program has recorded, and
//! that contradict each other, are a note.

use std::fmt::{self, Display};

mod run;

use run::{check_run, check_summary};

use super::{
    critical_path::{critical_path, flaws},
    timeline::Timeline,
};
use crate::{
    E2eTable, Line, Millis, OverallSummary, RequestLine, StageRow, TransferRow,
    fold::walls::WALL_LIMIT,
    model::{
        id::Shown,
        keep::is_chosen,
        numbers::{factor_of_request, total_tokens, total_transfers},
        warnings::Warnings,
    },
};

/// A float has a relative error of less than one in 2 to the power of this, also if it is the sum of four.
const FLOAT_BITS: u32 = 51;

/// What there is to say of a line, a sentence each.
#[derive(Debug, Default)]
pub(super) struct Remarks {
    pub(super) violations: Vec<String>,
    pub(super) notes: Vec<String>,
}

pub(super) fn check_line(line: &Line) -> Remarks {
    let mut remarks = Remarks::default();
    let id = line.request_id();
    match line {
        Line::Request(line) => {
            check_sample_rate(line.sample_rate, id, &mut remarks);
            check_request(line, &mut remarks);
        }
        Line::Stage(line) => {
            check_sample_rate(line.sample_rate, id, &mut remarks);
            check_stage(&line.row, &mut remarks);
        }
        Line::Transfer(line) => {
            check_sample_rate(line.sample_rate, id, &mut remarks);
            check_transfer(&line.row, &mut remarks);
        }
        Line::Summary(line) => {
            check_summary(line, &mut remarks);
        }
        Line::Open(_) => {}
    }
    remarks
}

/// A sentence about a stage, which becomes text only where it is said.
struct OfStage(Option<u64>, &'static str);

impl fmt::Display for OfStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stage {}: {}", Shown(self.0), self.1)
    }
}

/// The same about an edge.
struct OfEdge<'a>(&'a TransferRow, &'static str);

impl fmt::Display for OfEdge<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(row, sentence) = self;
        write!(f, "edge {}->{}: {sentence}", Shown(row.from_stage), Shown(row.to_stage))
    }
}

impl Remarks {
    fn add(&mut self, violation: String) {
        self.violations.push(violation);
    }

    fn unless(&mut self, is_sound: bool, violation: impl FnOnce() -> String) {
        if !is_sound {
            self.add(violation());
        }
    }

    fn same<T: PartialEq + Display>(&mut self, what: &str, expected: T, found: T) {
        self.unless(expected == found, || format!("{what}: expected {expected}, found {found}"));
    }

    /// Accepts a difference of one nanosecond, and of times of many days, that of the floats that they are
    /// read as.
    fn same_time(&mut self, what: impl Display, expected: Millis, found: Millis) {
        let difference = expected.as_nanos().abs_diff(found.as_nanos());
        self.unless(difference <= 1 + (expected.as_nanos() >> FLOAT_BITS), || {
            format!("{what}: expected {expected}, found {found}")
        });
    }

    /// Ratios have six decimals.
    fn same_ratio(&mut self, what: impl Display, expected: Option<f64>, found: Option<f64>) {
        let is_sound = match (expected, found) {
            (Some(expected), Some(found)) => (expected - found).abs() <= 1e-6 + expected * 1e-12,
            (None, None) => true,
            _ => false,
        };
        let shown = |ratio: Option<f64>| ratio.map_or("none".to_owned(), |ratio| ratio.to_string());
        self.unless(is_sound, || format!("{what}: expected {}, found {}", shown(expected), shown(found)));
    }

    fn at_most<T: PartialOrd + Display>(&mut self, what: impl Display, most: Option<T>, found: Option<T>) {
        if let (Some(most), Some(found)) = (most, found) {
            self.unless(found <= most, || format!("{what}: expected at most {most}, found {found}"));
        }
    }

    /// Notes a recorded part that is larger than its whole.
    fn note_part<T: PartialOrd + Display>(&mut self, what: impl Display, whole: Option<T>, part: Option<T>) {
        if let (Some(whole), Some(part)) = (whole, part)
            && part > whole
        {
            self.notes.push(format!("{what}: expected at most {whole}, found {part}"));
        }
    }
}

fn check_request(line: &RequestLine, remarks: &mut Remarks) {
    let e2e = &line.e2e_table;
    let run = &line.overall_summary;
    check_run(run, remarks);
    let what = "e2e_total_ms is more than e2e_wall_time_ms, that of the run";
    remarks.at_most(what, Some(run.e2e_wall_time_ms), Some(e2e.e2e_total_ms));
    let what = "e2e_total_tokens is more than that of the run";
    remarks.at_most(what, Some(run.e2e_total_tokens), Some(e2e.e2e_total_tokens));
    remarks.unless(line.overall_summary.e2e_requests > 0, || {
        "e2e_requests: expected at least 1 in a request, found 0".to_owned()
    });
    let unread = &mut Warnings::default();
    let tokens = total_tokens(line.stage_table.iter(), unread);
    let (bytes, time) = total_transfers(line.transfer_table.iter(), unread);
    remarks.same("e2e_total_tokens is not the sum of the rows", tokens, e2e.e2e_total_tokens);
    remarks.same("transfers_total_bytes is not the sum of the rows", bytes, e2e.transfers_total_bytes);
    let what = "transfers_total_time_ms is not the sum of the rows";
    remarks.same_time(what, time, e2e.transfers_total_time_ms);
    let what = "unattributed_time_ms is more than e2e_total_ms";
    remarks.at_most(what, Some(e2e.e2e_total_ms), Some(e2e.unattributed_time_ms));
    remarks.unless(line.stage_table.is_sorted_by(|row, next| row.order() < next.order()), || {
        "stage_table: expected in the order of stage_id, one row each, found another".to_owned()
    });
    remarks.unless(line.transfer_table.is_sorted_by(|row, next| row.order() < next.order()), || {
        "transfer_table: expected in the order of from_stage and to_stage, one row each, found another"
            .to_owned()
    });
    check_e2e(e2e, &line.stage_table, remarks);
    for row in &line.stage_table {
        check_stage(row, remarks);
        check_waiting(row, remarks);
        check_start(row, e2e, remarks);
        check_wall(row, run, remarks);
        check_busy(row, e2e, remarks);
        note_late_output(row, e2e, remarks);
    }
    line.transfer_table.iter().for_each(|row| check_transfer(row, remarks));
    let timeline = Timeline::of(line);
    flaws(&critical_path(&timeline), &timeline).into_iter().for_each(|flaw| remarks.add(flaw));
}

/// A line with a rate is one that the hash of its id has chosen.
fn check_sample_rate(sample_rate: Option<u32>, request_id: Option<&str>, remarks: &mut Remarks) {
    let Some(rate) = sample_rate else { return };
    let is_chosen = request_id.is_some_and(|id| is_chosen(id, rate));
    remarks.unless(rate > 1 && is_chosen, || match (rate, request_id) {
        (0 | 1, _) => format!("sample_rate: expected at least 2 or nothing, found {rate}"),
        (_, None) => format!("sample_rate: expected none without a request_id, found {rate}"),
        (_, Some(id)) => {
            format!("sample_rate: expected a divisor of the hash of request_id {id}, found {rate}")
        }
    });
}

/// What follows from the rows but for the totals, and errors.
fn check_e2e(e2e: &E2eTable, rows: &[StageRow], remarks: &mut Remarks) {
    let first = rows.iter().filter_map(|row| row.start_ms).min();
    remarks.unless(first == e2e.queue_time_ms, || {
        let (first, found) = (shown(first), shown(e2e.queue_time_ms));
        format!("queue_time_ms is not the start_ms of the first stage: expected {first}, found {found}")
    });
    let factor = factor_of_request(e2e.e2e_total_ms, rows.iter());
    let what = "real_time_factor is not e2e_total_ms / the largest media_ms";
    remarks.same_ratio(what, factor, e2e.real_time_factor);
    let sum = rows.iter().filter_map(|row| row.waiting_time_ms).reduce(Millis::saturating_add);
    remarks.unless(sum == e2e.waiting_time_ms, || {
        let (sum, found) = (shown(sum), shown(e2e.waiting_time_ms));
        format!("waiting_time_ms is not the sum of the rows: expected {sum}, found {found}")
    });
    let what = "waiting_time_ms is more than unattributed_time_ms";
    remarks.at_most(what, Some(e2e.unattributed_time_ms), e2e.waiting_time_ms);
    remarks.unless(e2e.errors != Some(0), || "errors: expected at least 1 or nothing, found 0".to_owned());
    remarks.unless(e2e.error.is_none() || e2e.errors.is_some(), || {
        "error: expected only with errors, found without".to_owned()
    });
}

fn shown(time: Option<Millis>) -> String {
    time.map_or("none".to_owned(), |time| time.to_string())
}

fn check_stage(row: &StageRow, remarks: &mut Remarks) {
    let (stage, gen_time) = (Shown(row.stage_id), row.stage_gen_time_ms);
    let of = |sentence| OfStage(row.stage_id, sentence);
    remarks.unless(row.events > 0, || format!("{}, found 0", of("events: expected at least 1")));
    remarks.unless(gen_time.is_some() == row.busy_time_ms.is_some(), || {
        of("stage_gen_time_ms and busy_time_ms: expected both or neither").to_string()
    });
    // Measured times fit together. So one of them was recorded.
    let what = of("preprocess_time_ms is more than stage_gen_time_ms");
    remarks.note_part(what, gen_time, row.preprocess_time_ms);
    let what = of("busy_time_ms is more than wall_time_ms");
    remarks.at_most(what, row.wall_time_ms, row.busy_time_ms);
    if let Some(share) = row.share_time_ms {
        remarks.unless(gen_time.is_some_and(|gen_time| share < gen_time), || {
            let gen_time = gen_time.map_or("one".to_owned(), |gen_time| gen_time.to_string());
            format!(
                "stage {stage}: share_time_ms is not less than stage_gen_time_ms: {gen_time}, found {share}"
            )
        });
    }
    let what = of("num_tokens_cached is more than num_tokens_in");
    remarks.note_part(what, row.num_tokens_in, row.num_tokens_cached);
    let what = of("num_tokens_reasoning is more than num_tokens_out");
    remarks.note_part(what, row.num_tokens_out, row.num_tokens_reasoning);
    check_media(row, remarks);
    check_outputs(row, remarks);
}

fn check_media(row: &StageRow, remarks: &mut Remarks) {
    let stage = Shown(row.stage_id);
    let of = |sentence| OfStage(row.stage_id, sentence);
    let what = of("real_time_factor is not stage_gen_time_ms / media_ms");
    remarks.same_ratio(what, row.factor(), row.real_time_factor);
    let is_sound = match (row.underruns, row.underrun_total_ms) {
        (Some(count), Some(total)) => (count == 0) == (total == Millis::ZERO),
        (count, total) => count.is_none() && total.is_none(),
    };
    remarks.unless(is_sound, || {
        format!("stage {stage}: underruns and underrun_total_ms: expected both, and both zero or neither")
    });
    remarks.unless(row.underruns.is_none() || row.media_ms.is_some(), || {
        format!("stage {stage}: underruns: expected only with media_ms, found without")
    });
}

fn check_outputs(row: &StageRow, remarks: &mut Remarks) {
    let stage = Shown(row.stage_id);
    let of = |sentence| OfStage(row.stage_id, sentence);
    // A detached row counts from its first enter, all others from the creation of the request.
    let (first, last) = match row.wall_time_ms {
        Some(_) => (row.first_output_after_ms, row.last_output_after_ms),
        None => (row.first_output_ms, row.last_output_ms),
    };
    let outputs = row.outputs.unwrap_or(0);
    remarks.unless(row.outputs != Some(0), || {
        format!("stage {stage}: outputs: expected at least 1 or nothing, found 0")
    });
    remarks.unless(last.is_some() == row.outputs.is_some() && (first.is_some() || last.is_none()), || {
        format!("stage {stage}: outputs: expected the first and the last where there are any, and only there")
    });
    let has_gaps = outputs > 1;
    let gaps = [("mean", row.inter_output_mean_ms), ("max", row.inter_output_max_ms)];
    for (name, _) in gaps.iter().filter(|(_, gap)| gap.is_some() != has_gaps) {
        let expected = if has_gaps { "one of" } else { "none of" };
        remarks.add(format!("stage {stage}: inter_output_{name}_ms: expected {expected} {outputs} outputs"));
    }
    let what = of("inter_output_mean_ms is more than inter_output_max_ms");
    remarks.at_most(what, row.inter_output_max_ms, row.inter_output_mean_ms);
    let (Some(first), Some(last)) = (first, last) else { return };
    let what = of("the first output is after the last");
    remarks.at_most(what, Some(last), Some(first));
    // What came before the request or the span counts as its beginning, so that the times between are not
    // known.
    if first == Millis::ZERO {
        return;
    }
    let extent = last.saturating_sub(first);
    let among = |steps: u64| extent.as_nanos().checked_div(steps).map(Millis::from_nanos);
    // `first_output` may have been recorded before the first `output`; then both are less.
    let what = of("inter_output_max_ms is longer than all outputs took");
    remarks.at_most(what, after(extent), row.inter_output_max_ms);
    let what = of("inter_output_mean_ms is more than (last - first output) / (outputs - 1)");
    let mean = among(outputs.saturating_sub(1)).and_then(after);
    remarks.at_most(what, mean, row.inter_output_mean_ms);
    let steps = row.num_tokens_out.unwrap_or(0).saturating_sub(1);
    if let (Some(expected), Some(found)) = (among(steps), row.time_per_output_token_ms) {
        let what = of("time_per_output_token_ms is not (last - first output) / (num_tokens_out - 1)");
        remarks.same_time(what, expected, found);
    }
}

/// A nanosecond later, which rounding may add.
fn after(time: Millis) -> Option<Millis> {
    time.checked_add(Millis::from_nanos(1))
}

fn check_waiting(row: &StageRow, remarks: &mut Remarks) {
    let what = OfStage(row.stage_id, "waiting_time_ms is more than queue_time_ms");
    remarks.at_most(what, Some(row.queue_time_ms.unwrap_or_default()), row.waiting_time_ms);
}

/// A stage starts before its request ends, unless it serves others as well. It starts if it has left a queue.
fn check_start(row: &StageRow, e2e: &E2eTable, remarks: &mut Remarks) {
    remarks.unless(row.start_ms.is_some() || row.queue_time_ms.is_none(), || {
        OfStage(row.stage_id, "queue_time_ms: expected only with start_ms, found without").to_string()
    });
    if !may_be_shared(row) {
        let what = OfStage(row.stage_id, "start_ms is more than e2e_total_ms");
        remarks.at_most(what, Some(e2e.e2e_total_ms), row.start_ms);
    }
}

/// The time between the first enter and the last exit of a stage in the run contains each of its spans.
fn check_wall(row: &StageRow, run: &OverallSummary, remarks: &mut Remarks) {
    let Some(at) = row.stage_id.filter(|id| *id < WALL_LIMIT) else {
        return;
    };
    let Some(wall) = run.stage_wall_time_ms.get(at as usize) else {
        return remarks.add(format!("stage {at}: stage_wall_time_ms: expected one, found none"));
    };
    // Spans of one request may overlap.
    let most = wall.as_nanos().checked_mul(row.events).map(Millis::from_nanos);
    let what = OfStage(row.stage_id, "busy_time_ms is more than stage_wall_time_ms * events");
    remarks.at_most(what, most, row.busy_time_ms);
}

/// The layer measures no more busy time than span time, which `stage_gen_time_ms` is unless it was recorded.
/// A single span that serves only this request does not end after it.
fn check_busy(row: &StageRow, e2e: &E2eTable, remarks: &mut Remarks) {
    let is_one_span = row.events == 1 && !may_be_shared(row);
    // A row that `join` has added starts at zero if it began before the request, by another clock.
    let start = row.start_ms.filter(|start| is_one_span && *start > Millis::ZERO);
    let rest = start.map(|start| e2e.e2e_total_ms.saturating_sub(start));
    if rest.and_then(after).is_some_and(|rest| row.busy_time_ms > Some(rest)) {
        let what = OfStage(row.stage_id, "busy_time_ms is more than e2e_total_ms - start_ms");
        return remarks.at_most(what, rest, row.busy_time_ms);
    }
    let what = OfStage(row.stage_id, "busy_time_ms is more than stage_gen_time_ms, so this was recorded");
    remarks.note_part(what, row.stage_gen_time_ms, row.busy_time_ms);
}

fn is_shared(row: &StageRow) -> bool {
    row.share_time_ms.is_some() || row.batch_size.is_some_and(|size| size > 1)
}

/// Of a time of less than two nanoseconds, the share may be the whole. The spans of a row without a time are
/// parts of other spans.
fn may_be_shared(row: &StageRow) -> bool {
    is_shared(row) || row.stage_gen_time_ms.is_none_or(|time| time < Millis::from_nanos(2))
}

/// An output that was recorded while its span was not entered may come after the end of the request. Of a
/// batch, which may go on after the request, that is no wonder.
fn note_late_output(row: &StageRow, e2e: &E2eTable, remarks: &mut Remarks) {
    if let Some(last) = row.last_output_ms.filter(|last| !is_shared(row) && *last > e2e.e2e_total_ms) {
        let (stage, end) = (Shown(row.stage_id), e2e.e2e_total_ms);
        let what = "last_output_ms is more than e2e_total_ms";
        remarks.notes.push(format!("stage {stage}: {what}: expected at most {end}, found {last}"));
    }
}

fn check_transfer(row: &TransferRow, remarks: &mut Remarks) {
    remarks.unless(row.events > 0, || format!("{}, found 0", OfEdge(row, "events: expected at least 1")));
    let what = OfEdge(row, "total_time_ms is not the sum of its parts");
    remarks.same_time(what, row.total(&mut Warnings::default()), row.total_time_ms);
}
