//! From a prompt to a stream of text and sound.

use std::{
    collections::{HashMap, hash_map::Entry},
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Extension, Json,
    extract::{State, rejection::JsonRejection},
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
    request::RequestId,
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

/// A request that gets no stream.
type Refusal = (StatusCode, String);

pub(crate) async fn generate(
    State(service): State<Arc<Service>>,
    Extension(RequestId(id)): Extension<RequestId>,
    ask: Result<Json<Ask>, JsonRejection>,
) -> Result<Response, Refusal> {
    let Json(ask) = ask.map_err(|rejection| (rejection.status(), rejection.body_text()))?;
    let max_tokens = ask.max_tokens.unwrap_or(DEFAULT_TOKENS);
    if !(1..=MAX_TOKENS).contains(&max_tokens) {
        return Err(bad(format!("max_tokens is {max_tokens}, and 1 to {MAX_TOKENS} are possible")));
    }
    if ask.prompt.trim().is_empty() {
        return Err(bad("prompt is empty".to_owned()));
    }
    if id.is_empty() || id.len() > ID_MAX_BYTES {
        return Err(bad(format!(
            "x-request-id has {} bytes, and 1 to {ID_MAX_BYTES} are possible",
            id.len()
        )));
    }
    let Some((pieces, streams)) = service.answers.expect(&id) else {
        return Err((
            StatusCode::CONFLICT,
            format!("a request with the x-request-id {id:?} is being served"),
        ));
    };
    Span::current().record("request_id", &id);
    let prompt = Prompt {
        ticket: Ticket::new(id),
        text: ask.prompt,
        min_tokens: ask.min_tokens,
        max_tokens,
        seed: ask.seed,
        request: Some(Span::current()),
        pieces: Some(pieces),
    };
    let (sender, events) = mpsc::channel(UNREAD);
    // A task of its own, so that the deadline holds for a client, too, that does not read.
    tokio::spawn(answer(service, prompt, streams, sender).instrument(Span::current()));
    let events = ReceiverStream::new(events).map(Ok::<_, Infallible>);
    Ok(Sse::new(events).into_response())
}

fn bad(what: String) -> Refusal {
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
}

#[derive(Debug)]
struct Waiting {
    sound: UnboundedSender<Vec<i16>>,
    spoken: oneshot::Sender<Result<Spoken>>,
    /// Keeps a request open that its client has left, until the stages let go of it.
    _request: Span,
}

impl Answers {
    /// Makes room for the answer of a request, within its span; `None` if there is one with that id.
    fn expect(&self, request_id: &str) -> Option<(UnboundedSender<String>, Streams)> {
        let ((to_pieces, pieces), (to_sound, sound)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let (to_spoken, spoken) = oneshot::channel();
        match self.lock().entry(request_id.to_owned()) {
            Entry::Occupied(_) => return None,
            Entry::Vacant(vacant) => {
                vacant.insert(Waiting { sound: to_sound, spoken: to_spoken, _request: Span::current() });
            }
        }
        // Not bounded, since a client that reads slowly must not hold up the batch that its request is in. How
        // much there can be is bounded by the tokens that were asked for.
        Some((to_pieces, Streams { pieces, sound, spoken }))
    }

    fn remove(&self, ticket: &Ticket) -> Option<Waiting> {
        self.lock().remove(&ticket.request_id)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn sinks(&self) -> impl Fn(&Ticket) -> Speaker + Send + 'static {
        let answers = self.clone();
        move |ticket| {
            let sound = answers.lock().get(&ticket.request_id).map(|waiting| waiting.sound.clone());
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
