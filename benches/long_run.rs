//! Constant cost: a request after 500,000 others against an early one, and resident memory after a
//! million requests against twenty thousand. `cargo bench --bench long_run`
#![allow(clippy::print_stdout, reason = "it reports on stdout")]

use std::{fs, io, time::Instant};

use omni_metrics::OmniMetricsLayer;
use tracing::{Dispatch, field::Empty, info_span};
use tracing_subscriber::prelude::*;

const EARLY: u64 = 20_000;
const LATE: u64 = 500_000;
const END: u64 = 1_000_000;
/// Requests in one sample, and samples of which the median is taken.
const SAMPLE: u64 = 2_000;
const SAMPLES: usize = 15;

fn request(id: u64) {
    let request = info_span!("request", request_id = id, finish_reason = Empty);
    let _request = request.enter();
    for stage_id in 0..3_u64 {
        let stage = info_span!("stage", stage_id, num_tokens_in = 100, num_tokens_out = Empty);
        stage.in_scope(|| {
            stage.record("num_tokens_out", 50);
        });
        drop(stage);
        if stage_id < 2 {
            let transfer =
                info_span!("transfer", from_stage = stage_id, to_stage = stage_id + 1, size_bytes = 1_000);
            transfer.in_scope(|| ());
        }
    }
    request.record("finish_reason", "stop");
}

/// Nanoseconds a request, the median and the spread of the samples, starting at request `from`.
fn cost(from: u64) -> (u64, f64, f64) {
    let mut next = from;
    let mut samples: Vec<f64> = (0..SAMPLES)
        .map(|_| {
            let started = Instant::now();
            (next..next + SAMPLE).for_each(request);
            next += SAMPLE;
            started.elapsed().as_nanos() as f64 / SAMPLE as f64
        })
        .collect();
    samples.sort_by(f64::total_cmp);
    let median = samples.get(SAMPLES / 2).copied().unwrap_or_default();
    let spread = samples.last().zip(samples.first()).map_or(0.0, |(most, least)| most - least);
    (next, median, spread / median)
}

fn resident_kib() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or_default() * 4
}

fn main() {
    let layer = OmniMetricsLayer::new().with_writer(io::sink);
    let _default =
        tracing::dispatcher::set_default(&Dispatch::new(tracing_subscriber::registry().with(layer)));
    (0..EARLY).for_each(request);
    let early_memory = resident_kib();
    let (next, early, early_spread) = cost(EARLY);
    (next..LATE).for_each(request);
    let (next, late, late_spread) = cost(LATE);
    (next..END).for_each(request);
    let end_memory = resident_kib();
    println!("a request after {EARLY}: {early:.0} ns (spread {:.0} %)", early_spread * 100.0);
    println!(
        "a request after {LATE}: {late:.0} ns (spread {:.0} %), ratio {:.3}",
        late_spread * 100.0,
        late / early
    );
    println!(
        "memory after {EARLY}: {early_memory} KiB, after {END}: {end_memory} KiB, {:+} KiB",
        end_memory as i64 - early_memory as i64
    );
}
