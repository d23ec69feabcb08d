//! What lines are written as.

/// How the layer writes what it has measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// One line of JSON a request, for machines.
    #[default]
    Json,
    /// The same data as text tables, for people: the `Display` of [`RequestLine`](crate::RequestLine). With the
    /// feature `tables`, which is on by default.
    #[cfg(feature = "tables")]
    Table,
}
