//! The numbers that the request lines of a log have in their runs: each run has every number from 1 to its
//! last once.
//!
//! A log may have several runs, one after the other, and the lines of concurrent requests may change places,
//! also across the boundary of two runs. So a number does not tell its run. But every line except the first
//! of a run has a predecessor in its run, which stands near it. So near any line, each number must come at
//! least as often as the next number. A number that came more often than the next is the end of a *chain*;
//! one that came less often is *missing*. When a run is over, its chains have ended, and its missing numbers
//! are violations.

use std::collections::BTreeMap;

use smallvec::{SmallVec, smallvec};

use super::amount::amount;

/// How many lines apart two successive numbers of a run are at most, if another run begins between them.
/// Within one run the distance does not matter.
const LOCALITY: u64 = 1024;
/// How far the numbers of a log are ahead of its lines if it is the later part of a longer one.
const FAR_ON: u64 = 256;
/// A number that is missing this near to the end of a log may still be written.
const TAIL: u64 = 16;
/// How many ends and missing numbers are kept, before the check stops.
const LIMIT: usize = 100_000;
/// How many ends and missing numbers a search for a neighbour looks at.
const NEAR: usize = 1_000;
/// How many violations of a log are named.
const NAMED: usize = 20;

/// The numbers of a log.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    open: BTreeMap<u64, Open>,
    lines: u64,
    /// How many runs have begun in the log, and at which line the last of them.
    runs: u64,
    last_run: u64,
    /// If the log is the later part of a longer one, the first number whose predecessor is in an earlier
    /// part.
    head: Option<u64>,
    /// The requests of the run by its summary, if no request came after that.
    ended: Option<u64>,
    is_full: bool,
    findings: Findings,
}

/// A number that came more often than the next, or less often.
#[derive(Debug)]
struct Open {
    is_missing: bool,
    /// The lines at which it came, or at which the next came without it; the first is the oldest.
    since: SmallVec<[u64; 2]>,
}

/// Sentences about a log.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) violations: Vec<String>,
    /// Violations that are not named.
    pub(super) more: u64,
    /// Gaps that later lines may still fill, and the line at which the check has stopped.
    pub(super) notes: Vec<String>,
}

impl Findings {
    fn add(&mut self, violation: String) {
        if self.violations.len() < NAMED {
            self.violations.push(violation);
        } else {
            self.more += 1;
        }
    }
}

/// What is wrong around a missing number.
enum Gap {
    /// These are missing, first to last.
    Missing(u64, u64),
    /// These, first to last, came once more than the number before them.
    Again(u64, u64),
}

impl Numbers {
    pub(super) fn add(&mut self, number: u64) {
        self.lines += 1;
        self.ended = None;
        if self.is_full || number == 0 {
            return;
        }
        if number == 1 {
            self.runs += 1;
            self.last_run = self.lines;
        } else if !self.close(number - 1, false) && !self.is_head(number) {
            self.open(number - 1, true);
        }
        if !self.close(number, true) {
            self.open(number, false);
        }
        if self.lines.is_multiple_of(LOCALITY) {
            self.sweep();
        }
        self.is_full = self.open.len() > LIMIT;
        if self.is_full {
            let line = self.lines;
            let note = format!("e2e_requests: too many gaps; not checked after request line {line}");
            self.findings.notes.push(note);
        }
    }

    /// Whether the line with the number before it may be in an earlier part of the log.
    fn is_head(&mut self, number: u64) -> bool {
        let is_far_on = self.lines <= LOCALITY && number > self.lines + FAR_ON;
        is_far_on && number < self.head.get_or_insert(number).saturating_add(LOCALITY / 2)
    }

    /// A summary says how many requests the run has had.
    pub(super) fn end(&mut self, requests: u64) {
        self.ended = Some(requests);
    }

    fn open(&mut self, number: u64, is_missing: bool) {
        let now = self.lines;
        let open = self.open.entry(number).or_insert_with(|| Open { is_missing, since: smallvec![] });
        open.since.push(now);
    }

    /// Removes the oldest line of an open number, so that the lines that stay are the youngest.
    fn close(&mut self, number: u64, is_missing: bool) -> bool {
        let Some(open) = self.open.get_mut(&number).filter(|open| open.is_missing == is_missing) else {
            return false;
        };
        open.since.remove(0);
        if open.since.is_empty() {
            self.open.remove(&number);
        }
        true
    }

    /// Reports the missing numbers of runs that are over, and forgets the ends of their chains.
    fn sweep(&mut self) {
        let is_over = |since: u64| since < self.last_run && since + LOCALITY < self.lines;
        let over: Vec<_> = self.missing().filter(|(_, since)| is_over(*since)).collect();
        for (number, since) in over {
            let gap = self.resolve(number, since);
            self.findings.add(gap.violation());
        }
        let (last_run, lines) = (self.last_run, self.lines);
        self.open.retain(|_, open| {
            open.since.retain(|since| open.is_missing || *since >= last_run || *since + LOCALITY >= lines);
            !open.since.is_empty()
        });
    }

