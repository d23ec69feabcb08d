//! A client of the service, for the load and for the tests.

use axum::http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::{Bytes, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpStream, task::JoinHandle};

use crate::{Result, answer::Ask, server::REQUEST_ID};

/// An answer that is being read. A client that drops it leaves: the connection is closed.
#[derive(Debug)]
pub struct Events {
    status: StatusCode,
    body: Incoming,
    /// What has come and is not a whole event yet.
    text: String,
    connection: JoinHandle<()>,
}

/// One event of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    /// `text`, `sound`, `done` or `error`.
    pub name: String,
    /// Its data.
    pub data: Value,
}

impl Events {
    /// Sends a request on a connection of its own, and waits for the head of the answer. At that moment the
    /// engine has the request in its queue.
    ///
    /// # Errors
    ///
    /// The server can't be reached.
    pub async fn ask(address: &str, id: &str, ask: &Ask) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(async {
            // The reader of the body hears of an error.
            let _ = connection.await;
        });
        let request = Request::post("/v1/speech")
            .header(header::HOST, address)
            .header(header::CONTENT_TYPE, "application/json")
            .header(REQUEST_ID, id)
            .body(Full::new(Bytes::from(serde_json::to_vec(ask)?)))?;
        let (head, body) = sender.send_request(request).await?.into_parts();
        Ok(Self { status: head.status, body, text: String::new(), connection })
    }

    /// Whether the request was accepted.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The next event; `None` at the end.
    ///
    /// # Errors
    ///
    /// The connection broke, or what came is not an event.
    pub async fn next(&mut self) -> Result<Option<Received>> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let event = parse(event).ok_or_else(|| format!("not an event: {event}"))?;
                self.text = rest.to_owned();
                return Ok(Some(event));
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            if let Ok(bytes) = frame?.into_data() {
                self.text.push_str(str::from_utf8(&bytes)?);
            }
        }
    }

    /// All further events.
    ///
    /// # Errors
    ///
    /// As for [`next`](Self::next).
    pub async fn rest(mut self) -> Result<Vec<Received>> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await? {
            events.push(event);
        }
        Ok(events)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

fn parse(event: &str) -> Option<Received> {
    let (name, data) = event.split_once('\n')?;
    let name = name.strip_prefix("event: ")?.to_owned();
    Some(Received { name, data: serde_json::from_str(data.strip_prefix("data: ")?).ok()? })
}
