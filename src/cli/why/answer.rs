//! Where the time of a request went, against the median request.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    earlier::Earlier,
    survey::{Mean, Survey},
    tail::Tail,
};
use crate::{
    E2eTable, Millis, RequestLine, Timestamp,
    cli::{
        critical_path::critical_path,
        groups::Heading,
        in_the_way::Meanwhile,
        missing_rows::received_without_row,
        own_end::own_e2e,
        stage_names::StageNames,
        timeline::{Part, Timeline},
    },
    model::id::{OrderedId, unordered},
};

/// How many further requests with the id are named.
pub(super) const OTHERS: usize = 4;

/// Another request with the id.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Other {
    pub(super) ended: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) finish_reason: Option<String>,
}

impl Other {
    pub(super) fn of(line: &RequestLine) -> Self {
        Self { ended: line.timestamp, finish_reason: line.e2e_table.finish_reason.clone() }
    }
}

/// How the request was chosen, and what it is compared with.
#[derive(Debug)]
pub(super) struct Question {
    /// The group of the request, if there are several groups.
    pub(super) group: Option<Heading>,
    pub(super) percentile: Option<f64>,
    /// How many requests have the id, and the last ones of those before it.
    pub(super) occurrences: u64,
    pub(super) others: Vec<Other>,
    pub(super) middle: Mean,
    pub(super) median: MeanRequest,
    pub(super) tail: Option<Tail>,
    /// How many lines the log has of requests, and for how many requests they stand.
    pub(super) requests: u64,
    pub(super) weight: u64,
    /// Rows of workers that are not in their requests.
    pub(super) rows_of_workers: u64,
    /// A stage without a row, to which the request was sent, and which other requests have.
    pub(super) stage_without_row: Option<OrderedId>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "why")]
pub(super) struct Answer {
    #[serde(flatten)]
    pub(super) group: Option<Heading>,
    pub(super) request_id: String,
    pub(super) began: Timestamp,
    pub(super) ended: Timestamp,
    pub(super) e2e_total_ms: Millis,
    /// As it is in the line: the time without any span, while the parts have each row as one piece.
    pub(super) unattributed_time_ms: Millis,
    /// Until the end of the request in its own process, if rows of workers went on for notably longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) e2e_before_join_ms: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) finish_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) errors: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    /// The percentile by which it was chosen; absent if by its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) percentile: Option<f64>,
    /// How many requests have the id; absent if chosen by a percentile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) occurrences: Option<u64>,
    /// Those of them that come before it, at most the last [`OTHERS`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) same_id: Vec<Other>,
    pub(super) median: MeanRequest,
    /// Absent if the percentile leaves less than one request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tail: Option<Tail>,
    /// In the order of a pipeline.
    pub(super) parts: Vec<Compared>,
    path: Vec<Segment>,
    pub(super) meanwhile: Vec<AtStage>,
    /// Whether a stage of the request tells how long it was waited for.
    #[serde(skip)]
    pub(super) tells_of_queues: bool,
    /// A stage to which the request was sent, but of which it has no row, as others have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stage_without_row: Option<WithoutRow>,
    /// Stages and transfers without a start, which are not on the path.
    pub(super) rows_without_start: usize,
    pub(super) requests: u64,
    pub(super) weight: u64,
    pub(super) rows_of_workers: u64,
}

/// The mean of some requests. The median request is the mean of those in the middle fifth by `e2e_total_ms`.
#[derive(Debug, Serialize)]
pub(super) struct MeanRequest {
    pub(super) e2e_total_ms: Millis,
    pub(super) requests: u64,
    pub(super) fastest_ms: Millis,
    pub(super) slowest_ms: Millis,
    /// How many of the requests have no row of a stage that they were sent to; absent if 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) without_rows: u64,
}

/// A stage without a row.
#[derive(Debug, Serialize)]
pub(super) struct WithoutRow {
    pub(super) stage_id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stage_name: Option<String>,
    /// Whether the stage received the request.
    #[serde(skip)]
    pub(super) has_received: bool,
}

/// A part of the time: in the request, in the median request, and in the mean of the slowest ones.
#[derive(Debug, Serialize)]
pub(super) struct Compared {
    #[serde(serialize_with = "as_text")]
    pub(super) part: Part,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stage_name: Option<String>,
    pub(super) time_ms: Millis,
    pub(super) median_ms: Millis,
    /// Negative if the request spent less time.
    pub(super) difference_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tail_ms: Option<Millis>,
    /// In the mean of the slowest ones without few that make up most of the difference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) others_ms: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) earlier_stage: Option<Earlier>,
}

/// A piece of the critical path, from the creation of the request.
#[derive(Debug, Serialize)]
struct Segment {
    #[serde(serialize_with = "as_text")]
    part: Part,
    from_ms: Millis,
    to_ms: Millis,
}

