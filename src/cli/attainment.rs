//! How many requests met their objectives, and how a person reads it.

use std::fmt;

use serde::Serialize;

use super::{
    amount::{amount, decimal},
    sentence::{WIDTH, in_lines, listed},
};
use crate::write::columns::{Cell, Columns, grouped};

/// Why an objective does not count: no request has its stage or edge, if it is named, or else its number.
pub(super) fn sentence(place: Option<&str>, objective: impl fmt::Display) -> String {
    match place {
        Some(place) => format!("No request has {place}, so the objective {objective} does not count."),
        None => format!("No request has a value for {objective}, so this objective does not count."),
    }
}

/// How many requests of a run met the objectives.
#[derive(Debug, Serialize)]
pub(super) struct Attainment {
    /// Requests that met all objectives: they did not fail, and exceed no limit.
    pub(super) met: u64,
    /// Of `met`: requests without a value for at least one objective.
    pub(super) met_without_value: u64,
    /// Requests that failed, or have a value for one of the objectives; 0 if no request has a value.
    pub(super) judged: u64,
    /// Requests that did not fail and broke one objective or more. With `met` and `failed`, all of `judged`.
    pub(super) broke: u64,
    /// `met` / `judged`.
    pub(super) share: Option<f64>,
    pub(super) failed: u64,
    /// Requests that did not fail and have a value for none of the objectives.
    pub(super) unjudged: u64,
    /// `met` in a second of the run's wall time; `None` if no request has a value.
    pub(super) goodput_requests_per_s: Option<f64>,
    /// The tokens of the requests that met all objectives, in a second.
    pub(super) goodput_tokens_per_s: Option<f64>,
    pub(super) each: Vec<Attained>,
}

/// How many requests met one objective.
#[derive(Debug, Serialize)]
pub(super) struct Attained {
    pub(super) objective: String,
    /// Requests that did not fail and are within the limit.
    pub(super) met: u64,
    /// Requests that did not fail and are beyond the limit.
    pub(super) broke: u64,
    /// `met`, `broke`, and all requests that failed; 0 if no request has a value.
    pub(super) judged: u64,
    /// Requests that did not fail and broke this objective alone.
    pub(super) only: u64,
    /// Requests that did not fail and are without the value. With `met`, `broke` and those that failed, they
    /// are all requests.
    pub(super) without_value: u64,
    /// Requests that met all objectives and are without the value.
    pub(super) met_without_value: u64,
    /// The stage or the edge of the objective, if no request has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) missing: Option<String>,
    /// `met` / `judged`.
    pub(super) share: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) wanted: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) is_attained: Option<bool>,
}

impl fmt::Display for Attainment {
    /// A table with a row for each objective, and a sentence about all of them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: Option<f64>| share.map_or("-".to_owned(), percent);
        // What breaks a single objective breaks only this one.
        let are_several = self.each.len() > 1;
        let only = are_several.then_some("only this");
        let heads = ["met", "broke"].into_iter().chain(only);
        let heads = heads.chain(["failed", "no value", "share", "wanted"]);
        let mut table = Columns::titled("Objectives", heads.map(str::to_owned));
        for row in &self.each {
            let wanted = match (row.wanted, row.is_attained) {
                (Some(wanted), Some(true)) => percent(Some(wanted)),
                (Some(wanted), _) => format!("{}, missed", percent(Some(wanted))),
                _ => "-".to_owned(),
            };
            let share = percent(row.share);
            let only = are_several.then_some(Cell::Count(row.only));
            let cells = [Cell::Count(row.met), Cell::Count(row.broke)].into_iter().chain(only);
            let counts = [Cell::Count(self.failed), Cell::Count(row.without_value)];
            let rest = counts.into_iter().chain([Cell::Text(&share), Cell::Text(&wanted)]);
            table.row(&row.objective, cells.chain(rest));
        }
        table.left(6 + usize::from(are_several));
        writeln!(f, "{}", table.fitted(WIDTH))?;
        self.sentences().iter().try_for_each(|sentence| writeln!(f, "{}", in_lines(sentence)))
    }
}

impl Attainment {
    /// The objectives that do not count, a sentence each.
    pub(super) fn missing(&self) -> impl Iterator<Item = String> {
        let missing = self.each.iter().filter(|row| row.judged == 0);
        missing.map(|row| sentence(row.missing.as_deref(), &row.objective))
    }

    /// How many of the requests that met all objectives have no value for some, if any.
    pub(super) fn met_without_value(&self) -> Option<String> {
        let counted = self.each.iter().filter(|row| row.met_without_value > 0 && row.judged > 0);
        let counts = counted.map(|row| {
            let requests = amount(row.met_without_value, "request has", "requests have");
            format!("{requests} no value for {}", row.objective)
        });
        let counts: Vec<_> = counts.collect();
        (!counts.is_empty()).then(|| format!("Of those that met all objectives, {}.", listed(&counts)))
    }

    /// How many requests met all objectives, and the goodput.
    pub(super) fn sentences(&self) -> Vec<String> {
        let count = |count: u64| grouped(&count.to_string());
        let share = self.share.map(|share| format!(" ({})", percent(share))).unwrap_or_default();
        let (met, judged) = (count(self.met), count(self.judged));
        let mut sentences: Vec<_> = self.missing().collect();
        let Some((requests, tokens)) = self.goodput_requests_per_s.zip(self.goodput_tokens_per_s) else {
            sentences.push("So nothing is known of how many requests met all objectives.".to_owned());
            return sentences;
        };
        sentences.extend([
            format!("{met} of {judged} requests met all objectives{share}."),
            format!("Goodput: {} requests and {} tokens a second.", decimal(requests, 3), decimal(tokens, 3)),
        ]);
        if self.each.len() > 1 && self.broke > 0 {
            let requests = amount(self.broke, "request", "requests");
            sentences.push(format!("{requests} broke one objective or more, and count in the row of each."));
        }
        sentences.extend(self.met_without_value());
        if self.failed > 0 {
            let failed = count(self.failed);
            sentences.push(format!("Failed requests, which count as not meeting them: {failed}."));
        }
        if self.unjudged > 0 {
            let unjudged = count(self.unjudged);
            sentences.push(format!("Requests without any of the values, which do not count: {unjudged}."));
        }
        sentences
    }
}

/// A share in percent. Only a share of one is `100 %`, and only a share of zero `0.0 %`.
pub(super) fn percent(share: f64) -> String {
    let tenths = (share * 1e3).round();
    match tenths as u64 {
        1_000 if share < 1.0 => "99.9 %".to_owned(),
        1_000 => "100 %".to_owned(),
        0 if share > 0.0 => "0.1 %".to_owned(),
        _ => format!("{:.1} %", tenths / 10.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_rounded_to_100_or_0_percent_only_if_it_is_that() {
        let shares = [0.0, 0.00001, 0.5, 0.67512, 0.9999, 1.0].map(percent);
        assert_eq!(shares, ["0.0 %", "0.1 %", "50.0 %", "67.5 %", "99.9 %", "100 %"]);
    }
}
