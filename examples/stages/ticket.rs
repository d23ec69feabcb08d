//! What a message says of the request that it belongs to.

use std::collections::HashMap;

use opentelemetry::{Context, propagation::TextMapPropagator};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use serde::{Deserialize, Serialize};

/// Goes from stage to stage with everything that is made for a request, also to other processes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Ticket {
    pub(crate) request_id: String,
    /// `traceparent` and `tracestate`, as the W3C has them; empty without OpenTelemetry.
    trace: HashMap<String, String>,
}

impl Ticket {
    /// For a request, made from within its span.
    pub(crate) fn new(request_id: String) -> Self {
        let mut trace = HashMap::new();
        TraceContextPropagator::new().inject(&mut trace);
        Self { request_id, trace }
    }

    /// The trace that the request is in. Where it is attached, spans without a parent in this process
    /// become children of the request's span, wherever that is.
    pub(crate) fn trace(&self) -> Context {
        TraceContextPropagator::new().extract(&self.trace)
    }
}
