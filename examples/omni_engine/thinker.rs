//! The model of stage 0: candle's Llama, small, over the bytes of the text.

use candle_core::{DType, Device, Result, Tensor};
use candle_transformers::models::llama::{Cache, Config, Llama};

use crate::weights;

/// The token that ends a text. All smaller ones are bytes.
pub(crate) const END: u32 = 256;
/// How many tokens the model knows.
pub(crate) const VOCABULARY: usize = 257;
/// The longest text, with its prompt, in tokens.
pub(crate) const MAX_POSITIONS: usize = 1024;

pub(crate) struct Thinker {
    llama: Llama,
    /// A cache without tokens, for new sequences.
    empty: Cache,
}

/// The keys and values of a sequence's tokens.
pub(crate) struct Context {
    cache: Cache,
    tokens: usize,
}

impl Thinker {
    pub(crate) fn load(seed: u64) -> Result<Self> {
        let config = Config {
            hidden_size: 64,
            intermediate_size: 172,
            vocab_size: VOCABULARY,
            num_hidden_layers: 2,
            num_attention_heads: 4,
            num_key_value_heads: 2,
            use_flash_attn: false,
            rms_norm_eps: 1e-5,
            rope_theta: 10_000.,
            bos_token_id: None,
            eos_token_id: None,
            rope_scaling: None,
            max_position_embeddings: MAX_POSITIONS,
            tie_word_embeddings: false,
        };
        Ok(Self {
            llama: Llama::load(weights::from_seed(seed), &config)?,
            empty: Cache::new(true, DType::F32, &config, &Device::Cpu)?,
        })
    }

    /// What may follow the tokens. Only those that are not in the context yet are computed: all of them for a
    /// new sequence and after a preemption, the last one otherwise.
    pub(crate) fn forward(&self, context: &mut Option<Context>, tokens: &[u32]) -> Result<Tensor> {
        let context = context.get_or_insert_with(|| Context { cache: self.empty.clone(), tokens: 0 });
        let fresh = Tensor::new(&tokens[context.tokens..], &Device::Cpu)?.unsqueeze(0)?;
        let logits = self.llama.forward(&fresh, context.tokens, &mut context.cache)?;
        context.tokens = tokens.len();
        logits.squeeze(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_changes_what_is_computed_and_not_the_result() {
        let thinker = Thinker::load(7).unwrap();
        let mut context = None;
        thinker.forward(&mut context, &[1, 2, 3]).unwrap();
        let step = thinker.forward(&mut context, &[1, 2, 3, 4]).unwrap().to_vec1::<f32>().unwrap();
        let whole = thinker.forward(&mut None, &[1, 2, 3, 4]).unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(step.len(), VOCABULARY);
        assert!(step.iter().zip(&whole).all(|(one, other)| (one - other).abs() < 1e-3));
    }

    #[test]
    fn a_token_outside_of_the_vocabulary_is_an_error() {
        assert!(Thinker::load(7).unwrap().forward(&mut None, &[VOCABULARY as u32]).is_err());
    }
}
