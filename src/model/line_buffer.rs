//! The memory in which lines are built.

use std::io;

use crate::model::cursor::Cursor;

/// How many bytes a buffer has at least once it was written to.
const LEAST: usize = 2_048;

/// A line under construction. Its memory is used again for the next line.
#[derive(Debug, Default)]
pub(crate) struct LineBuffer {
    /// The line, and bytes without a meaning, which a [`Cursor`] overwrites.
    bytes: Vec<u8>,
    /// The length of the line.
    end: usize,
}

impl LineBuffer {
    pub(crate) const fn new() -> Self {
        Self { bytes: Vec::new(), end: 0 }
    }

    pub(crate) fn line(&self) -> &[u8] {
        self.bytes.get(..self.end).unwrap_or_default()
    }

    pub(crate) fn clear(&mut self) {
        self.end = 0;
    }

    /// Gives memory back, except for a number of bytes and the line.
    pub(crate) fn shrink_to(&mut self, kept: usize) {
        let kept = kept.max(self.end);
        if self.bytes.len() > kept {
            self.bytes.truncate(kept);
            self.bytes.shrink_to_fit();
        }
    }

    /// Appends to the line. If there is not enough room, `write` is called again with more.
    pub(crate) fn append(&mut self, write: impl for<'a> Fn(Cursor<'a>) -> Cursor<'a>) {
        loop {
            let rest = self.bytes.get_mut(self.end..).unwrap_or_default();
            let before = rest.len();
            let after = write(Cursor::new(rest)).room();
            if after > 0 {
                self.end += before - after;
                return;
            }
            self.bytes.resize(LEAST.max(2 * self.bytes.len()), 0);
        }
    }
}

/// The text that is written.
#[cfg(test)]
pub(crate) fn text(write: impl for<'a> Fn(Cursor<'a>) -> Cursor<'a>) -> String {
    let mut out = LineBuffer::default();
    out.append(write);
    String::from_utf8(out.line().to_vec()).unwrap()
}

impl io::Write for LineBuffer {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.append(|cursor| cursor.push(text));
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_line_of_any_length_is_written_whole() {
        let mut out = LineBuffer::new();
        for length in (0..4_200).chain([70_000]) {
            out.clear();
            out.shrink_to(usize::from(length % 7 == 0) * 2_048);
            out.append(|cursor| cursor.push(&vec![b'a'; length]));
            out.append(|cursor| cursor.put(*b"12345678", 3).put(*b"abcd", 4));
            write!(out, "{length}").unwrap();
            assert_eq!(out.line(), format!("{}123abcd{length}", "a".repeat(length)).as_bytes());
        }
        out.shrink_to(2_048);
        assert!(out.bytes.capacity() >= 70_000, "the line stays");
        out.clear();
        out.shrink_to(2_048);
        assert!(out.bytes.capacity() < 70_000);
    }

    #[test]
    fn a_piece_without_room_leaves_none_for_shorter_ones() {
        let mut bytes = [0; 10];
        let cursor = Cursor::new(&mut bytes).push(b"1234");
        assert_eq!(cursor.room(), 6);
        assert_eq!(cursor.push(b"1234567").push(b"1").room(), 0);
        let cursor = Cursor::new(&mut bytes).put([0; 16], 1).format(format_args!("{}", 1));
        assert_eq!(cursor.room(), 0);
    }
}
