//! What the time of requests was spent on.

use std::{cmp::Reverse, collections::BTreeMap};

use crate::{
    RequestLine,
    cli::{
        critical_path::critical_path,
        groups::shortened,
        parts::BEFORE_STAGES,
        tally::Tally,
        timeline::{self, Timeline},
    },
    model::id::{OrderedId, Shown, unordered},
    write::columns::printable,
};

/// How many colours and how many patterns `style.css` has for stages. The first pattern is none.
const COLOURS: u64 = 6;
const PATTERNS: u64 = 7;
/// How many parts a bar tells apart.
const PARTS: usize = 16;

/// What a request spends time on. The parts that most requests have come first, since a [`Tally`] keeps the
/// smallest ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::cli) enum Part {
    Queue,
    Transfers,
    Unattributed,
    /// For a stage, while nothing of the request ran.
    Waiting(OrderedId),
    Stage(OrderedId),
    /// All that is not told apart.
    Others,
}

impl Part {
    /// The part that the page shows for one of a timeline.
    pub(in crate::cli) fn of(part: timeline::Part) -> Self {
        match part {
            timeline::Part::Queue => Self::Queue,
            timeline::Part::Waiting(stage) => Self::Waiting(stage),
            timeline::Part::Stage(stage) => Self::Stage(stage),
            timeline::Part::Sending(_) | timeline::Part::InFlight(_) | timeline::Part::Receiving(_) => {
                Self::Transfers
            }
            timeline::Part::Unattributed => Self::Unattributed,
        }
    }

    pub(in crate::cli) fn name(self, stages: &StageNames) -> String {
        match self {
            Self::Queue => BEFORE_STAGES.to_owned(),
            Self::Transfers => "transfers".to_owned(),
            Self::Unattributed => "unattributed".to_owned(),
            Self::Waiting(stage) => format!("waiting for {}", stages.of(stage)),
            Self::Stage(stage) => stages.of(stage),
            Self::Others => "other parts".to_owned(),
        }
    }

    /// The name that JSON has.
    pub(super) fn key(self, stages: &StageNames) -> String {
        if self == Self::Queue { "queue".to_owned() } else { self.name(stages) }
    }

    /// The classes of its colour, the same wherever it is shown.
    pub(in crate::cli) fn class(self) -> String {
        match self {
            Self::Queue => "queue".to_owned(),
            Self::Transfers => "transfers".to_owned(),
            Self::Unattributed => "unattributed".to_owned(),
            Self::Waiting(stage) => format!("waiting {}", colour(stage)),
            Self::Stage(stage) => colour(stage),
            Self::Others => "others".to_owned(),
        }
    }

    /// In a short form, for the script: `w2` is the wait for stage 2.
    pub(super) fn code(self) -> String {
        match self {
            Self::Queue => "q".to_owned(),
            Self::Transfers => "t".to_owned(),
            Self::Unattributed => "u".to_owned(),
            Self::Waiting(stage) => format!("w{}", Shown(unordered(stage))),
            Self::Stage(stage) => format!("s{}", Shown(unordered(stage))),
            Self::Others => "o".to_owned(),
        }
    }

    /// Where it stands among the parts of a bar: a stage after the wait for it.
    pub(in crate::cli) fn order(self) -> (u8, OrderedId, u8) {
        match self {
            Self::Queue => (0, 0, 0),
            Self::Waiting(stage) => (1, stage, 0),
            Self::Stage(stage) => (1, stage, 1),
            Self::Others => (2, 0, 0),
            Self::Transfers => (3, 0, 0),
            Self::Unattributed => (4, 0, 0),
        }
    }
}

/// The classes of a stage: its colour, and its pattern.
fn colour(stage: OrderedId) -> String {
    let Some(id) = unordered(stage) else { return format!("stage-{COLOURS}") };
    match id / COLOURS % PATTERNS {
        0 => format!("stage-{}", id % COLOURS),
        pattern => format!("stage-{} pattern-{pattern}", id % COLOURS),
    }
}

/// What one request spent its time on, in nanoseconds, which add up to its time.
pub(super) fn spent(line: &RequestLine) -> Vec<(Part, u64)> {
    let path = critical_path(&Timeline::of(line));
    path.iter().map(|interval| (Part::of(interval.part), interval.length())).collect()
}

/// The times of many requests, by part.
#[derive(Debug, Clone, Default)]
pub(super) struct Spent {
    pub(super) requests: u64,
    parts: Tally<Part>,
}

impl Spent {
    pub(super) fn add(&mut self, parts: &[(Part, u64)], weight: u64) {
        self.requests += weight;
        parts.iter().for_each(|(part, time)| self.parts.add(part, u128::from(*time) * u128::from(weight)));
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.parts.merge(&other.parts);
    }

    /// The parts in order, with the sum of their times in nanoseconds.
    pub(super) fn parts(&self) -> Vec<(Part, u128)> {
        let rest = (self.parts.rest > 0).then_some((Part::Others, self.parts.rest));
        let mut parts: Vec<_> = self.parts.iter().map(|(part, time)| (*part, time)).chain(rest).collect();
        parts.sort_unstable_by_key(|(part, _)| part.order());
        parts
    }

    /// The parts with the most time, in order; if there are more, the last one is the others.
    pub(super) fn told_apart(&self) -> Vec<Part> {
        let mut parts = self.parts();
        parts.retain(|(_, time)| *time > 0);
        if parts.len() > PARTS {
            parts.retain(|(part, _)| *part != Part::Others);
            parts.sort_by_key(|(_, time)| Reverse(*time));
            parts.truncate(PARTS);
            parts.sort_unstable_by_key(|(part, _)| part.order());
            parts.push((Part::Others, 0));
        }
        parts.into_iter().map(|(part, _)| part).collect()
    }