/// What a stage did for others.
#[derive(Debug, Serialize)]
pub(super) struct AtStage {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stage_name: Option<String>,
    #[serde(flatten)]
    pub(super) meanwhile: Meanwhile,
}

pub(super) fn as_text<S: serde::Serializer>(part: &Part, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(part)
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl MeanRequest {
    pub(super) fn of(mean: &Mean, survey: &Survey) -> Self {
        let Mean { requests, fastest, slowest, e2e, .. } = *mean;
        Self {
            e2e_total_ms: e2e,
            requests,
            fastest_ms: fastest,
            slowest_ms: slowest,
            without_rows: mean.without_row(survey),
        }
    }
}

impl Answer {
    pub(super) fn of(
        line: &RequestLine,
        question: Question,
        meanwhile: Vec<Meanwhile>,
        names: &StageNames,
    ) -> Self {
        let Question {
            group,
            percentile,
            occurrences,
            others,
            middle,
            median,
            tail,
            requests,
            weight,
            rows_of_workers,
            stage_without_row,
        } = question;
        let E2eTable { e2e_total_ms, unattributed_time_ms, finish_reason, errors, error, .. } =
            &line.e2e_table;
        let timeline = Timeline::of(line);
        let path = critical_path(&timeline);
        let mut times = BTreeMap::<_, [Millis; 4]>::new();
        for segment in &path {
            let [time, ..] = times.entry(segment.part).or_default();
            *time = time.saturating_add(Millis::from_nanos(segment.length()));
        }
        for (part, median) in middle.parts() {
            times.entry(part).or_default()[1] = median;
        }
        for (part, in_tail) in tail.iter().flat_map(|tail| tail.all.parts()) {
            times.entry(part).or_default()[2] = in_tail;
        }
        let few = tail.as_ref().and_then(|tail| tail.few.as_ref());
        for (part, in_others) in few.iter().flat_map(|few| few.others_mean.parts()) {
            times.entry(part).or_default()[3] = in_others;
        }
        let name = |stage: OrderedId| {
            let rows = line.stage_table.iter().filter(|row| row.order() == stage);
            let own = rows.filter_map(|row| row.stage_name.as_deref()).next_back();
            own.or_else(|| names.name(stage)).map(str::to_owned)
        };
        let compared = |(part, [time_ms, median_ms, tail_ms, others_ms]): (Part, [Millis; 4])| Compared {
            part,
            stage_name: part.stage().and_then(name),
            time_ms,
            median_ms,
            difference_ms: difference(time_ms, median_ms),
            tail_ms: tail.is_some().then_some(tail_ms),
            others_ms: few.is_some().then_some(others_ms),
            earlier_stage: Earlier::of(part, &path, &timeline, &middle, &name),
        };
        let micros = e2e_total_ms.as_nanos() / 1_000;
        let stages = line.stage_table.iter().map(|row| row.start_ms);
        let starts = stages.chain(line.transfer_table.iter().map(|row| row.start_ms));
        Self {
            group,
            request_id: line.request_id.clone(),
            began: Timestamp::from_unix_micros(line.timestamp.unix_micros().saturating_sub(micros)),
            ended: line.timestamp,
            e2e_total_ms: *e2e_total_ms,
            unattributed_time_ms: *unattributed_time_ms,
            e2e_before_join_ms: own_e2e(line),
            finish_reason: finish_reason.clone(),
            errors: *errors,
            error: error.clone(),
            percentile,
            occurrences: percentile.is_none().then_some(occurrences),
            same_id: others,
            median,
            parts: times.into_iter().map(compared).collect(),
            tail,
            path: path
                .iter()
                .map(|segment| Segment {
                    part: segment.part,
                    from_ms: Millis::from_nanos(segment.from),
                    to_ms: Millis::from_nanos(segment.to),
                })
                .collect(),
            meanwhile: meanwhile
                .into_iter()
                .map(|meanwhile| AtStage {
                    stage_name: name(crate::model::id::ordered(meanwhile.stage_id)),
                    meanwhile,
                })
                .collect(),
            tells_of_queues: line.stage_table.iter().any(|row| row.queue_time_ms.is_some()),
            stage_without_row: stage_without_row.map(|stage| WithoutRow {
                stage_id: unordered(stage),
                stage_name: name(stage),
                has_received: received_without_row(line) == Some(stage),
            }),
            rows_without_start: starts.filter(Option::is_none).count(),
            requests,
            weight,
            rows_of_workers,
        }
    }
}

/// The first time − the second, in milliseconds.
pub(super) fn difference(one: Millis, other: Millis) -> f64 {
    one.saturating_sub(other).as_f64() - other.saturating_sub(one).as_f64()
}
