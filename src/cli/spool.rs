//! Records in a temporary file: a sequence number, and two texts.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek, Write},
};

/// The length of a record before its texts: the sequence number and two lengths.
const HEAD: usize = 16;
/// How much is written and read at a time, in bytes.
const BUFFER: usize = 1 << 16;

/// Records that are being written.
pub(super) struct Spool(BufWriter<File>);

impl Spool {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(BufWriter::with_capacity(BUFFER, tempfile::tempfile()?)))
    }

    pub(super) fn write(&mut self, sequence: u64, texts: [&[u8]; 2]) -> io::Result<()> {
        self.0.write_all(&sequence.to_le_bytes())?;
        for text in texts {
            let length = u32::try_from(text.len()).map_err(io::Error::other)?;
            self.0.write_all(&length.to_le_bytes())?;
        }
        texts.iter().try_for_each(|text| self.0.write_all(text))
    }

    /// The file, from its beginning.
    fn rewound(self) -> io::Result<File> {
        let mut file = self.0.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        Ok(file)
    }

    /// All records, in memory.
    pub(super) fn into_bytes(self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.rewound()?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// The records one by one.
    pub(super) fn into_records(self) -> io::Result<Records> {
        Ok(Records { file: BufReader::with_capacity(BUFFER, self.rewound()?), texts: Default::default() })
    }
}

/// A record of a file.
pub(super) struct Record<'a> {
    pub(super) sequence: u64,
    pub(super) texts: [&'a [u8]; 2],
}

/// The records of a file, as it was read into memory.
pub(super) fn records(mut bytes: &[u8]) -> impl Iterator<Item = Record<'_>> {
    std::iter::from_fn(move || {
        let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
        let (sequence, [one, other]) = numbers(head);
        let (one, rest) = rest.split_at_checked(one)?;
        let (other, rest) = rest.split_at_checked(other)?;
        bytes = rest;
        Some(Record { sequence, texts: [one, other] })
    })
}

/// Records that are being read.
pub(super) struct Records {
    file: BufReader<File>,
    /// The texts of the current record.
    pub(super) texts: [Vec<u8>; 2],
}

impl Records {
    /// Reads the next record, and returns its sequence number.
    pub(super) fn next(&mut self) -> io::Result<Option<u64>> {
        let mut head = [0; HEAD];
        match self.file.read_exact(&mut head) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let (sequence, lengths) = numbers(&head);
        for (text, length) in self.texts.iter_mut().zip(lengths) {
            text.resize(length, 0);
            self.file.read_exact(text)?;
        }
        Ok(Some(sequence))
    }
}

fn numbers(head: &[u8; HEAD]) -> (u64, [usize; 2]) {
    let [a, b, c, d, e, f, g, h, lengths @ ..] = *head;
    let [i, j, k, l, m, n, o, p] = lengths;
    let length = |bytes| u32::from_le_bytes(bytes) as usize;
    (u64::from_le_bytes([a, b, c, d, e, f, g, h]), [length([i, j, k, l]), length([m, n, o, p])])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_they_were_written() {
        let written = [(7, ["one", ""]), (u64::MAX, ["", "two\n"]), (0, ["", ""])];
        let spool = || {
            let mut spool = Spool::new().unwrap();
            for (sequence, [one, other]) in written {
                spool.write(sequence, [one.as_bytes(), other.as_bytes()]).unwrap();
            }
            spool
        };
        let bytes = spool().into_bytes().unwrap();
        let read: Vec<_> = records(&bytes).map(|Record { sequence, texts }| (sequence, texts)).collect();
        assert_eq!(read, written.map(|(sequence, texts)| (sequence, texts.map(str::as_bytes))));
        let mut records = spool().into_records().unwrap();
        for (sequence, texts) in written {
            assert_eq!(records.next().unwrap(), Some(sequence));
            assert_eq!(records.texts, texts.map(|text| text.as_bytes().to_vec()));
        }
        assert_eq!(records.next().unwrap(), None);
    }
}
