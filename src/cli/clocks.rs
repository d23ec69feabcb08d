//! By how much the clocks of processes differ, as the rows of workers tell: a row that a request waits for
//! lies inside of it, after the messages that led to it and before those that lead back.

use std::{cmp::Reverse, collections::BTreeMap, mem, ops::Range};

use super::{messages::Path, request_clocks::Links};
use crate::Timestamp;

/// Fewer rows than these tell nothing.
pub(super) const FEWEST: usize = 8;
/// How many rows of one log in the requests of one run are looked at.
const MOST: usize = 1_024;

/// A row of a worker: which of all lines it is; by how much it has to be moved, at least and at most, to lie
/// inside of its request and between its messages; and when it ended. Times are microseconds.
type Row = (u64, i64, i64, u64);

/// The rows of a log in the requests of a run. Of many, one in two to the power of `halved` is kept: the same
/// ones, in whatever order they come.
#[derive(Debug, Default)]
struct Rows {
    halved: u32,
    kept: Vec<Row>,
    /// How many messages led to all rows, and how many led back.
    messages: [u64; 2],
}

impl Rows {
    fn add(&mut self, row: Row) {
        if self.keeps(row.0) {
            self.kept.push(row);
            self.thin_out();
        }
    }

    /// Whether a line is among those that are kept, by its number multiplied by 2^64 over the golden ratio,
    /// which spreads successive numbers.
    fn keeps(&self, sequence: u64) -> bool {
        sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15).leading_zeros() >= self.halved
    }

    fn merge(&mut self, other: Self) {
        self.halved = self.halved.max(other.halved);
        self.messages.iter_mut().zip(other.messages).for_each(|(count, more)| *count += more);
        self.kept.extend(other.kept);
        let mut all = mem::take(&mut self.kept);
        all.retain(|(sequence, ..)| self.keeps(*sequence));
        self.kept = all;
        self.thin_out();
    }

    /// These offsets, and where the rows in their order doubt them.
    fn with(&self, offsets: Vec<(u64, i64)>) -> Offsets {
        Offsets { doubts: doubts(&self.kept, &offsets, self.messages), offsets }
    }

    fn thin_out(&mut self) {
        while self.kept.len() > MOST {
            self.halved += 1;
            let mut kept = mem::take(&mut self.kept);
            kept.retain(|(sequence, ..)| self.keeps(*sequence));
            self.kept = kept;
        }
    }
}

/// The rows from which [`Clocks`] are estimated, by the run of their requests and by their log.
#[derive(Debug, Default)]
pub(super) struct ClockRows {
    pairs: BTreeMap<(u64, u64), Rows>,
    /// How many requests each run has, of those whose id occurs once.
    requests: BTreeMap<u64, u64>,
}

impl ClockRows {
    pub(super) fn add_request(&mut self, run: u64) {
        *self.requests.entry(run).or_default() += 1;
    }

    /// Adds the row at `sequence` of a log, which began and ended at these times, in nanoseconds, to those of
    /// a run whose request was created and ended at these. Messages led to its process and back.
    pub(super) fn add(
        &mut self,
        run_and_log: (u64, u64),
        sequence: u64,
        row: (u64, u64),
        request: (u64, u64),
        paths: [Option<Path>; 2],
    ) {
        let micros = |to: u64, from: u64| to.cast_signed().wrapping_sub(from.cast_signed()) / 1_000;
        let (mut least, mut most) = (micros(request.0, row.0), micros(request.1, row.1));
        if let Some(there) = paths[0] {
            least = least.max(-there.flight / 1_000);
        }
        if let Some(back) = paths[1] {
            most = most.min(back.flight / 1_000);
        }
        // A row that is longer than its request tells nothing.
        if least <= most {
            let rows = self.pairs.entry(run_and_log).or_default();
            rows.add((sequence, least, most, row.1 / 1_000));
            for (count, path) in rows.messages.iter_mut().zip(paths) {
                // The end of the request itself counts as a message.
                *count += path.map_or(1, |path| path.messages);
            }
        }
    }

    /// Adds those of another part.
    pub(super) fn merge(&mut self, other: Self) {
        for (pair, rows) in other.pairs {
            self.pairs.entry(pair).or_default().merge(rows);
        }
        other.requests.into_iter().for_each(|(run, more)| *self.requests.entry(run).or_default() += more);
    }

