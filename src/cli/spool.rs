//! Records that wait to be read: a few numbers and a few texts.

use std::{io, vec};

use super::blocks::{BLOCK, Blocks};

/// Records of `M` numbers and `N` texts that are being written. What does not fill a block is in memory.
pub(super) struct Spool<const M: usize, const N: usize> {
    blocks: Blocks,
    written: Vec<u64>,
    rest: Vec<u8>,
}

impl<const M: usize, const N: usize> Spool<M, N> {
    pub(super) fn new(blocks: Blocks) -> Self {
        Self { blocks, written: Vec::new(), rest: Vec::new() }
    }

    pub(super) fn write(&mut self, numbers: [u64; M], texts: [&[u8]; N]) -> io::Result<()> {
        numbers.iter().try_for_each(|number| self.put(&number.to_le_bytes()))?;
        for text in texts {
            let length = u32::try_from(text.len()).map_err(io::Error::other)?;
            self.put(&length.to_le_bytes())?;
        }
        texts.iter().try_for_each(|text| self.put(text))
    }

    fn put(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while let Some((head, tail)) = bytes.split_at_checked(BLOCK - self.rest.len()) {
            self.rest.extend_from_slice(head);
            self.written.push(self.blocks.write(&self.rest)?);
            self.rest.clear();
            bytes = tail;
        }
        self.rest.extend_from_slice(bytes);
        Ok(())
    }

    /// Reads all records so far in place of the bytes.
    pub(super) fn copy_into(&self, bytes: &mut Vec<u8>) -> io::Result<()> {
        bytes.clear();
        self.written.iter().try_for_each(|block| self.blocks.read(*block, bytes))?;
        bytes.extend_from_slice(&self.rest);
        Ok(())
    }

    /// Reads all records in place of the bytes. Their blocks may be written again.
    pub(super) fn read_into(self, bytes: &mut Vec<u8>) -> io::Result<Blocks> {
        self.copy_into(bytes)?;
        self.written.iter().for_each(|block| self.blocks.free(*block));
        Ok(self.blocks)
    }

    /// The records one by one.
    pub(super) fn into_records(self) -> Records<M, N> {
        let Self { blocks, written, rest } = self;
        let bytes = Bytes { blocks, written: written.into_iter(), rest, block: Vec::new(), read: 0 };
        Records { bytes, header: Vec::new(), texts: [const { Vec::new() }; N] }
    }
}

/// The records of a spool that was read into memory.
pub(super) fn records<const M: usize, const N: usize>(
    mut bytes: &[u8],
) -> impl Iterator<Item = ([u64; M], [&[u8]; N])> {
    std::iter::from_fn(move || {
        let (mut numbers, mut rest) = ([0; M], bytes);
        for number in &mut numbers {
            let (eight, after) = rest.split_first_chunk()?;
            (*number, rest) = (u64::from_le_bytes(*eight), after);
        }
        let mut lengths = [0; N];
        for length in &mut lengths {
            let (four, after) = rest.split_first_chunk()?;
            (*length, rest) = (u32::from_le_bytes(*four) as usize, after);
        }
        let mut texts: [&[u8]; N] = [&[]; N];
        for (text, length) in texts.iter_mut().zip(lengths) {
            (*text, rest) = rest.split_at_checked(length)?;
        }
        bytes = rest;
        Some((numbers, texts))
    })
}

/// Records that are being read.
pub(super) struct Records<const M: usize, const N: usize> {
    bytes: Bytes,
    header: Vec<u8>,
    /// The texts of the current record.
    pub(super) texts: [Vec<u8>; N],
}

impl<const M: usize, const N: usize> Records<M, N> {
    /// Reads the next record, and returns its numbers.
    pub(super) fn next(&mut self) -> io::Result<Option<[u64; M]>> {
        if self.bytes.next()?.is_empty() {
            return Ok(None);
        }
        self.bytes.take(M * size_of::<u64>() + N * size_of::<u32>(), &mut self.header)?;
        let (mut numbers, mut rest) = ([0; M], &self.header[..]);
        for number in &mut numbers {
            let Some((eight, after)) = rest.split_first_chunk() else { break };
            (*number, rest) = (u64::from_le_bytes(*eight), after);
        }
        for text in &mut self.texts {
            let Some((four, after)) = rest.split_first_chunk() else { break };
            self.bytes.take(u32::from_le_bytes(*four) as usize, text)?;
            rest = after;
        }
        Ok(Some(numbers))
    }
}

/// The bytes of a spool that are being read. A block that was read may be written again.
struct Bytes {
    blocks: Blocks,
    written: vec::IntoIter<u64>,
    rest: Vec<u8>,
    block: Vec<u8>,
    /// How much of the block was taken.
    read: usize,
}

impl Bytes {
    /// Takes the next bytes, of this length, in place of those in the text.
    fn take(&mut self, mut length: usize, text: &mut Vec<u8>) -> io::Result<()> {
        text.clear();
        while length > 0 {
            let next = self.next()?;
            let some = next.get(..length).unwrap_or(next);
            if some.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            text.extend_from_slice(some);
            let taken = some.len();
            self.read += taken;
            length -= taken;
        }
        Ok(())
    }

    /// Bytes that come next, and none at the end.
    fn next(&mut self) -> io::Result<&[u8]> {
        if self.read == self.block.len() {
            self.block.clear();
            self.read = 0;
            match self.written.next() {
                Some(block) => {
                    self.blocks.read(block, &mut self.block)?;
                    self.blocks.free(block);
                }
                None => self.block = std::mem::take(&mut self.rest),
            }
        }
        Ok(self.block.get(self.read..).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_they_were_written() {
        let long = "long".repeat(BLOCK);
        let written = [
            ([7, 1], ["one", "", "x"]),
            ([0, u64::MAX], ["", &long, ""]),
            ([3, 0], [&long[1..], "two\n", ""]),
            ([0, 0], [""; 3]),
        ];
        let blocks = Blocks::default();
        let spool = || {
            let mut spool = Spool::new(blocks.clone());
            for (numbers, texts) in written {
                spool.write(numbers, texts.map(str::as_bytes)).unwrap();
            }
            spool
        };
        let mut bytes = vec![7];
        // The blocks of a spool that was read are written again, while another is not read yet.
        let other = spool();
        for _ in 0..3 {
            spool().copy_into(&mut bytes).unwrap();
            spool().read_into(&mut bytes).unwrap();
            let read: Vec<_> = records(&bytes).collect();
            assert_eq!(read, written.map(|(numbers, texts)| (numbers, texts.map(str::as_bytes))));
        }
        for spool in [other, spool()] {
            let mut records = spool.into_records();
            for (numbers, texts) in written {
                assert_eq!(records.next().unwrap(), Some(numbers));
                assert_eq!(records.texts, texts.map(|text| text.as_bytes().to_vec()));
            }
            assert_eq!(records.next().unwrap(), None);
        }
    }
}
