//! A request as the engine sees it: tokens, their keys and values, and the span of stage 0.

use candle_core::Result;
use candle_transformers::generation::LogitsProcessor;
use tokio::sync::mpsc::UnboundedSender;

use crate::{
    answer::{Ask, Event},
    hop::Ending,
    request::Request,
    stage_span::{Stage, StageSpan},
    thinker::{Context, END, Thinker, VOCABULARY},
};

/// So many tokens leave the engine together.
const CHUNK: usize = 4;
const TEMPERATURE: f64 = 1.0;

pub(crate) struct Sequence {
    /// Tells sequences apart.
    pub(crate) number: u64,
    pub(crate) request: Request,
    /// The way to the client.
    pub(crate) events: UnboundedSender<Event>,
    pub(crate) span: StageSpan,
    pub(crate) text: Text,
}

impl Sequence {
    /// Made where the request arrives, not where the engine takes it: the time in the engine's inbox is part
    /// of the time in its queue.
    pub(crate) fn new(number: u64, ask: Ask, request: Request, events: UnboundedSender<Event>) -> Self {
        let span = StageSpan::new(&request, Stage::Thinker);
        let text = Text::new(ask);
        span.num_tokens_in(text.prompt);
        Self { number, request, events, span, text }
    }

    /// Gives its place in the cache back. What was computed is lost, the tokens are not.
    pub(crate) fn preempt(&mut self) {
        self.text.context = None;
        self.span.preempted();
    }

    pub(crate) fn client_has_gone(&self) -> bool {
        self.events.is_closed()
    }
}

/// The tokens of a sequence.
pub(crate) struct Text {
    tokens: Vec<u32>,
    /// How many of them are the prompt.
    prompt: usize,
    /// How many have left the engine, the prompt included.
    sent: usize,
    max_tokens: usize,
    ignore_eos: bool,
    fail_after: Option<usize>,
    sampler: LogitsProcessor,
    /// `None` while it is not running.
    context: Option<Context>,
}

impl Text {
    fn new(ask: Ask) -> Self {
        let tokens: Vec<u32> = ask.prompt.bytes().map(u32::from).collect();
        Self {
            prompt: tokens.len(),
            sent: tokens.len(),
            tokens,
            max_tokens: ask.max_tokens,
            ignore_eos: ask.ignore_eos,
            fail_after: ask.fail_after,
            sampler: LogitsProcessor::new(ask.seed, Some(TEMPERATURE), None),
            context: None,
        }
    }

    #[cfg(test)]
    pub(crate) fn grow(&mut self, tokens: usize) {
        self.tokens.extend(vec![0; tokens]);
    }

    /// Places in the cache that the next step needs.
    pub(crate) fn len(&self) -> usize {
        self.tokens.len()
    }

    pub(crate) fn generated(&self) -> usize {
        self.tokens.len() - self.prompt
    }

    /// How many generated tokens have left the engine.
    pub(crate) fn sent(&self) -> usize {
        self.sent - self.prompt
    }

    /// Computes the next token, and says whether it was the last one.
    pub(crate) fn step(&mut self, thinker: &Thinker) -> Result<Option<Ending>> {
        let logits = if self.fail_after == Some(self.generated()) {
            // The model has no such token, so the step fails inside of it.
            thinker.forward(&mut self.context, &[&self.tokens[..], &[VOCABULARY as u32]].concat())?
        } else {
            thinker.forward(&mut self.context, &self.tokens)?
        };
        let token = self.sampler.sample(&logits)?;
        if token == END && !self.ignore_eos {
            return Ok(Some(Ending::Stop));
        }
        self.tokens.push(token);
        Ok((self.generated() == self.max_tokens).then_some(Ending::Length))
    }

    /// The tokens that leave now: a whole chunk, or what is left at the end.
    pub(crate) fn take_chunk(&mut self, at_end: bool) -> Option<Vec<u32>> {
        let fresh = &self.tokens[self.sent..];
        let is_due = fresh.len() >= CHUNK || (at_end && !fresh.is_empty());
        is_due.then(|| {
            let chunk = fresh.to_vec();
            self.sent = self.tokens.len();
            chunk
        })
    }
}

/// The text of some tokens. Bytes that are not ASCII are written as escapes, since half a character may be in
/// the next chunk.
pub(crate) fn to_text(tokens: &[u32]) -> String {
    let bytes: Vec<u8> = tokens.iter().filter_map(|token| u8::try_from(*token).ok()).collect();
    bytes.escape_ascii().to_string()
}
