//! Which requests have a line.

use omni_metrics::{Keep, RequestLine};

/// One request in so many has a line; those that failed or have warnings have one anyway.
const ONE_IN: u32 = 4;

pub(crate) fn keep() -> Keep {
    Keep::one_in(ONE_IN).failed().with_warnings()
}

/// Whether the hash chooses an id, computed as the documentation of `Keep` has it.
pub(crate) fn is_sampled(id: &str) -> bool {
    let step = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325, step);
    let hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    (hash ^ hash >> 31).is_multiple_of(ONE_IN.into())
}

/// Whether the line was to be kept, and says rightly why.
pub(crate) fn is_right(line: &RequestLine) -> bool {
    let e2e = &line.e2e_table;
    let is_good = e2e.finish_reason.as_deref().is_none_or(|reason| ["stop", "length"].contains(&reason));
    match line.sample_rate {
        Some(rate) => rate == ONE_IN && is_sampled(&line.request_id),
        None => !is_good || e2e.errors.is_some() || !line.warnings.is_empty(),
    }
}
