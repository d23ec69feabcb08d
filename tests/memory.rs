//! Memory, counted at the allocator: enter and exit allocate nothing, a closed request leaves
//! nothing, an open one grows with its stages and edges only.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    io,
};

use omni_metrics::OmniMetricsLayer;
use tracing::{Dispatch, field::Empty, info_span};
use tracing_subscriber::prelude::*;

/// What may come up once: the empty tables of a map that is first used when two spans meet in a slot.
/// A tenth of a byte a request would be more.
const ONCE: i64 = 2_048;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static LIVE: Cell<i64> = const { Cell::new(0) };
}

#[allow(unsafe_code, reason = "an allocator is unsafe to implement")]
// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        let _ = LIVE.try_with(|live| live.set(live.get() + layout.size() as i64));
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let _ = LIVE.try_with(|live| live.set(live.get() - layout.size() as i64));
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(run: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    run();
    ALLOCATIONS.get() - before
}

/// Bytes that are live after `run` and were not before.
fn growth(run: impl FnOnce()) -> i64 {
    let before = LIVE.get();
    run();
    LIVE.get() - before
}

fn under_the_layer(program: impl FnOnce()) {
    let layer = OmniMetricsLayer::new().with_writer(io::sink);
    tracing::dispatcher::with_default(&Dispatch::new(tracing_subscriber::registry().with(layer)), program);
}

fn request(id: u64) {
    let request = info_span!("request", request_id = id, finish_reason = Empty);
    let _request = request.enter();
    for stage_id in 0..3_u64 {
        let stage =
            info_span!("stage", stage_id, num_tokens_in = 5, num_tokens_out = Empty, first_output = Empty);
        stage.in_scope(|| {
            info_span!("preprocess").in_scope(|| ());
            stage.record("first_output", true);
            stage.record("num_tokens_out", 7);
        });
        drop(stage);
        let transfer =
            info_span!("transfer", from_stage = stage_id, to_stage = stage_id + 1, size_bytes = 10);
        transfer.in_scope(|| ());
        drop(transfer);
        drop(info_span!("transfer", from_stage = stage_id, to_stage = stage_id + 1, phase = "rx").entered());
    }
    request.record("finish_reason", "stop");
}

#[test]
fn enter_and_exit_allocate_nothing() {
    under_the_layer(|| {
        let request = info_span!("request", request_id = "r").entered();
        let stage = info_span!("stage", stage_id = 0);
        stage.in_scope(|| ());
        let count = allocations(|| {
            for _ in 0..10_000 {
                stage.in_scope(|| stage.in_scope(|| ()));
            }
        });
        drop(request);
        assert_eq!(count, 0);
    });
}

#[test]
fn recording_numbers_allocates_nothing() {
    under_the_layer(|| {
        let stage = info_span!("stage", stage_id = 0, num_tokens_out = Empty, first_output = Empty);
        let count = allocations(|| {
            for tokens in 0..1_000_u64 {
                stage.record("num_tokens_out", tokens);
                stage.record("first_output", true);
            }
        });
        assert_eq!(count, 0);
    });
}

#[test]
fn a_closed_request_leaves_nothing() {
    under_the_layer(|| {
        (0..2_000).for_each(request);
        let leftover = growth(|| (2_000..42_000).for_each(request));
        assert!(leftover < ONCE, "{leftover} bytes");
    });
}

#[test]
fn an_open_request_does_not_grow_with_its_spans() {
    under_the_layer(|| {
        let open = info_span!("request", request_id = "r").entered();
        let chunk = |_| {
            info_span!("stage", stage_id = 0, num_tokens_out = 1).in_scope(|| ());
            info_span!("transfer", from_stage = 0, to_stage = 1, size_bytes = 1).in_scope(|| ());
        };
        (0..1_000).for_each(chunk);
        let growth = growth(|| (0..50_000).for_each(chunk));
        drop(open);
        assert!(growth < ONCE, "{growth} bytes");
    });
}

