//! Runs of the handle: `take` and `reset` begin a new one, and every request is in exactly one.

mod support;

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use omni_metrics::{Line, Snapshot};
use support::Rig;
use tracing::info_span;

const THREADS: u64 = 4;
const REQUESTS: u64 = 3_000;

fn request() {
    let _request = info_span!("request").entered();
    drop(info_span!("stage", stage_id = 0, num_tokens_out = 2));
}

/// Requests, tokens, and how often the distributions have them.
fn counts(snapshot: &Snapshot) -> [u64; 4] {
    let summary = &snapshot.overall_summary;
    let stage = snapshot.percentiles.stages.first().and_then(|row| row.stage_gen_time_ms);
    let of_stage = stage.map_or(0, |distribution| distribution.count);
    let of_request = snapshot.percentiles.e2e_total_ms.map_or(0, |distribution| distribution.count);
    [summary.e2e_requests, summary.e2e_total_tokens / 2, of_request, of_stage]
}

#[test]
fn every_request_is_in_one_run_in_totals_percentiles_and_lines_alike() {
    let rig = Rig::new();
    let (is_done, mut runs) = (AtomicBool::new(false), Vec::new());
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    let _default = rig.install();
                    (0..REQUESTS).for_each(|_| request());
                })
            })
            .collect();
        let taker = scope.spawn(|| {
            let mut runs = Vec::new();
            while !is_done.load(Ordering::Acquire) {
                runs.push(rig.handle.take());
            }
            runs
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        is_done.store(true, Ordering::Release);
        runs = taker.join().unwrap();
    });
    runs.push(rig.handle.take());
    let sizes: Vec<_> = runs.iter().map(counts).collect();
    for size in &sizes {
        assert!(size.iter().all(|count| *count == size[0]), "totals and percentiles agree: {size:?}");
    }
    assert_eq!(sizes.iter().map(|size| size[0]).sum::<u64>(), THREADS * REQUESTS);

    // As many lines have number n as there are runs of n requests and more.
    let mut numbers = BTreeMap::<u64, usize>::new();
    for line in rig.log.text().lines() {
        let Ok(Line::Request(line)) = line.parse() else { panic!("{line}") };
        *numbers.entry(line.overall_summary.e2e_requests).or_default() += 1;
    }
    let longest = sizes.iter().map(|size| size[0]).max().unwrap();
    for number in 1..=longest {
        let runs = sizes.iter().filter(|size| size[0] >= number).count();
        assert_eq!(numbers.remove(&number), Some(runs), "number {number}");
    }
    assert!(numbers.is_empty());
}

#[test]
fn an_open_request_is_the_next_runs_with_its_whole_time() {
    let rig = Rig::new();
    rig.run(|rig| {
        let request = info_span!("request").entered();
        rig.wait_ms(3);
        assert_eq!(rig.handle.take().overall_summary.e2e_requests, 0);
        rig.wait_ms(4);
        drop(request);
    });
    let summary = rig.handle.take().overall_summary;
    assert_eq!((summary.e2e_requests, summary.e2e_wall_time_ms.as_f64()), (1, 7.0));
}

#[test]
fn detached_rows_count_in_the_percentiles_of_their_process() {
    let rig = Rig::new();
    rig.run(|rig| {
        for _ in 0..3 {
            info_span!("stage", stage_id = 1, request_id = "far").in_scope(|| rig.wait_ms(2));
            info_span!("transfer", from_stage = 0, to_stage = 1, tx_time_ms = 4).in_scope(|| ());
        }
    });
    let percentiles = rig.handle.take().percentiles;
    assert_eq!(percentiles.e2e_total_ms, None);
    let stage = percentiles.stages[0].stage_gen_time_ms.unwrap();
    assert_eq!((percentiles.stages[0].stage_id, stage.count, stage.max.as_f64()), (Some(1), 3, 2.0));
    let edge = &percentiles.transfers[0];
    assert_eq!((edge.from_stage, edge.to_stage), (Some(0), Some(1)));
    assert_eq!((edge.tx_time_ms.unwrap().count, edge.tx_time_ms.unwrap().max.as_f64()), (3, 4.0));
    assert!(rig.handle.snapshot().percentiles.stages.is_empty(), "the next run has none");
}
