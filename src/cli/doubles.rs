//! Tells a line that was copied from one of two rows that are equal.
//!
//! A process may write two equal rows: two short spans of a stream that end in the same microsecond. They
//! stand next to each other, or have only lines of that microsecond between them. A file that is given twice,
//! or lines that are sent twice, repeat also the lines around a line.

/// Finds copies among lines of which equal ones come next to each other, each in the order of the logs.
#[derive(Default)]
pub(super) struct Doubles<Line> {
    /// The line, and the run of its last occurrence.
    last: Option<(Line, u64)>,
    /// How often it was in this run, and how many of all occurrences count.
    in_run: u64,
    counted: u64,
}

impl<Line: PartialEq> Doubles<Line> {
    /// Whether this occurrence of a line counts. A run is a stretch of lines of one file that have the same
    /// timestamp. Of a line that may have equals, as many count as one run has; of another line, one.
    pub(super) fn counts(&mut self, line: Line, run: u64, may_have_equals: impl FnOnce() -> bool) -> bool {
        match &mut self.last {
            Some((last, last_run)) if *last == line => {
                if *last_run != run {
                    (*last_run, self.in_run) = (run, 0);
                }
                self.in_run += 1;
                let counts = self.in_run > self.counted && may_have_equals();
                self.counted += u64::from(counts);
                counts
            }
            last => {
                *last = Some((line, run));
                (self.in_run, self.counted) = (1, 1);
                true
            }
        }
    }
}

/// Numbers the runs of lines that are read one after the other.
#[derive(Debug, Default)]
pub(super) struct Runs<T> {
    last: Option<(usize, T)>,
    number: u64,
}

impl<T: PartialEq> Runs<T> {
    /// The run of the next line, which is in this file.
    pub(super) fn number(&mut self, file: usize, timestamp: T) -> u64 {
        let next = Some((file, timestamp));
        if self.last != next {
            self.last = next;
            self.number += 1;
        }
        self.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many occurrences of each of these lines count. Each line is its file, its timestamp and its text.
    fn counted(lines: &[(usize, u64, &'static str)], may_have_equals: bool) -> Vec<usize> {
        let mut runs = Runs::default();
        let number = |(at, (file, timestamp, text)): (usize, &(usize, u64, &'static str))| {
            (*text, at, runs.number(*file, *timestamp))
        };
        let mut sorted: Vec<_> = lines.iter().enumerate().map(number).collect();
        sorted.sort_unstable();
        let mut doubles = Doubles::default();
        sorted.retain(|(text, _, run)| doubles.counts(*text, *run, || may_have_equals));
        let mut counted: Vec<_> = sorted.into_iter().map(|(_, at, _)| at).collect();
        counted.sort_unstable();
        counted
    }

    #[test]
    fn equal_rows_next_to_each_other_count_both_and_in_a_copy_neither() {
        let file = |file| [(file, 1, "a"), (file, 2, "b"), (file, 2, "c"), (file, 2, "b"), (file, 3, "d")];
        assert_eq!(counted(&file(0), true), [0, 1, 2, 3, 4]);
        assert_eq!(counted(&[file(0), file(1)].concat(), true), [0, 1, 2, 3, 4], "given twice");
        assert_eq!(counted(&[file(0), file(0)].concat(), true), [0, 1, 2, 3, 4], "twice in one file");
        assert_eq!(counted(&[file(0), file(1)].concat(), false), [0, 1, 2, 4], "known by their ids");
    }

    #[test]
    fn a_copy_that_has_more_of_equal_rows_adds_them() {
        let (part, whole) = ([(0, 2, "b")], [(1, 2, "b"), (1, 2, "b")]);
        assert_eq!(counted(&[&part[..], &whole].concat(), true), [0, 2]);
    }
}
