//! What holds for the totals of a run, and for its distributions.

use super::{Remarks, after};
use crate::{Distribution, Millis, OverallSummary, Percentiles, SummaryLine, Window, model::id::Shown};

/// To how much a mean is rounded.
const STEP: f64 = 1e-6;
const STEP_OF_RATES: f64 = 1e-3;
/// The relative error of a percentile is less than this.
const ERROR: f64 = 0.01;

pub(super) fn check_summary(line: &SummaryLine, remarks: &mut Remarks) {
    check_run(&line.overall_summary, remarks);
    check_percentiles("", &line.percentiles, remarks);
    // A line that the reader has made knows the requests of the lines that it read.
    if line.open_requests.is_some() {
        let timed = line.percentiles.e2e_total_ms;
        let what = "e2e_requests is not the count of e2e_total_ms";
        remarks.same(what, timed.map_or(0, |times| times.count), line.overall_summary.e2e_requests);
        let what = "the max of e2e_total_ms is more than e2e_wall_time_ms";
        remarks.at_most(what, Some(line.overall_summary.e2e_wall_time_ms), timed.map(|times| times.max));
    }
    if let Some(window) = &line.window {
        check_window(window, remarks);
        check_percentiles("window: ", &window.percentiles, remarks);
    }
}

pub(super) fn check_run(summary: &OverallSummary, remarks: &mut Remarks) {
    let OverallSummary { e2e_requests, e2e_wall_time_ms, e2e_total_tokens, .. } = summary;
    let wall = e2e_wall_time_ms.as_nanos();
    let average = wall.saturating_add(e2e_requests / 2).checked_div(*e2e_requests).unwrap_or(0);
    let what = "e2e_avg_time_per_request_ms is not e2e_wall_time_ms / e2e_requests";
    remarks.same_time(what, Millis::from_nanos(average), summary.e2e_avg_time_per_request_ms);
    let what = "e2e_avg_tokens_per_s is not e2e_total_tokens * 1000 / e2e_wall_time_ms";
    check_rate(what, *e2e_total_tokens, wall, summary.e2e_avg_tokens_per_s, remarks);
}

fn check_window(window: &Window, remarks: &mut Remarks) {
    let Window { time_ms, requests, tokens, finish_reasons, percentiles, .. } = window;
    let time = time_ms.as_nanos();
    let what = "window: requests_per_s is not requests * 1000 / time_ms";
    check_rate(what, *requests, time, window.requests_per_s, remarks);
    let what = "window: tokens_per_s is not tokens * 1000 / time_ms";
    check_rate(what, *tokens, time, window.tokens_per_s, remarks);
    let by_reason = finish_reasons.values().fold(0, |sum: u64, requests| sum.saturating_add(*requests));
    remarks.same("window: requests is not the sum of finish_reasons", by_reason, *requests);
    let timed = percentiles.e2e_total_ms.map_or(0, |times| times.count);
    remarks.same("window: requests is not the count of e2e_total_ms", timed, *requests);
}

fn check_rate(what: &str, count: u64, nanos: u64, found: f64, remarks: &mut Remarks) {
    let rate = if nanos == 0 { 0.0 } else { count as f64 / (nanos as f64 / 1e9) };
    // Written with six decimals.
    remarks.unless((rate - found).abs() <= 1e-6 + rate * 1e-12, || {
        format!("{what}: expected {rate:.6}, found {found}")
    });
}

/// Numbers that each request, or each row, has both of have as many values.
fn check_counts(whose: &str, percentiles: &Percentiles, remarks: &mut Remarks) {
    let mut same =
        |what: String, expected: Option<Distribution<Millis>>, found: Option<Distribution<Millis>>| {
            let [expected, found] = [expected, found].map(|times| times.map_or(0, |times| times.count));
            remarks.same(&format!("{whose}{what}: count"), expected, found);
        };
    let Percentiles { e2e_total_ms, unattributed_time_ms, stages, .. } = percentiles;
    same("unattributed_time_ms".to_owned(), *e2e_total_ms, *unattributed_time_ms);
    for stage in stages {
        let what = format!("stage {}: busy_time_ms", Shown(stage.stage_id));
        same(what, stage.stage_gen_time_ms, stage.busy_time_ms);
    }
    for edge in &percentiles.transfers {
        let whole = edge.total_time_ms.map(|times| times.count);
        for (name, times) in edge.named_times() {
            let what = format!("{whose}edge {}->{}: {name}", Shown(edge.from_stage), Shown(edge.to_stage));
            let what = format!("{what}: count is more than that of total_time_ms");
            remarks.at_most(what, whole, times.map(|times| times.count));
        }
    }
}

