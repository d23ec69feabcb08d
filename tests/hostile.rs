//! Hostile input: extremes of every type, text that attacks a terminal, more of everything than
//! anyone needs. Nothing panics, memory is bounded, totals stay right. No test has a limit of time: limits of steps
//! bound the work, and the bytes that a thread allocates show that they do.

mod support;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    time::Duration,
};

use omni_metrics::{Line, RequestLine};
use serde_json::{Value, json};
use support::{Rig, line, warnings};
use tracing::{Span, field::Empty, info_span};

struct Counting;

thread_local! {
    /// Bytes that this thread has allocated.
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

#[allow(unsafe_code, reason = "an allocator is unsafe to implement")]
// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATED.try_with(|bytes| bytes.set(bytes.get() + layout.size()));
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How many bytes `run` allocates.
fn allocated(run: impl FnOnce()) -> usize {
    let before = ALLOCATED.get();
    run();
    ALLOCATED.get() - before
}

fn request_line(line: &Value) -> RequestLine {
    match line.to_string().parse() {
        Ok(Line::Request(line)) => line,
        other => panic!("{other:?}"),
    }
}

/// What a hostile client could make a service record.
fn extremes() -> Vec<Box<dyn tracing::Value>> {
    vec![
        Box::new(u64::MAX),
        Box::new(i64::MIN),
        Box::new(i64::MAX),
        Box::new(u128::MAX),
        Box::new(i128::MIN),
        Box::new(f64::MAX),
        Box::new(f64::MIN),
        Box::new(f64::MIN_POSITIVE),
        Box::new(-0.0),
        Box::new(f64::NAN),
        Box::new(f64::NEG_INFINITY),
        Box::new(true),
        Box::new(""),
        Box::new("\0"),
        Box::new("Some("),
        Box::new("\""),
        Box::new("1e308"),
        Box::new("1e-400"),
        Box::new("٣"),
        Box::new("x".repeat(3 << 20)),
        Box::new("\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}"),
        Box::new(tracing::field::debug("\u{1b}[2J")),
        Box::new(tracing::field::display("9".repeat(5_000))),
        Box::new(tracing::field::debug(vec![0; 1 << 16])),
    ]
}

#[test]
fn every_field_takes_every_type_and_extreme() {
    for at in 0..extremes().len() {
        let line = line(|rig| {
            let (all, v) = (extremes(), |n: usize| (at + n) % extremes().len());
            let value = |n: usize| &*all[v(n)];
            let request =
                info_span!("request", request_id = value(0), finish_reason = value(1), further = value(2));
            request.in_scope(|| {
                let stage = info_span!(
                    "stage",
                    stage_id = value(3),
                    batch_id = value(4),
                    batch_size = value(5),
                    num_tokens_in = value(6),
                    num_tokens_out = value(7),
                    preprocess_time_ms = value(8),
                    stage_gen_time_ms = value(9),
                    stage_name = value(10),
                    first_output = value(11),
                    further = value(12)
                );
                stage.in_scope(|| rig.wait_ms(1));
                drop(info_span!(
                    "transfer",
                    from_stage = value(13),
                    to_stage = value(14),
                    size_bytes = value(15),
                    tx_time_ms = value(16),
                    rx_decode_time_ms = value(17),
                    in_flight_time_ms = value(18),
                    phase = value(19),
                    sent_at_unix_ms = value(20),
                    further = value(21)
                ));
            });
            drop(request);
        });
        let text = line.to_string();
        assert!(text.len() < 40_000, "bounded: {}", text.len());
        let read = request_line(&line);
        assert_eq!((read.stage_table.len(), read.transfer_table.len()), (1, 1));
        assert!(read.warnings.len() <= 16);
        assert!(read.e2e_table.unattributed_time_ms <= read.e2e_table.e2e_total_ms);
        assert_eq!(read.e2e_table.transfers_total_time_ms, read.transfer_table[0].total_time_ms);
    }
}

#[test]
fn sums_that_overflow_stay_at_the_largest_value_with_a_warning() {
    let line = line(|_| {
        let _request = info_span!("request", request_id = "r").entered();
        for _ in 0..2 {
            drop(info_span!("stage", stage_id = 0, num_tokens_in = u64::MAX, num_tokens_out = u64::MAX));
            drop(info_span!("transfer", from_stage = 0, to_stage = 1, size_bytes = u64::MAX));
        }
        drop(info_span!("transfer", from_stage = 1, to_stage = 2, size_bytes = u64::MAX));
    });
    let max = json!(u64::MAX);
    assert_eq!(line["stage_table"][0]["num_tokens_out"], max);
    assert_eq!(line["transfer_table"][0]["size_bytes"], max);
    assert_eq!(line["e2e_table"]["e2e_total_tokens"], max);
    assert_eq!(line["e2e_table"]["transfers_total_bytes"], max);
    let warnings = warnings(&line);
    for field in ["`num_tokens_in`", "`num_tokens_out`", "`size_bytes`"] {
        assert!(
            warnings.iter().any(|warning| warning.contains(field) && warning.contains("does not fit")),
            "{warnings:?}"
        );
    }
}

#[test]
fn times_that_overflow_stay_at_the_longest_with_a_warning() {
    let line = line(|_| {
        let _request = info_span!("request", request_id = "r").entered();
        for to_stage in 1..4_u64 {
            drop(info_span!(
                "transfer",
                from_stage = 0,
                to_stage,
                tx_time_ms = 1.5e13,
                rx_decode_time_ms = 1.5e13,
                in_flight_time_ms = 1
            ));
        }
    });
    let longest = json!(18_446_744_073_709.55);
    assert_eq!(line["transfer_table"][0]["total_time_ms"], longest);
    assert_eq!(line["e2e_table"]["transfers_total_time_ms"], longest);
    assert!(!warnings(&line).is_empty(), "and it says so");
}

#[test]
fn ids_that_collide_share_and_close_in_any_order() {
    let rig = Rig::new();
    let lines = rig.run(|_| {
        let mut requests: Vec<_> = (0..100).map(|_| info_span!("request", request_id = "same")).collect();
        for at in 0..100_usize {
            drop(info_span!("stage", stage_id = 0, request_id = "same"));
            drop(requests.swap_remove((at * 37) % requests.len()));
        }
    });
    let events: u64 = lines.iter().filter_map(|line| line["stage_table"][0]["events"].as_u64()).sum();
    assert_eq!((lines.len(), events), (100, 100), "each stage went to one of them");
}

#[test]
fn a_hundred_thousand_stage_ids_fold_into_one_row_past_the_limit() {
    let rig = Rig::new();
    let lines = rig.run(|_| {
        let _request = info_span!("request", request_id = "r").entered();
        for id in 0..100_000_u64 {
            drop(info_span!("stage", stage_id = id.wrapping_mul(0x9e37_79b9_7f4a_7c15), num_tokens_out = 1));
            drop(info_span!("transfer", from_stage = id, to_stage = id + 1, size_bytes = 2));
        }
    });
    let read = request_line(&lines[0]);
    assert_eq!((read.stage_table.len(), read.transfer_table.len()), (1_025, 1_025));
    let last = read.stage_table.last().unwrap();
    assert_eq!((last.stage_id, last.events), (None, 100_000 - 1_024));
    assert_eq!(read.stage_table.iter().map(|row| row.events).sum::<u64>(), 100_000);
    assert_eq!(read.e2e_table.e2e_total_tokens, 100_000);
    assert_eq!(read.e2e_table.transfers_total_bytes, 200_000);
    assert_eq!(read.warnings.len(), 16);
    assert!(rig.log.text().len() < 1 << 20, "one line: {} bytes", rig.log.text().len());
}

#[test]
fn a_request_with_a_million_chunks_is_one_row_with_exact_sums() {
    let line = line(|rig| {
        let _request = info_span!("request", request_id = "r").entered();
        for _ in 0..1_000_000 {
            info_span!("stage", stage_id = 0, num_tokens_out = 1)
                .in_scope(|| rig.time.advance(Duration::from_nanos(5)));
        }
        for _ in 0..100_000 {
            drop(info_span!("transfer", from_stage = 0, to_stage = 1, size_bytes = 3));
        }
        for _ in 0..100_000 {
            drop(info_span!("transfer", from_stage = 0, to_stage = 1, phase = "rx"));
        }
    });
    assert_eq!(line["stage_table"][0]["num_tokens_out"], 1_000_000);
    assert_eq!(line["stage_table"][0]["stage_gen_time_ms"], 5.0);
    assert_eq!(line["transfer_table"][0]["events"], 200_000);
    assert_eq!(line["transfer_table"][0]["in_flight_time_ms"], 0.0);
}

#[test]
fn at_most_64_enclosing_stages_are_checked_for_the_same_stage() {
    for (between, gen_time_ms) in [(63, 1.0), (64, 2.0)] {
        let line = line(|rig| {
            let request = info_span!("request", request_id = "r");
            let outer = info_span!(parent: &request, "stage", stage_id = 0);
            let mut spans = vec![outer.clone()];
            for _ in 0..between {
                spans.push(info_span!(parent: spans.last().unwrap(), "stage", stage_id = 1));
            }
            let inner = info_span!(parent: spans.last().unwrap(), "stage", stage_id = 0);
            outer.in_scope(|| inner.in_scope(|| rig.wait_ms(1)));
            drop((inner, outer));
            spans.into_iter().rev().for_each(drop);
        });
        let row = &line["stage_table"][0];
        assert_eq!(
            (&row["events"], &row["stage_gen_time_ms"]),
            (&json!(2), &json!(gen_time_ms)),
            "{between}"
        );
    }
}

#[test]
fn spans_may_be_nested_deep() {
    const DEPTH: usize = 20_000;
    let rig = Rig::new();
    rig.run(|_| {
        let mut spans = vec![info_span!("request", request_id = "r")];
        for _ in 0..DEPTH {
            let parent = spans.last().unwrap();
            spans.push(info_span!(parent: parent, "stage", stage_id = 0, num_tokens_out = 1));
        }
        // Innermost first: the other way round, the registry itself recurses up the whole chain.
        spans.into_iter().rev().for_each(drop);
    });
    assert_eq!(rig.log.lines()[0]["stage_table"][0]["events"], DEPTH);
}

#[test]
fn a_layer_may_be_dropped_with_a_deep_and_knotted_pile_of_open_spans() {
    let rig = Rig::new();
    {
        let _default = rig.install();
        let mut before = info_span!("stage", stage_id = 0);
        for _ in 0..50_000 {
            let next = info_span!(parent: &before, "stage", stage_id = 0);
            next.follows_from(&before);
            before.follows_from(&next);
            std::mem::forget(std::mem::replace(&mut before, next));
        }
        std::mem::forget(before);
    }
    drop(rig);
}

#[test]
fn long_chains_of_followed_spans_are_resolved_and_bounded() {
    let lines = Rig::new().run(|_| {
        let request = info_span!("request", request_id = "r");
        let mut chain = vec![info_span!("stage", stage_id = 0)];
        chain[0].follows_from(&request);
        for _ in 0..1_000 {
            let next = info_span!("stage", stage_id = 0);
            next.follows_from(chain.last().unwrap());
            chain.push(next);
        }
        while let Some(span) = chain.pop() {
            drop(span);
        }
        let engine = info_span!("stage", stage_id = 1);
        let many: Vec<_> = (0..10_000).map(|_| info_span!(parent: &request, "stage", stage_id = 2)).collect();
        many.iter().for_each(|stage| {
            engine.follows_from(stage);
        });
        drop((engine, many));
    });
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["stage_table"][0]["events"], 1_001);
    assert!(warnings(&lines[0])[0].contains("`follows_from`"), "{:?}", warnings(&lines[0]));
}

