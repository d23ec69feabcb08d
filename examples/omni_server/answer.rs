//! From a prompt to text and sound, as they are made or all at once.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{FromRequest, Request, State},
    http::StatusCode,
    response::{IntoResponse, Response, sse::Sse},
};
use omni_metrics::OmniMetricsHandle;
use serde::Deserialize;
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tracing::{Instrument, Span, instrument};

use crate::{
    chunk::{Chunk, Done, Failed, Text, Whole},
    request::{Kept, RequestId},
    stages::{Result, thinker::Prompt, ticket::Ticket},
    timings,
    waiting::{Answers, Streams, Unsent},
};

/// How many events may wait for a client that reads slowly.
const UNREAD: usize = 16;
/// How long a client may take to read the last events, beyond what the request may take.
const LAST_CALL: Duration = Duration::from_millis(500);
/// A longer id would be cut in the metrics, and might be another one's then.
const ID_MAX_BYTES: usize = 256;
const MAX_TOKENS: usize = 4096;
const DEFAULT_TOKENS: usize = 48;

/// What a client sends.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ask {
    prompt: String,
    /// The text does not end before.
    #[serde(default)]
    min_tokens: usize,
    max_tokens: Option<usize>,
    /// The same prompt and seed, the same text.
    #[serde(default)]
    seed: u64,
    /// Whether to send text and sound as they are made.
    #[serde(default = "yes")]
    stream: bool,
}

fn yes() -> bool {
    true
}

/// The stages, as requests see them.
pub(crate) struct Service {
    prompts: mpsc::Sender<Prompt>,
    answers: Answers,
    timeout: Duration,
    metrics: OmniMetricsHandle,
}

impl Service {
    pub(crate) fn new(
        prompts: mpsc::Sender<Prompt>,
        answers: Answers,
        timeout: Duration,
        metrics: OmniMetricsHandle,
    ) -> Self {
        Self { prompts, answers, timeout, metrics }
    }
}

pub(crate) async fn generate(State(service): State<Arc<Service>>, request: Request) -> Response {
    let id = request.extensions().get().map(|RequestId(id)| id.clone()).unwrap_or_default();
    match service.begin(&id, request).await {
        Ok(response) => response,
        Err((status, what)) => {
            // A mistake of the client is no `ERROR` event in the log of the service. So the span says what
            // the outcome was, and the line has the text under `fields`.
            let error = format!("{status}: {what}");
            let span = Span::current();
            span.record("finish_reason", "error").record("error", error).record("x_request_id", id);
            (status, what).into_response()
        }
    }
}

impl Service {
    /// The answer to a request, or why it gets none.
    async fn begin(self: Arc<Self>, id: &str, request: Request) -> Result<Response, (StatusCode, String)> {
        let reading = Json::<Ask>::from_request(request, &());
        let Json(ask) = timeout(self.timeout, reading)
            .await
            .map_err(|_| {
                (StatusCode::REQUEST_TIMEOUT, format!("the body took more than {:?}", self.timeout))
            })?
            .map_err(|rejection| (rejection.status(), rejection.body_text()))?;
        let max_tokens = ask.max_tokens.unwrap_or(DEFAULT_TOKENS);
        if !(1..=MAX_TOKENS).contains(&max_tokens) {
            return Err(bad(format!("max_tokens is {max_tokens}, and 1 to {MAX_TOKENS} are possible")));
        }
        if ask.prompt.trim().is_empty() {
            return Err(bad("prompt is empty".to_owned()));
        }
        if id.is_empty() || id.len() > ID_MAX_BYTES {
            let what = format!("x-request-id has {} bytes, and 1 to {ID_MAX_BYTES} are possible", id.len());
            return Err(bad(what));
        }
        let Some((pieces, streams, reserved)) = self.answers.expect(id) else {
            return Err((
                StatusCode::CONFLICT,
                format!("a request with the x-request-id {id:?} is being served"),
            ));
        };
        Span::current().record("request_id", id);
        let prompt = Prompt {
            ticket: Ticket::new(id.to_owned()),
            text: ask.prompt,
            min_tokens: ask.min_tokens,
            max_tokens,
            seed: ask.seed,
            request: Some(Span::current()),
            pieces: Some(pieces),
        };
        let mut response =
            if ask.stream { self.stream(prompt, streams) } else { self.whole(id, prompt, streams).await };
        response.extensions_mut().insert(Kept::new(reserved));
        Ok(response)
    }

