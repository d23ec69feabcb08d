//! Exports the numbers of closed requests and detached rows through the `metrics` facade.

use std::{
    fmt,
    hash::Hash,
    sync::{Arc, OnceLock},
};

use dashmap::DashMap;
use metrics::{
    Counter, Gauge, Histogram, Label, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};

use crate::{
    E2eTable, Fields, StageRow, TransferRow,
    contain::contain,
    fold::{buckets::middle, gaps::Gaps},
    model::{
        id::Shown,
        numbers::{Family, Get, INTER_OUTPUT, Measure, Number, Table, Unit},
        rows::Value,
    },
    write::labels::{Combination, Labels, Named},
};

/// How many stages, and how many edges, have labels of their own; further ones share `other`.
const ROWS: usize = 64;
/// How many combinations of the labels of requests have metrics of their own; further ones share one of which
/// every label is `other`.
const COMBINATIONS: usize = 256;
const REASONS: [&str; 6] = ["stop", "length", "abort", "error", "other", "none"];

/// The handles of the layer's metrics. They are taken from the recorder that is installed when the first
/// request is created.
#[derive(Default)]
pub(crate) struct Facade {
    named: Named,
    handles: OnceLock<Handles>,
}

impl fmt::Debug for Facade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Facade").field("named", &self.named).finish_non_exhaustive()
    }
}

impl Facade {
    /// Names the fields of requests that become labels.
    pub(crate) fn set_labels(&self, fields: impl IntoIterator<Item = &'static str>) {
        self.named.set(fields);
    }

    /// Runs `run` on the handles. A recorder is foreign code and may panic.
    fn with(&self, run: impl FnOnce(&Handles)) {
        contain(|| run(self.handles.get_or_init(|| Handles::new(self.named.labels()))));
    }

    /// Counts a created request.
    pub(crate) fn created(&self) {
        self.with(|handles| handles.in_flight.increment(1));
    }

    /// Counts a request that has closed, or that turned out to enclose another one.
    pub(crate) fn ended(&self) {
        self.with(|handles| handles.in_flight.decrement(1));
    }

    pub(crate) fn line(&self, is_written: bool, warnings: usize) {
        if !is_written || warnings > 0 {
            self.with(|handles| {
                handles.lines_lost.increment(u64::from(!is_written));
                handles.warnings.increment(warnings as u64);
            });
        }
    }

    /// Exports the numbers of a closed request; `fields` are those of its span.
    pub(crate) fn add<'a>(
        &self,
        fields: &Fields,
        e2e: &E2eTable,
        stages: impl Iterator<Item = (&'a StageRow, Option<&'a Gaps>)>,
        transfers: impl Iterator<Item = &'a TransferRow>,
    ) {
        self.with(|handles| {
            handles.of_request(fields, |families| {
                if let Some(requests) = families.requests.get(reason(e2e.finish_reason.as_deref())) {
                    requests.increment(1);
                }
                families.e2e.record(e2e);
                stages.for_each(|(row, gaps)| families.add_stage(row, gaps));
                transfers.for_each(|row| families.add_transfer(row));
            });
        });
    }

    /// Exports the numbers of a detached row.
    pub(crate) fn add_stage(&self, row: &StageRow, gaps: Option<&Gaps>) {
        self.with(|handles| handles.of_no_request().add_stage(row, gaps));
    }

    /// Exports the numbers of a detached row.
    pub(crate) fn add_transfer(&self, row: &TransferRow) {
        self.with(|handles| handles.of_no_request().add_transfer(row));
    }
}

struct Handles {
    in_flight: Gauge,
    lines_lost: Counter,
    warnings: Counter,
    labels: Labels,
    /// Of detached rows, and of everything if requests have no labels.
    plain: OnceLock<Families>,
    labelled: Known<Combination, Families>,
}

