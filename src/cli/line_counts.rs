//! How many lines of each kind a log has.

/// How many lines of each kind were read.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct LineCounts {
    /// Lines of the layer.
    pub(super) lines: u64,
    /// Lines of other programs.
    pub(super) foreign: u64,
    /// Lines of the layer that are cut or garbled.
    pub(super) broken: u64,
    /// Lines of the layer with a schema that this reader does not know.
    pub(super) unknown: u64,
    /// Lines that occurred before.
    pub(super) doubles: u64,
    /// Detached rows that came after the line of their request, in the same file.
    pub(super) late: u64,
    /// Lines that `--since` or `--until` leaves out. They count in none of the above.
    pub(super) outside: u64,
    /// Lines that `--where` leaves out.
    pub(super) unmatched: u64,
}

impl LineCounts {
    /// Lines of the layer, selected or not.
    pub(super) fn of_layer(&self) -> u64 {
        self.lines + self.outside + self.unmatched
    }
}