    /// Text and sound as they are made.
    fn stream(self: Arc<Self>, prompt: Prompt, streams: Streams) -> Response {
        let (sender, chunks) = mpsc::channel(UNREAD);
        // A task of its own, so that the deadline holds for a client, too, that does not read.
        tokio::spawn(async move { self.answer(prompt, streams, &sender).await }.instrument(Span::current()));
        Sse::new(ReceiverStream::new(chunks).map(Chunk::into_event)).into_response()
    }

    /// Text and sound in one piece, with the timings as a header. If the client leaves, this future is
    /// dropped.
    async fn whole(&self, id: &str, prompt: Prompt, streams: Streams) -> Response {
        let (sender, mut chunks) = mpsc::channel(UNREAD);
        let generating = async move { self.generate(prompt, streams, &sender).await };
        let collecting = async {
            let mut whole = Whole::default();
            while let Some(chunk) = chunks.recv().await {
                whole.add(chunk);
            }
            whole
        };
        let (ended, whole) = tokio::join!(generating, collecting);
        let mut response = match ended {
            Ok(done) => {
                done.iter().for_each(record);
                Json(whole.end(done)).into_response()
            }
            Err(failure) => (StatusCode::SERVICE_UNAVAILABLE, failure.to_string()).into_response(),
        };
        if let Some(timings) = self.metrics.request(id).and_then(|line| timings::header(&line)) {
            response.headers_mut().insert("server-timing", timings);
        }
        response
    }

    /// Streams what the stages make, how that ended, and the tables of the request.
    async fn answer(&self, prompt: Prompt, streams: Streams, chunks: &mpsc::Sender<Chunk>) {
        let id = prompt.ticket.request_id.clone();
        let last = match self.generate(prompt, streams, chunks).await {
            Ok(Some(done)) => {
                record(&done);
                Chunk::Done(done)
            }
            // The client has gone. The request is dropped as it is, and so has the reason `abort`.
            Ok(None) => return,
            Err(failure) => Chunk::Failed(Failed { error: failure.to_string() }),
        };
        // Whoever does not read has had a deadline's time for it.
        let _ = timeout(LAST_CALL, async {
            chunks.send(last).await?;
            // All stages are done with the request, so its rows are those that its line will have.
            match self.metrics.request(&id) {
                Some(line) => chunks.send(Chunk::Metrics(Box::new(line.into()))).await,
                None => Ok(()),
            }
        })
        .await;
    }

    /// Has the stages generate within the deadline, and hands on what they make. `None` if nobody takes it
    /// any more. An error becomes an `ERROR` event: the line counts it in `errors` and has its text in
    /// `error`. No reason is recorded then, so that `finish_reason` is `error` as well.
    #[instrument(skip_all, err)]
    async fn generate(
        &self,
        prompt: Prompt,
        streams: Streams,
        chunks: &mpsc::Sender<Chunk>,
    ) -> Result<Option<Done>> {
        let mut unsent = Unsent { answers: &self.answers, ticket: Some(prompt.ticket.clone()) };
        let generating = async {
            let place = self.prompts.reserve().await.map_err(|_| "the server is stopping")?;
            place.send(prompt);
            unsent.ticket = None;
            hand_on(streams, chunks).await
        };
        tokio::select! {
            done = generating => done,
            () = chunks.closed() => Ok(None),
            () = sleep(self.timeout) => Err(format!("timed out after {:?}", self.timeout).into()),
        }
    }
}

fn bad(what: String) -> (StatusCode, String) {
    (StatusCode::BAD_REQUEST, what)
}

/// Says in the request's span how it has ended.
fn record(done: &Done) {
    Span::current().record("finish_reason", done.finish_reason);
}

/// Hands on what the stages make; `None` if nobody takes it any more.
async fn hand_on(mut streams: Streams, chunks: &mpsc::Sender<Chunk>) -> Result<Option<Done>> {
    while let Some(text) = streams.pieces.recv().await {
        let Ok(()) = chunks.send(Chunk::Text(Text { text })).await else { return Ok(None) };
    }
    while let Some(samples) = streams.sound.recv().await {
        let Ok(()) = chunks.send(Chunk::Sound(samples)).await else { return Ok(None) };
    }
    Ok(Some(Done::new(&streams.spoken.await??)))
}