impl Handles {
    fn new(labels: Labels) -> Self {
        describe();
        let handles = Self {
            in_flight: gauge!("omni_requests_in_flight"),
            lines_lost: counter!("omni_lines_lost_total"),
            warnings: counter!("omni_warnings_total"),
            labels,
            plain: OnceLock::new(),
            labelled: Known::new(COMBINATIONS),
        };
        if handles.labels.is_empty() {
            handles.of_no_request();
        }
        handles
    }

    fn of_no_request(&self) -> &Families {
        self.plain.get_or_init(|| Families::new(self.labels.named(Some(&self.labels.absent()))))
    }

    fn of_request(&self, fields: &Fields, run: impl FnOnce(&Families)) {
        if self.labels.is_empty() {
            return run(self.of_no_request());
        }
        let new = |combination: Option<&Combination>| Families::new(self.labels.named(combination));
        run(&self.labelled.get(self.labels.of(fields), new));
    }
}

/// The metrics of requests with the same labels.
struct Families {
    labels: Vec<Label>,
    requests: [Counter; REASONS.len()],
    prompt_tokens: Counter,
    generation_tokens: Counter,
    e2e: Exported<E2eTable>,
    stages: Known<Option<u64>, OfStage>,
    edges: Known<(Option<u64>, Option<u64>), Exported<TransferRow>>,
}

impl Families {
    fn new(labels: Vec<Label>) -> Self {
        let of_reason = |reason| {
            counter!("omni_requests_total", and(&labels, [Label::from_static_parts("finish_reason", reason)]))
        };
        Self {
            requests: REASONS.map(of_reason),
            prompt_tokens: counter!("omni_prompt_tokens_total", labels.clone()),
            generation_tokens: counter!("omni_generation_tokens_total", labels.clone()),
            e2e: Exported::new(labels.clone()),
            stages: Known::new(ROWS),
            edges: Known::new(ROWS),
            labels,
        }
    }

    fn add_stage(&self, row: &StageRow, gaps: Option<&Gaps>) {
        if row.stage_id == Some(0) {
            self.prompt_tokens.increment(row.num_tokens_in.unwrap_or(0));
        }
        self.generation_tokens.increment(row.num_tokens_out.unwrap_or(0));
        let new = |id: Option<&Option<u64>>| OfStage {
            numbers: Exported::new(and(&self.labels, [label("stage", id.copied())])),
            inter_output: OnceLock::new(),
        };
        let stage = self.stages.get(row.stage_id, new);
        stage.numbers.record(row);
        if let Some(gaps) = gaps {
            let labels = &stage.numbers.labels;
            let histogram = stage.inter_output.get_or_init(|| histogram!(INTER_OUTPUT.name, labels.clone()));
            for (place, count) in gaps.buckets() {
                histogram.record_many(seconds(middle(place)), usize::try_from(count).unwrap_or(usize::MAX));
            }
        }
    }

    fn add_transfer(&self, row: &TransferRow) {
        let new = |ends: Option<&(Option<u64>, Option<u64>)>| {
            let (from, to) = (ends.map(|(from, _)| *from), ends.map(|(_, to)| *to));
            Exported::new(and(&self.labels, [label("from_stage", from), label("to_stage", to)]))
        };
        self.edges.get((row.from_stage, row.to_stage), new).record(row);
    }
}

/// The metrics of a stage.
struct OfStage {
    numbers: Exported<StageRow>,
    inter_output: OnceLock<Histogram>,
}

/// The metrics of a table's row.
struct Exported<Row> {
    labels: Vec<Label>,
    numbers: Vec<(Metric, Get<Row>)>,
}

enum Metric {
    Counter(Counter),
    Histogram(Histogram),
    /// A histogram that appears with its first value.
    Rare(&'static str, OnceLock<Histogram>),
}

impl<Row: Table> Exported<Row> {
    fn new(labels: Vec<Label>) -> Self {
        let exported = |number: &Number<Row>| {
            let Family { name, measure, .. } = number.about.family?;
            let metric = match measure {
                Measure::Counter => Metric::Counter(counter!(name, labels.clone())),
                Measure::Histogram { is_rare: true, .. } => Metric::Rare(name, OnceLock::new()),
                Measure::Histogram { .. } => Metric::Histogram(histogram!(name, labels.clone())),
            };
            Some((metric, number.get))
        };
        Self { numbers: Row::NUMBERS.iter().filter_map(exported).collect(), labels }
    }

