//! The attributes of a request that other inference servers send too: those of OpenTelemetry's conventions
//! for generative AI, and the latencies that vLLM and SGLang add to them, in seconds.

use opentelemetry::{Array, KeyValue, StringValue, Value};

use crate::{E2eTable, Millis, StageRow};

/// What the rows of a request say about these attributes.
#[derive(Debug, Default)]
pub(crate) struct GenAi {
    tokens_in: Option<u64>,
    tokens_out: Option<u64>,
    stage_time: Option<Millis>,
    first: Option<First>,
}

/// The row with the earliest output.
#[derive(Debug)]
struct First {
    start: Option<Millis>,
    output: Millis,
    last_output: Option<Millis>,
}

impl GenAi {
    /// Adds a row. An absent number is not zero.
    pub(crate) fn add(&mut self, row: &StageRow) {
        if row.stage_id == Some(0) {
            self.tokens_in = row.num_tokens_in;
        }
        if let Some(tokens) = row.num_tokens_out {
            self.tokens_out = Some(self.tokens_out.unwrap_or(0).saturating_add(tokens));
        }
        if let Some(time) = row.stage_gen_time_ms {
            let sum = self.stage_time.unwrap_or_default();
            self.stage_time = Some(sum.checked_add(time).unwrap_or(sum));
        }
        if let Some(output) = row.first_output_ms
            && self.first.as_ref().is_none_or(|first| output < first.output)
        {
            self.first = Some(First { start: row.start_ms, output, last_output: row.last_output_ms });
        }
    }

    /// The attributes of the request, without those that have no value.
    pub(crate) fn attributes(self, e2e: &E2eTable) -> impl Iterator<Item = KeyValue> {
        let Self { tokens_in, tokens_out, stage_time, first } = self;
        let first = first.as_ref();
        let between = |from: Option<Millis>, until: Option<Millis>| Some(until?.saturating_sub(from?));
        let output = first.map(|first| first.output);
        let times = [
            ("gen_ai.latency.e2e", Some(e2e.e2e_total_ms)),
            ("gen_ai.latency.time_in_queue", e2e.queue_time_ms),
            ("gen_ai.latency.time_to_first_token", output),
            ("gen_ai.latency.time_in_model_prefill", between(first.and_then(|first| first.start), output)),
            (
                "gen_ai.latency.time_in_model_decode",
                between(output, first.and_then(|first| first.last_output)),
            ),
            ("gen_ai.latency.time_in_model_inference", stage_time),
        ];
        let counts = [("gen_ai.usage.input_tokens", tokens_in), ("gen_ai.usage.output_tokens", tokens_out)];
        let reasons = e2e.finish_reason.clone().map(|reason| {
            let reasons = Value::Array(Array::String(vec![StringValue::from(reason)]));
            KeyValue::new("gen_ai.response.finish_reasons", reasons)
        });
        let times =
            times.into_iter().filter_map(move |(key, time)| Some(KeyValue::new(key, time?.as_secs_f64())));
        let counts = counts.into_iter().filter_map(|(key, count)| Some(KeyValue::new(key, integer(count?))));
        counts.chain(reasons).chain(times)
    }
}

/// OpenTelemetry has no unsigned integers.
pub(crate) fn integer(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
