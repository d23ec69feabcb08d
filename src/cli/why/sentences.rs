//! The answer in words, and its table.

use super::{
    answer::{Answer, AtStage, Compared, MeanRequest, Other, WithoutRow, difference},
    earlier::Earlier,
    tail::Tail,
};
use crate::{
    Millis,
    cli::{amount::amount, parts::BEFORE_STAGES, sentence::listed, timeline::Part},
    model::id::Shown,
    write::columns::{Cell, Columns, grouped},
};

/// A difference of less than this part of the median request is not explained.
const SMALL: f64 = 0.05;
/// Of the parts that took longer, the largest are named until they are this part of the sum.
const MOST: f64 = 0.8;
/// How many parts are named at most, and how many stages in which others were in the way.
const NAMED: usize = 3;
/// Time at a stage that is less than this part of the request's is not worth a sentence.
const NOTABLE: f64 = 0.05;
/// How many characters of a part's name the table has, so that it fits in 100 columns: without the column of
/// the slowest requests, and with it. The sentences have the whole names.
const NAME: usize = 44;
const NAME_BESIDE_TAIL: usize = 28;

impl Answer {
    pub(super) fn sentences(&self) -> Vec<String> {
        let mut sentences = vec![self.length()];
        sentences.extend(self.own_end());
        sentences.extend(self.same_id());
        if let Some(errors) = self.errors {
            let text = self.error.as_ref().map_or(String::new(), |error| format!(": {error}"));
            sentences.push(format!("It had {}{text}.", amount(errors, "error", "errors")));
        }
        sentences.extend(self.largest_part());
        sentences.extend(self.stage_without_row.as_ref().map(WithoutRow::sentence));
        let differences = self.differences(self.e2e_total_ms, |part| part.time_ms);
        sentences.extend(differences.map(|differences| format!("It took {differences}.")));
        sentences.extend(self.earlier_stages());
        let e2e = self.e2e_total_ms.as_f64();
        let is_notable = |stage: &&AtStage| stage.meanwhile.time_ms.as_f64() >= NOTABLE * e2e;
        let mut stages: Vec<_> = self.meanwhile.iter().filter(is_notable).collect();
        stages.sort_by_key(|stage| std::cmp::Reverse(stage.meanwhile.time_ms));
        let in_the_way: Vec<_> =
            stages.into_iter().take(NAMED).filter_map(|stage| self.in_the_way(stage)).collect();
        if in_the_way.is_empty() && self.requests > 1 {
            let percent = NOTABLE * 100.0;
            sentences.push(match self.tells_of_queues {
                _ if self.stage_without_row.is_some() => {
                    "Nor does the log tell whether other requests were in its way.".to_owned()
                }
                true if self.waited_for_none() => {
                    "According to the log, it waited for no stage, so no other request was in its way."
                        .to_owned()
                }
                true => format!(
                    "According to the log, no other request was in its way for {percent} % of its time or \
                     more."
                ),
                false => {
                    "The log does not tell whether other requests were in its way: no stage of this one \
                          has a queue_time_ms."
                        .to_owned()
                }
            });
        }
        sentences.extend(in_the_way);
        sentences
    }

    /// Whether it neither waited for a stage nor ran in a batch with others.
    fn waited_for_none(&self) -> bool {
        let is_wait = |part: &Compared| matches!(part.part, Part::Waiting(_)) && part.time_ms > Millis::ZERO;
        !self.parts.iter().any(is_wait)
            && self.meanwhile.iter().all(|stage| stage.meanwhile.batch_id.is_none())
    }

    fn length(&self) -> String {
        let Self { request_id, e2e_total_ms, began, ended, .. } = self;
        let (took, against) = (time(*e2e_total_ms), times_as_long(self, *e2e_total_ms));
        let reason = self.finish_reason.as_ref().map_or(String::new(), |reason| format!(" ({reason})"));
        format!("{request_id} took {took}{against}. It began at {began} and ended at {ended}{reason}.")
    }

    /// That it was over earlier for its client.
    fn own_end(&self) -> Option<String> {
        let own = time(self.e2e_before_join_ms?);
        let reason = self.finish_reason.as_ref().map_or(String::new(), |reason| format!(" ({reason})"));
        Some(format!(
            "In its own process it ended{reason} after {own}; its rows in other processes went on until {}, \
             by their clocks.",
            time(self.e2e_total_ms)
        ))
    }

