//! Compressed logs, recognised by their first bytes: gzip, xz and zstd.
//!
//! A file may have several compressed parts, one after the other. Of a file that is cut or damaged, the
//! content before the fault is read. Then an error is returned, whose text names the fault.

use std::{
    error::Error,
    io::{self, BufRead, Read},
    iter,
};

use flate2::bufread::GzDecoder;
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

    /// Whether another compressed part follows in a file. `false` at the end of the file.
    fn follows(self, file: &mut impl BufRead) -> io::Result<bool> {
        loop {
            let begin = file.fill_buf()?;
            // Zeros may stand between parts, and fill the last block of a tape.
            let zeros = begin.iter().take_while(|byte| **byte == 0).count();
            if zeros == 0 {
                return match begin.first() {
                    None => Ok(false),
                    Some(0x1f) if self == Self::Gzip => Ok(true),
                    Some(0xfd) if self == Self::Xz => Ok(true),
                    Some(0x28 | 0x50..=0x5f) if self == Self::Zstd => Ok(true),
                    Some(_) => {
                        Err(io::Error::other("its compressed content ends here, but the file goes on"))
                    }
                };
            }
            file.consume(zeros);
        }
    }
}

/// What is wrong with a file, instead of what its decoder says; the error itself if the file can't be read.
fn fault(error: io::Error) -> io::Error {
    let text = match error.kind() {
        io::ErrorKind::UnexpectedEof => "the file is cut",
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => "its compressed content is damaged here",
        io::ErrorKind::OutOfMemory => "its compressed content asks for too much memory",
        _ => return error,
    };
    io::Error::new(error.kind(), text)
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
        Some(Format::Gzip) => Box::new(Gzip { decoder: Some(GzDecoder::new(file)) }),
        Some(Format::Xz) => Box::new(Xz { file, stream: stream(), error: None }),
        Some(Format::Zstd) => Box::new(Zstd { file, decoder: FrameDecoder::new(), error: None }),
    };
    Ok((content, format.is_some()))
}

/// The reader of several parts would take what follows the last one for a part.
struct Gzip<R> {
    /// `None` once the file has ended.
    decoder: Option<GzDecoder<R>>,
}

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(decoder) = &mut self.decoder {
            let length = decoder.read(buffer).map_err(fault)?;
            if length > 0 || buffer.is_empty() {
                return Ok(length);
            }
            let follows = Format::Gzip.follows(decoder.get_mut())?;
            let file = self.decoder.take().map(GzDecoder::into_inner);
            self.decoder = file.filter(|_| follows).map(GzDecoder::new);
        }
        Ok(0)
    }
}

/// The decoder's own reader would lose what it has decoded before the cut.
struct Xz<R> {
    file: R,
    stream: XzStream,
    /// An error of the decoder, which is returned after the bytes before it.
    error: Option<io::Error>,
}

fn stream() -> XzStream {
    XzStream::new_mem_limit(false, XZ_MEMORY)
}

impl<R: BufRead> Read for Xz<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if let Some(error) = self.error.take() {
                return Err(fault(error));
            }
            let input = self.file.fill_buf()?;
            let before = self.stream.total_out();
            let action = if input.is_empty() { Action::Finish } else { Action::Run };
            let (used, has_ended) = match self.stream.process(input, buffer, action) {
                Ok(result) => (result.bytes_consumed, result.status == Status::StreamEnd),
                Err(error) => {
                    // The decoder reads no file, so every other error is one of the content.
                    let is_known =
                        matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::OutOfMemory);
                    self.error = Some(if is_known { error } else { io::ErrorKind::InvalidData.into() });
                    (0, false)
                }
            };
            self.file.consume(used);
            let length = usize::try_from(self.stream.total_out() - before).unwrap_or(0);
            if length > 0 {
                return Ok(length);
            }
            if has_ended {
                if !Format::Xz.follows(&mut self.file)? {
                    return Ok(0);
                }
                self.stream = stream();
            } else if used == 0 && self.error.is_none() {
                return Err(fault(io::ErrorKind::InvalidData.into()));
            }
        }
    }
}

/// The decoder's own reader reads one frame, and would lose what it has decoded before the cut.
struct Zstd<R> {
    file: R,
    decoder: FrameDecoder,
    /// An error of the decoder, which is returned after the bytes before it.
    error: Option<FrameDecoderError>,
}

impl<R: BufRead> Zstd<R> {
    /// Begins the next frame. `false` if there is none.
    fn begin(&mut self) -> io::Result<bool> {
        if !Format::Zstd.follows(&mut self.file)? {
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
            Err(error) => Err(fault(kind(&error).into())),
        }
    }
}

/// What kind of error a decoder of zstd has met. Errors of reading are among their sources.
fn kind(error: &FrameDecoderError) -> io::ErrorKind {
    if matches!(error, FrameDecoderError::WindowSizeTooBig { .. }) {
        return io::ErrorKind::OutOfMemory;
    }
    let mut sources = iter::successors(error.source(), |error| (*error).source());
    let read = sources.find_map(|error| error.downcast_ref::<io::Error>());
    read.map_or(io::ErrorKind::InvalidData, io::Error::kind)
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
                return Err(fault(kind(&error).into()));
            }
            if self.decoder.is_finished() {
                if !self.begin()? {
                    return Ok(0);
                }
            } else if let Err(error) = self.decoder.decode_blocks(&mut self.file, ONE) {
                self.error = Some(error);
                // The decoder keeps the last bytes of a frame until its end, which comes here.
                let _ = self.decoder.decode_blocks(EMPTY_LAST_BLOCK, ONE);
            }
        }
    }
}
