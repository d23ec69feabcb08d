//! The times in which nothing of a request ran, in words.

use super::answer::{Answer, difference};
use crate::{
    Millis,
    cli::{parts::BEFORE_STAGES, sentence::listed, timeline::Part},
    write::columns::grouped,
};

/// Sums of the times in which nothing ran that differ by less than this part of the request's count as equal.
const EQUAL: f64 = 1e-5;

impl Answer {
    /// What the times mean in which nothing ran.
    pub(super) fn idle_parts(&self) -> Option<String> {
        let has = |is_part: fn(Part) -> bool| self.parts.iter().any(|compared| is_part(compared.part));
        let waiting = "waiting for a stage (its span was open and had not begun)".to_owned();
        let before = format!("{BEFORE_STAGES} (none was waited for, and none had begun)");
        let meanings = [
            has(|part| matches!(part, Part::Waiting(_))).then_some(waiting),
            has(|part| part == Part::Queue).then_some(before),
            has(|part| part == Part::Unattributed).then(|| "unattributed (none was waited for)".to_owned()),
        ];
        let meanings: Vec<_> = meanings.into_iter().flatten().collect();
        let times = if meanings.len() == 1 { "this time" } else { "these times" };
        (!meanings.is_empty())
            .then(|| format!("No stage or transfer of a request ran in {times}: {}.", listed(&meanings)))
    }

    /// That the number in the line is another time than the parts in which nothing ran, if it is.
    pub(super) fn measured_idle(&self) -> Option<String> {
        let is_idle = |part: Part| matches!(part, Part::Queue | Part::Waiting(_) | Part::Unattributed);
        let idle = self.parts.iter().filter(|compared| is_idle(compared.part));
        let here = idle.fold(Millis::ZERO, |sum, compared| sum.saturating_add(compared.time_ms));
        let measured = self.unattributed_time_ms;
        let [here_ms, measured_ms] = [here, measured].map(|time| grouped(&format!("{:.3}", time.as_f64())));
        (difference(here, measured).abs() > EQUAL * self.e2e_total_ms.as_f64()).then(|| {
            format!(
                "In all, nothing of the request ran for {here_ms} ms by this table, and for {measured_ms} ms \
                 by its unattributed_time_ms, which is of single spans, and which `summary` divides: the \
                 table has a row of several spans as one piece."
            )
        })
    }
}