    /// Which others have its id, and how to choose one of them.
    fn same_id(&self) -> Option<String> {
        let (all, last) = (self.occurrences.filter(|all| *all > 1)?, self.same_id.last()?);
        let ended = |other: &Other| {
            let reason = other.finish_reason.as_ref().map_or(String::new(), |reason| format!(" ({reason})"));
            format!("at {}{reason}", other.ended)
        };
        let mut others: Vec<_> = self.same_id.iter().map(ended).collect();
        let more = (all - 1).saturating_sub(others.len() as u64);
        if more > 0 {
            others.push(format!("{} earlier", amount(more, "one", "ones")));
        }
        let how = if last.ended < self.ended {
            format!(" `--until {}` chooses the one before it.", self.ended)
        } else {
            String::new()
        };
        let is_latest = self.same_id.iter().all(|other| other.ended <= self.ended);
        let which = if is_latest { "the last one" } else { "the last one in the order of the lines" };
        Some(format!(
            "{all} requests have this id, and this is {which}; the {} ended {}.{how}",
            if all > 2 { "others" } else { "other" },
            listed(&others)
        ))
    }

    fn largest_part(&self) -> Option<String> {
        let largest = self.parts.iter().max_by_key(|part| part.time_ms)?;
        let share = largest.time_ms.as_f64() / self.e2e_total_ms.as_f64();
        let most = if share > 0.5 { "most" } else { "the largest part" };
        let length = format!("{} ({:.0} %)", time(largest.time_ms), share * 100.0);
        let is_unknown = largest.part == Part::Unattributed && self.stage_without_row.is_some();
        let doing = match largest.part {
            Part::Unattributed => "in no stage or transfer".to_owned(),
            _ => largest.place(),
        };
        if is_unknown {
            return Some(format!("It is not known where it spent {most} of its time, {length}."));
        }
        share.is_finite().then(|| format!("It spent {most} of its time, {length}, {doing}."))
    }

    /// Which stages that took longer were on the path while an earlier one ran too.
    fn earlier_stages(&self) -> impl Iterator<Item = String> {
        let is_longer = |part: &&Compared| self.requests > 1 && part.difference_ms > 0.0;
        let e2e = self.e2e_total_ms.as_f64();
        self.parts.iter().filter(is_longer).filter_map(move |part| {
            let earlier = part.earlier_stage.as_ref()?;
            if part.difference_ms < NOTABLE * e2e || earlier.meanwhile_ms.as_f64() < NOTABLE * e2e {
                return None;
            }
            let Earlier { stage_id, stage_name, meanwhile_ms, time_ms, median_ms } = earlier;
            let stage = named_stage(*stage_id, stage_name.as_deref());
            Some(format!(
                "During {} of {}, {stage} was running too: it took {}, against {}. If the stages stream, the \
                 earlier one may be the cause.",
                time(*meanwhile_ms),
                part.subject(),
                time(*time_ms),
                time(*median_ms),
            ))
        })
    }

    /// By how much one request, or a mean of several, took longer than the median request, and which parts
    /// did; or by how much less long.
    pub(super) fn differences(&self, e2e: Millis, of: impl Fn(&Compared) -> Millis) -> Option<String> {
        let MeanRequest { e2e_total_ms: median, .. } = self.median;
        let whole = difference(e2e, median);
        if self.requests < 2 || whole.abs() < SMALL * median.as_f64() {
            return None;
        }
        let more = if whole > 0.0 { "more" } else { "less" };
        let along = |part: &&Compared| difference(of(part), part.median_ms) * whole.signum();
        let mut parts: Vec<_> = self.parts.iter().filter(|part| along(part) > 0.0).collect();
        parts.sort_by(|one, other| along(other).total_cmp(&along(one)));
        let all: f64 = parts.iter().map(along).sum();
        let mut explained = 0.0;
        let mut named = Vec::new();
        for part in parts.into_iter().take(NAMED) {
            if explained >= MOST * all {
                break;
            }
            explained += along(&part);
            let (name, by) = (part.subject(), millis(along(&part)));
            let (this, other) = (time(of(part)), time(part.median_ms));
            named.push(format!("{name} took {by} {more} ({this} against {other})"));
        }
        let whole = millis(whole.abs());
        Some(format!("{whole} {more} than the median request: {}", listed(&named)))
    }

