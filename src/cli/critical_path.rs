//! The critical path of a request: where each nanosecond of its time went.
//!
//! The walk is that of CRISP (Zhang et al., "CRISP: Critical Path Analysis of Large-Scale Microservice
//! Architectures", USENIX ATC 2022) and of Jaeger's critical path: backwards from the end, always to what
//! finished last. There, the time between is the parent's own. Rows have no parent; the time between is that
//! of a row which ran meanwhile, or else a wait.

use std::cmp::Reverse;

use smallvec::SmallVec;

use super::timeline::{Interval, Part, Stretch, Timeline};
use crate::Millis;

/// The time from the creation of a request to its end, divided into intervals that follow each other, each of
/// one part. Their lengths add up to `e2e_total_ms`.
pub(super) fn critical_path(timeline: &Timeline) -> Stretch {
    let mut path = Path::default();
    path.walk(timeline);
    path.divide_idle(timeline);
    // It has the rows from the last one on.
    path.intervals.reverse();
    path.intervals.sort_unstable_by_key(|interval| interval.from);
    path.intervals
}

/// What is wrong with a path: it must divide the whole time, and give each row only time of its own.
pub(super) fn flaws(path: &[Interval], timeline: &Timeline) -> Vec<String> {
    // By the hashes of their parts: to compare the parts takes 11 % more instructions of `check`.
    let own = timeline.rows.iter().chain(&timeline.waits);
    let mut own: SmallVec<[_; 32]> = own.map(|interval| (interval.part.hash(), interval)).collect();
    own.sort_unstable_by_key(|(hash, _)| *hash);
    let is_own = |segment: &Interval| {
        let hash = segment.part.hash();
        let first = own.partition_point(|(other, _)| *other < hash);
        let mut of_hash = own.iter().skip(first).take_while(|(other, _)| *other == hash);
        of_hash.any(|(_, own)| own.part == segment.part && own.from <= segment.from && segment.to <= own.to)
    };
    let (mut flaws, mut until) = (Vec::new(), 0);
    for segment in path {
        let Interval { part, from, to } = *segment;
        let times = [until, from, to].map(Millis::from_nanos);
        let [expected, shown_from, shown_to] = times;
        if from != until || from >= to {
            let found = format!("found it from {shown_from} to {shown_to}");
            flaws.push(format!("critical path: expected {part} from {expected} on, {found}"));
        }
        let is_right = match part {
            Part::Queue => to <= timeline.queue,
            Part::Unattributed => true,
            _ => is_own(segment),
        };
        if !is_right {
            let times = format!("from {shown_from} to {shown_to}");
            flaws.push(format!("critical path: {part} is on it {times}, outside of its own time"));
        }
        until = to;
    }
    if until != timeline.end {
        let [expected, found] = [timeline.end, until].map(Millis::from_nanos);
        let what = "critical path: its lengths do not add up to e2e_total_ms";
        flaws.push(format!("{what}: expected {expected}, found {found}"));
    }
    flaws
}

/// The path under construction.
#[derive(Debug, Default)]
struct Path {
    intervals: Stretch,
    /// The times during which nothing ran, which are not in `intervals` yet.
    idle: SmallVec<[(u64, u64); 16]>,
}

impl Path {
    /// Walks back from the end. The row that finished last before or at a moment is on the path back to its
    /// start, and so on. Of rows that finished at once, it is the one that began last.
    fn walk(&mut self, timeline: &Timeline) {
        let end = timeline.end;
        // From the last row on, since the rows that begin later mostly stand behind the others.
        let rows = timeline.rows.iter().rev().map(|row| Interval { to: row.to.min(end), ..*row });
        let mut rows: Stretch = rows.filter(|row| row.length() > 0).collect();
        rows.sort_unstable_by_key(|row| (Reverse(row.to), Reverse(row.from), row.part));
        let (mut until, mut running) = (end, None::<Interval>);
        for row in rows {
            if row.to > until {
                running = Some(running.map_or(row, |other| earlier(other, row)));
                continue;
            }
            self.fill(row.to, until, running);
            self.intervals.push(row);
            until = row.from;
        }
        self.fill(0, until, running);
    }

