//! The model of stage 1: a small network that turns tokens into sound.

use candle_core::{Device, Result, Tensor};
use candle_nn::{
    ConvTranspose1d, ConvTranspose1dConfig, Embedding, GRU, GRUConfig, Module, RNN, conv_transpose1d,
    embedding, gru, rnn::GRUState,
};

use crate::{thinker::VOCABULARY, weights};

/// Samples a second.
pub const SAMPLE_RATE: usize = 24_000;
/// How long the sound of one token is, in samples: 40 ms.
pub const FRAME: usize = FINE * COARSE;

/// The two convolutions make so many samples of one.
const COARSE: usize = 30;
const FINE: usize = 32;
const EMBEDDED: usize = 32;
const HIDDEN: usize = 64;
const CHANNELS: usize = 16;

/// An embedding, a recurrent layer that hears the sequence so far, and two convolutions up to samples.
pub(crate) struct Voice {
    embedding: Embedding,
    recurrent: GRU,
    coarse: ConvTranspose1d,
    fine: ConvTranspose1d,
}

/// What the network knows of a sequence from its earlier chunks.
#[derive(Debug, Clone)]
pub(crate) struct Memory(GRUState);

impl Voice {
    pub(crate) fn load(seed: u64) -> Result<Self> {
        let weights = weights::from_seed(seed);
        let stride = |stride| ConvTranspose1dConfig { stride, ..ConvTranspose1dConfig::default() };
        Ok(Self {
            embedding: embedding(VOCABULARY, EMBEDDED, weights.pp("embedding"))?,
            recurrent: gru(EMBEDDED, HIDDEN, GRUConfig::default(), weights.pp("recurrent"))?,
            coarse: conv_transpose1d(HIDDEN, CHANNELS, COARSE, stride(COARSE), weights.pp("coarse"))?,
            fine: conv_transpose1d(CHANNELS, 1, FINE, stride(FINE), weights.pp("fine"))?,
        })
    }

    pub(crate) fn silence(&self) -> Result<Memory> {
        self.recurrent.zero_state(1).map(Memory)
    }

    /// A frame of sound for each token, as samples between −1 and 1.
    pub(crate) fn speak(&self, memory: &mut Memory, tokens: &[u32]) -> Result<Vec<f32>> {
        let embedded = self.embedding.forward(&Tensor::new(tokens, &Device::Cpu)?)?;
        let mut heard = Vec::with_capacity(tokens.len());
        for token in embedded.chunk(tokens.len(), 0)? {
            memory.0 = self.recurrent.step(&token, &memory.0)?;
            heard.push(memory.0.h().clone());
        }
        // (tokens, hidden) to (1, hidden, tokens), as convolutions have it.
        let hidden = Tensor::cat(&heard, 0)?.t()?.unsqueeze(0)?.contiguous()?;
        let waves = self.coarse.forward(&hidden)?.tanh()?;
        self.fine.forward(&waves)?.tanh()?.flatten_all()?.to_vec1()
    }
}

/// How long so many samples last.
pub(crate) fn duration_ms(samples: usize) -> f64 {
    samples as f64 * 1_000. / SAMPLE_RATE as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_sound_like_the_whole() {
        let voice = Voice::load(7).unwrap();
        let whole = voice.speak(&mut voice.silence().unwrap(), &[5, 6, 7]).unwrap();
        let mut memory = voice.silence().unwrap();
        let mut chunks = voice.speak(&mut memory, &[5]).unwrap();
        chunks.extend(voice.speak(&mut memory, &[6, 7]).unwrap());
        assert_eq!(whole.len(), 3 * FRAME);
        assert!(whole.iter().zip(&chunks).all(|(one, other)| (one - other).abs() < 1e-4));
        assert!(whole.iter().any(|sample| sample.abs() > 0.01), "not silence");
    }
}
