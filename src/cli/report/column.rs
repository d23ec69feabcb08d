//! A column of a chart.

use serde::Serialize;

#[derive(Serialize)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) value: String,
    /// In percent of the highest column.
    pub(super) height: f64,
    /// The percentiles that lie in this column, such as `p50`.
    pub(super) mark: String,
}
