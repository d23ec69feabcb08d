//! The service over HTTP.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{State, rejection::JsonRejection},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response, Sse},
    routing::post,
};

use crate::{answer::Ask, service::Service};

/// The header that a client can name its request with.
pub const REQUEST_ID: &str = "x-request-id";

/// The routes: `POST /v1/speech`.
pub fn routes(service: Arc<Service>) -> Router {
    Router::new().route("/v1/speech", post(speech)).with_state(service)
}

/// The request begins when its body has been read, and ends with the body of the answer. A request that is
/// refused has a line, too.
async fn speech(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    ask: Result<Json<Ask>, JsonRejection>,
) -> Response {
    let request = service.begin(headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()));
    let submitted = request.in_scope(|| match ask {
        Ok(Json(ask)) => service.submit(&request, ask).map_err(|why| (StatusCode::BAD_REQUEST, why)),
        Err(rejection) => Err((rejection.status(), rejection.body_text())),
    });
    match submitted {
        Ok(answer) => Sse::new(answer).into_response(),
        Err((status, why)) => {
            request.refuse(&why);
            (status, why).into_response()
        }
    }
}