    /// A measured zero is a value, an absent number is none.
    fn record(&self, row: &Row) {
        for (metric, get) in &self.numbers {
            let Some(value) = get(row) else { continue };
            match metric {
                Metric::Counter(counter) => counter.increment(match value {
                    Value::Count(count) => count,
                    Value::Time(_) | Value::Ratio(_) | Value::Text(_) => 0,
                }),
                Metric::Histogram(histogram) => Self::record_value(histogram, value),
                Metric::Rare(name, histogram) => {
                    Self::record_value(
                        histogram.get_or_init(|| histogram!(*name, self.labels.clone())),
                        value,
                    );
                }
            }
        }
    }

    fn record_value(histogram: &Histogram, value: Value<'_>) {
        match value {
            Value::Time(time) => histogram.record(time.as_secs_f64()),
            Value::Count(count) => histogram.record(count as f64),
            Value::Ratio(ratio) => histogram.record(ratio),
            Value::Text(_) => {}
        }
    }

    fn describe() {
        for number in Row::NUMBERS {
            if let Some(family) = &number.about.family {
                describe_family(family, number.about.unit);
            }
        }
    }
}

fn describe_family(&Family { name, description, measure }: &Family, unit: Unit) {
    let unit = match unit {
        Unit::Milliseconds => metrics::Unit::Seconds,
        Unit::Bytes => metrics::Unit::Bytes,
        Unit::Key | Unit::Id | Unit::Count | Unit::Ratio | Unit::Text => metrics::Unit::Count,
    };
    match measure {
        Measure::Counter => describe_counter!(name, unit, description),
        Measure::Histogram { .. } => describe_histogram!(name, unit, description),
    }
}

/// The metrics of rows, by id, or of requests, by their labels. Past the limit, further ones share one.
struct Known<Id, T> {
    limit: usize,
    own: DashMap<Id, Arc<T>>,
    others: OnceLock<Arc<T>>,
}

impl<Id: Clone + Eq + Hash, T> Known<Id, T> {
    fn new(limit: usize) -> Self {
        Self { limit, own: DashMap::new(), others: OnceLock::new() }
    }

    /// The metrics of an id, created by `new` if necessary, with no shard locked.
    fn get(&self, id: Id, new: impl Fn(Option<&Id>) -> T) -> Arc<T> {
        if let Some(known) = self.own.get(&id) {
            return Arc::clone(&known);
        }
        // Threads that run this at once may exceed the limit by their number.
        if self.own.len() >= self.limit {
            return Arc::clone(self.others.get_or_init(|| Arc::new(new(None))));
        }
        let created = Arc::new(new(Some(&id)));
        self.own.insert(id, Arc::clone(&created));
        created
    }
}

/// The index of a reason in [`REASONS`].
fn reason(reason: Option<&str>) -> usize {
    let name = reason.unwrap_or("none");
    REASONS.iter().position(|known| *known == name && (name != "none" || reason.is_none())).unwrap_or(4)
}

/// The label of an id: `none` if the row has no id, `other` past the limit.
fn label(name: &'static str, id: Option<Option<u64>>) -> Label {
    match id {
        None => Label::from_static_parts(name, "other"),
        Some(id) => Label::new(name, Shown(id).to_string()),
    }
}

fn and<const N: usize>(labels: &[Label], more: [Label; N]) -> Vec<Label> {
    labels.iter().cloned().chain(more).collect()
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
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
    describe_family(&INTER_OUTPUT, Unit::Milliseconds);
    Exported::<TransferRow>::describe();
}