    fn missing(&self) -> impl Iterator<Item = (u64, u64)> {
        let missing = self.open.iter().filter(|(_, open)| open.is_missing);
        missing.flat_map(|(number, open)| open.since.iter().map(|since| (*number, *since)))
    }

    /// Removes a missing number, and the end of the chain that breaks off before it or begins after it.
    fn resolve(&mut self, missing: u64, since: u64) -> Gap {
        self.close(missing, true);
        let is_near = |at: &u64| at.abs_diff(since) <= LOCALITY;
        let end = |(number, open): (&u64, &Open)| {
            let at = open.since.iter().position(is_near).filter(|_| !open.is_missing)?;
            Some((*number, at))
        };
        let below = self.open.range(..missing).rev().take(NEAR).find_map(end);
        if below.is_none() && self.runs == 0 && self.head.is_none() {
            return Gap::Missing(1, missing);
        }
        let above = || self.open.range(missing + 1..).take(NEAR).find_map(end);
        let found = below.or_else(above);
        if let Some((number, at)) = found
            && let Some(open) = self.open.get_mut(&number)
        {
            open.since.remove(at);
            if open.since.is_empty() {
                self.open.remove(&number);
            }
        }
        match (below, found) {
            (Some((number, _)), _) => Gap::Missing(number + 1, missing),
            (None, Some((number, _))) => Gap::Again(missing + 1, number),
            (None, None) => Gap::Again(missing + 1, missing + 1),
        }
    }

    /// What there is to say of the numbers of a file.
    pub(super) fn finish(self, file: &str) -> Findings {
        let Findings { mut violations, more, mut notes } = self.findings();
        let sentences = violations.iter_mut().chain(&mut notes);
        sentences.for_each(|sentence| sentence.insert_str(0, &format!("{file}: ")));
        Findings { violations, more, notes }
    }

    fn findings(mut self) -> Findings {
        let tail = if self.head.is_some() { LOCALITY } else { TAIL };
        for (number, since) in self.missing().collect::<Vec<_>>() {
            let gap = self.resolve(number, since);
            let has_ended = self.ended.is_some_and(|requests| number <= requests);
            let most = match gap {
                Gap::Missing(first, last) => last - first + 1,
                Gap::Again(first, _) => first - 1,
            };
            if since + tail > self.lines && most <= tail && !has_ended {
                self.findings.notes.push(gap.note());
            } else {
                self.findings.add(gap.violation());
            }
        }
        self.findings.notes.truncate(NAMED);
        self.findings
    }
}

impl Gap {
    fn violation(&self) -> String {
        match self {
            Self::Missing(first, last) => {
                let missing = amount(last - first + 1, "line is missing", "lines are missing");
                format!(
                    "e2e_requests: expected every number of the run, found none of {first} to {last} \
                     ({missing})"
                )
            }
            Self::Again(first, last) => {
                let again = if first == last { format!("{first}") } else { format!("{first} to {last}") };
                let before = first - 1;
                format!(
                    "e2e_requests: expected each number of a run once, found {again} again, but not {before}"
                )
            }
        }
    }

