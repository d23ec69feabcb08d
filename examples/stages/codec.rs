//! Speech in small: six bytes for 10 ms.

use serde::{Deserialize, Serialize};

pub(crate) const FRAME_MILLIS: u32 = 10;
/// The resolution of each formant, in Hz. 255 steps reach as far as a voice does.
const FORMANT_STEPS_HZ: [f32; 3] = [5.0, 12.0, 25.0];

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Frame {
    pitch: u8,
    formants: [u8; 3],
    voice: u8,
    noise: u8,
}

impl Frame {
    /// From pitch and formants in Hz and from loudness between 0 and 1. What is out of range comes
    /// as near as it can, since a cast saturates.
    pub(crate) fn quantise(pitch_hz: f32, formants_hz: [f32; 3], voice: f32, noise: f32) -> Self {
        let [f1, f2, f3] = formants_hz;
        let [s1, s2, s3] = FORMANT_STEPS_HZ;
        Self {
            pitch: pitch_hz.round() as u8,
            formants: [f1 / s1, f2 / s2, f3 / s3].map(|steps| steps.round() as u8),
            voice: (voice * 255.0).round() as u8,
            noise: (noise * 255.0).round() as u8,
        }
    }

    pub(crate) fn pitch_hz(self) -> f32 {
        self.pitch.into()
    }

    pub(crate) fn formants_hz(self) -> [f32; 3] {
        let [f1, f2, f3] = self.formants.map(f32::from);
        let [s1, s2, s3] = FORMANT_STEPS_HZ;
        [f1 * s1, f2 * s2, f3 * s3]
    }

    /// Loudness of the vocal cords, from 0 to 1.
    pub(crate) fn voice(self) -> f32 {
        f32::from(self.voice) / 255.0
    }

    /// Loudness of the breath, from 0 to 1.
    pub(crate) fn noise(self) -> f32 {
        f32::from(self.noise) / 255.0
    }
}
