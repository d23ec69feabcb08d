//! Random programs of span operations, run against the layer and against a naive model written
//! from the contract: all lines agree.
//!
//! `OMNI_MODEL_PROGRAMS` sets how many programs run (10,000), `OMNI_MODEL_SEED` the first seed. A
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
    let (programs, first) = (setting("OMNI_MODEL_PROGRAMS", 10_000), setting("OMNI_MODEL_SEED", 0));
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
    if programs >= 1_000 {
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
}

impl Seen {
    fn count(&mut self, lines: &[Value]) {
        for line in lines {
            let is_request = line["type"] == "request";
            self.requests += usize::from(is_request);
            self.detached += usize::from(!is_request);
            self.warnings += usize::from(line["warnings"] != 0);
            for row in line["stage_table"].as_array().into_iter().flatten() {
                self.merged_rows += usize::from(row["events"].as_u64() > Some(1));
                self.batches += usize::from(row["batch_size"].as_u64() > Some(1));
                self.first_outputs += usize::from(row.get("first_output_ms").is_some());
            }
            for row in line["transfer_table"].as_array().into_iter().flatten() {
                self.flights += usize::from(row["in_flight_time_ms"].as_f64() > Some(0.0));
            }
        }
    }

    fn assert_variety(&self) {
        let Self { requests, detached, merged_rows, batches, flights, warnings, first_outputs, held } = *self;
        let counts = [requests, detached, merged_rows, batches, flights, warnings, first_outputs, held];
        assert!(counts.iter().all(|count| *count > 100), "{self:?}");
    }
}
