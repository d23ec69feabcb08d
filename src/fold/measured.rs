//! The times of a span that has closed.

/// The times of a span that has closed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Measured {
    pub(crate) created: u64,
    /// Last exit, or close if it was never entered.
    pub(crate) end: u64,
    /// First enter and last exit, if it was ever entered.
    pub(crate) activity: Option<(u64, u64)>,
    pub(crate) busy: u64,
}

impl Measured {
    /// The times of a span on which a scheduler began to work at `moment`: it takes the place of the first
    /// enter. `now` is called if the span was not left after that.
    pub(crate) fn scheduled_at(self, moment: u64, now: impl Fn() -> u64) -> Self {
        let left = self.activity.map(|(_, last)| last).filter(|last| *last >= moment);
        let end = left.unwrap_or_else(|| now().max(moment));
        let busy = self.busy.min(end - moment);
        Self { end, activity: Some((moment, end)), busy, ..self }
    }

    /// First enter, or creation if it was never entered.
    pub(crate) fn start(&self) -> u64 {
        self.activity.map_or(self.created, |(first, _)| first)
    }

    pub(crate) fn span_time(&self) -> u64 {
        self.end.saturating_sub(self.start())
    }
}
