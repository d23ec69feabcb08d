//! A prediction as comma-separated values, a row for each number.

use std::io::Write;

use super::{
    figures::{Prediction, StageFigures},
    times::Times,
};
use crate::cli::{
    failure::Result,
    groups::Heading,
    records::{Records, cell},
};

const HEADS: [&str; 8] =
    ["of", "name", "stage_name", "number", "statistic", "logged", "replayed", "predicted"];

/// What a number is of, the name of that, the name of the stage, and that of the number.
type Named<'a> = [&'a str; 4];
/// A number of a stage that has one value.
type Number = fn(&StageFigures) -> String;

/// Writes rows, with the columns of groups if there are groups.
struct Rows<W: Write> {
    records: Records<W>,
    has_groups: bool,
}

impl<W: Write> Rows<W> {
    /// A number in the three runs.
    fn write(
        &mut self,
        heading: Option<&Heading>,
        named: Named<'_>,
        statistic: &str,
        runs: [String; 3],
    ) -> Result<()> {
        let heading = heading.map(Heading::cells).unwrap_or_default();
        let heading = heading.into_iter().filter(|_| self.has_groups);
        let named = named.into_iter().chain([statistic]).map(str::to_owned);
        self.records.write(heading.chain(named).chain(runs))
    }

    /// The mean and the percentiles of times in the three runs.
    fn write_times(
        &mut self,
        heading: Option<&Heading>,
        named: Named<'_>,
        [logged, replayed, predicted]: [&Times; 3],
    ) -> Result<()> {
        let runs = logged.named().zip(replayed.named()).zip(predicted.named());
        for (((statistic, logged), (_, replayed)), (_, predicted)) in runs {
            let runs = [logged, replayed, predicted].map(|time| time.to_string());
            self.write(heading, named, &statistic, runs)?;
        }
        Ok(())
    }
}

impl Prediction {
    /// The sentences are left out.
    pub(super) fn write_csv(&self, out: &mut impl Write) -> Result<()> {
        let Self { logged, replayed, predicted, groups, .. } = self;
        let mut rows = Rows { records: Records::new(out), has_groups: groups.is_some() };
        let of_groups = Heading::HEADS.into_iter().filter(|_| rows.has_groups);
        rows.records.write(of_groups.chain(HEADS).map(str::to_owned))?;
        let runs = [logged, replayed, predicted];
        let of_run = |number| ["run", "", "", number];
        rows.write(None, of_run("requests_per_s"), "", runs.map(|run| run.rate.per_s.to_string()))?;
        rows.write_times(None, of_run("e2e_total_ms"), runs.map(|run| &run.e2e_total_ms))?;
        for ((logged, replayed), predicted) in
            logged.stages.iter().zip(&replayed.stages).zip(&predicted.stages)
        {
            let (id, name) = (cell(logged.stage_id), cell(logged.stage_name.as_ref()));
            let of_stage = |number| ["stage", &id, &name, number];
            let runs = [logged, replayed, predicted];
            let numbers: [(&str, Number); 3] = [
                ("workers", |stage| stage.workers.to_string()),
                ("utilisation", |stage| stage.utilisation.to_string()),
                ("batch_limit", |stage| stage.batch_limit.to_string()),
            ];
            for (number, of) in numbers {
                rows.write(None, of_stage(number), "", runs.map(of))?;
            }
            rows.write_times(None, of_stage("waiting_ms"), runs.map(|stage| &stage.waiting_ms))?;
        }
        for group in groups.iter().flat_map(|groups| &groups.groups) {
            let of_group = |number| ["group", "", "", number];
            let requests = group.requests.to_string();
            let runs = [&group.logged, &group.replayed, &group.predicted];
            rows.write(Some(&group.heading), of_group("requests"), "", [(); 3].map(|()| requests.clone()))?;
            rows.write_times(Some(&group.heading), of_group("e2e_total_ms"), runs)?;
        }
        rows.records.flush()
    }
}