    /// Fills a time in which no row ended: with the earliest row that ran on past its end, from where that
    /// row began.
    fn fill(&mut self, from: u64, to: u64, running: Option<Interval>) {
        let began = running.map_or(to, |row| row.from.clamp(from, to));
        if let Some(row) = running
            && began < to
        {
            self.intervals.push(Interval { from: began, to, ..row });
        }
        if from < began {
            self.idle.push((from, began));
        }
    }

    /// Gives idle time to the waits that cover it, first to that whose stage began first. The rest is the
    /// request's queue until the first stage began, and after that unattributed.
    fn divide_idle(&mut self, timeline: &Timeline) {
        let mut waits = timeline.waits.clone();
        waits.sort_unstable_by_key(|wait| (wait.to, wait.from, wait.part));
        let queue = Interval { part: Part::Queue, from: 0, to: timeline.queue };
        let rest = Interval { part: Part::Unattributed, from: 0, to: timeline.end };
        for claim in waits.into_iter().chain([queue, rest]) {
            let mut left = SmallVec::new();
            for (from, to) in self.idle.drain(..) {
                let (first, last) = (claim.from.clamp(from, to), claim.to.clamp(from, to));
                let pieces = if first < last { [(from, first), (last, to)] } else { [(from, to), (to, to)] };
                left.extend(pieces.into_iter().filter(|(from, to)| from < to));
                if first < last {
                    self.intervals.push(Interval { from: first, to: last, ..claim });
                }
            }
            self.idle = left;
        }
    }
}

