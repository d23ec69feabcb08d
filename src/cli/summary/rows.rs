//! The figures of a log as comma-separated values, a row for each number.

use std::io::Write;

use super::figures::{LogSummary, NamedCount};
use crate::{
    OverallSummary,
    cli::{
        attainment::{Attained, Attainment},
        attempts::RequestsById,
        chosen::Chosen,
        failure::Result,
        groups::Percent,
        parts::Share,
        records::{Records, cell},
        sampling::Sampled,
        stage_outputs::OutputsOfStage,
    },
    fold::histograms::Whose,
    model::id::ordered,
    write::columns::id,
};

/// The columns before the percentiles.
const HEADS: [&str; 7] = ["of", "name", "stage_name", "number", "value", "count", "mean"];

/// The first columns of a row: the number, and what it is of.
type Named = [String; 4];

/// The numbers that have one value.
#[derive(Default)]
struct Values(Vec<(Named, String)>);

impl Values {
    fn add<const N: usize>(&mut self, [of, name, stage_name]: [&str; 3], numbers: [(&str, String); N]) {
        self.0.extend(
            numbers.map(|(number, value)| ([of, name, stage_name, number].map(str::to_owned), value)),
        );
    }

    fn add_objectives(&mut self, objectives: &Attainment) {
        let Attainment {
            met,
            met_without_value,
            judged,
            broke,
            share,
            failed,
            unjudged,
            goodput_requests_per_s,
            goodput_tokens_per_s,
            each,
        } = objectives;
        let numbers = [
            ("met", met.to_string()),
            ("met_without_value", met_without_value.to_string()),
            ("judged", judged.to_string()),
            ("broke", broke.to_string()),
            ("share", cell(*share)),
            ("failed", failed.to_string()),
            ("unjudged", unjudged.to_string()),
            ("goodput_requests_per_s", cell(*goodput_requests_per_s)),
            ("goodput_tokens_per_s", cell(*goodput_tokens_per_s)),
        ];
        self.add(["objectives", "", ""], numbers);
        for Attained {
            objective, met, broke, judged, only, without_value, met_without_value, share, ..
        } in each
        {
            let numbers = [
                ("met", met.to_string()),
                ("broke", broke.to_string()),
                ("judged", judged.to_string()),
                ("only", only.to_string()),
                ("without_value", without_value.to_string()),
                ("met_without_value", met_without_value.to_string()),
                ("share", cell(*share)),
            ];
            self.add(["objective", objective, ""], numbers);
        }
    }
}

impl LogSummary {
    /// Numbers with one value have it in the column `value`; the other columns are for those that have a
    /// distribution.
    pub(super) fn write_csv(&self, percents: &[Percent], out: &mut impl Write) -> Result<()> {
        let mut records = Records::new(out);
        let percents: Vec<_> = percents.iter().map(Percent::to_string).collect();
        let heads = HEADS.into_iter().map(str::to_owned).chain(percents.iter().cloned());
        records.write(heads.chain(["max".to_owned()]))?;
        for (named, value) in self.values().0 {
            let empty = (0..percents.len() + 3).map(|_| String::new());
            records.write(named.into_iter().chain([value]).chain(empty))?;
        }
        for row in &self.chosen {
            let Chosen { count, mean, values, max, .. } = row;
            let [count, mean, max] = [count.to_string(), mean.to_string(), max.to_string()];
            let values = percents.iter().map(|percent| cell(values.get(percent)));
            let cells = self.named(row).into_iter().chain([String::new(), count, mean]);
            records.write(cells.chain(values).chain([max]))?;
        }
        records.flush()
    }

    fn named(&self, Chosen { whose, number, .. }: &Chosen) -> Named {
        let (of, name, stage_name) = match *whose {
            Whose::Request => ("request", String::new(), String::new()),
            Whose::Stage(stage) => ("stage", cell(stage), self.stage_name(stage)),
            Whose::Edge(from, to) => ("transfer", format!("{}->{}", id(from), id(to)), String::new()),
        };
        [of.to_owned(), name, stage_name, (*number).to_owned()]
    }

    fn stage_name(&self, stage: Option<u64>) -> String {
        cell(self.names.name(ordered(stage)))
    }

