//! Exports the numbers of closed requests and detached rows through the `metrics` facade.

use std::{
    fmt,
    hash::Hash,
    sync::{Arc, OnceLock, atomic::Ordering},
};

use dashmap::DashMap;
use metrics::{
    Counter, Gauge, Histogram, SharedString, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};

use crate::{
    E2eTable, StageRow, TransferRow,
    contain::contain,
    hold::request::Request,
    model::{
        id::Shown,
        numbers::{Family, Get, Number, Table, Unit},
        rows::Value,
    },
};

/// How many stages, and how many edges, have labels of their own; further ones share `other`.
const LABELS: usize = 64;
const REASONS: [&str; 6] = ["stop", "length", "abort", "error", "other", "none"];

/// The handles of the layer's metrics. They are taken from the recorder that is installed when the first
/// request is created.
#[derive(Default)]
pub(crate) struct Facade(OnceLock<Handles>);

impl fmt::Debug for Facade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Facade").finish_non_exhaustive()
    }
}

struct Handles {
    requests: [Counter; REASONS.len()],
    in_flight: Gauge,
    prompt_tokens: Counter,
    generation_tokens: Counter,
    e2e: Exported<E2eTable>,
    stages: Known<Option<u64>, Exported<StageRow>>,
    edges: Known<(Option<u64>, Option<u64>), Exported<TransferRow>>,
    lines_lost: Counter,
    warnings: Counter,
}

/// The histograms of a table's row.
struct Exported<Row>(Vec<(Histogram, Get<Row>)>);

impl<Row: Table> Exported<Row> {
    fn new(labels: &[(&'static str, SharedString)]) -> Self {
        let exported = |number: &Number<Row>| {
            let Family { name, .. } = number.about.family?;
            Some((histogram!(name, labels), number.get))
        };
        Self(Row::NUMBERS.iter().filter_map(exported).collect())
    }

    /// A measured zero is a value, an absent time is none.
    fn record(&self, row: &Row) {
        for (histogram, get) in &self.0 {
            match get(row) {
                Some(Value::Time(time)) => histogram.record(time.as_nanos() as f64 / 1e9),
                Some(Value::Count(count)) => histogram.record(count as f64),
                Some(Value::Text(_)) | None => {}
            }
        }
    }

    fn describe() {
        for number in Row::NUMBERS {
            let Some(Family { name, description }) = number.about.family else { continue };
            match number.about.unit {
                Unit::Milliseconds => describe_histogram!(name, metrics::Unit::Seconds, description),
                Unit::Bytes => describe_histogram!(name, metrics::Unit::Bytes, description),
                Unit::Key | Unit::Id | Unit::Count | Unit::Text => {
                    describe_histogram!(name, metrics::Unit::Count, description);
                }
            }
        }
    }
}

impl Facade {
    /// Runs `run` on the handles. A recorder is foreign code and may panic.
    fn with(&self, run: impl FnOnce(&Handles)) {
        contain(|| run(self.0.get_or_init(Handles::new)));
    }

    /// Counts a created request.
    pub(crate) fn created(&self) {
        self.with(|handles| handles.in_flight.increment(1));
    }

    /// Counts a request that has closed, or that turned out to enclose another one.
    pub(crate) fn ended(&self, request: &Request) {
        if request.is_in_flight.swap(false, Ordering::Relaxed) {
            self.with(|handles| handles.in_flight.decrement(1));
        }
    }

    pub(crate) fn line(&self, is_written: bool, warnings: usize) {
        if !is_written || warnings > 0 {
            self.with(|handles| {
                handles.lines_lost.increment(u64::from(!is_written));
                handles.warnings.increment(warnings as u64);
            });
        }
    }

    /// Exports the numbers of a closed request.
    pub(crate) fn add<'a>(
        &self,
        e2e: &E2eTable,
        stages: impl Iterator<Item = &'a StageRow>,
        transfers: impl Iterator<Item = &'a TransferRow>,
    ) {
        self.with(|handles| {
            if let Some(requests) = handles.requests.get(reason(e2e.finish_reason.as_deref())) {
                requests.increment(1);
            }
            handles.e2e.record(e2e);
            stages.for_each(|row| handles.add_stage(row));
            transfers.for_each(|row| handles.add_transfer(row));
        });
    }

    /// Exports the numbers of a detached row.
    pub(crate) fn add_stage(&self, row: &StageRow) {
        self.with(|handles| handles.add_stage(row));
    }

    /// Exports the numbers of a detached row.
    pub(crate) fn add_transfer(&self, row: &TransferRow) {
        self.with(|handles| handles.add_transfer(row));
    }
}

impl Handles {
    fn add_stage(&self, row: &StageRow) {
        if row.stage_id == Some(0) {
            self.prompt_tokens.increment(row.num_tokens_in.unwrap_or(0));
        }
        self.generation_tokens.increment(row.num_tokens_out.unwrap_or(0));
        let labels = |stage_id| Exported::new(&[("stage", label(stage_id))]);
        self.stages.get(row.stage_id, labels).record(row);
    }