    pub(super) fn estimate(mut self) -> Clocks {
        let (mut pairs, mut of_logs) = (BTreeMap::new(), BTreeMap::<_, Vec<_>>::new());
        for ((run, log), rows) in &mut self.pairs {
            rows.kept.sort_unstable();
            let of_pair = rows.with(offsets(&rows.kept, rows.messages));
            let known = rows.kept.iter().map(|row| row.0).filter(|sequence| of_pair.is_known(*sequence));
            let known = known.map(|sequence| (sequence, offset_at(&of_pair.offsets, sequence)));
            of_logs.entry(*log).or_default().push((*run, known.collect()));
            pairs.insert((*run, *log), of_pair);
        }
        let mut links = Links::default();
        of_logs.into_values().for_each(|runs| links.add(runs));
        let mut clocks = Clocks { pairs, requests: self.requests, ..Clocks::default() };
        clocks.moves = clocks.reference().map(|reference| links.moves(reference)).unwrap_or_default();
        clocks.estimate_jointly(&self.pairs);
        clocks
    }
}

/// The offsets of rows in their order, and from which line on each one holds. `messages` is how many led to
/// the rows, and how many back.
fn offsets(rows: &[Row], messages: [u64; 2]) -> Vec<(u64, i64)> {
    let (mut long, mut offsets, mut from) = (Vec::new(), Vec::new(), 0);
    add_lives(rows, 0..rows.len(), messages, &mut long);
    let lives = (0..long.len()).flat_map(|at| with_short_ones(rows, &long, at, messages));
    let lives: Vec<_> = lives.collect();
    for (at, (_, offset)) in lives.iter().enumerate() {
        offsets.extend(rows.get(from).map(|(first, ..)| (*first, *offset)));
        if let Some((next, its_offset)) = lives.get(at + 1) {
            let of_both = rows.get(from..next.end).unwrap_or_default();
            from += boundary(of_both, *offset, *its_offset);
        }
    }
    offsets
}

/// One of several lives, between those that are too short to tell in it: rows at its begin or its end that
/// agree on another offset, up to or from [`FEWEST`] rows in succession that do not fit.
fn with_short_ones(
    rows: &[Row],
    lives: &[(Range<usize>, i64)],
    at: usize,
    messages: [u64; 2],
) -> impl Iterator<Item = (Range<usize>, i64)> {
    let (range, offset) = lives.get(at).cloned().unwrap_or_default();
    let (mut misfits, mut start) = (Vec::new(), range.start);
    let of_life = rows.get(range.clone()).unwrap_or_default();
    for stretch in of_life.chunk_by(|one, other| fits(one, offset) == fits(other, offset)) {
        let end = start + stretch.len();
        if stretch.len() >= FEWEST && stretch.first().is_some_and(|row| !fits(row, offset)) {
            misfits.push(start..end);
        }
        start = end;
    }
    let fit = |range: &Range<usize>, offset: i64| {
        let rows = rows.get(range.clone()).unwrap_or_default();
        are_most(rows.iter().filter(|row| fits(row, offset)).count(), rows.len())
    };
    // Rows of the life before this one or after it are no life of their own.
    let life = |range: Range<usize>, misfit: &Range<usize>, next: Option<&(Range<usize>, i64)>| {
        let offset = offset_of(rows.get(range.clone())?, messages)?;
        let is_new = fit(misfit, offset) && !next.is_some_and(|(_, offset)| fit(&range, *offset));
        is_new.then_some((range, offset))
    };
    let (previous, next) = (at.checked_sub(1).and_then(|at| lives.get(at)), lives.get(at + 1));
    let before = misfits.first().and_then(|misfit| life(range.start..misfit.end, misfit, previous));
    let from = before.as_ref().map_or(range.start, |(before, _)| before.end);
    let last = misfits.last().filter(|misfit| misfit.start >= from);
    let after = last.and_then(|misfit| life(misfit.start..range.end, misfit, next));
    let to = after.as_ref().map_or(range.end, |(after, _)| after.start);
    before.into_iter().chain((from < to).then_some((from..to, offset))).chain(after)
}

