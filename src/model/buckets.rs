//! Recommended buckets of the exported histograms, so that their quantiles mean something at the scale of
//! inference: a gap between tokens lasts milliseconds, a video hours.
//!
//! [`families`] has the buckets of each histogram. An exporter that is not given any makes Prometheus
//! summaries, whose quantiles cannot be aggregated over machines.
//!
//! ```
//! use omni_metrics::buckets;
//!
//! // With `metrics-exporter-prometheus`:
//! // builder = builder.set_buckets_for_metric(Matcher::Full(family.to_owned()), buckets)?;
//! for (family, buckets) in buckets::families() {
//!     assert!(family.starts_with("omni_") && buckets.is_sorted());
//! }
//! let e2e = buckets::families().find(|(family, _)| *family == "omni_e2e_seconds");
//! assert_eq!(e2e, Some(("omni_e2e_seconds", buckets::LATENCY_SECONDS)));
//! ```
//!
//! The bounds are those that vLLM gives its own histograms (`vllm/v1/metrics/loggers.py`), and below them
//! those of OpenTelemetry's conventions for generative AI (`gen_ai.server.*`, in `gen-ai-metrics.md`). So a
//! query that names a bound of vLLM's works with these histograms too. What is finer, or has no counterpart
//! there, is this crate's own, as each constant says.

pub use crate::model::bounds::{
    BYTES, FIRST_OUTPUT_SECONDS, INTER_OUTPUT_SECONDS, LATENCY_SECONDS, REAL_TIME_FACTOR, TRANSFER_SECONDS,
};
use crate::{
    E2eTable, StageRow, TransferRow,
    model::numbers::{Family, INTER_OUTPUT, Measure, Table},
};

/// Each exported histogram, by its name, with the buckets that are recommended for it.
///
/// The [module](self) has an example.
pub fn families() -> impl Iterator<Item = (&'static str, &'static [f64])> {
    of_table::<E2eTable>()
        .chain(of_table::<StageRow>())
        .chain(of(&INTER_OUTPUT))
        .chain(of_table::<TransferRow>())
}

fn of_table<Row: Table>() -> impl Iterator<Item = (&'static str, &'static [f64])> {
    Row::NUMBERS.iter().filter_map(|number| number.about.family.as_ref()).flat_map(of)
}

fn of(family: &Family) -> Option<(&'static str, &'static [f64])> {
    match family.measure {
        Measure::Counter => None,
        Measure::Histogram { buckets, .. } => Some((family.name, buckets)),
    }
}
