//! From a prompt to a stream of text and sound.

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Json,
    extract::{FromRequest, Request, State},
    http::StatusCode,
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::{
    sync::{
        mpsc::{self, UnboundedReceiver, UnboundedSender},
        oneshot,
    },
    time::{sleep, timeout},
};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tracing::{Instrument, Span};

use crate::{
    request::{Kept, RequestId},
    stages::{
        Result,
        code2wav::{Sink, Spoken},
        synth::SAMPLE_RATE,
        thinker::Prompt,
        ticket::Ticket,
    },
};

/// How many events may wait for a client that reads slowly.
const UNREAD: usize = 16;
/// How long a client may take to read the last event, beyond what the request may take.
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
}

/// What a client is sent in the end.
#[derive(Debug, Serialize)]
struct Done {
    finish_reason: &'static str,
    prompt_tokens: u64,
    generated_tokens: u64,
    sound_ms: u64,
}

/// The stages, as requests see them.
pub(crate) struct Service {
    prompts: mpsc::Sender<Prompt>,
    answers: Answers,
    timeout: Duration,
}

impl Service {
    pub(crate) fn new(prompts: mpsc::Sender<Prompt>, answers: Answers, timeout: Duration) -> Self {
        Self { prompts, answers, timeout }
    }
}

pub(crate) async fn generate(State(service): State<Arc<Service>>, request: Request) -> Response {
    let id = request.extensions().get().map(|RequestId(id)| id.clone()).unwrap_or_default();
    match service.begin(&id, request).await {
        Ok(response) => response,
        Err((status, what)) => {
            let error = format!("{status}: {what}");
            let span = Span::current();
            span.record("finish_reason", "error").record("error", error).record("x_request_id", id);
            (status, what).into_response()
        }
    }
}

impl Service {
    /// The stream of a request, or why it gets none.
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
        let (sender, events) = mpsc::channel(UNREAD);
        // A task of its own, so that the deadline holds for a client, too, that does not read.
        tokio::spawn(answer(self, prompt, streams, sender).instrument(Span::current()));
        let events = ReceiverStream::new(events).map(Ok::<_, Infallible>);
        let mut response = Sse::new(events).into_response();
        response.extensions_mut().insert(Kept::new(reserved));
        Ok(response)
    }
}

fn bad(what: String) -> (StatusCode, String) {
    (StatusCode::BAD_REQUEST, what)
}

/// Sends what the stages make, and says in the request's span how that ended.
async fn answer(service: Arc<Service>, prompt: Prompt, streams: Streams, events: mpsc::Sender<Event>) {
    let limit = service.timeout;
    let mut unsent = Unsent { answers: &service.answers, ticket: Some(prompt.ticket.clone()) };
    let generating = async {
        let place = service.prompts.reserve().await.map_err(|_| "the server is stopping")?;
        place.send(prompt);
        unsent.ticket = None;
        streams.send_to(&events).await
    };
    // When the streams are dropped, the stages notice, and don't go on for nothing.
    let ended: Result<Done> = tokio::select! {
        ended = generating => ended,
        () = events.closed() => Err("the client has gone".into()),
        () = sleep(limit) => Err(format!("timed out after {limit:?}").into()),
    };
    let last = match ended {
        Ok(done) => {
            Span::current().record("finish_reason", done.finish_reason);
            Event::default().event("done").json_data(done)
        }
        Err(_) if events.is_closed() => {
            Span::current().record("finish_reason", "abort");
            return;
        }
        Err(failure) => {
            let error = failure.to_string();
            Span::current().record("finish_reason", "error").record("error", &error);
            Event::default().event("error").json_data(json!({ "error": error }))
        }
    };
    if let Ok(last) = last {
        // Whoever does not read has had a deadline's time for it.
        let _ = timeout(LAST_CALL, events.send(last)).await;
    }
}

/// What the stages make for a request.
struct Streams {
    pieces: UnboundedReceiver<String>,
    sound: UnboundedReceiver<Vec<i16>>,
    spoken: oneshot::Receiver<Result<Spoken>>,
}

