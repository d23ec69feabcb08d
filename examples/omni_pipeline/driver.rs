//! The requests: accepted, kept in flight, answered.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use indicatif::ProgressBar;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use tracing::{Instrument, Span, field, info_span};

use crate::{Result, code2wav::Sound, thinker::Prompt};

/// Keeps a number of requests in flight until all are served.
pub(crate) struct Driver {
    pub(crate) prompts: mpsc::Sender<Prompt>,
    pub(crate) answers: Answers,
    pub(crate) progress: ProgressBar,
}

impl Driver {
    pub(crate) async fn drive(
        self,
        sentences: Vec<String>,
        requests: u32,
        concurrency: usize,
    ) -> Result<Account> {
        let mut account = Account::default();
        let mut in_flight = JoinSet::new();
        for (number, sentence) in (1..=requests).zip(sentences.iter().cycle()) {
            if in_flight.len() >= concurrency
                && let Some(served) = in_flight.join_next().await
            {
                account.add(served?, &self.progress);
            }
            let request_id = format!("req-{number:04}");
            // The request is accepted here and now, so its span is created by hand: that of
            // `#[instrument]` on an `async fn` is created when the future is polled for the first
            // time, and waiting for that would be missing. A field that is not declared can't be
            // recorded later, hence the `Empty` one.
            let span = info_span!("request", request_id, finish_reason = field::Empty);
            let request = Request {
                request_id,
                number,
                text: opening(sentence),
                prompts: self.prompts.clone(),
                answers: self.answers.clone(),
            };
            // Never hold `span.enter()` over an `.await`: it would be entered for whatever runs on
            // this thread meanwhile. `instrument` enters it for this future alone, and lets go of
            // it when the future ends, however it ends.
            in_flight.spawn(request.serve().instrument(span));
        }
        while let Some(served) = in_flight.join_next().await {
            account.add(served?, &self.progress);
        }
        self.progress.finish_and_clear();
        account.check()
    }
}

/// The first half of a sentence, for the model to go on from.
fn opening(sentence: &str) -> String {
    let words: Vec<_> = sentence.split_whitespace().collect();
    words.iter().take(words.len().div_ceil(2)).copied().collect::<Vec<_>>().join(" ")
}

struct Request {
    request_id: String,
    number: u32,
    text: String,
    prompts: mpsc::Sender<Prompt>,
    answers: Answers,
}

impl Request {
    async fn serve(self) -> Result<Sound> {
        let answer = self.answers.expect(&self.request_id);
        let prompt = Prompt {
            request_id: self.request_id,
            number: self.number,
            text: self.text,
            request: Span::current(),
        };
        let served = match self.prompts.send(prompt).await {
            Ok(()) => answer.await.unwrap_or_else(|_| Err("the request was dropped".into())),
            Err(_) => Err("the thinker has gone".into()),
        };
        let finish_reason = served.as_ref().map_or("error", |sound| sound.generation.finish_reason.as_str());
        Span::current().record("finish_reason", finish_reason);
        served
    }
}

/// Who waits for which request's sound. The stages know a request by its id only.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answers {
    waiting: Arc<Mutex<HashMap<String, oneshot::Sender<Result<Sound>>>>>,
}

impl Answers {
    fn expect(&self, request_id: &str) -> oneshot::Receiver<Result<Sound>> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.insert(request_id.to_owned(), sender);
        receiver
    }

    pub(crate) fn give(&self, request_id: &str, answer: Result<Sound>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = waiting.remove(request_id) {
            // Whoever asked may have stopped waiting.
            let _ = sender.send(answer);
        }
    }
}

/// What was made, for people; the metrics are the layer's business.
#[derive(Debug, Default)]
pub(crate) struct Account {
    served: u32,
    failures: Vec<String>,
    prompt_tokens: u64,
    tokens: u64,
    codec_frames: u64,
    duration: Duration,
    largest_batch: u64,
    example: Option<Sound>,
}

impl Account {
    fn add(&mut self, served: Result<Sound>, progress: &ProgressBar) {
        progress.inc(1);
        match served {
            Ok(sound) => {
                self.served += 1;
                self.prompt_tokens += sound.generation.prompt_tokens;
                self.tokens += sound.generation.tokens;
                self.codec_frames += sound.codec_frames;
                self.duration += sound.duration;
                self.largest_batch = self.largest_batch.max(sound.generation.batch_size);
                if self.example.as_ref().is_none_or(|example| sound.path < example.path) {
                    self.example = Some(sound);
                }
            }
            Err(failure) => self.failures.push(failure.to_string()),
        }
    }

    fn check(self) -> Result<Self> {
        match self.failures.first() {
            Some(first) => {
                let (failed, all) = (self.failures.len(), self.failures.len() + self.served as usize);
                Err(format!("{failed} of {all} requests failed, first: {first}").into())
            }
            None => Ok(self),
        }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { served, prompt_tokens, tokens, codec_frames, largest_batch, .. } = self;
        let seconds = self.duration.as_secs_f64();
        writeln!(f, "Requests: {served}, up to {largest_batch} in one batch of the thinker")?;
        writeln!(f, "Tokens: {prompt_tokens} in prompts, {tokens} generated")?;
        writeln!(f, "Sound: {seconds:.1} s from {codec_frames} codec frames")?;
        if let Some(Sound { path, text, .. }) = &self.example {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            writeln!(f, "{name} says {text:?}")?;
        }
        Ok(())
    }
}
