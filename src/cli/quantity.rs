//! A number of a request, as an argument names it: `e2e`, `first_output@0`, `tx_time@0->1`.

use std::fmt;

use serde::Serialize;

use super::selection::near;

use crate::{
    E2eTable, RequestLine, StageRow, TransferRow,
    model::{
        numbers::{Get, Number, Table, Unit},
        rows::Value,
    },
    write::columns::printable,
};

/// The end of a number's key, which an argument may leave out.
const ENDS: [&str; 5] = ["", "_ms", "_time_ms", "_total_ms", "_total_time_ms"];

/// A number of a request, of one of its stages, or of one of its edges.
#[derive(Debug, Clone)]
pub(super) struct Quantity {
    /// As the argument spells it.
    name: String,
    /// The key of the number.
    key: &'static str,
    pub(super) unit: Unit,
    /// The value of a request or a row that lacks the number.
    absent: Option<f64>,
    of: Of,
}

#[derive(Debug, Clone)]
enum Of {
    Request(Get<E2eTable>),
    Stage(Stage, Get<StageRow>),
    Edge(u64, u64, Get<TransferRow>),
}

/// A stage, by its id or by its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(super) enum Stage {
    Id(u64),
    Name(String),
}

impl Quantity {
    /// Reads `NUMBER`, `NUMBER@STAGE` or `NUMBER@FROM->TO`. The error is a sentence.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let name = text.to_owned();
        let Some((number, place)) = text.split_once('@') else {
            if let Some(found) = find::<E2eTable>(text) {
                return Ok(Self::of(name, found, Of::Request(found.get)));
            }
            return Err(match find::<StageRow>(text) {
                Some(_) => format!("`{text}` is a number of a stage: name the stage, such as `{text}@0`"),
                None => match (proposed::<E2eTable>(text), proposed::<StageRow>(text)) {
                    (Some(near), _) => format!("requests have no number `{text}`; did you mean {near}?"),
                    (None, Some(near)) => format!(
                        "requests have no number `{text}`; did you mean {near} of a stage, as in `gen@0`?"
                    ),
                    (None, None) => format!(
                        "requests have no number `{text}`, but {}; with a stage, as in `gen@0`, there are {}",
                        names::<E2eTable>(),
                        names::<StageRow>()
                    ),
                },
            });
        };
        if let Some((from, to)) = place.split_once("->") {
            let (Ok(from), Ok(to)) = (from.parse(), to.parse()) else {
                return Err(format!("`{place}` is no edge: it is two ids of stages, such as `0->1`"));
            };
            let unknown = || format!("edges have no number `{number}`{}", instead::<TransferRow>(number));
            let found = find::<TransferRow>(number).ok_or_else(unknown)?;
            return Ok(Self::of(name, found, Of::Edge(from, to, found.get)));
        }
        if place.is_empty() {
            return Err(format!("`{text}` names no stage after the `@`"));
        }
        let unknown = || format!("stages have no number `{number}`{}", instead::<StageRow>(number));
        let found = find::<StageRow>(number).ok_or_else(unknown)?;
        Ok(Self::of(name, found, Of::Stage(Stage::new(place), found.get)))
    }

    fn of<Row: Table>(name: String, number: &Number<Row>, of: Of) -> Self {
        let absent = number.about.is_zero_if_absent.then_some(0.0);
        Self { name, key: number.name, unit: number.about.unit, absent, of }
    }

    /// The shortest name of the number, and its place.
    pub(super) fn shortest(&self) -> String {
        let place = self.name.split_once('@').map(|(_, place)| format!("@{place}"));
        format!("{}{}", short(self.key), place.unwrap_or_default())
    }

    pub(super) fn key(&self) -> &'static str {
        self.key
    }

    /// The stage that it is a number of.
    pub(super) fn stage(&self) -> Option<&Stage> {
        match &self.of {
            Of::Stage(stage, _) => Some(stage),
            Of::Request(_) | Of::Edge(..) => None,
        }
    }

    /// The stage or the edge that it is a number of, in a sentence.
    pub(super) fn place(&self) -> Option<String> {
        match &self.of {
            Of::Request(_) => None,
            Of::Stage(Stage::Id(id), _) => Some(format!("stage {id}")),
            Of::Stage(Stage::Name(name), _) => Some(format!("stage {}", printable(name))),
            Of::Edge(from, to, _) => Some(format!("transfer {from}->{to}")),
        }
    }

    /// Whether a request has this stage or edge.
    pub(super) fn has_place(&self, line: &RequestLine) -> bool {
        match &self.of {
            Of::Request(_) => true,
            Of::Stage(stage, _) => line.stage_table.iter().any(|row| stage.is_of(row)),
            Of::Edge(from, to, _) => edge(line, *from, *to).is_some(),
        }
    }

    /// The value, times in nanoseconds; the largest one if several stages have the name.
    pub(super) fn value(&self, line: &RequestLine) -> Option<f64> {
        let value = |value: Option<Value<'_>>| plain(value).or(self.absent);
        match &self.of {
            Of::Request(get) => value(get(&line.e2e_table)),
            Of::Stage(stage, get) => {
                let rows = line.stage_table.iter().filter(|row| stage.is_of(row));
                rows.filter_map(|row| value(get(row))).max_by(f64::total_cmp)
            }
            Of::Edge(from, to, get) => value(get(edge(line, *from, *to)?)),
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Stage {
    pub(super) fn new(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Name(text.to_owned()), Self::Id)
    }

    pub(super) fn is_of(&self, row: &StageRow) -> bool {
        match self {
            Self::Id(id) => row.stage_id == Some(*id),
            Self::Name(name) => row.stage_name.as_ref() == Some(name),
        }
    }
}

fn edge(line: &RequestLine, from: u64, to: u64) -> Option<&TransferRow> {
    line.transfer_table.iter().find(|row| (row.from_stage, row.to_stage) == (Some(from), Some(to)))
}

fn plain(value: Option<Value<'_>>) -> Option<f64> {
    match value? {
        Value::Count(count) => Some(count as f64),
        Value::Time(time) => Some(time.as_nanos() as f64),
        Value::Ratio(ratio) => Some(ratio),
        Value::Text(_) => None,
    }
}

/// The shortest name of a key.
pub(super) fn short(key: &str) -> &str {
    let key = key.strip_prefix("stage_").unwrap_or(key);
    ENDS.iter().rev().find_map(|end| key.strip_suffix(end)).unwrap_or(key)
}

/// The numbers of a table that an argument may name: those that can be compared, and that rows of requests
/// have.
fn numbers<Row: Table>() -> impl Iterator<Item = &'static Number<Row>> {
    let is_amount = |unit| !matches!(unit, Unit::Key | Unit::Id | Unit::Text);
    Row::NUMBERS.iter().filter(move |number| is_amount(number.about.unit) && number.merge != "detached")
}

