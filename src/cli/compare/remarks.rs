//! What is said below the tables of figures.

use super::{Report, comparison::Figure, condition::lacking, sample::Lack};
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
        main.filter(|figure| figure.change.lacks.iter().any(is_short)).map(sentence).collect()
    }

    /// How many requests have the numbers of these figures, where not all have them.
    pub(super) fn partial<'a>(&self, figures: impl Iterator<Item = &'a Figure>) -> Option<String> {
        let all = [self.before.requests, self.after.requests];
        let mut by_counts = Vec::<([u64; 2], Vec<String>)>::new();
        for figure in figures {
            let (Some(counts), Some((number, _))) = (figure.counts(), figure.name.rsplit_once('.')) else {
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
