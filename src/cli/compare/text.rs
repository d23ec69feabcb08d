//! A comparison as text.

use std::ops::Range;

use super::{
    Log, Report,
    blocks::ENOUGH,
    change::Change,
    comparison::{Figure, Measure, PartOfTime},
    condition::sentences,
    counts::Counts,
    groups::{ByGroup, Group},
    repeated::Changed,
    shown::{HEADS, cells, difference},
};
use crate::{
    cli::{
        amount::amount,
        groups::shortened,
        sentence::{WIDTH, in_lines},
        timeline::Part,
    },
    model::id::unordered,
    write::columns::{Cell, Columns, grouped, id, printable},
};

/// The column of a table of figures that says what others also say, and those of a table of groups.
const DIFFERENCE: Range<usize> = 2..3;
const COUNTS: Range<usize> = 1..3;

impl Report {
    pub(super) fn text(&self, is_all: bool) -> String {
        let mut text = String::new();
        self.unjoined.iter().for_each(|sentence| text += &format!("{}\n\n", in_lines(sentence)));
        text += &format!("Before: {}\nAfter:  {}\n\n", self.before.text(), self.after.text());
        self.conclusion().iter().for_each(|sentences| text += &format!("{}\n", in_lines(sentences)));
        text.push('\n');
        self.notes().for_each(|sentence| text += &format!("{}\n\n", in_lines(&sentence)));
        let figures = || self.comparison.figures.iter();
        text += &format!("{}\n\n", table("Figure", figures().filter(|figure| figure.is_main)));
        for sentence in self.without_reach() {
            text += &format!("{}\n\n", in_lines(&sentence));
        }
        let (others, changed) = (|| figures().filter(|figure| !figure.is_main), self.changed());
        let (title, shown) = match is_all {
            true => ("Other figures", others().collect()),
            false => ("Changed as well", changed.shown.clone()),
        };
        if !shown.is_empty() {
            text += &format!("{}\n\n", table(title, shown.iter().copied()));
        }
        if let Some(sentence) = self.partial(shown.into_iter()) {
            text += &format!("{}\n\n", in_lines(&sentence));
        }
        for sentence in changed.sentence().filter(|_| !is_all).into_iter().chain(self.undecided()) {
            text += &format!("{}\n\n", in_lines(&sentence));
        }
        text += &format!("{}\n\n", parts(&self.comparison.parts, self.comparison.figure("e2e.mean")));
        if let Some(groups) = &self.by_group {
            text += &format!("{}\n\n", by_group(groups, is_all));
            for note in groups.notes(is_all) {
                text += &format!("{}\n\n", in_lines(&note));
            }
        }
        let same = others().filter(|figure| !is_all && figure.change.is_changed != Some(true)).count();
        if same > 0 {
            let hidden = amount(same as u64, "more figure is", "more figures are");
            text += &format!("{hidden} not known to have changed; `--all` shows all figures.\n");
        }
        for sentence in sentences(&self.conditions) {
            text += &format!("{}\n", in_lines(&sentence));
        }
        text
    }