    /// Which requests a stage worked for while this one waited for it, or ran in the same batch.
    fn in_the_way(&self, at: &AtStage) -> Option<String> {
        let AtStage { stage_name, meanwhile } = at;
        let stage = named_stage(meanwhile.stage_id, stage_name.as_deref());
        let length = time(meanwhile.time_ms);
        let named = meanwhile.named.iter();
        let mut others: Vec<_> =
            named.map(|other| format!("{} ({})", other.request_id, time(other.time_ms))).collect();
        let more = meanwhile.others.saturating_sub(others.len() as u64);
        match others.len() {
            _ if more == 0 => {}
            0 => others.push(amount(more, "other request", "other requests")),
            _ => others.push(format!("{} more", grouped(&more.to_string()))),
        }
        let listed = listed(&others);
        let log = meanwhile.log_file.as_deref();
        if let Some(batch) = meanwhile.batch_id {
            let of_log = log.map_or(String::new(), |log| format!(" of {log}"));
            let together =
                format!("In {stage}, it ran for {length} in batch {batch}{of_log}, together with {listed}.");
            return (!others.is_empty()).then_some(together);
        }
        let (began, there) = log.map_or_else(Default::default, |log| (format!(" in {log}"), " there"));
        let before = format!("For {length} before {stage} began{began}, nothing of the request ran.");
        let whole = match meanwhile.others_time_ms {
            _ if meanwhile.others < 2 => String::new(),
            whole if whole == meanwhile.time_ms => {
                " It worked for at least one of them all the time.".to_owned()
            }
            whole => format!(" It worked for at least one of them for {}.", time(whole)),
        };
        Some(if others.is_empty() {
            format!("{before} According to the log, that stage worked{there} for no other request meanwhile.")
        } else {
            format!("{before} Meanwhile that stage worked{there} for {listed}.{whole}")
        })
    }

    pub(super) fn table(&self) -> Columns {
        let heads = ["time_ms", "of e2e", "median request", "difference"].map(str::to_owned).into_iter();
        let heads = heads.chain(self.tail.as_ref().map(Tail::name));
        let mut table = Columns::titled("Where the time went", heads);
        let mut row = |name: &str, this: Millis, median: Millis, difference: f64, tail: Option<Millis>| {
            let share = this.as_f64() / self.e2e_total_ms.as_f64();
            let share = if share.is_finite() { format!("{:.1} %", share * 100.0) } else { "-".to_owned() };
            let difference = grouped(&format!("{difference:.3}"));
            let difference = if difference.starts_with('-') { difference } else { format!("+{difference}") };
            let cells = [Cell::Time(this), Cell::Text(&share), Cell::Time(median), Cell::Text(&difference)];
            let compared = if self.requests < 2 { 2 } else { 4 };
            let absent = std::iter::repeat_n((), 4 - compared).map(|()| Cell::Absent);
            let tail = tail.map(Cell::Time);
            table.row(name, cells.into_iter().take(compared).chain(absent).chain(tail));
        };
        let width = if self.tail.is_some() { NAME_BESIDE_TAIL } else { NAME };
        for part in &self.parts {
            row(&cut(part.name(), width), part.time_ms, part.median_ms, part.difference_ms, part.tail_ms);
        }
        let median = self.median.e2e_total_ms;
        let tail = self.tail.as_ref().map(|tail| tail.mean.e2e_total_ms);
        row("e2e_total_ms", self.e2e_total_ms, median, difference(self.e2e_total_ms, median), tail);
        table
    }

