//! The figures of groups, as a text table, as JSON, and as CSV.

use std::{cmp::Reverse, collections::BTreeMap, io::Write, slice};

use serde::Serialize;

use super::{By, Group, Grouping, Name, Percent, REST, figures::Figures, heading::moment, shortened};
use crate::{
    Millis, Timestamp,
    cli::{
        amount::decimal,
        attainment::{Attainment, percent},
        failure::Result,
        percentile_table::short,
        records::Records,
        sentence::WIDTH,
    },
    write::columns::{ABSENT, Cell, Columns},
};

/// A time whose percentiles are shown: its name, and a short one for the head of a column.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct Figure {
    pub(in crate::cli) name: &'static str,
    pub(super) short: &'static str,
    pub(in crate::cli) shown: Shown,
}

/// Which percentiles of a time the text table shows.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) enum Shown {
    All,
    First,
    Last,
}

impl Shown {
    pub(in crate::cli) fn of(self, percents: &[Percent]) -> &[Percent] {
        let ends = match self {
            Self::All => return percents,
            Self::First => percents.split_first().map(|(first, _)| first),
            Self::Last => percents.split_last().map(|(last, _)| last),
        };
        ends.map_or(&[], slice::from_ref)
    }
}

/// The groups of a log, as they are shown.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "groups")]
pub(in crate::cli) struct GroupTable {
    #[serde(flatten)]
    pub(in crate::cli) rows: GroupRows,
    /// Rows of workers that are in no request, if requests are counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    rows_of_workers: Option<u64>,
    /// The names of the keys.
    #[serde(skip)]
    keys: Vec<String>,
    #[serde(skip)]
    pub(super) times: Vec<Figure>,
    #[serde(skip)]
    percents: Vec<Percent>,
    #[serde(skip)]
    remarks: Vec<String>,
    #[serde(skip)]
    pub(super) on_several_logs: Option<String>,
    #[serde(skip)]
    pub(super) on_rates: Option<String>,
    /// The objectives for which no request has a value, a sentence each.
    #[serde(skip)]
    pub(in crate::cli) missing: Vec<String>,
}

/// What JSON has of the groups.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct GroupRows {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) by: Option<String>,
    /// The length of the stretches of time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) every_ms: Option<f64>,
    /// What is counted: `requests`, or `stage_rows`.
    pub(in crate::cli) counted: &'static str,
    pub(super) groups: Vec<Row>,
}

#[derive(Debug, Serialize)]
pub(in crate::cli) struct Row {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) group: Option<String>,
    /// Of `others`, the group of the slowest request or row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) slowest_group: Option<String>,
    /// The value of each key.
    #[serde(skip)]
    parts: Vec<String>,
    /// How much of the stretch the log covers, in milliseconds, if not all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) covered_ms: Option<f64>,
    pub(in crate::cli) count: u64,
    pub(in crate::cli) per_s: Option<f64>,
    failed: u64,
    pub(in crate::cli) failed_share: Option<f64>,
    tokens: u64,
    tokens_per_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    objectives: Option<Attainment>,
    #[serde(flatten)]
    pub(super) times: BTreeMap<&'static str, Option<Times>>,
}

/// One of the times, in milliseconds.
#[derive(Debug, Serialize)]
pub(super) struct Times {
    count: u64,
    mean: f64,
    #[serde(flatten)]
    percentiles: BTreeMap<String, f64>,
    pub(super) max: f64,
}

