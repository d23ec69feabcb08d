//! A collector of traces: OTLP over HTTP, on a socket.

use std::{collections::BTreeMap, net, sync::mpsc, thread};

use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use opentelemetry_proto::tonic::{collector::trace::v1::ExportTraceServiceRequest, common::v1::KeyValue};
pub use opentelemetry_proto::tonic::{
    common::v1::any_value::Value as Attribute, trace::v1::Span as Exported,
};
use prost::Message;

/// Where it listens, and what arrives.
pub fn start() -> (String, mpsc::Receiver<Exported>) {
    let (sender, spans) = mpsc::channel();
    let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let endpoint = format!("http://{}/v1/traces", listener.local_addr().unwrap());
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let routes = Router::new().route("/v1/traces", post(receive)).with_state(sender);
            axum::serve(listener, routes).await.unwrap();
        });
    });
    (endpoint, spans)
}

async fn receive(State(spans): State<mpsc::Sender<Exported>>, body: Bytes) -> StatusCode {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    for span in request.resource_spans.into_iter().flat_map(|r| r.scope_spans).flat_map(|s| s.spans) {
        spans.send(span).unwrap();
    }
    StatusCode::OK
}

pub fn attributes(span: &Exported) -> BTreeMap<String, Attribute> {
    let value = |attribute: &KeyValue| attribute.value.clone().and_then(|any| any.value).unwrap();
    span.attributes.iter().map(|attribute| (attribute.key.clone(), value(attribute))).collect()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
