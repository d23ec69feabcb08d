//! Compressed logs, recognised by their first bytes: gzip, xz and zstd.
//!
//! A file may have several compressed parts, one after the other. Of a file that is cut, everything is read
//! that stands before the cut, and then an error is returned.

use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;
use lzma_rust2::{Action, Status, XzStream};
use ruzstd::decoding::{
    BlockDecodingStrategy, FrameDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};

/// How much memory an xz file may ask for, in KiB; `xz -9` asks for a quarter of it.
const XZ_MEMORY: u32 = 256 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Gzip,
    Xz,
    Zstd,
}

impl Format {
    fn of(begin: &[u8]) -> Option<Self> {
        match begin {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            // The second kind is a frame without content, as `pzstd` writes it.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// Whether a file that begins like this is compressed.
pub(super) fn is_compressed(begin: &[u8]) -> bool {
    Format::of(begin).is_some()
}

/// The content of a file, and whether the file is compressed.
pub(super) fn content(mut file: impl BufRead + 'static) -> io::Result<(Box<dyn Read>, bool)> {
    let format = Format::of(file.fill_buf()?);
    let content: Box<dyn Read> = match format {
        None => Box::new(file),
        Some(Format::Gzip) => Box::new(MultiGzDecoder::new(file)),
        Some(Format::Xz) => Box::new(Xz { file, stream: XzStream::new_mem_limit(true, XZ_MEMORY) }),
        Some(Format::Zstd) => Box::new(Zstd { file, decoder: FrameDecoder::new(), error: None }),
    };
    Ok((content, format.is_some()))
}

/// The decoder's own reader would lose what it has decoded before the cut.
struct Xz<R> {
    file: R,
    stream: XzStream,
}

impl<R: BufRead> Read for Xz<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let input = self.file.fill_buf()?;
            let mut result = self.stream.process(input, buffer, Action::Run)?;
            if input.is_empty() && result.bytes_produced == 0 {
                result = self.stream.process(input, buffer, Action::Finish)?;
            }
            let (used, length) = (result.bytes_consumed, result.bytes_produced);
            let is_stuck = used == 0 && length == 0;
            self.file.consume(used);
            if length > 0 || buffer.is_empty() || result.status == Status::StreamEnd {
                return Ok(length);
            }
            if is_stuck {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
    }
}

/// The decoder's own reader reads one frame, and would lose what it has decoded before the cut.
struct Zstd<R> {
    file: R,
    decoder: FrameDecoder,
    /// An error of the decoder, which is returned after the bytes before it.
    error: Option<io::Error>,
}

impl<R: BufRead> Zstd<R> {
    /// Begins the next frame. `false` if there is none.
    fn begin(&mut self) -> io::Result<bool> {
        if self.file.fill_buf()?.is_empty() {
            return Ok(false);
        }
        match self.decoder.init(&mut self.file) {
            Ok(()) => Ok(true),
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length, ..
            })) => {
                io::copy(&mut (&mut self.file).take(length.into()), &mut io::sink())?;
                Ok(true)
            }
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        const ONE: BlockDecodingStrategy = BlockDecodingStrategy::UptoBlocks(1);
        const EMPTY_LAST_BLOCK: &[u8] = &[1, 0, 0];
        loop {
            let length = self.decoder.read(buffer)?;
            if length > 0 || buffer.is_empty() {
                return Ok(length);
            }
            if let Some(error) = self.error.take() {
                return Err(error);
            }
            if self.decoder.is_finished() {
                if !self.begin()? {
                    return Ok(0);
                }
            } else if let Err(error) = self.decoder.decode_blocks(&mut self.file, ONE) {
                self.error = Some(io::Error::other(error));
                // The decoder keeps the last bytes of a frame until its end, which comes here.
                let _ = self.decoder.decode_blocks(EMPTY_LAST_BLOCK, ONE);
            }
        }
    }
}
