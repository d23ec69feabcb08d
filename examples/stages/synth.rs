//! A formant synthesiser: a buzz and a hiss through resonators.

use std::f32::consts::{PI, TAU};

use super::{
    codec::{FRAME_MILLIS, Frame},
    ngram::Random,
};

pub(crate) const SAMPLE_RATE: u32 = 16_000;
const FRAME_SAMPLES: u32 = SAMPLE_RATE * FRAME_MILLIS / 1000;
const BANDWIDTHS_HZ: [f32; 3] = [80.0, 100.0, 160.0];
/// Of the pitch period, the part in which the vocal cords are open.
const OPEN_PART: f32 = 0.6;
const VOICE_GAIN: f32 = 0.35;
const NOISE_GAIN: f32 = 0.35;

/// Carries the sound across the borders of frames.
#[derive(Debug)]
pub(crate) struct Synth {
    /// Place in the pitch period, from 0 to 1.
    phase: f32,
    voice: f32,
    noise: f32,
    throat: [Resonator; 3],
    teeth: Resonator,
    random: Random,
}

impl Synth {
    pub(crate) fn new() -> Self {
        Self {
            phase: 0.0,
            voice: 0.0,
            noise: 0.0,
            throat: Default::default(),
            teeth: Resonator::default(),
            random: Random::with_seed(0),
        }
    }

    /// Appends the samples of a frame.
    pub(crate) fn render(&mut self, frame: Frame, samples: &mut Vec<i16>) {
        let formants = frame.formants_hz();
        for ((resonator, hz), bandwidth) in self.throat.iter_mut().zip(formants).zip(BANDWIDTHS_HZ) {
            resonator.tune_low_pass(hz, bandwidth);
        }
        let [_, _, centre] = formants;
        self.teeth.tune_band_pass(centre, centre / 5.0);

        // Loudness moves over the whole frame; a jump would click.
        let voice_step = (frame.voice() - self.voice) / FRAME_SAMPLES as f32;
        let noise_step = (frame.noise() - self.noise) / FRAME_SAMPLES as f32;
        for _ in 0..FRAME_SAMPLES {
            self.voice += voice_step;
            self.noise += noise_step;
            self.phase = (self.phase + frame.pitch_hz() / SAMPLE_RATE as f32).fract();
            let buzz = self.voice * VOICE_GAIN * glottal_pulse(self.phase);
            let hiss = self.noise * NOISE_GAIN * (self.random.unit() as f32 * 2.0 - 1.0);
            let voiced = self.throat.iter_mut().fold(buzz, |sample, resonator| resonator.pass(sample));
            let sample = voiced + self.teeth.pass(hiss);
            // Bends loud peaks instead of cutting them off.
            samples.push((sample.tanh() * f32::from(i16::MAX)) as i16);
        }
    }
}

/// The change of the air flow through the vocal cords: they open gently and slam shut.
fn glottal_pulse(phase: f32) -> f32 {
    let open = phase / OPEN_PART;
    if open < 1.0 { 2.0 * open - 3.0 * open * open } else { 0.0 }
}

/// Two poles.
#[derive(Debug, Default)]
struct Resonator {
    gain: f32,
    feedback: [f32; 2],
    last: [f32; 2],
}

impl Resonator {
    /// Leaves the lowest frequencies as loud as they are.
    fn tune_low_pass(&mut self, hz: f32, bandwidth: f32) {
        self.tune(hz, bandwidth);
        let [first, second] = self.feedback;
        self.gain = 1.0 - first - second;
    }

    /// Leaves the middle of the band about as loud as it is.
    fn tune_band_pass(&mut self, hz: f32, bandwidth: f32) {
        let radius = self.tune(hz, bandwidth);
        let angle = 2.0 * TAU * hz / SAMPLE_RATE as f32;
        self.gain = (1.0 - radius) * (1.0 - 2.0 * radius * angle.cos() + radius * radius).sqrt();
    }

    fn tune(&mut self, hz: f32, bandwidth: f32) -> f32 {
        let radius = (-PI * bandwidth / SAMPLE_RATE as f32).exp();
        self.feedback = [2.0 * radius * (TAU * hz / SAMPLE_RATE as f32).cos(), -radius * radius];
        radius
    }

    fn pass(&mut self, sample: f32) -> f32 {
        let ([first, second], [last, before]) = (self.feedback, self.last);
        let out = self.gain * sample + first * last + second * before;
        self.last = [out, last];
        out
    }
}
