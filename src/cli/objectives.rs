//! Objectives for requests, and how many requests met them.
//!
//! The rate of requests that meet their objectives is their *goodput*, as DistServe (Zhong et al., OSDI 2024)
//! and vLLM's benchmark (`--goodput`) call it.

use std::{fmt, str::FromStr, sync::Arc};

use super::{
    attainment::{Attained, Attainment, sentence},
    quantity::Quantity,
};
use crate::{
    Millis, RequestLine,
    fold::totals::per_second,
    model::{keep::is_failed, numbers::Unit},
    write::columns::grouped,
};

/// The objectives that the arguments of a command name.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct Objectives {
    /// An objective for each request, such as `e2e=2s` or `first_output@code2wav=400ms`; may be given several
    /// times. With `@99%` at the end, such a share of the requests is to meet it
    ///
    /// STAGE is the id or the name of a stage. Its first output counts from the creation of the request.
    /// Example: `omni-metrics summary --slo e2e=2s --slo first_output@code2wav=400ms FILE`
    #[arg(long = "slo", value_name = "NUMBER[@STAGE]=LIMIT")]
    pub(super) slo: Vec<Objective>,
}

/// How many objectives a page shows.
const ON_A_PAGE: usize = 16;

impl Objectives {
    /// Those that a page shows: the first ones.
    pub(super) fn on_a_page(&self) -> Self {
        Self { slo: self.slo.iter().take(ON_A_PAGE).cloned().collect() }
    }

    /// That a page does not show all, if so.
    pub(super) fn left_out_of_a_page(&self) -> Option<String> {
        let all = self.slo.len();
        (all > ON_A_PAGE).then(|| {
            format!(
                "The page shows the first {ON_A_PAGE} of {} objectives. Requests that met all objectives \
                 also met those that are not shown.",
                grouped(&all.to_string())
            )
        })
    }
}

/// What a number of each request is to be at most.
#[derive(Debug, Clone)]
pub(super) struct Objective {
    quantity: Quantity,
    /// Times in nanoseconds.
    limit: f64,
    /// The share of the requests that is to meet it.
    wanted: Option<f64>,
    /// As the argument spells it.
    text: String,
}

impl Objective {
    pub(super) fn quantity(&self) -> &Quantity {
        &self.quantity
    }

    /// Times in nanoseconds.
    pub(super) fn limit(&self) -> f64 {
        self.limit
    }

    /// Whether a request meets it; `None` if the request does not have the number.
    pub(super) fn is_met(&self, line: &RequestLine) -> Option<bool> {
        self.quantity.value(line).map(|value| value <= self.limit)
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Objective {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unlimited = || format!("`{text}` has no limit: an objective is `NUMBER=LIMIT`, such as `e2e=2s`");
        let (number, limit) = text.split_once('=').ok_or_else(unlimited)?;
        let quantity = Quantity::parse(number)?;
        let (limit, wanted) = match limit.split_once('@') {
            None => (limit, None),
            Some((limit, percent)) => (limit, Some(share(percent)?)),
        };
        Ok(Self { limit: amount(limit, quantity.unit)?, wanted, quantity, text: text.to_owned() })
    }
}

/// A percentage, as a share.
fn share(text: &str) -> Result<f64, String> {
    let percent = text.strip_suffix('%').and_then(|percent| percent.parse::<f64>().ok());
    let percent = percent.filter(|percent| *percent > 0.0 && *percent <= 100.0);
    percent.map(|percent| percent / 100.0).ok_or_else(|| format!("`{text}` is no percentage, such as `99%`"))
}

/// An amount in a unit: times have one of their own, such as `200ms`, and become nanoseconds.
pub(super) fn amount(text: &str, unit: Unit) -> Result<f64, String> {
    if unit == Unit::Milliseconds {
        let time = humantime::parse_duration(text);
        return time
            .map(|time| time.as_nanos() as f64)
            .map_err(|_| format!("`{text}` is no time with a unit, such as `200ms`, `1.5s` or `2min`"));
    }
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| format!("`{text}` is no number"))
}

/// How the requests so far stand to the objectives.
#[derive(Debug, Clone, Default)]
pub(super) struct ObjectiveCounts {
    objectives: Arc<[Objective]>,
    each: Vec<Counts>,
    met: u64,
    met_without_value: u64,
    tokens: u64,
    failed: u64,
    judged: u64,
    unjudged: u64,
}

/// How the requests stand to one objective. A request that failed does not meet it, and is not among those
/// that broke it.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    /// With a value, whether they failed or not.
    known: u64,
    met: u64,
    broke: u64,
    only: u64,
    absent: u64,
    met_without_value: u64,
    /// A request has its stage or edge.
    has_place: bool,
}

impl ObjectiveCounts {
    pub(super) fn new(objectives: &Objectives) -> Self {
        let each = vec![Counts::default(); objectives.slo.len()];
        Self { objectives: objectives.slo.as_slice().into(), each, ..Self::default() }
    }

