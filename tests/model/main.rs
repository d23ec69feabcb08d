//! Random programs of span operations, run against the layer and against a naive model written
//! from the contract: all lines agree.
//!
//! `OMNI_MODEL_PROGRAMS` sets how many programs run (10,000, or 3,000 in a debug build, which are as
//! slow), `OMNI_MODEL_SEED` the first seed. A
//! failure names the seed of its program; `OMNI_MODEL_PROGRAMS=1 OMNI_MODEL_SEED=n` runs it alone.

#[path = "../support/mod.rs"]
mod support;

mod naive;
mod program;

use std::env;

use serde_json::Value;

fn setting(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn the_layer_agrees_with_the_naive_model() {
    let programs = setting("OMNI_MODEL_PROGRAMS", if cfg!(debug_assertions) { 3_000 } else { 10_000 });
    let first = setting("OMNI_MODEL_SEED", 0);
    let workers = program::Workers::new();
    let mut seen = Seen::default();
    for seed in first..first + programs {
        let (mut actual, expected, held) = program::run(seed, &workers);
        program::assert_invariants(seed, &actual);
        seen.count(&expected);
        seen.held += held;
        for line in &mut actual {
            if let Some(summary) = line.get_mut("overall_summary").and_then(Value::as_object_mut) {
                summary.remove("e2e_avg_tokens_per_s");
            }
        }
        if actual != expected {
            let show = |lines: &[Value]| lines.iter().map(|l| format!("{l}\n")).collect::<String>();
            let at = actual.iter().zip(&expected).position(|(a, e)| a != e);
            let at = at.unwrap_or(actual.len().min(expected.len()));
            panic!(
                "seed {seed}, line {at} of {}:\nlayer {:#}\nmodel {:#}\nall of the layer's:\n{}",
                expected.len(),
                actual.get(at).unwrap_or(&Value::Null),
                expected.get(at).unwrap_or(&Value::Null),
                show(&actual),
            );
        }
    }
    if programs >= 3_000 {
        seen.assert_variety();
    }
}

/// What the programs brought about, so that a generator that makes nothing of interest is found
/// out.
#[derive(Debug, Default)]
struct Seen {
    requests: usize,
    detached: usize,
    merged_rows: usize,
    batches: usize,
    flights: usize,
    warnings: usize,
    first_outputs: usize,
    held: usize,
    gaps: usize,
    underruns: usize,
    shares: usize,
    waits: usize,
    errors: usize,
    aborted: usize,
    failed: usize,
}

impl Seen {
    fn count(&mut self, lines: &[Value]) {
        for line in lines {
            let is_request = line["type"] == "request";
            self.requests += usize::from(is_request);
            self.detached += usize::from(!is_request);
            self.warnings += usize::from(line["warnings"] != 0);
            let e2e = &line["e2e_table"];
            self.waits += usize::from(e2e["waiting_time_ms"].as_f64() > Some(0.0));
            self.errors += usize::from(e2e["errors"].as_u64() > Some(1));
            self.aborted += usize::from(e2e["finish_reason"] == "abort");
            self.failed += usize::from(e2e["finish_reason"] == "error");
            for row in line["stage_table"].as_array().into_iter().flatten() {
                self.merged_rows += usize::from(row["events"].as_u64() > Some(1));
                self.batches += usize::from(row["batch_size"].as_u64() > Some(1));
                self.gaps += usize::from(row["outputs"].as_u64() > Some(2));
                self.underruns += usize::from(row["underruns"].as_u64() > Some(0));
                self.shares += usize::from(row.get("share_time_ms").is_some());
                self.first_outputs += usize::from(row.get("first_output_ms").is_some());
            }
            for row in line["transfer_table"].as_array().into_iter().flatten() {
                self.flights += usize::from(row["in_flight_time_ms"].as_f64() > Some(0.0));
            }
        }
    }

    fn assert_variety(&self) {
        let Self {
            requests,
            detached,
            merged_rows,
            batches,
            flights,
            warnings,
            first_outputs,
            held,
            gaps,
            underruns,
            shares,
            waits,
            errors,
            aborted,
            failed,
        } = *self;
        let counts = [
            requests,
            detached,
            merged_rows,
            batches,
            flights,
            warnings,
            first_outputs,
            held,
            gaps,
            underruns,
            shares,
            waits,
            errors,
            aborted,
            failed,
        ];
        assert!(counts.iter().all(|count| *count > 100), "{self:?}");
    }
}
