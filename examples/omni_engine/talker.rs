//! Stage 1: the loop that turns the chunks of text into chunks of sound.

use std::collections::BTreeMap;

use candle_core::Result;
use tokio::sync::mpsc::UnboundedSender;
use tracing::error;

use crate::{
    answer::Event,
    hop::{Chunk, Ending, Inbox},
    reason,
    stage_span::{Stage, StageSpan},
    voice::{FRAME, Memory, Voice, duration_ms},
};

pub(crate) struct Talker {
    voice: Voice,
    inbox: Inbox,
    /// What is being spoken, by the number of the sequence.
    speeches: BTreeMap<u64, Speech>,
    passes: u64,
}

/// One sequence in this stage.
struct Speech {
    span: StageSpan,
    events: UnboundedSender<Event>,
    sound: Sound,
    /// With the last chunk of text.
    ending: Option<Ending>,
    /// The client has been told already.
    has_failed: bool,
}

/// What has been made of a sequence.
#[derive(Default)]
struct Sound {
    /// `None` before the first chunk is spoken.
    memory: Option<Memory>,
    /// Tokens that have come and not been spoken.
    pending: Vec<u32>,
    tokens: usize,
    media_ms: f64,
}

impl Talker {
    pub(crate) fn new(voice: Voice, inbox: Inbox) -> Self {
        Self { voice, inbox, speeches: BTreeMap::new(), passes: 0 }
    }

    /// Runs on a thread of its own until the thinker has ended.
    pub(crate) fn run(mut self) {
        while let Some(chunk) = self.inbox.receive() {
            self.take(chunk);
            while let Some(chunk) = self.inbox.next() {
                self.take(chunk);
            }
            self.pass();
        }
    }

    /// The stage span begins with the first chunk. From there to `scheduled`, the sequence waits for those
    /// that are spoken before it. The time in the channel is not part of it: that is `in_flight_time_ms` of
    /// the transfer.
    fn take(&mut self, Chunk { request, events, sequence, tokens, ending }: Chunk) {
        if events.is_closed() {
            self.speeches.remove(&sequence);
            return;
        }
        if tokens.is_empty() && !self.speeches.contains_key(&sequence) {
            // The sequence has ended without a token: nothing for this stage to do.
            tell(&events, ending, &Sound::default());
            return;
        }
        let speech = self.speeches.entry(sequence).or_insert_with(|| Speech {
            span: StageSpan::new(&request, Stage::Talker),
            events,
            sound: Sound::default(),
            ending: None,
            has_failed: false,
        });
        speech.sound.tokens += tokens.len();
        speech.sound.pending.extend(tokens);
        speech.span.num_tokens_in(speech.sound.tokens);
        speech.ending = ending;
    }

    /// Speaks everything that is pending.
    fn pass(&mut self) {
        self.passes += 1;
        let batch_size = self.speeches.values().filter(|speech| speech.has_work()).count();
        for speech in self.speeches.values_mut().filter(|speech| speech.has_work()) {
            let Speech { span, events, sound, has_failed, .. } = speech;
            span.scheduled();
            span.in_batch(self.passes, batch_size);
            span.in_scope(|| match sound.speak(&self.voice) {
                Ok(samples) => {
                    span.output_sound(samples.len() / FRAME, duration_ms(samples.len()));
                    span.num_tokens_out(sound.tokens);
                    // A client that has gone is noticed at the end of the pass.
                    let _ = events.send(Event::Sound(samples));
                }
                Err(failure) => {
                    let reason = reason(&failure);
                    error!("a chunk could not be spoken: {reason}");
                    *has_failed = true;
                    let _ = events.send(Event::Failed(reason));
                }
            });
        }
        self.speeches.retain(|_, speech| !speech.has_ended());
    }
}

impl Speech {
    fn has_work(&self) -> bool {
        !self.sound.pending.is_empty() && !self.has_failed && !self.events.is_closed()
    }

    /// Says whether the sequence has ended, and tells the client.
    fn has_ended(&mut self) -> bool {
        if self.events.is_closed() {
            return true;
        }
        let ending = self.ending.take();
        let has_ended = ending.is_some();
        if !self.has_failed {
            tell(&self.events, ending, &self.sound);
        }
        has_ended
    }
}

impl Sound {
    fn speak(&mut self, voice: &Voice) -> Result<Vec<f32>> {
        let memory = match &mut self.memory {
            Some(memory) => memory,
            memory => memory.insert(voice.silence()?),
        };
        let samples = voice.speak(memory, &self.pending)?;
        self.pending.clear();
        self.media_ms += duration_ms(samples.len());
        Ok(samples)
    }
}

/// Sends the last event, if the sequence has ended.
fn tell(events: &UnboundedSender<Event>, ending: Option<Ending>, sound: &Sound) {
    let event = match ending {
        Some(Ending::Stop) => Event::done("stop", sound.tokens, sound.media_ms),
        Some(Ending::Length) => Event::done("length", sound.tokens, sound.media_ms),
        Some(Ending::Failed(error)) => Event::Failed(error),
        Some(Ending::Abort) | None => return,
    };
    // Nobody hears it if the client has gone.
    let _ = events.send(event);
}
