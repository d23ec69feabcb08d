//! What is said below the tables of figures.

use super::{
    Report,
    change::Change,
    comparison::{Comparison, Figure, Measure},
    condition::lacking,
    groups::Group,
    sample::Lack,
    shown::{TOO_WIDE, cells},
    undecided::Undecided,
};
use crate::{cli::sentence::listed, write::columns::grouped};

impl Report {
    /// Which main figures have no interval though the logs are long enough for others, and what decides a
    /// condition on them.
    pub(super) fn without_reach(&self) -> Vec<String> {
        let is_short = |lack: &Option<Lack>| matches!(lack, Some(Lack::Reach(..)));
        let main = self.comparison.figures.iter().filter(|figure| figure.is_main);
        let sentence = |figure: &Figure| {
            let is_rise = figure.change.difference > Some(0.0);
            let decides = figure.bound.as_ref().filter(|bound| bound.is_rise == is_rise);
            let decides = decides.map_or_else(String::new, |bound| {
                format!(" `--fail-if` goes by {} in its place, where that suffices.", bound.figure.name)
            });
            format!("{} has no interval (`-`): {}.{decides}", figure.name, lacking(figure))
        };
        let short = main.filter(|figure| figure.change.lacks.iter().any(is_short)).map(sentence);
        short.chain(self.too_wide()).collect()
    }

    /// What is to be said of the figures without an interval that are not main ones.
    pub(super) fn undecided(&self) -> Option<String> {
        let Comparison { figures, parts, .. } = &self.comparison;
        let figures = figures.iter().filter(|figure| !figure.is_main);
        let figures = figures.map(|figure| (figure.name.clone(), &figure.change, figure.unit));
        let parts = parts.iter().map(|part| (part.named(), &part.change, Measure::Time));
        Undecided::of(figures.chain(parts)).sentence("other figure", "other figures")
    }

    /// What an interval is that is too wide, if one is shown.
    fn too_wide(&self) -> Option<String> {
        let Comparison { figures, parts, .. } = &self.comparison;
        let figures = figures.iter().filter(|figure| figure.is_main).chain(self.changed().shown);
        let figures = figures.map(|figure| (figure.change, figure.unit));
        let parts = parts.iter().map(|part| (part.change, Measure::Time));
        let groups = self.by_group.iter().flat_map(|groups| &groups.groups);
        let groups = groups.flat_map(Group::changes).map(|change| (*change, Measure::Time));
        let is_too_wide = |(change, unit): (Change, Measure)| {
            cells(&change, unit).is_some_and(|[.., interval]| interval == TOO_WIDE)
        };
        figures.chain(parts).chain(groups).any(is_too_wide).then(|| {
            format!(
                "`{TOO_WIDE}`: a figure differs so much within a log that its interval reaches from less \
                 than a fifth to more than five times of what it was. Compare parts of the logs in which it \
                 is steady (--since, --until)."
            )
        })
    }

    /// How many requests have the numbers of these figures, where not all have them.
    pub(super) fn partial<'a>(&self, figures: impl Iterator<Item = &'a Figure>) -> Option<String> {
        let all = [self.before.requests, self.after.requests];
        let mut by_counts = Vec::<([u64; 2], Vec<String>)>::new();
        for figure in figures {
            let (Some(counts), Some((number, _))) = (figure.counts(), figure.number_and_statistic()) else {
                continue;
            };
            if counts == all {
                continue;
            }
            let at = by_counts.iter().position(|(of, _)| *of == counts).unwrap_or(by_counts.len());
            if at == by_counts.len() {
                by_counts.push((counts, Vec::new()));
            }
            let names = by_counts.get_mut(at).map(|(_, names)| names);
            names.into_iter().filter(|names| !names.iter().any(|name| name == number)).for_each(|names| {
                names.push(number.to_owned());
            });
        }
        let text = |(counts, names): ([u64; 2], Vec<String>)| {
            let [before, after] = counts.map(|count| grouped(&count.to_string()));
            format!("{} ({before} before, {after} after)", listed(&names))
        };
        let texts: Vec<_> = by_counts.into_iter().map(text).collect();
        (!texts.is_empty()).then(|| format!("Not all requests have these numbers: {}.", texts.join("; ")))
    }
}
