//! From a complete request to its line and to the exporters.

#[cfg(feature = "tables")]
pub(crate) mod columns;
pub(crate) mod counters;
#[cfg_attr(not(feature = "metrics"), path = "no_facade.rs")]
pub(crate) mod facade;
pub(crate) mod format;
#[cfg(feature = "opentelemetry")]
pub(crate) mod gen_ai;
#[cfg(feature = "metrics")]
pub(crate) mod labels;
pub(crate) mod lines;
#[cfg_attr(not(feature = "opentelemetry"), path = "no_otel.rs")]
pub(crate) mod otel;
pub(crate) mod output;
pub(crate) mod queue;
pub(crate) mod sink;
#[cfg(unix)]
pub(crate) mod stderr;
#[cfg(unix)]
pub(crate) mod stream;
#[cfg(feature = "tables")]
pub(crate) mod text;
pub(crate) mod waiting;
