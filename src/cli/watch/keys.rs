//! The keys of a terminal in raw mode.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Char(char),
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Home,
    Enter,
    Escape,
    Interrupt,
}

const ESCAPE: u8 = 0x1b;

/// The keys that these bytes stand for. Unknown sequences are passed over.
pub(super) fn keys(bytes: &[u8]) -> Vec<Key> {
    let (mut rest, mut keys) = (bytes, Vec::new());
    while let Some((first, after)) = rest.split_first() {
        let (key, length) = match (*first, after.first()) {
            (ESCAPE, Some(b'[' | b'O')) => sequence(after.get(1..).unwrap_or_default()),
            (ESCAPE, _) => (Some(Key::Escape), 0),
            (b'\r' | b'\n', _) => (Some(Key::Enter), 0),
            (0x03, _) => (Some(Key::Interrupt), 0),
            (byte, _) => (byte.is_ascii_graphic().then_some(Key::Char(byte.into())), 0),
        };
        let key = if *first == b' ' { Some(Key::Char(' ')) } else { key };
        keys.extend(key);
        rest = after.get(length..).unwrap_or_default();
    }
    keys
}

/// The key of a sequence, and how long it is with its introducer: parameters, then a final byte.
fn sequence(bytes: &[u8]) -> (Option<Key>, usize) {
    let Some(end) = bytes.iter().position(|byte| matches!(byte, 0x40..=0x7e)) else {
        return (None, bytes.len() + 1);
    };
    let (parameters, last) = (bytes.get(..end).unwrap_or_default(), bytes.get(end));
    let key = match (parameters, last) {
        ([], Some(b'A')) => Some(Key::Up),
        ([], Some(b'B')) => Some(Key::Down),
        ([], Some(b'C')) => Some(Key::Right),
        ([], Some(b'D')) => Some(Key::Left),
        ([], Some(b'H')) | (b"1", Some(b'~')) => Some(Key::Home),
        (b"5", Some(b'~')) => Some(Key::PageUp),
        (b"6", Some(b'~')) => Some(Key::PageDown),
        _ => None,
    };
    (key, end + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_keys_and_unknown_ones_are_passed_over() {
        for (bytes, expected) in [
            (&b"q"[..], &[Key::Char('q')][..]),
            (b"\x03", &[Key::Interrupt]),
            (b"\x1b", &[Key::Escape]),
            (b"\x1b[A\x1bOBj", &[Key::Up, Key::Down, Key::Char('j')]),
            (b"\x1b[5~\x1b[6~ \r", &[Key::PageUp, Key::PageDown, Key::Char(' '), Key::Enter]),
            (b"\x1b[H\x1b[1~\x1b[C\x1b[D", &[Key::Home, Key::Home, Key::Right, Key::Left]),
            (b"\x1b[1;5Ax", &[Key::Char('x')]),
            (b"\x1b[", &[]),
            (b"\x1b\x1b", &[Key::Escape, Key::Escape]),
            ("é\u{7f}\t".as_bytes(), &[]),
        ] {
            assert_eq!(keys(bytes), expected, "{bytes:?}");
        }
    }
}