impl Streams {
    async fn send_to(mut self, events: &mpsc::Sender<Event>) -> Result<Done> {
        while let Some(text) = self.pieces.recv().await {
            events.send(Event::default().event("text").json_data(json!({ "text": text }))?).await?;
        }
        while let Some(samples) = self.sound.recv().await {
            let bytes: Vec<u8> = samples.into_iter().flat_map(i16::to_le_bytes).collect();
            let chunk = json!({ "sample_rate": SAMPLE_RATE, "pcm_s16le": BASE64_STANDARD.encode(bytes) });
            events.send(Event::default().event("sound").json_data(chunk)?).await?;
        }
        let Spoken { duration, generation, .. } = self.spoken.await??;
        Ok(Done {
            finish_reason: generation.finish_reason.as_str(),
            prompt_tokens: generation.prompt_tokens,
            generated_tokens: generation.tokens,
            sound_ms: duration.as_millis() as u64,
        })
    }
}

/// The requests that stages are working for. They know a request by its id only.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answers {
    waiting: Arc<Mutex<HashMap<String, Waiting>>>,
    taken: Arc<Mutex<HashSet<String>>>,
}

#[derive(Debug)]
struct Waiting {
    sound: UnboundedSender<Vec<i16>>,
    spoken: oneshot::Sender<Result<Spoken>>,
    /// Keeps a request open that its client has left, until the stages let go of it.
    _request: Span,
    _id: Arc<Id>,
}

/// An id in use: until the stages are done with its request, and its answer has been sent.
#[derive(Debug)]
struct Id {
    id: String,
    taken: Arc<Mutex<HashSet<String>>>,
}

impl Drop for Id {
    fn drop(&mut self) {
        lock(&self.taken).remove(&self.id);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Answers {
    /// Makes room for the answer of a request, within its span; `None` if there is one with that id.
    fn expect(&self, request_id: &str) -> Option<(UnboundedSender<String>, Streams, Arc<Id>)> {
        if !lock(&self.taken).insert(request_id.to_owned()) {
            return None;
        }
        let id = Arc::new(Id { id: request_id.to_owned(), taken: Arc::clone(&self.taken) });
        // Not bounded, since a client that reads slowly must not hold up the batch that its request is in. How
        // much there can be is bounded by the tokens that were asked for.
        let ((to_pieces, pieces), (to_sound, sound)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let (to_spoken, spoken) = oneshot::channel();
        let (_request, _id) = (Span::current(), Arc::clone(&id));
        lock(&self.waiting)
            .insert(request_id.to_owned(), Waiting { sound: to_sound, spoken: to_spoken, _request, _id });
        Some((to_pieces, Streams { pieces, sound, spoken }, id))
    }

    fn remove(&self, ticket: &Ticket) -> Option<Waiting> {
        lock(&self.waiting).remove(&ticket.request_id)
    }

    pub(crate) fn sinks(&self) -> impl Fn(&Ticket) -> Speaker + Send + 'static {
        let answers = self.clone();
        move |ticket| {
            let sound = lock(&answers.waiting).get(&ticket.request_id).map(|waiting| waiting.sound.clone());
            Speaker { sound, answers: answers.clone() }
        }
    }
}

/// A request that is not with the stages yet, from where it would be let go of.
struct Unsent<'a> {
    answers: &'a Answers,
    ticket: Option<Ticket>,
}

impl Drop for Unsent<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = &self.ticket {
            self.answers.remove(ticket);
        }
    }
}

/// The sound of a request, on its way to the client.
pub(crate) struct Speaker {
    sound: Option<UnboundedSender<Vec<i16>>>,
    answers: Answers,
}

impl Sink for Speaker {
    fn write(&mut self, samples: &[i16]) -> Result<()> {
        let sound = self.sound.as_ref().ok_or("nobody listens")?;
        Ok(sound.send(samples.to_vec())?)
    }

    async fn finish(self, ticket: Ticket, spoken: Result<Spoken>) -> Result<()> {
        if let Some(waiting) = self.answers.remove(&ticket) {
            // The client may have gone.
            let _ = waiting.spoken.send(spoken);
        }
        Ok(())
    }
}
