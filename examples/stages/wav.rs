//! Sound into a file.

use std::{
    fs::File,
    io::BufWriter,
    path::{Path, PathBuf},
};

use hound::{SampleFormat, WavSpec, WavWriter};

use super::{Result, synth::SAMPLE_RATE};

/// A WAV file, made with the first samples.
pub(crate) struct Wav {
    path: PathBuf,
    file: Option<WavWriter<BufWriter<File>>>,
}

impl Wav {
    /// The file of a request in a directory.
    pub(crate) fn of(request_id: &str, directory: &Path) -> Self {
        Self { path: directory.join(request_id).with_extension("wav"), file: None }
    }

    pub(crate) fn write(&mut self, samples: &[i16]) -> Result<()> {
        self.append(samples).map_err(|error| self.failure(error))
    }

    fn append(&mut self, samples: &[i16]) -> hound::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(create(&self.path)?),
        };
        samples.iter().try_for_each(|sample| file.write_sample(*sample))
    }

    /// Completes the file, and says where it is.
    pub(crate) fn finish(mut self) -> Result<PathBuf> {
        match self.file.take().map_or(Ok(()), WavWriter::finalize) {
            Ok(()) => Ok(self.path),
            Err(error) => Err(self.failure(error)),
        }
    }

    fn failure(&self, error: hound::Error) -> super::Failure {
        format!("cannot write {}: {error}", self.path.display()).into()
    }
}

fn create(path: &Path) -> hound::Result<WavWriter<BufWriter<File>>> {
    let spec = WavSpec {
        channels: 1,
        sample_rate: SAMPLE_RATE,
        bits_per_sample: 16,
        sample_format: SampleFormat::Int,
    };
    WavWriter::create(path, spec)
}
