//! Records in a temporary file: a few numbers and a few texts.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Read, Seek, Write},
};

/// How much is written and read at a time, in bytes.
const BUFFER: usize = 1 << 16;

/// Records of `M` numbers and `N` texts that are being written.
pub(super) struct Spool<const M: usize, const N: usize>(BufWriter<File>);

impl<const M: usize, const N: usize> Spool<M, N> {
    pub(super) fn new() -> io::Result<Self> {
        Self::over(tempfile::tempfile()?)
    }

    /// Writes the records in place of those in the file.
    pub(super) fn over(mut file: File) -> io::Result<Self> {
        file.rewind()?;
        Ok(Self(BufWriter::with_capacity(BUFFER, file)))
    }

    pub(super) fn write(&mut self, numbers: [u64; M], texts: [&[u8]; N]) -> io::Result<()> {
        for number in numbers {
            self.0.write_all(&number.to_le_bytes())?;
        }
        for text in texts {
            let length = u32::try_from(text.len()).map_err(io::Error::other)?;
            self.0.write_all(&length.to_le_bytes())?;
        }
        texts.iter().try_for_each(|text| self.0.write_all(text))
    }

    /// The file, from its beginning. What it had after these records is gone.
    fn rewound(self) -> io::Result<File> {
        let mut file = self.0.into_inner().map_err(io::IntoInnerError::into_error)?;
        let end = file.stream_position()?;
        file.set_len(end)?;
        file.rewind()?;
        Ok(file)
    }

    /// Reads all records so far in place of the bytes.
    pub(super) fn copy_into(&mut self, bytes: &mut Vec<u8>) -> io::Result<()> {
        bytes.clear();
        self.0.flush()?;
        let file = self.0.get_mut();
        let end = file.stream_position()?;
        file.rewind()?;
        Read::take(file, end).read_to_end(bytes)?;
        Ok(())
    }

    /// Reads all records in place of the bytes. The file is not needed for them any more.
    pub(super) fn read_into(self, bytes: &mut Vec<u8>) -> io::Result<File> {
        bytes.clear();
        let mut file = self.rewound()?;
        file.read_to_end(bytes)?;
        Ok(file)
    }

    /// The records one by one.
    pub(super) fn into_records(self) -> io::Result<Records<M, N>> {
        let file = BufReader::with_capacity(BUFFER, self.rewound()?);
        Ok(Records { file, texts: [const { Vec::new() }; N] })
    }
}

/// The records of a file, as it was read into memory.
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
    file: BufReader<File>,
    /// The texts of the current record.
    pub(super) texts: [Vec<u8>; N],
}

impl<const M: usize, const N: usize> Records<M, N> {
    /// Reads the next record, and returns its numbers.
    pub(super) fn next(&mut self) -> io::Result<Option<[u64; M]>> {
        if self.file.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let mut numbers = [0; M];
        for number in &mut numbers {
            let mut bytes = [0; 8];
            self.file.read_exact(&mut bytes)?;
            *number = u64::from_le_bytes(bytes);
        }
        for text in &mut self.texts {
            let mut length = [0; 4];
            self.file.read_exact(&mut length)?;
            text.resize(u32::from_le_bytes(length) as usize, 0);
        }
        self.texts.iter_mut().try_for_each(|text| self.file.read_exact(text))?;
        Ok(Some(numbers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_they_were_written() {
        let written = [([7, 1], ["one", "", "x"]), ([0, u64::MAX], ["", "two\n", ""]), ([0, 0], [""; 3])];
        let spool = || {
            let mut spool = Spool::new().unwrap();
            for (numbers, texts) in written {
                spool.write(numbers, texts.map(str::as_bytes)).unwrap();
            }
            spool
        };
        let mut bytes = vec![7];
        let file = spool().read_into(&mut bytes).unwrap();
        let read: Vec<_> = records(&bytes).collect();
        assert_eq!(read, written.map(|(numbers, texts)| (numbers, texts.map(str::as_bytes))));
        let mut records = spool().into_records().unwrap();
        for (numbers, texts) in written {
            assert_eq!(records.next().unwrap(), Some(numbers));
            assert_eq!(records.texts, texts.map(|text| text.as_bytes().to_vec()));
        }
        assert_eq!(records.next().unwrap(), None);
        let mut shorter = Spool::over(file).unwrap();
        shorter.write([3, 4], [&b"a"[..]; 1]).unwrap();
        let mut records = shorter.into_records().unwrap();
        assert_eq!(records.next().unwrap(), Some([3, 4]));
        assert_eq!(records.next().unwrap(), None);
    }
}