#[test]
fn many_open_requests_of_one_id_close_in_any_order() {
    let rig = Rig::with(|layer| layer.with_writer(std::io::sink));
    let _default = rig.install();
    let mut same: Vec<Span> = (0..50_000).map(|_| info_span!("request", request_id = "same")).collect();
    // The oldest first, then the newest.
    same.drain(..25_000).for_each(drop);
    same.into_iter().rev().for_each(drop);
    assert_eq!(rig.handle.snapshot().overall_summary.e2e_requests, 50_000);
}

#[test]
fn the_parts_of_a_large_batch_do_not_each_resolve_it() {
    let rig = Rig::with(|layer| layer.with_writer(std::io::sink));
    let _default = rig.install();
    let batch_of = |size: u32| {
        let batch = info_span!("stage", stage_id = 0);
        let requests: Vec<Span> = (0..size).map(|id| info_span!("request", request_id = id)).collect();
        requests.iter().for_each(|request| {
            batch.follows_from(request);
        });
        for id in 0..size {
            drop(info_span!(parent: &batch, "stage", stage_id = 0, request_id = id, num_tokens_out = 1));
        }
    };
    // The first one grows the maps to their size.
    batch_of(4_000);
    let (small, large) = (allocated(|| batch_of(1_000)), allocated(|| batch_of(4_000)));
    assert!(large < 6 * small, "4 times the size: {small} and {large} bytes");
    assert_eq!(rig.handle.snapshot().overall_summary.e2e_requests, 9_000);
}

