//! Stage 1: text to codec frames.

use serde::{Deserialize, Serialize};
use tokio::{sync::mpsc, task::spawn_blocking};
use tracing::{Span, field, instrument};

use super::{
    Result,
    codec::Frame,
    text::{FinishReason, Generation, Text},
    ticket::Ticket,
    voice,
    wire::Sender,
};

/// How a text sounds, as the codec has it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Speech {
    pub(crate) text: String,
    pub(crate) generation: Generation,
    pub(crate) frames: Vec<Frame>,
}

/// The task of the stage: one text after the other.
pub(crate) async fn run(mut texts: mpsc::Receiver<(Ticket, Text)>, code2wav: Sender<Speech>) -> Result<()> {
    while let Some((ticket, text)) = texts.recv().await {
        let work = move || {
            let _trace = ticket.trace().attach();
            (speak(&ticket, text), ticket)
        };
        let (speech, ticket) = spawn_blocking(work).await?;
        code2wav.send(&ticket, &speech).await?;
    }
    Ok(())
}

/// The function is the stage, so the attribute says it all. It runs on a thread of the pool, far
/// from the request's span, and needs no more than the `request_id` to find it. The span begins
/// with the call, so the time in the queue before is not the stage's; it ends up in the request's
/// `unattributed_time_ms`. Where that matters, do as `code2wav` does.
///
/// `num_tokens_in` counts tokens of the text, `num_tokens_out` codec frames.
#[instrument(name = "stage", skip_all, fields(
    stage_id = 1,
    stage_name = "talker",
    request_id = ticket.request_id,
    num_tokens_in = text.generation.tokens,
    num_tokens_out = field::Empty,
    first_output = field::Empty,
))]
fn speak(ticket: &Ticket, text: Text) -> Speech {
    let Text { text, generation } = text;
    let mut frames = Vec::new();
    if generation.finish_reason != FinishReason::Abort {
        for frame in voice::frames(&text) {
            frames.push(frame);
            if frames.len() == 1 {
                Span::current().record("first_output", true);
            }
        }
    }
    Span::current().record("num_tokens_out", frames.len());
    Speech { text, generation, frames }
}
