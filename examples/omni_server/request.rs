//! The span of a request: from the head that came to the last byte that went.

use std::{
    any::Any,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
    middleware::Next,
    response::Response,
};
use http_body::{Frame, SizeHint};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::{Instrument, Span, field, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The id that the request came with, or was given.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub(crate) String);

/// Something in a response that is kept until its body has gone.
#[derive(Clone)]
pub(crate) struct Kept {
    _what: Arc<dyn Any + Send + Sync>,
}

impl Kept {
    pub(crate) fn new(what: Arc<dyn Any + Send + Sync>) -> Self {
        Self { _what: what }
    }
}

/// Makes the span, in the trace that `traceparent` names, and runs the request inside of it.
pub(crate) async fn in_span(mut request: Request, next: Next) -> Response {
    let id = request
        .headers()
        .get("x-request-id")
        .map(|id| String::from_utf8_lossy(id.as_bytes()).into_owned())
        .unwrap_or_default();
    // Not `request_id` yet: an id that the request is not let have may be that of another one, and stages
    // that name it must not find this one.
    let span = info_span!(
        "request",
        request_id = field::Empty,
        x_request_id = field::Empty,
        finish_reason = field::Empty,
        error = field::Empty,
    );
    let parent = TraceContextPropagator::new().extract(&HeaderExtractor(request.headers()));
    // A request that OpenTelemetry does not see needs no parent there.
    let _ = span.set_parent(parent);
    request.extensions_mut().insert(RequestId(id));

    let mut response = next.run(request).instrument(span.clone()).await;
    let kept = response.extensions_mut().remove();
    response.map(|body| Body::new(InSpan { body, span, _kept: kept }))
}

/// A body that is sent within a span. The span closes when the last byte has been handed to the connection,
/// or when nobody takes the rest.
struct InSpan {
    body: Body,
    span: Span,
    _kept: Option<Kept>,
}

impl HttpBody for InSpan {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Self { body, span, .. } = &mut *self;
        span.in_scope(|| Pin::new(body).poll_frame(context))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