/// Where at least [`FEWEST`] rows in succession do not fit to the offset that holds there, but agree on
/// another one: their process may have been started again in between.
fn doubts(rows: &[Row], offsets: &[(u64, i64)], messages: [u64; 2]) -> Vec<Doubt> {
    let fits = |row: &Row| fits(row, offset_at(offsets, row.0));
    let (mut doubts, mut from, mut stretches) = (Vec::new(), 0, rows.chunk_by(|a, b| fits(a) == fits(b)));
    let mut next = stretches.next();
    while let Some(stretch) = next {
        next = stretches.next();
        let to = next.and_then(<[Row]>::first).map_or(u64::MAX, |(sequence, ..)| *sequence);
        let doubtful = stretch.first().zip(stretch.last()).filter(|(row, _)| !fits(row));
        if let Some(((at, .., first), (.., last))) = doubtful
            && let Some(offset) = offset_of(stretch, messages)
        {
            let times = [first, last].map(|micros| Timestamp::from_unix_micros(*micros));
            doubts.push(Doubt { lines: from..to, times, by: offset - offset_at(offsets, *at) });
        }
        from = stretch.last().map_or(from, |(sequence, ..)| *sequence);
    }
    doubts
}

/// Of offsets one after the other, the one that holds at `sequence`; 0 if there is none.
fn offset_at(offsets: &[(u64, i64)], sequence: u64) -> i64 {
    let after = offsets.partition_point(|(first, _)| *first <= sequence);
    offsets.get(after.saturating_sub(1)).map_or(0, |(_, offset)| *offset)
}

/// Appends the ranges of rows that agree on an offset, with the offset. A process that is started again reads
/// the wall clock anew. So rows that do not agree are halved until they do.
fn add_lives(rows: &[Row], range: Range<usize>, messages: [u64; 2], lives: &mut Vec<(Range<usize>, i64)>) {
    let offset = |range: &Range<usize>| offset_of(rows.get(range.clone())?, messages);
    if let Some(of_range) = offset(&range) {
        let joint = lives.last().map(|(last, _)| last.start..range.end);
        let joint = joint.and_then(|joint| Some((joint.clone(), offset(&joint)?)));
        if joint.is_some() {
            lives.pop();
        }
        lives.push(joint.unwrap_or((range, of_range)));
    } else if range.len() >= 2 * FEWEST {
        let half = range.start + range.len() / 2;
        add_lives(rows, range.start..half, messages, lives);
        add_lives(rows, half..range.end, messages, lives);
    }
}

/// Whether a row lies inside of its request and between its messages at this offset.
fn fits((_, least, most, _): &Row, offset: i64) -> bool {
    (*least..=*most).contains(&offset)
}

/// Nineteen in twenty.
fn are_most(fitting: usize, rows: usize) -> bool {
    fitting * 20 >= rows * 19
}

/// How many of the rows, from the first one on, have the offset `before` if most rows are to fit.
fn boundary(rows: &[Row], before: i64, after: i64) -> usize {
    let fits = |offset: i64, row: &Row| i64::from(fits(row, offset));
    let (mut fitting, mut best) = (0, (0, 0));
    for (at, row) in rows.iter().enumerate() {
        fitting += fits(before, row) - fits(after, row);
        best = best.max((fitting, at + 1));
    }
    best.1
}

/// The offset that puts most rows inside; `None` if those are less than nineteen in twenty. Zero if it puts
/// nearly as many inside. Of a range of offsets, the one at which all messages were in flight equally long.
fn offset_of(rows: &[Row], [there, back]: [u64; 2]) -> Option<i64> {
    if rows.len() < FEWEST {
        return None;
    }
    // An offset at which a row begins to fit comes before the same one at which another row ceases to.
    let ends = rows.iter().flat_map(|(_, least, most, _)| [(*least, false), (*most, true)]);
    let mut ends: Vec<_> = ends.collect();
    ends.sort_unstable();
    let (mut fitting, mut most, mut from, mut to) = (0, 0, 0, None);
    for (offset, is_last) in ends {
        if is_last {
            if fitting == most && to.is_none() {
                to = Some(offset);
            }
            fitting -= 1;
        } else {
            fitting += 1;
            if fitting > most {
                (most, from, to) = (fitting, offset, None);
            }
        }
    }
    let unmoved = rows.iter().filter(|row| fits(row, 0)).count();
    if !are_most(most, rows.len()) {
        return None;
    }
    let share = there as f64 / (there + back) as f64;
    let offset = from + ((to.unwrap_or(from) - from) as f64 * share) as i64;
    Some(if unmoved * 100 >= most * 99 { 0 } else { offset })
}

/// By how much rows and requests are moved.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    /// By the run of the requests and the log of the rows: to the clock of that run.
    pairs: BTreeMap<(u64, u64), Offsets>,
    /// How many requests each run has, of those whose id occurs once.
    requests: BTreeMap<u64, u64>,
    /// By how much the requests of a run are moved to the clock of the run with most requests, in
    /// microseconds; none if nothing tells.
    moves: BTreeMap<u64, i64>,
}

