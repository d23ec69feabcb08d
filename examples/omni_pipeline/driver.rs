//! The requests: accepted, kept in flight, answered.

use std::{fmt, path::PathBuf, time::Duration};

use indicatif::ProgressBar;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tracing::{Instrument, Span, field, info_span};

use crate::stages::{
    Result, answers,
    code2wav::{Sink, Spoken},
    corpus::opening,
    ngram::Random,
    thinker::Prompt,
    ticket::Ticket,
    wav::Wav,
};

pub(crate) type Answers = answers::Answers<Result<Sound>>;

/// How many requests are sent when.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Load {
    /// As many as keep this number in flight.
    InFlight(usize),
    /// This many a second on average, whether or not earlier ones have been answered. The times between them
    /// have an exponential distribution, as those of many independent users have.
    Rate { a_second: f64 },
}

impl Load {
    pub(crate) fn most_in_flight(self, requests: u32) -> usize {
        match self {
            Self::InFlight(limit) => limit,
            Self::Rate { .. } => requests as usize,
        }
    }
}

/// Sends requests until all are served.
pub(crate) struct Driver {
    pub(crate) prompts: mpsc::Sender<Prompt>,
    pub(crate) answers: Answers,
    pub(crate) progress: ProgressBar,
    pub(crate) max_tokens: usize,
}

impl Driver {
    pub(crate) async fn drive(self, sentences: Vec<String>, requests: u32, load: Load) -> Result<Account> {
        let mut account = Account::default();
        let mut in_flight = JoinSet::new();
        let mut random = Random::with_seed(1);
        let mut at = Instant::now();
        for (number, sentence) in (1..=requests).zip(sentences.iter().cycle()) {
            if let Load::Rate { a_second } = load {
                at += Duration::from_secs_f64(-(1.0 - random.unit()).ln() / a_second);
                sleep_until(at).await;
            }
            if in_flight.len() >= load.most_in_flight(requests)
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
                seed: number.into(),
                text: opening(sentence),
                max_tokens: self.max_tokens,
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

struct Request {
    request_id: String,
    seed: u64,
    text: String,
    max_tokens: usize,
    prompts: mpsc::Sender<Prompt>,
    answers: Answers,
}

impl Request {
    async fn serve(self) -> Result<Sound> {
        let answer = self.answers.expect(&self.request_id);
        let prompt = Prompt {
            ticket: Ticket::new(self.request_id),
            text: self.text,
            min_tokens: 1,
            max_tokens: self.max_tokens,
            seed: self.seed,
            request: Some(Span::current()),
            pieces: None,
        };
        let served = match self.prompts.send(prompt).await {
            Ok(()) => answer.await.unwrap_or_else(|_| Err("the request was dropped".into())),
            Err(_) => Err("the thinker has gone".into()),
        };
        let finish_reason =
            served.as_ref().map_or("error", |sound| sound.spoken.generation.finish_reason.as_str());
        Span::current().record("finish_reason", finish_reason);
        served
    }
}

/// The end of a request that went well.
#[derive(Debug)]
pub(crate) struct Sound {
    path: PathBuf,
    spoken: Spoken,
}

/// What makes the file of a request in a directory, and then answers it.
pub(crate) fn files(answers: Answers, directory: PathBuf) -> impl Fn(&Ticket) -> File + Send + 'static {
    move |ticket| File { wav: Wav::of(&ticket.request_id, &directory), answers: answers.clone() }
}

/// The sound of a request, on its way into a file.
pub(crate) struct File {
    wav: Wav,
    answers: Answers,
}

impl Sink for File {
    fn write(&mut self, samples: &[i16]) -> Result<()> {
        self.wav.write(samples)
    }

    async fn finish(self, ticket: Ticket, spoken: Result<Spoken>) -> Result<()> {
        let sound = spoken.and_then(|spoken| Ok(Sound { path: self.wav.finish()?, spoken }));
        self.answers.give(&ticket.request_id, sound);
        Ok(())
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
                let Spoken { duration, codec_frames, generation, .. } = sound.spoken;
                self.prompt_tokens += generation.prompt_tokens;
                self.tokens += generation.tokens;
                self.codec_frames += codec_frames;
                self.duration += duration;
                self.largest_batch = self.largest_batch.max(generation.batch_size);
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
        if let Some(Sound { path, spoken }) = &self.example {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            writeln!(f, "{name} says {:?}", spoken.text)?;
        }
        Ok(())
    }
}
