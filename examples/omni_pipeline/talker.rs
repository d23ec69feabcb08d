//! Stage 1: text to codec frames.

use serde::{Deserialize, Serialize};
use tokio::{sync::mpsc, task::spawn_blocking};
use tracing::{Span, field, instrument};

use crate::{
    Result,
    codec::Frame,
    text::{Generation, Text},
    voice,
    wire::{Message, Sender},
};

/// How a text sounds, as the codec has it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Speech {
    pub(crate) request_id: String,
    pub(crate) text: String,
    pub(crate) generation: Generation,
    pub(crate) frames: Vec<Frame>,
}

impl Message for Speech {
    fn request_id(&self) -> &str {
        &self.request_id
    }
}

/// The task of the stage: one text after the other.
pub(crate) async fn run(mut texts: mpsc::Receiver<Text>, code2wav: Sender<Speech>) -> Result<()> {
    while let Some(text) = texts.recv().await {
        let speech = spawn_blocking(move || speak(text)).await?;
        code2wav.send(&speech).await?;
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
    request_id = text.request_id,
    num_tokens_in = text.generation.tokens,
    num_tokens_out = field::Empty,
    first_output = field::Empty,
))]
fn speak(text: Text) -> Speech {
    let mut frames = Vec::new();
    for frame in voice::frames(&text.text) {
        frames.push(frame);
        if frames.len() == 1 {
            Span::current().record("first_output", true);
        }
    }
    Span::current().record("num_tokens_out", frames.len());
    let Text { request_id, text, generation } = text;
    Speech { request_id, text, generation, frames }
}
