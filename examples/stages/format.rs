//! `--format`.

use omni_metrics::Format;

/// What the metrics are written as.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum FormatName {
    /// A line of JSON
    Json,
    /// Text tables
    Table,
}

impl From<FormatName> for Format {
    fn from(name: FormatName) -> Self {
        match name {
            FormatName::Json => Self::Json,
            FormatName::Table => Self::Table,
        }
    }
}