impl GroupTable {
    pub(super) fn new(
        grouping: &Grouping,
        width: u64,
        span: (u64, u64),
        groups: Vec<Group<Figures>>,
        times: Vec<Figure>,
        percents: &[Percent],
    ) -> Self {
        let row = |group: Group<Figures>| Row::of(group, span, &times, percents);
        let remarks = grouping.remarks(width);
        let names = || groups.iter().filter_map(|group| group.name.as_ref());
        let on_several_logs = grouping.by.as_ref().and_then(|by| by.on_several_logs(names()));
        let mut rows = Vec::new();
        for group in groups {
            // Where nothing has ended, there is a row of zeros, unless each row has a name.
            if let (Some((start, _)), None) = (group.stretch, &grouping.by) {
                let next = rows.last().and_then(|row: &Row| row.until).map_or(start, Timestamp::unix_micros);
                let empty = |start: u64| Group {
                    stretch: Some((start, start.saturating_add(width))),
                    name: None,
                    is_rest: false,
                    value: Figures::default(),
                };
                let starts = std::iter::successors(Some(next), |start| start.checked_add(width));
                rows.extend(starts.take_while(|next| *next < start).map(|next| row(empty(next))));
            }
            rows.push(row(group));
        }
        Self {
            rows: GroupRows {
                by: grouping.by.as_ref().map(ToString::to_string),
                every_ms: grouping.width.map(|_| width as f64 / 1e3),
                counted: if grouping.is_of_stages() { "stage_rows" } else { "requests" },
                groups: rows,
            },
            rows_of_workers: None,
            keys: grouping.by.iter().flat_map(By::names).collect(),
            times,
            percents: percents.to_vec(),
            remarks,
            on_several_logs,
            on_rates: None,
            missing: Vec::new(),
        }
    }

    pub(super) fn with_missing(self, missing: Vec<String>) -> Self {
        Self { missing, ..self }
    }

    pub(super) fn with_note_on_rates(self, on_rates: Option<String>) -> Self {
        Self { on_rates, ..self }
    }

    pub(in crate::cli) fn with_rows_of_workers(self, rows: u64) -> Self {
        Self { rows_of_workers: (rows > 0).then_some(rows), ..self }
    }

    /// The rows with the most requests come first, and the rest last.
    pub(in crate::cli) fn busiest_first(&self) -> Vec<&Row> {
        let mut rows: Vec<_> = self.rows.groups.iter().collect();
        rows.sort_by_key(|row| (row.group.as_deref() == Some(REST), Reverse(row.count)));
        rows
    }

