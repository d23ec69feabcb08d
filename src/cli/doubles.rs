//! Tells a line that was copied from one of two rows that are equal.
//!
//! A process may write two equal rows: two short spans of a stream that end in the same microsecond. They
//! stand next to each other, or have only lines of that microsecond between them. A file that is given twice,
//! or lines that are sent twice, repeat also the lines around a line.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher},
};

use super::by_hash::AsItIs;

/// How much of a line is hashed, in bytes. Its timestamp is among them.
const HASHED: usize = 80;

/// A line.
#[derive(PartialEq, Eq)]
pub(super) struct Whole<'a> {
    hash: u64,
    /// The id of its request.
    id: &'a str,
    bytes: &'a [u8],
}

impl<'a> Whole<'a> {
    /// To hash all bytes, again whenever the map grows, would take 8 % more instructions of `join`.
    pub(super) fn of(id: &'a str, bytes: &'a [u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        (id, bytes.get(..HASHED).unwrap_or(bytes)).hash(&mut hasher);
        Self { hash: hasher.finish(), id, bytes }
    }
}

impl Hash for Whole<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// Where a line was seen.
struct Seen {
    run: u64,
    /// How often in this run, and how many of all occurrences count.
    in_run: u64,
    counted: u64,
}

/// The lines so far.
#[derive(Default)]
pub(super) struct Doubles<'a>(HashMap<Whole<'a>, Seen, BuildHasherDefault<AsItIs>>);

impl<'a> Doubles<'a> {
    /// Whether this occurrence of a line counts. A run is a stretch of lines of one file that have the same
    /// timestamp. Of a line that may have equals, as many count as one run has; of another line, one.
    pub(super) fn counts(&mut self, line: Whole<'a>, run: u64, may_have_equals: bool) -> bool {
        let seen = match self.0.entry(line) {
            Entry::Occupied(seen) => seen.into_mut(),
            Entry::Vacant(place) => {
                place.insert(Seen { run, in_run: 1, counted: 1 });
                return true;
            }
        };
        if seen.run != run {
            (seen.run, seen.in_run) = (run, 0);
        }
        seen.in_run += 1;
        let counts = may_have_equals && seen.in_run > seen.counted;
        seen.counted += u64::from(counts);
        counts
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
        let (mut doubles, mut runs) = (Doubles::default(), Runs::default());
        let count = |(at, (file, timestamp, text)): (usize, &(usize, u64, &'static str))| {
            let run = runs.number(*file, *timestamp);
            let whole = Whole::of("r", text.as_bytes());
            doubles.counts(whole, run, may_have_equals).then_some(at)
        };
        lines.iter().enumerate().filter_map(count).collect()
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
