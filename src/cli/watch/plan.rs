//! How the lines of the screen are divided among its sections.

/// How many lines a section takes: the fewest that are of use, as many as are good, and all that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) least: u16,
    pub(super) good: u16,
    pub(super) all: u16,
}

impl Need {
    pub(super) const NONE: Self = Self::exactly(0);

    pub(super) const fn exactly(lines: u16) -> Self {
        Self { least: lines, good: lines, all: lines }
    }

    /// A head, and at least one of its rows; `good` of them are enough.
    pub(super) fn table(rows: usize, good: u16) -> Self {
        let all = u16::try_from(rows).unwrap_or(u16::MAX).saturating_add(1);
        Self { least: all.min(2), good: all.min(good.saturating_add(1)), all }
    }
}

/// The lines of each section, which are given in the order of their weight: first each gets its least, then
/// what is good, then all. A section without room for its least gets nothing.
pub(super) fn divide<const N: usize>(height: u16, needs: [Need; N]) -> [u16; N] {
    let (mut left, mut lines) = (height, [0; N]);
    for (lines, need) in lines.iter_mut().zip(needs) {
        if need.least <= left {
            *lines = need.least;
            left -= need.least;
        }
    }
    for wanted in [|need: Need| need.good, |need: Need| need.all] {
        for (lines, need) in lines.iter_mut().zip(needs).filter(|(lines, _)| **lines > 0) {
            let more = wanted(need).saturating_sub(*lines).min(left);
            *lines += more;
            left -= more;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_weighs_most_is_shown_where_there_is_little_room() {
        let needs = [Need::exactly(1), Need { least: 2, good: 5, all: 50 }, Need::table(3, 2)];
        for (height, expected) in [
            (0, [0, 0, 0]),
            (1, [1, 0, 0]),
            (2, [1, 0, 0]),
            (3, [1, 2, 0]),
            (5, [1, 2, 2]),
            (7, [1, 4, 2]),
            (9, [1, 5, 3]),
            (20, [1, 16, 3]),
            (100, [1, 50, 4]),
        ] {
            assert_eq!(divide(height, needs), expected, "{height}");
        }
    }

    proptest! {
        #[test]
        fn no_line_is_given_twice(height in 0..300_u16, rows in prop::collection::vec(0..100_usize, 4)) {
            let needs = [0, 1, 2, 3].map(|at| Need::table(rows[at], 3));
            let lines = divide(height, needs);
            prop_assert!(lines.iter().sum::<u16>() <= height);
            prop_assert!(lines.iter().zip(needs).all(|(lines, need)| *lines == 0 || *lines >= need.least));
            prop_assert!(lines.iter().zip(needs).all(|(lines, need)| *lines <= need.all));
        }
    }
}