#[test]
fn spans_that_all_follow_each_other_are_resolved_in_a_bounded_number_of_steps() {
    let lines = Rig::new().run(|_| {
        let request = info_span!("request", request_id = "r");
        let clique: Vec<Span> = (0..300).map(|_| info_span!("stage", stage_id = 0)).collect();
        for span in &clique {
            clique.iter().for_each(|other| {
                span.follows_from(other);
            });
        }
        clique[0].follows_from(&request);
        drop(clique);
    });
    assert!(lines.iter().any(|line| warnings(line).iter().any(|warning| warning.contains("16384 steps"))));
    assert_eq!(lines.last().unwrap()["type"], "request");
}

#[test]
fn a_million_open_requests_close_with_a_line_each() {
    let rig = Rig::with(|layer| layer.with_writer(std::io::sink));
    let _default = rig.install();
    let open: Vec<Span> =
        (0..1_000_000_u32).map(|id| info_span!("request", request_id = id, finish_reason = Empty)).collect();
    assert_eq!(rig.handle.snapshot().open_requests, 1_000_000);
    drop(open);
    let snapshot = rig.handle.snapshot();
    assert_eq!((snapshot.open_requests, snapshot.lines_written, snapshot.lines_lost), (0, 1_000_000, 0));
    assert_eq!(snapshot.overall_summary.e2e_requests, 1_000_000);
}
