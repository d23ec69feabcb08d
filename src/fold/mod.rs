//! From closed spans to rows, from rows to a request, from requests to the run. Plain Rust, without
//! `tracing`.

pub(crate) mod buckets;
pub(crate) mod closed;
pub(crate) mod edge;
pub(crate) mod fields;
pub(crate) mod further;
pub(crate) mod gaps;
pub(crate) mod histograms;
pub(crate) mod hops;
pub(crate) mod intervals;
pub(crate) mod measured;
pub(crate) mod outputs;
pub(crate) mod period;
pub(crate) mod player;
pub(crate) mod reasons;
pub(crate) mod request;
pub(crate) mod row_list;
pub(crate) mod smallest_ids;
pub(crate) mod stage;
pub(crate) mod totals;
pub(crate) mod waits;
pub(crate) mod walls;
