//! Stage 0: prompts to text, several at a time.

use std::{mem, sync::Arc};

use tiktoken_rs::{CoreBPE, ENDOFTEXT, Rank, r50k_base_singleton};
use tokio::{sync::mpsc, task::spawn_blocking};
use tracing::{Span, field, info_span, instrument};

use super::{
    Result,
    ngram::{NGram, Random},
    text::{FinishReason, Generation, Text},
    ticket::Ticket,
    wire::Sender,
};

/// How many requests share a step of the model.
const BATCH_LIMIT: usize = 8;
/// Fewer tokens, and the model has nothing to choose from.
const TRAINING_MIN_TOKENS: usize = 50;

/// A prompt on its way into a batch.
#[derive(Debug)]
pub(crate) struct Prompt {
    pub(crate) ticket: Ticket,
    pub(crate) text: String,
    /// The text does not end before. At least one token, or there would be no text.
    pub(crate) min_tokens: usize,
    pub(crate) max_tokens: usize,
    /// The same seed, the same text.
    pub(crate) seed: u64,
    /// For the batch's span to follow from, if the request is one of this process. A clone keeps the
    /// request's span open, so it must be gone when the request ends.
    pub(crate) request: Option<Span>,
    /// Takes the text in pieces, as it is generated, if anyone wants them. Once the receiver is gone, nobody
    /// waits for the request any more.
    pub(crate) pieces: Option<mpsc::UnboundedSender<String>>,
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
        let texts = spawn_blocking(move || thinker.think(batch_id, batch)).await?;
        // Only now may texts leave: a request that went ahead of its batch could be answered and
        // closed before the batch's span, and what that span has to say would come too late.
        for (ticket, text) in texts {
            talker.send(&ticket, &text).await?;
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
}

impl Thinker {
    pub(crate) fn train(sentences: &[String]) -> Result<Self> {
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
        Ok(Self { tokenizer, model: NGram::train(&training), end })
    }

    /// Generates for all prompts of a batch, one token of each a step.
    fn think(&self, batch_id: u64, batch: Vec<Prompt>) -> Vec<(Ticket, Text)> {
        let batch_size = batch.len();
        let stage = batch_span(batch_id, &batch);
        let mut sequences: Vec<_> = stage.in_scope(|| {
            batch.into_iter().map(|prompt| self.begin(&stage, batch_id, batch_size, prompt)).collect()
        });
        stage.in_scope(|| {
            let mut unfinished = true;
            while unfinished {
                unfinished = false;
                for (part, sequence) in sequences.iter_mut().filter(|(_, s)| s.finish_reason.is_none()) {
                    part.in_scope(|| self.step(sequence));
                    unfinished = true;
                }
            }
        });
        sequences.into_iter().map(|(_, sequence)| self.text(sequence, batch_size)).collect()
    }

    fn begin(&self, stage: &Span, batch_id: u64, batch_size: usize, prompt: Prompt) -> (Span, Sequence) {
        // What is one request's own goes to a stage span inside of the batch's, with the request's
        // id. The layer adds its counts, and leaves the times to the batch.
        let _trace = prompt.ticket.trace().attach();
        let part = info_span!(
            "stage",
            stage_id = 0,
            stage_name = "thinker",
            batch_id,
            batch_size,
            request_id = prompt.ticket.request_id,
            num_tokens_in = field::Empty,
            num_tokens_out = field::Empty,
            first_output = field::Empty,
            output = field::Empty,
        );
        let whole = if stage.is_none() { &part } else { stage };
        let tokens = whole.in_scope(|| self.tokenize(&prompt.text));
        part.record("num_tokens_in", tokens.len());
        (part, Sequence::new(prompt, tokens))
    }

    /// A function that is preprocessing from its first line to its last needs only the attribute.
    /// `skip_all` because arguments would become fields, and a prompt is a poor field.
    #[instrument(name = "preprocess", skip_all)]
    fn tokenize(&self, prompt: &str) -> Vec<Rank> {
        self.tokenizer.encode_ordinary(prompt)
    }

