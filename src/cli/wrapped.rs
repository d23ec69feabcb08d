//! Lines inside the lines of a container runtime: the CRI format of Kubernetes, Docker's `json-file`, the
//! output of `docker compose logs` and of `kubectl logs --prefix`, and the JSON of journald.
//!
//! A runtime writes a line that is too long for it in pieces, each on a line of its own. Pieces of the two
//! streams of a container may alternate.

use std::{borrow::Cow, mem};

use serde::Deserialize;

use super::parsed::{LINE_LIMIT, is_ours, without_zeros};

/// A stream of a container: `stdout` or `stderr`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    Stdout,
    Stderr,
}

/// What a runtime has written on one line.
#[derive(Debug)]
pub(super) struct Wrapped<'a> {
    stream: Stream,
    text: Cow<'a, [u8]>,
    /// The program's line ends here; otherwise, it goes on in the next text of the stream.
    is_end: bool,
}

impl<'a> Wrapped<'a> {
    /// `None` for a line that no runtime has written.
    #[inline]
    pub(super) fn of(line: &'a [u8]) -> Option<Self> {
        match without_zeros(line) {
            line @ [b'0'..=b'9', ..] => {
                Self::cri(line).or_else(|| Self::compose(line)).or_else(|| Self::ours(line))
            }
            line @ [b'a'..=b'z' | b'A'..=b'Z' | 0x1b, ..] => Self::compose(line),
            line @ ([b'{', b'"', b'l', ..] | [b'{', b' ', ..]) => Self::docker(line),
            line @ [b'[', b'p', ..] => Self::kubectl(line),
            _ => None,
        }
    }

    pub(super) fn into_piece(self) -> Piece {
        Piece { stream: self.stream, text: self.text.into_owned(), is_end: self.is_end }
    }

    /// `2026-11-25T04:01:43.017037123Z stderr F text`; the tags, of which the first is `P` or `F`, are
    /// separated by colons.
    fn cri(line: &'a [u8]) -> Option<Self> {
        let mut parts = line.splitn(4, |byte| *byte == b' ');
        let (time, stream, tags, text) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_end = match tags {
            [b'F'] | [b'F', b':', ..] => true,
            [b'P'] | [b'P', b':', ..] => false,
            _ => return None,
        };
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        is_time(time).then_some(Self { stream: Stream::named(stream)?, text: Cow::Borrowed(text), is_end })
    }

    /// The text, if it is a whole line.
    pub(super) fn into_line(self) -> Option<Cow<'a, [u8]>> {
        self.is_end.then_some(self.text)
    }

    /// `front-1  | {"type":…`: the name of a container, spaces, a bar and a space, which may be coloured.
    /// Other programs write tables with bars, so a line of the layer must follow.
    fn compose(line: &'a [u8]) -> Option<Self> {
        let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.-".contains(byte);
        let line = behind_colour(line);
        let (_, rest) =
            line.split_at_checked(line.iter().position(|byte| !is_of_name(byte)).filter(|at| *at > 0)?)?;
        let rest = rest.strip_prefix(b" ")?.trim_ascii_start().strip_prefix(b"|")?;
        Self::ours(behind_colour(behind_colour(rest).strip_prefix(b" ")?))
    }

    /// `[pod/front-1/app] {"type":…`: the names of the pod and of the container, and a space.
    fn kubectl(line: &'a [u8]) -> Option<Self> {
        let rest = line.strip_prefix(b"[pod/")?;
        let (names, rest) = rest.split_at_checked(rest.iter().position(|byte| b" ]".contains(byte))?)?;
        Self::ours(rest.strip_prefix(b"] ").filter(|_| names.contains(&b'/'))?)
    }

    /// A line of the layer, which always stands on one line, or one behind its time and a space, as with
    /// `--timestamps`.
    fn ours(text: &'a [u8]) -> Option<Self> {
        let behind_time = || {
            let (time, rest) = text.split_at_checked(text.iter().position(|byte| *byte == b' ')?)?;
            rest.strip_prefix(b" ").filter(|_| is_time(time))
        };
        let text = if is_ours(text) { text } else { behind_time().filter(|text| is_ours(text))? };
        Some(Self { stream: Stream::Stdout, text: Cow::Borrowed(text), is_end: true })
    }

    /// `{"log":"text\n","stream":"stderr","time":"…"}`, with or without spaces.
    fn docker(line: &'a [u8]) -> Option<Self> {
        let mut text = line;
        for part in [&b"{"[..], br#""log""#, b":", b"\""] {
            text = text.strip_prefix(part)?.trim_ascii_start();
        }
        let Ok(Docker { log, stream }) = serde_json::from_slice(line) else {
            // A line of the layer in a line that is cut is a broken one, which is not passed over.
            let text = String::from_utf8_lossy(text).replace(r#"\""#, r#"""#).into_bytes();
            let text = is_ours(&text).then_some(Cow::Owned(text))?;
            return Some(Self { stream: Stream::Stderr, text, is_end: true });
        };
        let text = match log {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        Some(Self { stream: Stream::named(stream.as_bytes())?, is_end: text.ends_with(b"\n"), text })
    }
}

/// The text behind the command of a terminal that sets a colour, if there is one: `ESC [ 36 m`.
fn behind_colour(text: &[u8]) -> &[u8] {
    let command = text.strip_prefix(b"\x1b[").unwrap_or_default();
    let parameters = command.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b';').count();
    command.get(parameters..).and_then(|rest| rest.strip_prefix(b"m")).unwrap_or(text)
}