    fn note(&self) -> String {
        match self {
            Self::Missing(first, last) => format!(
                "e2e_requests: none of {first} to {last} so far; near the end of a log that is still \
                 written, their lines may follow"
            ),
            Self::Again(first, _) => format!(
                "e2e_requests: {first} came before {}; near the end of a log that is still written, the \
                 lines before it may follow",
                first - 1
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn findings(numbers: impl IntoIterator<Item = u64>) -> Findings {
        let mut log = Numbers::default();
        numbers.into_iter().for_each(|number| log.add(number));
        log.findings()
    }

    fn violations(numbers: impl IntoIterator<Item = u64>) -> Vec<String> {
        findings(numbers).violations
    }

    /// The numbers of successive runs, each moved by at most `distance` places.
    fn shuffled(runs: &[u64], distance: u64, seed: u64) -> Vec<u64> {
        let mut state = seed;
        let mut random = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % (distance + 1)
        };
        let numbers = runs.iter().flat_map(|last| 1..=*last).enumerate();
        let mut lines: Vec<_> = numbers.map(|(at, number)| (at as u64 + random(), number)).collect();
        lines.sort_by_key(|(at, _)| *at);
        lines.into_iter().map(|(_, number)| number).collect()
    }

    #[test]
    fn a_run_that_is_whole_rotated_or_begun_again_is_sound() {
        let none = Vec::<String>::new();
        assert_eq!(violations((1..=1000).rev()), none);
        assert_eq!(violations(301..=600), none, "a later part of a log");
        assert_eq!(violations((1..=300).chain(1..=300)), none);
        assert_eq!(violations((1..=300).chain([3, 2, 1, 4])), none, "a new run, out of order");
        assert_eq!(violations([1, 2, 1, 3, 2, 4]), none, "two runs, interleaved");
    }

    #[test]
    fn doubles_and_gaps_are_found() {
        for (numbers, found) in [
            ((1..=100).chain(50..=50).chain(101..=200).collect::<Vec<_>>(), "found 50 again, but not 49"),
            ((1..=600).chain(500..=500).collect(), "found 500 again"),
            ((1..=300).chain(302..=320).collect(), "none of 301 to 301 (1 line is missing)"),
            ((3..=300).collect(), "none of 1 to 2 (2 lines are missing)"),
            ((1..=9).chain([2, 1]).chain(4..=30).collect(), "none of 3 to 3"),
            ((5_000..=5_600).chain(5_602..=9_000).collect(), "none of 5601 to 5601"),
            ((5_000..=5_700).chain([5_600]).chain(5_701..=9_000).collect(), "found 5600 again"),
            ((1..=50).chain(2..=5_000).collect(), "found 2 to 50 again, but not 1"),
        ] {
            let violations = violations(numbers);
            assert!(violations.len() == 1 && violations[0].contains(found), "{found}: {violations:?}");
        }
    }

    #[test]
    fn a_gap_near_the_end_is_a_note_unless_the_run_has_ended() {
        let numbers = || (1..=9).chain(11..=12);
        let Findings { violations, notes, .. } = findings(numbers());
        assert_eq!((violations.len(), notes.len()), (0, 1), "{notes:?}");
        let mut log = Numbers::default();
        numbers().for_each(|number| log.add(number));
        log.end(12);
        let Findings { violations, notes, .. } = log.findings();
        assert_eq!((violations.len(), notes.len()), (1, 0), "{violations:?}");
    }

    #[test]
    fn a_gap_in_an_earlier_run_is_found_though_a_later_run_ends_there() {
        let gap = (1..=499).chain(501..=3_000);
        let found = violations(gap.chain(1..=500).chain(1..=4_000));
        assert!(found.len() == 1 && found[0].contains("none of 500 to 500"), "{found:?}");
    }

    #[test]
    fn memory_is_bounded_and_the_end_of_the_check_said() {
        let mut log = Numbers::default();
        (1..=300_000).for_each(|number| log.add(number * 2));
        assert!(log.open.len() <= LIMIT + 2);
        let Findings { violations, more, notes } = log.findings();
        assert!(violations.len() == NAMED && more > 0 && notes[0].contains("too many gaps"), "{notes:?}");
        // Of many short runs, next to nothing is kept.
        let mut log = Numbers::default();
        (0..100_000).for_each(|run| (1..=run % 50 + 1).for_each(|number| log.add(number)));
        assert!(log.open.values().map(|open| open.since.len()).sum::<usize>() < 3 * LOCALITY as usize);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn whole_runs_out_of_order_are_sound(
            runs in prop::collection::vec(prop_oneof![1..20_u64, 1..400_u64, 1..3_000_u64], 1..20),
            distance in 0..200_u64,
            seed in any::<u64>(),
        ) {
            prop_assert_eq!(violations(shuffled(&runs, distance, seed)), Vec::<String>::new());
        }

        #[test]
        fn a_part_of_a_rotated_log_is_sound(
            first in 3_000..6_000_u64,
            runs in prop::collection::vec(prop_oneof![1..20_u64, 1..5_000_u64], 0..10),
            begin in 1_000..2_500_usize,
            end in 0..2_500_usize,
            distance in 0..200_u64,
            seed in any::<u64>(),
        ) {
            let runs: Vec<_> = std::iter::once(first).chain(runs).collect();
            let numbers = shuffled(&runs, distance, seed);
            let end = numbers.len().saturating_sub(end).max(begin);
            prop_assert_eq!(violations(numbers[begin..end].iter().copied()), Vec::<String>::new());
        }

        #[test]
        fn a_missing_line_of_one_run_is_found_and_so_is_a_double(
            last in 60..5_000_u64,
            at in any::<prop::sample::Index>(),
            distance in 0..16_u64,
            seed in any::<u64>(),
        ) {
            let numbers = shuffled(&[last], distance, seed);
            let at = at.index(numbers.len() - 40) + 5;
            let mut without = numbers.clone();
            let number = without.remove(at);
            let found = violations(without);
            let gap = format!("none of {number} to {number} ");
            prop_assert!(found.len() == 1 && found[0].contains(&gap), "{:?}", found);
            let mut twice = numbers;
            twice.insert(at, number);
            // A second line with the number 1 is the first one of a run.
            let expected = usize::from(number > 1);
            prop_assert_eq!(violations(twice).len(), expected);
        }

        #[test]
        fn a_missing_line_of_one_of_several_runs_is_found(
            run in 3_000..5_000_u64,
            gap in 1_000..2_000_u64,
            of in 0..5_usize,
            distance in 0..200_u64,
            seed in any::<u64>(),
        ) {
            let mut numbers = shuffled(&[run; 5], distance, seed);
            let at = numbers.iter().enumerate().filter(|(_, number)| **number == gap).nth(of).unwrap().0;
            numbers.remove(at);
            let found = violations(numbers);
            let sentence = format!("none of {gap} to {gap} ");
            prop_assert!(found.len() == 1 && found[0].contains(&sentence), "{:?}", found);
        }
    }
}