    /// The times of parts, of which the last one may be the others: it has all that is left.
    pub(super) fn times<'a>(&self, parts: &'a [Part]) -> impl Iterator<Item = (Part, u128)> + use<'_, 'a> {
        let mut left = self.total();
        parts.iter().map(move |part| {
            let known = self.parts.iter().find(|(known, _)| *known == part).map_or(0, |(_, time)| time);
            let time = if *part == Part::Others { left } else { known };
            left = left.saturating_sub(time);
            (*part, time)
        })
    }

    /// The sum of all parts, in nanoseconds.
    pub(super) fn total(&self) -> u128 {
        self.parts.rest + self.parts.iter().map(|(_, time)| time).sum::<u128>()
    }

    /// A time in milliseconds a request.
    pub(super) fn each_ms(&self, time: u128) -> f64 {
        time as f64 / self.requests.max(1) as f64 / 1e6
    }
}

/// The names of stages: of several that one stage had, the first by the alphabet.
#[derive(Debug, Default)]
pub(in crate::cli) struct StageNames(BTreeMap<OrderedId, Option<String>>);

impl StageNames {
    const LIMIT: usize = 256;

    pub(super) fn add(&mut self, line: &RequestLine) {
        line.stage_table.iter().for_each(|row| self.add_name(row.order(), row.stage_name.as_deref()));
    }

    pub(super) fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|(stage, name)| self.add_name(*stage, name.as_deref()));
    }

    fn add_name(&mut self, stage: OrderedId, name: Option<&str>) {
        let known = self.0.entry(stage).or_default();
        if let Some(name) = name
            && known.as_deref().is_none_or(|known| name < known)
        {
            *known = Some(name.to_owned());
        }
        if self.0.len() > Self::LIMIT {
            self.0.pop_last();
        }
    }

    /// The parts that belong to the stages.
    pub(super) fn parts(&self) -> impl Iterator<Item = Part> {
        self.0.keys().flat_map(|stage| [Part::Waiting(*stage), Part::Stage(*stage)])
    }

    /// The name of a stage, with its id.
    pub(super) fn of(&self, stage: OrderedId) -> String {
        let id = Shown(unordered(stage));
        match self.0.get(&stage) {
            Some(Some(name)) => format!("{id} {}", shortened(&printable(name))),
            _ => format!("stage {id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{E2eTable, Millis, StageRow};

    fn named(name: Option<&str>) -> RequestLine {
        let row = StageRow {
            stage_id: Some(7),
            stage_name: name.map(str::to_owned),
            start_ms: Some(Millis::from_nanos(40)),
            queue_time_ms: Some(Millis::from_nanos(30)),
            stage_gen_time_ms: Some(Millis::from_nanos(50)),
            ..StageRow::default()
        };
        let (e2e_total_ms, queue_time_ms) = (Millis::from_nanos(100), Some(Millis::from_nanos(40)));
        let e2e_table = E2eTable { e2e_total_ms, queue_time_ms, ..E2eTable::default() };
        RequestLine { e2e_table, stage_table: vec![row], sample_rate: Some(2), ..RequestLine::default() }
    }

    #[test]
    fn the_parts_of_a_request_add_up_to_its_time_as_often_as_its_line_counts() {
        let mut sum = Spent::default();
        let line = named(None);
        sum.add(&spent(&line), line.weight());
        let parts: Vec<_> = sum.parts().into_iter().map(|(part, time)| (part.code(), time)).collect();
        let expected = [("q", 20), ("w7", 60), ("s7", 100), ("u", 20)];
        assert_eq!(parts, expected.map(|(code, time)| (code.to_owned(), time)));
        assert_eq!((sum.total(), sum.requests, sum.each_ms(200_000_000)), (200, 2, 100.0));
    }

    #[test]
    fn no_time_is_lost_however_many_parts_there_are() {
        let mut spent = Spent::default();
        for stage in 0..60 {
            spent.add(&[(Part::Stage(stage), stage as u64 + 1)], 1);
        }
        let parts = spent.told_apart();
        assert_eq!((parts.len(), parts.last()), (PARTS + 1, Some(&Part::Others)));
        let times: Vec<_> = spent.times(&parts).map(|(_, time)| time).collect();
        assert_eq!(
            (times.iter().sum::<u128>(), times[0], times[PARTS]),
            ((1..=60).sum(), 45, (1..=44).sum())
        );
        spent = Spent::default();
        (0..60).for_each(|stage| spent.add(&[(Part::Stage(stage), 1)], 1));
        assert_eq!(spent.told_apart().len(), PARTS + 1, "also where all have the same time");
        spent = Spent::default();
        spent.add(&[(Part::Queue, 5), (Part::Transfers, 0)], 1);
        assert_eq!(spent.told_apart(), [Part::Queue]);
    }

    #[test]
    fn forty_stages_look_different() {
        let classes: std::collections::BTreeSet<_> = (0..40).map(|id| Part::Stage(id).class()).collect();
        assert_eq!((classes.len(), &*Part::Stage(1).class()), (40, "stage-1"));
        assert_eq!(Part::Waiting(20).class(), "waiting stage-2 pattern-3");
    }

    #[test]
    fn a_stage_has_one_name_whatever_the_order_of_the_lines() {
        let (mut one, mut other) = (StageNames::default(), StageNames::default());
        [Some("b\u{202e}"), None, Some("c")].into_iter().for_each(|name| one.add(&named(name)));
        other.add(&named(None));
        assert_eq!((one.of(7), other.of(7)), ("7 b\\u{202e}".to_owned(), "stage 7".to_owned()));
        other.merge(&one);
        assert_eq!((other.of(7), other.of(u128::MAX)), (one.of(7), "stage none".to_owned()));
    }
}