/// By how much the rows of a log are moved in the requests of a run.
#[derive(Debug)]
pub(super) struct Offsets {
    /// From which line on each one holds, one after the other, in microseconds.
    offsets: Vec<(u64, i64)>,
    doubts: Vec<Doubt>,
}

/// Where an offset may be wrong.
#[derive(Debug)]
pub(super) struct Doubt {
    lines: Range<u64>,
    /// When the first and the last row ended that do not fit, by the clock of their process.
    pub(super) times: [Timestamp; 2],
    /// By how much more these rows would have to be moved, in microseconds.
    pub(super) by: i64,
}

impl Offsets {
    /// In microseconds, one for each start of the process; none if there is no estimate.
    pub(super) fn micros(&self) -> impl Iterator<Item = i64> {
        self.offsets.iter().map(|(_, offset)| *offset)
    }

    pub(super) fn doubts(&self) -> &[Doubt] {
        &self.doubts
    }

    fn is_known(&self, sequence: u64) -> bool {
        !self.offsets.is_empty() && !self.doubts.iter().any(|doubt| doubt.lines.contains(&sequence))
    }
}

impl Clocks {
    /// Estimates each log anew from its rows in the requests of all runs that are moved to one clock, since
    /// each run may have too few rows of a start of the process. Where more rows of a run fit then, this
    /// estimate takes the place of the other one.
    fn estimate_jointly(&mut self, pairs: &BTreeMap<(u64, u64), Rows>) {
        let mut of_logs = BTreeMap::<u64, Rows>::new();
        for ((run, log), rows) in pairs {
            let Some(by) = self.moves.get(run) else { continue };
            let of_log = of_logs.entry(*log).or_default();
            let moved = |(sequence, least, most, end): &Row| (*sequence, least + by, most + by, *end);
            of_log.kept.extend(rows.kept.iter().map(moved));
            of_log.messages.iter_mut().zip(rows.messages).for_each(|(count, more)| *count += more);
        }
        let estimate = |(log, mut rows): (u64, Rows)| {
            rows.kept.sort_unstable();
            (log, offsets(&rows.kept, rows.messages))
        };
        let joint: BTreeMap<_, _> = of_logs.into_iter().map(estimate).collect();
        for (((run, log), rows), of_pair) in pairs.iter().zip(self.pairs.values_mut()) {
            let Some((by, joint)) = self.moves.get(run).zip(joint.get(log)) else { continue };
            let joint: Vec<_> = joint.iter().map(|(first, offset)| (*first, offset - by)).collect();
            let fit =
                |offsets: &[_]| rows.kept.iter().filter(|row| fits(row, offset_at(offsets, row.0))).count();
            if fit(&joint) > fit(&of_pair.offsets) {
                *of_pair = rows.with(joint);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Those of the rows, by the run of the requests and the log of the rows.
    pub(super) fn pairs(&self) -> &BTreeMap<(u64, u64), Offsets> {
        &self.pairs
    }

    /// The run with most requests, to whose clock others are moved.
    pub(super) fn reference(&self) -> Option<u64> {
        let most = self.requests.iter().max_by_key(|(run, requests)| (**requests, Reverse(**run)));
        most.map(|(run, _)| *run)
    }

    /// The runs, how many requests each has, and by how many microseconds these are moved, if that is known.
    pub(super) fn runs(&self) -> impl Iterator<Item = (u64, u64, Option<i64>)> {
        self.requests.iter().map(|(run, requests)| (*run, *requests, self.moves.get(run).copied()))
    }

    /// In microseconds, for the row at `sequence`.
    pub(super) fn offset(&self, run: u64, log: u64, sequence: u64) -> i64 {
        self.pairs.get(&(run, log)).map_or(0, |of_pair| offset_at(&of_pair.offsets, sequence))
    }

    /// Whether the offset of the row at `sequence` is known well.
    pub(super) fn is_known(&self, run: u64, log: u64, sequence: u64) -> bool {
        self.pairs.get(&(run, log)).is_some_and(|of_pair| of_pair.is_known(sequence))
    }

    /// By how many microseconds the requests of a run are moved.
    pub(super) fn of_requests(&self, run: u64) -> i64 {
        self.moves.get(&run).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of 50 ms in requests of 100 ms, by a clock that is ahead by this much.
    fn rows(first: u64, count: u64, ahead: i64) -> impl Iterator<Item = Row> {
        (first..first + count).map(move |sequence| {
            let begin = (sequence * 7 % 50).cast_signed() * 1_000;
            (sequence, -begin - ahead, 50_000 - begin - ahead, sequence)
        })
    }

    #[test]
    fn a_clock_that_is_off_is_found_to_the_time_that_requests_leave() {
        for ahead in [-2_000_000, -40_000, 200_000] {
            let rows: Vec<_> = rows(0, 100, ahead).collect();
            let offset = offset_of(&rows, [1, 1]).unwrap();
            assert!((offset + ahead).abs() <= 1_000, "{offset} {ahead}");
        }
    }

    #[test]
    fn rows_that_lie_inside_are_not_moved_and_few_or_unlike_rows_neither() {
        assert_eq!(offset_of(&rows(0, 100, 0).collect::<Vec<_>>(), [1, 1]), Some(0));
        assert_eq!(offset_of(&rows(0, 7, 90_000).collect::<Vec<_>>(), [1, 1]), None);
        let unlike: Vec<_> = (0..100).flat_map(|at| rows(at, 1, at.cast_signed() * 100_000)).collect();
        assert_eq!(offset_of(&unlike, [1, 1]), None);
    }

    #[test]
    fn a_process_that_was_started_again_has_another_offset_from_its_first_row_on() {
        for (restart, all) in [(700, 1_024), (100, 1_024), (20, 40), (24, 40)] {
            let rows: Vec<_> =
                rows(0, restart, 90_000).chain(rows(restart, all - restart, -150_000)).collect();
            let offsets = Offsets { offsets: offsets(&rows, [1, 1]), doubts: Vec::new() };
            let clocks = Clocks { pairs: [((1, 2), offsets)].into(), ..Clocks::default() };
            for at in 0..all {
                let ahead = if at < restart { 90_000 } else { -150_000 };
                // A few rows leave much time.
                assert!((clocks.offset(1, 2, at) + ahead).abs() <= 15_000, "{restart} {all} {at}");
            }
            assert_eq!(clocks.offset(1, 3, 0), 0);
        }
    }

    #[test]
    fn rows_that_agree_on_another_offset_make_it_doubtful_and_rows_of_other_attempts_do_not() {
        let others = |count: u64, ahead: fn(i64) -> i64| {
            let others = (400..400 + count).flat_map(|at| rows(at, 1, ahead(at.cast_signed())));
            let all: Vec<_> = rows(0, 400, 0).chain(others).chain(rows(500, 500, 0)).collect();
            let offsets = offsets(&all, [1, 1]);
            assert_eq!(offsets, [(0, 0)]);
            let doubts = doubts(&all, &offsets, [1, 1]).into_iter();
            doubts.map(|doubt| (doubt.lines, doubt.times.map(Timestamp::unix_micros))).collect::<Vec<_>>()
        };
        assert_eq!(others(8, |_| -5_000_000), [(399..500, [400, 407])]);
        assert_eq!(others(7, |_| -5_000_000), []);
        assert_eq!(others(40, |at| -at * 100_000), []);
    }

    #[test]
    fn a_start_with_few_of_all_rows_has_an_offset_of_its_own_from_eight_rows_on() {
        let offsets = |first: u64, last: u64| {
            let after = rows(first, 500 - first - last, 0).chain(rows(500 - last, last, 264_000));
            offsets(&rows(0, first, -64_000).chain(after).collect::<Vec<_>>(), [1, 1])
        };
        let off = |offset: i64, ahead: i64| (offset + ahead).abs() <= 10_000;
        assert_eq!(offsets(7, 7), [(0, 0)]);
        let found = offsets(0, 8);
        assert!(matches!(found[..], [(0, 0), (492, by)] if off(by, 264_000)), "{found:?}");
        let found = offsets(12, 0);
        assert!(matches!(found[..], [(0, by), (12, 0)] if off(by, -64_000)), "{found:?}");
        let found = offsets(10, 10);
        assert!(
            matches!(found[..], [(0, by), (10, 0), (490, last)] if off(by, -64_000) && off(last, 264_000)),
            "{found:?}"
        );
    }

    #[test]
    fn a_start_with_few_rows_in_the_requests_of_a_run_has_the_offset_that_those_of_other_runs_tell() {
        const LOG: u64 = 7;
        // By how much the clocks of four runs are ahead of that of the first one.
        let ahead = [0, 500_000, -700_000, 300_000];
        let of_run = |run: u64, rows: &mut dyn Iterator<Item = Row>| {
            let by = ahead[run as usize - 1];
            let kept: Vec<_> = rows.map(|(at, least, most, end)| (at, least + by, most + by, end)).collect();
            Rows { kept, messages: [1, 1], halved: 0 }
        };
        let all = || rows(0, 200, 90_000).chain(rows(200, 600, -150_000));
        let unlike = || (400..405).flat_map(|at| rows(at, 1, at.cast_signed() * 100_000));
        let pairs = [
            ((1, LOG), of_run(1, &mut all().step_by(2))),
            // Five rows before the process was started again.
            ((2, LOG), of_run(2, &mut all().skip(191).step_by(2))),
            // No rows but five.
            ((3, LOG), of_run(3, &mut all().skip(301).step_by(2).take(5))),
            ((4, LOG), of_run(4, &mut unlike())),
        ];
        // Another worker compares all runs.
        let others = (1..=4).map(|run| ((run, 8), of_run(run, &mut rows(run, 40, 0))));
        let requests = [(1, 9), (2, 3), (3, 2), (4, 1)].into();
        let clocks = ClockRows { pairs: pairs.into_iter().chain(others).collect(), requests }.estimate();
        for (run, at, offset) in [(1, 0, -90_000), (2, 199, 410_000), (2, 201, 650_000), (3, 301, -550_000)] {
            let found = clocks.offset(run, LOG, at);
            assert!((found - offset).abs() <= 15_000 && clocks.is_known(run, LOG, at), "{run} {at} {found}");
        }
        assert!(!clocks.is_known(4, LOG, 401));
    }

    #[test]
    fn rows_at_the_end_of_a_start_that_are_of_the_next_one_are_no_start_of_their_own() {
        // The halves meet 10 rows after the start.
        let ahead = |at: u64| if at < 502 { 0 } else { 264_000 };
        let all: Vec<_> = (0..1_024).flat_map(|at| rows(at, 1, ahead(at))).collect();
        let found = offsets(&all, [1, 1]);
        assert!(matches!(found[..], [(0, 0), (502, _)]), "{found:?}");
    }

    #[test]
    fn messages_put_a_row_where_each_of_them_was_in_flight_equally_long() {
        let path = |flight: i64, messages| Some(Path { flight: flight * 1_000_000, messages });
        // Where clocks may agree, since no message would arrive before it was sent, nothing is moved.
        for (ahead, offset) in [(-3, 3_000), (0, 0), (1, 0), (90, -90_000)] {
            let mut rows = ClockRows::default();
            for at in 0..100 {
                // A request of a second, in which the row begins after 50 ms.
                let created: u64 = 1_000_000_000_000 + at * 1_000_000_000;
                let begin = (created + 50_000_000).saturating_add_signed(ahead * 1_000_000);
                let slow = i64::from(at % 7 > 0) * 5;
                let paths = [path(2 + slow + ahead, 1), path(6 + 3 * slow - ahead, 3)];
                let row = (begin, begin + 10_000_000);
                rows.add((1, 2), at, row, (created, created + 1_000_000_000), paths);
            }
            assert_eq!(rows.estimate().offset(1, 2, 50), offset);
        }
    }

    #[test]
    fn many_rows_are_thinned_out_to_the_same_ones_in_any_order_and_tell_the_same() {
        let thinned_out = |numbers: &mut dyn Iterator<Item = u64>, parts: u64| {
            let mut of_parts: Vec<_> = (0..parts).map(|_| ClockRows::default()).collect();
            for at in numbers {
                let begin = 1_000_000_000_000 + at * 1_000_000;
                let ahead = 300_000_000 + at % 41 * 1_000_000;
                let row = (begin + ahead, begin + ahead + 60_000_000);
                let request = (begin, begin + 100_000_000);
                of_parts[(at % parts) as usize].add((1, 1), at, row, request, [None; 2]);
            }
            let mut all = ClockRows::default();
            of_parts.into_iter().for_each(|part| all.merge(part));
            all
        };
        let clocks = thinned_out(&mut (0..60_000), 1);
        let kept = |clocks: &ClockRows| {
            let mut kept: Vec<_> = clocks.pairs[&(1, 1)].kept.clone();
            kept.sort_unstable();
            kept
        };
        assert!((MOST / 4..=MOST).contains(&kept(&clocks).len()));
        for parts in [1, 7] {
            assert_eq!(kept(&thinned_out(&mut (0..60_000).rev(), parts)), kept(&clocks));
        }
        let offset = clocks.estimate().offset(1, 1, 30_000);
        assert!((offset + 300_000).abs() <= 1_000, "{offset}");
    }
}