/// Checks each distribution, whose name begins with `whose`.
fn check_percentiles(whose: &str, percentiles: &Percentiles, remarks: &mut Remarks) {
    check_counts(whose, percentiles, remarks);
    let (whole, part) = (percentiles.e2e_total_ms, percentiles.unattributed_time_ms);
    if let (Some(whole), Some(part)) = (whole, part) {
        let what = "unattributed_time_ms is more than e2e_total_ms";
        remarks.at_most(format!("{whose}mean: {what}"), after(whole.mean), Some(part.mean));
        remarks.at_most(format!("{whose}max: {what}"), Some(whole.max), Some(part.max));
    }
    let mut check = |of: &str, name: &str, found: Option<Distribution<f64>>, step: f64| {
        if let Some(found) = found {
            check_distribution(&format!("{whose}{of}{name}"), found, step, remarks);
        }
    };
    percentiles.named_times().for_each(|(name, times)| check("", name, times.map(millis), STEP));
    percentiles.named_ratios().for_each(|(name, ratios)| check("", name, ratios, STEP));
    check("", "tokens_per_s", percentiles.tokens_per_s, STEP_OF_RATES);
    for stage in &percentiles.stages {
        let of = format!("stage {}: ", Shown(stage.stage_id));
        stage.named_times().for_each(|(name, times)| check(&of, name, times.map(millis), STEP));
        stage.named_ratios().for_each(|(name, ratios)| check(&of, name, ratios, STEP));
        check(&of, "inter_output_ms", stage.inter_output_ms.map(millis), STEP);
    }
    for edge in &percentiles.transfers {
        let of = format!("edge {}->{}: ", Shown(edge.from_stage), Shown(edge.to_stage));
        edge.named_times().for_each(|(name, times)| check(&of, name, times.map(millis), STEP));
        edge.named_ratios().for_each(|(name, ratios)| check(&of, name, ratios, STEP));
    }
}

fn millis(times: Distribution<Millis>) -> Distribution<f64> {
    let Distribution { count, mean, p50, p90, p99, p999, max } = times;
    let [mean, p50, p90, p99, p999, max] = [mean, p50, p90, p99, p999, max].map(Millis::as_f64);
    Distribution { count, mean, p50, p90, p99, p999, max }
}

fn check_distribution(what: &str, found: Distribution<f64>, step: f64, remarks: &mut Remarks) {
    let Distribution { count, mean, p50, p90, p99, p999, max } = found;
    remarks.unless(count > 0, || format!("{what}: count: expected at least 1 or no distribution, found 0"));
    let percentiles = [p50, p90, p99, p999, max];
    remarks.unless(percentiles.is_sorted(), || {
        let found = percentiles.map(|value| value.to_string()).join(", ");
        format!("{what}: expected p50, p90, p99, p999 and max in ascending order, found {found}")
    });
    // One value is the largest, and none is negative.
    let least = max / count.max(1) as f64 * (1.0 - 1e-12) - step;
    remarks.unless((least..=max).contains(&mean), || {
        format!("{what}: mean: expected from max / count up to max, which is {max}, found {mean}")
    });
    // Between two percentiles lies a share of the values, none of which is below the first or above the
    // second. Percentiles have an error.
    let shares = [0.5, 0.4, 0.09, 0.009, 0.001];
    let sum = |values: [f64; 5]| shares.iter().zip(values).map(|(share, value)| share * value).sum::<f64>();
    let least = sum([0.0, p50, p90, p99, p999]) * (1.0 - ERROR) - step;
    let most = sum([p50, p90, p99, p999, max]) * (1.0 + ERROR) + step;
    remarks.unless((least..=most).contains(&mean) || !percentiles.is_sorted(), || {
        format!("{what}: mean: expected from {least} to {most} by the percentiles, found {mean}")
    });
}
