//! `--otlp`.

use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::trace::SdkTracerProvider;

use crate::stages::Result;

/// Ids for every span, and an exporter if there is somebody to export to: an OTLP/HTTP receiver, like
/// `http://127.0.0.1:4318/v1/traces`.
pub(crate) fn provider(otlp: Option<&str>) -> Result<SdkTracerProvider> {
    let provider = SdkTracerProvider::builder();
    let Some(url) = otlp else { return Ok(provider.build()) };
    let exporter = SpanExporter::builder().with_http().with_endpoint(url).build()?;
    Ok(provider.with_batch_exporter(exporter).build())
}
