//! The time that the requests of a run are divided by.

use super::replay::Arrivals;
use crate::cli::selection::Selection;

/// A time in nanoseconds since the first creation of a request; it is negative before that.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Covered {
    start: i64,
    /// Absent if the time ends with the [`Period`](super::period::Period) of the run, whenever that is.
    end: Option<i64>,
}

impl Covered {
    /// The time of a log whose requests are from `first` to `last`, as [`Selection::covered`] has it.
    pub(super) fn of(selection: &Selection, [first, last]: [u64; 2], is_cut: bool) -> Self {
        let [start, end] = selection.covered([first, last]);
        let since_first = |moment: u64| moment.cast_signed().saturating_sub(first.cast_signed());
        Self { start: since_first(start), end: (end > last && !is_cut).then(|| since_first(end)) }
    }

    /// The same time in a replay. If nothing but answers lets a request arrive, it begins at once.
    pub(super) fn replayed(self, arrivals: Arrivals) -> Self {
        match arrivals {
            Arrivals::Open(rate) => {
                let at_rate = |moment: i64| (moment as f64 / rate) as i64;
                Self { start: at_rate(self.start), end: self.end.map(at_rate) }
            }
            Arrivals::Closed(_) => Self { start: 0, end: None },
        }
    }

    /// When it ends, in a run whose period ends this long after the first creation.
    pub(super) fn until(self, end: u64) -> u64 {
        self.end.map_or(end, |selected| end.max(u64::try_from(selected).unwrap_or(0)))
    }

    /// How many nanoseconds it has until then.
    pub(super) fn nanos(self, until: u64) -> u64 {
        u64::try_from(until.cast_signed().saturating_sub(self.start)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_ends_with_its_own_requests_unless_the_selection_ends_later() {
        let nanos = |covered: Covered, end| covered.nanos(covered.until(end));
        let all = Covered::of(&Selection::default(), [1_000, 3_000], false);
        assert_eq!([nanos(all, 2_000), nanos(all.replayed(Arrivals::Open(2.0)), 500)], [2_000, 500]);
        let selected = Covered { start: -200, end: Some(4_000) };
        assert_eq!([nanos(selected, 2_000), nanos(selected, 5_000)], [4_200, 5_200]);
        assert_eq!(nanos(selected.replayed(Arrivals::Open(2.0)), 1_000), 2_100);
        assert_eq!(nanos(selected.replayed(Arrivals::Closed(3)), 1_000), 1_000);
    }
}
