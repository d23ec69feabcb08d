//! Exports the numbers of closed requests and detached rows through the `metrics` facade.

use std::{
    fmt,
    hash::Hash,
    sync::{Arc, OnceLock, atomic::Ordering},
};

use dashmap::DashMap;
use metrics::{
    Counter, Gauge, Histogram, SharedString, Unit, counter, describe_counter, describe_gauge,
    describe_histogram, gauge, histogram,
};

use crate::{
    Millis, StageRow, TransferRow,
    contain::contain,
    request::{Request, Shown},
    tables::E2eTable,
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
    e2e: Histogram,
    unattributed: Histogram,
    stages: Known<Option<u64>, StageHandles>,
    edges: Known<(Option<u64>, Option<u64>), EdgeHandles>,
    lines_lost: Counter,
    warnings: Counter,
}

struct StageHandles {
    gen_time: Histogram,
    queue: Histogram,
    preprocess: Histogram,
    first_output: Histogram,
    time_per_output_token: Histogram,
}

struct EdgeHandles {
    tx: Histogram,
    rx_decode: Histogram,
    in_flight: Histogram,
    size: Histogram,
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
            record(&handles.e2e, Some(e2e.e2e_total_ms));
            record(&handles.unattributed, Some(e2e.unattributed_time_ms));
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
        let stage = self.stages.get(row.stage_id, StageHandles::new);
        record(&stage.gen_time, row.stage_gen_time_ms);
        record(&stage.queue, row.queue_time_ms);
        record(&stage.preprocess, row.preprocess_time_ms);
        record(&stage.first_output, row.first_output_ms);
        record(&stage.time_per_output_token, row.time_per_output_token_ms);
    }

    fn add_transfer(&self, row: &TransferRow) {
        let edge = self.edges.get((row.from_stage, row.to_stage), EdgeHandles::new);
        record(&edge.tx, row.tx_time_ms);
        record(&edge.rx_decode, row.rx_decode_time_ms);
        record(&edge.in_flight, row.in_flight_time_ms);
        if let Some(bytes) = row.size_bytes {
            edge.size.record(bytes as f64);
        }
    }
}

/// Records a time. A measured zero is recorded, an absent time is not.
fn record(histogram: &Histogram, time: Option<Millis>) {
    if let Some(time) = time {
        histogram.record(time.as_nanos() as f64 / 1e9);
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
            e2e: histogram!("omni_e2e_seconds"),
            unattributed: histogram!("omni_unattributed_seconds"),
            stages: Known::new(),
            edges: Known::new(),
            lines_lost: counter!("omni_lines_lost_total"),
            warnings: counter!("omni_warnings_total"),
        }
    }
}

impl StageHandles {
    fn new(stage_id: Option<Option<u64>>) -> Self {
        let stage = label(stage_id);
        Self {
            gen_time: histogram!("omni_stage_gen_seconds", "stage" => stage.clone()),
            queue: histogram!("omni_stage_queue_seconds", "stage" => stage.clone()),
            preprocess: histogram!("omni_stage_preprocess_seconds", "stage" => stage.clone()),
            first_output: histogram!("omni_stage_first_output_seconds", "stage" => stage.clone()),
            time_per_output_token: histogram!("omni_stage_time_per_output_token_seconds", "stage" => stage),
        }
    }
}

impl EdgeHandles {
    fn new(ends: Option<(Option<u64>, Option<u64>)>) -> Self {
        let (from, to) = (label(ends.map(|(from, _)| from)), label(ends.map(|(_, to)| to)));
        let labels = [("from_stage", from), ("to_stage", to)];
        Self {
            tx: histogram!("omni_transfer_tx_seconds", &labels),
            rx_decode: histogram!("omni_transfer_rx_decode_seconds", &labels),
            in_flight: histogram!("omni_transfer_in_flight_seconds", &labels),
            size: histogram!("omni_transfer_size_bytes", &labels),
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
    describe_histogram!("omni_transfer_size_bytes", Unit::Bytes, "Bytes of an edge in a request.");
    for (name, what) in [
        ("omni_e2e_seconds", "From the creation of a request to its end."),
        ("omni_unattributed_seconds", "The part of a request that no stage, transfer or flight covers."),
        (
            "omni_stage_gen_seconds",
            "Generation time of a stage in a request, or of one of its detached spans.",
        ),
        ("omni_stage_queue_seconds", "From the creation of a stage's spans to their first enter."),
        ("omni_stage_preprocess_seconds", "Preprocessing time of a stage in a request."),
        ("omni_stage_first_output_seconds", "From the creation of a request to a stage's first output."),
        ("omni_stage_time_per_output_token_seconds", "Time between a stage's output tokens."),
        ("omni_transfer_tx_seconds", "Sending time of an edge in a request."),
        ("omni_transfer_rx_decode_seconds", "Receiving and decoding time of an edge in a request."),
        ("omni_transfer_in_flight_seconds", "Time in flight of an edge in a request."),
    ] {
        describe_histogram!(name, Unit::Seconds, what);
    }
}