    fn add_transfer(&self, row: &TransferRow) {
        let labels = |ends: Option<(Option<u64>, Option<u64>)>| {
            let (from, to) = (label(ends.map(|(from, _)| from)), label(ends.map(|(_, to)| to)));
            Exported::new(&[("from_stage", from), ("to_stage", to)])
        };
        self.edges.get((row.from_stage, row.to_stage), labels).record(row);
    }
}

/// The index of a reason in [`REASONS`].
fn reason(reason: Option<&str>) -> usize {
    let name = reason.unwrap_or("none");
    REASONS.iter().position(|known| *known == name && (name != "none" || reason.is_none())).unwrap_or(4)
}

/// The handles of rows, by id. Past the limit, further ids share one.
struct Known<Id, T> {
    rows: DashMap<Id, Arc<T>>,
    others: OnceLock<Arc<T>>,
}

impl<Id: Copy + Eq + Hash, T> Known<Id, T> {
    fn new() -> Self {
        Self { rows: DashMap::new(), others: OnceLock::new() }
    }

    /// The handles of a row, created by `new` if necessary, with no shard locked.
    fn get(&self, id: Id, new: impl Fn(Option<Id>) -> T) -> Arc<T> {
        if let Some(row) = self.rows.get(&id) {
            return Arc::clone(&row);
        }
        // Threads that run this at once may exceed the limit by their number.
        if self.rows.len() >= LABELS {
            return Arc::clone(self.others.get_or_init(|| Arc::new(new(None))));
        }
        let row = Arc::new(new(Some(id)));
        self.rows.insert(id, Arc::clone(&row));
        row
    }
}

impl Handles {
    fn new() -> Self {
        describe();
        Self {
            requests: REASONS.map(|reason| counter!("omni_requests_total", "finish_reason" => reason)),
            in_flight: gauge!("omni_requests_in_flight"),
            prompt_tokens: counter!("omni_prompt_tokens_total"),
            generation_tokens: counter!("omni_generation_tokens_total"),
            e2e: Exported::new(&[]),
            stages: Known::new(),
            edges: Known::new(),
            lines_lost: counter!("omni_lines_lost_total"),
            warnings: counter!("omni_warnings_total"),
        }
    }
}

/// The label of an id: `none` if the row has no id, `other` past the limit.
fn label(id: Option<Option<u64>>) -> SharedString {
    id.map_or(SharedString::const_str("other"), |id| Shown(id).to_string().into())
}

fn describe() {
    describe_counter!("omni_requests_total", "Closed requests, by finish reason.");
    describe_gauge!("omni_requests_in_flight", "Open requests.");
    describe_counter!("omni_prompt_tokens_total", "Input tokens of stage 0.");
    describe_counter!("omni_generation_tokens_total", "Output tokens of all stages.");
    describe_counter!("omni_lines_lost_total", "Lines that the writer did not take.");
    describe_counter!("omni_warnings_total", "Warnings in lines.");
    Exported::<E2eTable>::describe();
    Exported::<StageRow>::describe();
    Exported::<TransferRow>::describe();
}
