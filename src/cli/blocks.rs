//! Blocks of bytes in a temporary file.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// How long a block is, in bytes.
pub(super) const BLOCK: usize = 1 << 15;

/// Blocks that several spools keep in one file. There is no file before the first block. The lock is held
/// while one block is written or read.
#[derive(Debug, Clone, Default)]
pub(super) struct Blocks(Arc<Mutex<Storage>>);

#[derive(Debug, Default)]
struct Storage {
    file: Option<File>,
    /// How many blocks the file has.
    blocks: u64,
    /// Those that may be written again.
    free: Vec<u64>,
}

impl Blocks {
    /// Writes a block, and returns its number.
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<u64> {
        let mut storage = self.lock();
        let block = storage.free.pop().unwrap_or(storage.blocks);
        storage.at(block)?.write_all(bytes)?;
        storage.blocks = storage.blocks.max(block + 1);
        Ok(block)
    }

    /// Appends a block to the bytes.
    pub(super) fn read(&self, block: u64, bytes: &mut Vec<u8>) -> io::Result<()> {
        bytes.reserve(BLOCK);
        match self.lock().at(block)?.take(BLOCK as u64).read_to_end(bytes)? {
            BLOCK => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Lets a block be written again, which was read.
    pub(super) fn free(&self, block: u64) {
        self.lock().free.push(block);
    }

    fn lock(&self) -> MutexGuard<'_, Storage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage {
    /// The file, at the beginning of a block.
    fn at(&mut self, block: u64) -> io::Result<&mut File> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile()?),
        };
        file.seek(SeekFrom::Start(block * BLOCK as u64))?;
        Ok(file)
    }
}