/// The number that a name, or the name with a prefix or an ending, is the key of.
fn find<Row: Table>(name: &str) -> Option<&'static Number<Row>> {
    let keys = |prefix| ENDS.iter().map(move |end| format!("{prefix}{name}{end}"));
    let mut keys = keys("").chain(keys("stage_"));
    keys.find_map(|key| numbers::<Row>().find(|number| number.name == key))
}

/// The shortest names that are like one that is none, in a sentence.
fn proposed<Row: Table>(name: &str) -> Option<String> {
    let near = near(name, numbers::<Row>().map(|number| short(number.name)));
    (!near.is_empty()).then(|| near.join(" or "))
}

/// What a name may stand for that is none.
fn instead<Row: Table>(name: &str) -> String {
    let but = || format!(", but {}", names::<Row>());
    proposed::<Row>(name).map_or_else(but, |near| format!("; did you mean {near}?"))
}

/// The shortest names of all numbers of a table, in a sentence.
fn names<Row: Table>() -> String {
    numbers::<Row>().map(|number| short(number.name)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Millis;

    fn line() -> RequestLine {
        let ms = |millis: u64| Millis::from_nanos(millis * 1_000_000);
        let stage = |id, name: &str, millis| StageRow {
            stage_id: Some(id),
            stage_name: Some(name.to_owned()),
            stage_gen_time_ms: Some(ms(millis)),
            num_tokens_out: Some(millis),
            ..StageRow::default()
        };
        let edge = TransferRow { from_stage: Some(0), to_stage: Some(1), ..TransferRow::default() };
        RequestLine {
            e2e_table: E2eTable { e2e_total_ms: ms(9), ..E2eTable::default() },
            stage_table: vec![stage(0, "thinker", 3), stage(1, "talker", 5), stage(2, "talker", 4)],
            transfer_table: vec![TransferRow { tx_time_ms: Some(ms(2)), ..edge }],
            ..RequestLine::default()
        }
    }

    #[test]
    fn a_number_is_found_by_its_key_and_by_the_key_without_its_ends() {
        let value = |name: &str| Quantity::parse(name).unwrap().value(&line());
        for name in ["e2e", "e2e_total", "e2e_total_ms"] {
            assert_eq!(value(name), Some(9e6), "{name}");
        }
        for name in ["gen@thinker", "gen@0", "gen_time@0", "stage_gen_time@0", "stage_gen_time_ms@0"] {
            assert_eq!(value(name), Some(3e6), "{name}");
        }
        assert_eq!(value("gen@talker"), Some(5e6), "the largest one");
        assert_eq!(value("num_tokens_out@2"), Some(4.0));
        assert_eq!(value("tx@0->1"), Some(2e6));
        for name in ["queue", "gen@7", "first_output@0", "tx@1->0", "in_flight@0->1"] {
            assert_eq!(value(name), None, "{name}");
        }
    }

    #[test]
    fn a_name_that_is_none_gets_a_sentence_with_those_that_are() {
        for (name, expected) in [
            ("latency", "requests have no number `latency`, but e2e, "),
            ("latency", "as in `gen@0`, there are batch_size, "),
            ("latency", ", first_output, "),
            ("finish_reason", "requests have no number `finish_reason`"),
            ("first_output", "number of a stage: name the stage, such as `first_output@0`"),
            ("stage_id@0", "stages have no number `stage_id`, but batch_size, num_tokens_in"),
            ("wall_time@0", "stages have no number `wall_time`"),
            ("gen@", "names no stage"),
            ("gen@0->1", "edges have no number `gen`, but size_bytes"),
            ("tx@a->b", "`a->b` is no edge"),
        ] {
            let error = Quantity::parse(name).unwrap_err();
            assert!(error.contains(expected), "{name}: {error}");
        }
    }
}