    pub(super) fn add(&mut self, line: &RequestLine) {
        if self.objectives.is_empty() {
            return;
        }
        let (weight, has_failed) = (line.weight(), is_failed(&line.e2e_table));
        let (mut broken, mut known, mut only) = (0, 0, None);
        for (objective, counts) in self.objectives.iter().zip(&mut self.each) {
            counts.has_place = counts.has_place || objective.quantity.has_place(line);
            let Some(is_met) = objective.is_met(line) else {
                counts.absent += weight;
                continue;
            };
            counts.known += weight;
            known += 1;
            if has_failed {
                continue;
            }
            if is_met {
                counts.met += weight;
            } else {
                counts.broke += weight;
                broken += 1;
                only = Some(counts);
            }
        }
        if broken == 1
            && let Some(counts) = only
        {
            counts.only += weight;
        }
        if has_failed {
            self.failed += weight;
        } else if known == 0 {
            self.unjudged += weight;
            return;
        } else if broken == 0 {
            self.met += weight;
            if known < self.each.len() {
                self.met_without_value += weight;
                let absent = |(objective, _): &(&Objective, _)| objective.is_met(line).is_none();
                let absent = self.objectives.iter().zip(&mut self.each).filter(absent);
                absent.for_each(|(_, counts)| counts.met_without_value += weight);
            }
            self.tokens = self.tokens.saturating_add(line.e2e_table.e2e_total_tokens.saturating_mul(weight));
        }
        self.judged += weight;
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (ours, theirs) in self.each.iter_mut().zip(&other.each) {
            ours.known += theirs.known;
            ours.met += theirs.met;
            ours.broke += theirs.broke;
            ours.only += theirs.only;
            ours.absent += theirs.absent;
            ours.met_without_value += theirs.met_without_value;
            ours.has_place |= theirs.has_place;
        }
        self.met += other.met;
        self.met_without_value += other.met_without_value;
        self.tokens = self.tokens.saturating_add(other.tokens);
        self.failed += other.failed;
        self.judged += other.judged;
        self.unjudged += other.unjudged;
    }

    /// Whether a request has a value for one of the objectives.
    pub(super) fn has_values(&self) -> bool {
        self.each.iter().any(|counts| counts.known > 0)
    }

    /// Requests that met all objectives, and requests that are judged by them; `None` without objectives.
    pub(super) fn met_and_judged(&self) -> Option<(u64, u64)> {
        (!self.objectives.is_empty()).then_some((self.met, self.judged))
    }

    /// The objectives for which no request has a value, a sentence each.
    pub(super) fn missing(&self) -> Vec<String> {
        let missing = self.objectives.iter().zip(&self.each).filter(|(_, counts)| counts.is_missing());
        missing.map(|of| sentence(Counts::missing(of).as_deref(), of.0)).collect()
    }

    /// The figures of a run of this length; `None` without objectives.
    pub(super) fn figures(&self, wall: Millis) -> Option<Attainment> {
        let share = |met: u64, of: u64| (of > 0).then(|| met as f64 / of as f64);
        let judged = if self.has_values() { self.judged } else { 0 };
        let succeeded = (self.judged + self.unjudged).saturating_sub(self.failed);
        let rate = |count| self.has_values().then(|| per_second(count, wall.as_nanos()));
        let each = self.objectives.iter().zip(&self.each).map(|(objective, counts)| {
            let judged = if counts.known > 0 { counts.met + counts.broke + self.failed } else { 0 };
            let attained = share(counts.met, judged);
            Attained {
                objective: objective.to_string(),
                met: counts.met,
                broke: counts.broke,
                judged,
                only: counts.only,
                without_value: succeeded.saturating_sub(counts.met + counts.broke),
                met_without_value: counts.met_without_value,
                missing: Counts::missing((objective, counts)),
                share: attained,
                wanted: objective.wanted,
                is_attained: objective.wanted.zip(attained).map(|(wanted, attained)| attained >= wanted),
            }
        });
        (!self.objectives.is_empty()).then(|| Attainment {
            met: self.met,
            met_without_value: self.met_without_value,
            judged,
            broke: judged.saturating_sub(self.met + self.failed),
            share: share(self.met, judged),
            failed: self.failed,
            unjudged: self.unjudged,
            goodput_requests_per_s: rate(self.met),
            goodput_tokens_per_s: rate(self.tokens),
            each: each.collect(),
        })
    }
}

impl Counts {
    /// Whether there are requests, and none has a value.
    fn is_missing(&self) -> bool {
        self.absent > 0 && self.known == 0
    }

    /// The stage or edge of an objective, if there are requests and none has it.
    fn missing((objective, counts): (&Objective, &Self)) -> Option<String> {
        objective.quantity.place().filter(|_| counts.is_missing() && !counts.has_place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_have_the_unit_of_their_number() {
        let parsed = |text: &str| {
            let objective: Objective = text.parse().unwrap();
            (objective.limit, objective.wanted)
        };
        assert_eq!(parsed("e2e=1.5s"), (1.5e9, None));
        assert_eq!(parsed("first_output@0=200ms@99.5%"), (2e8, Some(0.995)));
        assert_eq!(parsed("real_time_factor@2=0.8"), (0.8, None));
        assert_eq!(parsed("total_time@0->1=10us@100%"), (1e4, Some(1.0)));
    }
}
