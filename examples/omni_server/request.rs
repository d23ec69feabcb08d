//! The span of a request: from the head that came to the last byte that went.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
    http::StatusCode,
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

/// Makes the span, in the trace that `traceparent` names, and runs the request inside of it.
pub(crate) async fn in_span(mut request: Request, next: Next) -> Response {
    let id =
        request.headers().get("x-request-id").map(|id| String::from_utf8_lossy(id.as_bytes()).into_owned());
    let id = RequestId(id.unwrap_or_default());
    // The id is recorded when it is known to be nobody else's: two open requests of one id can't be told apart
    // by stages that name it.
    let span =
        info_span!("request", request_id = field::Empty, finish_reason = field::Empty, error = field::Empty);
    let parent = TraceContextPropagator::new().extract(&HeaderExtractor(request.headers()));
    // A request that OpenTelemetry does not see needs no parent there.
    let _ = span.set_parent(parent);
    request.extensions_mut().insert(id.clone());

    let response = next.run(request).instrument(span.clone()).await;
    let (status, RequestId(id)) = (response.status(), id);
    if status == StatusCode::CONFLICT {
        span.record("error", format!("{status}: x-request-id {id:?} is in use"));
    } else if !status.is_success() {
        span.record("request_id", id).record("error", field::display(status));
    }
    if !status.is_success() {
        span.record("finish_reason", "error");
    }
    response.map(|body| Body::new(InSpan { body, span }))
}

/// A body that is sent within a span. The span closes when the last byte has been handed over, or when
/// nobody takes the rest.
struct InSpan {
    body: Body,
    span: Span,
}

impl HttpBody for InSpan {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Self { body, span } = &mut *self;
        span.in_scope(|| Pin::new(body).poll_frame(context))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
