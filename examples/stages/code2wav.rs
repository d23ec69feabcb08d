//! Stage 2: codec frames to sound.

use std::{
    num::NonZeroU32,
    sync::Arc,
    thread::{self, available_parallelism},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Semaphore, mpsc},
    task::{JoinSet, spawn_blocking},
};
use tracing::{Span, field, info_span};

use super::{
    Result,
    codec::FRAME_MILLIS,
    synth::{SAMPLE_RATE, Synth},
    talker::Speech,
    text::Generation,
    ticket::Ticket,
};

/// How many frames make a chunk of sound, 100 ms.
const CHUNK_FRAMES: usize = 10;

/// Where the sound of a request goes.
pub(crate) trait Sink: Send + 'static {
    /// Takes a chunk of it, from within the stage's span.
    fn write(&mut self, samples: &[i16]) -> Result<()>;

    /// Takes the end of it. The stage's span has closed, so the request may end as well.
    fn finish(self, ticket: Ticket, spoken: Result<Spoken>) -> impl Future<Output = Result<()>> + Send;
}

/// What was said.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Spoken {
    pub(crate) text: String,
    pub(crate) duration: Duration,
    pub(crate) codec_frames: u64,
    pub(crate) generation: Generation,
}

/// The task of the stage: several sounds at once, as many as there are workers; without a number, as many as
/// there are processors. With `slow_sound`, a chunk takes at least that many times as long to make as it plays.
pub(crate) async fn run<S: Sink>(
    mut speeches: mpsc::Receiver<(Ticket, Speech)>,
    open: impl Fn(&Ticket) -> S,
    workers: Option<NonZeroU32>,
    slow_sound: Option<f64>,
) -> Result<()> {
    let workers = match workers {
        Some(workers) => workers.get() as usize,
        None => available_parallelism()?.get(),
    };
    let slots = Arc::new(Semaphore::new(workers));
    let mut sounds = JoinSet::<Result<()>>::new();
    loop {
        tokio::select! {
            speech = speeches.recv() => {
                let Some((ticket, speech)) = speech else { break };
                let span = span(&ticket, &speech);
                let (slots, mut sink) = (Arc::clone(&slots), open(&ticket));
                sounds.spawn(async move {
                    let work = move || (speak(speech, &mut sink, slow_sound), sink);
                    let (spoken, sink) = in_slot(&slots, span, work).await?;
                    sink.finish(ticket, spoken).await
                });
            }
            Some(ended) = sounds.join_next() => ended??,
        }
    }
    while let Some(ended) = sounds.join_next().await {
        ended??;
    }
    Ok(())
}

/// Created when the work arrives, `scheduled` when it has a slot: in between is what the row calls
/// `queue_time_ms`. `#[instrument]` would create the span at the start, so this one is made by
/// hand. A field of one's own, like `samples`, goes into the row as well.
fn span(ticket: &Ticket, speech: &Speech) -> Span {
    let _trace = ticket.trace().attach();
    info_span!(
        "stage",
        stage_id = 2,
        stage_name = "code2wav",
        request_id = ticket.request_id,
        num_tokens_in = speech.frames.len(),
        scheduled = field::Empty,
        output = field::Empty,
        output_media_ms = field::Empty,
        samples = field::Empty,
    )
}

/// Runs `work` on another thread and inside of `span`, when a slot is free.
async fn in_slot<T: Send + 'static>(
    slots: &Arc<Semaphore>,
    span: Span,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    let slot = Arc::clone(slots).acquire_owned().await?;
    // From here on the stage works on the request, also while a thread of the pool is being found.
    span.record("scheduled", true);
    // A thread of the pool knows nothing of the spans of this task. Whoever wants them there
    // carries them there: the closure owns the span and enters it. So the span also closes over
    // there, before anyone hears of the result; a request that ended earlier would miss it.
    let work = move || {
        let _slot = slot;
        span.in_scope(work)
    };
    Ok(spawn_blocking(work).await?)
}

fn speak(speech: Speech, sink: &mut impl Sink, slow_sound: Option<f64>) -> Result<Spoken> {
    let mut synth = Synth::new();
    let mut chunk = Vec::new();
    let mut samples = 0;
    for frames in speech.frames.chunks(CHUNK_FRAMES) {
        chunk.clear();
        for frame in frames {
            synth.render(*frame, &mut chunk);
        }
        let media = Duration::from_secs(chunk.len() as u64) / SAMPLE_RATE;
        if let Some(factor) = slow_sound {
            thread::sleep(media.mul_f64(factor));
        }
        sink.write(&chunk)?;
        samples += chunk.len();
        // The chunk has left, and the moment is what counts. There are no tokens in it: samples would add up
        // to the `num_tokens_out` of the stage, and so to the tokens of the request.
        Span::current().record("output", 0).record("output_media_ms", media.as_secs_f64() * 1e3);
    }
    Span::current().record("samples", samples);
    let codec_frames = speech.frames.len() as u64;
    Ok(Spoken {
        text: speech.text.trim().to_owned(),
        duration: Duration::from_millis(codec_frames * u64::from(FRAME_MILLIS)),
        codec_frames,
        generation: speech.generation,
    })
}
