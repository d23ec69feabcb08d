//! What users get: lines, rows, percentiles, and each number of them defined once.

pub(crate) mod bounds;
pub mod buckets;
pub(crate) mod buffered;
pub(crate) mod cursor;
pub(crate) mod digits;
pub(crate) mod early_arrival;
pub(crate) mod id;
pub(crate) mod json;
pub(crate) mod keep;
pub(crate) mod kind;
pub(crate) mod line;
pub(crate) mod line_buffer;
pub(crate) mod millis;
pub(crate) mod moment;
pub(crate) mod numbers;
pub(crate) mod open_request;
pub(crate) mod percentiles;
pub(crate) mod record;
pub(crate) mod rows;
pub(crate) mod snapshot;
pub(crate) mod sums;
pub(crate) mod timestamp;
pub(crate) mod value;
pub(crate) mod warnings;
pub(crate) mod window;