    /// The figures that changed, without the main ones.
    pub(super) fn changed(&self) -> Changed<'_> {
        Changed::of(&self.comparison)
    }

    /// What must be known of each log.
    pub(super) fn notes(&self) -> impl Iterator<Item = String> {
        self.without_intervals().chain(self.of_logs())
    }

    /// Which of the logs has no intervals.
    fn without_intervals(&self) -> impl Iterator<Item = String> {
        let short = [&self.before, &self.after].into_iter().filter(|log| log.blocks < ENOUGH);
        short.map(|log| {
            format!(
                "{} spans too little time for intervals: requests ended in {} of {:.0} ms, and {ENOUGH} are \
                 needed.",
                printable(&log.files),
                amount(log.blocks as u64, "block", "blocks"),
                log.block_ms,
            )
        })
    }

    /// Which of the logs has requests that met all objectives, but have no value for some, and which covers
    /// time without a selected request.
    fn of_logs(&self) -> impl Iterator<Item = String> {
        let logs = [&self.before, &self.after].into_iter();
        logs.flat_map(|log| {
            let notes = log.note.iter().chain(&log.on_rates);
            notes.map(|note| format!("{}: {note}", printable(&log.files)))
        })
    }

    /// What changed, and how sure that is, a sentence or a few in each paragraph.
    pub(super) fn conclusion(&self) -> Vec<String> {
        let [main, others] = [true, false].map(|is_main| Counts::of(&self.comparison, is_main));
        let (of_main, of_others) = (main.of_all("main figures"), others.of_all("others"));
        let mut text = match (main.changed, others.changed) {
            _ if main.is_unknown() && others.is_unknown() => "No change can be told from chance.".to_owned(),
            (0, 0) => format!("None of {of_main} and of {of_others} changed by more than chance explains."),
            (changed, also) => format!(
                "* Changed: {changed} of {of_main}, and {also} of {of_others}. In each of the two sets, the \
                 probability that chance marks any figure is at most 5 %."
            ),
        };
        if main.has_changed_alone || others.has_changed_alone {
            text += " An interval is that of one figure alone, so it may not contain \"no change\" though \
                     the figure has no mark.";
        }
        let of_groups = self.by_group.as_ref().map(ByGroup::conclusion);
        let of_parts = self.most_of_it().unwrap_or_default();
        [text].into_iter().chain(of_parts).chain(of_groups).collect()
    }

    /// Which part of the time differs most, if any part has changed. That part may differ by chance.
    fn most_of_it(&self) -> Option<Vec<String>> {
        let parts = &self.comparison.parts;
        let is_changed = |part: &PartOfTime| part.change.is_changed == Some(true);
        if !parts.iter().any(is_changed) {
            return None;
        }
        let with_time = parts.iter().filter_map(|part| Some((part, part.change.difference?)));
        let (part, time) = with_time.max_by(|(_, one), (_, other)| one.abs().total_cmp(&other.abs()))?;
        let whole = &self.comparison.figure("e2e.mean")?.change;
        let unbroken = |change| Some(difference(change, Measure::Time)?.replace(' ', "\u{a0}"));
        let most = format!(
            "The mean time end to end changed by {}; of its parts, {} changed most, by {}.",
            unbroken(whole)?,
            printable(&part.named()),
            unbroken(&part.change)?,
        );
        let (doubt, earlier) = (self.doubt(&part.change), self.earlier_stage(part, time));
        Some([most].into_iter().chain(doubt).chain(earlier).collect())
    }

    /// Why the change of a part may be chance, unless it is known to have changed.
    fn doubt(&self, change: &Change) -> Option<String> {
        match change.is_changed {
            Some(true) => None,
            _ if change.is_changed_alone() => Some(format!(
                "The change of this part may be chance: it is not marked. Its interval does not contain \
                 \"no change\", but of {} intervals, some do not by chance.",
                Counts::of(&self.comparison, false).known(),
            )),
            _ => Some("The change of this part may be chance.".to_owned()),
        }
    }

    /// The earlier stage whose own time changed most, if as much as half of the part of a later stage. A
    /// later stage may wait for each output of an earlier one, and is then on the critical path in its place.
    fn earlier_stage(&self, part: &PartOfTime, time: f64) -> Option<String> {
        let Some(Part::Stage(stage)) = part.kind else { return None };
        let earlier = self.comparison.parts.iter().filter_map(|part| match part.kind {
            Some(Part::Stage(other)) if other < stage => Some((part, other)),
            _ => None,
        });
        let changes = earlier.filter_map(|(part, other)| {
            let figure = self.comparison.figure(&format!("gen@{}.mean", id(unordered(other))))?;
            let along = figure.change.difference? * time.signum();
            (figure.change.is_changed == Some(true) && along >= time.abs() / 2.0)
                .then_some((along, part, figure))
        });
        let (_, earlier, figure) = changes.max_by(|(one, ..), (other, ..)| one.total_cmp(other))?;
        Some(format!(
            "{} comes before it, and its own time ({}) changed by {}. If the stages stream, the \
             earlier one may be the cause.",
            capital(&printable(&earlier.named())),
            figure.name,
            difference(&figure.change, Measure::Time)?,
        ))
    }
}

