//! Chunks of lines, parsed on all cores.

use std::{
    sync::{Arc, mpsc},
    thread,
};

use indicatif::ProgressBar;
use memchr::memchr;

use super::{
    chunks::{Chunk, read},
    copies::Copies,
    log_file::LogFile,
    log_line::LogLine,
    parsed::{Parsed, Parser},
    wrapped::{Chunked, Piece, Wrapped},
};

/// How many chunks a channel to or from a parser holds.
const AHEAD: usize = 4;

/// A parsed chunk, with each of the layer's lines mapped to a `T`.
pub(super) enum Batch<T> {
    File(LogFile),
    /// The lines, and the bytes that the mapper has appended for them.
    Lines(Vec<Result<Parsed<T>, Piece>>, Vec<u8>),
    Failed(String),
    End,
}

/// Reads the files, and parses their chunks on all cores. Each core has its own mapper, and sends its batches
/// to one of the receivers. The reader sends its chunks to the cores in turn, so the batches have to be taken
/// in the same turn.
pub(super) fn batches<T, Mapper>(
    files: Vec<LogFile>,
    copies: &Arc<Copies>,
    progress: &ProgressBar,
    mut mapper: impl FnMut() -> Mapper,
) -> Vec<mpsc::Receiver<Batch<T>>>
where
    T: Send + 'static,
    Mapper: FnMut(&mut LogLine, &mut Vec<u8>) -> T + Send + 'static,
{
    let (mut parsers, mut batches) = (Vec::new(), Vec::new());
    for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
        let (chunk, chunks) = mpsc::sync_channel(AHEAD);
        let (batch, mapped) = mpsc::sync_channel(AHEAD);
        let (mut parser, mut map, mut lengths) = (Parser::default(), mapper(), (0, 0));
        // Not joined: a command that ends early does not wait for the lines that are still being parsed.
        thread::spawn(move || {
            let mut parsed = |chunk| Batch::of(chunk, &mut parser, &mut map, &mut lengths);
            chunks.into_iter().try_for_each(|chunk| batch.send(parsed(chunk)))
        });
        parsers.push(chunk);
        batches.push(mapped);
    }
    let (copies, bar) = (Arc::clone(copies), progress.clone());
    thread::spawn(move || {
        let mut parsers = parsers.iter().cycle();
        let mut send = |chunk| parsers.next().is_some_and(|parser| parser.send(chunk).is_ok());
        files.iter().all(|file| read(file, &copies, &bar, &mut send)) && send(Chunk::End)
    });
    batches
}

impl<T> Batch<T> {
    /// A batch is expected to have as many lines and bytes as the last one; these are its `lengths`.
    fn of(
        chunk: Chunk,
        parser: &mut Parser,
        map: &mut impl FnMut(&mut LogLine, &mut Vec<u8>) -> T,
        lengths: &mut (usize, usize),
    ) -> Self {
        match chunk {
            Chunk::File(file) => Self::File(file),
            Chunk::Failed(why) => Self::Failed(why),
            Chunk::End => Self::End,
            Chunk::Cut(why) => Self::Lines(vec![Ok(Parsed::Broken(why))], Vec::new()),
            Chunk::Lines(bytes, log_name) => {
                parser.reads(&log_name);
                let (mut rest, mut streams) = (bytes.as_slice(), Chunked::default());
                let (mut lines, mut appended) =
                    (Vec::with_capacity(lengths.0), Vec::with_capacity(lengths.1));
                let map = &mut |line: &mut LogLine| map(line, &mut appended);
                while !rest.is_empty() {
                    let length = memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
                    let (line, after) = rest.split_at(length);
                    lines.push(match Wrapped::of(line) {
                        None => Ok(parser.parse(line, map)),
                        Some(wrapped) => streams.whole(wrapped).map(|line| parser.parse(&line, map)),
                    });
                    rest = after;
                }
                *lengths = (lines.len(), appended.len());
                Self::Lines(lines, appended)
            }
        }
    }
}