    /// The short name of the first time of the table.
    pub(in crate::cli) fn first_time(&self) -> Option<&'static str> {
        self.times.first().map(|time| time.short)
    }

    /// A percentile of the first time in a row, in milliseconds.
    pub(in crate::cli) fn percentile(&self, row: &Row, percent: Percent) -> Option<f64> {
        let times = row.times.get(self.times.first()?.name)?.as_ref()?;
        times.percentiles.get(&percent.to_string()).copied()
    }

    fn has_objectives(&self) -> bool {
        self.rows.groups.iter().any(|row| row.objectives.is_some())
    }

    /// Why there is no group, if there is none.
    pub(in crate::cli) fn why_empty(&self) -> Option<&'static str> {
        let why = match self.rows.counted {
            "requests" => "no line of a request",
            _ => "no line with a row of a stage",
        };
        self.rows.groups.is_empty().then_some(why)
    }

    /// What is to be said of the groups besides.
    pub(in crate::cli) fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// A row for each group. If the table is too wide, it lacks the rate of tokens, and then the percentiles
    /// between the first and the last, unless they were asked for.
    pub(in crate::cli) fn text(&self) -> Columns {
        let ends = match self.percents[..] {
            [first, .., last] if self.percents == Percent::USUAL => vec![first, last],
            _ => self.percents.clone(),
        };
        let tables = [(true, &self.percents), (false, &self.percents), (false, &ends)];
        let mut tables = tables.into_iter().map(|(has_tokens, percents)| self.columns(has_tokens, percents));
        let fits = |table: &Columns| table.width() <= WIDTH;
        tables.find(fits).unwrap_or_else(|| self.columns(false, &ends))
    }

    fn columns(&self, has_tokens: bool, percents: &[Percent]) -> Columns {
        let shown = |figure: &Figure| figure.shown.of(percents).iter();
        let times: Vec<_> = self
            .times
            .iter()
            .flat_map(|figure| shown(figure).map(move |percent| (figure, percent)))
            .collect();
        let is_pair = self.rows.by.is_some() && self.rows.every_ms.is_some();
        let name =
            if self.rows.every_ms.is_some() { "from" } else { self.rows.by.as_deref().unwrap_or_default() };
        let second = self.rows.by.clone().filter(|_| is_pair);
        let count = if self.rows.counted == "requests" { "requests" } else { "rows" };
        let of_objectives = if self.has_objectives() { &["met", "goodput"][..] } else { &[] };
        let heads = ["/s", "failed"].iter().chain(of_objectives).copied().map(str::to_owned);
        let heads = second.into_iter().chain([count.to_owned()]).chain(heads);
        let heads = heads.chain(times.iter().map(|(figure, percent)| format!("{} {percent}", figure.short)));
        let tokens = has_tokens.then(|| "tokens/s".to_owned());
        let mut table = Columns::titled(name, heads.chain(tokens));
        for row in &self.rows.groups {
            let group = shortened(row.group.as_deref().unwrap_or_default());
            let from = row.from.map(moment);
            let failed = row.failed_share.map_or_else(|| ABSENT.to_owned(), percent);
            // Thousandths of a request mean little.
            let rates = [row.per_s, row.tokens_per_s]
                .map(|rate| rate.map_or_else(|| ABSENT.to_owned(), |rate| decimal(rate, 1)));
            let [per_s, tokens_per_s] = rates.each_ref().map(|rate| Cell::Text(rate));
            let times = times.iter().map(|(figure, percent)| {
                let times = row.times.get(figure.name).and_then(Option::as_ref)?;
                Some(short(*times.percentiles.get(&percent.to_string())?))
            });
            let times: Vec<_> = times.collect();
            let times = times.iter().map(|time| time.as_deref().map_or(Cell::Absent, Cell::Text));
            let cells = is_pair.then_some(Cell::Text(&group)).into_iter();
            let objectives = row.objectives.as_ref();
            let met =
                objectives.and_then(|objectives| objectives.share).map_or_else(|| ABSENT.to_owned(), percent);
            let goodput = objectives.and_then(|objectives| objectives.goodput_requests_per_s);
            let goodput = goodput.map_or_else(|| ABSENT.to_owned(), |rate| decimal(rate, 1));
            let of_objectives =
                [Cell::Text(&met), Cell::Text(&goodput)].into_iter().take(of_objectives.len());
            let cells =
                cells.chain([Cell::Count(row.count), per_s, Cell::Text(&failed)]).chain(of_objectives);
            let cells = cells.chain(times).chain(has_tokens.then_some(tokens_per_s));
            table.row(from.as_deref().unwrap_or(&group), cells);
        }
        if is_pair {
            table.left(1);
        }
        table
    }

    /// A line with the names of the columns, and a line for each group. What is absent is empty.
    pub(in crate::cli) fn write_csv(&self, out: &mut impl Write) -> Result<()> {
        let mut csv = Records::new(out);
        let is_timed = self.rows.every_ms.is_some();
        let mut heads: Vec<String> = Vec::new();
        heads.extend(is_timed.then(|| ["from", "until"].map(str::to_owned)).into_iter().flatten());
        heads.extend(self.keys.iter().cloned());
        heads.extend(
            [self.rows.counted, "per_s", "failed", "failed_share", "tokens", "tokens_per_s"]
                .map(str::to_owned),
        );
        let has_objectives = self.has_objectives();
        if has_objectives {
            heads.extend(["met", "judged", "met_share", "goodput_requests_per_s"].map(str::to_owned));
        }
        for figure in &self.times {
            heads.push(format!("{}_mean", figure.name));
            heads.extend(self.percents.iter().map(|percent| format!("{}_{percent}", figure.name)));
            heads.push(format!("{}_max", figure.name));
        }
        csv.write(heads)?;
        let number = |number: Option<f64>| number.map(|number| number.to_string()).unwrap_or_default();
        for row in &self.rows.groups {
            let mut fields: Vec<String> = Vec::new();
            if is_timed {
                fields
                    .extend([row.from, row.until].map(|at| at.map(|at| at.to_string()).unwrap_or_default()));
            }
            fields.extend((0..self.keys.len()).map(|at| row.parts.get(at).cloned().unwrap_or_default()));
            fields.extend([row.count.to_string(), number(row.per_s), row.failed.to_string()]);
            fields.extend([number(row.failed_share), row.tokens.to_string(), number(row.tokens_per_s)]);
            if has_objectives {
                let of = row.objectives.as_ref();
                let count = |count: fn(&Attainment) -> u64| of.map(count).unwrap_or_default().to_string();
                fields.extend([count(|of| of.met), count(|of| of.judged)]);
                fields.extend([number(of.and_then(|of| of.share))]);
                fields.extend([number(of.and_then(|of| of.goodput_requests_per_s))]);
            }
            for figure in &self.times {
                let times = row.times.get(figure.name).and_then(Option::as_ref);
                fields.push(number(times.map(|times| times.mean)));
                let percentile = |percent: &Percent| {
                    number(times.and_then(|times| times.percentiles.get(&percent.to_string()).copied()))
                };
                fields.extend(self.percents.iter().map(percentile));
                fields.push(number(times.map(|times| times.max)));
            }
            csv.write(fields)?;
        }
        csv.flush()
    }
}

