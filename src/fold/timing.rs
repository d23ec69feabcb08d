//! When a span was entered and left.

/// When a span was entered and left.
#[derive(Debug, Default)]
pub(crate) struct Timing {
    first_enter: Option<u64>,
    last_exit: Option<u64>,
    /// How many times it is entered now, on all threads.
    depth: u32,
    busy_since: u64,
    busy: u64,
}

impl Timing {
    pub(crate) fn enter(&mut self, now: u64) {
        self.first_enter = Some(self.first_enter.map_or(now, |first| first.min(now)));
        if self.depth == 0 {
            self.busy_since = now;
        }
        self.depth = self.depth.saturating_add(1);
    }

    pub(crate) fn was_entered(&self) -> bool {
        self.first_enter.is_some()
    }

    pub(crate) fn exit(&mut self, now: u64) {
        if self.depth == 0 {
            return;
        }
        self.depth -= 1;
        self.last_exit = self.last_exit.max(Some(now));
        if self.depth == 0 {
            self.busy = self.busy.saturating_add(now.saturating_sub(self.busy_since));
        }
    }

    /// The times of a closing span. A span that is still entered is exited at this moment. `now` is called
    /// only if it is needed.
    #[inline(always)]
    pub(crate) fn close(&mut self, created: u64, now: impl Fn() -> u64) -> Measured {
        if self.depth > 0 {
            self.depth = 1;
            self.exit(now());
        }
        let activity = self.first_enter.zip(self.last_exit);
        let span_time = activity.map_or(0, |(first, last)| last.saturating_sub(first));
        let end = activity.map_or_else(now, |(_, last)| last);
        Measured { created, end, activity, busy: self.busy.min(span_time) }
    }
}

/// The times of a span that has closed.
#[derive(Debug, Clone, Copy)]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_and_concurrent_enters_count_once() {
        let mut timing = Timing::default();
        timing.enter(10);
        timing.enter(20);
        timing.exit(30);
        timing.exit(40);
        timing.enter(70);
        timing.exit(75);
        let measured = timing.close(0, || 100);
        assert_eq!((measured.start(), measured.end, measured.busy), (10, 75, 35));
    }

    #[test]
    fn an_exit_without_an_enter_is_passed_over() {
        let mut timing = Timing::default();
        timing.exit(5);
        timing.enter(10);
        timing.exit(20);
        timing.exit(30);
        let measured = timing.close(0, || 100);
        assert_eq!((measured.span_time(), measured.busy), (10, 10));
    }

    #[test]
    fn a_span_that_closes_while_entered_is_left_then() {
        let mut timing = Timing::default();
        timing.enter(10);
        timing.enter(20);
        let measured = timing.close(0, || 100);
        assert_eq!((measured.span_time(), measured.busy), (90, 90));
    }

    #[test]
    fn a_span_that_was_never_entered_counts_from_creation_to_close() {
        let measured = Timing::default().close(3, || 10);
        assert_eq!((measured.span_time(), measured.busy, measured.activity), (7, 0, None));
    }
}
