//! A line as an expression sees it. Nothing is copied, and only the names in the expression are looked up.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use cel::{
    ExecutionError,
    common::{
        traits::{Container, Indexer},
        types::{CelBool, CelDouble, CelInt, CelList, CelNull, CelString, CelUInt, Type},
        value::{CowVal, Val},
    },
    context::VariableResolver,
};

use super::names::known;
use crate::{
    Detached, FieldValue, Fields, Line, StageRow, TransferRow,
    model::{keep::is_failed, numbers::Table, rows::Value},
};

/// How many names of fields are kept, to name them where one was not found.
const NAMES_KEPT: usize = 64;

static FIELDS: Type = Type::new_unspecified_type("fields");
static ROW: Type = Type::new_unspecified_type("row");

/// The fields that an expression names, and whether a line had them.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    fields: Vec<(String, AtomicBool)>,
    /// Names of fields on lines that lacked a wanted one.
    others: Mutex<BTreeSet<String>>,
}

impl Wanted {
    pub(super) fn new(mut names: Vec<String>) -> Self {
        names.sort();
        names.dedup();
        Self {
            fields: names.into_iter().map(|name| (name, AtomicBool::new(false))).collect(),
            ..Self::default()
        }
    }

    /// The fields that no line had.
    pub(super) fn missing(&self) -> impl Iterator<Item = &str> {
        let missing = self.fields.iter().filter(|(_, is_found)| !is_found.load(Ordering::Relaxed));
        missing.map(|(name, _)| name.as_str())
    }

    /// Names of fields that lines had, instead of the missing ones.
    pub(super) fn others(&self) -> BTreeSet<String> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, name: &str, is_found: bool, fields: &Fields) {
        let Some((_, was_found)) = self.fields.iter().find(|(wanted, _)| wanted == name) else { return };
        if was_found.load(Ordering::Relaxed) {
            return;
        }
        if is_found {
            was_found.store(true, Ordering::Relaxed);
            return;
        }
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        for name in fields.keys() {
            if others.len() < NAMES_KEPT && !others.contains(&**name) {
                others.insert(name.to_string());
            }
        }
    }
}

/// The variables of an expression, for one line.
pub(super) struct Variables<'a> {
    pub(super) line: &'a Line,
    pub(super) wanted: &'a Wanted,
}

impl VariableResolver for Variables<'_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        let value = match self.line {
            Line::Request(line) => match name {
                "type" => Some(text("request")),
                "timestamp" => Some(owned_text(line.timestamp.to_string())),
                "request_id" => Some(text(&line.request_id)),
                "sample_rate" => line.sample_rate.map(|rate| count(rate.into())),
                "trace_id" => line.trace_id.as_deref().map(text),
                "span_id" => line.span_id.as_deref().map(text),
                "fields" => Some(self.fields(&line.fields)),
                "warnings" => Some(texts(&line.warnings)),
                "failed" => Some(CowVal::owned(CelBool::from(is_failed(&line.e2e_table)))),
                "stages" => Some(rows(line.stage_table.iter().map(RowOf::Stage))),
                "transfers" => Some(rows(line.transfer_table.iter().map(RowOf::Transfer))),
                name => number(&line.e2e_table, name),
            },
            Line::Stage(line) => match name {
                "type" => Some(text("stage")),
                "fields" => Some(self.fields(&line.row.fields)),
                name => of_row(line, name),
            },
            Line::Transfer(line) => match name {
                "type" => Some(text("transfer")),
                "fields" => Some(self.fields(&line.row.fields)),
                name => of_row(line, name),
            },
            Line::Summary(line) => match name {
                "type" => Some(text("summary")),
                "timestamp" => Some(owned_text(line.timestamp.to_string())),
                _ => None,
            },
            Line::Open(line) => match name {
                "type" => Some(text("open")),
                "timestamp" => Some(owned_text(line.timestamp.to_string())),
                "request_id" => self.line.request_id().map(text),
                "age_ms" => Some(CowVal::owned(CelDouble::from(line.request.age_ms.as_f64()))),
                "fields" => Some(self.fields(&line.request.fields)),
                _ => None,
            },
        };
        // The interpreter asks for names of its own as well, and for `fields.x` before `fields`.
        value.or_else(|| known().any(|known| known == name).then(null))
    }
}

impl Variables<'_> {
    fn fields<'b>(&'b self, fields: &'b Fields) -> CowVal<'b, 'b> {
        CowVal::owned(FieldMap { fields, wanted: Some(self.wanted) })
    }
}

fn null<'b, 'v>() -> CowVal<'b, 'v> {
    CowVal::owned(CelNull)
}

fn text<'b, 'v>(text: &'v str) -> CowVal<'b, 'v> {
    CowVal::owned(CelString::from(text))
}

fn owned_text<'b, 'v>(text: String) -> CowVal<'b, 'v> {
    CowVal::owned(CelString::from(text))
}

/// A signed integer, as those in an expression are: arithmetic does not mix signed and unsigned ones.
fn count<'b, 'v>(count: u64) -> CowVal<'b, 'v> {
    match i64::try_from(count) {
        Ok(count) => CowVal::owned(CelInt::from(count)),
        Err(_) => CowVal::owned(CelUInt::from(count)),
    }
}

