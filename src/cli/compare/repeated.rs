//! Figures that say the same as another one.

use super::{
    change::Change,
    comparison::{Comparison, Figure, PartOfTime},
    metric::Place,
};
use crate::cli::timeline::Part;

/// Figures that differ by at most this part of the larger one, in both logs, say the same. Percentiles are as
/// exact as that.
const SAME: f64 = 0.01;

/// The figures that changed and are not main ones.
pub(super) struct Changed<'a> {
    pub(super) shown: Vec<&'a Figure>,
    /// Those that say the same as a main figure, a part of the time or a figure that is shown, with its name.
    repeated: Vec<(&'a Figure, &'a str)>,
}

/// A figure that is shown.
struct Known<'a> {
    name: &'a str,
    statistic: &'a str,
    place: Place,
    change: &'a Change,
}

impl<'a> Changed<'a> {
    pub(super) fn of(comparison: &'a Comparison) -> Self {
        let main = comparison.figures.iter().filter(|figure| figure.is_main);
        let mut known: Vec<_> = main.filter_map(Known::of).collect();
        known.extend(comparison.parts.iter().filter_map(Known::of_part));
        let (mut shown, mut repeated) = (Vec::new(), Vec::new());
        let has_changed = |figure: &&Figure| !figure.is_main && figure.change.is_changed == Some(true);
        for figure in comparison.figures.iter().filter(has_changed) {
            let this = Known::of(figure);
            match this.as_ref().and_then(|this| known.iter().find(|known| this.repeats(known))) {
                Some(other) => repeated.push((figure, other.name)),
                None => {
                    shown.push(figure);
                    known.extend(this);
                }
            }
        }
        Self { shown, repeated }
    }

    /// What is left out, if there is something.
    pub(super) fn sentence(&self) -> Option<String> {
        let names = self.repeated.iter().map(|(figure, name)| format!("{} ({name})", figure.name));
        let names: Vec<_> = names.collect();
        (!names.is_empty()).then(|| {
            format!(
                "Changed too, and left out, since each is within {:.0} % of the figure in parentheses in \
                 both logs: {}.",
                SAME * 100.0,
                names.join(", ")
            )
        })
    }
}

impl<'a> Known<'a> {
    fn of(figure: &'a Figure) -> Option<Self> {
        let (_, statistic) = figure.number_and_statistic()?;
        Some(Self { name: &figure.name, statistic, place: figure.place?, change: &figure.change })
    }

    fn of_part(part: &'a PartOfTime) -> Option<Self> {
        let place = match part.kind? {
            Part::Queue | Part::Unattributed => Place::Request,
            Part::Waiting(stage) | Part::Stage(stage) => Place::Stage(stage),
            Part::Sending(edge) | Part::InFlight(edge) | Part::Receiving(edge) => Place::Edge(edge),
        };
        Some(Self { name: &part.part, statistic: "mean", place, change: &part.change })
    }

    /// Whether this says the same as another figure. Figures of two stages never do: that they are equal is
    /// worth knowing.
    fn repeats(&self, other: &Self) -> bool {
        let of_one_place = self.place == other.place || [self.place, other.place].contains(&Place::Request);
        let is_close = |one: Option<f64>, other: Option<f64>| match (one, other) {
            (Some(one), Some(other)) => (one - other).abs() <= SAME * one.abs().max(other.abs()),
            (one, other) => one.is_none() && other.is_none(),
        };
        self.statistic == other.statistic
            && of_one_place
            && is_close(self.change.before, other.change.before)
            && is_close(self.change.after, other.change.after)
    }
}
