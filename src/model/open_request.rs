//! A request that is open, as it stands.

use crate::{
    Fields, Millis, StageRow,
    model::record::{object, record},
};

/// An open request, from [`open_requests`](crate::OmniMetricsHandle::open_requests).
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct OpenRequest {
    /// As recorded; absent if none was recorded yet.
    pub request_id: Option<String>,
    /// From the request's creation to now.
    pub age_ms: Millis,
    /// Whether its span has closed, and its line waits for open spans that belong to it.
    pub is_answered: bool,
    /// Tokens so far: [`E2eTable::e2e_total_tokens`](crate::E2eTable::e2e_total_tokens) of the closed stage
    /// spans, and the output tokens of the open ones.
    pub e2e_total_tokens: u64,
    /// Further fields of the `request` span.
    pub fields: Fields,
    /// The rows so far: of the stage spans that have closed.
    pub stages: Vec<StageRow>,
    /// The ids of the stages in which it is or for which it waits, ordered, each once. A stage without an id
    /// is left out.
    pub in_stages: Vec<u64>,
    /// The stage spans of `in_stages`, and those without an id, the oldest first.
    pub open_stages: Vec<OpenStage>,
}

/// An open `stage` span of an [`OpenRequest`].
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct OpenStage {
    /// As recorded.
    pub stage_id: Option<u64>,
    /// As recorded.
    pub stage_name: Option<String>,
    /// From the span's creation to now.
    pub age_ms: Millis,
    /// Whether it waits in its queue: the span was never entered or, if it declares `scheduled`, that has not
    /// been recorded yet.
    pub is_waiting: bool,
    /// Tokens so far: as recorded, or else the sum of its outputs; absent if there is neither, or if the span
    /// serves several requests, whose total it would be.
    pub num_tokens_out: Option<u64>,
}

record! {
    OpenRequest:
    request_id: always,
    age_ms: always,
    is_answered: always,
    e2e_total_tokens: always or 0,
    fields: always or Fields::new(),
    stages: always or Vec::new(),
    in_stages: always or Vec::new(),
    open_stages: always or Vec::new(),
}

record! {
    OpenStage:
    stage_id: always,
    stage_name: if_some,
    age_ms: always,
    is_waiting: always,
    num_tokens_out: if_some,
}

object!(OpenRequest, OpenStage);
