//! What a client asks, and the stream that it is answered with.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use axum::response::sse;
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_stream::Stream;

use crate::{request::Request, voice::duration_ms};

/// The body of a request.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ask {
    /// The text to go on from.
    pub prompt: String,
    /// The most tokens to generate.
    pub max_tokens: usize,
    /// The same prompt and seed give the same text.
    pub seed: u64,
    /// Generates `max_tokens` tokens even if the model would end before.
    pub ignore_eos: bool,
    /// Makes the step after so many tokens fail, to see how an error looks.
    pub fail_after: Option<usize>,
}

impl Default for Ask {
    fn default() -> Self {
        Self { prompt: String::new(), max_tokens: 64, seed: 0, ignore_eos: false, fail_after: None }
    }
}

/// What the stages send to a client.
#[derive(Debug)]
pub(crate) enum Event {
    Text(String),
    /// Samples between −1 and 1.
    Sound(Vec<f32>),
    Done {
        finish_reason: &'static str,
        tokens: usize,
        sound_ms: f64,
    },
    Failed(String),
}

impl Event {
    pub(crate) fn done(finish_reason: &'static str, tokens: usize, sound_ms: f64) -> Self {
        Self::Done { finish_reason, tokens, sound_ms }
    }

    /// How the request ends with this event, if it does.
    fn finish_reason(&self) -> Option<&'static str> {
        match self {
            Self::Text(_) | Self::Sound(_) => None,
            Self::Done { finish_reason, .. } => Some(finish_reason),
            Self::Failed(_) => Some("error"),
        }
    }

    fn to_sse(&self) -> sse::Event {
        let (name, data) = match self {
            Self::Text(text) => ("text", json!({ "text": text })),
            Self::Sound(samples) => {
                let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
                let media_ms = duration_ms(samples.len());
                ("sound", json!({ "media_ms": media_ms, "pcm_f32le": BASE64_STANDARD.encode(bytes) }))
            }
            Self::Done { finish_reason, tokens, sound_ms } => {
                ("done", json!({ "finish_reason": finish_reason, "tokens": tokens, "sound_ms": sound_ms }))
            }
            Self::Failed(error) => ("error", json!({ "error": error })),
        };
        sse::Event::default().event(name).data(data.to_string())
    }
}

/// The body of an answer. It holds the request, so the `request` span lasts until the last event has been
/// handed to the connection, or until the client has gone: then the server drops the body.
pub(crate) struct Answer {
    events: UnboundedReceiver<Event>,
    request: Request,
    has_ended: bool,
}

impl Answer {
    pub(crate) fn new(events: UnboundedReceiver<Event>, request: Request) -> Self {
        Self { events, request, has_ended: false }
    }
}

impl Stream for Answer {
    type Item = Result<sse::Event, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { events, request, has_ended } = &mut *self;
        request.in_scope(|| {
            if *has_ended {
                return Poll::Ready(None);
            }
            events.poll_recv(context).map(|event| {
                // A stage that ends without a last event has panicked.
                let event = event.unwrap_or_else(|| Event::Failed("a stage has stopped".to_owned()));
                if let Some(reason) = event.finish_reason() {
                    request.finish(reason);
                    *has_ended = true;
                }
                Some(Ok(event.to_sse()))
            })
        })
    }
}

impl Drop for Answer {
    /// The client may have gone before the end. The stages see that the channel is closed, and let go.
    ///
    /// The span is entered once more, because a request ends with its last exit. Otherwise, a client that
    /// leaves while its request waits would leave a request that ended when it was queued.
    fn drop(&mut self) {
        if !self.has_ended {
            self.request.in_scope(|| self.request.finish("abort"));
        }
    }
}