#[test]
fn a_stage_does_not_grow_with_its_outputs() {
    under_the_layer(|| {
        let request = info_span!("request", request_id = "r").entered();
        let stage = info_span!("stage", stage_id = 0, output = Empty, output_media_ms = Empty);
        let chunk = |_| {
            stage.record("output", 1);
            stage.record("output_media_ms", 20.0);
        };
        (0..10_000).for_each(chunk);
        let growth = growth(|| (0..990_000).for_each(chunk));
        // Real gaps vary: 64 buckets an octave, of 8 bytes each, and twice the room.
        assert!(growth < 20 * 64 * 16, "{growth} bytes");
        drop((stage, request));
    });
}

#[test]
fn a_row_does_not_grow_with_the_spans_that_its_outputs_come_in() {
    under_the_layer(|| {
        let request = info_span!("request", request_id = "r").entered();
        let chunk = |_| drop(info_span!("stage", stage_id = 0, output = 1, output_media_ms = 20.0));
        (0..1_000).for_each(chunk);
        let growth = growth(|| (0..10_000).for_each(chunk));
        assert!(growth < 20 * 64 * 16, "{growth} bytes");
        drop(request);
    });
}

#[test]
fn a_request_does_not_grow_with_its_waits_and_its_errors() {
    under_the_layer(|| {
        let request = info_span!("request", request_id = "r", finish_reason = Empty).entered();
        let step = |_| {
            let stage = info_span!("stage", stage_id = 0, scheduled = Empty);
            tracing::error!("one of many");
            stage.record("scheduled", true);
            stage.in_scope(|| ());
        };
        (0..1_000).for_each(step);
        let growth = growth(|| (0..50_000).for_each(step));
        drop(request);
        assert!(growth < ONCE, "{growth} bytes");
    });
}

#[test]
fn a_closed_request_with_outputs_and_errors_leaves_nothing() {
    let request = |id: u64| {
        let _request = info_span!("request", request_id = id, finish_reason = Empty).entered();
        for stage_id in 0..2_u64 {
            let stage = info_span!("stage", stage_id, output = Empty, output_media_ms = Empty);
            for _ in 0..5 {
                stage.record("output", 1);
                stage.record("output_media_ms", 20.0);
            }
            tracing::error!("one of many");
        }
    };
    under_the_layer(|| {
        (0..2_000).for_each(request);
        let leftover = growth(|| (2_000..22_000).for_each(request));
        assert!(leftover < ONCE, "{leftover} bytes");
    });
}

#[test]
fn what_spans_follow_is_let_go_when_they_close() {
    under_the_layer(|| {
        let ring = |_| {
            let (a, b) = (info_span!("stage", stage_id = 0), info_span!("preprocess"));
            a.follows_from(&b);
            b.follows_from(&a);
        };
        (0..1_000).for_each(ring);
        let growth = growth(|| (0..20_000).for_each(ring));
        assert!(growth < ONCE, "{growth} bytes");
    });
}

#[test]
fn a_layer_that_is_dropped_with_open_spans_leaves_none_of_its_state() {
    let round = || {
        under_the_layer(|| {
            let open: Vec<_> = (0..1_000_u64).map(|id| info_span!("request", request_id = id)).collect();
            let engine = info_span!("stage", stage_id = 0);
            for request in &open {
                engine.follows_from(request);
            }
        });
    };
    round();
    let growth = growth(|| (0..10).for_each(|_| round()));
    assert!(growth < 16_384, "the registry's own, of ten subscribers: {growth}");
}

#[test]
fn reading_and_taking_runs_leaves_nothing_behind() {
    let layer = OmniMetricsLayer::new().with_writer(io::sink);
    let handle = layer.handle();
    tracing::dispatcher::with_default(&Dispatch::new(tracing_subscriber::registry().with(layer)), || {
        let read = |runs: u64| {
            for id in 0..runs {
                request(id);
                drop(handle.snapshot());
                request(id);
                drop(handle.take());
            }
        };
        // The shards of ids, the run, and both periods of this thread's stripe get their memory.
        (0..1_000).for_each(request);
        read(2);
        let grown = growth(|| read(50));
        assert!(grown <= ONCE, "{grown} bytes");
    });
}
