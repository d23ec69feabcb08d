//! The choice of how lines are written.

/// The format of the lines that the layer writes.
///
/// ```
/// use omni_metrics::Format;
///
/// assert_eq!(Format::default(), Format::Json);
/// # #[cfg(feature = "tables")]
/// // What `Format::Table` writes is the `Display` of the line.
/// assert!(omni_metrics::RequestLine::default().to_string().starts_with("Overall Summary"));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// One line of JSON for each request, for machines.
    #[default]
    Json,
    /// The same data as text tables, for people: the `Display` of [`RequestLine`](crate::RequestLine).
    /// Needs the feature `tables`, which is on by default.
    #[cfg(feature = "tables")]
    Table,
}
