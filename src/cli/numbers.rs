//! The numbers that the request lines of a log have in their runs: each run has every number from 1 to its
//! last once.
//!
//! A log may have several runs, one after the other, and the lines of concurrent requests may change places,
//! also across the boundary of two runs. So a number does not tell its run. But every line except the first
//! of a run has a predecessor in its run, which stands near it. So near any line, each number must come at
//! least as often as the next number. A number that came more often than the next is the end of a *chain*;
//! one that came less often is *missing*. When a run is over, its chains have ended, and its missing numbers
//! are violations.

use std::collections::{BTreeMap, BTreeSet};

use smallvec::{SmallVec, smallvec};

use super::{amount::amount, losses::Losses};

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
    /// At which line the first run of the log began, and the last one.
    first_run: Option<u64>,
    last_run: u64,
    greatest: u64,
    /// If the log is the later part of a longer one, its first number, whose predecessor is in an earlier
    /// part.
    head: Option<u64>,
    /// Numbers that are missing before the first lines of the log. A later run has them, so that their count
    /// shows no gap there, but one in that run.
    beginning: BTreeSet<u64>,
    /// The run by its summary line, if no request came after that.
    ended: Option<Ending>,
    losses: Losses,
    is_full: bool,
    findings: Findings,
}

/// What a summary line says of its run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ending {
    pub(super) requests: u64,
    /// Lines that the process has lost.
    pub(super) lost: u64,
    /// A report is written while requests end.
    pub(super) is_report: bool,
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
    fn add_gap(&mut self, gap: &Gap, lost: u64) {
        let violation = match gap {
            Gap::Missing(first, last) => {
                let missing = amount(last - first + 1, "line is missing", "lines are missing");
                let counted = amount(lost, "lost line", "lost lines");
                let counted =
                    if lost > 0 { format!("; the process counted {counted}") } else { String::new() };
                let which = numbers(*first, *last);
                format!("e2e_requests: {missing}, {which} of the run{counted}")
            }
            Gap::Again(first, last) => {
                let again = if first == last { format!("{first}") } else { format!("{first} to {last}") };
                let before = first - 1;
                format!(
                    "e2e_requests: expected each number of a run once, found {again} again, but not {before}"
                )
            }
            Gap::Earlier => return,
            Gap::Beginning(..) => {
                if self.notes.len() < NAMED / 2 {
                    self.notes.push(gap.note());
                }
                return;
            }
        };
        if self.violations.len() < NAMED {
            self.violations.push(violation);
        } else {
            self.more += 1;
        }
    }
}

fn numbers(first: u64, last: u64) -> String {
    match first == last {
        true => format!("number {first}"),
        false => format!("numbers {first} to {last}"),
    }
}

fn any_of(first: u64, last: u64) -> String {
    match first == last {
        true => format!("number {first}"),
        false => format!("a number from {first} to {last}"),
    }
}

/// What is wrong around a missing number.
enum Gap {
    /// These are missing, first to last.
    Missing(u64, u64),
    /// These, first to last, came once more than the number before them.
    Again(u64, u64),
    /// The line is in an earlier part of the log.
    Earlier,
    /// These, first to last, are missing near the beginning of a log, and may be in an earlier part of it.
    Beginning(u64, u64),
}

/// Whether the numbers are ahead of the lines of the log.
fn is_far_on(number: u64, line: u64) -> bool {
    line <= LOCALITY && number > line + FAR_ON
}