/// The row that began first.
fn earlier(one: Interval, other: Interval) -> Interval {
    if (other.from, other.part) < (one.from, one.part) { other } else { one }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use smallvec::smallvec;

    use super::*;
    use crate::{E2eTable, Line, RequestLine, StageRow, TransferRow};

    fn path(timeline: &Timeline) -> Vec<(String, u64, u64)> {
        let shown = |interval: Interval| (interval.part.to_string(), interval.from, interval.to);
        critical_path(timeline).into_iter().map(shown).collect()
    }

    fn stage(id: u128, from: u64, to: u64) -> Interval {
        Interval { part: Part::Stage(id), from, to }
    }

    fn wait(id: u128, from: u64, to: u64) -> Interval {
        Interval { part: Part::Waiting(id), from, to }
    }

    fn on_path(expected: &[(&str, u64, u64)]) -> Vec<(String, u64, u64)> {
        expected.iter().map(|(part, from, to)| ((*part).to_owned(), *from, *to)).collect()
    }

    #[test]
    fn stages_in_turn_have_their_time_and_waits_the_gaps_before_them() {
        let timeline = Timeline {
            end: 100,
            queue: 10,
            rows: smallvec![stage(0, 10, 30), stage(1, 60, 90)],
            waits: smallvec![wait(0, 4, 10), wait(1, 20, 60)],
        };
        let expected = [
            ("queue", 0, 4),
            ("waiting for stage 0", 4, 10),
            ("stage 0", 10, 30),
            ("waiting for stage 1", 30, 60),
            ("stage 1", 60, 90),
            ("unattributed", 90, 100),
        ];
        assert_eq!(path(&timeline), on_path(&expected));
    }

    #[test]
    fn of_parallel_rows_the_last_to_finish_counts_and_what_led_to_it() {
        let edge = Interval { part: Part::InFlight((0, 1)), from: 10, to: 15 };
        // Stage 0 streams to stage 1, and stage 2 ends early.
        let rows = smallvec![stage(0, 0, 80), edge, stage(1, 20, 100), stage(2, 20, 60)];
        let timeline = Timeline { end: 100, rows, ..Timeline::default() };
        let expected =
            [("stage 0", 0, 10), ("edge 0->1 in flight", 10, 15), ("stage 0", 15, 20), ("stage 1", 20, 100)];
        assert_eq!(path(&timeline), on_path(&expected));
    }

    #[test]
    fn of_rows_that_finish_at_once_the_one_that_began_last_counts() {
        let rows = smallvec![stage(0, 0, 100), stage(2, 50, 100), stage(1, 50, 100)];
        let timeline = Timeline { end: 100, rows, ..Timeline::default() };
        assert_eq!(path(&timeline), on_path(&[("stage 0", 0, 50), ("stage 1", 50, 100)]));
    }

    #[test]
    fn a_row_that_outlasts_its_request_counts_until_the_end() {
        let rows = smallvec![stage(0, 0, 500), stage(1, 40, 90), stage(2, 120, 300)];
        let timeline = Timeline { end: 100, rows, ..Timeline::default() };
        assert_eq!(path(&timeline), on_path(&[("stage 0", 0, 100)]));
    }

    #[test]
    fn of_two_waits_the_one_whose_stage_begins_first_has_the_time() {
        let timeline = Timeline {
            end: 100,
            queue: 70,
            rows: smallvec![stage(1, 70, 100), stage(2, 90, 95)],
            waits: smallvec![wait(2, 10, 90), wait(1, 40, 70)],
        };
        let expected = [
            ("queue", 0, 10),
            ("waiting for stage 2", 10, 40),
            ("waiting for stage 1", 40, 70),
            ("stage 1", 70, 100),
        ];
        assert_eq!(path(&timeline), on_path(&expected));
    }

    #[test]
    fn a_path_with_a_gap_an_overlap_or_the_time_of_another_row_has_a_flaw() {
        let timeline = Timeline {
            end: 30,
            queue: 10,
            rows: smallvec![stage(0, 10, 20)],
            waits: smallvec![wait(0, 5, 10)],
        };
        let interval = |part, from, to| Interval { part, from, to };
        let (queue, rest) = (interval(Part::Queue, 0, 5), interval(Part::Unattributed, 20, 30));
        let right = [queue, wait(0, 5, 10), stage(0, 10, 20), rest];
        assert_eq!(critical_path(&timeline)[..], right);
        assert_eq!(flaws(&right, &timeline), Vec::<String>::new());
        for (at, wrong) in [
            (0, interval(Part::Queue, 0, 4)),
            (0, interval(Part::Queue, 0, 6)),
            (1, wait(1, 5, 10)),
            (1, wait(0, 5, 5)),
            (2, stage(0, 10, 21)),
            (2, stage(0, 9, 20)),
            (3, interval(Part::Queue, 20, 30)),
            (3, interval(Part::Unattributed, 20, 29)),
        ] {
            let mut path = right;
            path[at] = wrong;
            assert!(!flaws(&path, &timeline).is_empty(), "{path:?}");
        }
    }

    #[test]
    fn parts_of_one_hash_are_told_apart() {
        let [row, other] = [stage(0, 10, 20), wait(7 << 32, 20, 30)];
        assert_eq!(row.part.hash(), other.part.hash());
        let timeline = Timeline { end: 30, queue: 10, rows: smallvec![row], waits: smallvec![other] };
        let queue = Interval { part: Part::Queue, from: 0, to: 10 };
        assert_eq!(flaws(&[queue, row, other], &timeline), Vec::<String>::new());
        let swapped = [queue, Interval { part: other.part, ..row }, Interval { part: row.part, ..other }];
        let flaws = flaws(&swapped, &timeline);
        assert_eq!(flaws.len(), 2, "{flaws:?}");
        assert!(flaws.iter().all(|flaw| flaw.contains("outside of its own time")), "{flaws:?}");
    }

    /// The requests of a log.
    fn requests(log: &str) -> impl Iterator<Item = RequestLine> {
        log.lines().filter_map(|line| match line.parse() {
            Ok(Line::Request(line)) => Some(line),
            _ => None,
        })
    }

    #[test]
    fn what_no_row_accounts_for_is_what_the_layer_measured() {
        let mut lines = 0;
        for line in requests(include_str!("../../tests/data/pipeline.jsonl")) {
            let path = critical_path(&Timeline::of(&line));
            let is_idle = |part| matches!(part, Part::Queue | Part::Waiting(_) | Part::Unattributed);
            let idle: u64 = path.iter().filter(|i| is_idle(i.part)).map(Interval::length).sum();
            assert_eq!(Millis::from_nanos(idle), line.e2e_table.unattributed_time_ms, "{}", line.request_id);
            lines += 1;
        }
        assert_eq!(lines, 40);
    }

    #[test]
    fn the_path_waits_for_the_first_stage_as_long_as_the_layer_measured() {
        let mut waits = 0;
        for line in requests(include_str!("../../tests/data/engine.jsonl")) {
            let timeline = Timeline::of(&line);
            let path = critical_path(&timeline);
            let Some(row) = line.stage_table.iter().find(|row| row.start_ms == line.e2e_table.queue_time_ms)
            else {
                continue;
            };
            assert_eq!(row.events, 1);
            let of_stage = path.iter().filter(|i| i.part == Part::Waiting(row.order()));
            let waited = Millis::from_nanos(of_stage.map(Interval::length).sum());
            assert_eq!(waited, row.waiting_time_ms.unwrap_or_default(), "{}", line.request_id);
            waits += u64::from(waited > Millis::ZERO);
        }
        assert!(waits > 30, "{waits}");
    }

    prop_compose! {
        fn time()(nanos in prop_oneof![2 => (0..60_u64).prop_map(Some), 1 => Just(None)]) -> Option<Millis> {
            nanos.map(Millis::from_nanos)
        }
    }

    prop_compose! {
        fn stage_row()(
            stage_id in prop::option::of(0..4_u64),
            (start_ms, stage_gen_time_ms, queue_time_ms, waiting_time_ms) in (time(), time(), time(), time()),
            events in 0..3_u64,
        ) -> StageRow {
            let row = StageRow { stage_id, start_ms, stage_gen_time_ms, events, ..StageRow::default() };
            StageRow { queue_time_ms, waiting_time_ms, ..row }
        }
    }

    prop_compose! {
        fn transfer_row()(
            ends in (prop::option::of(0..3_u64), prop::option::of(0..3_u64)),
            (start_ms, tx_time_ms, in_flight_time_ms, rx_decode_time_ms) in (time(), time(), time(), time()),
        ) -> TransferRow {
            let (from_stage, to_stage) = ends;
            let row = TransferRow { from_stage, to_stage, start_ms, ..TransferRow::default() };
            TransferRow { tx_time_ms, in_flight_time_ms, rx_decode_time_ms, ..row }
        }
    }

    prop_compose! {
        fn request()(
            (e2e, queue_time_ms) in (0..100_u64, time()),
            stage_table in prop::collection::vec(stage_row(), 0..6),
            transfer_table in prop::collection::vec(transfer_row(), 0..5),
        ) -> RequestLine {
            let e2e_total_ms = Millis::from_nanos(e2e);
            let e2e_table = E2eTable { e2e_total_ms, queue_time_ms, ..E2eTable::default() };
            RequestLine { e2e_table, stage_table, transfer_table, ..RequestLine::default() }
        }
    }

    /// The part of an idle moment, by its definition.
    fn idle_part(timeline: &Timeline, moment: u64) -> Part {
        let covers = |interval: &&Interval| interval.from <= moment && moment < interval.to;
        let waits = timeline.waits.iter().filter(covers);
        let first = waits.min_by_key(|wait| (wait.to, wait.from, wait.part)).map(|wait| wait.part);
        first.unwrap_or(if moment < timeline.queue { Part::Queue } else { Part::Unattributed })
    }

    proptest! {
        #[test]
        fn any_rows_divide_the_time_of_a_request_without_a_rest(line in request()) {
            let timeline = Timeline::of(&line);
            let path = critical_path(&timeline);
            let mut until = 0;
            for interval in &path {
                prop_assert!(interval.from == until && interval.to > until, "{:?}", path);
                until = interval.to;
                for moment in interval.from..interval.to {
                    let runs = |row: &&Interval| row.from <= moment && moment < row.to;
                    let mut running = timeline.rows.iter().filter(runs);
                    let is_right = match interval.part {
                        Part::Queue | Part::Waiting(_) | Part::Unattributed => {
                            running.next().is_none() && interval.part == idle_part(&timeline, moment)
                        }
                        part => running.any(|row| row.part == part),
                    };
                    prop_assert!(is_right, "{moment}: {:?} of {:?}", path, timeline);
                }
            }
            prop_assert_eq!(until, line.e2e_table.e2e_total_ms.as_nanos());
            prop_assert_eq!(flaws(&path, &timeline), Vec::<String>::new());
        }

        #[test]
        fn the_path_leads_to_what_finished_last(line in request()) {
            let timeline = Timeline::of(&line);
            let path = critical_path(&timeline);
            let end = timeline.end;
            let ends = timeline.rows.iter().map(|row| (row.from, row.to.min(end)));
            let last = ends.filter(|(from, to)| from < to).map(|(_, to)| to).max();
            let ran = path.iter().rev().find(|interval| {
                !matches!(interval.part, Part::Queue | Part::Waiting(_) | Part::Unattributed)
            });
            prop_assert_eq!(ran.map(|interval| interval.to), last);
        }
    }
}