    /// Adds a token to a sequence, in the scope of the request's part of the stage.
    fn step(&self, sequence: &mut Sequence) {
        let banned = (sequence.generated().len() < sequence.min_tokens).then_some(self.end);
        let next = self.model.next(&sequence.tokens, banned, &mut sequence.random);
        match next.filter(|token| *token != self.end) {
            Some(token) => {
                sequence.tokens.push(token);
                if sequence.pieces.is_none() && sequence.generated().len() == 1 {
                    // The text goes as a whole, so nothing leaves yet. But the moment of the first token
                    // is worth knowing, so it is recorded at once; the value is not read.
                    Span::current().record("first_output", true);
                }
                if sequence.generated().len() >= sequence.max_tokens {
                    sequence.finish_reason = Some(FinishReason::Length);
                }
                self.hand_out(sequence, token);
            }
            None => sequence.finish_reason = Some(FinishReason::Stop),
        }
        if sequence.finish_reason.is_some() {
            Span::current().record("num_tokens_out", sequence.generated().len());
        }
    }

    /// Sends what is new of the text, and notices when nobody takes it.
    fn hand_out(&self, sequence: &mut Sequence, token: Rank) {
        let Some(pieces) = &sequence.pieces else { return };
        sequence.undecoded.extend(self.tokenizer.decode_bytes(&[token]).unwrap_or_default());
        // A token may be half a character. The other half comes with the next one, or never.
        let whole = match str::from_utf8(&sequence.undecoded) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => sequence.undecoded.len(),
        };
        let piece: Vec<_> = sequence.undecoded.drain(..whole).collect();
        if pieces.send(String::from_utf8_lossy(&piece).into_owned()).is_err() {
            sequence.finish_reason = Some(FinishReason::Abort);
        } else {
            // A token has left the stage, now.
            Span::current().record("output", 1);
        }
    }

    fn text(&self, sequence: Sequence, batch_size: usize) -> (Ticket, Text) {
        let generated = sequence.generated();
        // The last token may leave a character half.
        let bytes = self.tokenizer.decode_bytes(generated).unwrap_or_default();
        let text = Text {
            text: String::from_utf8_lossy(&bytes).into_owned(),
            generation: Generation {
                prompt_tokens: sequence.prompt_tokens as u64,
                tokens: generated.len() as u64,
                batch_size: batch_size as u64,
                finish_reason: sequence.finish_reason.unwrap_or(FinishReason::Length),
            },
        };
        (sequence.ticket, text)
    }
}

/// A span can be inside of one request only, and a batch belongs to several. So it is inside of none and
/// follows from all: each gets a row with the batch's times. Where the requests are another process's, there
/// is nothing to follow, and each one's own span has the times.
fn batch_span(batch_id: u64, batch: &[Prompt]) -> Span {
    if batch.iter().all(|prompt| prompt.request.is_none()) {
        return Span::none();
    }
    let stage = info_span!(parent: None, "stage", stage_id = 0, stage_name = "thinker", batch_id);
    for request in batch.iter().filter_map(|prompt| prompt.request.as_ref()) {
        stage.follows_from(request);
    }
    stage
}

/// A prompt and what has been generated after it.
struct Sequence {
    ticket: Ticket,
    tokens: Vec<Rank>,
    prompt_tokens: usize,
    min_tokens: usize,
    max_tokens: usize,
    random: Random,
    finish_reason: Option<FinishReason>,
    pieces: Option<mpsc::UnboundedSender<String>>,
    undecoded: Vec<u8>,
}

impl Sequence {
    fn new(prompt: Prompt, tokens: Vec<Rank>) -> Self {
        Self {
            ticket: prompt.ticket,
            prompt_tokens: tokens.len(),
            tokens,
            min_tokens: prompt.min_tokens.max(1),
            max_tokens: prompt.max_tokens,
            random: Random::with_seed(prompt.seed),
            finish_reason: None,
            pieces: prompt.pieces,
            undecoded: Vec::new(),
        }
    }

    fn generated(&self) -> &[Rank] {
        self.tokens.get(self.prompt_tokens..).unwrap_or_default()
    }
}