/// The text with a capital at its beginning.
fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

impl Log {
    pub(super) fn text(&self) -> String {
        let requests = match self.requests {
            1 => "1 request".to_owned(),
            requests => format!("{} requests", grouped(&requests.to_string())),
        };
        let lines = grouped(&self.lines.to_string());
        let sampled =
            if self.lines < self.requests { format!(" (from {lines} lines)") } else { String::new() };
        format!("{requests}{sampled} of {}", printable(&self.files))
    }
}

fn table<'a>(title: &str, figures: impl Iterator<Item = &'a Figure>) -> String {
    let rows = figures.filter_map(|figure| row(&named(figure), &figure.change, figure.unit));
    fitted(title, &HEADS, &rows.collect::<Vec<_>>(), DIFFERENCE)
}

/// A table of rows, the name of each before its cells. If it is too wide, it lacks the columns in `less`.
fn fitted(title: &str, heads: &[&str], rows: &[Vec<String>], less: Range<usize>) -> String {
    let columns = |less: &Range<usize>| {
        let is_in = |at: &usize| !less.contains(at);
        let heads = heads.iter().enumerate().filter(|(at, _)| is_in(at)).map(|(_, head)| (*head).to_owned());
        let mut table = Columns::titled(title, heads);
        for (name, cells) in rows.iter().filter_map(|row| row.split_first()) {
            let cells = cells.iter().enumerate().filter(|(at, _)| is_in(at));
            table.row(name, cells.map(|(_, cell)| Cell::Text(cell)));
        }
        table
    };
    let whole = columns(&(0..0));
    if whole.width() <= WIDTH { whole.to_string() } else { columns(&less).fitted(WIDTH) }
}

/// The name of a figure, with its unit.
pub(super) fn named(figure: &Figure) -> String {
    let unit = if figure.unit == Measure::Time { " ms" } else { "" };
    format!("{}{unit}", figure.name)
}

/// The mean time of a request in each part, and the whole, which is the sum.
fn parts(parts: &[PartOfTime], whole: Option<&Figure>) -> String {
    let rows = parts.iter().filter_map(|part| row(&part.named(), &part.change, Measure::Time));
    let whole = whole.and_then(|whole| row("end to end", &whole.change, Measure::Time));
    let rows: Vec<_> = rows.chain(whole).collect();
    fitted("Time of a request, ms", &HEADS, &rows, DIFFERENCE)
}

fn by_group(groups: &ByGroup, is_all: bool) -> String {
    let shown = groups.shown(is_all).into_iter();
    let rows: Vec<_> = shown.flat_map(Group::rows).map(Vec::from).collect();
    fitted(groups.name(), &groups.heads(), &rows, COUNTS)
}

impl ByGroup {
    /// What the cells of a row say.
    pub(super) fn heads(&self) -> [&'static str; 7] {
        ["time, ms", self.counted(), "and after", "before", "after", "change", "95 % interval"]
    }
}

impl Group {
    /// The name and the cells of its rows, one for each percentile.
    pub(super) fn rows(&self) -> impl Iterator<Item = [String; 8]> {
        let counts = self.counts.map(|count| grouped(&count.to_string()));
        self.percentiles().filter_map(move |(number, percent, change)| {
            let [before, after] = counts.clone();
            let [old, new, _, ratio, interval] = cells(change, Measure::Time)?;
            let time = format!("{number} {percent}{}", mark(change));
            Some([shortened(&self.group).into_owned(), time, before, after, old, new, ratio, interval])
        })
    }
}

/// The name of a figure and its cells, if it has some.
fn row(name: &str, change: &Change, unit: Measure) -> Option<Vec<String>> {
    let name = format!("{name}{}", mark(change));
    Some([name].into_iter().chain(cells(change, unit)?).collect())
}

fn mark(change: &Change) -> &'static str {
    if change.is_changed == Some(true) { " *" } else { "" }
}
