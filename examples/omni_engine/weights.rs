//! Random weights from a seed, so that nothing has to be downloaded.

use std::sync::Mutex;

use candle_core::{DType, Device, Error, Result, Shape, Tensor};
use candle_nn::{Init, VarBuilder, init::FanInOut, var_builder::SimpleBackend};
use rand::{Rng, SeedableRng, rngs::StdRng};

/// Makes the weights of a model while it is loaded. The same seed and model give the same weights.
///
/// `candle` has a source of random weights too, but on a CPU it can't be seeded.
pub(crate) fn from_seed(seed: u64) -> VarBuilder<'static> {
    let weights = Weights(Mutex::new(StdRng::seed_from_u64(seed)));
    VarBuilder::from_backend(Box::new(weights), DType::F32, Device::Cpu)
}

struct Weights(Mutex<StdRng>);

impl SimpleBackend for Weights {
    /// Each layer says how its weights are distributed. A normal distribution is replaced by a uniform one
    /// with the same mean and deviation.
    fn get(&self, shape: Shape, _: &str, init: Init, dtype: DType, device: &Device) -> Result<Tensor> {
        let around = |mean: f64, deviation: f64| {
            let half_width = 3f64.sqrt() * deviation;
            (mean - half_width, mean + half_width)
        };
        let (low, high) = match init {
            Init::Const(value) => return Tensor::full(value, shape, device)?.to_dtype(dtype),
            Init::Uniform { lo, up } => (lo, up),
            Init::Randn { mean, stdev } => around(mean, stdev),
            Init::Kaiming { .. } => around(0., 1. / (FanInOut::FanIn.for_shape(&shape) as f64).sqrt()),
        };
        let mut random = self.0.lock().map_err(|_| Error::Msg("another weight failed".to_owned()))?;
        let values = (0..shape.elem_count()).map(|_| random.random_range(low..=high) as f32);
        Tensor::from_vec(values.collect(), shape, device)?.to_dtype(dtype)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> Result<Tensor> {
        Err(Error::Msg(format!("the shape of {name} is not known")))
    }

    fn contains_tensor(&self, _: &str) -> bool {
        true
    }
}