fn texts<'b, 'v>(texts: &'v [String]) -> CowVal<'b, 'v> {
    let texts = texts.iter().map(|text| Box::new(CelString::from(text.as_str())) as Box<dyn Val + 'v>);
    CowVal::owned(CelList::from(texts.collect::<Vec<_>>()))
}

fn rows<'b, 'v>(rows: impl Iterator<Item = RowOf<'v>>) -> CowVal<'b, 'v> {
    let rows = rows.map(|row| Box::new(row) as Box<dyn Val + 'v>);
    CowVal::owned(CelList::from(rows.collect::<Vec<_>>()))
}

/// A member that all detached rows have, or a number of the row.
fn of_row<'b, 'v, Row: Table>(line: &'v Detached<Row>, name: &str) -> Option<CowVal<'b, 'v>> {
    match name {
        "timestamp" => Some(owned_text(line.timestamp.to_string())),
        "request_id" => line.request_id.as_deref().map(text),
        "sample_rate" => line.sample_rate.map(|rate| count(rate.into())),
        "trace_id" => line.trace_id.as_deref().map(text),
        "span_id" => line.span_id.as_deref().map(text),
        "warnings" => Some(texts(&line.warnings)),
        name => number(&line.row, name),
    }
}

/// A number of a row; `None` if it is absent or the row has none of this name.
fn number<'b, 'v, Row: Table>(row: &'v Row, name: &str) -> Option<CowVal<'b, 'v>> {
    let number = Row::NUMBERS.iter().find(|number| number.name == name)?;
    Some(match (number.get)(row)? {
        Value::Count(value) => count(value),
        Value::Time(time) => CowVal::owned(CelDouble::from(time.as_f64())),
        Value::Ratio(ratio) => CowVal::owned(CelDouble::from(ratio)),
        Value::Text(value) => text(value),
    })
}

fn key(index: &dyn Val) -> Result<&str, ExecutionError> {
    index.downcast_ref::<CelString<'_>>().map(CelString::inner).ok_or_else(|| {
        ExecutionError::UnexpectedType { got: index.get_type().name().to_owned(), want: "string".to_owned() }
    })
}

/// `fields` of a line or a row. A field that is absent is null.
#[derive(Debug, Clone)]
struct FieldMap<'a> {
    fields: &'a Fields,
    /// Is told which fields were found.
    wanted: Option<&'a Wanted>,
}

impl Val for FieldMap<'_> {
    fn get_type(&self) -> &Type {
        &FIELDS
    }

    fn cel_type() -> &'static Type {
        &FIELDS
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(self.clone())
    }
}

impl Container for FieldMap<'_> {
    fn contains(&self, value: &dyn Val) -> Result<bool, ExecutionError> {
        key(value).map(|key| self.fields.contains_key(key))
    }
}

impl Indexer for FieldMap<'_> {
    fn get<'b, 'v>(&'b self, index: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let name = key(index)?;
        let value = self.fields.get(name);
        if let Some(wanted) = self.wanted {
            wanted.note(name, value.is_some(), self.fields);
        }
        Ok(value.map_or_else(null, of_field))
    }

    fn steal<'v>(self: Box<Self>, index: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.get(index).map(CowVal::into_owned)
    }
}

fn of_field<'b, 'v>(value: &'v FieldValue) -> CowVal<'b, 'v> {
    match value {
        FieldValue::Bool(value) => CowVal::owned(CelBool::from(*value)),
        FieldValue::Unsigned(value) => count(*value),
        FieldValue::Signed(value) => CowVal::owned(CelInt::from(*value)),
        FieldValue::Float(value) => CowVal::owned(CelDouble::from(*value)),
        FieldValue::Text(value) => text(value),
        FieldValue::Null => null(),
        FieldValue::List(values) => {
            let values = values.iter().map(|value| of_field(value).into_owned());
            CowVal::owned(CelList::from(values.collect::<Vec<_>>()))
        }
        FieldValue::Object(members) => CowVal::owned(FieldMap { fields: members, wanted: None }),
    }
}

/// A row of `stages` or `transfers`: its numbers by their names, and `fields`.
#[derive(Debug, Clone)]
enum RowOf<'a> {
    Stage(&'a StageRow),
    Transfer(&'a TransferRow),
}

impl Val for RowOf<'_> {
    fn get_type(&self) -> &Type {
        &ROW
    }

    fn cel_type() -> &'static Type {
        &ROW
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(self.clone())
    }
}

impl Indexer for RowOf<'_> {
    fn get<'b, 'v>(&'b self, index: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        fn has<Row: Table>(_: &Row, name: &str) -> bool {
            Row::NUMBERS.iter().any(|number| number.name == name)
        }
        let name = key(index)?;
        let (fields, value, is_known) = match *self {
            Self::Stage(row) => (&row.fields, number(row, name), has(row, name)),
            Self::Transfer(row) => (&row.fields, number(row, name), has(row, name)),
        };
        match value {
            None if name == "fields" => Ok(CowVal::owned(FieldMap { fields, wanted: None })),
            None if !is_known => Err(ExecutionError::no_such_key(name)),
            value => Ok(value.unwrap_or_else(null)),
        }
    }

    fn steal<'v>(self: Box<Self>, index: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.get(index).map(CowVal::into_owned)
    }
}
