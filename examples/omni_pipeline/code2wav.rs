//! Stage 2: codec frames to a sound file.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread::available_parallelism,
    time::Duration,
};

use hound::{SampleFormat, WavSpec, WavWriter};
use tokio::{
    sync::{Semaphore, mpsc},
    task::spawn_blocking,
};
use tracing::{Span, field, info_span};

use crate::{
    Result,
    codec::FRAME_MILLIS,
    driver::Answers,
    synth::{SAMPLE_RATE, Synth},
    talker::Speech,
    text::Generation,
};

/// How many frames make a chunk of sound, 100 ms.
const CHUNK_FRAMES: usize = 10;

/// The end of a request that went well.
#[derive(Debug)]
pub(crate) struct Sound {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
    pub(crate) duration: Duration,
    pub(crate) codec_frames: u64,
    pub(crate) generation: Generation,
}

/// The task of the stage: several sounds at once, as many as there are processors.
pub(crate) async fn run(mut speeches: mpsc::Receiver<Speech>, out: PathBuf, answers: Answers) -> Result<()> {
    let slots = Arc::new(Semaphore::new(available_parallelism()?.get()));
    while let Some(speech) = speeches.recv().await {
        // Created when the work arrives and entered when it starts: in between is what the row
        // calls `queue_time_ms`. `#[instrument]` would create the span at the start, so this one
        // is made by hand. The stage makes samples, not tokens, and has no `num_tokens_out`; a
        // field of one's own, like `samples`, goes into the row as well.
        let span = info_span!(
            "stage",
            stage_id = 2,
            stage_name = "code2wav",
            request_id = speech.request_id,
            num_tokens_in = speech.frames.len(),
            first_output = field::Empty,
            samples = field::Empty,
        );
        let path = out.join(&speech.request_id).with_extension("wav");
        let (slots, answers) = (Arc::clone(&slots), answers.clone());
        tokio::spawn(async move {
            let request_id = speech.request_id.clone();
            let sound = in_slot(&slots, span, move || synthesise(speech, path)).await;
            answers.give(&request_id, sound);
        });
    }
    Ok(())
}

/// Runs `work` on another thread and inside of `span`, when a slot is free.
async fn in_slot<T: Send + 'static>(
    slots: &Arc<Semaphore>,
    span: Span,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let slot = Arc::clone(slots).acquire_owned().await?;
    // A thread of the pool knows nothing of the spans of this task. Whoever wants them there
    // carries them there: the closure owns the span and enters it. So the span also closes over
    // there, before anyone hears of the result; a request that ended earlier would miss it.
    spawn_blocking(move || {
        let _slot = slot;
        span.in_scope(work)
    })
    .await?
}

fn synthesise(speech: Speech, path: PathBuf) -> Result<Sound> {
    let samples = write_wav(&speech, &path)
        .map_err(|error| format!("{}: cannot write {}: {error}", speech.request_id, path.display()))?;
    Span::current().record("samples", samples);
    let codec_frames = speech.frames.len() as u64;
    Ok(Sound {
        path,
        text: speech.text.trim().to_owned(),
        duration: Duration::from_millis(codec_frames * u64::from(FRAME_MILLIS)),
        codec_frames,
        generation: speech.generation,
    })
}

fn write_wav(speech: &Speech, path: &Path) -> Result<u32, hound::Error> {
    let spec = WavSpec {
        channels: 1,
        sample_rate: SAMPLE_RATE,
        bits_per_sample: 16,
        sample_format: SampleFormat::Int,
    };
    let mut file = WavWriter::create(path, spec)?;
    let mut synth = Synth::new();
    let mut chunk = Vec::new();
    for (number, frames) in speech.frames.chunks(CHUNK_FRAMES).enumerate() {
        for frame in frames {
            synth.render(*frame, &mut chunk);
        }
        for sample in chunk.drain(..) {
            file.write_sample(sample)?;
        }
        if number == 0 {
            Span::current().record("first_output", true);
        }
    }
    let samples = file.duration();
    file.finalize()?;
    Ok(samples)
}
