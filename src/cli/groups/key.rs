//! A key by which lines are grouped.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use super::Name;
use crate::{
    Line, RequestLine, StageRow,
    cli::{
        log_line::LogLine,
        selection::{known, near},
    },
    write::columns::{id, printable},
};

/// A key that lines have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key {
    FinishReason,
    Error,
    RequestId,
    StageName,
    StageId,
    /// The log that the line comes from, or its row.
    File,
    Field(Field),
}

/// A field of the request.
#[derive(Debug, Clone)]
pub(super) struct Field {
    name: String,
    seen: Arc<Seen>,
}

/// Where a field was, in the lines so far.
#[derive(Debug, Default)]
struct Seen {
    in_request: AtomicBool,
    /// A request did not have it.
    is_absent: AtomicBool,
    /// A row that has it, though its request does not.
    in_row: OnceLock<String>,
    /// Names of fields of requests that lacked it: those that come first.
    others: Mutex<BTreeSet<String>>,
}

/// How many names of other fields are proposed.
const OTHERS: usize = 10;

impl Key {
    const NAMES: [(&'static str, Self); 6] = [
        ("finish_reason", Self::FinishReason),
        ("error", Self::Error),
        ("request_id", Self::RequestId),
        ("stage_name", Self::StageName),
        ("stage_id", Self::StageId),
        ("file", Self::File),
    ];
    /// Other words for the process that has written a log.
    const OF_FILES: [&'static str; 9] =
        ["process", "worker", "log", "path", "filename", "host", "pod", "instance", "node"];

    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix("fields.").filter(|name| !name.is_empty()) {
            return Ok(Self::Field(Field { name: name.to_owned(), seen: Arc::default() }));
        }
        if let Some((_, key)) = Self::NAMES.iter().find(|(name, _)| *name == text) {
            return Ok(key.clone());
        }
        let names = || Self::NAMES.iter().map(|(name, _)| *name);
        let is_word = |text: &str| {
            !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '-'))
        };
        let inner = text.get(..6).filter(|head| head.eq_ignore_ascii_case("fields")).and(text.get(6..));
        let inner = inner.and_then(|inner| {
            let index = || inner.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            inner.strip_prefix('.').or_else(index)
        });
        let inner = inner.map(|inner| inner.trim_matches(['"', '\'']));
        let near = match (inner, near(text, names()).as_slice()) {
            (Some(field), _) if is_word(field) => format!("; did you mean fields.{field}?"),
            (Some(""), _) => ".".to_owned(),
            // Lines have it, but they are not grouped by it.
            (None, _) if known().any(|known| known == text) => ".".to_owned(),
            (None, _) if Self::OF_FILES.contains(&text) => {
                format!("; did you mean file, the log of each process, or fields.{text}?")
            }
            (None, []) if is_word(text) => format!("; did you mean fields.{text}?"),
            (_, []) => ".".to_owned(),
            (_, near) => format!("; did you mean {}?", near.join(" or ")),
        };
        let (names, text) = (names().collect::<Vec<_>>().join(", "), printable(text));
        Err(format!(
            "there is no key '{text}'{near} Keys are {names}, and fields.NAME for a field of the request"
        ))
    }

    /// Whether it tells the stages of a request apart.
    pub(super) fn is_of_stages(&self) -> bool {
        matches!(self, Self::StageName | Self::StageId)
    }

    /// The value in a line and in this row of it.
    pub(super) fn value(&self, line: &LogLine, row: Option<&StageRow>) -> Name {
        let text = |text: Option<&str>| text.map_or(Name::Absent, Name::of_text);
        let request = match &line.line {
            Line::Request(line) => Some(line),
            _ => None,
        };
        match self {
            Self::FinishReason => text(request.and_then(|line| line.e2e_table.finish_reason.as_deref())),
            Self::Error => text(request.and_then(|line| line.e2e_table.error.as_deref())),
            Self::Field(field) => request.map_or(Name::Absent, |line| field.of_request(line)),
            Self::RequestId => text(line.request_id()),
            Self::StageName => text(row.and_then(|row| row.stage_name.as_deref())),
            Self::StageId => row.and_then(|row| row.stage_id).map_or(Name::Absent, Name::from),
            Self::File => Name::of_text(line.origin(row)),
        }
    }

    /// That no request had the field, and which row had it; `None` for other keys.
    pub(super) fn missing(&self) -> Option<String> {
        let Self::Field(Field { name, seen }) = self else { return None };
        let is_missing = seen.is_absent.load(Ordering::Relaxed) && !seen.in_request.load(Ordering::Relaxed);
        let elsewhere = seen.in_row.get().map(|row| {
            format!(
                "; {row} has it, and --by reads the fields of requests: record it in the span `request` to \
                 group by it"
            )
        });
        let others = || {
            let others = seen.others.lock().unwrap_or_else(PoisonError::into_inner);
            let others: Vec<_> = others.iter().map(|name| printable(name).into_owned()).collect();
            (!others.is_empty()).then(|| format!("; fields are {}", others.join(", ")))
        };
        let name = printable(name);
        let besides = || elsewhere.or_else(others).unwrap_or_default();
        is_missing.then(|| format!("--by: no request has the field {name}{}", besides()))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(field) => write!(f, "fields.{}", field.name),
            key => {
                f.write_str(Self::NAMES.iter().find(|(_, named)| named == key).map_or("", |(name, _)| name))
            }
        }
    }
}

impl Field {
    fn of_request(&self, line: &RequestLine) -> Name {
        let Self { name, seen } = self;
        // All cores read these; they write them once.
        let note = |flag: &AtomicBool| {
            if !flag.load(Ordering::Relaxed) {
                flag.store(true, Ordering::Relaxed);
            }
        };
        let Some(value) = line.fields.get(name.as_str()) else {
            note(&seen.is_absent);
            if seen.in_row.get().is_none()
                && let Some(row) = row_with(name, line)
            {
                seen.in_row.get_or_init(|| row);
            }
            if !seen.in_request.load(Ordering::Relaxed) {
                seen.note_others(line);
            }
            return Name::Absent;
        };
        note(&seen.in_request);
        Name::of_value(value)
    }
}

impl Seen {
    fn note_others(&self, line: &RequestLine) {
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        for name in line.fields.keys() {
            if !others.contains(&**name) {
                others.insert(name.to_string());
            }
            if others.len() > OTHERS {
                others.pop_last();
            }
        }
    }
}

/// The first row of a request that has the field.
fn row_with(name: &str, line: &RequestLine) -> Option<String> {
    let stage = line.stage_table.iter().find(|row| row.fields.contains_key(name));
    let transfer = || line.transfer_table.iter().find(|row| row.fields.contains_key(name));
    match stage {
        Some(row) => Some(format!("the row of stage {}", id(row.stage_id))),
        None => {
            transfer().map(|row| format!("the row of transfer {}->{}", id(row.from_stage), id(row.to_stage)))
        }
    }
}

impl PartialEq for Field {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Field {}
