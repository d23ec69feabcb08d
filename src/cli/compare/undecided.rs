//! Figures of which it is not known whether they changed.

use super::{
    blocks::ENOUGH,
    change::{Change, NoInterval},
    comparison::Measure,
    sample::BEYOND,
    shown::{cells, from_to},
};
use crate::cli::{amount::amount, sentence::listed};

/// How many of them are named.
const NAMED: usize = 3;

/// The figures without an interval, by the reason.
#[derive(Debug, Default)]
pub(super) struct Undecided {
    missing: usize,
    few_blocks: usize,
    few_reach_it: usize,
    /// Those that differ most, times before ratios.
    most: Vec<Differing>,
}

/// A figure, and how much it differs.
#[derive(Debug)]
struct Differing {
    name: String,
    change: Change,
    unit: Measure,
}

impl Differing {
    fn size(&self) -> (bool, f64) {
        (self.unit == Measure::Time, self.change.difference.unwrap_or_default().abs())
    }
}

impl Undecided {
    /// Of figures with their names, those that have a row in a table and no interval.
    pub(super) fn of<'a>(figures: impl Iterator<Item = (String, &'a Change, Measure)>) -> Self {
        let mut found = Self::default();
        for (name, change, unit) in figures.filter(|(_, change, unit)| cells(change, *unit).is_some()) {
            match change.no_interval {
                None => continue,
                Some(NoInterval::Missing) => found.missing += 1,
                Some(NoInterval::FewBlocks) => found.few_blocks += 1,
                Some(NoInterval::FewReachIt) => found.few_reach_it += 1,
            }
            if change.difference.is_some_and(|difference| difference != 0.0) {
                found.most.push(Differing { name, change: *change, unit });
            }
        }
        found.most.sort_by(|one, other| {
            let ((is_time, size), (is_other, most)) = (one.size(), other.size());
            is_other.cmp(&is_time).then(most.total_cmp(&size))
        });
        found.most.truncate(NAMED);
        found
    }

    pub(super) fn count(&self) -> usize {
        self.missing + self.few_blocks + self.few_reach_it
    }

    /// Why they have no interval, and which of them differ most, if there are any. They are called `one` or
    /// `many`.
    pub(super) fn sentence(&self, one: &str, many: &str) -> Option<String> {
        let reasons = [
            (self.missing, "in only one of the logs".to_owned()),
            (self.few_blocks, format!("of a log with requests in fewer than {ENOUGH} blocks of time")),
            (self.few_reach_it, format!("reached by requests in fewer than {BEYOND} blocks of time")),
        ];
        let reasons = reasons.iter().filter(|(count, _)| *count > 0);
        let reasons: Vec<_> =
            reasons.map(|(count, why)| format!("{} {why}", amount(*count as u64, "is", "are"))).collect();
        let most = self.most.iter().filter_map(|Differing { name, change, unit }| {
            Some(format!("{name}, {}", from_to(change, *unit)?))
        });
        let most: Vec<_> = most.collect();
        let most = match most.len() {
            0 => String::new(),
            1 => format!(" The largest difference among those that both logs have: {}.", most.concat()),
            _ => format!(" The largest differences among those that both logs have: {}.", most.join("; ")),
        };
        let count = self.count() as u64;
        (count > 0).then(|| {
            format!(
                "It is not known whether {} changed, since {} no interval: {}.{most}",
                amount(count, one, many),
                if count == 1 { "it has" } else { "they have" },
                listed(&reasons),
            )
        })
    }
}