impl Numbers {
    pub(super) fn add(&mut self, number: u64) {
        if number == 1 {
            self.check_ending();
        }
        self.lines += 1;
        self.ended = None;
        if self.is_full || number == 0 {
            return;
        }
        if self.lines == 1 && is_far_on(number, 1) {
            self.head = Some(number);
        }
        self.greatest = self.greatest.max(number);
        if number == 1 {
            if *self.first_run.get_or_insert(self.lines) <= TAIL + 1 {
                self.beginning.clear();
            }
            self.last_run = self.lines;
        } else if !self.close(number - 1, false) && !self.is_head(number) {
            self.open(number - 1, true);
            if self.is_beginning(self.lines) {
                self.beginning.insert(number - 1);
            }
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

    /// Whether the line with the number before it is in an earlier part of the log.
    fn is_head(&self, number: u64) -> bool {
        let is_near = |head: u64| head.abs_diff(number) < LOCALITY / 2;
        is_far_on(number, self.lines) && self.head.is_some_and(is_near)
    }

    /// A summary line says how many requests the run has had.
    pub(super) fn end(&mut self, ending: Ending) {
        self.ended = Some(ending);
        self.losses.add(self.lines, ending.lost);
    }

    /// If all lines of a run after some request are missing, no later line shows it, but the summary does.
    fn check_ending(&mut self) {
        let Some(Ending { requests, .. }) = self.ended else { return };
        if self.lines > 0 && !self.is_full && self.greatest < requests {
            self.open(requests, true);
        }
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

    /// Reports the missing numbers of runs that are over or began before the log, and forgets the ends of
    /// their chains.
    fn sweep(&mut self) {
        // Before a later run has the numbers that are missing at the beginning of the log.
        let is_over =
            |since: u64| since < self.last_run && since + LOCALITY < self.lines || self.is_beginning(since);
        let over: Vec<_> = self.missing().filter(|(_, since)| is_over(*since)).collect();
        for (number, since) in over {
            let (gap, lost) = (self.resolve(number, since), self.losses.since(since));
            self.findings.add_gap(&gap, lost);
        }
        // The lines of the last run may have come before its first one.
        let last_run = self.last_run;
        self.open.retain(|_, open| {
            open.since.retain(|since| open.is_missing || *since + LOCALITY >= last_run);
            !open.since.is_empty()
        });
    }

    fn missing(&self) -> impl Iterator<Item = (u64, u64)> {
        let missing = self.open.iter().filter(|(_, open)| open.is_missing);
        missing.flat_map(|(number, open)| open.since.iter().map(|since| (*number, *since)))
    }

    /// Whether numbers that are missing before this line may be in an earlier part of the log. Only the
    /// number 1 shows that a log begins with its run.
    fn is_beginning(&self, line: u64) -> bool {
        // A line with the number 1 soon after the beginning is a late one.
        line <= LOCALITY / 2 && self.first_run.is_none_or(|first| first > TAIL + 1 && line < first)
    }

    /// Removes a missing number, and the end of the chain that breaks off before it or begins after it.
    fn resolve(&mut self, missing: u64, since: u64) -> Gap {
        self.close(missing, true);
        let is_near = |at: &u64| at.abs_diff(since) <= LOCALITY;
        // A number far on follows a gap if a chain ends just before it, as in a log that begins with its run.
        // If none does, the run of the number is older than the log. Of a number that only a summary line
        // has, the run is known.
        let is_doubtful = is_far_on(missing, since)
            && missing < self.greatest
            && self.head.is_none_or(|head| missing < head);
        let is_before = |at: &u64| is_near(at) && (!is_doubtful || *at <= since + FAR_ON);
        let end = |(number, open): (&u64, &Open)| {
            let at = open.since.iter().position(is_before).filter(|_| !open.is_missing)?;
            Some((*number, at))
        };
        let below = self.open.range(..missing).rev().take(NEAR).find_map(end);
        if below.is_none() && self.beginning.contains(&missing) {
            return Gap::Beginning(1, missing);
        }
        if below.is_none() && is_doubtful {
            return Gap::Earlier;
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
            (Some((number, _)), _) if self.is_beginning(since) => Gap::Beginning(number + 1, missing),
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
        self.check_ending();
        if let Some(head) = self.head {
            self.findings.add_gap(&Gap::Beginning(1, head - 1), 0);
        }
        let tail = if self.head.is_some() { LOCALITY } else { TAIL };
        for (number, since) in self.missing().collect::<Vec<_>>() {
            let gap = self.resolve(number, since);
            let lost = self.losses.since(since);
            let has_ended = self.ended.is_some_and(|ended| {
                number < ended.requests || number == ended.requests && !(ended.is_report && lost == 0)
            });
            let most = match gap {
                Gap::Missing(first, last) => last - first + 1,
                Gap::Again(first, _) => first - 1,
                Gap::Earlier => continue,
                Gap::Beginning(..) => u64::MAX,
            };
            if since + tail > self.lines && most <= tail && !has_ended {
                self.findings.notes.push(gap.note());
            } else {
                self.findings.add_gap(&gap, lost);
            }
        }
        self.findings.notes.truncate(NAMED);
        self.findings
    }
}

impl Gap {
    fn note(&self) -> String {
        match self {
            Self::Earlier => String::new(),
            Self::Beginning(first, last) => format!(
                "e2e_requests: no line has {}; the log begins in the middle of a run, so the rest of the run \
                 is in an earlier part of the log, as after a rotation or `split`, or missing",
                any_of(*first, *last)
            ),
            Self::Missing(first, last) => format!(
                "e2e_requests: no line has {} so far; near the end of a log that is still written, more \
                 lines may follow",
                any_of(*first, *last)
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
            ((1..=300).chain(302..=320).collect(), "1 line is missing, number 301 of the run"),
            ((1..=9).chain([2, 1]).chain(4..=30).collect(), "number 3 of"),
            ((5_000..=5_600).chain(5_602..=9_000).collect(), "number 5601 of"),
            ((5_000..=5_700).chain([5_600]).chain(5_701..=9_000).collect(), "found 5600 again"),
            ((1..=50).chain(2..=5_000).collect(), "found 2 to 50 again, but not 1"),
        ] {
            let violations = violations(numbers);
            assert!(violations.len() == 1 && violations[0].contains(found), "{found}: {violations:?}");
        }
    }

    #[test]
    fn what_may_be_in_an_earlier_part_of_the_log_is_a_note_however_long_that_is() {
        let noted = |numbers: Vec<u64>, expected: &[&str]| {
            let Findings { violations, notes, .. } = findings(numbers);
            assert_eq!((violations, notes.len()), (Vec::new(), expected.len()), "{notes:?}");
            assert!(notes.iter().zip(expected).all(|(note, gap)| note.contains(gap)), "{notes:?}");
        };
        for first in [2, 3, 207, 257, 258, 412, 9_000] {
            let earlier = format!("no line has {};", any_of(1, first - 1));
            noted((first..first + 600).collect(), &[&earlier]);
            noted((first..first + 600).chain(1..=3_000).collect(), &[&earlier]);
        }
        noted(
            [207, 208, 205].into_iter().chain(209..3_000).collect(),
            &["no line has a number from 1 to 204;", "no line has number 206;"],
        );
        let found = violations((207..=2_000).chain(2_002..=3_000));
        assert!(found.len() == 1 && found[0].contains("number 2001 of"), "{found:?}");
    }

    #[test]
    fn a_gap_near_the_end_is_a_note_unless_the_run_has_ended() {
        let numbers = || (1..=9).chain(11..=12);
        let Findings { violations, notes, .. } = findings(numbers());
        assert_eq!((violations.len(), notes.len()), (0, 1), "{notes:?}");
        let mut log = Numbers::default();
        numbers().for_each(|number| log.add(number));
        log.end(Ending { requests: 12, lost: 0, is_report: true });
        let Findings { violations, notes, .. } = log.findings();
        assert_eq!((violations.len(), notes.len()), (1, 0), "{violations:?}");
    }

    #[test]
    fn a_gap_of_any_size_after_the_beginning_of_a_log_is_found() {
        for (before, gap) in [(3, 5_000), (32, 540), (500, 1_100), (500, 5_000), (1_000, 100_000)] {
            let found = violations((1..=before).chain(before + gap + 1..=before + gap + 3_000));
            let lines = amount(gap, "line", "lines");
            let sentence = format!("{lines} are missing, numbers {} to {} of", before + 1, before + gap);
            assert!(found.len() == 1 && found[0].contains(&sentence), "{found:?}");
        }
        let after_a_restart = (400_000..=400_600).chain(1..=100).chain(5_101..=9_000);
        let found = violations(after_a_restart);
        assert!(found.len() == 1 && found[0].contains("numbers 101 to 5100 of"), "{found:?}");
    }

    #[test]
    fn a_later_part_whose_run_ends_soon_is_sound_though_its_first_line_is_of_the_next_run() {
        let none = Vec::<String>::new();
        assert_eq!(violations([1, 5_999, 2, 6_000].into_iter().chain(3..=2_000)), none);
        assert_eq!(violations([6_000, 1, 5_999].into_iter().chain(2..=2_000)), none);
        let merged = (1..=600).flat_map(|number| [number, number + 5_000]);
        assert_eq!(violations(merged), none, "of two processes");
        let merged = (1..=600).flat_map(|number| [number + 90_000, number + 5_000]);
        assert_eq!(violations(merged), none, "of two processes, both begun before");
    }

    #[test]
    fn lines_that_are_missing_at_the_end_of_a_run_show_in_its_summary() {
        let ended = |requests, lost, is_report| {
            let mut log = Numbers::default();
            (1..=500).for_each(|number| log.add(number));
            log.end(Ending { requests, lost, is_report });
            log
        };
        let found = ended(6_000, 0, true).findings().violations;
        assert!(
            found.len() == 1 && found[0].contains("5,500 lines are missing, numbers 501 to 6000 of the run")
        );
        assert_eq!(ended(500, 0, true).findings().violations, Vec::<String>::new());
        let Findings { violations, notes, .. } = ended(502, 0, true).findings();
        assert_eq!((violations.len(), notes.len()), (0, 1), "requests may end during a report");
        assert_eq!(ended(502, 0, false).findings().violations.len(), 1);
        assert_eq!(ended(502, 2, true).findings().violations.len(), 1);
        let mut log = ended(6_000, 0, true);
        (1..=3_000).for_each(|number| log.add(number));
        assert_eq!(log.findings().violations.len(), 1, "of a run that another follows");
        let mut log = ended(502, 0, true);
        [1, 502, 2, 501].into_iter().chain(3..=3_000).for_each(|number| log.add(number));
        assert_eq!(log.findings().violations, Vec::<String>::new(), "late lines");
    }

    #[test]
    fn a_gap_names_the_lines_that_its_process_has_lost() {
        let mut log = Numbers::default();
        let report = |requests, lost| Ending { requests, lost, is_report: true };
        (1..=500).chain(601..=1_000).for_each(|number| log.add(number));
        log.end(report(1_000, 100));
        (1_001..=1_500).chain(1_511..=1_600).for_each(|number| log.add(number));
        log.end(report(1_600, 110));
        (1..=500).chain(502..=1_000).for_each(|number| log.add(number));
        log.end(report(1_000, 0));
        let mut found = log.findings().violations;
        found.sort_by_key(|sentence| sentence.contains("number 501 of"));
        let counted = |sentence: &String| sentence.contains("; the process counted 110 lost lines");
        assert_eq!(found.iter().map(counted).collect::<Vec<_>>(), [true, true, false], "{found:?}");
    }

    #[test]
    fn a_gap_after_lines_that_came_before_the_first_one_of_their_run_is_named() {
        let found = violations([2, 1, 5, 4].into_iter().chain(6..=2_100));
        assert!(found.len() == 1 && found[0].contains("number 3 of"), "{found:?}");
    }

    #[test]
    fn a_gap_in_an_earlier_run_is_found_though_a_later_run_ends_there() {
        let gap = (1..=499).chain(501..=3_000);
        let found = violations(gap.chain(1..=500).chain(1..=4_000));
        assert!(found.len() == 1 && found[0].contains("number 500 of"), "{found:?}");
    }

    #[test]
    fn memory_is_bounded_and_the_end_of_the_check_said() {
        let mut log = Numbers::default();
        (1..=300_000).for_each(|number| log.add(number * 2));
        assert!(log.open.len() <= LIMIT + 2);
        let Findings { violations, more, notes } = log.findings();
        let has_stopped = notes.iter().any(|note| note.contains("too many gaps"));
        assert!(violations.len() == NAMED && more > 0 && has_stopped, "{notes:?}");
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
            begin in 40..2_500_usize,
            end in 0..2_500_usize,
            distance in 0..200_u64,
            seed in any::<u64>(),
        ) {
            let runs: Vec<_> = std::iter::once(first).chain(runs).collect();
            let distance = if begin < 1_000 { distance % 16 } else { distance };
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
            let mut twice = numbers;
            twice.insert(at, number);
            // Without the number 1, the lines are a later part of a log. A second line with it begins a run.
            let expected = usize::from(number > 1);
            let gap = format!("number {number} of");
            let is_named = found.iter().all(|one| one.contains(&gap));
            prop_assert!(found.len() == expected && is_named, "{:?}", found);
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
            let sentence = format!("number {gap} of");
            prop_assert!(found.len() == 1 && found[0].contains(&sentence), "{:?}", found);
        }
    }
}
