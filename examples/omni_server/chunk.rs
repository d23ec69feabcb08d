//! What clients are sent.

use axum::response::sse::Event;
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Serialize;

use crate::{
    stages::{Result, code2wav::Spoken, synth::SAMPLE_RATE},
    timings::Tables,
};

/// An event of a streamed answer.
pub(crate) enum Chunk {
    Text(Text),
    Sound(Vec<i16>),
    Done(Done),
    Failed(Failed),
    /// The last one.
    Metrics(Box<Tables>),
}

#[derive(Debug, Serialize)]
pub(crate) struct Text {
    pub(crate) text: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct Failed {
    pub(crate) error: String,
}

/// How an answer ends.
#[derive(Debug, Serialize)]
pub(crate) struct Done {
    pub(crate) finish_reason: &'static str,
    prompt_tokens: u64,
    generated_tokens: u64,
    sound_ms: u64,
}

#[derive(Debug, Serialize)]
struct Sound {
    sample_rate: u32,
    pcm_s16le: String,
}

/// An answer in one piece.
#[derive(Debug, Default)]
pub(crate) struct Whole {
    text: String,
    samples: Vec<i16>,
}

impl Chunk {
    pub(crate) fn into_event(self) -> Result<Event> {
        let event = match self {
            Self::Text(text) => Event::default().event("text").json_data(text),
            Self::Sound(samples) => Event::default().event("sound").json_data(Sound::new(samples)),
            Self::Done(done) => Event::default().event("done").json_data(done),
            Self::Failed(failed) => Event::default().event("error").json_data(failed),
            Self::Metrics(tables) => Event::default().event("metrics").json_data(tables),
        };
        Ok(event?)
    }
}

impl Done {
    pub(crate) fn new(spoken: &Spoken) -> Self {
        let Spoken { duration, generation, .. } = spoken;
        Self {
            finish_reason: generation.finish_reason.as_str(),
            prompt_tokens: generation.prompt_tokens,
            generated_tokens: generation.tokens,
            sound_ms: duration.as_millis() as u64,
        }
    }
}

impl Sound {
    fn new(samples: Vec<i16>) -> Self {
        let bytes: Vec<u8> = samples.into_iter().flat_map(i16::to_le_bytes).collect();
        Self { sample_rate: SAMPLE_RATE, pcm_s16le: BASE64_STANDARD.encode(bytes) }
    }
}

impl Whole {
    pub(crate) fn add(&mut self, chunk: Chunk) {
        match chunk {
            Chunk::Text(Text { text }) => self.text += &text,
            Chunk::Sound(samples) => self.samples.extend(samples),
            Chunk::Done(_) | Chunk::Failed(_) | Chunk::Metrics(_) => {}
        }
    }

    pub(crate) fn end(self, done: Option<Done>) -> impl Serialize {
        #[derive(Serialize)]
        struct Ended {
            text: String,
            #[serde(flatten)]
            sound: Sound,
            #[serde(flatten)]
            done: Option<Done>,
        }

        Ended { text: self.text, sound: Sound::new(self.samples), done }
    }
}
