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
    /// Further fields of the `request` span.
    pub fields: Fields,
    /// The rows so far: of the stage spans that have closed.
    pub stages: Vec<StageRow>,
    /// The stages in which it is or for which it waits: the ids of its open stage spans, ordered, each once.
    /// A span without an id is left out.
    pub in_stages: Vec<u64>,
}

record! {
    OpenRequest:
    request_id: always,
    age_ms: always,
    is_answered: always,
    fields: always or Fields::new(),
    stages: always or Vec::new(),
    in_stages: always or Vec::new(),
}

object!(OpenRequest);
