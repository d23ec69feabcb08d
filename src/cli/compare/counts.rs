//! How many figures changed.

use super::{
    comparison::{Comparison, Measure},
    shown::cells,
};
use crate::cli::amount::amount;

/// How many figures have a row in the tables, how many of them changed, and how many have no interval.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counts {
    all: usize,
    /// Without an interval, so that it is not known whether they changed.
    unknown: usize,
    pub(super) changed: usize,
    /// An interval excludes *no change*, and its figure is not known to have changed.
    pub(super) has_changed_alone: bool,
}

impl Counts {
    /// Of the main figures, or of the others and of the parts.
    pub(super) fn of(comparison: &Comparison, is_main: bool) -> Self {
        let figures = comparison.figures.iter().filter(|figure| figure.is_main == is_main);
        let figures = figures.map(|figure| (&figure.change, figure.unit));
        let parts = comparison.parts.iter().filter(|_| !is_main).map(|part| (&part.change, Measure::Time));
        let shown = figures.chain(parts).filter(|(change, unit)| cells(change, *unit).is_some());
        shown.fold(Self::default(), |counts, (change, _)| Self {
            all: counts.all + 1,
            unknown: counts.unknown + usize::from(change.is_changed.is_none()),
            changed: counts.changed + usize::from(change.is_changed == Some(true)),
            has_changed_alone: counts.has_changed_alone || change.is_changed_alone(),
        })
    }

    /// How many figures have an interval.
    pub(super) fn known(&self) -> usize {
        self.all - self.unknown
    }

    /// Whether nothing is known of any figure.
    pub(super) fn is_unknown(&self) -> bool {
        self.known() == 0
    }

    /// How many figures there are, and how many of them have no interval.
    pub(super) fn of_all(&self, name: &str) -> String {
        let none = match self.unknown {
            0 => String::new(),
            unknown => format!(" ({} no interval)", amount(unknown as u64, "has", "have")),
        };
        format!("{} {name}{none}", self.all)
    }
}