    /// What the figures mean, and what the log can't tell.
    pub(super) fn notes(&self) -> Vec<String> {
        let choice = match self.percentile {
            Some(100.0) => Some("It is the slowest request.".to_owned()),
            Some(percentile) => Some(format!(
                "It is the slowest of the requests whose e2e_total_ms is within 1 % of p{percentile}."
            )),
            None => None,
        };
        let sampled = (self.weight > self.requests).then(|| {
            let lines = amount(self.requests, "line stands", "lines stand");
            let requests = grouped(&self.weight.to_string());
            format!(
                "The log is sampled: {lines} for {requests} requests. The median request is weighted; \
                 requests without a line can't be named."
            )
        });
        let without_start = (self.rows_without_start > 0).then(|| {
            let rows =
                amount(self.rows_without_start as u64, "row of the request has", "rows of the request have");
            format!("{rows} no start, since no span was entered, and no place in the times above.")
        });
        let clock = (!self.meanwhile.is_empty()).then(|| {
            "Other requests are placed by the timestamps of their lines, to the microsecond.".to_owned()
        });
        let (comparison, tail) = (Some(self.comparison()), self.note_on_the_tail());
        let (idle, measured) = (self.idle_parts(), self.measured_idle());
        [choice, comparison, tail, idle, measured, sampled, without_start, clock]
            .into_iter()
            .flatten()
            .collect()
    }

    fn comparison(&self) -> String {
        let MeanRequest { requests, fastest_ms, slowest_ms, .. } = self.median;
        let (whole, of_group) = match self.group {
            Some(_) => ("group", " of its group"),
            None => ("log", ""),
        };
        if self.requests < 2 {
            return format!("The {whole} has no other request to compare with.");
        }
        let (requests, from, to) =
            (amount(requests, "request", "requests"), time(fastest_ms), time(slowest_ms));
        format!(
            "The median request is the mean of the {requests} in the middle fifth{of_group} by e2e_total_ms, \
             from {from} to {to}."
        )
    }
}

impl WithoutRow {
    fn sentence(&self) -> String {
        let stage = named_stage(self.stage_id, self.stage_name.as_deref());
        let (reached, reasons) = match self.has_received {
            true => ("was received by", "never began or is still open, or its process died"),
            false => {
                ("was sent to", "never began, or its process left the row out, as a process may that samples")
            }
        };
        format!(
            "Its line lacks rows: it {reached} {stage}, but has no row of that stage, as other requests \
             have. Either that stage {reasons}."
        )
    }
}

impl Compared {
    /// The name of the part, with that of its stage.
    fn name(&self) -> String {
        match (self.part, &self.stage_name) {
            (part, Some(name)) => format!("{part} {name}"),
            (Part::Queue, None) => BEFORE_STAGES.to_owned(),
            (part, None) => part.to_string(),
        }
    }

    /// Where a request is during the part.
    pub(super) fn place(&self) -> String {
        match self.part {
            Part::Queue | Part::Waiting(_) => self.name(),
            _ => format!("in {}", self.subject()),
        }
    }

    /// The part in a sentence.
    fn subject(&self) -> String {
        match self.part {
            Part::Queue => format!("the time {BEFORE_STAGES}"),
            Part::Unattributed => "unattributed time".to_owned(),
            _ => self.name(),
        }
    }
}

/// A name of at most `width` characters. An ellipsis as the last one stands for the characters left out.
fn cut(name: String, width: usize) -> String {
    match name.chars().count() > width {
        true => name.chars().take(width - 1).chain(['…']).collect(),
        false => name,
    }
}

/// How long a time is in relation to that of the median request, with a comma before it.
pub(super) fn times_as_long(answer: &Answer, e2e: Millis) -> String {
    let median = answer.median.e2e_total_ms;
    let ratio = e2e.as_f64() / median.as_f64();
    let times = match ratio {
        _ if answer.requests < 2 || !ratio.is_finite() => return String::new(),
        _ if (ratio - 1.0).abs() < SMALL => "about as long as".to_owned(),
        _ => format!("{ratio:.1} times"),
    };
    format!(", {times} the median request ({})", time(median))
}

fn named_stage(id: Option<u64>, name: Option<&str>) -> String {
    let name = name.map(|name| format!(" {name}")).unwrap_or_default();
    format!("stage {}{name}", Shown(id))
}

pub(super) fn time(time: Millis) -> String {
    millis(time.as_f64())
}

/// Milliseconds with about three digits. The unit stays on the line of its number.
fn millis(millis: f64) -> String {
    let decimals = match millis {
        ..1.0 => 3,
        ..10.0 => 2,
        ..1_000.0 => 1,
        _ => 0,
    };
    format!("{}\u{a0}ms", grouped(&format!("{millis:.decimals$}")))
}
