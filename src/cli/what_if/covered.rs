//! The time that the requests of a run are divided by.

use super::replay::Arrivals;
use crate::cli::selection::Selection;

/// A time in nanoseconds since the first creation of a request; it is negative before that.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Covered {
    start: i64,
    /// Absent if the time ends with the last end of a request, whenever that is.
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

    /// How many nanoseconds it has in a run whose last request ends this long after the first creation.
    pub(super) fn nanos(self, last: u64) -> u64 {
        let last = last.cast_signed();
        let end = self.end.map_or(last, |end| end.max(last));
        u64::try_from(end.saturating_sub(self.start)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_ends_with_its_own_last_request_unless_the_selection_ends_later() {
        let all = Covered::of(&Selection::default(), [1_000, 3_000], false);
        assert_eq!([all.nanos(2_000), all.replayed(Arrivals::Open(2.0)).nanos(500)], [2_000, 500]);
        let selected = Covered { start: -200, end: Some(4_000) };
        assert_eq!([selected.nanos(2_000), selected.nanos(5_000)], [4_200, 5_200]);
        assert_eq!(selected.replayed(Arrivals::Open(2.0)).nanos(1_000), 2_100);
        assert_eq!(selected.replayed(Arrivals::Closed(3)).nanos(1_000), 1_000);
    }
}