/// Whether this is a time as in `2026-11-25T04:01:43.017037123Z`.
fn is_time(text: &[u8]) -> bool {
    text.len() >= 20 && text.get(10) == Some(&b'T') && text.first().is_some_and(u8::is_ascii_digit)
}

#[derive(Deserialize)]
struct Docker<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    #[serde(borrow)]
    stream: Cow<'a, str>,
}

impl Stream {
    fn named(name: &[u8]) -> Option<Self> {
        match name {
            b"stdout" => Some(Self::Stdout),
            b"stderr" => Some(Self::Stderr),
            _ => None,
        }
    }
}

/// The message of an entry of `journalctl -o json`.
pub(super) fn message_of_journal(line: &str) -> Option<Vec<u8>> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Message {
        Text(String),
        /// With control characters or what is no UTF-8, which the journal does not write as text.
        Bytes(Vec<u8>),
    }
    #[derive(Deserialize)]
    struct Entry {
        #[serde(rename = "MESSAGE")]
        message: Message,
        #[serde(rename = "__REALTIME_TIMESTAMP")]
        _time: serde::de::IgnoredAny,
    }

    if !line.contains(r#""MESSAGE""#) {
        return None;
    }
    serde_json::from_str(line).ok().map(|entry: Entry| match entry.message {
        Message::Text(text) => text.into_bytes(),
        Message::Bytes(bytes) => bytes,
    })
}

/// A text of a stream that may be a piece of a line.
#[derive(Debug)]
pub(super) struct Piece {
    stream: Stream,
    text: Vec<u8>,
    is_end: bool,
}

/// What is known of the streams from the lines of one chunk.
#[derive(Debug, Default)]
pub(super) struct Chunked {
    /// Whether the last text of the stream has ended its line.
    is_between_lines: [bool; 2],
}

impl Chunked {
    /// The text, if it is a whole line; otherwise the piece, which may belong to one of another chunk.
    pub(super) fn whole<'a>(&mut self, wrapped: Wrapped<'a>) -> Result<Cow<'a, [u8]>, Piece> {
        let Wrapped { stream, text, is_end } = wrapped;
        let [stdout, stderr] = &mut self.is_between_lines;
        let is_between = match stream {
            Stream::Stdout => stdout,
            Stream::Stderr => stderr,
        };
        match mem::replace(is_between, is_end) && is_end {
            true => Ok(text),
            false => Err(Wrapped { stream, text, is_end }.into_piece()),
        }
    }
}

/// The lines of a log that have begun and not ended: at most one a stream.
#[derive(Debug, Default)]
pub(super) struct Begun {
    lines: [Option<(u64, Vec<u8>)>; 2],
}

