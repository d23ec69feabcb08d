//! What an idle thread remembers of a batch it once entered does not keep the batch's requests.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    io,
    sync::{
        atomic::{AtomicI64, Ordering},
        mpsc,
    },
    thread,
};

use omni_metrics::OmniMetricsLayer;
use tracing::{Dispatch, Span, info_span};
use tracing_subscriber::prelude::*;

struct Counting;

/// Bytes that are live, on all threads.
static LIVE: AtomicI64 = AtomicI64::new(0);

#[allow(unsafe_code, reason = "an allocator is unsafe to implement")]
// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn an_idle_thread_keeps_no_requests_of_a_batch_it_entered() {
    let layer = OmniMetricsLayer::new().with_writer(io::sink);
    let handle = layer.handle();
    let dispatch = Dispatch::new(tracing_subscriber::registry().with(layer));
    let _default = tracing::dispatcher::set_default(&dispatch);
    let (work, spans) = mpsc::channel::<Span>();
    let (done, is_done) = mpsc::channel();
    let worker_dispatch = dispatch.clone();
    let worker = thread::spawn(move || {
        let _default = tracing::dispatcher::set_default(&worker_dispatch);
        for span in spans {
            span.in_scope(|| ());
            drop(span);
            done.send(()).unwrap();
        }
    });
    let batch = |is_entered: bool, is_followed: bool| {
        let requests: Vec<_> = (0..4_000_u32).map(|id| info_span!("request", request_id = id)).collect();
        let batch = info_span!("stage", stage_id = 0);
        requests.iter().for_each(|request| {
            batch.follows_from(request);
        });
        if is_entered {
            work.send(batch.clone()).unwrap();
            is_done.recv().unwrap();
        }
        let next = info_span!("stage", stage_id = 1);
        if is_followed {
            next.follows_from(&batch);
        }
        drop(batch);
        drop(next);
    };
    // The first ones grow the registry and the maps to their size.
    (0..10).for_each(|_| batch(false, true));
    let without = LIVE.load(Ordering::Relaxed);
    batch(true, false);
    batch(true, true);
    let kept = LIVE.load(Ordering::Relaxed) - without;
    assert!(kept < 128 * 1024, "{kept} bytes");
    assert_eq!(handle.snapshot().open_requests, 0);
    drop(work);
    worker.join().unwrap();
}
