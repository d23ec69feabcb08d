//! How many lines of each kind a log has.

/// What kinds of lines were read.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct LineCounts {
    /// The layer's.
    pub(super) lines: u64,
    /// Of other programs.
    pub(super) foreign: u64,
    /// The layer's, but cut or garbled.
    pub(super) broken: u64,
    /// The layer's, but of a schema that this reader does not know.
    pub(super) unknown: u64,
    /// Lines that occurred before.
    pub(super) doubles: u64,
    /// Detached rows that came after the line of their request, in the same file.
    pub(super) late: u64,
}