impl Begun {
    /// Adds a piece that stands on the line of this number. Returns the lines that are complete now, and
    /// those whose rest is missing, each with the number of the line where it begins.
    pub(super) fn add(&mut self, number: u64, piece: Piece) -> impl Iterator<Item = (u64, Vec<u8>)> + use<> {
        let Piece { stream, text, is_end } = piece;
        let [stdout, stderr] = &mut self.lines;
        let begun = match stream {
            Stream::Stdout => stdout,
            Stream::Stderr => stderr,
        };
        // What begins as a line of the layer does so is never the rest of another.
        let cut = if is_ours(&text) { begun.take() } else { None };
        let (_, line) = begun.get_or_insert_with(|| (number, Vec::new()));
        // Past the limit, the beginning still tells whether it is a line of the layer.
        if line.len() <= LINE_LIMIT {
            line.extend(text);
        }
        let whole = if is_end { begun.take() } else { None };
        cut.into_iter().chain(whole)
    }

    /// The next file of the log begins. What has begun is now named by the line that goes on with it.
    pub(super) fn go_on(&mut self) {
        self.lines.iter_mut().flatten().for_each(|(number, _)| *number = 1);
    }

    /// The lines whose rest is missing at the end of a log.
    pub(super) fn finish(&mut self) -> impl Iterator<Item = (u64, Vec<u8>)> + use<> {
        mem::take(&mut self.lines).into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text_of(line: &str) -> Option<(String, bool)> {
        let Wrapped { text, is_end, .. } = Wrapped::of(line.as_bytes())?;
        Some((String::from_utf8(text.into_owned()).unwrap(), is_end))
    }

    #[test]
    fn only_lines_of_a_runtime_are_unwrapped() {
        let found = |text: &str, is_end| Some((text.to_owned(), is_end));
        assert_eq!(text_of("2026-11-25T04:01:43.017037123Z stderr F a b\n"), found("a b", true));
        assert_eq!(text_of("2026-11-25T04:01:43.017037123+01:00 stdout P:x \n"), found("", false));
        assert_eq!(
            text_of(r#"{"log":"{\"a\":\"é\"}\n","stream":"stderr","attrs":{}}"#),
            found("{\"a\":\"é\"}\n", true)
        );
        assert_eq!(text_of(r#"{"log":"{\"a\":","stream":"stdout","time":""}"#), found("{\"a\":", false));
        assert_eq!(text_of(r#"{ "log" : "a\n", "stream" : "stdout"}"#), found("a\n", true));
        let line = r#"{"type":"stage","schema":1}"#;
        for before in [
            "front-1  | ",
            "2nd_1 | ",
            "\0\0worker.a-12                | ",
            "front-1  | 2026-11-25T04:01:43.017037123Z ",
            "\x1b[36mfront-1  | \x1b[0m",
            "\x1b[33;1mfront_1  |\x1b[0m ",
            "2026-11-25T04:01:43.017037123Z ",
            "[pod/front-1/app] ",
            "[pod/front-1/app] 2026-11-25T04:01:43.017037123+01:00 ",
        ] {
            assert_eq!(text_of(&format!("{before}{line}")), found(line, true), "{before}");
        }
        for foreign in [
            "2026-11-25T04:01:43.017037Z stderr F",
            "2026-11-25T04:01:43.017037Z stderr INFO text",
            "2026-11-25T04:01:43.017037Z INFO F text",
            "20261125 stderr F text",
            r#"{"log":"a","stream":"both","time":""}"#,
            r#"{"log":"a\n","stream":"stde"#,
            r#"{"level":"info"}"#,
            "front-1  | text",
            r#"front-1  | {"level":"info"}"#,
            r#"front-1| {"type":"stage"}"#,
            r#"front 1  | {"type":"stage"}"#,
            r#" | {"type":"stage"}"#,
            "\x1b[36m | {\"type\":\"stage\"}",
            "\x1b[2Jfront-1 | {\"type\":\"stage\"}",
            r#"front-1  | then {"type":"stage"}"#,
            r#"front-1  | 2026-11-25T04:01:43Z  {"type":"stage"}"#,
            r#"[pod/front-1] {"type":"stage"}"#,
            r#"[pod/front-1/app]{"type":"stage"}"#,
            r#"[pod/front-1/app] INFO {"type":"stage"}"#,
            r#"[pod/front-1/app] {"level":"info"}"#,
            r#"[app] {"type":"stage"}"#,
            r#"{"type":"request","log":"a"}"#,
        ] {
            assert_eq!(text_of(foreign), None, "{foreign}");
        }
        for opening in [r#"{"log":""#, r#"{"log": ""#] {
            let cut = format!(r#"{opening}{{\"type\":\"request\",\"schema\":1,"#);
            assert_eq!(text_of(&cut), found(r#"{"type":"request","schema":1,"#, true));
        }
    }

    proptest! {
        #[test]
        fn pieces_of_both_streams_become_the_lines_that_they_were(
            lines in prop::collection::vec((any::<bool>(), prop::collection::vec("[a-z]{0,3}", 1..4)), 0..20),
            turns in prop::collection::vec(any::<bool>(), 60),
            chunks in prop::collection::vec(any::<bool>(), 60),
        ) {
            let of = |is_stderr| lines.iter().filter(move |line| line.0 == is_stderr);
            let pieces = |is_stderr| of(is_stderr).flat_map(|(_, pieces)| {
                pieces.iter().enumerate().map(|(at, piece)| (piece.clone(), at + 1 == pieces.len()))
            });
            let mut streams = [pieces(false).peekable(), pieces(true).peekable()];
            let (mut chunked, mut begun) = (Chunked::default(), Begun::default());
            let mut read = [Vec::new(), Vec::new()];
            let mut number = 0;
            for (turn, ends_chunk) in turns.into_iter().zip(chunks) {
                let at = usize::from(streams[usize::from(turn)].peek().is_some() == turn);
                let Some((text, is_end)) = streams[at].next() else { continue };
                number += 1;
                let (stream, tag) = (["stdout", "stderr"][at], if is_end { "F" } else { "P" });
                let line = format!("2026-11-25T04:01:43.017037Z {stream} {tag} {text}\n");
                match chunked.whole(Wrapped::of(line.as_bytes()).unwrap()) {
                    Ok(text) => read[at].push(String::from_utf8(text.into_owned()).unwrap()),
                    Err(piece) => {
                        let whole = begun.add(number, piece);
                        read[at].extend(whole.map(|(_, line)| String::from_utf8(line).unwrap()));
                    }
                }
                if ends_chunk {
                    chunked = Chunked::default();
                }
            }
            // What the turns did not reach is not read.
            for (at, read) in read.iter().enumerate() {
                let whole: Vec<_> = of(at == 1).map(|(_, pieces)| pieces.concat()).collect();
                prop_assert_eq!(read, &whole[..read.len()]);
                prop_assert!(streams[at].peek().is_some() || read.len() == whole.len());
            }
        }
    }

    #[test]
    fn a_line_whose_rest_is_missing_ends_where_another_begins() {
        let mut begun = Begun::default();
        let piece = |text: &str, is_end| Piece { stream: Stream::Stderr, text: text.into(), is_end };
        assert_eq!(begun.add(1, piece(r#"{"type":"request","#, false)).count(), 0);
        let next = r#"{"type":"stage","a":1}"#;
        let lines: Vec<_> = begun.add(2, piece(next, true)).collect();
        assert_eq!(lines, [(1, br#"{"type":"request","#.to_vec()), (2, next.as_bytes().to_vec())]);
        assert_eq!(begun.add(3, piece("begun", false)).count(), 0);
        assert_eq!(begun.finish().collect::<Vec<_>>(), [(3, b"begun".to_vec())]);
    }

    #[test]
    fn a_line_without_an_end_is_kept_up_to_a_limit() {
        let mut begun = Begun::default();
        for _ in 0..40 {
            let text = vec![b'a'; LINE_LIMIT / 16];
            assert_eq!(begun.add(1, Piece { stream: Stream::Stdout, text, is_end: false }).count(), 0);
        }
        assert!(begun.finish().all(|(_, line)| line.len() <= LINE_LIMIT + LINE_LIMIT / 16));
    }
}
