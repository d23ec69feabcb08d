//! How letters sound: a table of formants, and the way from one sound to the next.

use super::codec::{FRAME_MILLIS, Frame};

/// What the mouth does: resonances in Hz, and what makes them ring.
#[derive(Debug, Clone, Copy)]
struct Shape {
    formants: [f32; 3],
    voice: f32,
    noise: f32,
}

/// A shape to be reached, and the time to do so.
#[derive(Debug, Clone, Copy)]
struct Sound {
    shape: Shape,
    millis: u32,
    /// How far a frame goes from where the mouth is to where it should be.
    speed: f32,
    /// The voice starts afresh after it.
    ends_phrase: bool,
}

const fn sound(formants: [f32; 3], voice: f32, noise: f32, millis: u32, speed: f32) -> Sound {
    Sound { shape: Shape { formants, voice, noise }, millis, speed, ends_phrase: false }
}

const fn vowel(f1: f32, f2: f32, f3: f32) -> Sound {
    sound([f1, f2, f3], 1.0, 0.0, 90, 0.35)
}

/// A vowel on the way to another.
const fn glide(f1: f32, f2: f32, f3: f32) -> Sound {
    sound([f1, f2, f3], 0.9, 0.0, 60, 0.3)
}

/// A consonant that hums: nasals, liquids, half vowels.
const fn hum(f1: f32, f2: f32, f3: f32) -> Sound {
    sound([f1, f2, f3], 0.5, 0.0, 60, 0.45)
}

/// A consonant that hisses around `centre`, with the voice or without.
const fn hiss(centre: f32, voice: f32, noise: f32) -> Sound {
    sound([280.0, 1500.0, centre], voice, noise, 80, 0.5)
}

/// The lips or the tongue close; `voice` is left for the soft ones.
const fn closure(voice: f32) -> Sound {
    sound([250.0, 1200.0, 2500.0], voice, 0.0, 50, 0.8)
}

/// And open again, with a puff of air.
const fn burst(centre: f32, noise: f32) -> Sound {
    sound([350.0, 1500.0, centre], 0.0, noise, 20, 0.9)
}

const fn pause(millis: u32) -> Sound {
    Sound { ends_phrase: millis >= 150, ..sound([500.0, 1500.0, 2500.0], 0.0, 0.0, millis, 0.6) }
}

const AA: Sound = vowel(730.0, 1090.0, 2440.0);
const AE: Sound = vowel(660.0, 1720.0, 2410.0);
const AO: Sound = vowel(570.0, 840.0, 2410.0);
const EH: Sound = vowel(530.0, 1840.0, 2480.0);
const ER: Sound = vowel(490.0, 1350.0, 1690.0);
const IH: Sound = vowel(390.0, 1990.0, 2550.0);
const IY: Sound = vowel(270.0, 2290.0, 3010.0);
const UH: Sound = vowel(640.0, 1190.0, 2390.0);
const UW: Sound = vowel(300.0, 870.0, 2240.0);
const TO_I: Sound = glide(300.0, 2200.0, 2900.0);
const TO_U: Sound = glide(330.0, 900.0, 2240.0);
const M: Sound = hum(250.0, 1100.0, 2200.0);
const N: Sound = hum(250.0, 1500.0, 2500.0);
const NG: Sound = hum(250.0, 1900.0, 2600.0);
const L: Sound = hum(360.0, 1100.0, 2700.0);
const R: Sound = hum(350.0, 1150.0, 1600.0);
const W: Sound = hum(290.0, 610.0, 2150.0);
const Y: Sound = hum(260.0, 2070.0, 3020.0);
const F: Sound = hiss(4500.0, 0.0, 0.3);
const V: Sound = hiss(4000.0, 0.35, 0.15);
const TH: Sound = hiss(4800.0, 0.1, 0.25);
const S: Sound = hiss(5600.0, 0.0, 0.6);
const Z: Sound = hiss(5400.0, 0.35, 0.35);
const SH: Sound = hiss(2900.0, 0.0, 0.6);
const ZH: Sound = hiss(2700.0, 0.35, 0.35);
const H: Sound = sound([500.0, 1500.0, 2500.0], 0.0, 0.2, 50, 0.5);

