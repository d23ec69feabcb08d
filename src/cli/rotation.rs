//! What the name of a file says of the log that it is a part of.

use std::{
    cmp::Reverse,
    ffi::OsStr,
    path::{Path, PathBuf},
};

/// How compressed files end.
const COMPRESSED: [&str; 4] = ["gz", "xz", "zst", "zstd"];

/// The name of a file, divided.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Name {
    /// The name of the log before any rotation.
    pub(super) log: PathBuf,
    pub(super) mark: Mark,
}

/// What rotation has added to the name, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mark {
    /// `service.log.1`: a greater number is older.
    Number(Reverse<u64>),
    /// `service.log-20261125`, `0.log.20261125-040143`, `service.2026-11-25-04`: digits and separators.
    Date(String),
    /// The file that is being written.
    Current,
}

impl Name {
    /// How the names of logs end.
    pub(super) const ENDINGS: [&str; 7] = ["log", "jsonl", "ndjson", "json", "out", "err", "txt"];

    /// `is_given` says whether there is a file of this name. A number at the end is a mark only if it is
    /// after the ending of a log or such a file: `worker.1` and `worker.2` are two logs.
    pub(super) fn of(path: &Path, is_given: &impl Fn(&Path) -> bool) -> Self {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let name = COMPRESSED.iter().find_map(|ending| without(name, ending)).unwrap_or(name);
        let whole = |log: String, mark| Self { log: path.with_file_name(log), mark };
        if let Some((log, number)) = name.rsplit_once('.')
            && let Some(number) = number_of(number)
            && (has_ending(log) || is_given(&path.with_file_name(log)))
        {
            return whole(log.to_owned(), Mark::Number(Reverse(number)));
        }
        // A date stands at the end, or before the ending.
        let (start, ending) = match name.rsplit_once('.') {
            Some((start, ending)) if Self::ENDINGS.contains(&ending) => (start, Some(ending)),
            _ => (name, None),
        };
        let separators = start.char_indices().filter(|(at, c)| *at > 0 && matches!(c, '.' | '-' | '_'));
        for (at, _) in separators {
            let (log, date) = (start.get(..at).unwrap_or_default(), start.get(at + 1..).unwrap_or_default());
            if is_date(date) {
                let ending = ending.map(|ending| format!(".{ending}")).unwrap_or_default();
                return whole(format!("{log}{ending}"), Mark::Date(date.to_owned()));
            }
        }
        whole(name.to_owned(), Mark::Current)
    }

    pub(super) fn is_of_a_log(&self) -> bool {
        self.log.file_name().and_then(OsStr::to_str).is_some_and(has_ending)
            || matches!(self.mark, Mark::Date(_))
    }
}

fn without<'a>(name: &'a str, ending: &str) -> Option<&'a str> {
    name.strip_suffix(ending)?.strip_suffix('.')
}

fn has_ending(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, ending)| Name::ENDINGS.contains(&ending))
}

/// The number of a rotation: those are small.
fn number_of(text: &str) -> Option<u64> {
    (text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

/// Whether this is a date, with or without a time: `20261125`, `2026-11-25-04`, `20261125-040143`,
/// `1795579303` (seconds since 1970).
fn is_date(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let has_others = text.bytes().any(|byte| !byte.is_ascii_digit() && !b"-_T.:Z".contains(&byte));
    let begins = text.starts_with("20") || digits == 10 && text.len() == 10;
    begins && (8..=23).contains(&digits) && !has_others && text.bytes().next_back() != Some(b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn divided(name: &str) -> (String, Mark) {
        let Name { log, mark } = Name::of(Path::new(name), &|path| path == Path::new("given"));
        (log.to_str().unwrap().to_owned(), mark)
    }

    #[test]
    fn the_marks_of_rotations_are_told_from_names() {
        let number = |number| Mark::Number(Reverse(number));
        let date = |date: &str| Mark::Date(date.to_owned());
        for (name, log, mark) in [
            ("a/service.log", "a/service.log", Mark::Current),
            ("a/service.log.gz", "a/service.log", Mark::Current),
            ("service.log.1", "service.log", number(1)),
            ("service.log.12.gz", "service.log", number(12)),
            ("given.2.zst", "given", number(2)),
            ("service.log-20261125", "service.log", date("20261125")),
            ("service.log-20261125.gz", "service.log", date("20261125")),
            ("service.log-1795579303.xz", "service.log", date("1795579303")),
            ("service-20261125.log", "service.log", date("20261125")),
            ("0.log", "0.log", Mark::Current),
            ("0.log.20261125-040143", "0.log", date("20261125-040143")),
            ("0.log.20261125-040143.gz", "0.log", date("20261125-040143")),
            ("service.2026-11-25-04", "service", date("2026-11-25-04")),
            ("service.2026-11-25.log", "service.log", date("2026-11-25")),
            ("service-2026-11-25T04-01-43.017.log", "service.log", date("2026-11-25T04-01-43.017")),
            // Logs of several workers.
            ("worker.1", "worker.1", Mark::Current),
            ("worker-1.log", "worker-1.log", Mark::Current),
            ("worker.1.log", "worker.1.log", Mark::Current),
            ("1.log", "1.log", Mark::Current),
            ("20261125", "20261125", Mark::Current),
            ("-", "-", Mark::Current),
        ] {
            assert_eq!(divided(name), (log.to_owned(), mark), "{name}");
        }
    }

    #[test]
    fn the_oldest_is_first() {
        let mut names = ["s.log", "s.log.1", "s.log-20261125", "s.log.10.gz", "s.log.2", "s.log-20261124.gz"];
        names.sort_by_key(|name| divided(name).1);
        let expected = ["s.log.10.gz", "s.log.2", "s.log.1", "s.log-20261124.gz", "s.log-20261125", "s.log"];
        assert_eq!(names, expected);
    }
}
