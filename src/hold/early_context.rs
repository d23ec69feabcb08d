//! The OpenTelemetry span of an open request, where it must be looked up before the close.

/// Nothing without the feature `opentelemetry`.
#[derive(Debug, Default)]
pub(crate) struct EarlyContext {
    #[cfg(feature = "opentelemetry")]
    pub(crate) has_looked: bool,
    #[cfg(feature = "opentelemetry")]
    pub(crate) context: Option<opentelemetry::Context>,
}