/// Longer spellings stand before shorter ones that they begin with.
const SPELLINGS: &[(&str, &[Sound])] = &[
    ("tion", &[SH, UH, N]),
    ("igh", &[AA, TO_I]),
    ("ch", &[closure(0.0), SH]),
    ("ck", &[closure(0.0), burst(2000.0, 0.6)]),
    ("ea", &[IY]),
    ("ee", &[IY]),
    ("er", &[ER]),
    ("ay", &[EH, TO_I]),
    ("ai", &[EH, TO_I]),
    ("au", &[AO]),
    ("ng", &[NG]),
    ("oo", &[UW]),
    ("ou", &[AA, TO_U]),
    ("ow", &[AO, TO_U]),
    ("oy", &[AO, TO_I]),
    ("ph", &[F]),
    ("qu", &[closure(0.0), burst(2000.0, 0.6), W]),
    ("sh", &[SH]),
    ("th", &[TH]),
    ("wh", &[W]),
    ("a", &[AE]),
    ("b", &[closure(0.2), burst(1000.0, 0.3)]),
    ("c", &[closure(0.0), burst(2000.0, 0.6)]),
    ("d", &[closure(0.2), burst(4000.0, 0.3)]),
    ("e", &[EH]),
    ("f", &[F]),
    ("g", &[closure(0.2), burst(2000.0, 0.3)]),
    ("h", &[H]),
    ("i", &[IH]),
    ("j", &[closure(0.2), ZH]),
    ("k", &[closure(0.0), burst(2000.0, 0.6)]),
    ("l", &[L]),
    ("m", &[M]),
    ("n", &[N]),
    ("o", &[AO]),
    ("p", &[closure(0.0), burst(1000.0, 0.6)]),
    ("r", &[R]),
    ("s", &[S]),
    ("t", &[closure(0.0), burst(4500.0, 0.6)]),
    ("u", &[UH]),
    ("v", &[V]),
    ("w", &[W]),
    ("x", &[closure(0.0), S]),
    ("y", &[Y, IY]),
    ("z", &[Z]),
];

/// An unknown letter is a neutral vowel, so that any text can be heard.
const UNKNOWN: &[Sound] = &[vowel(500.0, 1500.0, 2500.0)];

const DIGITS: [&str; 10] =
    ["zero ", "one ", "two ", "three ", "four ", "five ", "six ", "seven ", "eight ", "nine "];

/// Frames for a text, one after the other.
pub(crate) fn frames(text: &str) -> impl Iterator<Item = Frame> {
    let mut mouth = pause(0).shape;
    let mut phrase_frames = 0.0;
    sounds(text)
        .into_iter()
        .flat_map(|sound| {
            let frames = sound.millis.div_ceil(FRAME_MILLIS);
            std::iter::repeat_n(sound, frames as usize)
        })
        .map(move |sound| {
            mouth.approach(&sound.shape, sound.speed);
            phrase_frames = if sound.ends_phrase { 0.0 } else { phrase_frames + 1.0 };
            // The voice sinks as the breath runs out.
            let pitch = 90.0 + 45.0 * (-phrase_frames / 150.0_f32).exp();
            Frame::quantise(pitch, mouth.formants, mouth.voice, mouth.noise)
        })
}

impl Shape {
    fn approach(&mut self, target: &Self, speed: f32) {
        let ways = self.formants.iter_mut().zip(target.formants);
        for (here, there) in ways.chain([(&mut self.voice, target.voice), (&mut self.noise, target.noise)]) {
            *here += (there - *here) * speed;
        }
    }
}

fn sounds(text: &str) -> Vec<Sound> {
    let mut sounds = vec![pause(50)];
    spell(&text.to_lowercase(), &mut sounds);
    sounds.push(pause(150));
    sounds
}

fn spell(text: &str, sounds: &mut Vec<Sound>) {
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let known = SPELLINGS
            .iter()
            .find_map(|(spelling, known)| rest.strip_prefix(spelling).map(|after| (*known, after)));
        if let Some((known, after)) = known {
            sounds.extend(known);
            rest = after;
            continue;
        }
        rest = rest.strip_prefix(letter).unwrap_or_default();
        let digit = letter.to_digit(10).and_then(|digit| DIGITS.get(digit as usize));
        match letter {
            '.' | '!' | '?' | ':' | ';' => sounds.push(pause(200)),
            ',' | '(' | ')' | '—' | '–' => sounds.push(pause(150)),
            _ if digit.is_some() => spell(digit.unwrap_or(&""), sounds),
            _ if letter.is_alphabetic() => sounds.extend(UNKNOWN),
            _ => sounds.push(pause(40)),
        }
    }
}
