//! A column of a chart.

use serde::Serialize;

#[derive(Serialize)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) value: String,
    /// Percent of the highest one.
    pub(super) height: f64,
    /// What lies in here, such as the median.
    pub(super) mark: String,
}
