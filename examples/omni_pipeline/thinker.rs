//! Stage 0: prompts to text, several at a time.

use std::{mem, sync::Arc};

use tiktoken_rs::{CoreBPE, ENDOFTEXT, Rank, r50k_base_singleton};
use tokio::{sync::mpsc, task::spawn_blocking};
use tracing::{Span, field, info_span, instrument};

use crate::{
    Result,
    ngram::{NGram, Random},
    text::{FinishReason, Generation, Text},
    wire::Sender,
};

/// How many requests share a step of the model.
const BATCH_LIMIT: usize = 8;
/// Fewer tokens, and the model has nothing to choose from.
const TRAINING_MIN_TOKENS: usize = 50;

/// A prompt on its way into a batch.
#[derive(Debug)]
pub(crate) struct Prompt {
    pub(crate) request_id: String,
    pub(crate) number: u32,
    pub(crate) text: String,
    /// For the batch's span to follow from. A clone keeps the request's span open, so it must be
    /// gone when the request ends.
    pub(crate) request: Span,
}

/// The task of the stage: while a batch is generated, prompts queue up and form the next one.
pub(crate) async fn run(
    thinker: Arc<Thinker>,
    mut prompts: mpsc::Receiver<Prompt>,
    talker: Sender<Text>,
) -> Result<()> {
    let mut batch = Vec::new();
    let mut batch_id = 0_u64;
    while prompts.recv_many(&mut batch, BATCH_LIMIT).await > 0 {
        let (thinker, batch) = (Arc::clone(&thinker), mem::take(&mut batch));
        // Generating is work for a thread, not for the async runtime. All spans of the stage are
        // made and closed over there, so none has to be carried across.
        let texts = spawn_blocking(move || thinker.think(batch_id, &batch)).await?;
        // Only now may texts leave: a request that went ahead of its batch could be answered and
        // closed before the batch's span, and what that span has to say would come too late.
        for text in texts {
            talker.send(&text).await?;
        }
        batch_id += 1;
    }
    Ok(())
}

/// The model and its tokenizer.
pub(crate) struct Thinker {
    tokenizer: &'static CoreBPE,
    model: NGram,
    /// Stands between sentences in training; generating it ends the text.
    end: Rank,
    max_tokens: usize,
}

impl Thinker {
    pub(crate) fn train(sentences: &[String], max_tokens: usize) -> Result<Self> {
        let tokenizer = r50k_base_singleton();
        let tokens = tokenizer.encode_with_special_tokens(ENDOFTEXT);
        let end = tokens.first().copied().ok_or("the tokenizer has no token for the end of a text")?;
        let mut training = Vec::new();
        for sentence in sentences {
            training.extend(tokenizer.encode_ordinary(sentence));
            training.push(end);
        }
        if training.len() < TRAINING_MIN_TOKENS {
            return Err(format!(
                "it has {} tokens of prose, and {TRAINING_MIN_TOKENS} are needed",
                training.len()
            )
            .into());
        }
        Ok(Self { tokenizer, model: NGram::train(&training), end, max_tokens })
    }

    /// Generates for all prompts of a batch, one token of each a step.
    fn think(&self, batch_id: u64, batch: &[Prompt]) -> Vec<Text> {
        // A span can be inside of one request only, and a batch belongs to several. So it is
        // inside of none and follows from all: each gets a row with the batch's times.
        let batch_size = batch.len();
        let stage =
            info_span!(parent: None, "stage", stage_id = 0, stage_name = "thinker", batch_id, batch_size);
        for prompt in batch {
            stage.follows_from(&prompt.request);
        }
        stage.in_scope(|| {
            let contexts = self.tokenize(batch);
            let mut sequences: Vec<_> = batch
                .iter()
                .zip(contexts)
                .map(|(prompt, context)| {
                    // What is one request's own goes to a stage span inside of the batch's, with
                    // the request's id. The layer adds its counts, and leaves the times to the
                    // batch.
                    let part = info_span!(
                        "stage",
                        stage_id = 0,
                        request_id = prompt.request_id,
                        num_tokens_in = context.len(),
                        num_tokens_out = field::Empty,
                        first_output = field::Empty,
                    );
                    (part, Sequence::new(context, prompt.number))
                })
                .collect();
            let mut unfinished = true;
            while unfinished {
                unfinished = false;
                for (part, sequence) in sequences.iter_mut().filter(|(_, s)| s.finish_reason.is_none()) {
                    part.in_scope(|| self.step(sequence));
                    unfinished = true;
                }
            }
            sequences
                .iter()
                .zip(batch)
                .map(|((_, sequence), prompt)| self.text(prompt, sequence, batch_size))
                .collect()
        })
    }

    /// A function that is preprocessing from its first line to its last needs only the attribute.
    /// `skip_all` because arguments would become fields, and a batch of prompts is a poor field.
    #[instrument(name = "preprocess", skip_all)]
    fn tokenize(&self, batch: &[Prompt]) -> Vec<Vec<Rank>> {
        batch.iter().map(|prompt| self.tokenizer.encode_ordinary(&prompt.text)).collect()
    }

    /// Adds a token to a sequence, in the scope of the request's part of the stage.
    fn step(&self, sequence: &mut Sequence) {
        // Some text there must be, so the first token is not the end.
        let banned = sequence.generated().is_empty().then_some(self.end);
        let next = self.model.next(&sequence.tokens, banned, &mut sequence.random);
        match next.filter(|token| *token != self.end) {
            Some(token) => {
                sequence.tokens.push(token);
                if sequence.generated().len() == 1 {
                    // The moment is what counts, so it is recorded at once; the value is not read.
                    Span::current().record("first_output", true);
                }
                if sequence.generated().len() >= self.max_tokens {
                    sequence.finish_reason = Some(FinishReason::Length);
                }
            }
            None => sequence.finish_reason = Some(FinishReason::Stop),
        }
        if sequence.finish_reason.is_some() {
            Span::current().record("num_tokens_out", sequence.generated().len());
        }
    }

    fn text(&self, prompt: &Prompt, sequence: &Sequence, batch_size: usize) -> Text {
        let generated = sequence.generated();
        // A token may be half a character, and the last one may leave it at that.
        let bytes = self.tokenizer.decode_bytes(generated).unwrap_or_default();
        Text {
            request_id: prompt.request_id.clone(),
            text: String::from_utf8_lossy(&bytes).into_owned(),
            generation: Generation {
                prompt_tokens: sequence.prompt_tokens as u64,
                tokens: generated.len() as u64,
                batch_size: batch_size as u64,
                finish_reason: sequence.finish_reason.unwrap_or(FinishReason::Length),
            },
        }
    }
}

/// A prompt and what has been generated after it.
struct Sequence {
    tokens: Vec<Rank>,
    prompt_tokens: usize,
    random: Random,
    finish_reason: Option<FinishReason>,
}

impl Sequence {
    fn new(prompt: Vec<Rank>, seed: u32) -> Self {
        let prompt_tokens = prompt.len();
        Self { tokens: prompt, prompt_tokens, random: Random::with_seed(seed.into()), finish_reason: None }
    }

    fn generated(&self) -> &[Rank] {
        self.tokens.get(self.prompt_tokens..).unwrap_or_default()
    }
}