    fn values(&self) -> Values {
        let mut values = Values::default();
        let OverallSummary {
            e2e_requests,
            e2e_wall_time_ms,
            e2e_total_tokens,
            e2e_avg_time_per_request_ms,
            e2e_avg_tokens_per_s,
            stage_wall_time_ms,
        } = &self.line.overall_summary;
        let of_run = [
            ("e2e_requests", e2e_requests.to_string()),
            ("e2e_wall_time_ms", e2e_wall_time_ms.to_string()),
            ("e2e_total_tokens", e2e_total_tokens.to_string()),
            ("e2e_avg_time_per_request_ms", e2e_avg_time_per_request_ms.to_string()),
            ("e2e_avg_tokens_per_s", e2e_avg_tokens_per_s.to_string()),
            ("requests_per_s", self.requests_per_s.to_string()),
            ("failed_requests", self.failed_requests.to_string()),
            ("errors", self.errors.to_string()),
            ("detached", self.detached.to_string()),
            ("late_rows", self.late_rows.to_string()),
            ("requests_without_rows", self.without_rows.to_string()),
            ("failed_requests_without_rows", self.received_without_rows.to_string()),
            ("rows_of_workers", self.rows_of_workers.to_string()),
            ("foreign_lines", self.foreign_lines.to_string()),
            ("broken_lines", self.broken_lines.to_string()),
            ("unknown_schema_lines", self.unknown_schema_lines.to_string()),
            ("doubled_lines", self.doubled_lines.to_string()),
            ("left_out_lines", self.left_out_lines.to_string()),
        ];
        values.add(["run", "", ""], of_run);
        if let Some(sampled) = &self.sampled {
            let Sampled {
                request_lines,
                sampled_request_lines,
                requests,
                requests_at_least,
                requests_at_most,
                row_lines,
                rows,
            } = sampled;
            let numbers = [
                ("request_lines", request_lines),
                ("sampled_request_lines", sampled_request_lines),
                ("requests", requests),
                ("requests_at_least", requests_at_least),
                ("requests_at_most", requests_at_most),
                ("row_lines", row_lines),
                ("rows", rows),
            ];
            values.add(["sampled", "", ""], numbers.map(|(number, count)| (number, count.to_string())));
        }
        if let Some(by_id) = self.requests_by_id {
            let RequestsById { ids, retried, failed, failed_in_only_attempt, recovered, is_estimate } = by_id;
            let counts = [
                ("ids", ids),
                ("retried", retried),
                ("failed", failed),
                ("failed_in_only_attempt", failed_in_only_attempt),
                ("recovered", recovered),
            ];
            values.add(["requests_by_id", "", ""], counts.map(|(number, count)| (number, count.to_string())));
            values.add(["requests_by_id", "", ""], [("is_estimate", is_estimate.to_string())]);
        }
        for (stage, wall) in (0..).zip(stage_wall_time_ms) {
            let (name, stage_name) = (stage.to_string(), self.stage_name(Some(stage)));
            values.add(["stage", &name, &stage_name], [("stage_wall_time_ms", wall.to_string())]);
        }
        for Share { part, time_ms, share } in &self.shares_of_e2e {
            let numbers = [("time_ms", time_ms.to_string()), ("share", share.to_string())];
            values.add(["part", part, self.names.name_in_part(part).unwrap_or_default()], numbers);
        }
        for stage in &self.outputs {
            let OutputsOfStage {
                stage_id,
                outputs,
                inter_output_mean_ms,
                inter_output_max_ms,
                media_ms,
                real_time_factor,
                underruns,
                underrun_total_ms,
            } = stage;
            let numbers = [
                ("outputs", outputs.to_string()),
                ("inter_output_mean_ms", cell(*inter_output_mean_ms)),
                ("inter_output_max_ms", cell(*inter_output_max_ms)),
                ("media_ms", media_ms.to_string()),
                ("real_time_factor", cell(*real_time_factor)),
                ("underruns", cell(*underruns)),
                ("underrun_total_ms", underrun_total_ms.to_string()),
            ];
            values.add(["outputs", &cell(*stage_id), &self.stage_name(*stage_id)], numbers);
        }
        self.objectives.iter().for_each(|objectives| values.add_objectives(objectives));
        let counts = [
            ("finish_reason", "requests", &self.finish_reasons),
            ("error", "requests", &self.failed),
            ("warning", "warnings", &self.warnings),
        ];
        for (of, number, counts) in counts {
            for NamedCount { name, count } in counts {
                values.add([of, name, ""], [(number, count.to_string())]);
            }
        }
        for slow in &self.slowest {
            values.add(["slowest", &slow.request_id, ""], [("e2e_total_ms", slow.e2e_total_ms.to_string())]);
        }
        values
    }
}
