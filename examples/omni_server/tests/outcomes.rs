//! How the requests of a service end, and what their lines say of it.

#[path = "../panics.rs"]
mod panics;
#[allow(dead_code, reason = "the test has its own handlers")]
#[path = "../request.rs"]
mod request;
#[path = "../../../tests/support/mod.rs"]
mod support;

use std::{future::pending, sync::Arc, time::Duration};

use axum::{
    Router, body::Body, extract::Request, http::StatusCode, middleware::from_fn, response::Response,
    routing::get,
};
use serde_json::Value;
use support::Rig;
use tokio::{runtime::Builder, sync::Notify, task::yield_now, time::timeout};
use tower::ServiceExt;
use tracing::{Instrument, Span, info_span, instrument};

/// Runs a program with a layer, and returns the end-to-end table of its only request.
fn e2e_table(program: impl AsyncFnOnce()) -> Value {
    let rig = Rig::new();
    let _default = rig.install();
    // All on this thread, whose default subscriber the rig is.
    Builder::new_current_thread().enable_time().build().unwrap().block_on(program());
    let [line] = &rig.log.lines()[..] else { panic!("{}", rig.log.text()) };
    line["e2e_table"].clone()
}

/// The answer to a request whose span is made as the server makes it.
async fn answer<H, T>(handler: H) -> Response
where
    H: axum::handler::Handler<T, ()>,
    T: 'static,
{
    let app = Router::new().route("/", get(handler)).layer(from_fn(request::in_span));
    app.oneshot(Request::new(Body::empty())).await.unwrap()
}

/// A stage that does not come to an end.
async fn stage() {
    pending::<()>().instrument(info_span!("stage", stage_id = 0)).await;
}

#[test]
fn a_handler_that_returns_an_error_has_its_text_in_the_line() {
    #[instrument(err)]
    async fn generate() -> Result<(), &'static str> {
        Err("the model has gone")
    }

    let e2e = e2e_table(async || {
        let handler = async || generate().await.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(answer(handler).await.status(), 500);
    });
    assert_eq!((&e2e["finish_reason"], &e2e["errors"]), (&"error".into(), &1.into()));
    assert_eq!(e2e["error"], "the model has gone");
}

#[test]
fn an_error_that_was_dealt_with_leaves_the_reason_that_was_recorded() {
    let e2e = e2e_table(async || {
        let handler = async || {
            tracing::error!("the first try has failed");
            Span::current().record("finish_reason", "stop");
        };
        answer(handler).await;
    });
    assert_eq!((&e2e["finish_reason"], &e2e["errors"]), (&"stop".into(), &1.into()));
}

#[test]
fn a_handler_that_panics_is_an_error() {
    let e2e = e2e_table(async || {
        // As in a server, the task of the connection panics with it.
        let connection = tokio::spawn(answer(async || -> () { panic!("on purpose") }));
        assert!(connection.await.unwrap_err().is_panic());
    });
    assert_eq!(e2e["finish_reason"], "error");
}

#[test]
fn a_task_of_a_request_that_panics_is_an_error_with_its_text() {
    panics::log();
    let e2e = e2e_table(async || {
        let handler = async || {
            let task = tokio::spawn(async { panic!("on purpose") }.instrument(Span::current()));
            assert!(task.await.unwrap_err().is_panic());
        };
        answer(handler).await;
    });
    assert_eq!((&e2e["finish_reason"], &e2e["errors"]), (&"error".into(), &1.into()));
    let error = e2e["error"].as_str().unwrap();
    assert!(error.contains("outcomes.rs") && error.ends_with("on purpose"), "{error}");
}

#[test]
fn a_deadline_around_a_handler_is_an_abort() {
    let e2e = e2e_table(async || {
        assert!(timeout(Duration::ZERO, answer(stage)).await.is_err());
    });
    assert_eq!((&e2e["finish_reason"], &e2e["error"]), (&"abort".into(), &Value::Null));
}

#[test]
fn a_handler_that_loses_a_race_is_an_abort() {
    let e2e = e2e_table(async || {
        tokio::select! {
            biased;
            _ = answer(stage) => unreachable!("it does not come to an end"),
            () = yield_now() => {}
        }
    });
    assert_eq!(e2e["finish_reason"], "abort");
}

#[test]
fn a_task_that_is_aborted_is_an_abort() {
    let e2e = e2e_table(async || {
        let begun = Arc::new(Notify::new());
        let begins = Arc::clone(&begun);
        let handler = || async move {
            begins.notify_one();
            stage().await;
        };
        let task = tokio::spawn(answer(handler));
        begun.notified().await;
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
    });
    assert_eq!(e2e["finish_reason"], "abort");
}

#[test]
fn a_body_that_nobody_takes_is_an_abort() {
    let e2e = e2e_table(async || {
        let handler = async || Body::from_stream(tokio_stream::pending::<Result<&str, std::io::Error>>());
        drop(answer(handler).await);
    });
    assert_eq!(e2e["finish_reason"], "abort");
}