impl Row {
    /// The row of a group in a log that covers `span`, as far as it was selected.
    fn of(group: Group<Figures>, span: (u64, u64), times: &[Figure], percents: &[Percent]) -> Self {
        let (from, until, label) = (group.from(), group.until(), group.label());
        let parts = match &group.name {
            Some(name) => name.parts().iter().map(Name::to_string).collect(),
            // The rest has one name.
            None => label.iter().cloned().collect(),
        };
        let Group { stretch, is_rest, value, .. } = group;
        let slowest = value.slowest.filter(|_| is_rest);
        // The log covers the first and the last stretch in part.
        let (start, end) = stretch.map_or(span, |(start, end)| (start.max(span.0), end.min(span.1)));
        let is_part = stretch.is_some_and(|stretch| stretch != (start, end));
        let seconds = end.saturating_sub(start) as f64 / 1e6;
        let wall = Millis::from_nanos(end.saturating_sub(start).saturating_mul(1_000));
        let rate = |count: u64| (seconds > 0.0).then(|| rounded(count as f64 / seconds));
        let share = (value.judged > 0).then(|| rounded(value.failed as f64 / value.judged as f64));
        let spread = |(figure, spread): (&Figure, &super::Spread)| {
            let percentiles = percents
                .iter()
                .filter_map(|percent| Some((percent.to_string(), spread.percentile(*percent)?.as_f64())));
            let times = spread.mean().zip(spread.max()).map(|(mean, max)| Times {
                count: spread.count(),
                mean: mean.as_f64(),
                percentiles: percentiles.collect(),
                max: max.as_f64(),
            });
            (figure.name, times)
        };
        Self {
            from,
            until,
            group: label,
            slowest_group: slowest.map(|(_, Reverse(name))| name.to_string()),
            parts,
            covered_ms: is_part.then_some(seconds * 1e3),
            count: value.count,
            per_s: rate(value.count),
            failed: value.failed,
            failed_share: share,
            tokens: value.tokens,
            tokens_per_s: rate(value.tokens),
            objectives: value.objectives.and_then(|counts| counts.figures(wall)),
            times: times.iter().zip(&value.times).map(spread).collect(),
        }
    }
}

/// To six decimals.
fn rounded(number: f64) -> f64 {
    (number * 1e6).round() / 1e6
}
