//! From the callbacks of `tracing` to the open spans, and from a span that closes to its rows.

pub(crate) mod closing;
pub(crate) mod detached;
pub(crate) mod ending;
pub(crate) mod errors;
pub(crate) mod filter;
pub(crate) mod layout;
pub(crate) mod recorder;
pub(crate) mod setting;
pub(crate) mod spelling;
pub(crate) mod visitor;
